"""The report through the whole fleet equals the reference: whatever the batches, the order, the form, the copies and the workers.

The example's expectation is computed afresh by the reference script when ../shared (or STINT_SHARED) is here; the whole Devon and AMLSim
sets are compared then too, else skipped."""
import gzip
import json
import os
import random
import time
import unittest

import fleet as fleets
from fleet import Fleet, FleetTest, as_ndjson, compare, example_expected, example_text, shuffled

BAD = os.path.join(fleets.ROOT, "tests", "worker", "tasks", "data")


class Reports(FleetTest):
    """One fleet of four workers behind two brokers."""
    options = {"workers": 4, "brokers": 2}

    @classmethod
    def setUpClass(cls):
        cls.expected, cls.params = example_expected()
        cls.text = example_text()
        super().setUpClass()

    def equal(self, job, batches, fleet=None):
        fleet = fleet or self.fleet
        end = fleet.finished(job, seconds=120)
        self.assertEqual([], compare.compare(fleet.report(job), self.expected))
        # Each item once, each batch once; the attempts are those of the batches and of the finalize.
        self.assertEqual((20000, 20000, 0, 100.0), (end["items_total"], end["items_done"], end["items_failed"], end["percent"]))
        self.assertEqual((end["batches"], 0), (end["batches_done"], end["batches_dead"]))
        self.assertLessEqual(batches, end["batches"])
        self.assertEqual(0, end["failures"])

    def test_example_equals_reference_for_every_size_order_and_form(self):
        rule_seed = random.SystemRandom().randrange(1 << 32)
        print("seed of the shuffles: %d" % rule_seed, flush=True)
        rule = random.Random(rule_seed)
        for chunk_items in (100, 137):
            for batch_items in (100, 500, 1500):
                for mixed, ndjson in ((False, False), (True, False), (True, True)):
                    body = shuffled(self.text, rule) if mixed else self.text
                    body = as_ndjson(body) if ndjson else body
                    packed = rule.random() < 0.5
                    with self.subTest(chunk_items=chunk_items, batch_items=batch_items, mixed=mixed, ndjson=ndjson, gz=packed):
                        # A batch is whole chunks: of 137-row chunks a batch of at most 100 holds one.
                        job = self.fleet.upload(gzip.compress(body, 1) if packed else body, params=self.params, gz=packed,
                                                kind="application/x-ndjson" if ndjson else "text/csv",
                                                chunk_items=chunk_items, batch_items=max(batch_items, chunk_items))
                        self.equal(job, 20000 // max(batch_items, chunk_items))

    def test_example_equals_reference_with_one_worker_and_copies_of_every_frame(self):
        copies = {"broker": ["--test-duplicate", "true"], "worker": ["--test-duplicate", "true"]}
        for options in ({"workers": 1}, {"workers": 1, "extra": copies}, {"workers": 4, "brokers": 2, "extra": copies}):
            with self.subTest(**options), Fleet(**options) as fleet:
                for batch_items in (100, 1500):
                    job = fleet.upload(self.text, params=self.params, batch_items=batch_items)
                    self.equal(job, 20000 // batch_items, fleet)
                    end = fleet.job(job)
                    self.assertEqual((end["batches"] + 1, 0), (end["attempts"], end["lost"]), "a copy was run or took a lease")

    def test_bad_rows_fail_the_job_but_give_the_report(self):
        with open(os.path.join(BAD, "bad_rows.json"), encoding="utf-8") as file:
            verdicts = json.load(file)["csv"]["rows"]
        faults = [v for v in verdicts if v["code"].startswith("E_")]
        self.assertGreater(len(faults), 20)
        with open(os.path.join(BAD, "bad_rows.csv"), "rb") as file:
            job = self.fleet.upload(file.read())
        end = self.fleet.finished(job, "failed")
        self.assertEqual("E_TOO_MANY_BAD", end["error"]["code"], end)
        report = self.fleet.report(job)
        blank = sum(v["code"] == "S_BLANK" for v in verdicts)   # an item, but no row
        self.assertEqual((len(verdicts) - blank, len(faults), blank),
                         tuple(report["input"][k] for k in ("rows", "rejected", "blank")))
        self.assertEqual([{k: v[k] for k in ("line", "code", "field")} for v in faults[:20]], report["row_errors"]["first"])
        self.assertEqual((len(verdicts), len(faults)), (end["items_total"], end["items_failed"]))
        self.assertEqual(len(verdicts) - len(faults), end["items_done"])

    def whole_set(self, name, **fields):
        path = compare.shared_file("expected", name + ".json")
        if not path:
            self.skipTest("no %s data: ../shared is not here" % name)
        with open(path, encoding="utf-8") as file:
            expected = json.load(file)
        source = compare.shared_file(expected["config"]["file"])
        if not source:
            self.skipTest("no %s data: ../shared is not here" % name)
        with open(source, "rb") as file:
            body = file.read()
        began = time.monotonic()
        job = self.fleet.upload(body, params=compare.params_of(expected["config"]), gz=True, **fields)
        uploaded = time.monotonic()
        end = self.fleet.finished(job, seconds=300)
        ended = time.monotonic()
        print("%s: %d items in %.2f s (upload %.2f s): %.0f items/s, %d batches" % (
            name, end["items_total"], ended - began, uploaded - began, end["items_total"] / (ended - began), end["batches"]), flush=True)
        self.assertEqual([], compare.compare(self.fleet.report(job), expected))
        self.assertEqual(end["items_total"], end["items_done"] + end["items_failed"])
        self.assertEqual((0, 0), (end["failures"], end["lost"]))

    def test_whole_devon_equals_reference(self):
        self.whole_set("devon")

    def test_whole_amlsim_equals_reference(self):
        self.whole_set("amlsim")
        self.whole_set("amlsim", chunk_items=137, batch_items=137)


if __name__ == "__main__":
    unittest.main()

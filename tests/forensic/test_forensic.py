"""The forensic task equals the reference: integers exactly, floats to 1e-8, whatever the batches and the order.

The example is compared always; with ../shared (or STINT_SHARED) beside the repository also the whole Devon and AMLSim
sets, and the example's expectation is computed afresh by the normative script. Needs build/tools/forensic_run."""
import csv
import gzip
import json
import os
import random
import subprocess
import tempfile
import unittest

import compare

TOOL = os.environ.get("FORENSIC_RUN") or os.path.join(compare.ROOT, "build", "tools", "forensic_run")
EXAMPLE = os.path.join(compare.ROOT, "examples", "devon_20000.csv.gz")
EXPECTED = os.path.join(compare.HERE, "devon_20000.expected.json")
BAD = os.path.join(compare.ROOT, "tests", "worker", "tasks", "data")


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def run_text(path, params, batch_rows, seed=None):
    command = [TOOL, path, json.dumps(params), str(batch_rows)] + ([] if seed is None else [str(seed)])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise AssertionError("forensic_run ended with %d: %s" % (done.returncode, done.stderr.decode()[:500]))
    return done.stdout.decode("utf-8"), done.stderr.decode()


def run(path, params, batch_rows, seed=None):
    return json.loads(run_text(path, params, batch_rows, seed)[0])


@unittest.skipUnless(os.path.exists(TOOL), "build/tools/forensic_run is not built: make build/tools/forensic_run")
class Forensic(unittest.TestCase):
    def equal(self, report, expected):
        self.assertEqual([], compare.compare(report, expected))

    def test_example_equals_reference_for_every_batch_size_and_order(self):
        expected = load(EXPECTED)
        params = compare.params_of(expected["config"])
        whole = run_text(EXAMPLE, params, 1000)[0]
        self.equal(json.loads(whole), expected)
        for rows in (100, 137, 1500, 20000):
            self.assertEqual(whole, run_text(EXAMPLE, params, rows)[0], "batches of %d" % rows)
            seed = random.SystemRandom().randrange(1 << 32)
            self.assertEqual(whole, run_text(EXAMPLE, params, rows, seed)[0], "batches of %d, seed %d" % (rows, seed))

    def test_comparison_notices_a_changed_number(self):
        expected = load(EXPECTED)
        report = run(EXAMPLE, compare.params_of(expected["config"]), 1000)
        report["benford"]["first_two"]["counts"][17] += 1
        report["benford"]["first"]["chi2"] *= 1 + 1e-7
        del report["time"]["weekend"]
        self.assertEqual(3, len(compare.compare(report, expected)))

    def test_example_expectation_is_what_the_reference_script_says(self):
        expected = load(EXPECTED)
        reference = compare.reference_for(EXAMPLE, expected["config"])
        if reference is None:
            self.skipTest("no reference script: ../shared is not here")
        self.assertEqual({"config": expected["config"], **compare.covered(reference)}, expected)

    def whole_set(self, name, sizes):
        path, expected = compare.shared_file("expected", name + ".json"), None
        if path:
            expected = load(path)
        file = expected and compare.shared_file(expected["config"]["file"])
        if not file:
            self.skipTest("no %s data: ../shared is not here" % name)
        params = compare.params_of(expected["config"])
        for rows, seed in sizes:
            self.equal(run(file, params, rows, seed), expected)

    def test_devon_equals_reference(self):
        self.whole_set("devon", ((1000, None), (137, 11)))

    def test_amlsim_equals_reference(self):
        self.whole_set("amlsim", ((100, 1), (137, 2), (1000, None), (1500, 3)))

    def test_ndjson_gives_the_same_report_as_csv(self):
        expected = load(EXPECTED)
        params = compare.params_of(expected["config"])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows.ndjson")
            with gzip.open(EXAMPLE, "rt", encoding="utf-8", newline="") as rows, \
                    open(path, "w", encoding="utf-8") as out:
                for row in csv.DictReader(rows):
                    out.write(json.dumps({k: v for k, v in row.items() if v}) + "\n")
            report = run(path, params, 1000)
        self.assertEqual("ndjson", report["input"]["format"])
        self.equal(report, expected)

    def test_bad_rows_give_a_full_report_and_the_job_error(self):
        for name, rows, rejected in (("bad_rows.csv", 55, 39), ("bad_rows.ndjson", 14, 10)):
            text, log = run_text(os.path.join(BAD, name), {}, 10)
            report, verdicts = json.loads(text), load(os.path.join(BAD, "bad_rows.json"))[name.split(".")[1]]["rows"]
            faults = [v for v in verdicts if v["code"].startswith("E_")]
            self.assertEqual((rows, rejected), (report["input"]["rows"], report["input"]["rejected"]))
            self.assertEqual(rejected, len(faults))
            self.assertEqual([{k: v[k] for k in ("line", "code", "field")} for v in faults[:20]],
                             report["row_errors"]["first"])
            self.assertEqual(rejected, sum(report["row_errors"]["by_code"].values()))
            self.assertEqual(rejected > 20, "E_TOO_MANY_BAD" in log)

    def small(self, lines, params=None, batch_rows=100, seed=None):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows.csv")
            with open(path, "w", encoding="utf-8", newline="") as out:
                out.write("\n".join(lines) + "\n")
            return run(path, params or {}, batch_rows, seed)

    def test_population_without_rows_is_a_report(self):
        for lines in (["txn_id,ts,src,dst,amount,ccy"], ["txn_id,ts,src,dst,amount,ccy"] + ["x"] * 30):
            report = self.small(lines)
            self.assertIsNone(report["currency"])
            self.assertEqual(0, report["totals"]["rows"])
            self.assertEqual({}, report["by_currency"])
            self.assertFalse(report["benford"]["applicability"]["first"]["applicable"])

    def test_currency_with_most_rows_stands_at_the_top(self):
        lines = ["amount,ccy,txn_id,ts,src,dst"]
        for i, ccy in enumerate(["USD", "JPY", "EUR", "JPY", "USD", "KWD"]):
            lines.append("7,%s,T%d,2024-02-29,A,B" % (ccy, i))
        report = self.small(lines, batch_rows=2)
        self.assertEqual("JPY", report["currency"])     # a tie goes to the smaller code
        self.assertEqual(14, report["totals"]["sum_minor"])
        self.assertEqual(["USD", "EUR", "KWD"], list(report["by_currency"]))
        self.assertEqual(7000, report["by_currency"]["KWD"]["totals"]["sum_minor"])

    def test_seventeenth_currency_is_rejected_whatever_the_order(self):
        codes = "AUD BHD BRL CAD CHF CLP CNY CZK DKK EUR GBP HKD HUF INR JPY KRW KWD MXN".split()
        lines = ["txn_id,ts,src,dst,amount,ccy"]
        for i, ccy in enumerate(codes):
            lines += ["T%d-%d,2024-02-29,A,B,7,%s" % (i, j, ccy) for j in range(2 if ccy != "HUF" else 1)]
        whole = self.small(lines, batch_rows=1000)
        self.assertEqual(15, len(whole["by_currency"]))
        self.assertNotIn("HUF", whole["by_currency"])   # fewest rows
        self.assertNotIn("MXN", whole["by_currency"])   # last of the tie
        self.assertEqual({"E_CCY": 3}, whole["row_errors"]["by_code"])
        self.assertEqual([26, 35, 36], [e["line"] for e in whole["row_errors"]["first"]])
        self.assertEqual(whole, self.small(lines, batch_rows=3))

    def test_sums_beyond_64_bit_are_exact(self):
        lines = ["txn_id,ts,src,dst,amount,ccy"] + ["T%d,2024-02-29,A,B,999999999999999.999,KWD" % i
                                                   for i in range(5000)]
        report = self.small(lines)
        self.assertEqual(5000 * (10 ** 18 - 1), report["totals"]["sum_minor"])
        self.assertEqual(5000 * (10 ** 18 - 1), report["monthly"][0]["sum_minor"])
        self.assertEqual(5000 * (10 ** 18 - 1), report["benford"]["summation"]["sums_minor"][89])
        self.assertFalse(report["benford"]["applicability"]["last_two"]["applicable"])

    def test_perfect_benford_sample_is_applicable_and_close(self):
        lines = ["txn_id,ts,src,dst,amount,ccy"]
        for i in range(40000):                          # evenly spaced logarithms, 10.00 to 100,000.00
            minor = int(10 ** (3 + 4 * (i + 0.5) / 40000))
            lines.append("T%d,2024-02-29,A,B,%d.%02d,GBP" % (i, minor // 100, minor % 100))
        report = self.small(lines, batch_rows=1500)["benford"]
        for test in ("first", "second", "first_two"):
            self.assertTrue(report["applicability"][test]["applicable"], report["applicability"][test]["why"])
            self.assertEqual("close", report[test]["mad_level"])
        self.assertEqual([], report["suspects"])

    def test_truncated_or_small_population_is_not_judged(self):
        rule = random.Random(7)
        head = ["txn_id,ts,src,dst,amount,ccy"]
        rows = ["T%d,2024-02-29,A,B,%.2f,GBP" % (i, 10 ** rule.uniform(2.7, 6)) for i in range(9000)]
        why = self.small(head + rows)["benford"]["applicability"]["first_two"]["why"]
        self.assertRegex(why, "^not applicable: amounts below about (49|50)[0-9]{3} minor units are missing")
        why = self.small(head + rows[:999])["benford"]["applicability"]["first"]["why"]
        self.assertRegex(why, "^not applicable: 999 amounts, at least 1000")
        near = ["T%d,2024-02-29,A,B,%.2f,GBP" % (i, 10 ** rule.uniform(1, 2)) for i in range(9000)]
        why = self.small(head + near)["benford"]["applicability"]["first_two"]["why"]
        self.assertRegex(why, "^not applicable: p99/p01 is 9\\.")

    def test_item_rules_follow_their_profile(self):
        head = ["txn_id,ts,src,dst,amount,ccy,kind,bal_before,bal_after"]
        rows = ["T1,2024-03-02,A,A,1000.00,GBP,TRANSFER,1000.00,0.00",           # Saturday, self, round, emptied
                "T2,2024-03-04,A,B,2400.00,GBP,CASH_OUT,100.00,-2300.00",        # just below 2,500.00, overdrawn
                "T3,2024-03-04,A,B,5.55,GBP,CASH_IN,100.00,105.55",              # a credit that adds up
                "T4,2024-03-04,A,B,5.55,GBP,CASH_OUT,100.00,95.00"]              # a gap
        limits = {"thresholds_minor": [250000]}
        transfer = self.small(head + rows, dict(limits, profile="transfer"))
        self.assertEqual({"ROUND_1000": 1, "ROUND_100": 1, "JUST_BELOW": 1, "SELF": 1, "ACCOUNT_EMPTIED": 1,
                          "BALANCE_GAP": 1, "OVERDRAWN": 1}, transfer["item_rules"])
        scores = transfer["score_provisional"]
        self.assertIn("for review", scores["text"])
        self.assertEqual({0: 1, 10: 1, 25: 1, 51: 1}, {s: n for s, n in enumerate(scores["histogram"]) if n})
        ap = self.small(head + rows, dict(limits, profile="ap"))
        self.assertEqual({"ROUND_1000": 1, "ROUND_100": 1, "JUST_BELOW": 1, "WEEKEND": 1, "SELF": 1}, ap["item_rules"])
        self.assertEqual({"ROUND_1000": 1, "ROUND_100": 1}, self.small(head + rows, {"profile": "card"})["item_rules"])


if __name__ == "__main__":
    unittest.main()

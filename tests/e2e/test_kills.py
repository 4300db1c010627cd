"""SIGKILL is a normal way to stop any of them: api, broker, worker and scheduler are each killed three times in the middle of a job,
and the report still equals the reference; no item is lost or counted twice; progress never goes back.

The workers' rate window makes the jobs last: --rate 25/1s of two workers and 200 batches are at least 3 s of work, so that a kill at
a known share of the items is provably in the middle (a poll says `processing` before it, and the job is not ended after it)."""
import json
import threading
import time
import unittest
import urllib.error

from fleet import ENDED, Fleet, alive, compare, example_expected, example_text, wait_until

SHARES = (0.1, 0.4, 0.7)
# An api that was killed between its commit and the sending of a DISPATCH waits a whole lease for a batch that nobody has (leases are
# armed in full again after a restart): 30 s by default, which would only make the tests long.
SHORT_LEASE = {"api": ["--lease", "8s"]}


class Watch(threading.Thread):
    """Polls a job until it has ended, through every gap of the api; keeps what went back."""

    def __init__(self, fleet, job):
        super().__init__(daemon=True)
        self.fleet, self.job = fleet, job
        self.faults, self.last, self.polls, self.end = [], None, 0, threading.Event()
        self.start()

    def run(self):
        while not self.end.is_set():
            try:
                answer = self.fleet.get("/batch-jobs/" + self.job, timeout=5)
                if answer.status == 404:
                    self.faults.append("404: an acknowledged job is gone")
                elif answer.status == 200:
                    self.seen(answer.json)
            except (OSError, urllib.error.URLError, json.JSONDecodeError, EOFError):
                pass                            # the api is away or was cut off in mid-answer
            except Exception as err:  # (http.client has many; an api killed in mid-answer shows them)
                if type(err).__module__ != "http.client":
                    self.faults.append(repr(err))
            self.end.wait(0.02)

    def seen(self, now):
        for name in ("items_done", "items_failed", "percent", "batches_done", "attempts", "failures", "lost"):
            if self.last and now[name] < self.last[name]:
                self.faults.append("%s went back from %r to %r" % (name, self.last[name], now[name]))
        if self.last and self.last["status"] in ENDED and now["status"] != self.last["status"]:
            self.faults.append("%s after %s" % (now["status"], self.last["status"]))
        self.last = now
        self.polls += 1

    def close(self):
        self.end.set()
        self.join(20)


class Kills(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.expected, cls.params = example_expected()
        cls.text = example_text()

    def survive(self, kill, seconds=90, **options):
        """Run the example; kill(fleet, round) is called in the middle of it at each of SHARES and must leave a whole fleet."""
        with Fleet(**{"workers": 2, "schedulers": 1, "rate": "25/1s", **options}) as fleet:
            job = fleet.upload(self.text, params=self.params, batch_items=100)
            watch = Watch(fleet, job)
            try:
                for turn, share in enumerate(SHARES):
                    now = wait_until(lambda: self.reached(fleet, job, share), 60, "%d %% of the items" % (100 * share))
                    self.assertEqual("processing", now["status"])
                    self.assertLess(now["items_done"], 20000)
                    kill(fleet, turn)
                end = fleet.finished(job, seconds=seconds)
            finally:
                watch.close()
            self.assertEqual([], watch.faults)
            self.assertGreater(watch.polls, 20)
            self.assertEqual((20000, 0, 100.0), (end["items_done"], end["items_failed"], end["percent"]))
            self.assertEqual((end["batches"], 0, 0), (end["batches_done"], end["batches_dead"], end["failures"]), end)
            self.assertEqual([], compare.compare(fleet.report(job), self.expected))
            self.check_rows(fleet, int(job))
            return end

    @staticmethod
    def reached(fleet, job, share):
        now = fleet.job(job)
        return now if now["items_done"] >= share * 20000 else None

    def check_rows(self, fleet, job):
        fleet["api"].stop()
        batches = fleet.query("SELECT no, state, first_item, items_n FROM batch WHERE job_id = ? ORDER BY no", job)
        self.assertEqual({"done"}, {state for _, state, _, _ in batches})
        at = 0
        for _, _, first, n in batches:                     # every item in exactly one batch
            self.assertEqual(at, first)
            at += n
        self.assertEqual(20000, at)
        twice = fleet.query("SELECT batch_id, count(*) FROM attempt WHERE outcome = 'done' AND batch_id IN "
                            "(SELECT id FROM batch WHERE job_id = ?) GROUP BY batch_id HAVING count(*) <> 1", job)
        self.assertEqual([], twice, "a batch recorded twice")
        self.assertEqual([(1,)], fleet.query("SELECT count(*) FROM finalize WHERE job_id = ?", job))
        self.assertEqual([("ok",)], fleet.query("PRAGMA integrity_check"))
        self.assertEqual([], fleet.query("PRAGMA foreign_key_check"))

    @staticmethod
    def again(name):
        def kill(fleet, _):
            fleet[name].kill()
            fleet[name].start()
        return kill

    def test_api_killed_three_times(self):
        self.survive(self.again("api"), extra=SHORT_LEASE)

    def test_broker_killed_three_times(self):
        self.survive(self.again("b1"))

    def test_scheduler_killed_three_times(self):
        self.assertEqual(0, self.survive(self.again("s1"))["lost"])

    def test_worker_killed_three_times_and_its_children_with_it(self):
        def kill(fleet, turn):
            worker = fleet["w%d" % (1 + turn % 2)]
            children = worker.descendants()
            self.assertGreater(len(children), 0)
            worker.kill()
            wait_until(lambda: not any(alive(pid) for pid in children), 5, "the children of a killed worker end")
            worker.start()
        self.survive(kill)

    def test_all_killed_at_once_three_times(self):
        def kill(fleet, _):
            for process in fleet.processes.values():
                process.kill()
            fleet.start()
        self.survive(kill, extra=SHORT_LEASE)

    def test_two_brokers_killed_in_turn(self):
        self.survive(lambda fleet, turn: self.again("b%d" % (1 + turn % 2))(fleet, turn), brokers=2)

    def test_one_of_two_brokers_stays_dead_and_work_goes_on(self):
        def kill(fleet, turn):
            if turn == 0:
                fleet["b1"].kill()
        self.survive(kill, brokers=2)

    def test_restarted_worker_ends_its_old_lease_at_once(self):
        with Fleet(workers=1) as fleet:
            job = fleet.submit("noop", list(range(300)), {"sleep_ms": 2500}, batch_items=100)
            wait_until(lambda: fleet.get("/workers").json["workers"][0]["busy"] == 1, 10, "a batch runs")
            fleet["w1"].kill()
            began = time.monotonic()
            fleet["w1"].start()
            # Every lease was 30 s from now at most; evidence ends them now. Three batches of 2.5 s follow.
            wait_until(lambda: fleet.job(job)["lost"] >= 1, 5, "the old lease is lost")
            end = fleet.finished(job, seconds=25)
            self.assertLess(time.monotonic() - began, 25)
            self.assertEqual((300, 0), (end["items_done"], end["failures"]))
            fleet["api"].stop()
            self.assertEqual({"w1"}, {row[0] for row in fleet.query("SELECT DISTINCT worker FROM attempt WHERE outcome = 'lost'")})

    def test_a_killed_worker_that_stays_dead_costs_no_lease(self):
        """Its fork server tells the fleet when nothing of it runs any more (P34)."""
        with Fleet(workers=2, brokers=2) as fleet:
            job = fleet.submit("noop", list(range(200)), {"sleep_ms": 3000}, batch_items=100)
            busy = lambda: [w["busy"] for w in fleet.get("/workers").json["workers"]]  # noqa: E731
            wait_until(lambda: busy() == [1, 1], 10, "a batch runs in each")
            fleet["w1"].kill()
            wait_until(lambda: fleet.job(job)["lost"] == 1, 8, "the lease of 30 s has ended")
            end = fleet.finished(job, seconds=20)
            self.assertEqual((200, 0, 1), (end["items_done"], end["failures"], end["lost"]))
            wait_until(lambda: [w["name"] for w in fleet.get("/workers").json["workers"]] == ["w2"], 5, "w1 is off the list")
            self.assertIn("event=worker.gone worker=\"w1\"", fleet["api"].text())
            self.assertIn("what=dead", fleet["b1"].text() + fleet["b2"].text())


if __name__ == "__main__":
    unittest.main()

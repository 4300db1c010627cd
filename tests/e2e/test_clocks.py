"""The wall clock jumps, an hour ahead and two back, in each process alone and in all at once: it is for ticks, rows and people. No
lease ends early, no tick fires twice, no retry waits for hours, and ids stay unique and rising."""
import time
import unittest

from clocks import Clocks
from fleet import ENDED, Fleet, wait_until
from test_schedules import set_schedules

HOUR = 3600000
AHEAD, BACK = HOUR, -2 * HOUR


class WallClocks(unittest.TestCase):
    def test_no_lease_ends_early_and_none_is_forgotten(self):
        with Fleet(workers=2, schedulers=1, start=False, extra={"api": ["--lease", "8s"]}) as fleet:
            clocks = Clocks(fleet)
            fleet.start()
            job = fleet.submit("noop", list(range(600)), {"sleep_ms": 2000}, batch_items=100)
            busy = lambda: sum(w["busy"] for w in fleet.get("/workers").json["workers"])  # noqa: E731
            for names, ms in ((["api"], AHEAD), (["w1"], AHEAD), (["api"], BACK), (["w1", "w2"], BACK),
                              (["api", "w1", "w2", "b1", "s1"], AHEAD), (["api", "w1", "w2", "b1", "s1"], BACK)):
                wait_until(lambda: busy() > 0 or fleet.job(job)["status"] in ENDED, 20, "a batch runs")
                for name in names:
                    clocks.set(name, ms)
                done = fleet.job(job)["items_done"]
                wait_until(lambda: fleet.job(job)["items_done"] > done or fleet.job(job)["status"] in ENDED, 20, "work goes on")
            end = fleet.finished(job, seconds=40)
            self.assertEqual((600, 0, 0, 6), tuple(end[k] for k in ("items_done", "failures", "lost", "attempts")), end)
            # A lease ends by the monotonic clock also then: this worker dies and does not come back.
            job = fleet.submit("noop", list(range(200)), {"sleep_ms": 1500}, batch_items=100)
            wait_until(lambda: busy() == 2, 20, "both work")
            fleet["w1"].kill()
            clocks.set("api", AHEAD)
            self.assertEqual(200, fleet.finished(job, seconds=40)["items_done"])

    def test_a_retry_waits_for_its_backoff_and_not_for_hours(self):
        with Fleet(workers=2, start=False, extra={"api": ["--lease", "8s"]}) as fleet:
            clocks = Clocks(fleet)
            fleet.start()
            for ms in (BACK, AHEAD):
                job = fleet.submit("noop", list(range(2000)), {"fail_attempts": 2}, batch_items=100)
                retrying = lambda: fleet.query("SELECT count(*) FROM batch WHERE job_id = ? AND state = 'retrying'", int(job))[0][0]  # noqa: E731,B023
                wait_until(lambda: retrying() > 5, 20, "batches wait for their second attempt")
                for name in ("api", "w1", "w2"):
                    clocks.set(name, ms)
                fleet["api"].kill()                 # a start reads the wall clock times of the rows
                self.assertGreater(retrying(), 0)
                fleet["api"].start()
                end = fleet.finished(job, seconds=60)
                # A dispatch that the kill caught between its commit and its sending is a lost execution instead.
                self.assertEqual((2000, 0), (end["items_done"], end["batches_dead"]), end)
                self.assertEqual(40, end["failures"] + end["lost"], end)

    def test_no_tick_fires_twice(self):
        with Fleet(workers=1, schedulers=2, start=False) as fleet:
            clocks = Clocks(fleet)
            fleet.start()
            fleet["api"].stop()
            set_schedules(fleet)
            fleet["api"].start()
            count = lambda: fleet.query("SELECT count(*) FROM tick")[0][0]  # noqa: E731
            wait_until(lambda: count() >= 4, 20, "the first ticks")
            every = ("api", "s1", "s2", "w1", "b1")
            for names, ms in ((["s1"], AHEAD), (["s2"], BACK), (["api"], BACK), (every, 0)):
                for name in names:
                    clocks.set(name, ms)
                answered = time.monotonic() + 2.5   # more than a period; a scheduler of a wrong clock has asked for its ticks then
                wait_until(lambda: time.monotonic() > answered, 10)
            before = count()
            wait_until(lambda: count() > before, 20, "the right time again: the schedule goes on")
            for name in every:                      # the clock of the machine: what was missed makes one tick at most, not 1,800
                clocks.set(name, AHEAD)
            wait_until(lambda: count() >= before + 4, 30, "ticks an hour later")
            self.assertLess(count(), before + 30)
            for name in every:
                clocks.set(name, BACK)
            job = fleet.submit("noop", [1, 2, 3])
            self.assertEqual(3, fleet.finished(job, seconds=20)["items_done"])
            for name in ("s1", "s2", "api"):
                fleet[name].stop(20)
            twice = fleet.query("SELECT schedule_id, nominal_at, count(*) FROM tick GROUP BY 1, 2 HAVING count(*) > 1")
            self.assertEqual([], twice)
            jobs = [row[0] for row in fleet.query("SELECT job_id FROM tick WHERE job_id IS NOT NULL")]
            self.assertEqual(len(jobs), len(set(jobs)))
            made = fleet.query("SELECT count(*) FROM processing_job j JOIN task t ON t.id = j.task_id WHERE t.name <> 'noop'")[0][0]
            self.assertEqual(len(jobs), made, "a job without its tick")
            self.assertEqual(int(job), max(row[0] for row in fleet.query("SELECT id FROM processing_job")), "ids rise")


if __name__ == "__main__":
    unittest.main()

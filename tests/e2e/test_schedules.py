"""Exactly one job per nominal time, with three schedulers of which one is killed again and again; and what the two jobs do."""
import os
import random
import sqlite3
import time
import unittest

from fleet import Fleet, wait_until

PERIOD_MS = 2000


def set_schedules(fleet, expression="every 2s", params=None):
    """Another calendar, as if a user had changed it; the api must not run."""
    store = sqlite3.connect(os.path.join(fleet.data, "store.db"))
    with store:
        changed = store.execute("UPDATE schedule SET expression = ?", (expression,)).rowcount
        for name, text in (params or {}).items():
            store.execute("UPDATE schedule SET params = ? WHERE name = ?", (text, name))
        store.execute("UPDATE store_meta SET value = value + 1 WHERE key = 'schedule_revision'")
    store.close()
    return changed


class Schedules(unittest.TestCase):
    def test_every_tick_has_one_job_with_three_schedulers_and_kills(self):
        seed = random.SystemRandom().randrange(1 << 32)
        print("seed of the kills: %d" % seed, flush=True)
        rule = random.Random(seed)
        with Fleet(workers=1, schedulers=3) as fleet:
            fleet["api"].stop()
            self.assertEqual(2, set_schedules(fleet))
            fleet["api"].start()
            deadline, kills = time.monotonic() + 60, 0
            count = lambda: fleet.query("SELECT count(DISTINCT nominal_at) FROM tick")[0][0]  # noqa: E731
            # A kill after each new tick, until there were six of them.
            while (seen := count()) < 6:
                self.assertLess(time.monotonic(), deadline, "%d ticks after 60 s" % seen)
                wait_until(lambda: count() > seen, 15, "another tick after %d" % seen)
                victim = fleet["s%d" % rule.randint(1, 3)]
                victim.kill()
                victim.start()
                kills += 1
            self.assertGreaterEqual(kills, 4)
            checks = fleet.get("/batch-jobs/?task=health_check").json["jobs"]
            for job in checks:
                fleet.finished(job["job_id"], seconds=10)
            last = fleet.get("/health").json["last_check"]
            # This machine may be busy with other tests: that is a true finding, and the only one there may be.
            self.assertEqual([], [text for text in last["unhealthy"] if "CPU" not in text])
            for name in ("s1", "s2", "s3", "w1", "b1", "api"):
                fleet[name].stop(20)
            self.check_ledger(fleet)
            self.check_samples(fleet)

    def check_ledger(self, fleet):
        names = dict(fleet.query("SELECT id, name FROM schedule"))
        self.assertEqual({"health_check", "cleanup_old_jobs"}, set(names.values()))
        jobs = set()
        for schedule, name in names.items():
            ticks = fleet.query("SELECT nominal_at, job_id, late_ms FROM tick WHERE schedule_id = ? ORDER BY nominal_at", schedule)
            # The first may be a missed one of the rule before; from then on none is left out and none twice.
            times = [at for at, _, _ in ticks if at % PERIOD_MS == 0]
            self.assertGreaterEqual(len(times), 5, name)
            self.assertEqual(list(range(times[0], times[-1] + 1, PERIOD_MS)), times, name)
            for at, job, late_ms in ticks:
                self.assertIsNotNone(job, "tick %d of %s" % (at, name))
                self.assertNotIn(job, jobs)
                self.assertGreaterEqual(late_ms, -2000)
                jobs.add(job)
        made = {row[0] for row in fleet.query("SELECT id FROM processing_job WHERE task_id IN "
                                              "(SELECT id FROM task WHERE name IN ('health_check', 'cleanup_old_jobs'))")}
        self.assertEqual(jobs, made, "a job without its tick")
        self.assertGreater(len({row[0] for row in fleet.query("SELECT scheduler FROM tick")}), 0)

    def check_samples(self, fleet):
        seen = dict(fleet.query("SELECT role, group_concat(DISTINCT name) FROM host_sample GROUP BY role"))
        self.assertLessEqual({"worker", "broker", "scheduler"}, set(seen), seen)
        self.assertEqual("w1", seen["worker"])
        self.assertEqual({"s1", "s2", "s3"}, set(seen["scheduler"].split(",")))
        self.assertGreater(fleet.query("SELECT max(memory_total) FROM host_sample WHERE role = 'worker'")[0][0], 1 << 20)

    def test_cleanup_removes_what_is_past_retention_and_nothing_else(self):
        with Fleet(workers=1) as fleet:
            done = [fleet.submit("noop", list(range(250))) for _ in range(30)]
            for job in done:
                fleet.finished(job)
            dead = fleet.submit("noop", [1], {"fail_attempts": 9})
            fleet.finished(dead, "failed")
            waits = fleet.submit("noop", [1], {"sleep_ms": 600000})
            wait_until(lambda: fleet.job(waits)["status"] == "processing", 10, "it runs")
            fleet.finished(fleet.submit("cleanup_old_jobs", [], {"completed_days": 30}), seconds=20)
            self.assertEqual(200, fleet.get("/batch-jobs/" + done[0]).status)
            cleanup = fleet.submit("cleanup_old_jobs", [], {"completed_days": 0})
            self.assertEqual("completed", fleet.finished(cleanup, seconds=20)["status"])
            self.assertEqual({404}, {fleet.get("/batch-jobs/" + job).status for job in done})
            self.assertEqual("failed", fleet.job(dead)["status"])
            self.assertEqual("processing", fleet.job(waits)["status"])
            fleet["w1"].kill()
            fleet["api"].stop()
            for table, column in (("batch", "job_id"), ("chunk", "job_id")):
                left = {row[0] for row in fleet.query("SELECT DISTINCT %s FROM %s" % (column, table))}
                self.assertFalse(left & {int(job) for job in done}, table)
            self.assertEqual([], fleet.query("PRAGMA foreign_key_check"))


if __name__ == "__main__":
    unittest.main()

"""What goes wrong in a batch stays in the batch: classes of failure, retries, the dead, and workers that live on or leave in order."""
import unittest

from fleet import Fleet, wait_until


class Failures(unittest.TestCase):
    def dies(self, task, classes, workers=1):
        """A job of `task` ends failed after three executions; the worker does the next job with another child."""
        with Fleet(workers=workers, test_tasks=True) as fleet:
            before = [fleet["w%d" % (i + 1)].pid for i in range(workers)]
            job = fleet.submit(task, ["a", "b"])
            end = fleet.finished(job, "failed", seconds=60)
            after = fleet.submit("noop", [1, 2, 3])
            self.assertEqual(3, fleet.finished(after, seconds=20)["items_done"])
            self.assertEqual(before, [fleet["w%d" % (i + 1)].pid for i in range(workers)])
            self.assertFalse(any(fleet["w%d" % (i + 1)].ended() for i in range(workers)))
            self.assertEqual((0, 2, 1, 1), (end["items_done"], end["items_failed"], end["batches"], end["batches_dead"]), end)
            self.assertTrue(end["error"]["code"])
            self.assertRegex(end["error"]["detail"], r"\b1\b.*\b2\b", "the error names the items")
            fleet["api"].stop()
            rows = fleet.query("SELECT a.outcome, a.failure_class, a.text FROM attempt a JOIN batch b ON b.id = a.batch_id "
                               "WHERE b.job_id = ? ORDER BY a.attempt", int(job))
            for outcome, failure_class, text in rows:
                self.assertEqual("failed", outcome)
                self.assertIn(failure_class, classes)
                self.assertTrue(text)
            return end, rows

    def test_crash(self):
        end, rows = self.dies("crash", {"crash"})
        self.assertEqual((3, 3), (len(rows), end["failures"]))

    def test_crash_on_two_workers_is_quarantined_or_used_up(self):
        end, rows = self.dies("crash", {"crash"}, workers=2)
        self.assertIn(len(rows), (2, 3))
        self.assertEqual(len(rows), end["failures"])

    def test_hang_is_ended_by_its_time_limit(self):
        self.assertEqual(3, len(self.dies("hang", {"time_limit"})[1]))

    def test_eat_is_ended_by_its_memory_limit(self):
        self.assertEqual(3, len(self.dies("eat", {"out_of_memory"})[1]))

    def test_flood_is_ended_by_the_output_limit(self):
        _, rows = self.dies("flood", {"output_limit"})
        self.assertIn(len(rows), (1, 3))            # a result that is too large may be called permanent

    def test_third_attempt_may_succeed(self):
        with Fleet(workers=2) as fleet:
            job = fleet.submit("noop", list(range(250)), {"fail_attempts": 2}, batch_items=100)
            end = fleet.finished(job, seconds=60)
            self.assertEqual((250, 0, 3, 6, 9, 0), tuple(end[k] for k in (
                "items_done", "items_failed", "batches", "failures", "attempts", "lost")))
            fleet["api"].stop()
            rows = fleet.query("SELECT attempt, outcome, failure_class FROM attempt ORDER BY attempt, id")
            self.assertEqual([(1, "failed", "task_error")] * 3 + [(2, "failed", "task_error")] * 3 + [(3, "done", "")] * 3, rows)

    def test_a_dead_batch_names_its_items_and_fails_the_job(self):
        with Fleet(workers=2) as fleet:
            job = fleet.submit("noop", list(range(250)), {"fail_attempts": 5}, batch_items=100)
            end = fleet.finished(job, "failed", seconds=60)
            self.assertEqual((0, 250, 3, 3, 9), tuple(end[k] for k in (
                "items_done", "items_failed", "batches", "batches_dead", "failures")))
            self.assertRegex(end["error"]["detail"], r"\b250\b")
            self.assertEqual(409, fleet.request("POST", "/batch-jobs/%s/cancel" % job, b"").status)

    def test_sigterm_hands_work_to_another_worker_uncounted(self):
        with Fleet(workers=2) as fleet:
            job = fleet.submit("noop", list(range(2000)), {"sleep_ms": 150}, batch_items=100)
            busy = lambda: [w["busy"] for w in fleet.get("/workers").json["workers"] if w["name"] == "w1"] == [1]  # noqa: E731
            wait_until(busy, 10, "w1 works")
            self.assertEqual("processing", fleet.job(job)["status"])
            fleet["w1"].stop(20)                    # exit code 0 is checked there
            self.assertLess(fleet.job(job)["items_done"], 2000)
            end = fleet.finished(job, seconds=60)
            self.assertEqual((2000, 0, 0, 20), tuple(end[k] for k in ("items_done", "failures", "lost", "batches_done")), end)
            self.assertEqual(20, end["attempts"], "each batch ran once: what waited was handed back uncounted")
            wait_until(lambda: [w["name"] for w in fleet.get("/workers").json["workers"]] == ["w2"], 5, "w1 is off the list")

    def test_all_processes_leave_on_sigterm_with_0_while_they_work(self):
        with Fleet(workers=2, schedulers=1, brokers=2) as fleet:
            job = fleet.submit("noop", list(range(1000)), {"sleep_ms": 100}, batch_items=100)
            wait_until(lambda: fleet.job(job)["status"] == "processing", 10, "it works")
            for name in ("s1", "w1", "w2", "b1", "b2", "api"):
                fleet[name].stop(20)
            fleet.start()
            end = fleet.finished(job, seconds=60)
            self.assertEqual((1000, 0, 0), (end["items_done"], end["failures"], end["lost"]))


if __name__ == "__main__":
    unittest.main()

"""The real limit: in no window, wherever it begins, does a worker start more than n batches, also not over a SIGKILL.

Start times are taken from two places: the worker's own start log (exact, on the boot clock) and the store's history of attempts
(end minus duration, as it heard of them: some milliseconds late each)."""
import os
import unittest

from fleet import Fleet, TRANSACTIONS, wait_until

HEADER = b"txn_id,ts,src,dst,amount,ccy\n"
HEARD_LATE_MS = 150


def rows(n):
    return HEADER + b"".join(b"T%d,2024-02-29,A,B,7.00,GBP\n" % i for i in range(n))


def starts_of(fleet, worker):
    with open(os.path.join(fleet.folder, "state-" + worker, "starts"), encoding="ascii") as file:
        lines = [line.split() for line in file.read().splitlines()[1:]]
    return sorted(int(line[0]) for line in lines if line[1] == TRANSACTIONS)


def most_in_a_window(times, window_ms):
    """The largest number of times in any [t, t + window)."""
    times = sorted(times)
    return max(sum(t <= other < t + window_ms for other in times) for t in times)


class Rate(unittest.TestCase):
    def test_most_in_a_window_is_found_wherever_it_begins(self):
        self.assertEqual(3, most_in_a_window([0, 900, 1000, 1899, 1900], 1000))

    def run_limited(self, fleet, job, seconds, kill_at=()):
        for items in kill_at:
            wait_until(lambda: fleet.job(job)["items_done"] >= items, 30, "%d items" % items)
            self.assertEqual("processing", fleet.job(job)["status"])
            fleet["w1"].kill()
            fleet["w1"].start()
        return fleet.finished(job, seconds=seconds)

    def check(self, fleet, job, n, window_ms, worker="w1"):
        fleet["api"].stop()
        starts = starts_of(fleet, worker)
        heard = [at - duration // 1000 for at, duration in fleet.query(
            "SELECT ended_at, duration_us FROM attempt WHERE worker = ? AND outcome = 'done' AND batch_id IN "
            "(SELECT id FROM batch WHERE job_id = ?)", worker, int(job))]
        self.assertGreaterEqual(len(starts), len(heard))
        self.assertLessEqual(most_in_a_window(starts, window_ms), n)
        self.assertLessEqual(most_in_a_window(heard, window_ms - HEARD_LATE_MS), n)
        return starts, heard

    def test_no_window_has_more_starts_than_the_limit(self):
        with Fleet(workers=1, rate="10/3s") as fleet:
            job = fleet.upload(rows(2700), batch_items=100)
            end = self.run_limited(fleet, job, 30)
            starts, heard = self.check(fleet, job, 10, 3000)
            self.assertEqual((27, 27, 27), (end["batches"], len(starts), len(heard)))
            # And it is a limit, not a brake: the tenth does not wait for the second window.
            self.assertLess(starts[9] - starts[0], 3000)
            self.assertLess(starts[-1] - starts[0], 4 * 3000)

    def test_the_limit_holds_over_kills_of_the_worker(self):
        with Fleet(workers=1, rate="10/5s") as fleet:
            job = fleet.upload(rows(2600), batch_items=100)
            self.run_limited(fleet, job, 40, (500, 1000, 1700))
            starts, _ = self.check(fleet, job, 10, 5000)
            self.assertGreaterEqual(len(starts), 26)

    def test_the_limit_of_the_task_itself_is_ten_a_minute(self):
        with Fleet(workers=1, rate=None) as fleet:
            job = fleet.upload(rows(1200), batch_items=100)
            ten = wait_until(lambda: self.ten_done(fleet, job), 10, "ten batches are done")
            self.assertEqual(("processing", 1000, 12), (ten["status"], ten["items_done"], ten["batches"] + ten["batches_estimated"]))
            self.assertTrue(wait_until(lambda: self.used(fleet) == 10, 5, "the worker says that its window is full"))
            fleet["w1"].kill()
            fleet["w1"].start()
            # The new one has read the log of the old: its window is as full, and it is offered the two batches that wait.
            wait_until(lambda: self.used(fleet) == 10, 10, "the restarted worker's window is full")
            self.assertEqual((10, 10), (self.ten_done(fleet, job)["batches_done"], len(starts_of(fleet, "w1"))))
            stats = fleet.get("/batch-jobs/stats/summary").json
            self.assertEqual(0, stats["leased_batches"])
            self.assertEqual(2, stats["waiting_batches"])
            self.assertGreater(stats["oldest_waiting_seconds"], 0)
            waits = fleet.job(job)
            self.assertEqual((10, 2), (waits["batches"], waits["batches_estimated"]))
            self.assertEqual(200, fleet.request("POST", "/batch-jobs/%s/cancel" % job, b"").status)
            self.assertEqual(0, fleet.get("/batch-jobs/stats/summary").json["waiting_batches"])

    @staticmethod
    def ten_done(fleet, job):
        now = fleet.job(job)
        return now if now["batches_done"] >= 10 else None

    @staticmethod
    def used(fleet):
        for worker in fleet.get("/workers").json["workers"]:
            if worker["pid"] == fleet["w1"].pid:
                for limit in worker["limits"]:
                    if limit["task"] == TRANSACTIONS:
                        assert (limit["limit"], limit["window_ms"]) == (10, 60000), limit
                        return limit["used"]
        return None


if __name__ == "__main__":
    unittest.main()

"""SIGSTOP of each process for longer than anybody waits for it: all that was submitted completes after SIGCONT, each item counted once.
The fleets suffer side by side, and a lease is shorter than the stop, so that what was stopped has lost its work when it wakes up."""
import os
import signal
import threading
import unittest

from fleet import Fleet, wait_until

STOP_S = 20
ITEMS, BATCH = 3000, 100


class Stops(unittest.TestCase):
    def suffer(self, name, out):
        """One fleet whose process `name` is stopped in the middle of a job and goes on after STOP_S."""
        try:
            with Fleet(brokers=1, workers=2, schedulers=1, extra={"api": ["--lease", "8s"]}) as fleet:
                job = fleet.submit("noop", list(range(ITEMS)), {"sleep_ms": 400}, batch_items=BATCH)
                wait_until(lambda: fleet.job(job)["items_done"] >= 500, 30, "it is in the middle")
                before = {n: p.pid for n, p in fleet.processes.items()}
                os.kill(fleet[name].pid, signal.SIGSTOP)
                threading.Event().wait(STOP_S)      # the stop itself; nothing is proven by its length
                seen = fleet.job(job) if name != "api" else None
                os.kill(fleet[name].pid, signal.SIGCONT)
                end = fleet.finished(job, seconds=60)
                after = fleet.submit("noop", list(range(300)), batch_items=BATCH)
                out[name] = {"end": end, "seen": seen, "after": fleet.finished(after, seconds=30), "same": before == {
                    n: p.pid for n, p in fleet.processes.items() if not p.ended()}, "logs": {n: p.text() for n, p in fleet.processes.items()},
                    "done": fleet.query("SELECT count(*), count(DISTINCT batch_id) FROM attempt JOIN batch b ON b.id = batch_id "
                                        "WHERE outcome = 'done' AND b.job_id IN (?, ?)", int(job), int(after))[0],
                    "twice": fleet.query("SELECT batch_id, attempt, count(*) FROM attempt GROUP BY 1, 2 HAVING count(*) > 1")}
        except BaseException as err:  # told by the test's own thread
            out[name] = err

    def test_each_process_is_stopped_for_20_seconds(self):
        out = {}
        threads = [threading.Thread(target=self.suffer, args=(name, out)) for name in ("api", "b1", "w1", "s1")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
        for name, found in sorted(out.items()):
            with self.subTest(name):
                if isinstance(found, BaseException):
                    raise found
                end = found["end"]
                self.assertEqual((ITEMS, 0, 0, ITEMS // BATCH), tuple(end[k] for k in (
                    "items_done", "items_failed", "batches_dead", "batches_done")), end)
                self.assertEqual(0, end["failures"], "a stop is nobody's failure")
                self.assertEqual(300, found["after"]["items_done"])
                self.assertTrue(found["same"], "a process has ended")
                self.assertEqual(((ITEMS + 300) // BATCH,) * 2, found["done"], "each batch is recorded once")
                self.assertEqual([], found["twice"])
        self.assertEqual({"api", "b1", "w1", "s1"}, set(out))
        # Who was stopped: the others go on without it where they can, and each says what it misses, once.
        self.assertGreater(out["w1"]["seen"]["items_done"], 500, "the other worker went on")
        self.assertEqual(1, out["w1"]["logs"]["b1"].count('what=silent role=worker name="w1"'))
        self.assertIn(out["w1"]["end"]["lost"], (0, 1, 2))
        self.assertEqual("completed", out["s1"]["seen"]["status"], "nobody waits for a scheduler")
        self.assertEqual(1, out["b1"]["logs"]["api"].count("event=api.broker_silent"))
        self.assertEqual(1, out["b1"]["logs"]["w1"].count("event=worker.broker_down"))
        self.assertEqual(1, out["api"]["logs"]["api"].count("event=api.gap"))
        # What waited in the two workers was dropped when no lease could be renewed (P27); what ran had ended before.
        self.assertLessEqual(out["api"]["end"]["lost"], 4)


if __name__ == "__main__":
    unittest.main()

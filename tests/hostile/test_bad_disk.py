"""Bad days of the disk under a running api: full, a sync that fails, a read that fails, bytes that changed. What was acknowledged is
there afterwards, nothing wrong is told, and the same brokers and workers do the next job."""
import ctypes
import os
import sqlite3
import sys
import unittest
import urllib.error

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from fleet import BUILD, Fleet, wait_until  # noqa: E402

libc = ctypes.CDLL(None, use_errno=True)
MNT_DETACH = 2
REMEMBERED = ("status", "items_total", "items_done", "items_failed", "batches_done", "attempts", "params", "error")


def mount(folder, size):
    """A small file system of its own; skips the test where that is not allowed."""
    if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=%d,mode=700" % size):
        raise unittest.SkipTest("a small tmpfs cannot be mounted: " + os.strerror(ctypes.get_errno()))


class BadDisk(unittest.TestCase):
    def lives_on(self, fleet, pids):
        """The next job is done, by the same brokers and workers."""
        end = fleet.finished(fleet.submit("noop", list(range(300)), batch_items=100), seconds=30)
        self.assertEqual((300, 0), (end["items_done"], end["items_failed"]))
        now = {name: process.pid for name, process in fleet.processes.items() if name != "api"}
        self.assertEqual(pids, now)
        self.assertEqual([], [name for name, process in fleet.processes.items() if process.ended()])

    @staticmethod
    def pids(fleet):
        return {name: process.pid for name, process in fleet.processes.items() if name != "api"}

    def same(self, fleet, jobs):
        """What the api says of jobs that had ended before is what it said then."""
        for job, before in jobs.items():
            now = fleet.job(job)
            self.assertEqual([before[name] for name in REMEMBERED], [now[name] for name in REMEMBERED])

    def whole(self, fleet):
        self.assertEqual([("ok",)], fleet.query("PRAGMA integrity_check"))

    # -- full

    def test_a_full_disk_refuses_with_507_keeps_all_and_recovers(self):
        fleet = Fleet(workers=2, start=False)
        with fleet:
            mount(fleet.data, 40 << 20)             # the api waits for 16 MiB of room
            self.addCleanup(libc.umount2, fleet.data.encode(), MNT_DETACH)
            try:
                self.fill_and_free(fleet)
            finally:
                fleet["api"].kill()
                libc.umount2(fleet.data.encode(), MNT_DETACH)

    def fill_and_free(self, fleet):
        fleet.start()
        pids = self.pids(fleet)
        done = {job: fleet.finished(job) for job in [fleet.submit("noop", [1, 2, 3]) for _ in range(3)]}
        # Twelve batches of a second: some end before, some while there is no room.
        running = fleet.submit("noop", list(range(1200)), {"sleep_ms": 1000}, batch_items=100)
        wait_until(lambda: fleet.job(running)["items_done"] > 0, 20, "the first batch is recorded")
        ballast = os.path.join(fleet.data, "ballast")
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(b"\1" * 65536):
                    pass
            except OSError:
                pass
        accepted = []

        def refused():
            answer = fleet.submit_answer("noop", ["x" * 30000 + str(len(accepted))])
            if answer.status == 202:
                accepted.append(answer.json["job_id"])
            return answer if answer.status != 202 else None
        answer = wait_until(refused, 20, "a submission is refused")
        self.assertEqual((507, "disk_full", 507), (answer.status, answer.json["code"], answer.json["status"]), answer)
        self.assertRegex(answer.json["detail"], "disk")
        self.assertEqual(507, fleet.submit_answer("noop", [1]).status)
        self.same(fleet, done)                                  # reading goes on
        health = fleet.get("/health")
        self.assertEqual((503, "full"), (health.status, health.json["store"]["status"]), health)
        wait_until(lambda: "event=store.rolled_back error=disk_full" in fleet["api"].text(), 10)
        self.assertFalse(fleet["api"].ended())
        os.unlink(ballast)
        wait_until(lambda: fleet.submit_answer("noop", [1]).status == 202, 20, "submissions are taken again")
        end = fleet.finished(running, seconds=60)
        self.assertEqual((1200, 0, 0), (end["items_done"], end["items_failed"], end["failures"]))
        for job in accepted:
            fleet.finished(job)
        self.same(fleet, done)
        self.lives_on(fleet, pids)
        fleet["api"].stop()
        self.whole(fleet)

    # -- a failing sync, a failing read

    def failing(self, **options):
        """A fleet whose api's disk can be told to fail."""
        layer = os.path.join(BUILD, "preload", "failing_disk.so")
        self.assertTrue(os.path.exists(layer), layer + " is missing: make test builds it")
        fleet = Fleet(start=False, **options)
        api = fleet["api"]
        api.arguments = ["env", "LD_PRELOAD=" + layer, "STINT_TEST_DISK=" + fleet.folder, *api.arguments]
        return fleet

    @staticmethod
    def order(fleet, kind, path_ends_with):
        with open(os.path.join(fleet.folder, kind + ".new"), "w", encoding="utf-8") as file:
            file.write(path_ends_with)
        os.rename(file.name, os.path.join(fleet.folder, kind))

    def ended_with(self, fleet, code, *says):
        wait_until(fleet["api"].ended, 20, "the api ends")
        self.assertEqual(code, fleet["api"].popen.returncode, fleet["api"].text()[-2000:])
        last = fleet["api"].text().splitlines()[-1]
        for part in ("event=api.failed", *says):
            self.assertIn(part, last)

    def syncs(self, fleet):
        with open(os.path.join(fleet.folder, "syncs"), encoding="utf-8") as file:
            return file.read().splitlines()

    def test_a_sync_that_fails_once_ends_the_api_and_is_never_tried_again(self):
        with self.failing(workers=1) as fleet:
            fleet.start()
            pids = self.pids(fleet)
            done = {job: fleet.finished(job) for job in [fleet.submit("noop", [1, 2, 3]) for _ in range(5)]}
            self.order(fleet, "sync", "store.db-wal")
            try:
                answer = fleet.submit_answer("noop", ["not promised"])
                self.assertGreaterEqual(answer.status, 500, answer)
            except (urllib.error.URLError, OSError):
                pass                                            # it had ended before the answer left
            self.ended_with(fleet, 74, "error=io_error", "disk I/O error")
            lines = self.syncs(fleet)
            self.assertEqual("failed", lines[-1].split()[-1], lines[-3:])
            self.assertEqual(1, sum(line.endswith("failed") for line in lines))
            self.assertGreater(os.path.getsize(os.path.join(fleet.data, "store.db-wal")), 0, "the log was taken away")
            fleet["api"].start()
            wait_until(fleet.whole, 20)
            self.assertEqual("ok", self.syncs(fleet)[len(lines)].split()[-1])
            self.same(fleet, done)
            self.lives_on(fleet, pids)
            fleet["api"].stop()
            self.whole(fleet)

    def test_a_read_that_fails_is_an_error_and_no_answer_is_made_up(self):
        with self.failing(workers=1) as fleet:
            fleet.start()
            pids = self.pids(fleet)
            done = {job: fleet.finished(job) for job in [fleet.submit("noop", [1, 2, 3], {"sleep_ms": i}) for i in range(20)]}
            fleet["api"].stop()
            fleet["api"].start()                                # nothing is in its memory
            wait_until(fleet.whole, 20)
            hit = 0
            for job in done:
                self.order(fleet, "read", "store.db")
                try:
                    answer = fleet.get("/batch-jobs/" + job)
                except (urllib.error.URLError, OSError):
                    break
                if answer.status != 200:
                    # SQLite calls a read that ends with EIO a damaged file system.
                    self.assertEqual(500, answer.status, answer)
                    self.assertIn(answer.json["code"], ("io_error", "corrupt"))
                    hit += 1
                    break
                self.assertEqual(done[job]["params"], answer.json["params"])
            pending = os.path.join(fleet.folder, "read")
            if os.path.exists(pending):
                os.unlink(pending)
            self.assertFalse(fleet["api"].ended(), "a read for a client ends nothing")
            self.assertEqual(1, hit, "no read reached the disk")
            self.same(fleet, done)
            self.lives_on(fleet, pids)

    # -- bytes that changed

    PARTS = (("SELECT 1, 0", "the header of the file"),
             ("SELECT 1, 100", "the page of the schema"),
             ("SELECT pageno, 0 FROM dbstat WHERE name = 'processing_job' AND pagetype = 'leaf'", "a table page of jobs"),
             ("SELECT pageno, 0 FROM dbstat WHERE name = 'processing_job' AND pagetype = 'internal'", "an inner page of jobs"),
             ("SELECT pageno, 0 FROM dbstat WHERE name = 'batch' AND pagetype = 'leaf'", "a table page of batches"),
             ("SELECT pageno, 0 FROM dbstat WHERE name = 'sqlite_autoindex_batch_1' AND pagetype = 'leaf'", "an index page of batches"),
             ("SELECT pageno, 0 FROM dbstat WHERE name = 'job_finished' AND pagetype = 'leaf'", "an index page of jobs"),
             ("SELECT pageno, 0 FROM dbstat WHERE name = 'sqlite_autoindex_task_1' AND pagetype = 'leaf'", "an index page of tasks"),
             ("SELECT pageno, 3 FROM dbstat WHERE name = 'processing_job' AND pagetype = 'leaf'", "the number of rows of a page"))

    def test_a_changed_byte_is_an_error_and_never_another_answer(self):
        with Fleet(workers=1) as fleet:
            pids = self.pids(fleet)
            jobs = [fleet.submit("noop", [i], {"sleep_ms": i % 3}) for i in range(60)]
            done = {job: fleet.finished(job) for job in jobs}
            fleet["api"].stop()
            path = os.path.join(fleet.data, "store.db")
            with open(path, "rb") as file:
                good = file.read()
            store = sqlite3.connect(path)
            places = [(store.execute(sql).fetchone(), what) for sql, what in self.PARTS]
            store.close()
            refused = answered = 0
            for place, what in places:
                self.assertIsNotNone(place, "no " + what)
                with self.subTest(what):
                    at = (place[0] - 1) * 4096 + place[1]
                    bad = bytearray(good)
                    bad[at] ^= 0x40
                    with open(path, "wb") as file:
                        file.write(bad)
                    ended, errors = self.look(fleet, done)
                    refused += ended
                    answered += errors
                    self.assertTrue(ended or errors or what.startswith("an index"), "nobody noticed " + what)
                    self.found_offline(path)
            self.assertGreater(refused, 2)
            for name in ("store.db-wal", "store.db-shm"):
                if os.path.exists(os.path.join(fleet.data, name)):
                    os.unlink(os.path.join(fleet.data, name))
            with open(path, "wb") as file:
                file.write(good)                                # the backup is put in place
            fleet["api"].start()
            wait_until(fleet.whole, 20)
            self.same(fleet, done)
            self.lives_on(fleet, pids)

    def look(self, fleet, done):
        """Start and read all: (it refused to start or ended itself, answers that were errors). A 200 must be true."""
        api = fleet["api"]
        at = os.path.getsize(api.log)
        api.start(ready=False)
        wait_until(lambda: api.ended() or "event=api.ready" in api.text(at), 20, "it starts or ends")
        errors = 0
        for job, before in done.items():
            if api.ended():
                break
            try:
                answer = fleet.get("/batch-jobs/" + job)
            except (urllib.error.URLError, OSError):
                break
            if answer.status == 200:
                self.assertEqual([before[name] for name in REMEMBERED], [answer.json[name] for name in REMEMBERED])
            else:
                self.assertEqual((500, "corrupt"), (answer.status, answer.json["code"]), answer)
                errors += 1
        if not api.ended():
            api.kill()
            return 0, errors
        self.assertEqual(65, api.popen.returncode, api.text(at))
        last = api.text().splitlines()[-1]
        self.assertIn("error=corrupt", last)
        self.assertRegex(last, "malformed|damaged|not a database")
        return 1, errors

    def found_offline(self, path):
        """What docs/operations.md names finds it with the api stopped."""
        store = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
        try:
            self.assertNotEqual([("ok",)], store.execute("PRAGMA integrity_check").fetchall())
        except sqlite3.DatabaseError:
            pass
        finally:
            store.close()


if __name__ == "__main__":
    unittest.main()

"""Tasks that do their worst: they crash, hang, eat memory, fork without end, leave processes behind, write a gigabyte, close their
descriptors. The worker lives on with the same process, nothing of the task is left, the memory is back, and the failure has the right
class and a message that names it."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from fleet import ENDED, FleetTest, wait_until  # noqa: E402

SLOTS = 2
MEBIBYTE = 1 << 20


def processes_of(folder):
    """{id: resident bytes} of all processes that began as a worker whose state is in `folder`, whoever their parent is now. What a
    task forks keeps the command line of its worker."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as file:
                    line = file.read()
                with open("/proc/%s/statm" % name, encoding="ascii") as file:
                    resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"stint-worker" in line and folder.encode() in line:
                found[int(name)] = resident
    return found


class Children(FleetTest):
    options = {"workers": 1, "slots": SLOTS, "test_tasks": True}

    def setUp(self):
        self.pid = self.fleet["w1"].pid
        self.settled()
        self.before = sum(processes_of(self.fleet.folder).values())

    def settled(self):
        """The worker, its fork server and a child for each slot: no more, and no fewer."""
        wait_until(lambda: len(processes_of(self.fleet.folder)) == 2 + SLOTS, 20,
                   "%d processes of the worker; there are %s" % (2 + SLOTS, processes_of(self.fleet.folder)))

    def tearDown(self):
        self.settled()
        wait_until(lambda: sum(processes_of(self.fleet.folder).values()) < self.before + 64 * MEBIBYTE, 10, "the memory is back")
        self.assertEqual(self.pid, self.fleet["w1"].pid)
        self.assertFalse(self.fleet["w1"].ended())
        after = self.fleet.submit("noop", list(range(300)), batch_items=100)
        self.assertEqual(300, self.fleet.finished(after, seconds=20)["items_done"])

    def ends(self, task, params=None, seconds=60, status="completed"):
        return self.fleet.finished(self.fleet.submit(task, [1], params), status, seconds=seconds)

    def fails(self, task, failure_class, words, params=None):
        """Three executions, all ended in the same way."""
        job = self.fleet.submit(task, [1], params)
        wait_until(lambda: self.fleet.job(job)["status"] in ENDED, 60, "it ends")
        rows = self.fleet.query("SELECT a.failure_class, a.text FROM attempt a JOIN batch b ON b.id = a.batch_id WHERE b.job_id = ?",
                                int(job))
        self.assertEqual({failure_class}, {row[0] for row in rows}, rows)
        self.assertEqual(3, len(rows), rows)
        for _, text in rows:
            self.assertRegex(text, words)
        self.assertEqual("failed", self.fleet.job(job)["status"])

    def test_crash(self):
        self.fails("crash", "crash", "SIGSEGV")

    def test_hang_that_ignores_sigterm(self):
        self.fails("hang", "time_limit", "hard time limit of 2 s")

    def test_eat(self):
        self.fails("eat", "out_of_memory", "memory limit of 128 MiB")

    def test_fork_without_end_in_the_group_of_the_task(self):
        self.fails("fork", "process_limit", "limit of 64 processes", {"own_session": False})

    def test_fork_without_end_each_in_its_own_session(self):
        self.fails("fork", "process_limit", "limit of 64 processes", {"own_session": True})

    def test_processes_left_behind_by_a_task_that_went_well(self):
        for own_session in (False, True):
            end = self.ends("fork", {"processes": 40, "own_session": own_session, "stay": False})
            self.assertEqual((1, 0), (end["items_done"], end["failures"]))
            self.settled()

    def test_what_a_cancelled_task_forked_is_gone(self):
        job = self.fleet.submit("fork", [1], {"processes": 40, "own_session": True})
        wait_until(lambda: len(processes_of(self.fleet.folder)) == 2 + SLOTS + 40, 20, "40 more")
        self.assertEqual(200, self.fleet.request("POST", "/batch-jobs/%s/cancel" % job, b"").status)

    def test_what_a_task_forked_dies_with_a_killed_worker(self):
        self.fleet.submit("fork", [1], {"processes": 40, "own_session": True})
        wait_until(lambda: len(processes_of(self.fleet.folder)) == 2 + SLOTS + 40, 20, "40 more")
        self.fleet["w1"].kill()
        wait_until(lambda: not processes_of(self.fleet.folder), 20, "nothing of it is left")
        self.fleet["w1"].start()
        self.pid = self.fleet["w1"].pid
        for job in self.fleet.get("/batch-jobs/?limit=1000").json["jobs"]:
            if job["status"] not in ENDED:
                self.fleet.request("POST", "/batch-jobs/%s/cancel" % job["job_id"], b"")

    def test_a_gigabyte_of_output_and_of_a_file(self):
        end = self.ends("fill", {"megabytes": 1024}, seconds=90)
        self.assertEqual((1, 0), (end["items_done"], end["failures"]))

    def test_all_descriptors_closed(self):
        self.fails("close", "crash", "lost its connection to the worker")


if __name__ == "__main__":
    unittest.main()

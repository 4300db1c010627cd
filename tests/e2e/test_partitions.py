"""Networks that break: every process of a worker's machine in a network namespace of its own, joined by a pair of virtual cards to the
one of the brokers, which break one way or both. Needs root; skipped with the reason elsewhere."""
import ctypes
import os
import signal
import subprocess
import unittest

from fleet import Fleet, wait_until

CLONE_NEWNET = 0x40000000
HEARTBEAT_MS = 300
LEASE = "3s"
WRONG_CARD = "02:00:00:00:00:99"    # nobody's: what is sent there is lost in silence


def run(*words):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def reason_not_to():
    """Why this machine cannot do it, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = "stint-try-%d" % os.getpid()
    made = run("ip", "netns", "add", name)
    if made.returncode:
        return "no network namespaces here: %s" % made.stdout.decode().strip()
    pair = run("ip", "-n", name, "link", "add", "one-end", "type", "veth", "peer", "name", "other-end")
    run("ip", "netns", "del", name)
    return "no veth here: %s" % pair.stdout.decode().strip() if pair.returncode else None


class Machines:
    """Namespaces stint-PID-hub and stint-PID-w1.., each worker's joined to the hub by a card of its own. 10.200.K.1 is the hub's end
    of the line to worker K, 10.200.K.2 the worker's."""

    def __init__(self, workers):
        self.prefix = "stint-%d-" % os.getpid()
        self.hub = self.prefix + "hub"
        self.names = [self.hub] + [self.prefix + "w%d" % k for k in range(1, workers + 1)]
        try:
            for name in self.names:
                self.must("ip", "netns", "add", name)
                self.must("ip", "-n", name, "link", "set", "lo", "up")
            for k, name in enumerate(self.names[1:], 1):
                self.must("ip", "-n", self.hub, "link", "add", "to-w%d" % k, "type", "veth", "peer", "name", "to-hub", "netns", name)
                for where, card, address in ((self.hub, "to-w%d" % k, "10.200.%d.1/24" % k), (name, "to-hub", "10.200.%d.2/24" % k)):
                    self.must("ip", "-n", where, "address", "add", address, "dev", card)
                    self.must("ip", "-n", where, "link", "set", card, "up")
                # A second address of the hub on the same line: each broker listens on its own, so that one of them can be lost.
                self.must("ip", "-n", self.hub, "address", "add", "10.200.%d.3/24" % k, "dev", "to-w%d" % k)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def must(*words):
        done = run(*words)
        if done.returncode:
            raise AssertionError("%s: %s" % (" ".join(words), done.stdout.decode()))

    def lose(self, where, to, lost, source=None):
        """What `where` sends to that address (from that source) is lost, or not."""
        if source:
            self.must("ip", "-n", where, "rule", "add" if lost else "del", "from", source, "to", to, "blackhole")
            return
        card = "to-hub" if where != self.hub else "to-w" + to.split(".")[2]
        if lost:
            self.must("ip", "-n", where, "neigh", "replace", to, "lladdr", WRONG_CARD, "dev", card, "nud", "permanent")
        else:
            self.must("ip", "-n", where, "neigh", "del", to, "dev", card)

    def close(self):
        for name in self.names:
            run("ip", "netns", "del", name)


class InNamespace:
    """Runs this process inside a namespace for a while: sockets and children that are made then belong there."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open("/run/netns/" + self.name, os.O_RDONLY)
        self.enter(there)
        os.close(there)

    def __exit__(self, *_):
        self.enter(self.home)
        os.close(self.home)

    @staticmethod
    def enter(fd):
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


class Partitions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.reason = reason_not_to()
        if not cls.reason:
            cls.machines = Machines(2)
            cls.addClassCleanup(cls.machines.close)

    def setUp(self):
        """Two brokers, an api and a scheduler in the hub; a worker in each of the two others; all of it in one process tree."""
        if self.reason:
            self.skipTest(self.reason)
        m = self.machines
        with InNamespace(m.hub):
            self.fleet = Fleet(brokers=2, workers=2, schedulers=1, start=False, heartbeat_ms=HEARTBEAT_MS,
                               extra={"api": ["--lease", LEASE], "worker": ["--insecure", "true"], "broker": ["--insecure", "true"]})
        self.addCleanup(self.close_fleet)
        fleet = self.fleet
        ports = [fleet.ports[1].number, fleet.ports[3].number]
        for i in range(2):
            # The fleet's socket keeps the loopback port; on the other addresses nobody else is in this namespace.
            broker = fleet["b%d" % (i + 1)]
            broker.arguments[broker.arguments.index("--backend") + 1] = "tcp://0.0.0.0:%d" % ports[i]
        for k in (1, 2):
            worker = fleet["w%d" % k]
            worker.arguments[worker.arguments.index("--brokers") + 1] = "tcp://10.200.%d.1:%d,tcp://10.200.%d.3:%d" % (
                k, ports[0], k, ports[1])
            worker.arguments = ["ip", "netns", "exec", m.prefix + "w%d" % k] + worker.arguments
            worker.ready_event = "event=worker.ready"
        self.inside = InNamespace(m.hub)
        self.inside.__enter__()                     # the test's own requests go to the api's loopback
        try:
            fleet.start()
        except BaseException:
            fleet.show_logs()
            raise

    def close_fleet(self):
        self.fleet.close()
        if hasattr(self, "inside"):
            self.inside.__exit__()

    def lines(self, broker, ways):
        """What lose() takes of worker 1's line to broker 0 or 1."""
        hub_end = "10.200.1.%d" % (1, 3)[broker]
        return [{"there": (self.machines.prefix + "w1", hub_end, None), "back": (self.machines.hub, "10.200.1.2", hub_end)}[way]
                for way in ways]

    def cut_and_heal(self, lines, seen):
        """A job runs; in the middle the lines are cut; seen() must become true; they heal; the job ends, and the next one too."""
        fleet = self.fleet
        job = fleet.submit("noop", list(range(4000)), {"sleep_ms": 200}, batch_items=100)
        wait_until(lambda: fleet.job(job)["items_done"] >= 500, 30, "it is in the middle")
        for line in lines:
            self.machines.lose(line[0], line[1], True, line[2])
        try:
            wait_until(seen, 40, "the cut is noticed; w1 says: %s" % fleet["w1"].text()[-2000:])
            at = fleet.job(job)["items_done"]
            wait_until(lambda: fleet.job(job)["items_done"] > at or fleet.job(job)["status"] == "completed", 30, "work goes on meanwhile")
        finally:
            for line in lines:
                self.machines.lose(line[0], line[1], False, line[2])
        end = fleet.finished(job, seconds=90)
        self.assertEqual((4000, 0, 0, 40), tuple(end[k] for k in ("items_done", "failures", "batches_dead", "batches_done")), end)
        wait_until(lambda: sorted(w["name"] for w in fleet.get("/workers").json["workers"]) == ["w1", "w2"], 40, "both are there again")
        twice = fleet.query("SELECT batch_id, count(*) FROM attempt WHERE outcome = 'done' GROUP BY 1 HAVING count(*) > 1")
        self.assertEqual([], twice)
        # The worker that was cut off works again: the other one is stopped, and a job still ends.
        os.kill(fleet["w2"].pid, signal.SIGSTOP)
        try:
            after = fleet.submit("noop", list(range(500)), {"sleep_ms": 50}, batch_items=100)
            self.assertEqual(500, fleet.finished(after, seconds=60)["items_done"])
        finally:
            os.kill(fleet["w2"].pid, signal.SIGCONT)
        self.assertFalse(any(process.ended() for process in fleet.processes.values()))
        return end

    def down(self, broker):
        return lambda: "event=worker.broker_down broker=%d" % broker in self.fleet["w1"].text()

    def test_a_worker_that_loses_one_of_two_brokers_works_through_the_other(self):
        self.assertLessEqual(self.cut_and_heal(self.lines(1, ("there", "back")), self.down(1))["lost"], 4)

    def test_a_broker_that_does_not_hear_a_worker_any_more(self):
        self.assertLessEqual(self.cut_and_heal(self.lines(0, ("there",)), self.down(0))["lost"], 4)

    def test_a_worker_that_loses_all_brokers_comes_back(self):
        def off_the_list():
            return [w["name"] for w in self.fleet.get("/workers").json["workers"]] == ["w2"]
        both = self.lines(0, ("there", "back")) + self.lines(1, ("there", "back"))
        self.assertLessEqual(self.cut_and_heal(both, off_the_list)["lost"], 4)

    def test_a_worker_that_is_heard_by_all_and_hears_nothing(self):
        lines = self.lines(0, ("back",)) + self.lines(1, ("back",))
        self.assertLessEqual(self.cut_and_heal(lines, lambda: self.down(0)() and self.down(1)())["lost"], 6)


if __name__ == "__main__":
    unittest.main()

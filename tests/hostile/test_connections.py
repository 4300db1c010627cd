"""Connections that say nothing, thousands of them, and file descriptors that run out: no process dies or spins, each says one clear
sentence, and when the strangers are gone all is as before."""
import os
import resource
import socket
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from fleet import Fleet, wait_until  # noqa: E402

MANY = 10000
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


class Crowd:
    """Connections that never say a word."""

    def __init__(self, port, n):
        self.lines = []
        for _ in range(n):
            line = socket.socket()
            # Closed by a reset: thousands that linger in TIME_WAIT would be in the way of other tests.
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.setblocking(False)
            try:
                line.connect(("127.0.0.1", port))
            except BlockingIOError:
                pass
            self.lines.append(line)

    def close(self):
        for line in self.lines:
            line.close()


class Connections(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (cls.limits[1], cls.limits[1]))

    @classmethod
    def tearDownClass(cls):
        resource.setrlimit(resource.RLIMIT_NOFILE, cls.limits)

    def works(self, fleet, seconds=30):
        job = wait_until(lambda: fleet.submit("noop", list(range(300)), batch_items=100), seconds, "a job is taken")
        end = fleet.finished(job, seconds=seconds)
        self.assertEqual((300, 0), (end["items_done"], end["failures"]))

    def not_spinning(self, process):
        """Less than half of a core: what libzmq or libmicrohttpd spin with is a whole one. Asked again for a while, because turning a
        crowd away is work too."""
        def calm():
            began, used = time.monotonic(), cpu_seconds(process.pid)
            time.sleep(1)
            return cpu_seconds(process.pid) - used < 0.3 * (time.monotonic() - began)
        wait_until(calm, 20, process.name + " is calm")

    def test_thousands_of_silent_connections_to_each_port(self):
        # What is left of the limit is the test's own and each server's.
        many = min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
        self.assertGreater(many, 500, "the limit of descriptors of this machine is too low for this test: ulimit -Hn")
        with Fleet(workers=1) as fleet:
            pids = {name: process.pid for name, process in fleet.processes.items()}
            for port in (fleet.ports[0].number, fleet.ports[1].number, fleet.port):
                crowd = Crowd(port, many)
                try:
                    self.works(fleet, 60)            # while they stand there
                finally:
                    crowd.close()
            self.works(fleet)
            self.assertEqual(pids, {name: process.pid for name, process in fleet.processes.items()})
            self.assertFalse(any(process.ended() for process in fleet.processes.values()))
            self.assertEqual(0, fleet["b1"].text().count("no_descriptors"), "a limit of thousands is enough for those")
            if many > 1024:                         # max_connections
                self.assertIn("all places are taken", fleet["api"].text())
            wait_until(lambda: descriptors(fleet["b1"].pid) < 100, 20, "the broker has let go of them")
            wait_until(lambda: descriptors(fleet["api"].pid) < 100, 20, "the api has let go of them")

    def test_a_broker_without_descriptors_says_so_and_does_not_spin(self):
        with Fleet(workers=1, start=False) as fleet:
            broker = fleet["b1"]
            limit = 40
            broker.arguments = ["prlimit", "--nofile=%d:%d" % (limit, limit)] + broker.arguments
            broker.ready_event = "event=broker.ready"
            fleet.start()
            job = fleet.submit("noop", list(range(3000)), {"sleep_ms": 100}, batch_items=100)
            crowds = [Crowd(fleet.ports[0].number, 200)]
            try:
                wait_until(lambda: "event=broker.no_descriptors limit=%d" % limit in broker.text(), 10, "it says so")
                crowds.append(Crowd(fleet.ports[1].number, 200))
                self.not_spinning(broker)
                self.assertEqual(1, broker.text().count("no_descriptors"), "once, not once a second")
                self.assertFalse(broker.ended())
            finally:
                for crowd in crowds:
                    crowd.close()
            wait_until(lambda: "event=broker.descriptors_again" in broker.text(), 20, "it says that there is room")
            end = fleet.finished(job, seconds=40)     # who was connected has noticed nothing
            self.assertEqual((3000, 0, 0), (end["items_done"], end["failures"], end["lost"]))
            fleet["w1"].kill()
            fleet["w1"].start()                       # and who comes now is let in
            self.works(fleet)

    def test_an_api_with_few_descriptors_takes_fewer_connections(self):
        with Fleet(workers=1, start=False) as fleet:
            api = fleet["api"]
            api.arguments = ["prlimit", "--nofile=100:100"] + api.arguments
            api.ready_event = "event=api.ready"
            fleet.start()
            self.assertRegex(api.text(), r"limit=100 detail=.max_connections is 36 instead of 1024")
            crowd = Crowd(fleet.port, 400)
            try:
                self.works(fleet, 60)
                self.not_spinning(api)
            finally:
                crowd.close()
            self.works(fleet)

    def test_too_few_descriptors_to_begin_with_is_one_sentence(self):
        with Fleet(workers=1, schedulers=1, start=False) as fleet:
            for process in fleet.processes.values():
                process.arguments = ["prlimit", "--nofile=24:24"] + process.arguments
                process.start(ready=False)
                self.assertEqual(78, process.popen.wait(20))
                self.assertRegex(process.text(), r"may have 24 file descriptors and needs at least \d+")
                self.assertEqual(1, process.text().count("\n"), process.text())


if __name__ == "__main__":
    unittest.main()

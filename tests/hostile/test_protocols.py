"""Other protocols and other ages of ours: HTTP and old ZeroMQ at the broker's ports, frames larger than allowed, ZeroMQ at the HTTP
port. Each is one clear line in a log, and the fleet does the next job."""
import os
import re
import socket
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from fleet import Fleet, wait_until  # noqa: E402

GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL" + b"\0" * 16 + b"\0" + b"\0" * 31
PROPERTIES = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" + b"\x08Identity" + struct.pack(">I", 0)
READY = b"\x04" + bytes([len(PROPERTIES)]) + PROPERTIES
MESSAGE_MAX = 16 << 20
# ZMTP 1.0: a frame is its length + 1, flags, data; the first is the identity. 2.0: the signature, revision 1, type DEALER.
ZMTP_1 = b"\x01\x00" + b"\x05\x00abcd"
ZMTP_2 = b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05" + b"\x00\x00" + b"\x00\x04abcd"


class Protocols(unittest.TestCase):
    def setUp(self):
        self.fleet = Fleet(workers=1)
        self.addCleanup(self.fleet.close)
        self.pids = {name: process.pid for name, process in self.fleet.processes.items()}
        self.lines = []

    def tearDown(self):
        for line in self.lines:
            line.close()
        self.assertEqual(self.pids, {name: process.pid for name, process in self.fleet.processes.items() if not process.ended()})
        end = self.fleet.finished(self.fleet.submit("noop", list(range(300)), batch_items=100), seconds=20)
        self.assertEqual((300, 0, 0), (end["items_done"], end["failures"], end["lost"]))

    def say(self, port, data):
        line = socket.create_connection(("127.0.0.1", port), timeout=15)
        self.lines.append(line)
        try:
            line.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return line

    def strangers(self, endpoint):
        """How many the broker has told of at that endpoint."""
        return sum(int(n) for n in re.findall(r"level=warn .*event=broker\.strangers endpoint=%s n=(\d+) detail=" % re.escape(endpoint),
                                              self.fleet["b1"].text()))

    def test_other_protocols_at_both_ports_of_the_broker_are_one_line(self):
        samples = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 100,
                   b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"SSH-2.0-x\r\n", GREETING[:11], ZMTP_1[:2],
                   b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0PLAIN" + b"\0" * 47]
        began = time.monotonic()
        endpoints = (self.fleet.frontends[0], self.fleet.backends[0])
        lines = [self.say(port.number, data) for port in self.fleet.ports[:2] for data in samples]
        for endpoint in endpoints:
            wait_until(lambda: self.strangers(endpoint) >= len(samples), 40, "the broker tells of %d strangers" % len(samples))  # noqa: B023
            self.assertLessEqual(self.fleet["b1"].text().count("event=broker.strangers endpoint=" + endpoint),
                                 2 + (time.monotonic() - began) / 10, "a line now and then, not one for each")
        for line in lines:                          # each is cut off, or was refused at once
            line.settimeout(10)
            try:
                while line.recv(4096):
                    pass
            except ConnectionResetError:
                pass

    def test_old_peers_of_zeromq_are_not_heard(self):
        for port in self.fleet.ports[:2]:
            for data in (ZMTP_1, ZMTP_2):
                self.say(port.number, data + b"\x01\x00" * 50)
        for endpoint in (self.fleet.frontends[0], self.fleet.backends[0]):
            wait_until(lambda: self.strangers(endpoint) >= 2, 40, "the broker tells of them")  # noqa: B023

    def test_a_frame_over_the_limit_ends_its_connection_before_it_is_read(self):
        with open("/proc/%d/statm" % self.fleet["b1"].pid, encoding="ascii") as file:
            before = int(file.read().split()[1])
        for port in self.fleet.ports[:2]:
            line = self.say(port.number, GREETING + READY)
            sent = 0
            try:
                line.sendall(b"\x02" + struct.pack(">Q", MESSAGE_MAX + 1))
                while sent <= MESSAGE_MAX:
                    line.sendall(bytes(1 << 20))
                    sent += 1 << 20
            except (ConnectionResetError, BrokenPipeError):
                pass
            self.assertLess(sent, MESSAGE_MAX, "all of it was taken")
            # One of just the size that is allowed, in frames that are none of ours, is read and counted.
            line = self.say(port.number, GREETING + READY + b"\x02" + struct.pack(">Q", MESSAGE_MAX))
            for _ in range(16):
                line.sendall(bytes(1 << 20))
        wait_until(lambda: self.strangers(self.fleet.frontends[0]) and self.strangers(self.fleet.backends[0]), 30, "they are counted")

        def memory_is_back():
            with open("/proc/%d/statm" % self.fleet["b1"].pid, encoding="ascii") as file:
                return int(file.read().split()[1]) < before + 16384
        wait_until(memory_is_back, 20, "the memory is back")

    def test_a_worker_and_a_scheduler_that_speak_to_the_http_port_say_so(self):
        endpoint = "tcp://127.0.0.1:%d" % self.fleet.port
        worker = self.fleet.add_worker("w2")
        worker.arguments[worker.arguments.index("--brokers") + 1] = endpoint
        scheduler = self.fleet._add("scheduler", "s2", "--brokers", endpoint)
        try:
            for process, role in ((worker, "worker"), (scheduler, "scheduler")):
                process.start()
                event = "event=%s.broker_unreached" % role
                wait_until(lambda: event in process.text(), 20, role + " says so")  # noqa: B023
                self.assertIn("see --brokers", process.text())
                self.assertEqual(1, process.text().count(event))
            self.assertEqual(["w1"], [w["name"] for w in self.fleet.get("/workers").json["workers"]])
        finally:
            for process in (worker, scheduler):
                process.kill()
            del self.fleet.processes["w2"], self.fleet.processes["s2"]


if __name__ == "__main__":
    unittest.main()

"""Bytes from strangers: whatever they send, by HTTP or to the brokers' ports, they get an answer or nothing; the fleet lives on and
does the next job."""
import json
import os
import random
import socket
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from fleet import FleetTest, TRANSACTIONS, wait_until  # noqa: E402

SUBMIT = b"POST /api/v1/batch-jobs/submit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"task": "noop", "items": [1]}'


def receive_all(line, seconds=15):
    """All bytes until the other side closes; None as second if it did not within the time."""
    line.settimeout(seconds)
    got = b""
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            more = line.recv(65536)
            if not more:
                return got, True
            got += more
    except socket.timeout:
        return got, False
    except (ConnectionResetError, BrokenPipeError):
        return got, True
    return got, False


class Hostile(FleetTest):
    options = {"workers": 2, "schedulers": 1}

    def setUp(self):
        self.pids = {name: process.pid for name, process in self.fleet.processes.items()}

    def tearDown(self):
        """After every test: nobody ended, all are connected, and the next job is done."""
        self.assertEqual([], [name for name, process in self.fleet.processes.items() if process.ended()])
        self.assertEqual(self.pids, {name: process.pid for name, process in self.fleet.processes.items()})
        end = self.fleet.finished(self.fleet.submit("noop", list(range(300)), batch_items=100), seconds=20)
        self.assertEqual((300, 0, 0), (end["items_done"], end["failures"], end["lost"]))
        self.assertEqual("healthy", wait_until(lambda: self.fleet.get("/health").json, 10)["status"])

    def connect(self, port=None):
        line = socket.create_connection(("127.0.0.1", port or self.fleet.port), timeout=15)
        self.addCleanup(line.close)
        return line

    def exchange(self, data, half_close=False):
        """(status of the first answer or None, all bytes, whether it closed)."""
        line = self.connect()
        try:
            line.sendall(data)
            if half_close:
                line.shutdown(socket.SHUT_WR)
        except (ConnectionResetError, BrokenPipeError):
            pass                                    # closed before all was sent: the answer may still be there
        got, closed = receive_all(line, 6)
        head = got.split(b"\r\n", 1)[0].split(b" ")
        return (int(head[1]) if len(head) > 1 and head[0].startswith(b"HTTP/1.") else None), got, closed

    def refused(self, data, statuses=(400,), half_close=False):
        status, got, closed = self.exchange(data, half_close)
        self.assertIn(status, statuses, "%r -> %r" % (data[:200], got[:300]))
        self.assertTrue(closed, "the connection stays open after %r" % data[:200])
        # libmicrohttpd writes the head of its own error pages twice; what matters is that nothing else was answered.
        heads = [part.split(b" ", 1)[0] for part in got.split(b"HTTP/1.1 ")[1:]]
        self.assertEqual({str(status).encode()}, set(heads), "another answer: %r" % got)

    def jobs(self):
        return [job["job_id"] for job in self.fleet.get("/batch-jobs/?limit=1000").json["jobs"]]

    # -- framing of requests

    def test_ambiguous_framing_is_400_and_closed(self):
        before = self.jobs()
        n = str(len(BODY)).encode()
        for extra in (b"Content-Length: " + n + b"\r\nContent-Length: " + n + b"\r\n",
                      b"Content-Length: " + n + b"\r\nContent-Length: 5\r\n",
                      b"Content-Length: " + n + b", " + n + b"\r\n",
                      b"Content-Length: " + n + b"\r\nTransfer-Encoding: chunked\r\n",
                      b"Transfer-Encoding: chunked\r\nContent-Length: " + n + b"\r\n",
                      b"Transfer-Encoding: gzip, chunked\r\n",
                      b"Transfer-Encoding: xchunked\r\n",
                      b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                      b"Content-Length: -5\r\n", b"Content-Length: +30\r\n", b"Content-Length: 0x1e\r\n",
                      b"Content-Length: 99999999999999999999999\r\n", b"Content-Length: \r\n"):
            with self.subTest(extra):
                self.refused(SUBMIT + extra + b"\r\n" + BODY, (400, 413))
        self.assertEqual(before, self.jobs(), "a smuggled submission")

    def test_bad_chunks_are_refused(self):
        before = self.jobs()
        for chunks in (b"zz\r\n" + BODY + b"\r\n0\r\n\r\n", b"-5\r\nabc\r\n", b"FFFFFFFFFFFFFFFFFF\r\nabc\r\n",
                       b"5\r\n" + BODY + b"\r\n0\r\n\r\n", b"\r\n\r\n"):
            with self.subTest(chunks):
                status, got, _ = self.exchange(SUBMIT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, half_close=True)
                self.assertIn(status, (400, 413, None), got[:300])
        self.assertEqual(before, self.jobs())

    def test_host_must_be_there_once(self):
        line = b"GET /api/v1/health HTTP/1.1\r\n"
        self.refused(line + b"\r\n")
        self.refused(line + b"Host: a\r\nHost: b\r\n\r\n")
        self.refused(line + b"Host: a\r\nHost: a\r\n\r\n")

    def test_bad_escapes_and_nul_in_addresses(self):
        for path in (b"/api/v1/batch-jobs/1%00", b"/api/v1/batch-jobs/%00", b"/api/v1/batch-jobs/?task=no%00op",
                     b"/api/v1/batch-jobs/?task=%zz", b"/api/v1/batch-jobs/?task=%", b"/api/v1/batch-jobs/?task=%4",
                     b"/api/v1/batch-jobs/?task=%ff", b"/api/v1/batch-jobs/?limit=1&limit=2", b"/api/v1/../../etc/passwd",
                     b"/api/v1/batch-jobs/-1", b"/api/v1/batch-jobs/1/../2", b"/api/v1/batch-jobs/?cursor=%27%3b--"):
            with self.subTest(path):
                status, got, _ = self.exchange(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertIn(status, (400, 404, 422), got[:300])

    def test_oversized_heads_are_refused_or_closed(self):
        for data in (GET + b"X-Long: " + b"a" * (1 << 20) + b"\r\n\r\n",
                     GET + b"".join(b"X-%d: y\r\n" % i for i in range(60000)) + b"\r\n",
                     b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
            status, got, closed = self.exchange(data)
            self.assertTrue(closed, got[:200])
            self.assertIn(status, (400, 413, 414, 431, None), got[:300])

    def test_garbage_and_other_protocols_get_no_more_than_a_400(self):
        rule_seed = random.SystemRandom().randrange(1 << 32)
        rule = random.Random(rule_seed)
        samples = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rule.randbytes(200), b"SSH-2.0-x\r\n", b"\r\n" * 50 + b"\0" * 50,
                   b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"GET\r\n\r\n",
                   b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff\0\0\0\0\0\0\0\x01\x7f" + b"\3\0NULL".ljust(54, b"\0")]
        samples += [rule.randbytes(rule.randint(1, 3000)) for _ in range(20)]
        for data in samples:
            status, got, _ = self.exchange(data, half_close=True)
            self.assertIn(status, (400, 404, 405, 505, 414, 431, None), "seed %d: %r -> %r" % (rule_seed, data[:50], got[:200]))

    def test_slow_clients_do_not_hold_up_others(self):
        lines = []
        for i in range(100):
            line = self.connect()
            head = SUBMIT + b"Content-Length: 1000\r\n\r\n" + b"[1, " if i % 2 else GET[:-2]
            line.sendall(head[:len(head) - i % 5])
            lines.append(line)
        began = time.monotonic()
        for i in range(20):
            for line in lines[:50]:
                try:
                    line.sendall(b"1")              # a byte now and then
                except OSError:
                    pass
            job = self.fleet.submit("noop", [i])
            self.fleet.finished(job, seconds=10)
        self.assertLess(time.monotonic() - began, 10, "20 jobs beside 100 slow clients")

    def test_requests_in_one_packet_are_answered_in_order(self):
        line = self.connect()
        line.sendall((GET + b"\r\n") * 3 + b"GET /api/v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got, closed = receive_all(line)
        self.assertTrue(closed)
        self.assertEqual([b"200", b"200", b"200", b"404"], [part.split(b" ")[0] for part in got.split(b"HTTP/1.1 ")[1:]])

    # -- JSON

    def submit_bytes(self, body, kind="application/json", path="/batch-jobs/submit"):
        return self.fleet.request("POST", path, body, {"Content-Type": kind})

    def test_bad_json_is_refused_with_a_problem(self):
        item = b'{"task": "noop", "items": [%s]}'
        for body in (b"[" * 100000, b'{"a":' * 100000, item % (b"[" * 100000 + b"]" * 100000), b'{"task": "noop", "task": "noop", "items": [1]}',
                     item % b'{"a": 1, "a": 2}', item % b"NaN", item % b"Infinity", item % b"01",
                     item % b'"\\ud800"', item % b'"\xe9"', item % b'"a\0b"', item % b"1," , item % b"'a'", b"\xef\xbb\xbf" + b"{", b"",
                     b"null", b"[]", b'"noop"', item % b'"\xc0\x80"', (item % b"1") + b"x", b"\0", b'{"task": 1, "items": [1]}',
                     b'{"task": "noop", "items": {}}', b'{"task": "noop", "params": [], "items": [1]}'):
            with self.subTest(body[:60]):
                answer = self.submit_bytes(body)
                self.assertIn(answer.status, (400, 413, 422), answer)
                self.assertEqual(answer.status, json.loads(answer.body)["status"])

    def test_bad_items_of_streams_are_refused_with_their_place(self):
        for body in (b'1\n{"a": 1, "a": 2}\n', b'1\n"\xe9"\n', b"1\n" + b"[" * 60000 + b"\n", b'1\n"a\0b"\n', b"1\n{\n"):
            with self.subTest(body[:40]):
                answer = self.submit_bytes(body, "application/x-ndjson", "/batch-jobs/submit?task=noop")
                self.assertIn(answer.status, (400, 422), answer)
                self.assertEqual(2, answer.json["errors"][0]["line"], answer)
        for body in (b"[1, 1e]", b"[1, [" + b"[" * 60000, b"[1, 2", b"[1 2]", b"[1,]", b'{"a": 1}', b"[1]]", b"[1, \"\xe9\"]"):
            with self.subTest(body[:40]):
                answer = self.submit_bytes(body, "application/json", "/batch-jobs/submit?task=noop")
                self.assertIn(answer.status, (400, 413, 422), answer)

    def test_numbers_beyond_a_double_are_items_but_no_parameters(self):
        """JSON has no bound for numbers: the bytes of an item are kept as they are. What the api itself reads has bounds."""
        for number in (b"1e400", b"-1e400", b"9" * 400):
            answer = self.submit_bytes(b'{"task": "noop", "items": [%s]}' % number)
            self.assertEqual("completed", self.fleet.finished(self.fleet.accepted(answer))["status"])
            for path, body in (("/batch-jobs/submit", b'{"task": "noop", "params": {"sleep_ms": %s}, "items": [1]}' % number),
                               ("/batch-jobs/submit", b'{"task": "noop", "priority": %s, "items": [1]}' % number),
                               ("/batch-jobs/submit?task=noop&param.sleep_ms=" + number.decode(), b"[1]"),
                               ("/batch-jobs/submit?task=noop&priority=" + number.decode(), b"[1]")):
                self.assertIn(self.submit_bytes(body, path=path).status, (400, 422), (path[:60], body[:60]))

    def test_large_numbers_and_long_texts_that_are_json_are_taken(self):
        items = b'[9223372036854775807, -9223372036854775808, 1.7976931348623157e308, "%s", "\\u0000", {"": {"": []}}]' % (b"x" * 60000)
        answer = self.submit_bytes(items, "application/json", "/batch-jobs/submit?task=noop")
        self.assertEqual(202, answer.status, answer)
        self.assertEqual(6, self.fleet.finished(answer.json["job_id"])["items_done"])

    # -- rows

    def test_random_lines_as_csv_end_as_too_many_bad(self):
        seed = random.SystemRandom().randrange(1 << 32)
        rule = random.Random(seed)
        header = b"txn_id,ts,src,dst,amount,ccy\n"
        for n in (1, 5):
            rows = b"".join(rule.randbytes(4096).replace(b"\n", b"x").replace(b"\r", b"x") + b"\n" for _ in range(200 * n))
            job = self.fleet.upload(header + rows, batch_items=100)
            end = self.fleet.finished(job, "failed")
            self.assertEqual("E_TOO_MANY_BAD", end["error"]["code"], "seed %d: %s" % (seed, end))
            self.assertEqual((0, 0, 200 * n), (end["failures"], end["lost"], end["items_total"]), "seed %d" % seed)
            self.assertEqual(200 * n, self.fleet.report(job)["input"]["rejected"])

    def test_pathological_rows_are_counted_not_fatal(self):
        header = b"txn_id,ts,src,dst,amount,ccy\n"
        rows = [b'"' * 60000,
                b"," * 60000,                       # blank: an item, but no row
                b"\0" * 1000,
                b"T,2024-02-29,A,B," + b"9" * 60000 + b",GBP",
                b"x" * 200000,
                b'"unclosed,2024-02-29,A,B,7.00,GBP',
                b"T\xe9,2024-02-29,A,B,7.00,GBP",
                b"T,9999-99-99,A,B,7.00,GBP",
                b"T,2024-02-29,A,B,1e3,GBP"]
        job = self.fleet.upload(header + b"\n".join(rows * 5) + b"\n")
        end = self.fleet.finished(job, "failed")
        self.assertEqual((45, 40, "E_TOO_MANY_BAD"), (end["items_total"], end["items_failed"], end["error"]["code"]))

    # -- the brokers' ports

    def test_strangers_at_the_brokers_ports_change_nothing(self):
        seed = random.SystemRandom().randrange(1 << 32)
        rule = random.Random(seed)
        greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL" + b"\0" * 16 + b"\0" + b"\0" * 31
        dealer = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" + b"\x08Identity" + struct.pack(">I", 0)
        ready = b"\x04" + bytes([len(dealer)]) + dealer
        job = self.fleet.submit("noop", list(range(3000)), {"sleep_ms": 40}, batch_items=100)
        for port in [p.number for p in self.fleet.ports[:2]]:
            samples = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 5000, greeting[:7], greeting[:30], greeting,
                       greeting + ready[:5], greeting + b"\x04\xff" + b"x" * 100,
                       greeting + b"\x06" + struct.pack(">Q", 1 << 62), greeting + ready + b"\x02" + struct.pack(">Q", 1 << 40)]
            samples += [rule.randbytes(rule.randint(1, 5000)) for _ in range(10)]
            # Peers that speak ZMTP well and our protocol badly: frames of anything, in any number.
            for _ in range(20):
                frames = b""
                for k in range(rule.randint(1, 5)):
                    data = rule.choice([b"", rule.randbytes(rule.randint(0, 255)), b"\x93\xceSTNT\x01" + rule.randbytes(30),
                                        b"\x9f" + b"\xce\x53\x54\x4e\x54\x01" + bytes([rule.randint(0, 40)]) + rule.randbytes(100)])[:255]
                    frames += bytes([rule.randint(0, 1), len(data)]) + data
                samples.append(greeting + ready + frames + b"\0\0")
            lines = []
            for data in samples:
                line = self.connect(port)
                lines.append(line)
                try:
                    line.sendall(data)
                except (ConnectionResetError, BrokenPipeError):
                    pass
            for line in lines[::2]:
                line.close()                        # the others stay open, half said
        end = self.fleet.finished(job, seconds=40)
        self.assertEqual((3000, 0, 0), (end["items_done"], end["failures"], end["lost"]), "seed %d" % seed)


if __name__ == "__main__":
    unittest.main()

"""Uploads that are broken, endless or enormous: each is answered with its status and one sentence, nothing of it is stored, the api
stays small, and the same processes do the next job."""
import errno
import gzip
import os
import socket
import sys
import unittest
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from fleet import FleetTest, TRANSACTIONS, wait_until  # noqa: E402

HEADER = b"txn_id,ts,src,dst,amount,ccy\n"
ROW = b"T%d,2024-02-29,A,B,7.00,GBP\n"
LINE_MAX = 65536
MEMORY_MAX = 160 << 20
UPLOAD_MAX, EXPANDED_MAX, ITEMS_MAX = 128 << 20, 256 << 20, 50000


class BadInput(FleetTest):
    options = {"workers": 1, "extra": {"api": ["--max-upload", UPLOAD_MAX, "--max-expanded", EXPANDED_MAX, "--max-items", ITEMS_MAX]}}

    def setUp(self):
        self.pids = {name: process.pid for name, process in self.fleet.processes.items()}
        self.before = self.rows()

    def tearDown(self):
        """Nobody ended, the api did not grow, and the next job is done."""
        self.assertEqual([], [name for name, process in self.fleet.processes.items() if process.ended()])
        self.assertEqual(self.pids, {name: process.pid for name, process in self.fleet.processes.items()})
        end = self.fleet.finished(self.fleet.submit("noop", list(range(300)), batch_items=100), seconds=20)
        self.assertEqual((300, 0, 0), (end["items_done"], end["failures"], end["lost"]))
        with open("/proc/%d/status" % self.fleet["api"].pid, encoding="ascii") as file:
            peak = [int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:")][0]
        self.assertLess(peak, MEMORY_MAX, "the api has grown")

    def rows(self):
        return (self.fleet.query("SELECT count(*) FROM processing_job")[0][0], self.fleet.query("SELECT count(*) FROM chunk")[0][0])

    def nothing_is_stored(self):
        wait_until(lambda: self.rows() == self.before, 20, "nothing is stored: %s, was %s" % (self.rows(), self.before))

    def refused(self, answer, statuses, code, says):
        self.assertIn(answer.status, statuses, answer)
        self.assertEqual((answer.status, code), (answer.json["status"], answer.json["code"]), answer)
        self.assertRegex(answer.json["detail"], says)
        self.nothing_is_stored()
        return answer

    def raw(self, head, pieces, half_close=True):
        """The status line's number of what comes back for a request written by hand, and the whole of it."""
        with socket.create_connection(("127.0.0.1", self.fleet.port), timeout=30) as line:
            try:
                line.sendall(b"POST /api/v1/batch-jobs/submit?task=" + TRANSACTIONS.encode() + b" HTTP/1.1\r\nHost: x\r\n"
                             b"Content-Type: text/csv\r\n" + head + b"\r\n")
                for piece in pieces:
                    line.sendall(piece)
                if half_close:
                    line.shutdown(socket.SHUT_WR)
            except OSError as err:      # the server has closed it already
                if err.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    raise
            got = b""
            try:
                while more := line.recv(65536):
                    got += more
            except ConnectionResetError:
                pass
        return (int(got.split(b" ", 2)[1]) if got.startswith(b"HTTP/1.") else None), got

    # -- what breaks off

    def test_a_body_shorter_than_its_length_leaves_nothing(self):
        text = HEADER + b"".join(ROW % i for i in range(5000))
        for cut in (0, 10, len(HEADER), len(text) // 2, len(text) - 1):
            with self.subTest(cut):
                status, got = self.raw(b"Content-Length: %d\r\n" % len(text), [text[:cut]])
                self.assertNotEqual(202, status, got)
                self.nothing_is_stored()

    def test_broken_chunks_leave_nothing(self):
        text = HEADER + b"".join(ROW % i for i in range(5000))
        chunk = b"%x\r\n%s\r\n" % (len(text), text)
        for name, body in (("no last chunk", chunk), ("half a size", chunk + b"1f"), ("half a chunk", chunk[:len(chunk) // 2]),
                           ("no size", chunk + b"xyz\r\n" + text), ("a chunk longer than its size", b"5\r\n" + text + b"\r\n0\r\n\r\n"),
                           ("no line end behind a chunk", b"%x\r\n%s0\r\n\r\n" % (len(text), text)),
                           ("an enormous size", chunk + b"FFFFFFFFFFFFFFFF\r\n" + text)):
            with self.subTest(name):
                status, got = self.raw(b"Transfer-Encoding: chunked\r\n", [body])
                self.assertNotIn(status, (202, 500), got)
                self.nothing_is_stored()

    def test_a_cut_or_damaged_gzip_of_many_chunks_leaves_nothing(self):
        packed = gzip.compress(HEADER + b"".join(ROW % i for i in range(20000)), 1)
        for cut in (len(packed) // 2, len(packed) - 8, len(packed) - 1):
            self.refused(self.fleet.upload_answer(packed[:cut], gz=True), (400,), "malformed", "gzip: ends in the middle")
        for at in (len(packed) - 6, len(packed) - 2):           # the check sum, the length
            bad = bytearray(packed)
            bad[at] ^= 1
            self.refused(self.fleet.upload_answer(bytes(bad), gz=True), (400,), "malformed", "gzip: ")
        self.refused(self.fleet.upload_answer(packed + b"and more", gz=True), (400,), "malformed", "gzip: damaged, or other bytes follow")

    # -- what is empty

    def test_what_is_empty_says_so(self):
        for body in (HEADER, HEADER[:-1], b"\xef\xbb\xbf" + HEADER):
            self.refused(self.fleet.upload_answer(body), (422,), "invalid", "no items")
        self.refused(self.fleet.upload_answer(b""), (422,), "invalid", "no items|no header")
        self.refused(self.fleet.upload_answer(gzip.compress(b""), gz=True), (422,), "invalid", "no items|no header")
        self.refused(self.fleet.upload_answer(b"", task="noop", kind="application/x-ndjson"), (422,), "invalid", "no items")
        self.refused(self.fleet.upload_answer(b"\n\n \n", task="noop", kind="application/x-ndjson"), (422,), "invalid", "no items")
        self.refused(self.fleet.upload_answer(b"[]", task="noop", kind="application/json"), (422,), "invalid", "no items")

    # -- what is too large

    def test_a_body_over_the_limit_is_refused_before_its_end(self):
        status, got = self.raw(b"Content-Length: %d\r\n" % (UPLOAD_MAX + 1), [HEADER], half_close=False)
        self.assertEqual(413, status, got)
        self.assertIn(b"over %d bytes" % UPLOAD_MAX, got)
        row = b"x" * 8000 + b"\n"
        def endless():
            yield HEADER
            for _ in range((UPLOAD_MAX >> 13) * 2):
                yield row
        status, got = self.raw(b"Transfer-Encoding: chunked\r\n",
                               (b"%x\r\n%s\r\n" % (len(piece), piece) for piece in endless()))
        self.assertIn(status, (413, None), got)                 # None: the answer was lost in the reset
        self.nothing_is_stored()

    def test_more_items_than_the_limit_are_refused(self):
        self.refused(self.fleet.upload_answer(HEADER + b"\n" * (ITEMS_MAX + 1)), (413,), "too_large", "more than %d items" % ITEMS_MAX)
        self.refused(self.fleet.upload_answer(b"1\n" * (ITEMS_MAX + 1), task="noop", kind="application/x-ndjson"), (413,), "too_large",
                     "more than %d items" % ITEMS_MAX)

    @staticmethod
    def lines_of_100_mb(first):
        yield first
        for _ in range(100):
            yield b"y" * (1 << 20)
        yield b"\n"

    def test_a_line_of_100_mb_is_counted_or_refused_and_not_kept(self):
        job = self.fleet.upload(self.lines_of_100_mb(HEADER + b"".join(ROW % i for i in range(300))))
        end = self.fleet.finished(job, seconds=30)
        self.assertEqual((301, 300, 1), (end["items_total"], end["items_done"], end["items_failed"]), end)
        self.before = self.rows()
        self.refused(self.fleet.upload_answer(self.lines_of_100_mb(b"1\n"), task="noop", kind="application/x-ndjson"), (413,), "too_large",
                     "line 2 is over %d bytes" % LINE_MAX)
        self.refused(self.fleet.upload_answer(self.lines_of_100_mb(b"")), (422,), "invalid", "the header is over %d bytes" % LINE_MAX)
        self.refused(self.fleet.upload_answer(self.lines_of_100_mb(b"[\""), task="noop", kind="application/json"), (400, 413),
                     "too_large", "over|large|bytes")
        self.refused(self.fleet.request("POST", "/batch-jobs/submit", b"{\"task\": \"noop\", \"items\": [\"" + b"y" * (65 << 20),
                                        {"Content-Type": "application/json"}), (413,), "too_large", "64 MiB")

    def test_a_gzip_bomb_is_refused_when_it_is_over_the_limit(self):
        def bomb(first, piece, times):
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            return packer.compress(first) + b"".join(packer.compress(piece) for _ in range(times)) + packer.flush()
        zeros = b"\0" * (1 << 20)
        packed = bomb(HEADER + ROW % 1, zeros, 300)             # one line of 300 MB
        self.assertLess(len(packed), 1 << 20)
        self.refused(self.fleet.upload_answer(packed, gz=True), (413,), "too_large", "over %d bytes after decompression" % EXPANDED_MAX)
        packed = bomb(b"", b"{}\n" * (1 << 18), 4)
        self.refused(self.fleet.upload_answer(packed, task="noop", kind="application/x-ndjson", gz=True), (413,), "too_large", "items")
        packed = bomb(b"{\"task\": \"noop\", \"items\": [\"", zeros.replace(b"\0", b"a"), 80)
        self.refused(self.fleet.request("POST", "/batch-jobs/submit", packed, {"Content-Type": "application/json",
                                                                               "Content-Encoding": "gzip"}), (413,), "too_large", "64 MiB")

    # -- rows

    def test_malformed_rows_are_counted_by_reason_and_the_rest_is_done(self):
        rows = [ROW % i for i in range(1000)]
        for at, bad in ((10, b"T,2024-02-29,A,B,7.00\n"), (500, b"T,2024-02-29,A,B,7.00,GBP,more\n"), (501, b"T,yesterday,A,B,7.00,GBP\n"),
                        (502, b"T,2024-02-29,A,B,seven,GBP\n"), (503, b"T,2024-02-29,A,B,7.00,pounds\n"), (900, b"T\xff,2024-02-29,A,B,7.00,GBP\n"),
                        (901, b"\"T,2024-02-29,A,B,7.00,GBP\n"), (999, b"T,2024-02-29,A,B,7.00")):
            rows[at] = bad
        job = self.fleet.upload(HEADER + b"".join(rows))
        end = self.fleet.finished(job)
        self.assertEqual((1000, 992, 8, 0), (end["items_total"], end["items_done"], end["items_failed"], end["failures"]), end)
        report = self.fleet.report(job)
        self.assertEqual((8, 1000), (report["input"]["rejected"], report["input"]["rows"]), report["input"])


if __name__ == "__main__":
    unittest.main()

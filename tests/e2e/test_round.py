"""A batch goes round: what docs/api.md says of each address, against real processes."""
import gzip
import http.client
import json
import os
import re
import socket
import unittest
import zlib

from fleet import EXAMPLE, ROOT, Fleet, FleetTest, TRANSACTIONS, example_text, wait_until

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
NONE = type(None)
JOB_FIELDS = {
    "job_id": (str,), "task": (str,), "status": (str,), "priority": (int,), "items_total": (int,), "items_done": (int,),
    "items_failed": (int,), "percent": (float,), "batches": (int,), "batches_done": (int,), "batches_dead": (int,),
    "batches_estimated": (int,), "rate": (float,), "eta_seconds": (float, NONE), "attempts": (int,), "failures": (int,),
    "lost": (int,), "created_at": (str,), "started_at": (str, NONE), "finished_at": (str, NONE), "error": (dict, NONE),
    "params": (dict,), "report": (str, NONE),
}
WORKER_FIELDS = {
    "name": (str,), "host": (str,), "pid": (int,), "version": (str,), "slots": (int,), "busy": (int,), "draining": (bool,),
    "done": (int,), "failed": (int,), "cpu_percent": (float,), "memory_total": (int,), "memory_available": (int,), "load": (float,),
    "disk_read_rate": (int,), "disk_write_rate": (int,), "batch_items": (int,), "batch_reason": (str,), "limits": (list,),
    "tasks": (list,), "last_heartbeat_ms": (int,),
}
HEADER = b"txn_id,ts,src,dst,amount,ccy\n"
ROW = b"T%d,2024-02-29,A,B,7.00,GBP\n"


class Addresses(FleetTest):
    options = {"workers": 2, "schedulers": 1}

    def fields(self, value, fields):
        self.assertEqual(set(fields), set(value))
        for name, kinds in fields.items():
            self.assertIn(type(value[name]), kinds, "%s = %r" % (name, value[name]))

    def problem(self, answer, status, code, field=None, detail="."):
        self.assertEqual(status, answer.status, answer)
        self.assertEqual("application/problem+json", answer.headers["Content-Type"].split(";")[0])
        body = answer.json
        self.assertEqual((status, code, "about:blank"), (body["status"], body["code"], body["type"]))
        self.assertRegex(body["detail"], detail)
        self.assertTrue(body["title"])
        if field:
            self.assertEqual([field], [e.get("field") for e in body["errors"]], body)

    def noop_submit_through_envelope(self):
        answer = self.fleet.submit_answer("noop", [1, {"a": 2}, None], {"sleep_ms": 1}, priority=3)
        self.assertEqual(202, answer.status, answer)
        self.assertEqual("/api/v1/batch-jobs/" + answer.json["job_id"], answer.headers["Location"])
        return answer

    def test_job_has_all_fields_from_submission_to_end(self):
        answer = self.noop_submit_through_envelope()
        self.fields(answer.json, JOB_FIELDS)
        self.assertIn(answer.json["status"], ("pending", "processing", "completed"))
        job = self.fleet.finished(answer.json["job_id"])
        self.fields(job, JOB_FIELDS)
        want = {"task": "noop", "status": "completed", "priority": 3, "items_total": 3, "items_done": 3, "items_failed": 0,
                "percent": 100.0, "batches": 1, "batches_done": 1, "batches_dead": 0, "batches_estimated": 0, "attempts": 1,
                "failures": 0, "lost": 0, "error": None, "params": {"sleep_ms": 1}, "report": None}
        self.assertEqual(want, {name: job[name] for name in want})
        for name in ("created_at", "started_at", "finished_at"):
            self.assertRegex(job[name], TIME)
        self.assertTrue(job["created_at"] <= job["started_at"] <= job["finished_at"])
        self.problem(self.fleet.get("/batch-jobs/%s/report" % job["job_id"]), 409, "conflict")

    def test_array_and_ndjson_bodies_make_jobs(self):
        for kind, body in (("application/json", b" [1, \"two\", {\"three\": [3]}] "),
                           ("application/x-ndjson", b"1\n\"two\"\n{\"three\": [3]}\n")):
            job = self.fleet.upload(body, task="noop", kind=kind)
            self.assertEqual(3, self.fleet.finished(job)["items_done"], kind)

    def test_csv_plain_gzip_and_chunked_bodies_have_the_same_items(self):
        text = HEADER + b"".join(ROW % i for i in range(1234))
        def pieces():
            for at in range(0, len(text), 777):
                yield text[at:at + 777]
        for body, packed in ((text, False), (gzip.compress(text), True), (pieces(), False)):
            job = self.fleet.finished(self.fleet.upload(body, gz=packed))
            self.assertEqual((1234, 1234), (job["items_total"], job["items_done"]))

    def test_list_pages_by_cursor_newest_first_without_a_gap(self):
        made = [self.fleet.submit("noop", [i]) for i in range(7)]
        for job in made:
            self.fleet.finished(job)
        seen, cursor = [], ""
        for page in range(100):
            answer = self.fleet.get("/batch-jobs/?limit=3&task=noop&status=completed" + cursor)
            self.assertEqual(200, answer.status, answer)
            self.assertLessEqual(len(answer.json["jobs"]), 3)
            for job in answer.json["jobs"]:
                self.fields(job, JOB_FIELDS)
                seen.append(job["job_id"])
            if page == 0:   # inserted between two pages: not seen, nothing shifted
                self.fleet.finished(self.fleet.submit("noop", ["late"]))
            if answer.json["next_cursor"] is None:
                break
            cursor = "&cursor=" + answer.json["next_cursor"]
        self.assertEqual(made, [job for job in reversed(seen) if job in made])
        self.assertEqual(sorted(set(seen), key=int, reverse=True), seen)
        self.problem(self.fleet.get("/batch-jobs/?limit=0"), 422, "invalid", "limit")
        self.problem(self.fleet.get("/batch-jobs/?limit=1001"), 422, "invalid", "limit")

    def test_what_is_not_there_is_404_or_405(self):
        for path in ("/batch-jobs/1", "/batch-jobs/1/report", "/batch-jobs/abc", "/nothing", "/batch-jobs/18446744073709551616"):
            self.problem(self.fleet.get(path), 404, "not_found")
        self.problem(self.fleet.request("POST", "/batch-jobs/1/cancel", b""), 404, "not_found")
        self.problem(self.fleet.request("DELETE", "/health"), 405, "method_not_allowed")
        self.problem(self.fleet.get("/batch-jobs/submit"), 405, "method_not_allowed")

    def test_refusals_name_the_field_and_the_nearest_name(self):
        post, upload, body = self.fleet.submit_answer, self.fleet.upload_answer, HEADER + ROW % 1
        self.problem(post("nop", [1]), 422, "invalid", "task", "did you mean 'noop'")
        self.problem(post("noop", [1], {"sleep_m": 1}), 422, "invalid", "params.sleep_m", "sleep_ms$")
        self.problem(post("noop", [1], {"sleep_ms": "soon"}), 422, "invalid", "params.sleep_ms")
        self.problem(post("noop", [1], {"sleep_ms": -1}), 422, "invalid", "params.sleep_ms")
        self.problem(upload(body, params={"benford_min": 5}), 422, "invalid", "params.benford_min",
                     "benford_min_minor$")
        self.problem(upload(body, params={"profile": "apx"}), 422, "invalid", "params.profile", "ap")
        self.problem(post("noop", [1], chunk_items=99), 422, "invalid", "chunk_items")
        self.problem(post("noop", [1], priority=101), 422, "invalid", "priority")
        self.problem(post("noop", [1], colour="red"), 422, "invalid", "colour")
        self.problem(post("noop", []), 422, "invalid", None, "no items")
        self.problem(post("crash", [1]), 422, "invalid", "task")                # only with --test-tasks
        self.problem(upload(HEADER), 422, "invalid", None, "no items")
        self.problem(upload(b""), 422, "invalid")
        for text, word in ((b"txn_id,ts,src,dst,amount\nT1,2024-02-29,A,B,7\n", "ccy"), (b"no header at all\n", "no header")):
            answer = upload(text)
            self.problem(answer, 422, "invalid", None, "E_HEADER.*" + word)
            self.assertEqual([1], [e.get("line") for e in answer.json["errors"]], answer)
        self.problem(upload(body, kind="image/png"), 415, "unsupported_media_type")
        self.problem(self.fleet.request("POST", "/batch-jobs/submit?task=noop", b"[1, 2", {"Content-Type": "application/json"}),
                     400, "malformed")

    def test_cancel_is_final_and_stops_the_child_within_a_heartbeat(self):
        job = self.fleet.submit("noop", list(range(400)), {"sleep_ms": 600000}, batch_items=100)
        busy = lambda: sum(w["busy"] for w in self.fleet.get("/workers").json["workers"])  # noqa: E731
        wait_until(lambda: busy() == 2, 20, "both workers run a batch")
        answer = self.fleet.request("POST", "/batch-jobs/%s/cancel" % job, b"")
        self.assertEqual((200, "cancelled"), (answer.status, answer.json["status"]))
        self.fields(answer.json, JOB_FIELDS)
        # 600 s of work: only STOP can free the slots. One heartbeat carries the order, the next one the news of it.
        wait_until(lambda: busy() == 0, 5, "the children are stopped")
        self.assertEqual(200, self.fleet.request("POST", "/batch-jobs/%s/cancel" % job, b"").status)
        self.assertEqual("cancelled", self.fleet.job(job)["status"])
        self.fleet.finished(self.fleet.submit("noop", list(range(300)), batch_items=100), seconds=10)

    def test_cancel_of_a_completed_job_is_409(self):
        job = self.fleet.submit("noop", [1])
        self.fleet.finished(job)
        self.problem(self.fleet.request("POST", "/batch-jobs/%s/cancel" % job, b""), 409, "conflict")
        self.assertEqual("completed", self.fleet.job(job)["status"])

    def test_stats_count_what_was_done(self):
        self.fleet.finished(self.fleet.submit("noop", [1, 2, 3]))
        stats = self.fleet.get("/batch-jobs/stats/summary").json
        self.assertEqual({"pending", "processing", "finalizing", "completed", "failed", "cancelled"}, set(stats["jobs"]))
        for window in ("minute", "hour"):
            self.fields(stats[window], {"items_done": (int,), "items_failed": (int,), "items_per_second": (float,),
                                        "error_rate": (float,)})
            self.assertGreaterEqual(stats[window]["items_done"], 3)
        self.assertGreaterEqual(stats["jobs"]["completed"], 1)
        self.assertEqual((2, 2), (stats["workers"], stats["slots"]))
        for name in ("waiting_batches", "leased_batches", "retrying_batches", "oldest_waiting_seconds"):
            self.assertIn(type(stats[name]), (int, float))

    def test_health_and_workers_have_their_fields(self):
        health = self.fleet.get("/health").json
        self.assertEqual("healthy", health["status"])
        newest = len(os.listdir(os.path.join(ROOT, "schema", "versions")))
        self.assertEqual((2, 1, newest), (health["workers"], health["schedulers"], health["schema_version"]))
        self.assertEqual([{"endpoint": self.fleet.frontends[0], "status": "healthy"}], health["brokers"])
        self.fields(health["store"], {"status": (str,), "size_bytes": (int,), "log_bytes": (int,), "free_bytes": (int,)})
        self.assertLessEqual({"version", "uptime_seconds", "last_check"}, set(health))
        workers = self.fleet.get("/workers").json["workers"]
        self.assertEqual(["w1", "w2"], sorted(w["name"] for w in workers))
        self.assertEqual({self.fleet["w1"].pid, self.fleet["w2"].pid}, {w["pid"] for w in workers})
        for worker in workers:
            self.fields(worker, WORKER_FIELDS)
            self.assertIn("noop", worker["tasks"])


class Nothing(unittest.TestCase):
    """An upload that does not end well leaves nothing: not in the list, not in the store."""

    def test_broken_uploads_leave_no_row(self):
        with Fleet(workers=0) as fleet:
            text = example_text()
            with open(EXAMPLE, "rb") as file:
                packed = file.read()
            for cut in (0, 1, 9, 10, 20, len(packed) // 2, len(packed) - 9, len(packed) - 1):
                answer = fleet.upload_answer(packed[:cut], gz=True)
                self.assertIn(answer.status, (400, 422), "cut at %d: %r" % (cut, answer))
            damaged = bytearray(packed)
            damaged[-5] ^= 1
            self.assertEqual(400, fleet.upload_answer(bytes(damaged), gz=True).status)
            self.assertEqual(400, fleet.upload_answer(b"plain text", gz=True).status)
            bad_item = b"".join(b'{"n": %d}\n' % i for i in range(5000)) + b'{"n": }\n'
            answer = fleet.upload_answer(bad_item, task="noop", kind="application/x-ndjson")
            self.assertIn(answer.status, (400, 422))
            self.assertEqual([5001], [e.get("line") for e in answer.json["errors"]], answer)
            for chunked in (False, True):
                self.leave_in_the_middle(fleet, text, chunked)
            # The uploads that went away are noticed when their connections end, which the api may see later than we do.
            self.assertEqual([], fleet.get("/batch-jobs/").json["jobs"])
            fleet["api"].stop()
            fleet["api"].start()                # at the start what is left of uploads is removed
            wait_until(lambda: fleet.get("/health").status == 200, 10)
            wait_until(lambda: self.rows(fleet) == (0, 0), 10, "no rows are left")
            fleet["api"].stop()
            self.assertEqual((0, 0), self.rows(fleet))

    @staticmethod
    def rows(fleet):
        return (fleet.query("SELECT count(*) FROM chunk")[0][0], fleet.query("SELECT count(*) FROM processing_job")[0][0])

    def leave_in_the_middle(self, fleet, text, chunked):
        for reset in (False, True):
            client = http.client.HTTPConnection("127.0.0.1", fleet.port, timeout=30)
            client.putrequest("POST", "/api/v1/batch-jobs/submit?task=" + TRANSACTIONS)
            client.putheader("Content-Type", "text/csv")
            client.putheader(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(text)))))
            client.endheaders()
            half = text[:len(text) // 2]
            client.send(b"%x\r\n%s\r\n" % (len(half), half) if chunked else half)
            # The api has read and kept a part of it before the client goes away.
            wait_until(lambda: fleet.query("SELECT count(*) FROM chunk")[0][0] > 0, 20, "chunks of the upload")
            if reset:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            wait_until(lambda: self.rows(fleet) == (0, 0), 20, "the upload is removed (chunked %s, reset %s)" % (chunked, reset))


if __name__ == "__main__":
    unittest.main()

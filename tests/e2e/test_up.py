"""`stint up` and the command: a whole fleet from one line, restarted when something dies, gone without a trace."""
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from fleet import BUILD, EXAMPLE, alive, compare, descendants, die_with_parent, example_expected, wait_until

STINT = os.path.join(BUILD, "stint")
ROLES = {"broker": 1, "api": 1, "scheduler": 1, "worker": 2}


class Up:
    """One `stint up` in a directory of its own."""

    def __init__(self, *more, folder=None):
        self.own = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="stint-up-")
        self.log = os.path.join(self.folder, "up.log")
        self.out = os.path.join(self.folder, "up.out")
        with open(self.log, "ab") as log, open(self.out, "wb") as out:
            self.popen = subprocess.Popen([STINT, "up", "--listen", "127.0.0.1:0", "--workers", "2", "--rate", "off", "--data",
                                           os.path.join(self.folder, "data"), *more], stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=log, preexec_fn=die_with_parent)
        wait_until(lambda: self.popen.poll() is not None or self.read(self.out), 30, "the ready line")
        if self.popen.poll() is not None:
            raise AssertionError("stint up ended with %d: %s" % (self.popen.returncode, self.read(self.log)))
        self.ready = self.read(self.out)
        self.url = self.record()["url"]

    @staticmethod
    def read(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    @staticmethod
    def bytes(path):
        with open(path, "rb") as file:
            return file.read()

    def record(self):
        return json.loads(self.read(os.path.join(self.folder, "data", "up.json")))

    def pids(self):
        return {p["name"]: p["pid"] for p in self.record()["processes"]}

    def command(self, *arguments, code=0, **more):
        done = subprocess.run([STINT, *arguments, "--server", self.url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=90, check=False, **more)
        if done.returncode != code:
            raise AssertionError("stint %s: exit code %d, not %d\n%s\n%s" % (
                " ".join(arguments), done.returncode, code, done.stdout.decode()[-2000:], done.stderr.decode()[-2000:]))
        return done.stdout.decode("utf-8"), done.stderr.decode("utf-8")

    def items(self, n):
        path = os.path.join(self.folder, "items-%d.ndjson" % n)
        with open(path, "w", encoding="ascii") as file:
            file.write("".join("%d\n" % i for i in range(n)))
        return path

    def submit(self, n, *more):
        return json.loads(self.command("submit", self.items(n), "--task", "noop", "--json", *more)[0].splitlines()[0])["job_id"]

    def show_log(self):
        print("\n".join(self.read(self.log).splitlines()[-60:]), flush=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.show_log()
        self.close()

    def close(self):
        left = descendants(self.popen.pid) if self.popen.poll() is None else []
        if self.popen.poll() is None:
            os.kill(self.popen.pid, signal.SIGKILL)
            self.popen.wait(10)
        try:
            wait_until(lambda: not any(alive(pid) for pid in left), 10, "nothing is left of the fleet")
        finally:
            if self.own:
                shutil.rmtree(self.folder, ignore_errors=True)


class Command(unittest.TestCase):
    """The command against one fleet that stays up."""

    @classmethod
    def setUpClass(cls):
        cls.up = Up()
        cls.addClassCleanup(cls.up.close)

    def test_ready_line_and_record_name_the_fleet(self):
        self.assertIn(self.up.url, self.up.ready)
        record = self.up.record()
        self.assertEqual((self.up.popen.pid, True), (record["pid"], record["ready"]))
        roles = [p["role"] for p in record["processes"]]
        self.assertEqual(ROLES, {role: roles.count(role) for role in set(roles)})
        self.assertTrue(all(alive(p["pid"]) for p in record["processes"]))

    def test_submit_wait_report_equals_reference(self):
        expected, params = example_expected()
        given = [part for name, value in params.items()
                 for part in ("--param", "%s=%s" % (name, value if isinstance(value, str) else json.dumps(value)))]
        out, _ = self.up.command("submit", EXAMPLE, "--task", "process_transaction_batch", "--wait", "--json", *given)
        ended = json.loads(out)                 # one document
        self.assertEqual("completed", ended["status"])
        job = ended["job_id"]
        self.assertEqual([], compare.compare(json.loads(self.up.command("report", job, "--json")[0]), expected))
        text = self.up.command("report", job)[0]
        self.assertIn("Benford", text)
        self.assertIn("20,000", text)
        self.assertNotIn("\x1b", text)          # no terminal, no colours

    def test_a_zstd_file_and_a_zstd_pipe_give_the_same_report(self):
        packed = os.path.join(self.up.folder, "payments.csv.zst")
        with gzip.open(EXAMPLE) as rows:
            subprocess.run(["zstd", "-q", "-9", "-o", packed], input=rows.read(), check=True, timeout=60)
        expected, params = example_expected()
        options = ["--task", "process_transaction_batch", "--wait", "--json"]
        for name, value in params.items():
            options += ["--param", "%s=%s" % (name, value if isinstance(value, str) else json.dumps(value))]
        for file, more in ((packed, {}), ("-", {"input": self.up.bytes(packed)})):
            arguments = ["submit", file, *options, *(["--type", "csv"] if more else [])]
            done = subprocess.run([STINT, *arguments, "--server", self.up.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=90,
                                  check=False, **(more or {"stdin": subprocess.DEVNULL}))
            self.assertEqual(done.returncode, 0, done.stderr)
            job = json.loads(done.stdout)["job_id"]
            self.assertEqual([], compare.compare(json.loads(self.up.command("report", job, "--json")[0]), expected))

    def test_exit_codes_tell_the_end_of_a_job(self):
        done = self.up.submit(10)
        self.up.command("wait", done)
        out, _ = self.up.command("submit", self.up.items(3), "--task", "noop", "--param", "fail_attempts=9", "--wait", code=1)
        self.assertIn("failed", out)
        runs = self.up.submit(20, "--param", "sleep_ms=600000")
        self.assertIn("cancelled", self.up.command("cancel", runs)[0].lower())
        self.up.command("wait", runs, code=3)
        self.up.command("cancel", done, code=75)
        self.up.command("show", "1", code=66)
        self.up.command("submit", self.up.items(3), "--task", "nop", code=65)
        self.up.command("submit", os.path.join(self.up.folder, "missing.csv"), "--task", "noop", code=66)
        self.up.command("submit", self.up.items(3), code=64)
        done = subprocess.run([STINT, "stats", "--server", "http://127.0.0.1:1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=30, check=False)
        self.assertEqual(69, done.returncode, done.stderr)

    def test_every_view_has_text_and_json(self):
        job = self.up.submit(10)
        self.up.command("wait", job)
        for arguments, words in ((("show", job), (job, "noop", "completed")), (("list",), (job, "noop")),
                                 (("list", "--status", "completed", "--task", "noop", "--limit", "5"), (job,)),
                                 (("stats",), ("worker",)), (("workers",), ("w1", "w2"))):
            with self.subTest(arguments):
                text = self.up.command(*arguments)[0]
                for word in words:
                    self.assertIn(word, text)
                self.assertNotIn("\x1b", text)
                json.loads(self.up.command(*arguments, "--json")[0])
        shown = json.loads(self.up.command("show", job, "--json")[0])
        self.assertEqual((10, "completed"), (shown["items_done"], shown["status"]))

    def test_watch_off_a_terminal_prints_plain_lines(self):
        job = self.up.submit(1000, "--param", "sleep_ms=150", "--batch-items", "100")
        text = self.up.command("watch", job)[0]
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\r", text)
        self.assertIn("100", text.splitlines()[-2])
        self.assertIn("completed", text.lower())
        self.assertEqual(len(text.splitlines()), len(set(text.splitlines())), "a line was said twice")


class Life(unittest.TestCase):
    def test_what_dies_is_restarted_and_sigterm_leaves_nothing(self):
        with Up() as up:
            for name, pid in sorted(up.pids().items()):
                with self.subTest(name):
                    os.kill(pid, signal.SIGKILL)
                    wait_until(lambda: up.pids()[name] not in (0, pid) and alive(up.pids()[name]), 15, name + " runs again")
                    # A restarted api may be a moment away: then the command says 69.
                    job = wait_until(lambda: self.try_submit(up), 15, "a submission after the death of " + name, pause=0.1)
                    up.command("wait", job)
            # All at once, too.
            dead = up.pids()
            for pid in dead.values():
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: all(pid != dead[name] and alive(pid) for name, pid in up.pids().items()), 20, "all run again")
            up.command("wait", wait_until(lambda: self.try_submit(up), 15, "a submission", pause=0.1))
            runs = up.submit(300, "--param", "sleep_ms=100", "--batch-items", "100")
            left = descendants(up.popen.pid)
            self.assertGreaterEqual(len(left), sum(ROLES.values()))
            os.kill(up.popen.pid, signal.SIGTERM)
            self.assertEqual(0, up.popen.wait(40))
            self.assertEqual([], [pid for pid in left if alive(pid)])
            self.assertTrue(runs)

    @staticmethod
    def try_submit(up):
        done = subprocess.run([STINT, "submit", up.items(250), "--task", "noop", "--json", "--server", up.url],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, check=False)
        return json.loads(done.stdout)["job_id"] if done.returncode == 0 else None

    def test_killed_supervisor_leaves_nothing_and_the_data_can_be_taken_up(self):
        with Up() as up:
            job = up.submit(3)
            up.command("wait", job)
            left = descendants(up.popen.pid)
            os.kill(up.popen.pid, signal.SIGKILL)
            up.popen.wait(10)
            wait_until(lambda: not any(alive(pid) for pid in left), 10, "the fleet of a killed supervisor ends")
            with Up(folder=up.folder) as again:
                self.assertEqual("completed", json.loads(again.command("show", job, "--json")[0])["status"])

    def refused(self, *arguments):
        done = subprocess.run([STINT, "up", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=30, check=False, preexec_fn=die_with_parent)
        self.assertEqual(b"", done.stdout)
        said = [line for line in done.stderr.decode().splitlines() if line]
        self.assertEqual(1, len(said), said)
        return done.returncode, said[0]

    def test_second_up_on_one_directory_and_taken_port_are_refused_in_one_sentence(self):
        with Up() as up:
            code, said = self.refused("--data", os.path.join(up.folder, "data"), "--listen", "127.0.0.1:0")
            self.assertEqual(75, code, said)
            self.assertIn(os.path.join(up.folder, "data"), said)
            self.assertTrue(all(alive(pid) for pid in up.pids().values()))
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                other.listen()
                port = other.getsockname()[1]
                code, said = self.refused("--data", os.path.join(up.folder, "other"), "--listen", "127.0.0.1:%d" % port)
                self.assertEqual(75, code, said)
                self.assertIn(str(port), said)

    def test_unknown_option_is_a_usage_error_with_the_nearest_name(self):
        done = subprocess.run([STINT, "up", "--worker", "4"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=30, check=False, preexec_fn=die_with_parent)
        self.assertEqual((64, b""), (done.returncode, done.stdout))
        self.assertIn(b"--workers", done.stderr)


if __name__ == "__main__":
    unittest.main()

"""A start that cannot be: each gives one sentence that names what, where and what was expected, and the exit code of docs/operations.md;
what was there stays as it was."""
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from fleet import BUILD, Fleet, die_with_parent  # noqa: E402

NOBODY = 65534
NOWHERE = "tcp://127.0.0.1:1"


class BadStart(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="stint-test-")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = os.path.join(self.folder, "data")

    def path(self, name, content=None):
        path = os.path.join(self.folder, name)
        if content is not None:
            with open(path, "wb") as file:
                file.write(content)
        return path

    def ends(self, program, *arguments, code, says, as_nobody=False, env=None):
        """It ends by itself with `code`, and its last words are one line with all of `says`."""
        command = [os.path.join(BUILD, program), *arguments]
        if as_nobody and os.geteuid() == 0:
            become = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
            if subprocess.run([*become, "test", "-x", command[0]], check=False).returncode:
                self.skipTest("another user cannot run the programs in " + BUILD)
            command = [*become, *command]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20,
                              preexec_fn=die_with_parent, env={**os.environ, **(env or {})}, cwd=self.folder)
        text = done.stderr.decode("utf-8", "replace")
        self.assertEqual(code, done.returncode, text)
        lines = [line for line in text.splitlines() if "level=info" not in line and "level=warn" not in line]
        self.assertEqual(1, len(lines), text)
        for part in says:
            self.assertIn(part, lines[0])
        return text

    def api(self, *arguments, **how):
        return self.ends("stint-api", "--listen", "127.0.0.1:0", "--brokers", NOWHERE, "--data", self.data, *arguments, **how)

    def make_store(self):
        """A store of this release, closed."""
        api = subprocess.Popen([os.path.join(BUILD, "stint-api"), "--listen", "127.0.0.1:0", "--brokers", NOWHERE, "--data", self.data,
                                "--reserve", "64K"], stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        with api.stderr:
            while b"event=api.ready" not in api.stderr.readline():
                self.assertIsNone(api.poll())
            api.terminate()
            api.stderr.read()
        self.assertEqual(0, api.wait(20))

    def database(self, sql):
        with sqlite3.connect(os.path.join(self.data, "store.db"), isolation_level=None) as store:
            store.executescript(sql)
        store.close()

    # -- configuration

    def config(self, text, code=78, says=(), **how):
        path = self.path("stint.conf", text)
        self.api("--config", path, code=code, says=[path, *says], **how)

    def test_configuration_names_file_line_and_what_was_expected(self):
        self.config(b"# our fleet\nlease = 30s\nheartbeet = 5s\n", says=["stint.conf:3: unknown setting \"heartbeet\"", "heartbeat"])
        self.config(b"lease = soon\n", says=[":1: lease = \"soon\"", "milliseconds", "from 100 to 3600000"])
        self.config(b"\n\nlease = 1\n", says=[":3: lease = \"1\"", "from 100 to 3600000"])
        self.config(b"max_connections = 0\n", says=[":1: max_connections = \"0\"", "from 1 to 60000"])
        self.config(b"reserve = 8X\n", says=["8X", "64K"])
        self.config(b"auto_migrate = yes\n", says=["auto_migrate = \"yes\"", "true or false"])
        self.config(b"lease\n", says=[":1: expected \"key = value\", found \"lease\""])
        self.config(b"lease = 5s\nlease = 6s\n", says=[":2: lease is set twice"])
        self.config(b"x" * 100000, says=[":1: a line of over 8192 bytes"])
        self.config(b"lease = 5s\n" + b"\0" * 4096, says=[":2: a zero byte"])
        self.assertFalse(os.path.exists(self.data))

    def test_configuration_that_cannot_be_read_is_named(self):
        self.api("--config", self.path("gone.conf"), code=78, says=[self.path("gone.conf"), "No such file"])
        self.api("--config", self.folder, code=78, says=[self.folder, "Is a directory"])
        path = self.path("secret.conf", b"lease = 5s\n")
        os.chmod(path, 0o000)
        self.api("--config", path, code=78, says=[path, "Permission denied"], as_nobody=True)

    def test_flags_and_environment_are_named_too(self):
        self.api("--leese", "5s", code=78, says=["--leese", "nearest is lease"])
        self.api("--lease", code=64, says=["--lease needs a value"])
        self.api("lease=5s", code=64, says=["\"lease=5s\" is not a flag"])
        self.api(code=78, says=["STINT_LEASE: lease = \"1\"", "from 100"], env={"STINT_LEASE": "1"})
        for program, flag in (("stint-broker", "--frontend"), ("stint-broker", "--backend"), ("stint-worker", "--brokers"),
                              ("stint-scheduler", "--brokers")):
            self.ends(program, flag, "localhost", code=78, says=[flag.strip("-"), "localhost", "tcp://127.0.0.1:7601"])
        self.ends("stint-broker", "--backend", "tcp://0.0.0.0:0", code=78, says=["reachable from other machines", "--insecure"])
        self.ends("stint-api", "--listen", "nowhere", "--data", self.data, code=78, says=["listen = nowhere", "127.0.0.1:8000"])

    # -- ports

    def test_a_port_that_is_taken_is_named(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            self.ends("stint-api", "--listen", "127.0.0.1:%d" % port, "--data", self.data, "--brokers", NOWHERE, code=75,
                      says=["listen = 127.0.0.1:%d" % port, "another program has this port"])
            taken, free = "tcp://127.0.0.1:%d" % port, "tcp://127.0.0.1:*"
            for frontend, backend, name in ((taken, free, "frontend"), (free, taken, "backend")):
                self.ends("stint-broker", "--frontend", frontend, "--backend", backend, code=75, says=[name, taken, "uses this port"])

    # -- the store

    def bytes_of_store(self):
        if not os.path.isfile(self.path("data/store.db")):
            return None
        with open(self.path("data/store.db"), "rb") as file:
            return file.read()

    def refused_store(self, code, says, **how):
        """Refused, and no byte of what lies there is changed."""
        before = self.bytes_of_store()
        self.api(code=code, says=[self.data, *says], **how)
        self.assertTrue(before == self.bytes_of_store(), "the refused file was changed")

    def test_what_is_no_store_is_refused_and_left_alone(self):
        os.mkdir(self.data)
        self.path("data/store.db", b"these are the minutes of the meeting\n" * 300)
        self.refused_store(65, ["not a Stint store"])
        os.unlink(self.path("data/store.db"))
        self.database("PRAGMA journal_mode = DELETE; CREATE TABLE minutes (text)")
        self.refused_store(65, ["not a Stint store"])
        os.unlink(self.path("data/store.db"))
        os.mkdir(self.path("data/store.db"))
        self.refused_store(74, ["store.db", "Is a directory"])

    def test_a_store_that_has_been_emptied_is_no_new_one(self):
        self.make_store()
        self.path("data/store.db", b"")
        self.refused_store(65, ["empty or gone", "to begin a new one remove the file"])
        os.unlink(self.path("data/store.db"))
        self.api(code=65, says=["empty or gone"])

    def test_a_newer_store_is_refused_with_both_versions(self):
        self.make_store()
        self.database("INSERT INTO schema_migrations VALUES (999, 'from the future', '', 0, 0, '')")
        with sqlite3.connect(os.path.join(self.data, "store.db")) as store:
            before = list(store.iterdump())
        store.close()
        self.api(code=78, says=[self.data, "999", "newer"])
        with sqlite3.connect(os.path.join(self.data, "store.db")) as store:
            self.assertEqual(before, list(store.iterdump()))
        store.close()

    def test_a_directory_that_cannot_be_written_is_named(self):
        os.mkdir(self.data, 0o555)
        self.refused_store(74, ["cannot write in", "Permission denied"], as_nobody=True)
        os.chmod(self.data, 0o755)
        self.path("data/file", b"")
        self.ends("stint-api", "--listen", "127.0.0.1:0", "--data", self.path("data/file"), code=74, says=["data/file", "Not a directory"])
        self.ends("stint-worker", "--name", "w", "--state", self.path("data/file"), "--brokers", NOWHERE, code=74, says=["data/file"])

    def test_a_store_that_may_only_be_read_is_refused(self):
        self.make_store()
        for name in os.listdir(self.data):
            os.chmod(self.path("data/" + name), 0o666 if name == "lock" else 0o444)
        os.chmod(self.data, 0o555)
        self.refused_store(74, ["store.db", "readonly"], as_nobody=True)
        os.chmod(self.data, 0o755)

    def test_a_second_api_is_refused_and_the_first_goes_on(self):
        with Fleet(workers=1) as fleet:
            pids = {name: process.pid for name, process in fleet.processes.items()}
            before = fleet.submit("noop", list(range(200)), {"sleep_ms": 50}, batch_items=100)
            self.ends("stint-api", "--listen", "127.0.0.1:0", "--data", fleet.data, "--brokers", ",".join(fleet.frontends), code=75,
                      says=["another api (process %d) has the store %s" % (fleet["api"].pid, fleet.data)])
            fleet.finished(before)
            end = fleet.finished(fleet.submit("noop", [1, 2, 3]))
            self.assertEqual((3, 0), (end["items_done"], end["lost"]))
            self.assertEqual(pids, {name: process.pid for name, process in fleet.processes.items() if not process.ended()})


if __name__ == "__main__":
    unittest.main()

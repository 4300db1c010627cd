"""A fleet of real processes for the tests: each can be killed, stopped and started again by itself.

    with Fleet(brokers=2, workers=4) as fleet:
        job = fleet.submit("noop", [1, 2, 3])
        fleet["w1"].kill()                      # SIGKILL, by its id
        fleet["w1"].start()                     # the same arguments
        fleet.finished(job)

Everything lives in one temporary directory and on free loopback ports. The end of the `with` leaves no process behind; when it ends
by an exception the last lines of every log are printed. All waits have a deadline; nothing here sleeps as a proof."""
import csv
import ctypes
import gzip
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("STINT_BUILD") or os.path.join(ROOT, "build")
EXAMPLE = os.path.join(ROOT, "examples", "devon_20000.csv.gz")
TRANSACTIONS = "process_transaction_batch"
ENDED = ("completed", "failed", "cancelled")
LOG_LINES_SHOWN = 40
PR_SET_PDEATHSIG = 1

sys.path.insert(0, os.path.join(ROOT, "tests", "forensic"))
import compare  # noqa: E402  (lives beside the forensic tests)

_libc = ctypes.CDLL(None)


class Late(AssertionError):
    """A deadline passed."""


def wait_until(predicate, seconds=20.0, what="condition", pause=0.02):
    """The first true value of predicate(); raises Late after `seconds`. predicate may raise OSError meanwhile."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = predicate()
            if last:
                return last
        except OSError as err:
            last = err
        if time.monotonic() > deadline:
            raise Late("not within %.0f s: %s (last: %.500r)" % (seconds, what, last))
        time.sleep(pause)


def die_with_parent():
    """Runs in the child before exec: a killed test leaves no fleet behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def alive(pid):
    """Whether a process exists and is not a zombie."""
    try:
        with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid):
    """Ids of all children of a process, and theirs."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, encoding="latin-1") as file:
                    parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    found, todo = [], [pid]
    while todo:
        more = parents.get(todo.pop(), [])
        found += more
        todo += more
    return found


class Port:
    """A loopback port of ours: the socket stays bound, not listening, so that nobody else is given the port while a server that
    sets SO_REUSEADDR takes and leaves it as often as a test likes."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number = self.socket.getsockname()[1]

    def close(self):
        self.socket.close()


class Process:
    """One program of the fleet. start() again after kill() or stop() uses the same arguments."""

    def __init__(self, name, arguments, folder):
        self.name, self.arguments = name, [str(a) for a in arguments]
        self.log = os.path.join(folder, name + ".log")
        self.popen = None
        self.env = None                             # of this process alone; None: that of the test
        self.ready_event = "event=" + os.path.basename(self.arguments[0])[len("stint-"):] + ".ready"

    @property
    def pid(self):
        return self.popen.pid

    def start(self, ready=True):
        """Starts it and waits for its `ready` line."""
        if self.popen and self.popen.poll() is None:
            raise AssertionError("%s runs already" % self.name)
        at = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                                          preexec_fn=die_with_parent)
        if ready:
            wait_until(lambda: self.ended() or self.ready_event in self.text(at), 20, self.name + " is ready")
            if self.ended():
                raise AssertionError("%s ended with %d" % (self.name, self.popen.returncode))
        return self

    def ended(self):
        return self.popen.poll() is not None

    def text(self, offset=0):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(offset)
            return log.read()

    def signal(self, number):
        if not self.ended():
            os.kill(self.pid, number)

    def kill(self):
        """SIGKILL; returns when it is gone."""
        self.signal(signal.SIGKILL)
        self.popen.wait(20)

    def stop(self, seconds=75):
        """SIGTERM; the exit code must be 0."""
        self.signal(signal.SIGTERM)
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Late("%s did not end within %d s of SIGTERM" % (self.name, seconds)) from None
        if code != 0:
            raise AssertionError("%s ended with %d after SIGTERM" % (self.name, code))

    def descendants(self):
        return descendants(self.pid)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<%d %.300r>" % (self.status, self.body)


class Fleet:
    """Names of the processes: api, b1.., s1.., w1... Starts all unless start=False."""

    def __init__(self, brokers=1, workers=1, schedulers=0, slots=1, rate="off", start=True, test_tasks=False, heartbeat_ms=None,
                 extra=None, keys=False):
        """keys: with CURVE keys, one for each worker, in self.keys. extra: {"api": [...], "broker": [...], "worker": [...], "scheduler": [...]} more arguments by role."""
        self.folder = tempfile.mkdtemp(prefix="stint-test-")
        self.data = os.path.join(self.folder, "store")
        os.mkdir(self.data)
        self.extra = extra or {}
        self.keys = os.path.join(self.folder, "keys") if keys else None
        if keys:
            self.stint_keys("init")
        self.common = ["--heartbeat", heartbeat_ms] if heartbeat_ms else []
        self.rate, self.slots, self.test_tasks = rate, slots, test_tasks
        self.ports = [Port() for _ in range(2 * brokers + 1)]
        self.frontends = ["tcp://127.0.0.1:%d" % self.ports[2 * i].number for i in range(brokers)]
        self.backends = ["tcp://127.0.0.1:%d" % self.ports[2 * i + 1].number for i in range(brokers)]
        self.port = self.ports[-1].number
        self.url = "http://127.0.0.1:%d" % self.port
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.processes = {}
        for i in range(brokers):
            self._add("broker", "b%d" % (i + 1), "--frontend", self.frontends[i], "--backend", self.backends[i])
        self._add("api", "api", "--listen", "127.0.0.1:%d" % self.port, "--data", self.data, "--reserve", "64K", "--brokers",
                  ",".join(self.frontends), *(["--test-tasks", "true"] if test_tasks else []))
        for i in range(schedulers):
            self._add("scheduler", "s%d" % (i + 1), "--brokers", ",".join(self.frontends))
        for i in range(workers):
            self.add_worker("w%d" % (i + 1))
        if start:
            try:
                self.start()
            except BaseException:
                self.show_logs()
                self.close()
                raise

    def stint_keys(self, *arguments):
        """`stint keys ...`; what it printed."""
        done = subprocess.run([os.path.join(BUILD, "stint"), "keys", *arguments, "--keys", self.keys], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=True, timeout=30)
        return done.stdout.decode()

    def _key(self, role, name):
        """The arguments that give a process its key."""
        if not self.keys:
            return []
        if role == "broker":
            return ["--keys", self.keys]
        if role == "worker" and not os.path.exists(os.path.join(self.keys, name + ".key")):
            self.stint_keys("add", "worker", name)
        return ["--key", os.path.join(self.keys, (name if role == "worker" else role) + ".key")]

    def _add(self, role, name, *arguments):
        program = os.path.join(BUILD, "stint-" + role)
        arguments = [*arguments, *self._key(role, name)]
        process = Process(name, [program, "--name", name, *arguments, *self.common, *self.extra.get(role, [])], self.folder)
        self.processes[name] = process
        return process

    def add_worker(self, name, rate=None):
        rate = rate or self.rate
        return self._add("worker", name, "--state", os.path.join(self.folder, "state-" + name), "--slots", self.slots,
                         "--brokers", ",".join(self.backends), *(["--rate", rate] if rate else []),
                         *(["--test-tasks", "true"] if self.test_tasks else []))

    def __getitem__(self, name):
        return self.processes[name]

    def start(self):
        for process in self.processes.values():
            if not process.popen or process.ended():
                process.start()
        wait_until(self.whole, 20, "api hears of all")

    def whole(self):
        """Whether the api knows every worker and scheduler that runs."""
        def running(letter):
            return sum(name[0] == letter and p.popen is not None and not p.ended() for name, p in self.processes.items())
        health = self.get("/health").json
        return health["workers"] == running("w") and health["schedulers"] == running("s")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind and kind is not unittest.SkipTest:
            self.show_logs()
        self.close()

    def show_logs(self):
        for process in self.processes.values():
            if os.path.exists(process.log):
                print("---- %s (%s)" % (process.name, "runs" if process.popen.poll() is None else
                                        "ended with %s" % process.popen.returncode), file=sys.stderr)
                print("\n".join(process.text().splitlines()[-LOG_LINES_SHOWN:]), file=sys.stderr)

    def close(self):
        """Ends every process by its id; nothing of them may be left."""
        left = []
        for process in self.processes.values():
            if process.popen and not process.ended():
                left += process.descendants()
                process.signal(signal.SIGCONT)
                process.kill()
        try:
            wait_until(lambda: not any(alive(pid) for pid in left), 10, "children end with their parents")
        finally:
            for port in self.ports:
                port.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- HTTP

    def request(self, method, path, body=None, headers=None, timeout=60):
        url = self.url + (path if path.startswith("/api/") else "/api/v1" + path)
        request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
        try:
            with self.opener.open(request, timeout=timeout) as reply:
                return Answer(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as err:
            with err:
                return Answer(err.code, err.headers, err.read())

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post_json(self, path, value):
        return self.request("POST", path, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def submit_answer(self, task, items, params=None, **fields):
        return self.post_json("/batch-jobs/submit", {"task": task, "params": params or {}, "items": items, **fields})

    def upload_answer(self, body, task=TRANSACTIONS, params=None, kind="text/csv", gz=False, **fields):
        query = {"task": task, **fields, **{"param." + k: json.dumps(v) for k, v in (params or {}).items()}}
        headers = {"Content-Type": kind, **({"Content-Encoding": "gzip"} if gz else {})}
        return self.request("POST", "/batch-jobs/submit?" + urllib.parse.urlencode(query), body, headers, timeout=300)

    @staticmethod
    def accepted(answer):
        if answer.status != 202:
            raise AssertionError("not accepted: %r" % answer)
        return answer.json["job_id"]

    def submit(self, *arguments, **fields):
        """A job of an envelope; its id."""
        return self.accepted(self.submit_answer(*arguments, **fields))

    def upload(self, *arguments, **fields):
        """A job of a streamed body; its id."""
        return self.accepted(self.upload_answer(*arguments, **fields))

    def job(self, job):
        answer = self.get("/batch-jobs/" + job)
        if answer.status != 200:
            raise AssertionError("job %s: %r" % (job, answer))
        return answer.json

    def report(self, job):
        answer = self.get("/batch-jobs/%s/report" % job)
        if answer.status != 200:
            raise AssertionError("report of %s: %r" % (job, answer))
        return answer.json

    def finished(self, job, status="completed", seconds=60):
        """Waits for the end of a job; it must be `status`."""
        def end():
            last = self.job(job)
            return last if last["status"] in ENDED else None
        try:
            last = wait_until(end, seconds, "end of job %s" % job)
        except Late as late:
            raise Late("%s; %s" % (late, self.job(job))) from None
        if last["status"] != status:
            raise AssertionError("job %s is %s, not %s: %s" % (job, last["status"], status, last))
        return last

    # -- the store's file

    def query(self, sql, *parameters):
        """Rows of the store, read-only; meant for when the api is stopped."""
        store = sqlite3.connect("file:%s?mode=ro" % os.path.join(self.data, "store.db"), uri=True, timeout=20)
        try:
            return store.execute(sql, parameters).fetchall()
        finally:
            store.close()


class FleetTest(unittest.TestCase):
    """A test whose class shares one fleet: `options` of it; its logs are shown when a test fails."""
    options = {}
    fleet = None

    @classmethod
    def setUpClass(cls):
        cls.fleet = Fleet(**cls.options)
        cls.addClassCleanup(cls.fleet.close)

    def run(self, result=None):
        def bad():
            return len(result.failures) + len(result.errors)
        before = bad() if result is not None else 0
        out = super().run(result)
        if result is not None and bad() > before and self.fleet:
            self.fleet.show_logs()
        return out


def example_expected():
    """(expected, params) of the example: computed by the reference script when it is there, else the committed one."""
    with open(os.path.join(compare.HERE, "devon_20000.expected.json"), encoding="utf-8") as file:
        committed = json.load(file)
    fresh = compare.reference_for(EXAMPLE, committed["config"])
    return fresh or committed, compare.params_of(committed["config"])


def example_text():
    with gzip.open(EXAMPLE, "rb") as file:
        return file.read()


def shuffled(text, rule):
    """The rows of a CSV text in another order; the header stays first."""
    header, *rows = text.splitlines(keepends=True)
    rule.shuffle(rows)
    return header + b"".join(rows)


def as_ndjson(text):
    rows = csv.DictReader(io.StringIO(text.decode("utf-8"), newline=""))
    return "".join(json.dumps({k: v for k, v in row.items() if v}) + "\n" for row in rows).encode()

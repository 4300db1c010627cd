#!/usr/bin/env python3
"""Stint beside Celery (on Redis), beanstalkd and gearmand: the same work, the same number of clients and workers, one system at a time,
several rounds in turn, medians. Usage: peers.py [ROUNDS [NAME...]]   (names as in the table; all by default)

  jobs a second   single-item no-op jobs from the first submission until the last is finished, where the system keeps results: recorded
  items a second  a group of batches with a merging callback, from the first byte sent until the merged result is there
  latency         one job on an idle system, from its submission until the client knows that it is done
  memory          PSS of all servers and workers behind that work
  kill -9         of the server, and of a worker, while clients submit: what was acknowledged and never ran, and what ran more than once,
                  counted from the clients' list of acknowledged jobs and the log that the task writes; missing is what has not
                  run after 15 s of silence (Celery: 100 s)

All on loopback, free ports, a temporary directory on a real disk; every process is ended by its id. A system that is not installed is
left out with a line that says so (`make peers-deps` installs them). All clients are Python: their own cost is in every figure."""
import collections
import http.client
import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
BUILD = os.environ.get("STINT_BUILD") or os.path.join(ROOT, "build")
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "e2e")]
import fleet as fleets  # noqa: E402
import lines  # noqa: E402

CLIENTS, WORKERS = 4, 2
JOBS, ITEMS, BATCH, LATENCIES = 2000, 200000, 1000, 200
KILL_SECONDS, KILL_AFTER, KILL_PAUSE, KILL_WAIT = 4.0, 2.0, 0.012, 160.0
TASK_MS = 10
REDIS = "/usr/bin/redis-server"


def row(i):
    return "T%07d,2024-03-05,%d,GBP,ACCOUNT-%04d" % (i, i % 997, i % 5000)


EXPECTED = {"rows": ITEMS, "sum": sum(i % 997 for i in range(ITEMS))}


class Absent(Exception):
    pass


def need(path, package):
    if not shutil.which(path):
        raise Absent("%s is not installed (package %s)" % (os.path.basename(path), package))


class System:
    """One system in one mode. The measures know nothing else of it."""
    name = promise = ""
    callback = True
    patience = 15.0  # seconds without a run after which what is missing is taken for lost

    def __init__(self, folder, log=None):
        self.folder, self.log, self.processes, self.port = folder, log, {}, fleets.Port()

    def environment(self):
        return dict(os.environ, PYTHONPATH=HERE, **({"PEERS_LOG": self.log} if self.log else {}))

    def spawn(self, name, command):
        with open(os.path.join(self.folder, name.replace(" ", "-") + ".log"), "ab") as out:
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder,
                                                    env=self.environment(), preexec_fn=fleets.die_with_parent)

    def answers(self):
        with socket.create_connection(("127.0.0.1", self.port.number), timeout=1):
            return True

    def start(self):
        self.start_server()
        fleets.wait_until(self.answers, 20, self.name + " answers", 0.01)
        for i in range(WORKERS):
            self.start_worker(i)
        fleets.wait_until(self.works, 60, self.name + " works", 0.2)

    def works(self):
        client = self.client()
        client.once()
        return True

    def pids(self):
        own = [p.pid for p in self.processes.values() if p.poll() is None]
        return sorted(set(own + [child for pid in own for child in fleets.descendants(pid)]))

    def kill(self, name):
        """The process and its children, at once."""
        process = self.processes[name]
        for pid in [process.pid] + fleets.descendants(process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait(20)

    def close(self):
        for name, process in self.processes.items():
            if process.poll() is None:
                self.kill(name)
        self.port.close()

    # What each system says for itself: start_server, start_worker(i), kill_server, client, begin, finished(mark, n).


# -- Stint ------------------------------------------------------------------------------------------------------------------------

class StintClient:
    def __init__(self, port):
        self.line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method, path, body=None, kind="application/json"):
        self.line.request(method, "/api/v1/batch-jobs" + path, body, {"Content-Type": kind} if body is not None else {})
        reply = self.line.getresponse()
        data = reply.read()
        if reply.status not in (200, 202):
            raise ConnectionError("%d %r" % (reply.status, data[:200]))
        return json.loads(data)

    def put(self, number, sleep_ms=0):
        """Returns when it is acknowledged."""
        return self.ask("POST", "/submit?task=noop&param.sleep_ms=%d" % sleep_ms, b"[%d]" % number)["job_id"]

    def once(self):
        job = self.put(0)
        while self.ask("GET", "/" + job)["status"] not in fleets.ENDED:
            time.sleep(0.0005)


class Stint(System):
    name = "Stint"
    promise = "acknowledged after fsync; results kept; a lost worker's batch runs again"

    def __init__(self, folder, log=None):
        super().__init__(folder, log)
        self.fleet = None

    def start(self):
        self.port.close()
        if self.log:
            os.environ["PEERS_LOG"] = self.log
        try:
            self.fleet = fleets.Fleet(brokers=1, workers=WORKERS, schedulers=0, rate="off", start=False)
            for name, process in self.fleet.processes.items():
                if name.startswith("w"):
                    process.arguments[0] = os.path.join(BUILD, "bench", "peers", "worker")
            self.fleet.start()
        finally:
            os.environ.pop("PEERS_LOG", None)

    def pids(self):
        own = [p.pid for p in self.fleet.processes.values() if not p.ended()]
        return sorted(set(own + [child for pid in own for child in fleets.descendants(pid)]))

    def client(self):
        return StintClient(self.fleet.port)

    def begin(self):
        return self.ended()

    def ended(self):
        jobs = self.client().ask("GET", "/stats/summary")["jobs"]
        return jobs["completed"] + jobs["failed"]

    def finished(self, mark, n):
        return self.ended() - mark >= n

    def merged(self):
        client = self.client()
        body = ("txn_id,ts,amount,ccy,src,dst\n" + "\n".join(row(i) + ",B" for i in range(ITEMS))).encode()
        job = client.ask("POST", "/submit?task=process_transaction_batch&batch_items=%d" % BATCH, body, "text/csv")["job_id"]
        while client.ask("GET", "/" + job)["status"] not in fleets.ENDED:
            time.sleep(0.005)
        return client.ask("GET", "/%s/report" % job)

    def restart(self, name):
        if self.log:
            os.environ["PEERS_LOG"] = self.log
        try:
            self.fleet[name].start()
        finally:
            os.environ.pop("PEERS_LOG", None)

    def kill_server(self):
        self.fleet["api"].kill()
        self.fleet["b1"].kill()
        time.sleep(0.5)
        self.restart("b1")
        self.restart("api")

    def kill_worker(self):
        left = self.fleet["w1"].descendants()
        self.fleet["w1"].kill()
        fleets.wait_until(lambda: not any(fleets.alive(pid) for pid in left), 10, "children end with their parent")
        time.sleep(0.5)
        self.restart("w1")

    def close(self):
        if self.fleet:
            self.fleet.close()


# -- Celery -----------------------------------------------------------------------------------------------------------------------

class CeleryClient:
    def __init__(self):
        import celery_app
        self.tasks = celery_app

    def put(self, number, sleep_ms=0):
        self.tasks.noop.apply_async((number, sleep_ms), retry=False)

    def once(self):
        self.tasks.noop.apply_async((0,), retry=False).get(timeout=30)


class Celery(System):
    """On Redis as broker and for the results."""
    late = False
    redis = []
    patience = 100.0  # it gives again late

    def __init__(self, folder, log=None):
        need(REDIS, "redis-server")
        if not importlib.util.find_spec("celery") or not importlib.util.find_spec("redis"):
            raise Absent("python3-celery and python3-redis are not installed for %s" % sys.executable)
        super().__init__(folder, log)
        os.environ["PEERS_REDIS"] = str(self.port.number)
        os.environ.pop("PEERS_LATE", None)
        if self.late:
            os.environ["PEERS_LATE"] = "1"
        sys.modules.pop("celery_app", None)

    def start_server(self):
        self.spawn("server", [REDIS, "--port", str(self.port.number), "--bind", "127.0.0.1", "--dir", self.folder, *self.redis])

    def start_worker(self, i):
        self.spawn("worker %d" % i, [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-c", "1", "-n", "w%d@peers" % i, "--loglevel", "WARNING",
                                     "--without-gossip", "--without-mingle"])

    def client(self):
        return CeleryClient()

    def results_n(self):
        import redis
        return redis.Redis(port=self.port.number, db=1).dbsize()

    def begin(self):
        return self.results_n()

    def finished(self, mark, n):
        return self.results_n() - mark >= n

    def merged(self):
        import celery
        tasks = self.client().tasks
        groups = [tasks.count.s([row(i) for i in range(at, at + BATCH)]) for at in range(0, ITEMS, BATCH)]
        return celery.chord(groups)(tasks.merge.s()).get(timeout=300)

    def kill_server(self):
        self.kill("server")
        time.sleep(0.5)
        self.start_server()
        fleets.wait_until(self.answers, 20, "redis answers again", 0.01)

    def kill_worker(self):
        self.kill("worker 0")
        time.sleep(0.5)
        self.start_worker(0)


class CeleryAlways(Celery):
    name = "Celery, appendfsync always"
    promise = "acknowledged after fsync; results kept a day; acks_late: what a lost worker held is given again after 10 s (default: an hour)"
    late = True
    redis = ["--appendonly", "yes", "--appendfsync", "always"]


class CeleryDefault(Celery):
    name = "Celery, defaults"
    promise = ("acknowledged from memory (snapshots each 1 to 60 minutes); results kept a day; a task is acknowledged before it runs, and "
               "what a lost worker had fetched in advance is given again after an hour")


# -- beanstalkd, gearmand ---------------------------------------------------------------------------------------------------------

class BeanstalkClient:
    def __init__(self, port):
        self.line = lines.Beanstalk(port)
        self.line.use(b"work")
        self.line.watch(b"answers")

    def put(self, number, sleep_ms=0):
        self.line.put(b"%d %d" % (number, sleep_ms))

    def once(self):
        self.line.put(b"0 0 answer")
        number, _ = self.line.reserve()
        self.line.delete(number)


class Beanstalkd(System):
    callback = False
    options = []

    def __init__(self, folder, log=None):
        need("beanstalkd", "beanstalkd")
        super().__init__(folder, log)

    def start_server(self):
        os.makedirs(os.path.join(self.folder, "wal"), exist_ok=True)
        self.spawn("server", ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port.number), *self.options])

    def start_worker(self, i):
        self.spawn("worker %d" % i, [sys.executable, os.path.join(HERE, "lines.py"), "beanstalkd", str(self.port.number)])

    def client(self):
        return BeanstalkClient(self.port.number)

    def begin(self):
        return lines.Beanstalk(self.port.number)

    def finished(self, mark, _):
        return mark.waiting() == 0

    kill_server = Celery.kill_server
    kill_worker = Celery.kill_worker


class BeanstalkdSync(Beanstalkd):
    name = "beanstalkd -b -f0"
    promise = "acknowledged after fsync; no results; a lost worker's job is given again when its connection ends"
    options = ["-b", "wal", "-f0"]


class BeanstalkdMemory(Beanstalkd):
    name = "beanstalkd"
    promise = "acknowledged from memory, nothing on disk; no results; a lost worker's job is given again when its connection ends"


class GearmanClient:
    def __init__(self, port):
        self.line = lines.Gearman(port)

    def put(self, number, sleep_ms=0):
        self.line.put(b"%d %d" % (number, sleep_ms))

    def once(self):
        self.line.call(b"0 0")


class Gearmand(System):
    callback = False
    options = []

    def __init__(self, folder, log=None):
        need("gearmand", "gearman-job-server")
        super().__init__(folder, log)

    def start_server(self):
        self.spawn("server", ["gearmand", "-L", "127.0.0.1", "-p", str(self.port.number), "-l", os.path.join(self.folder, "gearmand.txt"),
                              *self.options])

    def start_worker(self, i):
        self.spawn("worker %d" % i, [sys.executable, os.path.join(HERE, "lines.py"), "gearmand", str(self.port.number)])

    def client(self):
        return GearmanClient(self.port.number)

    def begin(self):
        return lines.Gearman(self.port.number)

    def finished(self, mark, _):
        return mark.waiting() == 0

    kill_server = Celery.kill_server
    kill_worker = Celery.kill_worker


class GearmandSqlite(Gearmand):
    name = "gearmand -q libsqlite3"
    promise = ("background jobs: acknowledged after fsync (an SQLite commit); no results; a lost worker's job is given again at once; "
               "the latency is of a foreground job, which is not stored")
    options = ["-q", "libsqlite3", "--libsqlite3-db", "queue.db"]


class GearmandMemory(Gearmand):
    name = "gearmand"
    promise = "background jobs: acknowledged from memory; no results; a lost worker's job is given again at once; latency of a foreground job"


SYSTEMS = [Stint, CeleryAlways, CeleryDefault, BeanstalkdSync, BeanstalkdMemory, GearmandSqlite, GearmandMemory]

# -- measures ---------------------------------------------------------------------------------------------------------------------


def run_clients(system, call, *arguments):
    """call(client, k, *arguments) in CLIENTS processes that begin together; what they return."""
    barrier, queue, children = multiprocessing.Barrier(CLIENTS + 1), multiprocessing.Queue(), []

    def child(k):
        fleets.die_with_parent()
        client = system.client()
        barrier.wait(60)
        queue.put(call(system, client, k, *arguments))

    for k in range(CLIENTS):
        children.append(multiprocessing.Process(target=child, args=(k,)))
        children[-1].start()
    barrier.wait(60)
    began = time.monotonic()

    def end():
        results = [queue.get(timeout=300) for _ in children]
        for process in children:
            process.join(30)
        return results
    return began, end


def put_many(_, client, k):
    for i in range(k, JOBS, CLIENTS):
        client.put(1 + i)


def jobs_a_second(system):
    mark = system.begin()
    began, end = run_clients(system, put_many)
    end()
    put = time.monotonic() - began
    fleets.wait_until(lambda: system.finished(mark, JOBS), 300, system.name + " finishes", 0.01)
    return JOBS / (time.monotonic() - began), JOBS / put


def items_a_second(system):
    began = time.monotonic()
    got = system.merged()
    seconds = time.monotonic() - began
    if got != EXPECTED:
        raise AssertionError("%s merged %r, not %r" % (system.name, got, EXPECTED))
    return ITEMS / seconds


def latencies(system):
    client, times = system.client(), []
    for _ in range(LATENCIES):
        began = time.monotonic()
        client.once()
        times.append((time.monotonic() - began) * 1000)
        time.sleep(0.005)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.99)]


def memory(system):
    total = 0
    for pid in system.pids():
        try:
            with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
                total += sum(int(text.split()[1]) for text in file if text.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1024


def put_paced(system, client, k):
    """Jobs until the time is over, whatever happens to the server; the numbers of those that were acknowledged."""
    acknowledged, number, until = [], 1 + k, time.monotonic() + KILL_SECONDS
    while time.monotonic() < until:
        try:
            client = client or system.client()
            client.put(number, TASK_MS)
            acknowledged.append(number)
        except Exception:  # every library has its own way to say that the server is gone
            client = None
            time.sleep(0.05)
        number += CLIENTS
        time.sleep(KILL_PAUSE)
    return acknowledged


def executed(log):
    with open(log, encoding="ascii") as file:
        return collections.Counter(int(text) for text in file if text.strip())


def lost_and_repeated(kind, folder, what):
    """In a fresh system: acknowledged, not run within the wait, run more than once."""
    log = os.path.join(folder, "executed.txt")
    with open(log, "wb"):
        pass
    system = kind(folder, log)
    try:
        system.start()
        _, end = run_clients(system, put_paced)
        time.sleep(KILL_AFTER)
        getattr(system, what)()
        acknowledged = {number for numbers in end() for number in numbers}
        deadline = time.monotonic() + KILL_WAIT
        last, since = -1, time.monotonic()
        while time.monotonic() < deadline and acknowledged - set(executed(log)):
            n = sum(executed(log).values())
            if n != last:
                last, since = n, time.monotonic()
            if time.monotonic() - since > kind.patience:
                break
            time.sleep(0.2)
        time.sleep(1)
        ran = executed(log)
        return (len(acknowledged), len(acknowledged - set(ran)),
                sum(1 for number, n in ran.items() if number and n > 1))
    finally:
        system.close()


def measure(kind, folder):
    system, results = kind(folder), {}
    try:
        system.start()
        results["jobs"], results["put"] = jobs_a_second(system)
        if system.callback:
            results["items"] = items_a_second(system)
        results["p50"], results["p99"] = latencies(system)
        results["memory"] = memory(system)
    finally:
        system.close()
    return results


def apart(call, kind, base, *arguments):
    """call(kind, folder, ...) in a process of its own: what a library keeps in memory is not there for the next one."""
    folder, queue = tempfile.mkdtemp(prefix="run-", dir=base), multiprocessing.Queue()

    def child():
        fleets.die_with_parent()
        try:
            queue.put((call(kind, folder, *arguments), None))
        except BaseException:  # whatever it is, the parent says it
            queue.put((None, traceback.format_exc()))

    process = multiprocessing.Process(target=child)
    process.start()
    value, failure = queue.get(timeout=900)
    process.join(60)
    if failure:
        sys.exit("%s: %s" % (kind.name, failure))
    shutil.rmtree(folder, ignore_errors=True)
    return value


def number(value, digits=0):
    return "-" if value is None else "%.*f" % (digits, value)


def table(medians, kills):
    """Markdown; the ratio to Stint of the same run behind each figure."""
    ours = medians.get("Stint", {})

    def cell(name, key, digits=0):
        value = medians[name].get(key)
        if value is None:
            return "-"
        ratio = "" if name == "Stint" or not ours.get(key) else " (%.2g×)" % (value / ours[key])
        return number(value, digits) + ratio

    print("| system | jobs/s, finished | jobs/s, acknowledged | items/s with callback | p50 ms | p99 ms | PSS MiB "
          "| server killed: missing, repeated, of acknowledged | worker killed: missing, repeated, of acknowledged |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in medians:
        cells = [cell(name, "jobs"), cell(name, "put"), cell(name, "items"), cell(name, "p50", 2), cell(name, "p99", 2),
                 cell(name, "memory")]
        for what in ("kill_server", "kill_worker"):
            if kills[name].get(what):
                acknowledged, lost, repeated = (sum(column) for column in zip(*kills[name][what]))
                cells.append("%d, %d of %d" % (lost, repeated, acknowledged))
            else:
                cells.append("-")
        print("| %s | %s |" % (name, " | ".join(cells)))


def run_all(base, rounds, kinds):
    results = {kind.name: collections.defaultdict(list) for kind in kinds}
    kills = {kind.name: collections.defaultdict(list) for kind in kinds}
    for i in range(rounds):
        for kind in kinds:
            began = time.monotonic()
            for key, value in apart(measure, kind, base).items():
                results[kind.name][key].append(value)
            print("round %d: %s (%.0f s)" % (i + 1, kind.name, time.monotonic() - began), file=sys.stderr, flush=True)
    for kind in kinds:
        for what in ("kill_server", "kill_worker"):
            began = time.monotonic()
            kills[kind.name][what].append(apart(lost_and_repeated, kind, base, what))
            print("%s: %s (%.0f s)" % (what, kind.name, time.monotonic() - began), file=sys.stderr, flush=True)
    return results, kills


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    wanted = sys.argv[2:] or [kind.name for kind in SYSTEMS]
    base = tempfile.mkdtemp(prefix="stint-peers-")
    kinds = []
    try:
        for kind in SYSTEMS:
            if kind.name in wanted:
                try:
                    kind(base).close()
                    kinds.append(kind)
                except Absent as absent:
                    print("SKIP %s: %s" % (kind.name, absent))
        place = subprocess.run(["df", "--output=fstype", base], stdout=subprocess.PIPE, check=True).stdout.decode().split()[-1]
        print("%d clients, %d workers, %d rounds (medians), %d jobs, %d items in batches of %d, data on %s, %d cores" %
              (CLIENTS, WORKERS, rounds, JOBS, ITEMS, BATCH, place, os.cpu_count()), flush=True)
        results, kills = run_all(base, rounds, kinds)
        medians = {name: {key: statistics.median(values) for key, values in of.items()} for name, of in results.items()}
        table(medians, kills)
        for kind in kinds:
            print("- %s: %s" % (kind.name, kind.promise))
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()

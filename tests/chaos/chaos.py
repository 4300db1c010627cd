#!/usr/bin/env python3
"""A real fleet under a random schedule of bad luck, and a judge that looks at it from outside.

    tests/chaos/chaos.py --seconds 60 --seed 7         (make chaos SECONDS=60 SEED=7)

Two brokers, four workers, two schedulers, an api; each is started again when it dies. Meanwhile clients submit, watch and cancel, and
processes are killed, stopped, restarted and cut off, wall clocks jump, the disk of the store is full, strangers write garbage, and
tasks crash, hang, eat and fork. At the end all is healed and every acknowledged job has to end. checker.py judges by what the clients
and the executions wrote down. As root it runs in namespaces of its own for network and mounts; without them nothing is cut off and no
disk is full. The same seed draws the same faults, not the same interleaving. Exit status 1 on any violation; the evidence is then kept
in build/chaos-SEED."""
import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
sys.path.insert(0, HERE)
from checker import ENDED, judge, rerun_times  # noqa: E402
from clocks import Clocks  # noqa: E402
from fleet import BUILD, Fleet, Late, wait_until  # noqa: E402

INSIDE = "STINT_CHAOS_INSIDE"
LEASE = "10s"
CLIENTS, ACTIVE = 4, 6
GOALS_MS = {"api": 2000, "broker": 2000, "worker": 5000}
STORE_DISK = "192m"
SETTLE_S = 150


def now_ms():
    return int(time.monotonic() * 1000)


def namespaces_work():
    try:
        return subprocess.run(["unshare", "-n", "-m", "--", "sh", "-c", "ip link set lo up && iptables -L -n"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


def run_inside():
    """Start this program again in its own namespaces, if that is permitted."""
    if os.environ.get(INSIDE):
        return
    if namespaces_work():
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv])
    print("SKIP no partitions and no full disk: namespaces and iptables need root")


class Events:
    """What happened, in the order in which it was known."""

    def __init__(self):
        self.all, self.lock = [], threading.Lock()

    def add(self, what, **fields):
        event = {"what": what, "at": now_ms(), **fields}
        with self.lock:
            self.all.append(event)
        return event


class Client(threading.Thread):
    """Submits jobs of `journal`, watches them and cancels some. Every item is a number of its own."""

    def __init__(self, run, number):
        super().__init__(daemon=True)
        self.run_, self.number = run, number
        self.rule = random.Random("client %d %d" % (run.seed, number))
        self.key, self.active, self.known = number * 1000000, [], []
        self.start()

    def run(self):
        while not self.run_.over.is_set():
            try:
                self.step()
            except OSError:
                pass
            self.run_.over.wait(self.rule.uniform(0, 0.08))

    def step(self):
        if len(self.active) < ACTIVE and self.rule.random() < 0.5:
            self.submit()
        elif self.active:
            job = self.rule.choice(self.active)
            self.look(job)
            if job in self.active and self.rule.random() < 0.03:
                self.cancel(job)

    def submit(self):
        self.key += 1
        base, n = self.key * 10000, self.rule.choice((1, 99, 100, 101, 250, 700, 1500))
        trouble = {"fail_permille": 60, "crash_permille": 20, "hang_permille": 10} if self.rule.random() < 0.3 else {}
        params = {"sleep_ms": self.rule.choice((0, 20, 100, 400)), **trouble}
        add = self.run_.events.add
        add("attempt", key=self.key, base=base, n=n)
        try:
            answer = self.run_.fleet.submit_answer("journal", list(range(base, base + n)), params, batch_items=100)
            if answer.status == 202:
                if self.run_.kill_at_ack.is_set():  # the answer is here: from now on nothing may undo it
                    self.run_.kill_at_ack.clear()
                    self.run_.kill("api")
                job = int(answer.json["job_id"])
                add("ack", key=self.key, job=job)
                self.active.append(job)
                self.known.append(job)
            else:
                add("refused", key=self.key, status=answer.status)
        except Exception as err:  # the api is away, or was cut off in mid-answer: http.client and urllib have many for that
            add("unknown", key=self.key, error=repr(err))

    def look(self, job):
        try:
            answer = self.run_.fleet.get("/batch-jobs/%d" % job, timeout=5)
            seen = answer.json if answer.status == 200 else None
        except Exception:
            return
        if answer.status == 404:
            self.run_.wrong("job %d was acknowledged and is not known: 404" % job)
        if seen:
            self.run_.events.add("seen", client=self.number, job=job, **{k: seen[k] for k in (
                "status", "items_done", "items_failed", "percent")})
            if seen["status"] in ENDED:
                self.active.remove(job)

    def cancel(self, job):
        try:
            answer = self.run_.fleet.request("POST", "/batch-jobs/%d/cancel" % job, b"", timeout=10)
            if answer.status == 200:
                self.run_.events.add("cancel", job=job)
        except Exception:
            self.run_.events.add("cancel-unknown", job=job)


class Keeper(threading.Thread):
    """Starts again what has ended; what ends without having been asked to is a violation."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_, self.held, self.asked, self.lock = run, set(), set(), threading.RLock()
        self.end = threading.Event()
        self.start()

    def run(self):
        while not self.end.wait(0.01):
            for name, process in self.run_.fleet.processes.items():
                with self.lock:
                    if not process.ended() or name in self.held:
                        continue
                    # A store on a full disk cannot be opened: 74 says so, and the next start tries again.
                    full = name == "api" and process.popen.returncode == 74 and self.run_.disk_is_full()
                    if name not in self.asked and not full:
                        self.run_.wrong("%s ended by itself with %d; its last words: %s" % (
                            name, process.popen.returncode, (process.text().splitlines() or [""])[-1]))
                    self.asked.discard(name)
                    process.start(ready=False)


class Run:
    def __init__(self, seconds, seed):
        self.seconds, self.seed = seconds, seed
        self.rule = random.Random(seed)
        self.events, self.over = Events(), threading.Event()
        self.violations, self.kills, self.recoveries, self.lock = [], [], [], threading.Lock()
        self.faults_n, self.heals, self.watchers, self.until = {}, [], [], {}
        self.inside, self.kill_at_ack = bool(os.environ.get(INSIDE)), threading.Event()

    def wrong(self, text):
        with self.lock:
            self.violations.append(text)

    # -- the fleet

    def open(self):
        self.fleet = Fleet(brokers=2, workers=4, schedulers=2, slots=2, test_tasks=True, start=False, extra={"api": ["--lease", LEASE]})
        self.journal = os.path.join(self.fleet.folder, "journal")
        with open(self.journal, "w", encoding="ascii"):
            pass
        os.environ["STINT_JOURNAL"] = self.journal
        if self.inside:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + STORE_DISK, "chaos", self.fleet.data], check=True)
        self.clocks = Clocks(self.fleet)
        self.fleet.start()
        self.keeper = Keeper(self)

    def close(self):
        self.keeper.end.set()
        self.keeper.join(20)
        if self.inside:
            subprocess.run(["umount", "-l", self.fleet.data], check=False)
        self.fleet.close()

    def names(self, letters):
        return [name for name in self.fleet.processes if name[0] in letters]

    def quiet(self):
        """Whether nothing is stopped, cut off, dead or full at the moment."""
        now = now_ms()
        return all(until < now for until in self.until.values())

    def disk_is_full(self):
        return self.until.get("fulldisk", 0) + 1000 > now_ms()

    # -- faults; each returns the text that is printed

    def lasting(self, kind, name, seconds, heal):
        """A fault that ends by itself after some seconds."""
        event = self.events.add("fault", kind=kind, name=name, until=now_ms() + int(seconds * 1000))
        self.until[kind + name] = event["until"]

        def end():
            heal()
            event["until"] = self.until[kind + name] = now_ms()
        self.heals.append((event["until"], end))
        return "%s %s for %.1f s" % (kind, name, seconds)

    def span(self):
        return self.rule.uniform(0.5, min(20.0, max(3.0, self.seconds / 30)))

    def kill(self, name=None, hold=0.0):
        name = name or self.rule.choice(self.names("abws"))
        process = self.fleet[name]
        role = {"a": "api", "b": "broker", "w": "worker", "s": "scheduler"}[name[0]]
        with self.keeper.lock:
            if process.ended():
                return None
            alone = self.quiet()
            pids = set(process.descendants())
            at, size = now_ms(), os.path.getsize(process.log)
            self.keeper.asked.add(name)
            if hold:
                self.keeper.held.add(name)
            process.kill()
        if role == "worker":
            self.kills.append({"at": at, "pids": pids, "alone": alone, "kind": "worker gone" if hold else "worker"})
        if hold:
            return self.lasting("gone", name, hold, lambda: self.keeper.held.discard(name))
        event = self.events.add("fault", kind="kill", name=name, until=at + 5000)
        self.until["kill" + name] = event["until"]
        watcher = threading.Thread(target=self.watch, args=(role, name, at, size, alone, event), daemon=True)
        watcher.start()
        self.watchers.append(watcher)
        return "kill " + name

    def back(self, role, process, size):
        if role == "api":
            try:
                return self.fleet.get("/health", timeout=1).status == 200
            except Exception:
                return False
        text = process.text(size)
        if role == "broker":
            return "what=joined role=api" in text and "what=joined role=worker" in text
        return "event=%s.broker_up" % role in text or (role == "scheduler" and "event=scheduler.ready" in text)

    def watch(self, role, name, at, size, alone, event):
        """Until it is in service again: the api answers; a broker has the api and a worker; a worker or scheduler has a broker."""
        try:
            wait_until(lambda: self.back(role, self.fleet[name], size), 60, name + " is back", pause=0.005)
        except Late as late:
            self.wrong("killed: %s" % late)
        took = now_ms() - at
        undisturbed = alone and all(e is event or e["until"] < at or e["at"] > at + took
                                    for e in list(self.events.all) if e["what"] == "fault")
        self.recoveries.append((role, took, undisturbed))
        event["until"] = self.until["kill" + name] = at + took

    def at_ack(self):
        self.kill_at_ack.set()
        return "kill api at the next acknowledgement"

    def gone(self):
        return self.kill(self.rule.choice(self.names("w")), hold=self.rule.uniform(3, 8))

    def stop(self):
        name = self.rule.choice(self.names("abws"))
        process = self.fleet[name]
        with self.keeper.lock:
            if process.ended():
                return None
            pid = process.pid
            os.kill(pid, signal.SIGSTOP)

        def resume():
            with self.keeper.lock:
                if process.pid == pid and not process.ended():
                    os.kill(pid, signal.SIGCONT)
        return self.lasting("stop", name, self.span(), resume)

    def restart(self):
        name = self.rule.choice(self.names("abws"))
        process = self.fleet[name]
        with self.keeper.lock:
            if process.ended():
                return None
            self.keeper.asked.add(name)
            process.signal(signal.SIGTERM)
        event = self.events.add("fault", kind="restart", name=name, until=now_ms() + 8000)
        self.until["restart" + name] = event["until"]
        return "restart " + name

    def child(self):
        worker = self.fleet[self.rule.choice(self.names("w"))]
        children = worker.descendants()
        if children:
            try:
                os.kill(self.rule.choice(children[1:] or children), signal.SIGKILL)
            except ProcessLookupError:
                pass
        return "kill a child of " + worker.name

    def partition(self):
        if not self.inside:
            return None
        port = self.rule.choice(self.fleet.ports[:4]).number
        ways = self.rule.choice((["--dport"], ["--sport"], ["--dport", "--sport"]))
        rules = [["INPUT", "-p", "tcp", way, str(port), "-j", "DROP"] for way in ways]
        for rule in rules:
            subprocess.run(["iptables", "-w", "-I", *rule], check=True)

        def heal():
            for rule in rules:
                subprocess.run(["iptables", "-w", "-D", *rule], check=True)
        side = "b%d %s" % (1 + self.port_number(port) // 2, ("frontend", "backend")[self.port_number(port) % 2])
        return self.lasting("partition", "%s %s" % (side, "both ways" if len(ways) == 2 else ways[0][2:]), self.span(), heal)

    def port_number(self, port):
        return [p.number for p in self.fleet.ports].index(port)

    def full(self):
        if not self.inside or self.disk_is_full():
            return None
        ballast = os.path.join(self.fleet.data, "ballast")

        def fill():
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(1 << 16))
                except OSError:
                    pass
        fill()
        return self.lasting("full", "disk", min(self.span(), 4), lambda: os.unlink(ballast))

    def clock(self):
        name = self.rule.choice(self.names("aws"))
        ms = self.rule.choice((3600000, -7200000, 5000, -5000, 0))
        self.clocks.set(name, ms)
        return "wall clock of %s %+d s" % (name, ms // 1000)

    def garbage(self):
        port = self.rule.choice(self.fleet.ports).number
        for data in (self.rule.randbytes(2000), b"GET / HTTP/1.1\r\n\r\n", b"\xff\0\0\0\0\0\0\0\x01\x7f\x03" + self.rule.randbytes(300)):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as line:
                    line.sendall(data)
            except OSError:
                pass
        return "garbage to port number %d" % self.port_number(port)

    def bad_task(self):
        task = self.rule.choice(("crash", "hang", "eat", "flood", "fork", "close"))
        try:
            self.fleet.submit_answer(task, [1], {"processes": 200} if task == "fork" else {})
        except Exception:
            pass
        return "a task that does " + task

    def begin(self):
        kinds = [(self.kill, 8), (self.gone, 3), (self.at_ack, 2), (self.stop, 3), (self.restart, 2), (self.child, 2),
                 (self.partition, 3), (self.full, 1), (self.clock, 3), (self.garbage, 2), (self.bad_task, 2)]
        call = self.rule.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
        if call in (self.kill, self.gone) and self.rule.random() < 0.7:
            self.wait(lambda: self.quiet(), 30)         # most kills are alone, so that what they cost can be told
        text = call()
        if text:
            self.faults_n[call.__name__] = self.faults_n.get(call.__name__, 0) + 1
            print("%6.1f s  %s" % (time.monotonic() - self.began, text), flush=True)

    def heal_due(self, all_of_them=False):
        due = [h for h in self.heals if all_of_them or h[0] <= now_ms()]
        self.heals = [h for h in self.heals if h not in due]
        for _, heal in due:
            heal()

    # -- the run

    def wait(self, until, seconds):
        """Until that is true or the time is over; what is due to end ends meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.heal_due()
            time.sleep(0.02)
        self.heal_due()

    def suffer(self):
        self.began = time.monotonic()
        while time.monotonic() - self.began < self.seconds:
            self.wait(lambda: False, self.rule.uniform(0.2, 2.0))
            self.begin()
        self.heal_due(all_of_them=True)
        for watcher in self.watchers:
            watcher.join(70)

    def settle(self, clients):
        """All is well again: every acknowledged job has to end."""
        self.over.set()
        for client in clients:
            client.join(70)
        wait_until(self.fleet.whole, 60, "the fleet is whole again")
        deadline = time.monotonic() + SETTLE_S
        for job in [job for client in clients for job in client.known]:
            end = None
            while (not end or end["status"] not in ENDED) and time.monotonic() < deadline:
                answer = self.fleet.get("/batch-jobs/%d" % job)
                end = answer.json if answer.status == 200 else None
                if not end or end["status"] not in ENDED:
                    time.sleep(0.05)
            if end:
                report = self.fleet.get("/batch-jobs/%d/report" % job)
                self.events.add("end", job=job, status=end["status"], error=(end.get("error") or {}).get("code"),
                                items_done=end["items_done"], items_failed=end["items_failed"],
                                report=report.json if report.status == 200 else None)
        self.settled_s = SETTLE_S - (deadline - time.monotonic())

    def judge(self):
        with open(self.journal, encoding="ascii") as file:
            lines = file.read().splitlines()
        found, figures = judge(self.events.all, lines)
        self.violations += found
        for kill, times in zip(self.kills, rerun_times(lines, self.kills)):
            until = kill["at"] + max(times, default=0)
            undisturbed = kill["alone"] and not any(
                e["what"] == "fault" and e["kind"] not in ("kill", "gone") and e["at"] <= until and e["until"] >= kill["at"]
                for e in self.events.all)
            self.recoveries += [(kind_of(kill), ms, undisturbed) for ms in times]
        return figures

    def keep_evidence(self):
        place = os.path.join(BUILD, "chaos-%d" % self.seed)
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
        for name in os.listdir(self.fleet.folder):
            if name.endswith(".log") or name == "journal":
                shutil.copy(os.path.join(self.fleet.folder, name), place)
        with open(os.path.join(place, "events"), "w", encoding="ascii") as file:
            file.writelines(json.dumps(event) + "\n" for event in self.events.all)
        print("the evidence is in %s" % place)


def kind_of(kill):
    return "batch of a killed %s" % kill["kind"]


def table(run, figures):
    print("\n%-34s %10s" % ("jobs", ""))
    for name in ("attempted", "acknowledged", "completed", "failed", "cancelled", "lost", "duplicated"):
        print("  %-32s %10d" % (name, figures[name]))
    print("  %-32s %10d" % ("executions of batches", figures["executions"]))
    print("  %-32s %10d" % ("of them, run again", figures["executed again"]))
    print("  %-32s %10s" % ("faults", ", ".join("%s %d" % pair for pair in sorted(run.faults_n.items()))))
    print("  %-32s %9.0fs" % ("until all had ended", run.settled_s))
    print("%-34s %6s %12s %12s %12s %10s" % ("back after a kill of", "n", "median ms", "worst ms", "amid others", "goal"))
    missed = []
    for kind in ("api", "broker", "worker", "scheduler", "batch of a killed worker", "batch of a killed worker gone"):
        alone = sorted(ms for k, ms, undisturbed in run.recoveries if k == kind and undisturbed)
        amid = [ms for k, ms, undisturbed in run.recoveries if k == kind and not undisturbed]
        goal = GOALS_MS["worker"] if kind.startswith("batch") else GOALS_MS.get(kind)
        if goal and alone and alone[-1] > goal:
            missed.append(kind)
        print("  %-32s %6d %12s %12s %12s %10s" % (kind, len(alone) + len(amid), "%d" % statistics.median(alone) if alone else "-",
                                                 alone[-1] if alone else "-", max(amid) if amid else "-", goal or "-"))
    for kind in missed:
        print("missed goal: %s" % kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    run_inside()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 31)
    print("seed %d, %.0f s, lease %s" % (seed, given.seconds, LEASE), flush=True)
    run = Run(given.seconds, seed)
    run.open()
    try:
        clients = [Client(run, i + 1) for i in range(CLIENTS)]
        run.suffer()
        run.settle(clients)
        figures = run.judge()
        table(run, figures)
        for text in run.violations[:50]:
            print("VIOLATION %s" % text)
        if run.violations:
            run.keep_evidence()
        print("%d violations, seed %d" % (len(run.violations), seed), flush=True)
    except BaseException:
        run.keep_evidence()
        raise
    finally:
        run.close()
    sys.exit(1 if run.violations else 0)


if __name__ == "__main__":
    main()

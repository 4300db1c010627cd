#!/usr/bin/env python3
"""A fleet at rest: api, broker, scheduler and a worker of one slot with its children, default heartbeats. Memory is PSS, shared pages
divided among those who share them. A thread that is woken counts as a voluntary switch; the reference is an empty process that sleeps
one heartbeat at a time with as many threads.

Usage: bench_idle.py [SECONDS] [ROUNDS]"""
import subprocess
import sys
import time

import figures

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 10
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
SLEEPER = "import time\nwhile True: time.sleep(1)"


def main():
    table = figures.Table("At rest (%g s a round, %d rounds)" % (SECONDS, ROUNDS))
    memory, share, woken, reference = [], [], {}, []
    sleeper = subprocess.Popen([sys.executable, "-c", SLEEPER])
    try:
        with figures.fleet.Fleet(workers=1, schedulers=1) as fleet:
            fleet.finished(fleet.submit("noop", [1]))
            time.sleep(3)  # what a start still has to do is over
            families = {name: figures.family(p) for name, p in fleet.processes.items()}
            for _ in range(ROUNDS):
                cpu = figures.cpu_seconds([pid for pids in families.values() for pid in pids])
                before = {name: sum(map(figures.switches, pids)) for name, pids in families.items()}
                empty = figures.switches(sleeper.pid)
                time.sleep(SECONDS)
                share.append((figures.cpu_seconds([pid for pids in families.values() for pid in pids]) - cpu) / SECONDS * 100)
                reference.append((figures.switches(sleeper.pid) - empty) / SECONDS)
                for name, pids in families.items():
                    woken.setdefault(name, []).append((sum(map(figures.switches, pids)) - before[name]) / SECONDS)
                parts = {name: sum(map(figures.pss_bytes, pids)) / 1e6 for name, pids in families.items()}
                memory.append(sum(parts.values()))
                figures.progress("PSS MB: %s; processor %.2f %%; woken a second: %s" % (
                    ", ".join("%s %.1f" % pair for pair in parts.items()), share[-1],
                    ", ".join("%s %.1f" % (name, seen[-1]) for name, seen in woken.items())))
    finally:
        sleeper.kill()
        sleeper.wait()
    table.add("memory of all, PSS, MB", memory, below=40)
    table.add("processor, % of a core", share, below=1)
    for name, what in (("api", "api"), ("b1", "broker"), ("s1", "scheduler"), ("w1", "worker and children")):
        table.add("wake-ups a second, " + what, woken[name], "one sleeper", reference)
    table.show()


if __name__ == "__main__":
    main()

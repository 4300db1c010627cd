#!/usr/bin/env python3
"""2,000 simulated workers, each with a connection, a heartbeat and a ticket a second, on the real broker and the real api. The
reference is the same with a tenth of them: what a worker costs must not grow with their number.

Usage: bench_crowd.py [WORKERS] [SECONDS]"""
import json
import os
import subprocess
import sys
import time

import figures

WORKERS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 8


def run(workers):
    """Per process: processor us a worker and second, resident bytes."""
    with figures.fleet.Fleet(workers=0) as fleet:
        crowd = subprocess.Popen([os.path.join(figures.TOOLS, "crowd"), fleet.backends[0], str(workers), str(SECONDS)],
                                 stdout=subprocess.PIPE, text=True)
        try:
            assert crowd.stdout.readline() == "READY\n"
            assert fleet.get("/health").json["workers"] == workers
            before, began = {n: figures.cpu_seconds([p.pid]) for n, p in fleet.processes.items()}, time.monotonic()
            line = crowd.stdout.readline()
            took = time.monotonic() - began
            share = {n: (figures.cpu_seconds([p.pid]) - before[n]) / took for n, p in fleet.processes.items()}
            memory = {n: figures.pss_bytes(p.pid) for n, p in fleet.processes.items()}
            assert crowd.wait() == 0
        finally:
            crowd.kill()
            crowd.wait()
            crowd.stdout.close()
    out = json.loads(line)
    figures.progress("%d workers: %s; %s" % (workers, ", ".join("%s %.1f %% of a core, %.1f MB" % (
        n, share[n] * 100, memory[n] / 1e6) for n in share), out))
    return share, memory


def main():
    table = figures.Table("%d simulated workers, %d s" % (WORKERS, SECONDS))
    few = max(WORKERS // 10, 1)
    small, all_of_them = run(few), run(WORKERS)
    for name, what in (("b1", "broker"), ("api", "api")):
        table.add("%s: processor, %% of a core" % what, [all_of_them[0][name] * 100])
        table.add("%s: memory, PSS, MB" % what, [all_of_them[1][name] / 1e6])
        table.add("%s: processor us a worker and second" % what, [all_of_them[0][name] * 1e6 / WORKERS], "with %d workers" % few,
                  [small[0][name] * 1e6 / few])
    table.show()


if __name__ == "__main__":
    main()

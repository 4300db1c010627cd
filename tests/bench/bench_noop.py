#!/usr/bin/env python3
"""Single-item jobs that do nothing, each durable before its reply: many clients at a time, then one on an idle fleet. Rates off,
2 workers of one slot. The references are taken in each round: rows committed in bare SQLite in groups as large as the api's, GET
of a small answer by as many clients, one bare commit, one trip through a bare forwarder.

Usage: bench_noop.py [JOBS] [ROUNDS]"""
import sys

import figures

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
ALONE, PAUSE_MS, SLICES = 10, 30, 4
START_LOG_RATE = "8000/1s"  # a limit, so that starts are written down, but one that never limits here


def crowd(table, clients):
    """Each round on a new fleet: the store begins empty."""
    seen = {name: [] for name in ("recorded", "replies", "p50", "p99", "health", "rows", "api", "all", "others")}
    for _ in range(ROUNDS):
        with figures.fleet.Fleet(workers=2) as fleet:
            figures.tool("load", "post", fleet.port, clients, 2000, fleet.data)
            before = {name: figures.cpu_seconds(figures.family(p)) for name, p in fleet.processes.items()}
            others = figures.Others()
            out = figures.tool("load", "post", fleet.port, clients, JOBS, fleet.data)
            used = {name: figures.cpu_seconds(figures.family(p)) - before[name] for name, p in fleet.processes.items()}
            seen["others"].append(others.cores(sum(used.values())))
            health = figures.tool("load", "get", fleet.port, clients, JOBS, "/api/v1/health")
            rows = figures.tool("bare", "commits", fleet.folder, clients, JOBS // clients)
        seen["recorded"].append(out["recorded_per_s"])
        seen["replies"].append(out["replies_per_s"])
        seen["p50"].append(out["reply_us_p50"] / 1000)
        seen["p99"].append(out["reply_us_p99"] / 1000)
        seen["health"].append(health["replies_per_s"])
        seen["rows"].append(rows["rows_per_s"])
        seen["api"].append(used["api"] * 1e6 / JOBS)
        seen["all"].append(sum(used.values()) * 1e6 / JOBS)
        figures.progress("%d clients: %s; health %d/s; processor us a job: %s; others meanwhile %.2f cores" % (
            clients, out, health["replies_per_s"], ", ".join("%s %.0f" % (n, s * 1e6 / JOBS) for n, s in used.items()),
            seen["others"][-1]))
    name = "%d clients: " % clients
    table.add(name + "jobs a second, submission to recorded", seen["recorded"], "bare rows, %d a commit" % clients, seen["rows"],
              above=12000)
    table.add(name + "replies a second", seen["replies"], "GET /health", seen["health"])
    table.add(name + "reply p50, ms", seen["p50"])
    table.add(name + "reply p99, ms", seen["p99"])
    table.add(name + "processor time of the api, us a job", seen["api"], "of the whole fleet", seen["all"])
    table.add(name + "cores that others used meanwhile", seen["others"])


def bare(folder):
    """A commit and a trip, ms."""
    return (figures.tool("bare", "commit", folder, ALONE, PAUSE_MS)["us_p50"] +
            figures.tool("bare", "trips", ALONE, PAUSE_MS)["us_p50"]) / 1000


def alone(table):
    """In slices of a third of a second, each beside its reference: the disk is not as fast at one time as at another."""
    replies, starts, recorded, before_start, before_end = [], [], [], [], []
    with figures.fleet.Fleet(workers=1) as fleet:
        fleet.finished(fleet.submit("noop", [1]))
        for _ in range(ROUNDS * SLICES):
            before_end.append(2 * bare(fleet.folder))
            out = figures.tool("load", "one", fleet.port, ALONE, PAUSE_MS, fleet.data)
            replies.append(out["reply_us_p50"] / 1000)
            recorded.append(out["recorded_us_p50"] / 1000)
    with figures.fleet.Fleet(workers=1, rate=START_LOG_RATE) as fleet:
        fleet.finished(fleet.upload(b"txn_id,ts,src,dst,amount,ccy\nt,2024-01-02,a,b,1.00,GBP\n"))
        for _ in range(ROUNDS * SLICES):
            before_start.append(bare(fleet.folder))
            start = figures.tool("load", "start", fleet.port, ALONE, PAUSE_MS, "%s/state-w1/starts" % fleet.folder)
            starts.append(start["start_us_p50"] / 1000)
    table.add("one client: submission to reply, ms", replies)
    table.add("one client: submission to start in a worker, ms", starts, "a commit and a trip, ms", before_start,
              ratio_below=1.5)
    table.add("one client: submission to recorded, ms", recorded, "two commits and two trips, ms", before_end,
              ratio_below=1.5)


def keys(table):
    """What CURVE between the processes costs: the same fleet with keys and without, in turn."""
    plain, curve = [], []
    for _ in range(ROUNDS):
        for seen, with_keys in ((plain, False), (curve, True)):
            with figures.fleet.Fleet(workers=2, keys=with_keys) as fleet:
                figures.tool("load", "post", fleet.port, 64, 2000, fleet.data)
                seen.append(figures.tool("load", "post", fleet.port, 64, JOBS, fleet.data)["recorded_per_s"])
    table.add("64 clients, with keys: jobs a second, submission to recorded", curve, "without keys", plain)


def main():
    table = figures.Table("Single-item jobs (%d a round, %d rounds)" % (JOBS, ROUNDS))
    for clients in (64, 256):
        crowd(table, clients)
    keys(table)
    alone(table)
    table.show()


if __name__ == "__main__":
    main()

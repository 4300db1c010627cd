#!/usr/bin/env python3
"""A million real payments from HTTP upload to finished report: 2 workers of one slot, rates off, gzip in one request. The
references: the same rows in one process without a fleet (tests/tools/forensic_run), and gzip -dc | zstd -1 of the same file.

The file is ../shared/data/devon_spend_2014_2023.csv.gz (1,070,193 rows); where it is absent, examples/devon_20000.csv.gz 53 times.
Usage: bench_devon.py [ROUNDS]"""
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time

import figures

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
REAL = os.path.join(figures.ROOT, "..", "shared", "data", "devon_spend_2014_2023.csv.gz")
PARAMS = {"profile": "ap", "benford_min_minor": 100000}


def payments(folder):
    """(path of a gzip file, rows, what it is)."""
    if os.path.exists(REAL):
        path, what = REAL, "the Devon file"
    else:
        header, *rows = figures.fleet.example_text().splitlines(keepends=True)
        path, what = os.path.join(folder, "payments.csv.gz"), "the example 53 times (the Devon file is not here)"
        with gzip.open(path, "wb", 6) as out:
            out.write(header)
            for _ in range(53):
                out.writelines(rows)
    with gzip.open(path, "rb") as file:
        rows = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1
    return path, rows, what


def without_a_fleet(path):
    """Seconds of the two references."""
    program = os.path.join(figures.TOOLS, "forensic_run")
    began = time.monotonic()
    subprocess.run([program, path, json.dumps(PARAMS), "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    alone = time.monotonic() - began
    began = time.monotonic()
    subprocess.run("gzip -dc '%s' | zstd -q -1 > /dev/null" % path, shell=True, check=True)
    return alone, time.monotonic() - began


def run(fleet, path):
    """Seconds of each stage, by the client's clock and the store's rows."""
    with open(path, "rb") as file:
        body = file.read()
    before = {name: figures.cpu_seconds(figures.family(p)) for name, p in fleet.processes.items()}
    began = time.monotonic()
    job = fleet.upload(body, params=PARAMS, gz=True)
    uploaded = time.monotonic() - began
    end = figures.fleet.wait_until(lambda: (lambda j: j if j["status"] in figures.fleet.ENDED else None)(fleet.job(job)), 120,
                                   "the report", 0.005)
    report = fleet.report(job)
    took = time.monotonic() - began
    assert end["status"] == "completed" and report, end
    used = {name: figures.cpu_seconds(figures.family(p)) - before[name] for name, p in fleet.processes.items()}
    (started, finished), = fleet.query("SELECT started_at, finished_at FROM processing_job WHERE id = ?", int(job))
    batches, working, last = fleet.query("SELECT count(*), sum(duration_us), max(ended_at) FROM attempt WHERE batch_id IN"
                                         " (SELECT id FROM batch WHERE job_id = ?)", int(job))[0]
    (finalize,), = fleet.query("SELECT duration_us FROM attempt WHERE finalize_id IN (SELECT id FROM finalize WHERE job_id = ?)",
                               int(job))
    return {"all": took, "upload": uploaded, "batches": (last - started) / 1000, "finalize": (finished - last) / 1000,
            "task": finalize / 1e6, "n": batches, "working": working / 1e6, "used": used}


def main():
    table = figures.Table("")
    seen = []
    with tempfile.TemporaryDirectory(prefix="stint-bench-") as folder:
        path, rows, what = payments(folder)
        table.title = "%s, %s: %d rows, upload to report (%d rounds)" % ("Payments", what, rows, ROUNDS)
        references = []
        with figures.fleet.Fleet(workers=2) as fleet:
            for _ in range(ROUNDS):
                out = run(fleet, path)
                references.append(without_a_fleet(path))
                seen.append(out)
                figures.progress("all %(all).2f s: upload %(upload).2f, then batches %(batches).2f (%(n)d of them, %(working).2f s "
                                 "of work in 2 workers), finalize %(finalize).2f (of it in the task %(task).2f)" % out)
                figures.progress("processor seconds: %s; without a fleet %.2f s, gzip | zstd %.2f s" % (
                    ", ".join("%s %.2f" % pair for pair in out["used"].items()), *references[-1]))
            peak = figures.peak_bytes(fleet["api"].pid) / 1e6
    table.add("rows a second, upload to report", [rows / s["all"] for s in seen], "one process, no fleet",
              [rows / r[0] for r in references], above=500000)
    table.add("rows a second, upload alone (durable at its reply)", [rows / s["upload"] for s in seen], "gzip -dc | zstd -1",
              [rows / r[1] for r in references])
    for name, text in (("upload", "upload, s"), ("batches", "batches after it, s"), ("finalize", "finalize, s")):
        table.add(text, [s[name] for s in seen])
    table.add("processor seconds of the api", [s["used"]["api"] for s in seen], "of the whole fleet",
              [sum(s["used"].values()) for s in seen])
    table.add("peak memory of the api, MB", [peak], below=100)
    table.show()


if __name__ == "__main__":
    main()

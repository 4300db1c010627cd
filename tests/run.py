#!/usr/bin/env python3
"""Runs the tests and counts them. Usage: tests/run.py check|all

Check programs (build/tests/**) count by their own closing line; a program that says it made 0 checks, or says nothing, is a failure.
Python tests (unittest) count one each. The last line is 'N passed, N failed'; skips stand before it with their reasons. Exit status
1 when anything failed or nothing ran."""
import concurrent.futures
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
CLOSING = re.compile(r"^(\d+)%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$", re.M)
QUICK_SEEDS = "40"
QUICK_FAULT_POINTS = "10"
LONG = ("sim/", "test_power_loss", "test_sweep")
COUNTING = ("tests/model/lease_model.py", "tests/migrate/cases.py", "tests/migrate/random_changes.py")


def check_programs():
    found = []
    for folder, _, names in os.walk(os.path.join(BUILD, "tests")):
        for name in names:
            path = os.path.join(folder, name)
            source = os.path.join(ROOT, os.path.relpath(path, BUILD) + ".c")
            # Programs of sources that are gone are left-overs of an older build.
            if os.access(path, os.X_OK) and os.path.exists(source):
                found.append(path)
    return sorted(found)


def run(command, limit, env=None, place=ROOT):
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=limit, env=env)
        text, code = done.stdout.decode("utf-8", "replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        text, code = (late.stdout or b"").decode("utf-8", "replace") + f"\nended after {limit} s\n", 124
    return code, text, time.monotonic() - began


def run_check_program(path, quick):
    env = dict(os.environ)
    if quick:
        env.setdefault("STINT_SIM_SEEDS", QUICK_SEEDS)
        env.setdefault("STINT_FAULT_POINTS", QUICK_FAULT_POINTS)
    code, text, seconds = run([path], 900, env)
    name = os.path.relpath(path, os.path.join(BUILD, "tests"))
    closing = CLOSING.search(text)
    checks, bad = (int(closing[2]), int(closing[3]) + int(closing[4])) if closing else (0, 0)
    skips = [f"{name}: {line[5:].strip()}" for line in text.splitlines() if line.startswith("SKIP ")]
    if checks == 0 or (code != 0 and bad == 0):
        return name, 0, 1, skips, text + f"\n{name}: exit status {code}, {checks} checks\n", seconds
    return name, checks - bad, bad, skips, text if bad else "", seconds


UNITTEST = re.compile(r"^Ran (\d+) tests? in", re.M)
FAILED = re.compile(r"^FAILED \((.*)\)$", re.M)
SKIPPED = re.compile(r"^(\S+) \((\S+?)\).*\.\.\. skipped ['\"](.*)['\"]$", re.M)


def run_unittest(path):
    folder, name = os.path.split(os.path.join(ROOT, path))
    code, text, seconds = run([sys.executable, "-m", "unittest", "-v", name[:-3]], 1500, place=folder)
    ran = UNITTEST.search(text)
    total = int(ran[1]) if ran else 0
    failed = FAILED.search(text)
    bad = sum(int(n) for n in re.findall(r"(?:failures|errors|unexpected successes)=(\d+)", failed[1])) if failed else 0
    skips = [f"{m[1]}: {m[3]}" for m in SKIPPED.finditer(text)]
    passed = total - bad - len(skips)
    if total == 0 or (code != 0 and bad == 0):
        return path, 0, 1, skips, text + f"\n{path}: exit status {code}, {total} tests\n", seconds
    return path, max(passed, 0), bad, skips, text if bad else "", seconds


def run_counting(path, command):
    """A program that closes with 'N passed, N failed' itself; one that only says SKIP and why may have none."""
    code, text, seconds = run(command, 900)
    closing = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.M)
    passed, bad = (int(closing[-1][0]), int(closing[-1][1])) if closing else (0, 0)
    skips = [f"{path}: {line[5:].strip()}" for line in text.splitlines() if line.startswith("SKIP ")]
    if (passed + bad == 0 and not skips) or (code != 0 and bad == 0):
        return path, 0, 1, skips, text + f"\n{path}: exit status {code}\n", seconds
    return path, passed, bad, skips, text if bad else "", seconds


def jobs_for(mode):
    quick = mode == "check"
    jobs = [(run_check_program, (path, quick)) for path in check_programs()]
    # The long ones first, the rest fits beside them.
    jobs.sort(key=lambda job: not any(part in job[1][0] for part in LONG))
    if not quick:
        for path in COUNTING:
            jobs.insert(0, (run_counting, (path, [sys.executable, path])))
        for folder in ("chaos", "forensic", "e2e", "hostile", "ship", "migrate"):
            place = os.path.join(ROOT, "tests", folder)
            names = sorted(os.listdir(place)) if os.path.isdir(place) else []
            jobs += [(run_unittest, (os.path.join("tests", folder, name),))
                     for name in names if name.startswith("test_") and name.endswith(".py")]
    return jobs


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ("check", "all"):
        sys.exit(__doc__)
    began = time.monotonic()
    passed = failed = 0
    skips, reports = [], []
    # Two lanes of two: what computes (two cores), and beside it what mostly waits for processes and their clocks.
    with concurrent.futures.ThreadPoolExecutor(2) as computing, concurrent.futures.ThreadPoolExecutor(2) as idling:
        waiting = [(idling if call is run_unittest else computing).submit(call, *arguments)
                   for call, arguments in jobs_for(sys.argv[1])]
        for done in concurrent.futures.as_completed(waiting):
            name, good, bad, left_out, text, seconds = done.result()
            passed += good
            failed += bad
            skips += left_out
            print(f"{'FAIL' if bad else 'ok  '} {name}: {good} passed, {bad} failed ({seconds:.1f} s)", flush=True)
            if text:
                reports.append((name, text))
    for name, text in reports:
        print(f"\n---- {name}\n{text[-12000:]}")
    for line in skips:
        print(f"skipped {line}")
    if passed + failed == 0:
        print("no test ran")
        failed = 1
    print(f"({time.monotonic() - began:.0f} s)")
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

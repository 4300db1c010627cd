#!/usr/bin/env python3
"""Runs the conformance cases that lie beside the checkout (../shared/migrations) over stint-migrate: as it chooses by itself, and
with every change forced to a rebuild. Closes with 'N passed, N failed'; without the cases it says SKIP and why."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CASES = os.path.join(os.path.dirname(ROOT), "shared", "migrations", "run_cases.py")
ENGINE = os.path.join(ROOT, "build", "stint-migrate")


def run(arguments):
    engine = f"'{ENGINE}' run {arguments} --db {{db}} {{sql}}"
    done = subprocess.run([sys.executable, CASES, engine, "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    closing = re.findall(r"^(\d+) passed, (\d+) failed$", done.stdout, re.M)
    for line in done.stdout.splitlines():
        if line.startswith("FAIL"):
            print(f"run {arguments}: {line}")
    if not closing:
        print(done.stdout[-2000:])
        return 0, 1
    return int(closing[-1][0]), int(closing[-1][1])


def main():
    if not os.path.exists(CASES):
        print("SKIP the conformance cases of migrations are not beside this checkout (../shared/migrations)")
        print("0 passed, 0 failed")
        return
    results = [run(arguments) for arguments in ("", "--rebuild")]
    passed, failed = sum(r[0] for r in results), sum(r[1] for r in results)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()

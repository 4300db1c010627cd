#!/usr/bin/env python3
"""Runs the libFuzzer targets, one after another. Usage: tests/fuzz/fuzz.py FOLDER SECONDS TARGET...

FOLDER holds the programs fuzz_TARGET. What is new for the coverage is kept in FOLDER/found/TARGET, so that the next run goes on from
there; what fails is written to FOLDER/failed-TARGET-... and named. With STINT_FUZZ_MERGE=1 the committed corpus is made anew, as small
as it covers the same (-merge=1), from itself and what was found; at most KEEP inputs a target. Exit status 1 if a target failed."""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KEEP = 17
BYTES_MAX = 4096


def longest(target):
    with open(os.path.join(HERE, "targets.def"), encoding="ascii") as file:
        return int(re.search(rf"^TARGET\({target}, (\d+)\)", file.read(), re.M)[1])


def paths(folder, target):
    found = os.path.join(folder, "found", target)
    corpus = os.path.join(HERE, "corpus", target)
    os.makedirs(found, exist_ok=True)
    os.makedirs(corpus, exist_ok=True)
    return found, corpus


def program(folder, target):
    return ["nice", "-n", "10", os.path.join(folder, f"fuzz_{target}"), "-rss_limit_mb=2000", f"-max_len={longest(target)}"]


def fuzz(folder, seconds, target):
    found, corpus = paths(folder, target)
    command = program(folder, target) + [f"-max_total_time={seconds}", "-timeout=20", "-print_final_stats=1", "-verbosity=0",
                                         f"-artifact_prefix={folder}/failed-{target}-"]
    words = os.path.join(HERE, "dict", f"{target}.dict")
    if os.path.exists(words):
        command.append(f"-dict={words}")
    done = subprocess.run(command + [found, corpus], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode("utf-8", "replace")
    executed = re.search(r"number_of_executed_units: *(\d+)", text)
    print(f"{target}: {executed[1] if executed else '?'} inputs, {len(os.listdir(found))} kept, "
          f"{'no failure' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode != 0:
        # The sentence, the stack up to our own function, and where the input is.
        for line in text.splitlines():
            if re.search(r"\.[ch]:\d|ERROR|SUMMARY|Test unit written", line) and "libFuzzer: deadly" not in line:
                print("   ", line.strip()[:300])
    return done.returncode == 0


def merge(folder, target):
    """The smallest set that covers all, cut to KEEP: every input that adds much stays."""
    found, corpus = paths(folder, target)
    fresh = os.path.join(folder, "merged", target)
    shutil.rmtree(fresh, ignore_errors=True)
    os.makedirs(fresh)
    subprocess.run(program(folder, target) + ["-merge=1", fresh, corpus, found], cwd=ROOT, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=True)
    kept = {name for name in os.listdir(corpus) if name.startswith(("seed-", "found-"))}
    names = [name for name in os.listdir(fresh) if os.path.getsize(os.path.join(fresh, name)) <= BYTES_MAX]
    # -merge orders by size and keeps what adds coverage: a spread over the sizes keeps small cases and long stories.
    names.sort(key=lambda name: (os.path.getsize(os.path.join(fresh, name)), name))
    room = max(KEEP - len(kept), 0)
    chosen = {names[int((i + 1) * len(names) / room) - 1] for i in range(room)} if names and room else set()
    for name in os.listdir(corpus):
        if name not in kept:
            os.remove(os.path.join(corpus, name))
    for name in chosen:
        shutil.copyfile(os.path.join(fresh, name), os.path.join(corpus, name))
    print(f"{target}: {len(names)} cover all, {len(kept) + len(chosen)} are in the corpus", flush=True)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    folder, seconds, targets = os.path.abspath(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if os.environ.get("STINT_FUZZ_MERGE"):
        for target in targets:
            merge(folder, target)
        return
    failed = [target for target in targets if not fuzz(folder, seconds, target)]
    print(f"{len(targets) - len(failed)} targets without a failure, {len(failed)} with: {' '.join(failed) or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

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
KEEP = 14
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


def added_by(control):
    """{path: how many features the input added to those before it}, from libFuzzer's record of a merge."""
    with open(control, encoding="latin-1") as file:
        rows = file.read().splitlines()
    names = rows[2:2 + int(rows[0])]
    added = {}
    for text in rows[2 + len(names):]:
        words = text.split()
        if words and words[0] == "FT":
            added[names[int(words[1])]] = len(words) - 2
    return added


def merge(folder, target):
    """The inputs that cover most; those of a name given by hand stay in any case."""
    found, corpus = paths(folder, target)
    fresh, control = os.path.join(folder, "merged", target), os.path.join(folder, "merged", target + ".control")
    shutil.rmtree(fresh, ignore_errors=True)
    os.makedirs(fresh)
    if os.path.exists(control):
        os.remove(control)
    subprocess.run(program(folder, target) + ["-merge=1", f"-merge_control_file={control}", fresh, corpus, found], cwd=ROOT,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    kept = {name for name in os.listdir(corpus) if name.startswith(("seed-", "found-"))}
    added = {path: n for path, n in added_by(control).items() if os.path.exists(path) and os.path.getsize(path) <= BYTES_MAX
             and os.path.basename(path) not in kept}
    best = sorted(added, key=lambda path: (-added[path], path))[:max(KEEP - len(kept), 4)]
    data = {}
    for path in best:
        with open(path, "rb") as file:
            data[os.path.basename(path)] = file.read()
    for name in os.listdir(corpus):
        if name not in kept:
            os.remove(os.path.join(corpus, name))
    for name, content in data.items():
        with open(os.path.join(corpus, name), "wb") as file:
            file.write(content)
    print(f"{target}: {len(os.listdir(fresh))} cover all, {len(kept) + len(data)} are in the corpus", flush=True)


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

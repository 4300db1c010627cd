"""Judges a run from evidence outside the store: what the clients wrote down (events), and what the task journal wrote down (lines).

Events are dictionaries with "what" and "at" (ms, CLOCK_MONOTONIC):
  attempt   key, base, n               a submission of the items base .. base + n - 1 is about to be sent
  ack       key, job                   it was answered 202
  refused   key, status                it was answered otherwise
  unknown   key                        no answer: nobody may say whether it was taken
  cancel    job                        a cancel was answered 200
  cancel-unknown  job                  a cancel was sent and not answered
  seen      client, job, status, items_done, items_failed, percent
  end       job, status, error, items_done, items_failed, report (or None): what the job is at the very end
  fault     kind, name, until          something was stopped, cut off or dead from `at` until `until`
Lines are those of worker/tasks/journal.h. judge() returns the violations, each one sentence, and figures."""
import collections

ENDED = ("completed", "failed", "cancelled")
WORD = 1 << 64
HEARTBEAT_MS = 1000
SLACK_MS = 2000


class Limits:
    max_starts = 10                 # executions of a batch
    max_attempts = 10               # reported failures of a batch of `journal`
    chunk_items = 100


def figures_of(first, n):
    """(sum, squares) of n consecutive numbers from `first` on, modulo 2^64."""
    def sums(k):                    # of 0 .. k - 1
        return k * (k - 1) // 2, (k - 1) * k * (2 * k - 1) // 6
    (high, high2), (low, low2) = sums(first + n), sums(first)
    return (high - low) % WORD, (high2 - low2) % WORD


class Log:
    """The executor's lines, by job."""

    def __init__(self, lines):
        self.starts = collections.defaultdict(list)     # job -> [(batch, attempt, first, n, pid, at)]
        self.ends = collections.defaultdict(list)       # job -> [(batch, attempt, first, n, sum, squares, at)]
        self.faults = collections.defaultdict(list)     # job -> [(batch, attempt, kind)]
        self.merges = collections.defaultdict(list)     # job -> [at]
        self.merged = collections.defaultdict(list)     # job -> [(batches, items, sum, squares)]
        self.bad = []
        for line in lines:
            word, *rest = line.split() or [""]
            try:
                if word == "fault":
                    job, batch, attempt, kind, _, _ = rest
                    self.faults[int(job)].append((int(batch), int(attempt), kind))
                    continue
                n = [int(value) for value in rest]
                if word == "start" and len(n) == 7:
                    self.starts[n[0]].append(tuple(n[1:]))
                elif word == "end" and len(n) == 9:
                    self.ends[n[0]].append((*n[1:7], n[8]))
                elif word == "merge" and len(n) == 3:
                    self.merges[n[0]].append(n[2])
                elif word == "merged" and len(n) == 7:
                    self.merged[n[0]].append(tuple(n[1:5]))
                else:
                    self.bad.append(line)
            except ValueError:
                self.bad.append(line)


class Judge:
    def __init__(self, events, lines, limits):
        self.events, self.log, self.limits = events, Log(lines), limits
        self.violations = []
        self.attempts = {e["key"]: e for e in events if e["what"] == "attempt"}
        self.jobs = {}                                  # job -> its attempt event
        self.ends = {e["job"]: e for e in events if e["what"] == "end"}
        self.cancels = {}
        for e in events:
            if e["what"] == "cancel":
                self.cancels.setdefault(e["job"], e["at"])
        self.perhaps_cancelled = {e["job"] for e in events if e["what"] == "cancel-unknown"}
        self.faults = [(e["at"], e["until"]) for e in events if e["what"] == "fault"]
        self.figures = collections.Counter()

    def wrong(self, text, *values):
        self.violations.append(text % values)

    def run(self):
        for line in self.log.bad:
            self.wrong("a line of the task journal is none: %r", line[:100])
        self.acknowledged()
        for job, attempt in self.jobs.items():
            self.job(job, attempt)
        for job in self.log.starts:
            self.executions(job)
        self.progress()
        return self.violations, self.figures

    def acknowledged(self):
        for e in self.events:
            if e["what"] != "ack":
                continue
            if e["job"] in self.jobs:
                self.wrong("job %d was acknowledged for two submissions", e["job"])
            self.jobs[e["job"]] = self.attempts[e["key"]]
        self.figures["attempted"] = len(self.attempts)
        self.figures["acknowledged"] = len(self.jobs)

    # -- a job

    def job(self, job, attempt):
        end = self.ends.get(job)
        if end is None or end["status"] not in ENDED:
            self.figures["lost"] += 1
            self.wrong("job %d was acknowledged and is lost: at the end it is %s", job, end["status"] if end else "not known")
            return
        self.figures[end["status"]] += 1
        if end["status"] == "completed":
            self.completed(job, attempt, end)
        elif end["status"] == "failed":
            self.failed(job, end)
        elif job not in self.cancels and job not in self.perhaps_cancelled:
            self.wrong("job %d is cancelled and nobody was told that a cancel of it succeeded", job)
        if job in self.cancels:
            if end["status"] != "cancelled":
                self.wrong("the cancel of job %d was acknowledged, and it is %s", job, end["status"])
            self.after_cancel(job)

    def completed(self, job, attempt, end):
        base, n = attempt["base"], attempt["n"]
        if (end["items_done"], end["items_failed"]) != (n, 0):
            self.wrong("job %d of %d items is completed with %d done and %d failed", job, n, end["items_done"], end["items_failed"])
        report = end.get("report") or {}
        total, squares = figures_of(base, n)
        if report.get("items") != n:
            self.figures["lost items"] += max(0, n - (report.get("items") or 0))
            self.figures["duplicated"] += max(0, (report.get("items") or 0) - n)
            self.wrong("the result of job %d counts %s items of %d", job, report.get("items"), n)
        elif (report.get("sum"), report.get("squares")) != (str(total), str(squares)):
            self.wrong("the result of job %d is not that of its items", job)
        ranges = {}
        for batch, _, first, items, found, found2, at in self.log.ends[job]:
            if figures_of(base + first - 1, items) != (found, found2):
                self.wrong("batch %d of job %d worked on other items than %d from %d on", batch, job, items, first)
            before = ranges.get(batch)
            if before and before[:2] != (first, items):
                self.wrong("batch %d of job %d had two ranges of items", batch, job)
            ranges[batch] = (first, items, min(at, before[2]) if before else at)
        next_one = 1
        for first, items, _ in sorted(ranges.values()):
            if first != next_one:
                self.wrong("job %d: items %d to %d were %s", job, min(first, next_one), max(first, next_one) - 1,
                           "in two batches" if first < next_one else "in no batch that ended")
            next_one = first + items
        if next_one != n + 1:
            self.wrong("job %d: its batches ended at item %d of %d", job, next_one - 1, n)
        self.finalized(job, max((at for _, _, at in ranges.values()), default=0), n)

    def finalized(self, job, last_end, n):
        if not self.log.merged[job]:
            self.wrong("job %d is completed and was never finalized", job)
        for at in self.log.merges[job]:
            if at < last_end:
                self.wrong("job %d was finalized %d ms before its last batch ended", job, last_end - at)
        for _, items, _, _ in self.log.merged[job]:
            if items != n:
                self.wrong("a finalize of job %d merged %d items of %d", job, items, n)

    def failed(self, job, end):
        """Failed is right only for a batch that had used up what it may: two crashes, its attempts, or its starts."""
        faults = collections.Counter(batch for batch, _, _ in self.log.faults[job])
        crashes = collections.Counter(batch for batch, _, kind in self.log.faults[job] if kind == "crash")
        starts = collections.Counter(start[0] for start in self.log.starts[job])
        known = (any(n >= 2 for n in crashes.values()) or any(n >= self.limits.max_attempts for n in faults.values())
                 or any(n >= self.limits.max_starts for n in starts.values()))
        if not known or not end.get("error"):
            self.wrong("job %d failed (%s) for no reason that its executions know", job, end.get("error"))

    def after_cancel(self, job):
        cancelled = self.cancels[job]
        for batch, attempt, _, _, _, at in self.log.starts[job]:
            if at <= cancelled:
                continue
            excuse = sum(max(0, min(at, until) - max(cancelled - HEARTBEAT_MS, since)) for since, until in self.faults)
            if at - cancelled > HEARTBEAT_MS + SLACK_MS + excuse:
                self.wrong("attempt %d of batch %d of job %d began %d ms after its cancel was acknowledged", attempt, batch, job,
                           at - cancelled)

    # -- executions, also of jobs whose submission had no answer

    def executions(self, job):
        seen = set()
        starts = collections.Counter()
        for batch, attempt, _, _, _, _ in self.log.starts[job]:
            self.figures["executions"] += 1
            if (batch, attempt) in seen:
                self.figures["duplicated"] += 1
                self.wrong("attempt %d of batch %d of job %d was executed twice", attempt, batch, job)
            seen.add((batch, attempt))
            starts[batch] += 1
        for batch, n in starts.items():
            self.figures["executed again"] += n - 1
            if n > self.limits.max_starts:
                self.wrong("batch %d of job %d was executed %d times, the limit is %d", batch, job, n, self.limits.max_starts)
        faults = collections.Counter(batch for batch, _, _ in self.log.faults[job])
        for batch, n in faults.items():
            if n > self.limits.max_attempts:
                self.wrong("batch %d of job %d failed %d times, the limit is %d", batch, job, n, self.limits.max_attempts)

    # -- what clients saw

    def progress(self):
        last = {}
        for e in self.events:
            if e["what"] != "seen":
                continue
            before = last.get((e["client"], e["job"]))
            last[e["client"], e["job"]] = e
            if not before:
                continue
            for name in ("items_done", "items_failed", "percent"):
                if e[name] < before[name]:
                    self.wrong("%s of job %d went back from %s to %s", name, e["job"], before[name], e[name])
            if before["status"] in ENDED and e["status"] != before["status"]:
                self.wrong("job %d was %s and is %s", e["job"], before["status"], e["status"])


def judge(events, lines, limits=Limits):
    """(violations, figures)"""
    return Judge(events, lines, limits).run()


def rerun_times(lines, kills):
    """For each kill {"at", "pids"}: the ms until each batch that ran in those processes began again, one list a kill. A batch that
    had ended, or never began again (cancelled), counts nowhere."""
    log = Log(lines)
    done = {(job, batch) for job, ends in log.ends.items() for batch, _, _, _, _, _, _ in ends}
    out = []
    for kill in kills:
        times = []
        for job, starts in log.starts.items():
            for batch, attempt, _, _, pid, at in starts:
                ended = any(e[:2] == (batch, attempt) for e in log.ends[job]) or any(
                    f[:2] == (batch, attempt) for f in log.faults[job])
                if pid not in kill["pids"] or at > kill["at"] or ended:
                    continue
                again = [later[5] for later in starts if later[0] == batch and later[5] > kill["at"]]
                if again and (job, batch) in done:
                    times.append(min(again) - kill["at"])
        out.append(times)
    return out

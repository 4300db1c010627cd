"""The judge of the chaos test is judged: a clean history passes, and each forged violation is found by its sentence."""
import copy
import unittest

from checker import figures_of, judge, rerun_times

JOB, BASE, N = 77, 5000, 250


def clean():
    """One job of 250 items in three batches; batch 1 failed once and ran again."""
    events = [{"what": "attempt", "at": 0, "key": 1, "base": BASE, "n": N}, {"what": "ack", "at": 5, "key": 1, "job": JOB}]
    for at, done in ((20, 0), (40, 100), (60, 200), (90, 250)):
        events.append({"what": "seen", "at": at, "client": 0, "job": JOB, "status": "completed" if done == N else "processing",
                       "items_done": done, "items_failed": 0, "percent": 100.0 * done / N})
    total, squares = figures_of(BASE, N)
    events.append({"what": "end", "at": 100, "job": JOB, "status": "completed", "error": None, "items_done": N, "items_failed": 0,
                   "report": {"batches": 3, "items": N, "sum": str(total), "squares": str(squares)}})
    lines = [start(0, 1, 10), end(0, 1, 30), start(1, 1, 11), "fault %d 1 1 fail 901 31" % JOB, start(1, 2, 40), end(1, 2, 50),
             start(2, 1, 51), end(2, 1, 58), "merge %d 902 70" % JOB, "merged %d 3 %d %d %d 902 75" % (JOB, N, total, squares)]
    return events, lines


def span(batch):
    return 1 + 100 * batch, min(100, N - 100 * batch)


def start(batch, attempt, at, pid=901):
    return "start %d %d %d %d %d %d %d" % (JOB, batch, attempt, *span(batch), pid, at)


def end(batch, attempt, at, pid=901):
    first, n = span(batch)
    return "end %d %d %d %d %d %d %d %d %d" % (JOB, batch, attempt, first, n, *figures_of(BASE + first - 1, n), pid, at)


def cancelled():
    events, lines = clean()
    events = events[:3] + [{"what": "cancel", "at": 35, "job": JOB},
                           {"what": "end", "at": 100, "job": JOB, "status": "cancelled", "error": None, "items_done": 100,
                            "items_failed": 0, "report": None}]
    return events, lines[:4]


def failed(*faults):
    events, lines = clean()
    events[-1].update(status="failed", error="batches_dead", items_done=200, items_failed=50, report=None)
    events[-2]["status"] = "failed"
    return events, lines[:6] + [start(2, k + 1, 60 + k) for k in range(len(faults))] + [
        "fault %d 2 %d %s 901 %d" % (JOB, k + 1, kind, 61 + k) for k, kind in enumerate(faults)]


class Checker(unittest.TestCase):
    def found(self, history, words):
        violations, _ = judge(*history)
        self.assertTrue(violations, "a forged history passes")
        self.assertRegex("\n".join(violations), words)

    def passes(self, history):
        violations, figures = judge(*history)
        self.assertEqual([], violations)
        return figures

    def forged(self, words, change):
        events, lines = copy.deepcopy(clean())
        change(events, lines)
        self.found((events, lines), words)

    def test_a_clean_history_passes(self):
        figures = self.passes(clean())
        self.assertEqual((1, 1, 1, 0, 0), tuple(figures[k] for k in ("attempted", "acknowledged", "completed", "lost", "duplicated")))
        self.assertEqual((4, 1), (figures["executions"], figures["executed again"]))

    def test_a_submission_without_an_answer_may_run_or_not(self):
        events, lines = clean()
        events[1] = {"what": "unknown", "at": 5, "key": 1}
        self.passes(([e for e in events if e["what"] in ("attempt", "unknown")], lines))
        self.passes((events[:2], []))

    def test_a_lost_job(self):
        self.forged("77 was acknowledged and is lost", lambda events, lines: events.pop())

        def pending(events, lines):
            events[-1]["status"] = "processing"
        self.forged("is lost: at the end it is processing", pending)

    def test_two_submissions_with_one_job(self):
        def twice(events, lines):
            events.insert(2, {"what": "attempt", "at": 6, "key": 2, "base": 1, "n": 1})
            events.insert(3, {"what": "ack", "at": 7, "key": 2, "job": JOB})
        self.forged("two submissions", twice)

    def test_items_that_are_missing_or_counted_twice_in_the_result(self):
        def set_items(n):
            def change(events, lines):
                events[-1]["report"]["items"] = n
            return change
        self.forged("counts 249 items of 250", set_items(249))
        self.forged("counts 350 items of 250", set_items(350))

    def test_other_items_in_the_result(self):
        def change(events, lines):
            events[-1]["report"]["squares"] = "12"
        self.forged("is not that of its items", change)

        def no_report(events, lines):
            events[-1]["report"] = None
        self.forged("counts None items", no_report)

    def test_counters_that_do_not_add_up(self):
        def change(events, lines):
            events[-1]["items_done"] = 249
        self.forged("completed with 249 done", change)

    def test_a_batch_that_never_ended(self):
        def change(events, lines):
            lines.remove(end(1, 2, 50))
        self.forged("items 101 to 200 were in no batch", change)

        def last(events, lines):
            lines.remove(end(2, 1, 58))
        self.forged("ended at item 200 of 250", last)

    def test_batches_that_overlap(self):
        def change(events, lines):
            first, n = 151, 50
            lines.append("end %d 3 1 %d %d %d %d 901 59" % (JOB, first, n, *figures_of(BASE + first - 1, n)))
        self.forged("in two batches", change)

    def test_a_batch_with_two_ranges(self):
        def change(events, lines):
            lines.append("end %d 2 2 201 49 %d %d 901 59" % (JOB, *figures_of(BASE + 200, 49)))
        self.forged("two ranges", change)

    def test_a_batch_of_other_items(self):
        def change(events, lines):
            lines[1] = "end %d 0 1 1 100 %d %d 901 30" % (JOB, *figures_of(BASE + 1, 100))
        self.forged("other items", change)

    def test_an_attempt_that_was_executed_twice(self):
        def change(events, lines):
            lines.append(start(1, 2, 55, pid=950))
        self.forged("attempt 2 of batch 1 of job 77 was executed twice", change)

    def test_too_many_executions(self):
        def change(events, lines):
            lines.extend(start(0, k, 60 + k) for k in range(2, 12))
        self.forged("executed 11 times, the limit is 10", change)

    def test_too_many_failures(self):
        def change(events, lines):
            lines.extend("fault %d 0 %d fail 901 61" % (JOB, k) for k in range(1, 12))
        self.forged("failed 11 times, the limit is 10", change)

    def test_a_finalize_before_the_last_batch(self):
        def change(events, lines):
            lines[-2] = "merge %d 902 57" % JOB
        self.forged("finalized 1 ms before its last batch", change)

    def test_a_finalize_that_never_ran_or_missed_items(self):
        def change(events, lines):
            lines.pop()
        self.forged("never finalized", change)

        def fewer(events, lines):
            lines[-1] = "merged %d 2 200 1 1 902 75" % JOB
        self.forged("merged 200 items of 250", fewer)

    def test_progress_that_went_back(self):
        def change(events, lines):
            events[4]["items_done"] = 99
        self.forged("items_done of job 77 went back from 100 to 99", change)

        def state(events, lines):
            events.insert(-1, {**events[-2], "status": "processing"})
        self.forged("was completed and is processing", state)

    def test_a_cancelled_job(self):
        self.passes(cancelled())
        events, lines = cancelled()
        lines.append(start(2, 1, 35 + 1000 + 2000))         # within a heartbeat and the slack
        self.passes((events, lines))
        lines[-1] = start(2, 1, 35 + 1000 + 2000 + 1)
        self.found((events, lines), "began 3001 ms after its cancel")
        events.insert(0, {"what": "fault", "at": 30, "kind": "stop", "name": "w1", "until": 600})
        self.passes((events, lines))                        # a stopped worker has not heard of it

    def test_a_cancel_that_was_forgotten_or_not_asked_for(self):
        events, lines = clean()
        events.insert(3, {"what": "cancel", "at": 35, "job": JOB})
        self.found((events, lines), "acknowledged, and it is completed")
        events, lines = cancelled()
        self.found(([e for e in events if e["what"] != "cancel"], lines), "nobody was told")
        self.passes(([{**e, "what": "cancel-unknown"} if e["what"] == "cancel" else e for e in events], lines))

    def test_a_failed_job_needs_a_reason(self):
        self.passes(failed("crash", "crash"))
        self.passes(failed(*["fail"] * 10))
        self.found(failed("crash"), "for no reason")
        self.found(failed(*["fail"] * 9), "for no reason")
        events, lines = failed("crash", "crash")
        events[-1]["error"] = None
        self.found((events, lines), "for no reason")

    def test_a_torn_line(self):
        def change(events, lines):
            lines.append("start 77 1")
        self.forged("a line of the task journal is none", change)

    def test_time_until_a_batch_runs_again(self):
        lines = [start(0, 1, 10, pid=5), start(1, 1, 10, pid=5), end(1, 1, 15, pid=5), start(2, 1, 12, pid=6), end(2, 1, 14, pid=6),
                 start(0, 2, 520, pid=7), end(0, 2, 530, pid=7)]
        self.assertEqual([[500]], rerun_times(lines, [{"at": 20, "pids": {5, 6}}]))


if __name__ == "__main__":
    unittest.main()

"""What the benches in Python share: tools, medians, processor time and memory of processes, and the closing table."""
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import fleet  # noqa: E402  (lives beside the end-to-end tests)

TOOLS = os.path.join(fleet.BUILD, "tools")
TICK = os.sysconf("SC_CLK_TCK")


def tool(name, *arguments):
    """The line of JSON that a tool of tests/tools prints."""
    done = subprocess.run([os.path.join(TOOLS, name), *map(str, arguments)], stdout=subprocess.PIPE, check=True, timeout=300)
    return json.loads(done.stdout)


def progress(text):
    print("  " + text, flush=True)


def number(value):
    if value is None:
        return "-"
    return "{:,.0f}".format(value) if abs(value) >= 100 else "{:,.3g}".format(value)


def middle(values):
    """`median (min-max)`."""
    return number(statistics.median(values)) + (" (%s-%s)" % (number(min(values)), number(max(values))) if len(values) > 1 else "")


class Table:
    """The closing table of a bench. A figure is a list of values, one a round; its ratio is taken round by round."""

    def __init__(self, title):
        self.title, self.rows = title, []

    def add(self, name, values, reference=None, against=None, above=None, below=None, ratio_above=None, ratio_below=None):
        """reference: what it is called; against: its values, one a round. The target is a bound of the median, or of the median
        ratio value / reference."""
        value = statistics.median(values)
        ratios = [v / r for v, r in zip(values, against)] if against else None
        ratio = statistics.median(ratios) if ratios else None
        judged, target = None, "-"
        for bound, seen, sign, text in ((above, value, 1, "at least %s"), (below, value, -1, "at most %s"),
                                        (ratio_above, ratio, 1, "ratio at least %s"), (ratio_below, ratio, -1, "ratio at most %s")):
            if bound is not None:
                target = text % number(bound)
                off = (seen - bound) / bound * sign
                judged = "met" if off >= 0 else "missed by %.0f %%" % (-off * 100)
        self.rows.append((name, middle(values), "%s: %s" % (reference, middle(against)) if against else reference or "-",
                          middle(ratios) if ratios else "-", target, judged or "-"))

    def show(self):
        head = ("figure", "value (median, min-max)", "reference in the same run", "ratio", "target", "verdict")
        rows = [head, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        print("\n%s" % self.title)
        for n, row in enumerate(rows):
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
            if n == 0:
                print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        sys.stdout.flush()


def cpu_seconds(pids):
    """Processor time, user and system, of processes that run."""
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid, encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


class Others:
    """How many cores everybody else uses meanwhile: a machine that is shared makes a figure less than it is."""

    def __init__(self):
        self.began, self.before = time.monotonic(), self._all()

    @staticmethod
    def _all():
        """(all processes, ours that have ended), seconds."""
        with open("/proc/stat", encoding="latin-1") as file:
            fields = [int(field) for field in file.readline().split()[1:]]
        ours = os.times()
        return (sum(fields[i] for i in (0, 1, 2, 5, 6, 7)) / TICK,
                ours.user + ours.system + ours.children_user + ours.children_system)

    def cores(self, ours_that_run):
        """ours_that_run: seconds used meanwhile by processes of ours that run on."""
        busy, ended = (now - then for now, then in zip(self._all(), self.before))
        return max(busy - ended - ours_that_run, 0) / (time.monotonic() - self.began)


def family(process):
    """A process of the fleet and its children."""
    return [process.pid, *process.descendants()]


def peak_bytes(pid):
    with open("/proc/%d/status" % pid, encoding="latin-1") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def pss_bytes(pid):
    with open("/proc/%d/smaps_rollup" % pid, encoding="latin-1") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def switches(pid):
    """Voluntary context switches of all threads."""
    total = 0
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, thread), encoding="latin-1") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("voluntary"))
    return total

"""Compare a report of finalize_transactions with the reference results, as far as the report goes.

compare(report, expected)      -> list of differences; integers and texts exact, floats to 1e-8 relative
covered(expected)              -> the covered part of a reference result
reference_for(csv_gz, config)  -> run ../shared's reference.py on a file; None if it is not there
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHARED = os.environ.get("STINT_SHARED") or os.path.join(os.path.dirname(ROOT), "shared")

# Whole members, and members of which some parts belong to keyed tests that the report does not have.
WHOLE = ("round", "just_below", "time", "monthly", "hll_p12")
PARTS = {
    "input": ("rows",),
    "totals": ("rows", "positive", "negative", "zero", "sum_minor", "min_minor", "max_minor", "first_day", "last_day"),
    "benford": ("min_minor", "first", "second", "first_two", "last_two", "distortion_factor_pct", "summation",
                "first_two_all_positive", "suspects"),
    "quantiles": ("sketch_minor", "buckets"),
}
ITEM_RULES = ("ROUND_1000", "ROUND_100", "JUST_BELOW", "WEEKEND", "AFTER_HOURS", "SELF", "ACCOUNT_EMPTIED",
              "BALANCE_GAP", "OVERDRAWN")


def covered(expected):
    """The members of a reference result that a report must have; `item_rules` is cut out of `score`."""
    out = {key: expected[key] for key in WHOLE}
    for key, parts in PARTS.items():
        out[key] = {part: expected[key][part] for part in parts if part in expected[key]}
    if "item_rules" in expected:
        out["item_rules"] = expected["item_rules"]
    else:
        rows = expected["score"]["reason_rows"]
        out["item_rules"] = {rule: rows[rule] for rule in ITEM_RULES if rule in rows}
    return out


def differences(got, want, path):
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return ["%s: %r is not an object" % (path, got)]
        out = []
        for key, value in want.items():
            out += differences(got[key], value, path + "." + key) if key in got else ["%s.%s: missing" % (path, key)]
        return out
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            return ["%s: %s, not a list of %d" % (path, "%d elements" % len(got) if isinstance(got, list) else got,
                                                   len(want))]
        return [d for i, (g, w) in enumerate(zip(got, want)) for d in differences(g, w, "%s[%d]" % (path, i))]
    number = isinstance(got, (int, float)) and not isinstance(got, bool)
    if isinstance(want, float) and number:
        return [] if abs(got - want) <= 1e-8 * abs(want) else ["%s: %r, not %r" % (path, got, want)]
    return [] if type(got) is type(want) and got == want else ["%s: %r, not %r" % (path, got, want)]


def compare(report, expected):
    want = covered(expected)
    out = differences(report, want, "report")
    # A rule that fired nowhere in the reference may not appear, so this member is compared both ways.
    if report.get("item_rules") != want["item_rules"]:
        out.append("report.item_rules: %r, not %r" % (report.get("item_rules"), want["item_rules"]))
    return out


def shared_file(*parts):
    """A path inside ../shared/data, or None if it is not there."""
    path = os.path.join(SHARED, "data", *parts)
    return path if os.path.exists(path) else None


def params_of(config):
    """Job parameters out of a reference `config`: names the task knows."""
    names = ("profile", "benford_min_minor", "thresholds_minor", "credit_kinds", "empty_kinds")
    return {name: config[name] for name in names if name in config}


def reference_for(csv_gz_path, config):
    """Run the normative script on a canonical CSV; `config` holds what differs from its defaults (profile, ...).

    The script reads and writes beside itself, so it runs in a copy of its folder."""
    script, defaults = shared_file("reference", "reference.py"), shared_file("reference", "config.json")
    if not script or not defaults:
        return None
    with tempfile.TemporaryDirectory() as data:
        here = os.path.join(data, "reference")
        os.mkdir(here)
        shutil.copyfile(script, os.path.join(here, "reference.py"))
        shutil.copyfile(csv_gz_path, os.path.join(data, "input.csv.gz"))
        with open(defaults, encoding="utf-8") as file:
            whole = json.load(file)
        whole["sets"] = {"run": dict(config, file="input.csv.gz")}
        with open(os.path.join(here, "config.json"), "w", encoding="utf-8") as file:
            json.dump(whole, file)
        subprocess.run([sys.executable, os.path.join(here, "reference.py"), "run"], check=True,
                       stdout=subprocess.DEVNULL)
        with open(os.path.join(here, "run.json"), encoding="utf-8") as file:
            return json.load(file)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as left, open(sys.argv[2], encoding="utf-8") as right:
        found = compare(json.load(left), json.load(right))
    print("\n".join(found) or "equal")
    sys.exit(1 if found else 0)

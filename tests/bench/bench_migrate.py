#!/usr/bin/env python3
"""Two ratios of stint-migrate, each against something in the same run (whole processes, wall time, pairs in turn):

  rebuild   a table of 5 million rows with 3 indexes: stint-migrate against the same rebuild typed by hand into the sqlite3 shell;
            the aim is at most 1.5
  in place  a foreign key, CHECK, NOT NULL or DEFAULT on a million rows with 3 indexes: the rebuild against the edit of the stored
            text; the aim is at least 5

Usage: bench_migrate.py [ROWS of the first table] [PAIRS]"""
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "build", "stint-migrate")
INDEXES = "CREATE INDEX ia ON t (a); CREATE INDEX ib ON t (b); CREATE INDEX ic ON t (c, b);"
COLUMNS = "id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c TEXT, p_id INTEGER"
BY_HAND = f"""PRAGMA foreign_keys = OFF;
BEGIN;
CREATE TABLE t_new ({COLUMNS}, CHECK (b >= 0));
INSERT INTO t_new SELECT * FROM t;
DROP TABLE t;
ALTER TABLE t_new RENAME TO t;
{INDEXES}
COMMIT;
"""


def make(path, rows):
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(f"""PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
        CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t ({COLUMNS});
        WITH RECURSIVE k (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 1000) INSERT INTO p SELECT i FROM k;
        WITH RECURSIVE k (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < {rows})
          INSERT INTO t SELECT i, 'name ' || i, i * 7919 % 9973, hex(randomblob(10)), i % 1000 + 1 FROM k; {INDEXES}""")
    db.close()


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.work = os.path.join(folder, "work.db")

    def seconds(self, origin, command, text=None):
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.work + end):
                os.unlink(self.work + end)
        shutil.copy(origin, self.work)
        os.sync()
        began = time.monotonic()
        subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    def migrate(self, origin, change, *arguments):
        script = os.path.join(self.folder, "change.sql")
        with open(script, "w", encoding="utf-8") as file:
            file.write(change)
        return self.seconds(origin, [PROGRAM, "run", *arguments, "--db", self.work, script])

    def pairs(self, name, first, second, n):
        """Median and spread of both, and of first / second pair by pair."""
        a, b = [], []
        for _ in range(n):
            a.append(first())
            b.append(second())
        ratios = [x / y for x, y in zip(a, b)]
        print(f"{name}: {statistics.median(a):.2f} s ({min(a):.2f}-{max(a):.2f}) against {statistics.median(b):.2f} s "
              f"({min(b):.2f}-{max(b):.2f}), ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", flush=True)


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    folder = tempfile.mkdtemp(prefix="stint-bench-")
    try:
        bench = Bench(folder)
        large, small = os.path.join(folder, "large.db"), os.path.join(folder, "small.db")
        make(large, rows)
        bench.pairs(f"rebuild of {rows} rows, 3 indexes, against the same by hand in the sqlite3 shell",
                    lambda: bench.migrate(large, "ALTER TABLE t ADD CHECK (b >= 0);", "--rebuild"),
                    lambda: bench.seconds(large, ["sqlite3", bench.work], BY_HAND), n)
        os.unlink(large)
        make(small, 1_000_000)
        for what in ("ADD FOREIGN KEY (p_id) REFERENCES p (id)", "ADD CHECK (b >= 0)", "ALTER c SET NOT NULL", "ALTER b SET DEFAULT 5"):
            change = f"ALTER TABLE t {what};"
            bench.pairs(f"1000000 rows, {what}: --rebuild against in place",
                        lambda: bench.migrate(small, change, "--rebuild"), lambda: bench.migrate(small, change), n)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

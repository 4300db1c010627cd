"""stint-migrate as people run it: exit codes, sentences, JSON, locks, two runners, a terminal, a full disk, memory."""
import json
import os
import pty
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("STINT_BUILD") or os.path.join(ROOT, "build")
PROGRAM = os.path.join(BUILD, "stint-migrate")
FIRST = "-- migrate:up\nCREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);\n-- migrate:down\nDROP TABLE t;\n"
SECOND = ("-- migrate:up\nCREATE TABLE u (id INTEGER PRIMARY KEY);\nALTER TABLE t ADD u_id INTEGER, ADD FOREIGN KEY (u_id) REFERENCES u (id),"
          " ALTER a SET NOT NULL;\n-- migrate:down\nALTER TABLE t DROP u_id;\nALTER TABLE t ALTER a DROP NOT NULL;\nDROP TABLE u;\n")


class Command(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="stint-migrate-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.db = os.path.join(self.folder, "app.db")
        self.dir = os.path.join(self.folder, "migrations")
        os.mkdir(self.dir)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def two_files(self):
        self.write("migrations/0001_first.sql", FIRST)
        self.write("migrations/0002_second.sql", SECOND)

    def sql(self, text, path=None):
        db = sqlite3.connect(path or self.db, isolation_level=None)
        try:
            return db.executescript(text) if ";" in text.rstrip(";") else db.execute(text).fetchall()
        finally:
            db.close()

    def run_it(self, *arguments, code=0, text=None, **more):
        done = subprocess.run([PROGRAM, "--db", self.db, "--dir", self.dir, *arguments], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120, check=False, **more)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done.stdout if code in (0, 1) else done.stderr

    def script(self, text, *arguments, **more):
        return self.run_it("run", *arguments, self.write("change.sql", text), **more)

    # -- exit codes and sentences

    def test_what_is_wrong_with_the_command_line_is_told(self):
        self.assertIn("there is no command \"upgrad\"; did you mean upgrade?", self.run_it("upgrad", code=64))
        self.assertIn("did you mean --rebuild?", self.run_it("run", "--rebiuld", "x.sql", code=64))
        self.assertIn("seconds in 0..86400", self.run_it("status", "--lock-timeout", "soon", code=64))
        self.assertIn("expected head, a version or +N", self.run_it("upgrade", "sideways", code=64))
        alone = subprocess.run([PROGRAM, "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(64 if os.path.isdir("migrations") else 66, alone.returncode, alone.stderr)
        for command in ("run", "upgrade", "downgrade", "status", "history", "check", "stamp", "new", "sql", "diff", "version"):
            self.assertIn("Usage: stint-migrate " + command, self.run_it("help", command))

    def test_a_database_that_is_none(self):
        script = self.write("x.sql", "SELECT 1;")
        self.assertIn("there is no database", self.run_it("run", script, code=66))
        self.assertFalse(os.path.exists(self.db))
        self.run_it("run", "--create", script)
        self.write("app.db", "this is a text and no database, however long it goes on " * 40)
        self.assertIn("app.db: file is not a database", self.run_it("run", script, code=65))
        self.assertIn("cannot read", self.run_it("run", "nowhere.sql", code=66))

    def test_a_refusal_names_file_line_rows_and_what_to_do_and_changes_nothing(self):
        self.sql("CREATE TABLE t (a TEXT); INSERT INTO t VALUES (NULL), ('x')")
        with open(self.db, "rb") as file:
            before = file.read()
        said = self.script("-- one\nALTER TABLE t ADD b INT;\nALTER TABLE t ALTER a SET NOT NULL;\n", code=65)
        self.assertIn("change.sql:3: t.a: 1 row is NULL (rowid 1). Fill it first: UPDATE", said)
        with open(self.db, "rb") as file:
            self.assertEqual(before, file.read())
        told = self.script("ALTER TABLE t DROP zz;", "--json", code=65)
        self.assertIn("t has no column \"zz\"; it has a", told)

    def test_a_script_from_standard_input(self):
        self.sql("CREATE TABLE t (a TEXT)")
        self.assertIn("applied standard input", self.run_it("run", "-", text="ALTER TABLE t ADD b INT;"))
        self.assertEqual([("a",), ("b",)], self.sql("SELECT name FROM pragma_table_info('t')"))

    def test_a_read_only_database(self):
        if os.getuid() != 0:
            self.skipTest("only root can become somebody who may not write here")
        self.sql("CREATE TABLE t (a TEXT)")
        script = self.write("x.sql", "ALTER TABLE t REBUILD;")
        os.chmod(self.db, 0o444)
        os.chmod(self.folder, 0o555)

        def nobody():
            os.setgid(65534)
            os.setuid(65534)
        program = shutil.copy(PROGRAM, tempfile.mkdtemp(dir="/tmp"))
        self.addCleanup(shutil.rmtree, os.path.dirname(program))
        os.chmod(os.path.dirname(program), 0o755)
        done = subprocess.run([program, "run", "--db", self.db, script], preexec_fn=nobody, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        os.chmod(self.folder, 0o755)
        self.assertEqual(74, done.returncode, done.stderr)
        self.assertIn("is read-only", done.stderr)

    # -- history

    def test_upgrade_status_history_check_and_back(self):
        self.two_files()
        out = self.run_it("upgrade", "+1")
        self.assertIn("applied 0001_first.sql", out)
        self.assertIn("at version 1", out)
        self.assertIn("pending  0002_second.sql", self.run_it("status"))
        self.sql("INSERT INTO t VALUES (1, 'x'), (7, 'y')")
        self.run_it("upgrade", "--backup")
        self.assertEqual(1, len([name for name in os.listdir(self.folder) if ".backup-" in name]))
        self.assertIn("nothing to do", self.run_it("upgrade"))
        self.script("ALTER TABLE t DROP nothing;", "--backup", code=65)
        self.assertEqual(1, len([name for name in os.listdir(self.folder) if ".backup-" in name]), "a refused run keeps none")
        self.assertIn("is what its history builds", self.run_it("check"))
        self.assertRegex(self.run_it("history"), r"0002_second.sql +\d+ ms  stint \d")
        self.assertIn("undone 0002_second.sql", self.run_it("downgrade"))
        self.assertEqual([(1, "x"), (7, "y")], self.sql("SELECT id, a FROM t"))
        self.assertIn("at version 0", self.run_it("downgrade", "base"))
        self.assertIn("no migration has run", self.run_it("history") or "no migration has run")

    def test_drift_and_edited_files_are_found(self):
        self.two_files()
        self.run_it("upgrade")
        self.sql("CREATE INDEX by_hand ON t (a); ALTER TABLE u ADD x TEXT")
        out = self.run_it("check", code=1)
        self.assertIn("+ index by_hand", out)
        self.assertIn("+ table u: column x TEXT", out)
        found = json.loads(self.run_it("check", "--json", code=1))
        self.assertFalse(found["clean"])
        self.assertEqual({"by_hand", "u"}, {each["name"] for each in found["differences"]})
        self.write("migrations/0001_first.sql", FIRST + "-- later thoughts\n")
        self.assertIn("0001_first.sql: the file was edited after it ran", self.run_it("check", code=1))
        self.assertIn("was edited afterwards", self.run_it("upgrade", code=65))
        states = {each["name"]: each["state"] for each in json.loads(self.run_it("status", "--json"))["migrations"]}
        self.assertEqual({"0001_first.sql": "edited", "0002_second.sql": "applied"}, states)
        os.unlink(os.path.join(self.dir, "0002_second.sql"))
        self.assertIn("missing  0002_second.sql", self.run_it("status"))
        self.assertIn("it has run, and the file is gone", self.run_it("check", code=1))
        self.assertIn("newer than what is known here", self.run_it("upgrade", code=78))
        self.run_it("stamp", "1")
        self.assertEqual(1, json.loads(self.run_it("upgrade", "--json"))["version"])

    def test_new_makes_the_next_file(self):
        self.two_files()
        path = self.run_it("new", "Add things").strip()
        self.assertTrue(path.endswith("0003_add_things.sql"), path)
        self.assertIn("applied 0003_add_things.sql", self.run_it("upgrade"))

    def test_the_printed_sql_does_in_the_shell_what_the_command_does(self):
        self.two_files()
        self.run_it("upgrade", "1")
        self.sql("INSERT INTO t VALUES (1, 'x'); CREATE INDEX i ON t (a DESC); CREATE TRIGGER tr AFTER DELETE ON t BEGIN SELECT 1; END;"
                 "CREATE TABLE keep (x INTEGER PRIMARY KEY AUTOINCREMENT)")
        self.write("migrations/0003_third.sql", "-- migrate:up\nALTER TABLE t ADD UNIQUE (a), RENAME a TO b;\nALTER TABLE t ADD c INT DEFAULT 3;\n"
                                                "ALTER TABLE keep RENAME TO kept;\n")
        other = os.path.join(self.folder, "other.db")
        shutil.copy(self.db, other)
        sql = self.run_it("sql")
        self.assertEqual([(1, "x")], self.sql("SELECT * FROM t"), "sql changes nothing")
        subprocess.run(["sqlite3", "-bail", other], input=sql, text=True, check=True)
        self.run_it("upgrade")
        self.assertIn("the same schema", self.run_it("diff", self.db, other))
        self.assertEqual(self.sql("SELECT * FROM t"), self.sql("SELECT * FROM t", other))
        self.assertEqual([("ok",)], self.sql("PRAGMA integrity_check", other))
        self.assertEqual(self.sql("PRAGMA schema_version"), self.sql("PRAGMA schema_version", other), "others must see that it changed")
        self.assertIsInstance(json.loads(self.run_it("sql", "--json", self.write("c.sql", "ALTER TABLE t REBUILD"))), list)

    # -- others at work

    def test_a_lock_is_waited_for_and_then_refused(self):
        self.sql("CREATE TABLE t (a TEXT)")
        other = sqlite3.connect(self.db, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        said = self.script("ALTER TABLE t REBUILD;", "--lock-timeout", "0.2", code=75)
        self.assertIn("locked by another process (waited 0.2 s)", said)
        timer = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
        timer.start()
        self.script("ALTER TABLE t REBUILD;", "--lock-timeout", "30")
        timer.join()
        other.close()

    def test_readers_of_a_wal_database_go_on(self):
        self.sql("PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x')")
        reader = sqlite3.connect(self.db, isolation_level=None)
        reader.execute("BEGIN")
        self.assertEqual([("x",)], reader.execute("SELECT * FROM t").fetchall())
        self.script("ALTER TABLE t ADD b INT DEFAULT 1; ALTER TABLE t REBUILD;")
        self.assertEqual([("x",)], reader.execute("SELECT * FROM t").fetchall())
        reader.execute("COMMIT")
        self.assertEqual([("x", 1)], reader.execute("SELECT * FROM t").fetchall())
        reader.close()

    def test_two_runners_at_once_run_each_migration_once(self):
        self.two_files()
        self.write("migrations/0003_slow.sql", "-- migrate:up\nCREATE TABLE n (i INT);\nINSERT INTO n WITH RECURSIVE k (i) AS (SELECT 1 UNION ALL "
                                               "SELECT i + 1 FROM k WHERE i < 300000) SELECT i FROM k;\n")
        arguments = [PROGRAM, "--db", self.db, "--dir", self.dir, "--lock-timeout", "60", "upgrade", "--json"]
        runners = [subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        applied = []
        for runner in runners:
            out, err = runner.communicate(timeout=120)
            self.assertEqual(0, runner.returncode, err)
            applied += [each["version"] for each in json.loads(out)["applied"]]
        self.assertEqual([1, 2, 3], sorted(applied))
        self.assertEqual([(300000,)], self.sql("SELECT count(*) FROM n"))

    # -- large tables

    def big(self, rows):
        self.sql("PRAGMA synchronous = OFF; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INT); CREATE INDEX ib ON t (b); INSERT INTO t WITH "
                 "RECURSIVE k (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < %d) SELECT i, hex(zeroblob(90)) || i, i %% 1000 FROM k" % rows)

    def test_progress_on_a_terminal(self):
        self.big(1_500_000)
        script = self.write("x.sql", "ALTER TABLE t ADD c INT FIRST;")
        master, slave = pty.openpty()
        process = subprocess.Popen([PROGRAM, "run", "--db", self.db, script], stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        seen = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        os.close(master)
        self.assertEqual(0, process.wait(timeout=120))
        self.assertRegex(seen.decode(), r"t: \d+ of 1500000 rows, \d+ rows/s, \d+ s left")
        self.assertTrue(seen.endswith(b"\r\x1b[K"), "the line is taken away at the end")

    def test_memory_does_not_grow_with_the_table(self):
        self.big(400_000)
        self.assertGreater(os.path.getsize(self.db), 70 << 20)
        script = self.write("x.sql", "ALTER TABLE t ADD c INT FIRST;")
        process = subprocess.Popen([PROGRAM, "run", "--db", self.db, script], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(0, process.returncode)
        self.assertLess(usage.ru_maxrss, 40 << 10, "KiB")

    def test_no_room_for_the_rebuild(self):
        self.big(20_000)
        before = self.sql("SELECT count(*), total(b), group_concat(DISTINCT typeof(a)) FROM t")
        limit = os.path.getsize(self.db) + (64 << 10)

        def little_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        said = self.script("ALTER TABLE t ADD c INT FIRST;", code=74, preexec_fn=little_room)
        self.assertIn("full", said)
        self.assertEqual(before, self.sql("SELECT count(*), total(b), group_concat(DISTINCT typeof(a)) FROM t"))
        self.assertEqual([("ok",)], self.sql("PRAGMA integrity_check"))
        self.script("ALTER TABLE t ADD c INT FIRST;")

    def test_killed_while_it_copies(self):
        self.big(300_000)
        script = self.write("x.sql", "ALTER TABLE t ADD c INT FIRST, ADD UNIQUE (a);")
        for pause in (0.05, 0.2, 0.5):
            process = subprocess.Popen([PROGRAM, "run", "--db", self.db, script], stdout=subprocess.DEVNULL)
            time.sleep(pause)
            process.kill()
            process.wait()
            columns = len(self.sql("SELECT * FROM pragma_table_info('t')"))
            self.assertEqual([("ok",)], self.sql("PRAGMA integrity_check"))
            self.assertEqual([(300000,)], self.sql("SELECT count(*) FROM t"))
            if columns == 4:
                return
            self.assertEqual([("ib",), ("t",)], self.sql("SELECT name FROM sqlite_schema ORDER BY 1"))


if __name__ == "__main__":
    unittest.main()

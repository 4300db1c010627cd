"""A store of an older release: the api brings it to its own schema at start, after a backup, or refuses and says what to do; and back."""
import os
import sqlite3
import subprocess
import unittest

from fleet import BUILD, ROOT, Fleet

MIGRATE = os.path.join(BUILD, "stint-migrate")
NEWEST = len(os.listdir(os.path.join(ROOT, "schema", "versions")))


class Schema(unittest.TestCase):
    def migrate(self, fleet, *arguments, code=0):
        done = subprocess.run([MIGRATE, "--db", os.path.join(fleet.data, "store.db"), "--dir", os.path.join(ROOT, "schema", "versions"), *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def older(self, fleet, sealed_by):
        """The store as the first fleet had it, with people and cases in it."""
        fleet["api"].stop()
        self.migrate(fleet, "downgrade", "1")
        store = sqlite3.connect(os.path.join(fleet.data, "store.db"))
        with store:
            store.execute("INSERT INTO user VALUES (1, 'ann', NULL, 'admin', 0)")
            store.execute("INSERT INTO \"case\" VALUES (10, NULL, 'one', 'open', NULL, NULL, 0)")
            store.execute("INSERT INTO \"case\" VALUES (11, NULL, 'two', 'sealed', ?, 5, 0)", (sealed_by,))
        store.close()

    def backups(self, fleet):
        return sorted(name for name in os.listdir(fleet.data) if ".backup-" in name)

    def test_an_older_store_with_data_is_upgraded_at_start_and_goes_back_again(self):
        with Fleet(workers=1) as fleet:
            job = fleet.submit("noop", [1, 2, 3])
            fleet.finished(job)
            self.older(fleet, 1)
            fleet["api"].start()
            self.assertEqual(NEWEST, fleet.get("/health").json["schema_version"])
            self.assertEqual([(11, 1)], fleet.query("SELECT id, sealed_by_id FROM \"case\" WHERE sealed_by_id IS NOT NULL"))
            self.assertEqual([("user", "id")], fleet.query("SELECT \"table\", \"to\" FROM pragma_foreign_key_list('case') WHERE \"from\" = 'sealed_by_id'"))
            self.assertEqual([], fleet.query("PRAGMA foreign_key_check"))
            self.assertEqual(1, len(self.backups(fleet)))
            backup = sqlite3.connect(os.path.join(fleet.data, self.backups(fleet)[0]))
            self.assertEqual([(1,)], backup.execute("SELECT max(version) FROM schema_migrations").fetchall())
            backup.close()
            self.assertEqual("completed", fleet.job(job)["status"])
            fleet.finished(fleet.submit("noop", [4]))
            fleet["api"].stop()
            self.migrate(fleet, "check")
            self.migrate(fleet, "downgrade", "1")
            self.assertEqual([], fleet.query("SELECT 1 FROM pragma_foreign_key_list('case') WHERE \"from\" = 'sealed_by_id'"))
            self.assertEqual([(10,), (11,)], fleet.query("SELECT id FROM \"case\""))
            self.migrate(fleet, "check")
            for _ in range(4):
                fleet["api"].start()
                fleet["api"].stop()
                self.migrate(fleet, "downgrade", "1")
            self.assertEqual(3, len(self.backups(fleet)), "the last three are kept")

    def refused(self, fleet, *arguments):
        """The api's exit status and last words when it does not start."""
        done = subprocess.run([*fleet["api"].arguments, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
        return done.returncode, done.stdout

    def test_a_store_that_may_not_be_upgraded_is_refused_and_stays_as_it_was(self):
        with Fleet(workers=0) as fleet:
            self.older(fleet, 99)
            code, said = self.refused(fleet, "--auto-migrate", "false")
            self.assertEqual(78, code, said)
            self.assertIn("it has schema version 1, this program needs %d" % NEWEST, said)
            self.assertIn("stint-migrate --db %s/store.db" % fleet.data, said)
            code, said = self.refused(fleet)
            self.assertEqual(65, code, said)
            self.assertIn("0002_case_sealed_by.sql:3: case.sealed_by_id: 1 row has no user (rowid 11 -> 99)", said)
            self.assertEqual([(1,)], fleet.query("SELECT max(version) FROM schema_migrations"))
            store = sqlite3.connect(os.path.join(fleet.data, "store.db"))
            with store:
                store.execute("UPDATE \"case\" SET sealed_by_id = 1 WHERE id = 11")
            store.close()
            fleet["api"].start()
            self.assertEqual(NEWEST, fleet.get("/health").json["schema_version"])


if __name__ == "__main__":
    unittest.main()

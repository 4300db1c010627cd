/* engine: scripts on real databases: what is kept, which way was taken, what is refused. */
#include <inttypes.h>

#include "tests/migrate/world.h"

static int64_t rootpage(sqlite3 *db, const char *table)
{
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table);
    char *text = world_text(db, sql);
    int64_t page = strtoll(text, NULL, 10);
    free(text);
    return page;
}

/* -- the connection ------------------------------------------------------------------------ */

static void settings(sqlite3 *db, int out[7])
{
    static const int options[] = {SQLITE_DBCONFIG_ENABLE_FKEY, SQLITE_DBCONFIG_DQS_DDL,
                                  SQLITE_DBCONFIG_DQS_DML, SQLITE_DBCONFIG_WRITABLE_SCHEMA,
                                  SQLITE_DBCONFIG_LEGACY_ALTER_TABLE};
    for (int i = 0; i < 5; i++)
        sqlite3_db_config(db, options[i], -1, &out[i]);
    char *busy = world_text(db, "PRAGMA busy_timeout");
    out[5] = atoi(busy);
    free(busy);
    char *checks = world_text(db, "PRAGMA ignore_check_constraints");
    out[6] = atoi(checks);
    free(checks);
}

START_TEST(test_settings_are_the_same_after_success_and_failure)
{
    for (int keys = 0; keys < 2; keys++) {
        sqlite3 *db = world_open("CREATE TABLE t (a INT); INSERT INTO t VALUES (NULL)");
        int before[7], after[7];
        sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, keys, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, keys, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, keys, NULL);
        sqlite3_busy_timeout(db, 1234);
        world_sql(db, keys ? "PRAGMA ignore_check_constraints = ON" : "SELECT 1");
        settings(db, before);
        ck_ok(world_run(db, "ALTER TABLE t REBUILD; ALTER TABLE t RENAME a TO b"));
        settings(db, after);
        ck_assert_mem_eq(before, after, sizeof before);
        ck_err(ERR_INVALID, world_run(db, "ALTER TABLE t ALTER b SET NOT NULL"));
        settings(db, after);
        ck_assert_mem_eq(before, after, sizeof before);
        ck_assert_int_eq(sqlite3_get_autocommit(db), 1);
        sqlite3_close(db);
    }
}
END_TEST

START_TEST(test_a_call_inside_a_transaction_is_refused)
{
    sqlite3 *db = world_open("CREATE TABLE t (a INT); BEGIN; INSERT INTO t VALUES (1)");
    ck_err(ERR_CONFLICT, world_run(db, "ALTER TABLE t REBUILD"));
    says("inside a transaction");
    world_sql(db, "COMMIT");
    ck_rows(db, "SELECT a FROM t", "1");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_statements_prepared_before_work_afterwards)
{
    sqlite3 *db =
        world_open("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT); CREATE INDEX i ON t (a); "
                   "INSERT INTO t VALUES (1, 10)");
    sqlite3_stmt *read = NULL, *write = NULL;
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT a FROM t WHERE a > 5", -1, &read, NULL), 0);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "INSERT INTO t (a) VALUES (20)", -1, &write, NULL), 0);
    ck_assert_int_eq(sqlite3_step(read), SQLITE_ROW);
    sqlite3_reset(read);
    ck_ok(world_run(db, "ALTER TABLE t ADD c TEXT FIRST; ALTER TABLE t ALTER a SET NOT NULL"));
    ck_assert_int_eq(sqlite3_step(write), SQLITE_DONE);
    ck_assert_int_eq(sqlite3_step(read), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_step(read), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_column_int(read, 0), 20);
    sqlite3_finalize(read);
    sqlite3_finalize(write);
    sqlite3_close(db);
}
END_TEST

/* -- which way ----------------------------------------------------------------------------- */

START_TEST(test_rows_stay_where_they_are_unless_a_rebuild_is_asked_for)
{
    static const char before[] = "CREATE TABLE p (x INT UNIQUE); INSERT INTO p VALUES (1);"
                                 "CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (1, 'x')";
    static const char change[] =
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES p (x), ADD CHECK (a > "
        "0), ALTER b SET NOT NULL, ALTER b SET DEFAULT 'y'";
    sqlite3 *db = world_open(before), *again = world_open(before);
    int64_t page = rootpage(db, "t");
    ck_ok(world_run(db, change));
    ck_assert_int_eq(rootpage(db, "t"), page);
    ck_ok(world_rebuild(again, change));
    ck_assert_int_ne(rootpage(again, "t"), page);
    char *text = world_text(db, "SELECT sql FROM sqlite_schema WHERE name = 't'");
    ck_rows(again, "SELECT sql FROM sqlite_schema WHERE name = 't'", text);
    free(text);
    sqlite3_close(db);
    sqlite3_close(again);
}
END_TEST

/* A column added natively is not in the rows of before: they show its default, today's. */
START_TEST(test_a_new_default_does_not_change_rows_that_show_the_old_one)
{
    static const char *const changes[] = {"ALTER TABLE t ALTER b SET DEFAULT 7",
                                          "ALTER TABLE t ALTER b DROP DEFAULT",
                                          "ALTER TABLE t ALTER c SET DEFAULT 'z'"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        sqlite3 *db =
            world_open("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2); ALTER TABLE "
                       "t ADD b INT DEFAULT 5; ALTER TABLE t ADD c TEXT; INSERT INTO t "
                       "VALUES (3, 6, 'x')");
        ck_ok(world_run(db, changes[i]));
        ck_rows(db, "SELECT b || coalesce(c, '-') FROM t", "5-|5-|6x");
        sqlite3_close(db);
    }
    sqlite3 *db =
        world_open("CREATE TABLE t (a INT, b INT DEFAULT 5); INSERT INTO t (a) VALUES (1)");
    int64_t page = rootpage(db, "t");
    ck_ok(world_run(db, "ALTER TABLE t ALTER b SET DEFAULT 7; INSERT INTO t (a) VALUES (2)"));
    ck_assert_int_eq(rootpage(db, "t"), page);
    ck_rows(db, "SELECT b FROM t", "5|7");
    sqlite3_close(db);
}
END_TEST

/* -- kept ---------------------------------------------------------------------------------- */

START_TEST(test_objects_keep_their_order_and_triggers_their_turn)
{
    sqlite3 *db = world_open(
        "CREATE TABLE log (m TEXT); CREATE TABLE t (a INT); CREATE INDEX i1 ON t (a); CREATE "
        "TRIGGER "
        "tr1 AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('1'); END; CREATE TABLE u (x); CREATE "
        "TRIGGER tr2 AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('2'); END; CREATE INDEX i2 ON "
        "t "
        "(a DESC); INSERT INTO t VALUES (1)");
    char *order = world_text(db, "SELECT rowid || name FROM sqlite_schema ORDER BY rowid");
    char *fired = world_text(db, "SELECT group_concat(m, '') FROM log");
    ck_ok(world_run(db, "ALTER TABLE t REBUILD; DELETE FROM log; INSERT INTO t VALUES (2)"));
    ck_rows(db, "SELECT rowid || name FROM sqlite_schema ORDER BY rowid", order);
    ck_rows(db, "SELECT group_concat(m, '') FROM log", fired);
    free(order);
    free(fired);
    sqlite3_close(db);
}
END_TEST

START_TEST(test_conflict_clauses_do_not_eat_rows_while_copying)
{
    sqlite3 *db = world_open("CREATE TABLE t (a TEXT UNIQUE ON CONFLICT REPLACE, b TEXT UNIQUE ON "
                             "CONFLICT IGNORE); INSERT INTO t VALUES ('1', 'x'), ('01', 'y')");
    ck_refused(db, "ALTER TABLE t ALTER a TYPE INT USING CAST(a AS INT)",
               "t: 2 rows share their values of UNIQUE (a) (rowid");
    ck_refused(db, "ALTER TABLE t ADD c INT NOT NULL ON CONFLICT REPLACE DEFAULT NULL", "NOT NULL");
    ck_refused(db, "ALTER TABLE t ALTER b TYPE TEXT USING 'same'", "2 rows share their values");
    ck_refused(db, "ALTER TABLE t ALTER b TYPE TEXT USING max(b)",
               "t.b: USING: misuse of aggregate");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_a_lossy_type_is_refused_and_using_says_how)
{
    sqlite3 *db = world_open("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, n INTEGER, r REAL); "
                             "INSERT INTO t VALUES (1, '007', 9007199254740993, "
                             "0.30000000000000004), (2, '12.50', 1, 2.0)");
    ck_refused(db, "ALTER TABLE t ALTER a TYPE INTEGER",
               "1 value would change with the type INTEGER "
               "(rowid 1 -> '007' to 7)");
    ck_refused(db, "ALTER TABLE t ALTER n TYPE REAL", "n: 1 value would change");
    ck_refused(db, "ALTER TABLE t ALTER r TYPE TEXT", "r: 1 value would change");
    ck_refused(db, "ALTER TABLE t ALTER a TYPE JSON", "a: 2 values would change");
    ck_ok(world_run(db, "ALTER TABLE t ALTER a TYPE INTEGER USING CAST(a AS INTEGER)"));
    ck_rows(db, "SELECT a FROM t", "7|12");
    sqlite3_close(db);
    db = world_open(
        "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('1.50'), ('abc'), (NULL), ('2')");
    ck_ok(world_run(db, "ALTER TABLE t ALTER a TYPE REAL"));
    ck_rows(db, "SELECT typeof(a) || quote(a) FROM t", "real1.5|text'abc'|nullNULL|real2.0");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_a_new_primary_key_numbers_no_row_in_silence)
{
    sqlite3 *db = world_open("CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (5, 'x'), "
                             "(NULL, 'y')");
    ck_refused(db, "ALTER TABLE t ADD PRIMARY KEY (a)", "t.a: 1 row is NULL (rowid 2)");
    ck_ok(world_run(db, "UPDATE t SET a = 9 WHERE b = 'y'; ALTER TABLE t ADD PRIMARY KEY (a)"));
    ck_rows(db, "SELECT rowid || b FROM t", "5x|9y");
    ck_ok(world_run(db, "ALTER TABLE t DROP PRIMARY KEY"));
    ck_rows(db, "SELECT rowid || '-' || a FROM t", "5-5|9-9");
    ck_ok(world_run(db, "ALTER TABLE t ADD id INTEGER PRIMARY KEY AUTOINCREMENT FIRST"));
    ck_rows(db, "SELECT id || b FROM t", "5x|9y");
    ck_rows(db, "SELECT seq FROM sqlite_sequence", "9");
    ck_ok(world_run(db, "ALTER TABLE t DROP COLUMN id"));
    ck_rows(db, "SELECT count(*) FROM sqlite_sequence", "0");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_statistics_of_keys_that_moved_are_not_given_to_others)
{
    sqlite3 *db =
        world_open("CREATE TABLE t (a INT UNIQUE, b TEXT UNIQUE, c INT); CREATE INDEX ic ON "
                   "t (c); INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 1); ANALYZE");
    ck_ok(world_run(db, "ALTER TABLE t REBUILD"));
    ck_rows(db, "SELECT idx FROM sqlite_stat1 ORDER BY 1",
            "ic|sqlite_autoindex_t_1|sqlite_autoindex_t_2");
    ck_ok(world_run(db, "ALTER TABLE t DROP UNIQUE (a)"));
    ck_rows(db, "SELECT idx FROM sqlite_stat1", "ic");
    ck_ok(world_run(db, "ANALYZE; ALTER TABLE t RENAME TO \"it's\""));
    ck_rows(db, "SELECT tbl || '.' || idx FROM sqlite_stat1 ORDER BY 1",
            "it's.ic|it's.sqlite_autoindex_it's_1");
    ck_rows(db, "SELECT name FROM pragma_index_list('it''s') ORDER BY 1",
            "ic|sqlite_autoindex_it's_1");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_old_texts_in_double_quotes_go_on_meaning_text)
{
    static const char before[] =
        "CREATE TABLE t (a TEXT DEFAULT \"x\", b INT, CHECK (a <> \"no\")); INSERT INTO t VALUES "
        "('q', 1); CREATE VIEW v AS SELECT a, \"active\" AS state FROM t; CREATE TRIGGER tr AFTER "
        "INSERT ON t BEGIN UPDATE t SET a = \"set\" WHERE a = \"x\"; END";
    sqlite3 *db = world_open(before);
    ck_ok(world_run(db,
                    "ALTER TABLE t ALTER b TYPE TEXT; ALTER TABLE t ADD CHECK (b <> ''); INSERT "
                    "INTO t (b) VALUES (2)"));
    ck_rows(db, "SELECT a || b || (SELECT min(state) FROM v) FROM t", "q1active|set2active");
    ck_refused(db, "ALTER TABLE t ADD CHECK (\"zz\" > 1)", "zz");
    ck_ok(world_run(db, "ALTER TABLE t RENAME b TO n"));
    ck_rows(db, "SELECT n FROM t", "1|2");
    sqlite3_close(db);
    /* One view uses both kinds: a column that goes must not become a text. */
    db = world_open(
        "CREATE TABLE t (a TEXT, b INT); CREATE VIEW v AS SELECT \"b\", \"text\" FROM t");
    ck_refused(db, "ALTER TABLE t DROP b", "t.b cannot be dropped: view v still needs it");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_what_was_broken_before_is_not_blamed_on_the_change)
{
    sqlite3 *db =
        world_open("CREATE TABLE t (a INT, b INT); CREATE VIEW broken AS SELECT * FROM gone; "
                   "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO gone VALUES (1); "
                   "END; CREATE TABLE c (x REFERENCES nobody (y))");
    ck_ok(
        world_run(db, "ALTER TABLE t DROP b; ALTER TABLE t ADD UNIQUE (a); ALTER TABLE c REBUILD"));
    ck_refused(db, "ALTER TABLE t RENAME a TO x",
               "renames nothing while the view broken is broken");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_views_and_triggers_that_would_break_are_named)
{
    sqlite3 *db = world_open("CREATE TABLE t (a INT, b INT); CREATE TABLE u (id INT, w INT); "
                             "CREATE VIEW joined AS SELECT w "
                             "FROM t JOIN u ON t.a = u.id; CREATE TRIGGER upd AFTER UPDATE OF b ON "
                             "t BEGIN SELECT 1; END; "
                             "CREATE TRIGGER seti AFTER INSERT ON u BEGIN UPDATE t SET b = 1; END");
    ck_refused(db, "ALTER TABLE t ADD w INT", "the view joined would break: ambiguous column");
    ck_refused(db, "ALTER TABLE t DROP b", "trigger");
    ck_ok(world_run(db, "DROP TRIGGER seti"));
    ck_refused(db, "ALTER TABLE t DROP b", "trigger upd still needs it");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_virtual_tables_that_name_a_table_hold_its_names)
{
    sqlite3 *db =
        world_open("CREATE TABLE doc (id INTEGER PRIMARY KEY, title TEXT, n INT); CREATE "
                   "VIRTUAL TABLE fts USING fts5(title, content='doc', content_rowid='id')");
    ck_refused(db, "ALTER TABLE doc RENAME TO paper",
               "virtual table fts names it in its arguments");
    ck_refused(db, "ALTER TABLE doc DROP title", "fts still needs it");
    ck_refused(db, "ALTER TABLE fts ADD x", "fts is a virtual table");
    ck_ok(world_run(db, "ALTER TABLE doc DROP n; ALTER TABLE fts RENAME TO search"));
    ck_refused(db, "ALTER TABLE sqlite_schema ADD x", "no table \"sqlite_schema\"");
    sqlite3_close(db);
}
END_TEST

/* -- scripts ------------------------------------------------------------------------------- */

START_TEST(test_a_script_is_all_or_nothing_and_says_where_it_stopped)
{
    sqlite3 *db = world_open("CREATE TABLE t (a INT)");
    ck_refused(db,
               "INSERT INTO t VALUES (1);\n\n-- next\nALTER TABLE t ADD b INT UNIQUE;\nCREATE "
               "TABLE u (x);\n  SELECT nonsense FROM t;",
               "change.sql:6: no such column: nonsense");
    ck_refused(db, "ALTER TABLE t ADD\n b INT AFTER c", "change.sql:1: t has no column \"c\"");
    ck_refused(db, "BEGIN; ALTER TABLE t ADD b INT", "take BEGIN, COMMIT and ROLLBACK out");
    ck_refused(db, "INSERT INTO t VALUES (1); COMMIT", "one transaction already");
    ck_refused(db, "ROLLBACK", "one transaction already");
    ck_refused(db, "VACUUM", "VACUUM cannot run inside a transaction");
    ck_refused(db, "ATTACH 'x' AS y", "ATTACH or DETACH");
    ck_refused(db, "INSERT INTO t VALUES (1", "incomplete input");
    ck_ok(world_run(db, " ;; -- nothing\n ;"));
    ck_ok(world_run(db, ""));
    ck_ok(world_run(db,
                    "SAVEPOINT s; INSERT INTO t VALUES (5); ROLLBACK TO s; RELEASE s; INSERT INTO "
                    "t VALUES (6)"));
    ck_rows(db, "SELECT a FROM t", "6");
    static const char nul[] = "CREATE TABLE x (a);\0 DROP TABLE t";
    migrate_options_t options = {0};
    ck_err(ERR_INVALID, migrate_script(db, nul, sizeof nul - 1, "nul.sql", 1, &options));
    says("nul.sql: it has a NUL byte");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_data_statements_obey_foreign_keys_and_drops_lose_no_children)
{
    static const char before[] =
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p_id "
        "REFERENCES p (id) ON DELETE CASCADE); INSERT INTO p VALUES (1), (2); "
        "INSERT INTO c VALUES (1), (2), (2)";
    sqlite3 *db = world_open(before);
    ck_refused(db, "INSERT INTO c VALUES (9)", "FOREIGN KEY");
    ck_refused(db, "PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (9)",
               "c: 1 more row than before");
    ck_refused(db, "DROP TABLE p", "there is no table p");
    /* Somebody's own rebuild, which lost a row. */
    ck_refused(db,
               "CREATE TABLE n (id INTEGER PRIMARY KEY); INSERT INTO n VALUES (1); DROP TABLE p; "
               "ALTER TABLE n RENAME TO p",
               "c: 2 more rows than before without a parent");
    ck_ok(world_run(db,
                    "CREATE TABLE n (id INTEGER PRIMARY KEY, x); INSERT INTO n SELECT id, 1 FROM "
                    "p; DROP TABLE p; ALTER TABLE n RENAME TO p"));
    ck_rows(db, "SELECT p_id FROM c", "1|2|2");
    ck_ok(world_run(db, "DELETE FROM p WHERE id = 2"));
    ck_rows(db, "SELECT p_id FROM c", "1");
    ck_ok(world_run(db,
                    "PRAGMA foreign_keys = OFF; DELETE FROM p; PRAGMA foreign_keys = ON; DELETE "
                    "FROM c"));
    sqlite3_close(db);
}
END_TEST

START_TEST(test_rows_without_a_parent_are_counted_and_shown)
{
    sqlite3 *db =
        world_open("CREATE TABLE \"user\" (id INTEGER PRIMARY KEY); INSERT INTO \"user\" "
                   "VALUES (1); CREATE TABLE \"case\" (id INTEGER PRIMARY KEY, sealed_by_id "
                   "INTEGER); INSERT INTO \"case\" VALUES (1, 1), (5, 99), (6, 98), (7, 97), "
                   "(8, 96), (9, NULL)");
    ck_refused(db, "ALTER TABLE \"case\" ADD FOREIGN KEY (sealed_by_id) REFERENCES user (id)",
               "case.sealed_by_id: 4 rows have no user (rowid 5 -> 99, rowid 6 -> 98, rowid 7 -> "
               "97, …). Fix the "
               "rows, or UPDATE sealed_by_id to NULL first");
    ck_refused(db, "ALTER TABLE \"case\" ADD FOREIGN KEY (sealed_by_id) REFERENCES nobody (id)",
               "there is no table nobody");
    ck_refused(db, "ALTER TABLE \"case\" ADD x INT REFERENCES user (id) DEFAULT 7", "have no user");
    sqlite3_close(db);
    db = world_open(
        "CREATE TABLE p (a, b, UNIQUE (a, b)); CREATE TABLE c (k TEXT PRIMARY KEY, x, y) "
        "WITHOUT ROWID; INSERT INTO c VALUES ('one', 1, 2)");
    ck_refused(db, "ALTER TABLE c ADD FOREIGN KEY (x, y) REFERENCES p (b, a)",
               "c (x, y): 1 row has no p");
    ck_refused(db, "ALTER TABLE c ADD FOREIGN KEY (x) REFERENCES p (a)", "neither PRIMARY KEY nor");
    ck_refused(db, "ALTER TABLE c ADD CHECK (x > 1)", "c: 1 row breaks CHECK (x > 1) (key 'one')");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_a_parent_must_stay_a_parent)
{
    sqlite3 *db =
        world_open("CREATE TABLE p (id INTEGER PRIMARY KEY, u TEXT, v TEXT COLLATE NOCASE, "
                   "UNIQUE (u)); CREATE TABLE c (u REFERENCES p (u), i REFERENCES p); CREATE "
                   "UNIQUE INDEX pv ON p (v COLLATE BINARY)");
    ck_refused(db, "ALTER TABLE p DROP UNIQUE (u)", "the foreign key c.u still needs its parent");
    ck_refused(db, "ALTER TABLE p DROP PRIMARY KEY", "the foreign key c.i still needs its parent");
    ck_refused(db, "ALTER TABLE c ADD FOREIGN KEY (u) REFERENCES p (v)", "neither PRIMARY KEY nor");
    ck_refused(db, "ALTER TABLE p DROP COLUMN u", "c.u still needs its parent");
    ck_ok(world_run(db, "ALTER TABLE p RENAME u TO w; ALTER TABLE p RENAME TO q"));
    ck_rows(db, "SELECT \"table\" || coalesce(\"to\", '-') FROM pragma_foreign_key_list('c')",
            "q-|qw");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_trigger_bodies_and_comments_do_not_end_a_statement)
{
    sqlite3 *db = world_open("CREATE TABLE t (a INT); CREATE TABLE log (m TEXT)");
    ck_ok(world_run(db,
                    "CREATE TRIGGER tr AFTER INSERT ON t BEGIN\n -- a; comment\n INSERT INTO log "
                    "VALUES (CASE WHEN new.a > 5 THEN 'big; END;' ELSE 'small' END);\n INSERT INTO "
                    "log VALUES ('two');\nEND;\nCREATE TEMP TRIGGER tt AFTER DELETE ON t BEGIN "
                    "SELECT 1; END; INSERT INTO t VALUES (6);"));
    ck_rows(db, "SELECT m FROM log", "big; END;|two");
    sqlite3_close(db);
}
END_TEST

static int progress_calls;
static int64_t progress_total;

static void count_progress(void *context, const migrate_progress_t *progress)
{
    (void)context;
    progress_calls++;
    progress_total = progress->rows_total;
    ck_assert_int_le(progress->rows_done, progress->rows_total);
}

START_TEST(test_progress_is_told_while_rows_are_copied)
{
    sqlite3 *db =
        world_open("CREATE TABLE t (a INT, b TEXT); WITH RECURSIVE n (i) AS (SELECT 1 UNION "
                   "ALL SELECT i + 1 FROM n WHERE i < 1500000) INSERT INTO t SELECT i, 'text ' "
                   "|| i FROM n");
    migrate_options_t options = {.progress = count_progress};
    static const char script[] = "ALTER TABLE t ADD UNIQUE (a)";
    ck_ok(migrate_script(db, script, strlen(script), "x", 1, &options));
    ck_assert_int_gt(progress_calls, 0);
    ck_assert_int_eq(progress_total, 1500000);
    ck_rows(db, "SELECT count(*) FROM t", "1500000");
    sqlite3_close(db);
}
END_TEST

/* -- what an adversary found --------------------------------------------------------------- */

START_TEST(test_an_integer_key_without_rowids_changes_by_a_rebuild)
{
    /* INT and INTEGER PRIMARY KEY number the indexes behind them in another order. */
    sqlite3 *db =
        world_open("CREATE TABLE t (a INT PRIMARY KEY, b TEXT UNIQUE) WITHOUT ROWID; INSERT INTO "
                   "t VALUES (1, 'x'), (2, 'y')");
    ck_ok(world_run(db, "ALTER TABLE t ALTER a TYPE INTEGER"));
    ck_rows(db, "PRAGMA integrity_check", "ok");
    ck_rows(db, "SELECT a FROM t WHERE b = 'y'", "2");
    sqlite3_close(db);
    db = world_open(
        "CREATE TABLE t (id INT PRIMARY KEY, a TEXT); INSERT INTO t VALUES (7, 'x'), (NULL, "
        "'y')");
    ck_refused(db, "ALTER TABLE t ALTER id TYPE INTEGER", "t.id: 1 row is NULL (rowid 2)");
    ck_refused(db, "ALTER TABLE t DROP PRIMARY KEY, ADD k TEXT PRIMARY KEY",
               "t.k: 2 rows are NULL");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_digits_are_not_lost_from_texts)
{
    static const struct {
        const char *value, *type;
        bool fine;
    } cases[] = {{"'12345678901234567890'", "INTEGER", false},
                 {"'3.14159265358979323846'", "NUMERIC", false},
                 {"'1e999'", "REAL", false},
                 {"'9007199254740993'", "REAL", false},
                 {"'9223372036854775807'", "INTEGER", true},
                 {"'-12'", "INTEGER", true},
                 {"'12.00'", "INTEGER", true},
                 {"'0.5'", "REAL", true},
                 {"'0'", "INTEGER", true},
                 {"'1e5'", "REAL", true},
                 {"' 5'", "INTEGER", false},
                 {"'+5'", "INTEGER", false},
                 {"'five'", "INTEGER", true},
                 {"x'00'", "INTEGER", true},
                 {"'123456789012345'", "REAL", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (%s)",
                 cases[i].value);
        sqlite3 *db = world_open(sql);
        snprintf(sql, sizeof sql, "ALTER TABLE t ALTER a TYPE %s", cases[i].type);
        err_t err = world_run(db, sql);
        ck_assert_msg((err == ERR_OK) == cases[i].fine, "%s to %s: %s", cases[i].value,
                      cases[i].type, err ? err_text() : "taken");
        sqlite3_close(db);
    }
    /* Whatever becomes of the rowid or the key in the same statement. */
    sqlite3 *db = world_open("CREATE TABLE t (id INTEGER, b REAL); INSERT INTO t VALUES (11, "
                             "0.30000000000000004)");
    ck_refused(db, "ALTER TABLE t ADD PRIMARY KEY (id), ALTER b TYPE TEXT",
               "t.b: 1 value would change");
    sqlite3_close(db);
    db = world_open("CREATE TABLE t (id TEXT PRIMARY KEY); INSERT INTO t VALUES ('2'), ('1')");
    ck_ok(world_run(db, "ALTER TABLE t ALTER id TYPE INTEGER"));
    ck_rows(db, "SELECT rowid FROM t", "1|2");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_children_are_asked_when_a_parents_key_compares_otherwise)
{
    sqlite3 *db =
        world_open("CREATE TABLE p (id INTEGER PRIMARY KEY, k INT UNIQUE NOT NULL); CREATE TABLE "
                   "c (x INT REFERENCES p); INSERT INTO p VALUES (1, 50); INSERT INTO c VALUES "
                   "(1)");
    ck_refused(db, "ALTER TABLE p DROP PRIMARY KEY, ADD PRIMARY KEY (k)",
               "c: 1 more row than before");
    sqlite3_close(db);
    db = world_open(
        "CREATE TABLE p (k TEXT COLLATE NOCASE PRIMARY KEY); CREATE TABLE c (x REFERENCES p "
        "(k)); INSERT INTO p VALUES ('Ann'); INSERT INTO c VALUES ('ann')");
    ck_refused(db, "ALTER TABLE p ALTER k TYPE TEXT COLLATE BINARY", "c: 1 more row than before");
    sqlite3_close(db);
    db = world_open(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (b INT, g INT AS (b * 2) "
        "STORED REFERENCES p (id)); INSERT INTO p VALUES (2); INSERT INTO c VALUES (1)");
    ck_refused(db, "ALTER TABLE c ALTER b TYPE INTEGER USING b + 10",
               "c.g: 1 row has no p (rowid 1 -> 22)");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_what_is_renamed_on_the_way_is_still_judged_at_the_end)
{
    static const char before[] =
        "CREATE TABLE p (id INTEGER PRIMARY KEY, k INT); CREATE UNIQUE INDEX ux ON "
        "p (k); CREATE TABLE c (x REFERENCES p (k)); INSERT INTO p VALUES (1, 5); "
        "INSERT INTO c VALUES (5)";
    sqlite3 *db = world_open(before);
    ck_refused(db, "ALTER TABLE p RENAME TO p2; DROP INDEX ux", "c.x still needs its parent");
    ck_refused(db, "ALTER TABLE c RENAME x TO y; DROP INDEX ux", "c.y still needs its parent");
    ck_refused(db, "ALTER TABLE c ADD z INT REFERENCES p (id); ALTER TABLE p DROP PRIMARY KEY",
               "still needs its parent");
    ck_refused(db, "PRAGMA foreign_keys = OFF; DELETE FROM p; ALTER TABLE c RENAME TO c2",
               "c2: 1 more row than before");
    ck_refused(db,
               "PRAGMA foreign_keys = OFF; ALTER TABLE c ADD z INT DEFAULT 1, ADD FOREIGN KEY (z) "
               "REFERENCES p (id); UPDATE c SET x = NULL; DELETE FROM p",
               "c: 1 more row than before");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_old_texts_and_own_qualifiers_do_not_stop_a_rebuild)
{
    sqlite3 *db = world_open(
        "CREATE TABLE t (a TEXT CHECK (a <> \"zz\"), b INT CHECK (t.b < 100), g AS (a || "
        "\"x\")); CREATE INDEX i ON t (a) WHERE a <> \"p\"; INSERT INTO t VALUES ('q', "
        "1); CREATE TABLE o (x)");
    ck_ok(world_run(
        db, "ALTER TABLE t ADD c INT FIRST, ADD CHECK (t.c > 0); ALTER TABLE o RENAME x TO y; "
            "ALTER TABLE t RENAME b TO n; ALTER TABLE o RENAME TO oo"));
    ck_rows(db, "SELECT g FROM t", "qx");
    ck_refused(db, "UPDATE t SET n = 200", "CHECK constraint failed");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_a_new_column_is_checked_as_it_will_be_stored)
{
    sqlite3 *db = world_open("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    ck_ok(world_run(
        db, "ALTER TABLE t ADD b INTEGER DEFAULT '5' CHECK (b = 5), ADD c REAL DEFAULT 1 CHECK "
            "(typeof(c) = 'real'), ADD d TEXT COLLATE NOCASE DEFAULT 'A' CHECK (d = 'a'), ADD "
            "CHECK (a < b)"));
    ck_refused(db, "ALTER TABLE t ADD e INT DEFAULT 5 CHECK (e < 5)",
               "t.e: the rows that are there do not "
               "bear it");
    ck_refused(db, "ALTER TABLE t ADD e INT DEFAULT 0, ADD CHECK (a < e)",
               "t: 1 row breaks CHECK (a < e) "
               "(rowid 1)");
    ck_ok(world_run(db, "ALTER TABLE t ADD f TEXT DEFAULT TRUE"));
    ck_rows(db, "SELECT typeof(f) FROM t", "text");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_a_dropped_column_is_not_caught_by_an_outer_query)
{
    sqlite3 *db =
        world_open("CREATE TABLE t (a INT, b INT); CREATE TABLE o (b INT, z INT); CREATE VIEW v AS "
                   "SELECT z, (SELECT count(*) FROM t WHERE b = 10) FROM o; CREATE VIEW whole AS "
                   "SELECT * FROM t");
    ck_refused(db, "ALTER TABLE t DROP b", "view v still needs it");
    ck_ok(world_run(db, "DROP VIEW v; ALTER TABLE t DROP b"));
    ck_rows(db, "SELECT name FROM pragma_table_info('whole')", "a");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_settings_of_the_script_do_not_blind_the_checks)
{
    sqlite3 *db =
        world_open("CREATE TABLE t (a INT CHECK (a < 5)); INSERT INTO t VALUES (1); CREATE VIEW v "
                   "AS SELECT a FROM t");
    ck_refused(db, "PRAGMA ignore_check_constraints = ON; ALTER TABLE t ALTER a TYPE INT USING 9",
               "t: 1 row breaks CHECK (a < 5)");
    ck_ok(world_run(db, "PRAGMA legacy_alter_table = ON; ALTER TABLE t RENAME TO u"));
    ck_rows(db, "SELECT a FROM v", "1");
    ck_refused(db, "CREATE TEMP TABLE u (a); ALTER TABLE u ADD UNIQUE (a)",
               "a TEMP object called \"u\"");
    ck_err(ERR_CORRUPT,
           world_run(db, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE "
                         "TABLE u (' WHERE name = 'u'"));
    ck_rows(db, "SELECT a FROM v", "1");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_rows_get_what_ADD_says_whatever_the_default_becomes)
{
    static const char before[] =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, b INT); INSERT INTO t VALUES (1, 10), "
        "(2, 20)";
    static const struct {
        const char *change, *rows, *fresh;
    } cases[] = {
        {"ALTER TABLE t ADD s TEXT DEFAULT 'old', ALTER s SET DEFAULT 'now'", "old|old", "now"},
        {"ALTER TABLE t ADD s TEXT NOT NULL DEFAULT 'old', ALTER s DROP DEFAULT, ALTER s DROP NOT "
         "NULL",
         "old|old", "NULL"},
        {"ALTER TABLE t ADD s TEXT, ALTER s SET DEFAULT 'now'", "NULL|NULL", "now"},
        {"ALTER TABLE t ADD s INT, ALTER s TYPE INT USING b + 1", "11|21", "NULL"},
        {"ALTER TABLE t ADD s TEXT DEFAULT word, ALTER s SET DEFAULT 'now'", "word|word", "now"},
        {"ALTER TABLE t ADD s TEXT DEFAULT 'old', RENAME s TO u, RENAME b TO s, RENAME u TO b, "
         "RENAME s TO "
         "n, RENAME b TO s",
         "old|old", "old"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int forced = 0; forced < 2; forced++) {
            sqlite3 *db = world_open(before);
            ck_ok(forced ? world_rebuild(db, cases[i].change) : world_run(db, cases[i].change));
            ck_rows(db, "SELECT s FROM t", cases[i].rows);
            world_sql(db, "INSERT INTO t (id) VALUES (9)");
            ck_rows(db, "SELECT s FROM t WHERE id = 9", cases[i].fresh);
            sqlite3_close(db);
        }
}
END_TEST

START_TEST(test_names_of_ours_are_not_told_and_theirs_are_spelled_as_written)
{
    sqlite3 *db = world_open(
        "CREATE TABLE t (a INT, b INT); INSERT INTO t VALUES (1, 1), (1, 2); CREATE INDEX "
        "ia ON t (a)");
    ck_refused(db, "ALTER TABLE t RENAME b TO d, ADD b INT NOT NULL",
               "t.b: NOT NULL without a DEFAULT");
    ck_refused(db, "ALTER TABLE t RENAME b TO d, ADD b INT UNIQUE DEFAULT 1", "UNIQUE (b) (rowid");
    ck_ok(world_run(db, "ALTER TABLE t RENAME a TO plain, RENAME b TO \"quoted\""));
    ck_rows(db, "SELECT sql FROM sqlite_schema",
            "CREATE TABLE t (plain INT, \"quoted\" INT)|CREATE INDEX ia ON t (plain)");
    ck_ok(world_run(db, "ALTER TABLE t RENAME plain TO order"));
    ck_rows(db, "SELECT \"order\" FROM t", "1|1");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_several_dropped_columns_are_each_asked_for)
{
    sqlite3 *db = world_open(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c); CREATE TABLE u (a, x); CREATE VIEW "
        "v AS SELECT (SELECT a FROM t) AS k, w.* FROM u, t w");
    ck_refused(db, "ALTER TABLE t DROP a, DROP b", "t.a cannot be dropped: view v still needs it");
    ck_refused(db, "ALTER TABLE t DROP b, DROP a", "t.a cannot be dropped: view v still needs it");
    ck_ok(world_run(db, "ALTER TABLE t DROP b, DROP c"));
    sqlite3_close(db);
    /* The word goes on to mean something: the rowid. */
    db = world_open(
        "CREATE TABLE t (a, rowid); CREATE TABLE u (x); CREATE TRIGGER tr AFTER INSERT ON u BEGIN "
        "INSERT INTO t (a, rowid) VALUES ('x', new.x); END");
    ck_refused(db, "ALTER TABLE t DROP rowid", "trigger tr still needs it");
    sqlite3_close(db);
}
END_TEST

START_TEST(test_new_orphans_are_seen_in_new_tables_too)
{
    sqlite3 *db = world_open(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (x REFERENCES p); INSERT "
        "INTO c VALUES (5)");
    ck_refused(
        db,
        "PRAGMA foreign_keys = OFF; DELETE FROM c; CREATE TABLE d (y REFERENCES p); INSERT INTO d "
        "VALUES (77)",
        "d: 1 more row than before");
    ck_refused(db,
               "PRAGMA foreign_keys = OFF; ALTER TABLE c RENAME TO d; INSERT INTO d VALUES (77)",
               "d: 1 more row than before");
    ck_ok(world_run(db, "PRAGMA foreign_keys = OFF; ALTER TABLE c RENAME TO d; DELETE FROM p"));
    sqlite3_close(db);
}
END_TEST

START_TEST(test_shadow_tables_are_left_to_their_owners)
{
    sqlite3 *db = world_open("CREATE VIRTUAL TABLE f USING fts5(a)");
    ck_refused(db, "ALTER TABLE f_data ADD x", "f_data belongs to a virtual table");
    ck_ok(world_run(db, "ALTER TABLE IF EXISTS nobody ADD x INT"));
    sqlite3_close(db);
}
END_TEST

START_TEST(test_twins_are_shown_for_indexes_and_collations_too)
{
    sqlite3 *db =
        world_open("CREATE TABLE t (a TEXT, b INT); INSERT INTO t VALUES ('x', 1), ('X', 2), ('y', "
                   "2)");
    ck_refused(db, "CREATE UNIQUE INDEX u ON t (lower(a) DESC) WHERE b < 9",
               "t: 2 rows share their values of the unique index (rowid");
    ck_refused(db, "ALTER TABLE t ADD UNIQUE (a COLLATE NOCASE)",
               "t: 2 rows share their values of UNIQUE");
    ck_ok(world_run(db, "CREATE UNIQUE INDEX u ON t (a)"));
    ck_refused(db, "ALTER TABLE t ALTER a TYPE TEXT COLLATE NOCASE",
               "its index u cannot be kept: t: 2 rows "
               "share");
    sqlite3_close(db);
}
END_TEST

WORLD_MAIN("engine", test_settings_are_the_same_after_success_and_failure,
           test_a_call_inside_a_transaction_is_refused,
           test_statements_prepared_before_work_afterwards,
           test_rows_stay_where_they_are_unless_a_rebuild_is_asked_for,
           test_a_new_default_does_not_change_rows_that_show_the_old_one,
           test_objects_keep_their_order_and_triggers_their_turn,
           test_conflict_clauses_do_not_eat_rows_while_copying,
           test_a_lossy_type_is_refused_and_using_says_how,
           test_a_new_primary_key_numbers_no_row_in_silence,
           test_statistics_of_keys_that_moved_are_not_given_to_others,
           test_old_texts_in_double_quotes_go_on_meaning_text,
           test_what_was_broken_before_is_not_blamed_on_the_change,
           test_views_and_triggers_that_would_break_are_named,
           test_virtual_tables_that_name_a_table_hold_its_names,
           test_a_script_is_all_or_nothing_and_says_where_it_stopped,
           test_data_statements_obey_foreign_keys_and_drops_lose_no_children,
           test_rows_without_a_parent_are_counted_and_shown, test_a_parent_must_stay_a_parent,
           test_trigger_bodies_and_comments_do_not_end_a_statement,
           test_progress_is_told_while_rows_are_copied,
           test_an_integer_key_without_rowids_changes_by_a_rebuild,
           test_digits_are_not_lost_from_texts,
           test_children_are_asked_when_a_parents_key_compares_otherwise,
           test_what_is_renamed_on_the_way_is_still_judged_at_the_end,
           test_old_texts_and_own_qualifiers_do_not_stop_a_rebuild,
           test_a_new_column_is_checked_as_it_will_be_stored,
           test_a_dropped_column_is_not_caught_by_an_outer_query,
           test_settings_of_the_script_do_not_blind_the_checks,
           test_rows_get_what_ADD_says_whatever_the_default_becomes,
           test_names_of_ours_are_not_told_and_theirs_are_spelled_as_written,
           test_several_dropped_columns_are_each_asked_for,
           test_new_orphans_are_seen_in_new_tables_too, test_shadow_tables_are_left_to_their_owners,
           test_twins_are_shown_for_indexes_and_collations_too)

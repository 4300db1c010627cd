/* history: numbered files, their records, and the way from one version to another. */
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/migrate/backup.h"
#include "schema/migrate/diff.h"
#include "schema/migrate/history.h"
#include "schema/migrate/mirror.h"
#include "tests/migrate/world.h"

static arena_t arena;
static const migrate_options_t options = {.lock_timeout_ms = 100, .wall_at = 1790000000000};

static void add(migration_files_t *files, const char *name, const char *text)
{
    ck_ok(migration_files_add(&arena, files, name, text, strlen(text)));
}

static migration_files_t three(void)
{
    migration_files_t files = {0};
    add(&files, "0003_last.sql", "-- migrate:up\nALTER TABLE t ALTER a SET NOT NULL;\n");
    add(&files, "0001_first.sql",
        "-- the first\n\n-- migrate:up\nCREATE TABLE t (a INT);\n-- migrate:down\nDROP TABLE t;\n");
    add(&files, "0002_second.sql",
        "-- migrate:up\nALTER TABLE t ADD b TEXT;\n-- migrate:down\nALTER TABLE t DROP b;\n");
    return files;
}

static err_t up(sqlite3 *db, const migration_files_t *files, const char *to, migrated_t *done)
{
    target_t target;
    *done = (migrated_t){0};
    ck_ok(target_read(to, true, &target));
    return history_upgrade(db, &arena, files, target, &options, done);
}

static err_t down(sqlite3 *db, const migration_files_t *files, const char *to, migrated_t *done)
{
    target_t target;
    *done = (migrated_t){0};
    ck_ok(target_read(to, false, &target));
    return history_downgrade(db, &arena, files, target, &options, done);
}

static int64_t version(sqlite3 *db)
{
    migration_records_t records;
    ck_ok(history_read(db, &arena, &records));
    return history_version(&records);
}

START_TEST(test_files_run_in_the_order_of_their_numbers_and_back)
{
    sqlite3 *db = world_open("");
    migration_files_t files = three();
    migrated_t done;
    ck_assert_int_eq(version(db), 0);
    ck_ok(up(db, &files, "+1", &done));
    ck_assert_int_eq(done.n, 1);
    ck_assert_str_eq(done.items[0]->name, "0001_first.sql");
    ck_ok(up(db, &files, "2", &done));
    ck_ok(up(db, &files, "2", &done));
    ck_assert_int_eq(done.n, 0);
    ck_rows(db, "SELECT name FROM pragma_table_info('t')", "a|b");
    ck_rows(db, "SELECT version || name || applied_at || tool FROM schema_migrations",
            "10001_first.sql1790000000000stint " STINT_VERSION
            "|20002_second.sql1790000000000stint " STINT_VERSION);
    ck_ok(up(db, &files, "head", &done));
    ck_assert_int_eq(version(db), 3);
    ck_err(ERR_INVALID, down(db, &files, "-1", &done));
    says("0003_last.sql has no \"-- migrate:down\": it cannot be undone");
    ck_err(ERR_INVALID, down(db, &files, "base", &done)); /* and none of the others is undone */
    ck_assert_int_eq(version(db), 3);
    ck_ok(history_stamp(db, &files, 2, &options));
    ck_ok(down(db, &files, "1", &done));
    ck_assert_int_eq(done.n, 1);
    ck_rows(db, "SELECT name FROM pragma_table_info('t')", "a");
    ck_ok(down(db, &files, "base", &done));
    ck_assert_int_eq(version(db), 0);
    ck_rows(db, "SELECT name FROM sqlite_schema", "schema_migrations");
    sqlite3_close(db);
    arena_free(&arena);
}
END_TEST

START_TEST(test_a_migration_that_fails_leaves_nothing_and_those_before_it_stay)
{
    sqlite3 *db = world_open("");
    migration_files_t files = three();
    migrated_t done;
    add(&files, "0004_bad.sql",
        "\n-- migrate:up\nCREATE TABLE u (x);\nINSERT INTO u VALUES (1);\n\n"
        "ALTER TABLE u DROP y;\n");
    ck_err(ERR_INVALID, up(db, &files, "head", &done));
    says("0004_bad.sql:6: u has no column \"y\"");
    ck_assert_int_eq(done.n, 3);
    ck_assert_int_eq(version(db), 3);
    ck_rows(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'u'", "0");
    sqlite3_close(db);
    arena_free(&arena);
}
END_TEST

START_TEST(test_files_and_records_that_disagree_are_told_apart)
{
    sqlite3 *db = world_open("");
    migration_files_t files = three(), other = {0};
    migrated_t done;
    ck_ok(up(db, &files, "head", &done));
    add(&other, "0001_first.sql", "-- migrate:up\nCREATE TABLE t (a INT); -- edited\n");
    add(&other, "0002_second.sql", "-- migrate:up\nSELECT 1;");
    ck_err(ERR_NEWER, up(db, &other, "head", &done));
    says("the database has schema version 3 (0003_last.sql), newer than what is known here: up to "
         "2");
    add(&other, "0004_x.sql", "-- migrate:up\nSELECT 1;");
    ck_err(ERR_CORRUPT, up(db, &other, "head", &done));
    says("0003_last.sql has run on this database, but the file is gone");
    add(&other, "0003_last.sql", "-- migrate:up\nALTER TABLE t ALTER a SET NOT NULL;\n");
    ck_err(ERR_CORRUPT, up(db, &other, "head", &done));
    says("0002_second.sql is not what has run on this database: it was edited afterwards");
    /* Stamping is how a person says that it is fine. */
    ck_ok(history_stamp(db, &other, 3, &options));
    ck_ok(up(db, &other, "head", &done));
    ck_assert_int_eq(version(db), 4);
    world_sql(db, "DELETE FROM schema_migrations WHERE version = 2");
    ck_err(ERR_INVALID, up(db, &other, "head", &done));
    says("0002_second.sql has not run, but the database is at version 4 already");
    sqlite3_close(db);
    arena_free(&arena);
}
END_TEST

START_TEST(test_targets_that_are_none)
{
    static const char *const bad_up[] = {"", "tail", "-1", "1x", "+", "+0", "99999999999999999999"};
    static const char *const bad_down[] = {"", "head", "+1", "-0", "- 1", "1.5"};
    sqlite3 *db = world_open("");
    migration_files_t files = three();
    migrated_t done;
    target_t target;
    for (size_t i = 0; i < sizeof bad_up / sizeof *bad_up; i++)
        ck_assert_int_eq(target_read(bad_up[i], true, &target), ERR_USAGE);
    for (size_t i = 0; i < sizeof bad_down / sizeof *bad_down; i++)
        ck_assert_int_eq(target_read(bad_down[i], false, &target), ERR_USAGE);
    ck_err(ERR_INVALID, up(db, &files, "9", &done));
    says("there is no migration 9; the newest is 3");
    ck_ok(up(db, &files, "2", &done));
    ck_err(ERR_INVALID, up(db, &files, "1", &done));
    says("that is a downgrade");
    ck_err(ERR_INVALID, down(db, &files, "3", &done));
    says("never had 3");
    ck_err(ERR_INVALID, history_stamp(db, &files, 9, &options));
    ck_ok(up(db, &files, "+9", &done)); /* as many as there are */
    ck_assert_int_eq(version(db), 3);
    sqlite3_close(db);
    arena_free(&arena);
}
END_TEST

START_TEST(test_files_that_are_no_migrations_are_named)
{
    static const struct {
        const char *name, *text, *sentence;
    } bad[] = {
        {"first.sql", "-- migrate:up\n", "first.sql: a migration is called NUMBER_name.sql"},
        {"0000_x.sql", "-- migrate:up\n", "NUMBER_name.sql"},
        {"1.sql", "-- migrate:up\n", "NUMBER_name.sql"},
        {"1_x.sql", "SELECT 1;", "line 1: only comments may stand before"},
        {"1_x.sql", "-- nothing\n", "it has no line \"-- migrate:up\""},
        {"1_x.sql", "-- migrate:up\n-- migrate:up\n", "line 2: a second"},
        {"1_x.sql", "-- migrate:down\n", "line 1: \"-- migrate:down\" before"},
        {"1_x.sql", "-- migrate:up\n-- migrate:down\n-- migrate:down",
         "line 3: \"-- migrate:down\" for "
         "the second time"},
        {"1_x.sql", "-- migrate:up transaction:false\n", "takes no options here"},
        {"1_x.sql", "-- migrate:sideways\n", "line 1: expected"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        migration_files_t files = {0};
        ck_err(ERR_INVALID,
               migration_files_add(&arena, &files, bad[i].name, bad[i].text, strlen(bad[i].text)));
        says(bad[i].sentence);
    }
    migration_files_t files = three();
    ck_err(ERR_INVALID, migration_files_add(&arena, &files, "3_again.sql", "-- migrate:up\n", 14));
    says("0003_last.sql and 3_again.sql have the same number");
    /* Line ends of other systems, and nothing at all in a half. */
    add(&files, "0004_crlf.sql", "-- migrate:up\r\nSELECT 1;\r\n-- migrate:down\r\n");
    arena_free(&arena);
}
END_TEST

START_TEST(test_another_tools_table_is_left_alone)
{
    sqlite3 *db =
        world_open("CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT "
                   "INTO schema_migrations VALUES ('2019')");
    migration_files_t files = three();
    migrated_t done;
    ck_err(ERR_CONFLICT, up(db, &files, "head", &done));
    says("another tool's (its columns are version)");
    ck_rows(db, "SELECT version FROM schema_migrations", "2019");
    sqlite3_close(db);
    arena_free(&arena);
}
END_TEST

static char *directory(void)
{
    char *name = strdup("/tmp/stint-migrate-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(name));
    return name;
}

START_TEST(test_a_directory_is_read_and_gets_its_next_file)
{
    char *place = directory(), *path = NULL;
    char *inner = arena_printf(&arena, "%s/migrations", place);
    migration_files_t files = {0};
    ck_err(ERR_NOT_FOUND, migration_files_read(&arena, inner, &files));
    ck_ok(migration_files_new(&arena, inner, "Add users, please!", &path));
    ck_assert_str_eq(path + strlen(inner), "/0001_add_users_please.sql");
    ck_ok(migration_files_new(&arena, inner, "more", &path));
    ck_assert_str_eq(path + strlen(inner), "/0002_more.sql");
    ck_err(ERR_USAGE, migration_files_new(&arena, inner, "?!", &path));
    ck_ok(migration_files_read(&arena, inner, &files));
    ck_assert_int_eq(files.n, 2);
    ck_assert_ptr_nonnull(files.items[1].text.down);
    sqlite3 *db = world_open("");
    migrated_t done;
    ck_ok(up(db, &files, "head", &done)); /* what `new` writes runs as it is */
    ck_ok(down(db, &files, "base", &done));
    sqlite3_close(db);
    FILE *file = fopen(arena_printf(&arena, "%s/notes.sql", inner), "w");
    fclose(file);
    ck_err(ERR_INVALID, migration_files_read(&arena, inner, &files));
    says("notes.sql: a migration is called");
    ck_assert_int_eq(system(arena_printf(&arena, "rm -rf '%s'", place)), 0);
    free(place);
    arena_free(&arena);
}
END_TEST

START_TEST(test_differences_are_told_piece_by_piece)
{
    sqlite3 *a =
        world_open("CREATE TABLE t (a INT, b TEXT, CHECK (a > 0)); CREATE TABLE same (x); CREATE "
                   "TABLE order_ (x, y); CREATE INDEX i ON t (a); CREATE VIEW v AS SELECT 1");
    sqlite3 *b =
        world_open("create table T (\"a\" int, b TEXT NOT NULL, check(a>0), UNIQUE (b)); CREATE "
                   "TABLE same ( [X] ); CREATE TABLE order_ (y, x); CREATE INDEX i ON t (b)");
    differences_t found;
    buffer_t out = {0};
    ck_ok(schema_diff(a, b, &arena, &found));
    for (int i = 0; i < found.n; i++)
        buffer_printf(&out, "%c %s: %s\n", found.items[i].sign, found.items[i].name,
                      found.items[i].what);
    buffer_add(&out, "", 1);
    ck_assert_str_eq((char *)out.data, "- t: column b TEXT\n"
                                       "+ t: column b TEXT NOT NULL\n"
                                       "+ t: UNIQUE (b)\n"
                                       "- order_: the order x, y\n"
                                       "+ order_: the order y, x\n"
                                       "- i: CREATE INDEX i ON t (a)\n"
                                       "+ i: CREATE INDEX i ON t (b)\n"
                                       "- v: CREATE VIEW v AS SELECT 1\n");
    buffer_free(&out);
    sqlite3_close(a);
    sqlite3_close(b);
    arena_free(&arena);
}
END_TEST

START_TEST(test_a_mirror_has_the_schema_and_no_rows)
{
    sqlite3 *db =
        world_open("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT DEFAULT "
                   "\"x\"); INSERT INTO t (a) VALUES ('y'); CREATE INDEX i ON t (a); ANALYZE; "
                   "CREATE VIRTUAL TABLE f USING fts5(a, content='t'); CREATE VIEW v AS SELECT "
                   "a FROM t; CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END");
    migration_files_t files = {0};
    migrated_t done;
    add(&files, "1_x.sql", "-- migrate:up\nALTER TABLE t ADD b INT;");
    ck_ok(up(db, &files, "head", &done));
    sqlite3 *mirror = NULL;
    differences_t found;
    ck_ok(mirror_of(db, &mirror));
    ck_ok(schema_diff(db, mirror, &arena, &found));
    ck_assert_int_eq(found.n, 0);
    ck_rows(mirror, "SELECT count(*) FROM t", "0");
    ck_rows(mirror, "SELECT version FROM schema_migrations", "1");
    ck_ok(world_run(mirror, "ALTER TABLE t REBUILD"));
    sqlite3_close(mirror);
    sqlite3_close(db);
    arena_free(&arena);
}
END_TEST

START_TEST(test_backups_are_whole_and_the_last_three_are_kept)
{
    char *place = directory(), *path = NULL, *last = NULL;
    sqlite3 *db = NULL, *copy = NULL;
    ck_assert_int_eq(sqlite3_open(arena_printf(&arena, "%s/app.db", place), &db), SQLITE_OK);
    world_sql(db, "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    for (int i = 0; i < 5; i++) {
        world_sql(db, "UPDATE t SET a = a + 1");
        ck_ok(backup_make(db, &arena, 1790000000000 + i * 1000, &last));
        backup_settle(db, &arena, last, true);
    }
    /* One made for a change that did not come goes, and pushes no other out. */
    char *unused = NULL;
    ck_ok(backup_make(db, &arena, 1790000099000, &unused));
    backup_settle(db, &arena, unused, false);
    ck_assert_int_ne(access(unused, F_OK), 0);
    ck_assert_ptr_nonnull(strstr(last, "app.db.backup-20260921T"));
    ck_assert_int_eq(sqlite3_open(last, &copy), SQLITE_OK);
    ck_rows(copy, "SELECT a FROM t", "6");
    sqlite3_close(copy);
    path = arena_printf(&arena, "ls '%s' | grep -c 'backup-.*Z$' | grep -qx 3", place);
    ck_assert_int_eq(system(path), 0);
    /* Nothing is left of one that cannot be made. */
    ck_ok(world_run(db, "CREATE TABLE u (x)"));
    sqlite3_close(db);
    ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    ck_ok(backup_make(db, &arena, 1, &last));
    ck_assert_ptr_null(last);
    sqlite3_close(db);
    ck_assert_int_eq(system(arena_printf(&arena, "rm -rf '%s'", place)), 0);
    free(place);
    arena_free(&arena);
}
END_TEST

WORLD_MAIN("history", test_files_run_in_the_order_of_their_numbers_and_back,
           test_a_migration_that_fails_leaves_nothing_and_those_before_it_stay,
           test_files_and_records_that_disagree_are_told_apart, test_targets_that_are_none,
           test_files_that_are_no_migrations_are_named, test_another_tools_table_is_left_alone,
           test_a_directory_is_read_and_gets_its_next_file,
           test_differences_are_told_piece_by_piece, test_a_mirror_has_the_schema_and_no_rows,
           test_backups_are_whole_and_the_last_three_are_kept)

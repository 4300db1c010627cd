/* faults: killed at any write, or the disk full or broken at any write: before or after, never
 * between. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/migrate/world.h"
#include "tests/support/disk.h"

/* -- one database, one change --------------------------------------------------------------- */

static const char before[] =
    "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (id INTEGER PRIMARY KEY "
    "AUTOINCREMENT, a "
    "TEXT, b INT, p_id INT); CREATE TABLE c (t_id REFERENCES t (id) ON DELETE CASCADE); INSERT "
    "INTO p "
    "VALUES (1), (2); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
    "400) "
    "INSERT INTO t SELECT i, 'name ' || i || hex(zeroblob(20)), i % 7, 1 + i % 2 FROM n; CREATE "
    "INDEX "
    "ib ON t (b); INSERT INTO c SELECT id FROM t WHERE id % 9 = 0; ANALYZE";

static char path[64];

static sqlite3 *open_with(const char *vfs)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs),
                     SQLITE_OK);
    world_sql(db, "PRAGMA cache_size = 10"); /* pages leave the memory while the change runs */
    return db;
}

static void make(const char *journal)
{
    static const char *const ends[] = {"", "-journal", "-wal", "-shm"};
    char name[80];
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
    sqlite3 *db = open_with(NULL);
    snprintf(name, sizeof name, "PRAGMA synchronous = OFF; PRAGMA journal_mode = %s", journal);
    world_sql(db, name);
    world_sql(db, before);
    sqlite3_close(db);
}

static char *dump(void)
{
    sqlite3 *db = open_with(NULL);
    char *text = world_dump(db);
    ck_rows(db, "PRAGMA integrity_check", "ok");
    ck_rows(db, "SELECT count(*) FROM pragma_foreign_key_check", "0");
    sqlite3_close(db);
    return text;
}

static err_t change(const char *script)
{
    sqlite3 *db = open_with("faulty");
    err_t err = world_run(db, script);
    int transaction_over = sqlite3_get_autocommit(db);
    ck_assert_int_eq(transaction_over, 1);
    sqlite3_close(db);
    return err;
}

static int run_child(const char *script)
{
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(change(script) ? 1 : 0);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Each write in turn; of many, about 60 (or STINT_FAULT_POINTS) spread over all. */
static void sweep(const char *journal, const char *script, disk_fault_t fault)
{
    /* A kill may come at what is no write, too. */
    unsigned kinds =
        fault == DISK_KILLED ? DISK_WRITE | DISK_TRUNCATE | DISK_SYNC | DISK_DELETE : DISK_WRITE;
    disk_make(false);
    snprintf(path, sizeof path, "/tmp/stint-faults-%ld.db", (long)getpid());
    make(journal);
    char *old = dump();
    disk_fault(DISK_FINE, kinds, 0);
    ck_ok(change(script));
    int total = disk_seen(), olds = 0, news = 0;
    char *new = dump();
    ck_assert_str_ne(old, new);
    ck_assert_int_gt(total, 2);
    const char *points = getenv("STINT_FAULT_POINTS");
    int most = points && atoi(points) > 0 ? atoi(points) : 60;
    int step = total > most ? total / most : 1;
    for (int at = 1; at <= total; at += step) {
        make(journal);
        disk_fault(fault, kinds, at);
        int code = fault == DISK_KILLED ? run_child(script) : (int)change(script);
        disk_fault(DISK_FINE, 0, 0);
        char *now = dump();
        bool is_old = strcmp(now, old) == 0, is_new = strcmp(now, new) == 0;
        ck_assert_msg(is_old || is_new, "write %d of %d: neither before nor after", at, total);
        olds += is_old;
        news += is_new;
        /* Whoever was told that it failed finds nothing done. */
        if (fault != DISK_KILLED && code != ERR_OK)
            ck_assert_msg(is_old, "write %d of %d: an error, but it is done", at, total);
        if (fault == DISK_FULL && code != ERR_OK)
            ck_assert_msg(code == ERR_FULL, "write %d: %s", at, err_code((err_t)code));
        if (is_old) {
            ck_ok(change(script));
            char *again = dump();
            ck_assert_str_eq(again, new);
            free(again);
        }
        free(now);
    }
    ck_assert_int_gt(olds, 0);
    free(old);
    free(new);
    unlink(path);
}

static const char rebuild[] =
    "ALTER TABLE t ADD UNIQUE (a), DROP COLUMN p_id; UPDATE c SET t_id = 1";
static const char in_place[] = "ALTER TABLE t ADD FOREIGN KEY (p_id) REFERENCES p (id), ALTER a "
                               "SET NOT NULL, ADD CHECK (b < 7)";

START_TEST(test_killed_at_any_write_it_is_before_or_after)
{
    sweep("DELETE", rebuild, DISK_KILLED);
    sweep("WAL", rebuild, DISK_KILLED);
    sweep("DELETE", in_place, DISK_KILLED);
    sweep("WAL", in_place, DISK_KILLED);
}
END_TEST

START_TEST(test_a_disk_full_at_any_write_leaves_it_as_it_was)
{
    sweep("DELETE", rebuild, DISK_FULL);
    sweep("WAL", rebuild, DISK_FULL);
    sweep("DELETE", in_place, DISK_FULL);
    sweep("WAL", in_place, DISK_FULL);
}
END_TEST

START_TEST(test_a_write_that_breaks_leaves_it_as_it_was)
{
    sweep("DELETE", rebuild, DISK_BROKEN);
    sweep("WAL", rebuild, DISK_BROKEN);
    sweep("DELETE", in_place, DISK_BROKEN);
}
END_TEST

WORLD_MAIN("faults", test_killed_at_any_write_it_is_before_or_after,
           test_a_disk_full_at_any_write_leaves_it_as_it_was,
           test_a_write_that_breaks_leaves_it_as_it_was)

/* faults: killed at any write, or the disk full or broken at any write: before or after, never
 * between. A layer under SQLite fails, or ends the process, at its N-th write. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/migrate/world.h"

typedef enum { FAULT_NONE, FAULT_KILL, FAULT_FULL, FAULT_BROKEN } fault_t;

static struct {
    sqlite3_vfs vfs, *real;
    sqlite3_io_methods methods;
    fault_t fault;
    bool all;     /* truncating, syncing and deleting count too: a kill may come there */
    int at, seen; /* writes */
} layer;

typedef struct {
    sqlite3_file base;
    sqlite3_file *real;
} file_t;

#define REAL(file) (((file_t *)(file))->real)

/* A full disk stays full; a broken write breaks once. */
static int hit(void)
{
    layer.seen++;
    if (layer.fault == FAULT_KILL && layer.seen == layer.at)
        _exit(9);
    if (layer.fault == FAULT_FULL && layer.seen >= layer.at)
        return SQLITE_FULL;
    return layer.fault == FAULT_BROKEN && layer.seen == layer.at ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int do_close(sqlite3_file *file)
{
    int code = REAL(file)->pMethods->xClose(REAL(file));
    sqlite3_free(REAL(file));
    return code;
}
static int do_read(sqlite3_file *file, void *data, int n, sqlite3_int64 at)
{
    return REAL(file)->pMethods->xRead(REAL(file), data, n, at);
}
static int do_write(sqlite3_file *file, const void *data, int n, sqlite3_int64 at)
{
    int code = hit();
    return code ? code : REAL(file)->pMethods->xWrite(REAL(file), data, n, at);
}
static int do_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int code = layer.all ? hit() : SQLITE_OK;
    return code ? code : REAL(file)->pMethods->xTruncate(REAL(file), size);
}
static int do_sync(sqlite3_file *file, int flags)
{
    int code = layer.all ? hit() : SQLITE_OK;
    return code ? code : REAL(file)->pMethods->xSync(REAL(file), flags);
}
static int do_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return REAL(file)->pMethods->xFileSize(REAL(file), size);
}
static int do_lock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xLock(REAL(file), level);
}
static int do_unlock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xUnlock(REAL(file), level);
}
static int do_reserved(sqlite3_file *file, int *out)
{
    return REAL(file)->pMethods->xCheckReservedLock(REAL(file), out);
}
static int do_control(sqlite3_file *file, int op, void *argument)
{
    return REAL(file)->pMethods->xFileControl(REAL(file), op, argument);
}
static int do_sector(sqlite3_file *file)
{
    return REAL(file)->pMethods->xSectorSize(REAL(file));
}
static int do_traits(sqlite3_file *file)
{
    return REAL(file)->pMethods->xDeviceCharacteristics(REAL(file));
}
static int do_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return REAL(file)->pMethods->xShmMap(REAL(file), page, size, extend, out);
}
static int do_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return REAL(file)->pMethods->xShmLock(REAL(file), offset, n, flags);
}
static void do_shm_barrier(sqlite3_file *file)
{
    REAL(file)->pMethods->xShmBarrier(REAL(file));
}
static int do_shm_unmap(sqlite3_file *file, int remove)
{
    return REAL(file)->pMethods->xShmUnmap(REAL(file), remove);
}

static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    file_t *self = (file_t *)file;
    self->real = sqlite3_malloc(layer.real->szOsFile);
    memset(self->real, 0, (size_t)layer.real->szOsFile);
    int code = layer.real->xOpen(layer.real, name, self->real, flags, out);
    self->base.pMethods = code == SQLITE_OK ? &layer.methods : NULL;
    if (code)
        sqlite3_free(self->real);
    return code;
}
static int do_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    int code = layer.all ? hit() : SQLITE_OK;
    return code ? code : layer.real->xDelete(layer.real, name, sync);
}

static void layer_make(void)
{
    if (layer.real)
        return;
    layer.real = sqlite3_vfs_find(NULL);
    layer.vfs = *layer.real;
    layer.vfs.zName = "faulty";
    layer.vfs.szOsFile = sizeof(file_t);
    layer.vfs.xOpen = do_open;
    layer.vfs.xDelete = do_delete;
    layer.methods = (sqlite3_io_methods){.iVersion = 2,
                                         .xClose = do_close,
                                         .xRead = do_read,
                                         .xWrite = do_write,
                                         .xTruncate = do_truncate,
                                         .xSync = do_sync,
                                         .xFileSize = do_size,
                                         .xLock = do_lock,
                                         .xUnlock = do_unlock,
                                         .xCheckReservedLock = do_reserved,
                                         .xFileControl = do_control,
                                         .xSectorSize = do_sector,
                                         .xDeviceCharacteristics = do_traits,
                                         .xShmMap = do_shm_map,
                                         .xShmLock = do_shm_lock,
                                         .xShmBarrier = do_shm_barrier,
                                         .xShmUnmap = do_shm_unmap};
    ck_assert_int_eq(sqlite3_vfs_register(&layer.vfs, 0), SQLITE_OK);
}

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
static void sweep(const char *journal, const char *script, fault_t fault)
{
    layer_make();
    snprintf(path, sizeof path, "/tmp/stint-faults-%ld.db", (long)getpid());
    layer.fault = FAULT_NONE;
    layer.all = fault == FAULT_KILL;
    make(journal);
    char *old = dump();
    layer.seen = 0;
    ck_ok(change(script));
    int total = layer.seen, olds = 0, news = 0;
    char *new = dump();
    ck_assert_str_ne(old, new);
    ck_assert_int_gt(total, 2);
    const char *points = getenv("STINT_FAULT_POINTS");
    int most = points && atoi(points) > 0 ? atoi(points) : 60;
    int step = total > most ? total / most : 1;
    for (int at = 1; at <= total; at += step) {
        make(journal);
        layer.fault = fault;
        layer.at = at;
        layer.seen = 0;
        int code = fault == FAULT_KILL ? run_child(script) : (int)change(script);
        layer.fault = FAULT_NONE;
        char *now = dump();
        bool is_old = strcmp(now, old) == 0, is_new = strcmp(now, new) == 0;
        ck_assert_msg(is_old || is_new, "write %d of %d: neither before nor after", at, total);
        olds += is_old;
        news += is_new;
        /* Whoever was told that it failed finds nothing done. */
        if (fault != FAULT_KILL && code != ERR_OK)
            ck_assert_msg(is_old, "write %d of %d: an error, but it is done", at, total);
        if (fault == FAULT_FULL && code != ERR_OK)
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
    sweep("DELETE", rebuild, FAULT_KILL);
    sweep("WAL", rebuild, FAULT_KILL);
    sweep("DELETE", in_place, FAULT_KILL);
    sweep("WAL", in_place, FAULT_KILL);
}
END_TEST

START_TEST(test_a_disk_full_at_any_write_leaves_it_as_it_was)
{
    sweep("DELETE", rebuild, FAULT_FULL);
    sweep("WAL", rebuild, FAULT_FULL);
    sweep("DELETE", in_place, FAULT_FULL);
    sweep("WAL", in_place, FAULT_FULL);
}
END_TEST

START_TEST(test_a_write_that_breaks_leaves_it_as_it_was)
{
    sweep("DELETE", rebuild, FAULT_BROKEN);
    sweep("WAL", rebuild, FAULT_BROKEN);
    sweep("DELETE", in_place, FAULT_BROKEN);
}
END_TEST

WORLD_MAIN("faults", test_killed_at_any_write_it_is_before_or_after,
           test_a_disk_full_at_any_write_leaves_it_as_it_was,
           test_a_write_that_breaks_leaves_it_as_it_was)

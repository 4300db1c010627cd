/* store_open: a store's connections, reserve and ids. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "api/store/migrate.h"
#include "api/store/store_sim.h"
#include "common/log.h"

enum { CHECKPOINT_PAGES = 4096, REMOVE_STEP = 1000 };
enum { BUSY_MS = 2000 }; /* a person's sqlite3 shell, at worst */
/* -- connections
 * ------------------------------------------------------------------------------------- */

static err_t pragma_number(store_t *self, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(self->writer, sql, -1, &statement, NULL) != SQLITE_OK)
        return sql_error(self, self->writer, "the database");
    bool row = false;
    err_t err = sql_next(self, statement, &row);
    if (!err && row)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return err;
}

/* Looks before anything is written: somebody else's database must stay as it is. */
static err_t identity_check(store_t *self)
{
    int64_t tables_n = 0, application_id = 0;
    err_t err = pragma_number(self, "SELECT count(*) FROM sqlite_schema", &tables_n);
    if (!err)
        err = pragma_number(self, "PRAGMA application_id", &application_id);
    if (err == ERR_CORRUPT)
        return err_context(err, "this is not a Stint store, or it is damaged");
    if (!err && tables_n > 0 && application_id != STORE_APPLICATION_ID)
        err = err_set(ERR_CORRUPT, "this is not a Stint store");
    if (!err && tables_n == 0 && self->made)
        err =
            err_set(ERR_CORRUPT, "the file is empty or gone, but a store was here; to begin a new "
                                 "one remove the file \"lock\" too");
    return err;
}

/* The commit has succeeded already: what goes wrong here is told by store_sound, and a
 * full disk is no fault, the log just grows. */
static int checkpoint(void *context, sqlite3 *db, const char *name, int pages)
{
    store_t *self = context;
    if (pages < self->checkpoint_pages)
        return SQLITE_OK;
    int code = sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    /* SHMSIZE: the index of the log (-shm) could not grow; SQLite does not keep that errno. */
    bool full =
        code == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE || sqlite3_system_errno(db) == ENOSPC;
    if ((code & 0xff) == SQLITE_IOERR && !full) {
        self->checkpoint_error = code;
        self->broken = true;
    }
    return SQLITE_OK;
}

err_t store_writer_prepare(store_t *self)
{
    sqlite3 *db = self->writer;
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    int64_t vacuum = 0;
    err_t err = identity_check(self);
    if (!err)
        err = sql_execute(self, db,
                          "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA foreign_keys = ON;"
                          "PRAGMA secure_delete = OFF;"
                          "PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;"
                          "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864");
    if (!err)
        err = sql_execute(self, db,
                          self->directory ? "PRAGMA journal_mode = WAL"
                                          : "PRAGMA journal_mode = MEMORY");
    if (!err && self->directory)
        sqlite3_wal_hook(db, checkpoint, self);
    if (!err)
        err = pragma_number(self, "PRAGMA auto_vacuum", &vacuum);
    if (!err && vacuum != 2)
        err = err_set(ERR_CORRUPT, "the database was made without auto_vacuum=INCREMENTAL");
    return err;
}

/* A log that is still there: the last process did not end well. Written before anything else is,
 * and while no other process (a migration, a person's shell) may write. */
static err_t log_take(store_t *self)
{
    char path[STORE_PATH_N];
    if (!self->made || store_file_bytes(self, "store.db-wal") == 0)
        return ERR_OK;
    store_path(self, "store.db-wal", path);
    err_t err = sql_execute(self, self->writer, "BEGIN IMMEDIATE");
    if (err == ERR_CORRUPT)
        return ERR_OK; /* identity_check has the words for it */
    if (!err)
        err = store_log_renew(path);
    if (!sqlite3_get_autocommit(self->writer))
        (void)sqlite3_exec(self->writer, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

static err_t writer_open(store_t *self)
{
    char path[STORE_PATH_N] = ":memory:";
    if (self->directory)
        store_path(self, "store.db", path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &self->writer, flags, NULL) != SQLITE_OK)
        return sql_error(self, self->writer, path);
    sqlite3_busy_timeout(self->writer, BUSY_MS);
    err_t err = self->directory ? log_take(self) : ERR_OK;
    if (!err)
        err = store_writer_prepare(self);
    return err ? err_context(err, "%s", path) : ERR_OK;
}

/* It may read the log but never move it: one connection writes and checkpoints. */
static err_t reader_open(store_t *self)
{
    if (!self->directory) {
        self->reader = self->writer;
        return ERR_OK;
    }
    char path[STORE_PATH_N];
    store_path(self, "store.db", path);
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &self->reader, flags, NULL) != SQLITE_OK)
        return sql_error(self, self->reader, path);
    sqlite3_extended_result_codes(self->reader, 1);
    sqlite3_busy_timeout(self->reader, BUSY_MS);
    sqlite3_db_config(self->reader, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return sql_execute(self, self->reader,
                       "PRAGMA query_only = ON; PRAGMA cache_size = -2048;"
                       "PRAGMA temp_store = MEMORY");
}

/* -- ids
 * --------------------------------------------------------------------------------------------- */

err_t store_meta_get(store_t *self, const char *key, uint64_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    err_t err = sql_query(self, STATEMENT_META_GET, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, key);
    err = sql_next(self, statement, &row);
    if (!err)
        *out = row ? sql_u64(statement, 0) : 0;
    sql_finish(statement);
    return err;
}

err_t store_meta_put(store_t *self, const char *key, uint64_t value)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_META_PUT, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, key);
    sql_bind_u64(statement, 2, value);
    return sql_run(self, statement);
}

err_t store_floor_keep(store_t *self, uint64_t highest)
{
    if (highest <= self->floor_id)
        return ERR_OK;
    /* The newest id of all covers every row there is: one write lasts for all removals of today's
     * rows. */
    err_t err = store_meta_put(self, "id_floor", self->last_id);
    if (!err)
        self->floor_id = self->last_id;
    return err;
}

uint64_t store_next_id(store_t *self, int64_t wall_at)
{
    const int64_t year_2020 = 1577836800000;
    uint64_t now = wall_at > year_2020 ? (uint64_t)(wall_at - year_2020) * 4096 : 0;
    self->last_id = now > self->last_id ? now : self->last_id + 1;
    INVARIANT(self->last_id < UINT64_C(1) << 53);
    return self->last_id;
}

static err_t id_load(store_t *self, bool *known)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_META_GET, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, "store_id");
    err = sql_next(self, statement, known);
    if (!err && *known && sqlite3_column_bytes(statement, 0) == (int)sizeof self->id)
        memcpy(self->id, sqlite3_column_blob(statement, 0), sizeof self->id);
    else if (!err && *known)
        err = err_set(ERR_CORRUPT, "the store's id is not 16 bytes");
    sql_finish(statement);
    return err;
}

err_t store_renew_id(store_t *self)
{
    uint8_t fresh[sizeof self->id];
    if (getrandom(fresh, sizeof fresh, 0) != (ssize_t)sizeof fresh)
        return err_set(ERR_INTERNAL, "no random bytes: %s", strerror(errno));
    sqlite3_stmt *statement = NULL;
    bool own_turn = !self->in_turn;
    err_t err = own_turn ? store_begin(self) : ERR_OK;
    if (!err)
        err = sql_query(self, STATEMENT_META_PUT, &statement);
    if (!err) {
        sql_bind_text(statement, 1, "store_id");
        sql_bind_bytes(statement, 2, fresh, sizeof fresh);
        err = sql_run(self, statement);
    }
    for (int i = STATEMENT_BATCH_OTHER_STORE; i <= STATEMENT_FINALIZE_OTHER_STORE && !err; i++) {
        err = sql_query(self, (statement_id_t)i, &statement);
        if (!err)
            err = sql_run(self, statement);
    }
    if (!err && own_turn)
        err = store_commit(self);
    if (!err)
        memcpy(self->id, fresh, sizeof fresh);
    else if (own_turn)
        store_rollback(self);
    return err;
}

/* What a start reads: the newest id, the floor and the store's id. */
err_t store_load(store_t *self)
{
    static const statement_id_t highest[] = {STATEMENT_HIGHEST_JOB, STATEMENT_HIGHEST_BATCH,
                                             STATEMENT_HIGHEST_FINALIZE};
    err_t err = store_meta_get(self, "id_floor", &self->floor_id);
    self->last_id = self->floor_id;
    for (int i = 0; !err && i < 3; i++) {
        sqlite3_stmt *statement = NULL;
        bool row = false;
        err = sql_query(self, highest[i], &statement);
        if (!err)
            err = sql_next(self, statement, &row);
        if (!err && row && sql_u64(statement, 0) > self->last_id)
            self->last_id = sql_u64(statement, 0);
        if (!err)
            sql_finish(statement);
    }
    bool known = false;
    if (!err)
        err = id_load(self, &known);
    return err || known ? err : store_renew_id(self);
}

/* -- opening
 * ----------------------------------------------------------------------------------------- */

static err_t upload_any(store_t *self, uint64_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    err_t err = sql_query(self, STATEMENT_UPLOAD_ANY, &statement);
    if (!err)
        err = sql_next(self, statement, &row);
    if (err)
        return err;
    *out = row ? sql_u64(statement, 0) : 0;
    sql_finish(statement);
    return ERR_OK;
}

static err_t uploads_remove(store_t *self)
{
    for (;;) {
        uint64_t job = 0;
        bool more = false;
        err_t err = upload_any(self, &job);
        if (err || !job)
            return err;
        err = store_begin(self);
        if (!err)
            err = store_job_remove(self, job, REMOVE_STEP, &more);
        if (!err)
            err = store_commit(self);
        if (err) {
            store_rollback(self);
            return err_context(err, "unfinished upload %llu", (unsigned long long)job);
        }
    }
}

static err_t files_open(store_t *self)
{
    err_t err = self->directory ? store_directory_take(self) : ERR_OK;
    return err ? err : writer_open(self);
}

err_t store_open(store_t **out, const store_options_t *options)
{
    /* Counting each allocation costs a tenth of all writes. Refused, and without harm, once SQLite
     * is in use. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    store_t *self = mem_zero(sizeof *self);
    self->lock_fd = -1;
    self->checkpoint_pages = CHECKPOINT_PAGES;
    self->directory = options->directory ? mem_text(options->directory) : NULL;
    self->reserve_bytes = options->reserve_bytes;
    err_t err = files_open(self);
    if (!err)
        err = store_migrate(self, options);
    if (!err)
        err = reader_open(self);
    if (!err)
        err = store_load(self);
    if (!err)
        err = uploads_remove(self);
    if (!err)
        err = store_tasks_refresh(self, options->wall_at);
    if (err) {
        store_close(&self);
        return err_context(err, "store %s", options->directory ? options->directory : "in memory");
    }
    if (self->directory && !self->made) {
        self->made = true;
        store_lock_write(self);
    }
    store_reserve(self, true);
    *out = self;
    return ERR_OK;
}

void store_statements_drop(store_t *self)
{
    for (int i = 0; i < STATEMENTS_N; i++) {
        sqlite3_finalize(self->cached[i]);
        self->cached[i] = NULL;
    }
}

void store_close(store_t **self)
{
    store_t *store = *self;
    if (!store)
        return;
    *self = NULL;
    store_statements_drop(store);
    if (store->reader != store->writer)
        sqlite3_close(store->reader); /* first: the last one to close a log removes it */
    /* A sync that failed and is tried again says ok, and the bytes are not on the disk: the log
     * that would be removed then is the only true copy. */
    if (store->broken)
        sqlite3_db_config(store->writer, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(store->writer);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store->directory);
    free(store->changes);
    free(store);
}

err_t store_forget(store_t *self)
{
    store_rollback(self);
    store_statements_drop(self);
    self->checkpoint_error = 0;
    err_t err = store_load(self);
    return err ? err : uploads_remove(self);
}

const uint8_t *store_id(const store_t *self)
{
    return self->id;
}

int store_schema_version(const store_t *self)
{
    return self->version;
}

/* -- room
 * -------------------------------------------------------------------------------------------- */

static uint64_t room(const store_t *self)
{
    struct statvfs status;
    if (!self->directory || statvfs(self->directory, &status) < 0)
        return self->sim_full ? 0 : UINT64_MAX;
    return (uint64_t)status.f_bavail * status.f_frsize;
}

void store_space(const store_t *self, uint64_t *free_bytes, uint64_t *database_bytes,
                 uint64_t *log_bytes)
{
    *free_bytes = room(self);
    *database_bytes = self->directory ? store_file_bytes(self, "store.db") : 0;
    *log_bytes = self->directory ? store_file_bytes(self, "store.db-wal") : 0;
}

void store_reserve(store_t *self, bool on)
{
    char path[STORE_PATH_N];
    if (!self->directory)
        return;
    store_path(self, "reserve", path);
    if (!on || self->reserve_bytes == 0) {
        if (unlink(path) < 0 && errno != ENOENT)
            log_warn("store_reserve", "path=%s error=\"%s\"", path, strerror(errno));
        return;
    }
    if (store_file_bytes(self, "reserve") == self->reserve_bytes ||
        room(self) / 2 < self->reserve_bytes)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int failed = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)self->reserve_bytes);
    if (failed)
        log_warn("store_reserve", "path=%s error=\"%s\"", path, strerror(failed));
    if (fd >= 0)
        close(fd);
}

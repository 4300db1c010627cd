#include "schema/migrate/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/sqlite_err.h"

/* -- SQL ---------------------------------------------------------------------------------- */

err_t session_error(session_t *self)
{
    err_t code = sqlite_err(self->db);
    /* What SQLite refuses for its content is the script's fault and no mistake of ours. */
    bool no_memory = (sqlite3_errcode(self->db) & 0xff) == SQLITE_NOMEM;
    if ((code == ERR_INTERNAL && !no_memory) || code == ERR_CONFLICT)
        code = ERR_INVALID;
    if (code == ERR_BUSY)
        return err_set(code,
                       "the database is locked by another process (waited %.1f s): try again, or "
                       "wait longer with --lock-timeout",
                       (double)self->options->lock_timeout_ms / 1000);
    if (code == ERR_FULL)
        return err_set(code, "the disk is full, or a limit on file sizes is reached: nothing was "
                             "changed; a rebuild needs room for a second copy of the table");
    if ((sqlite3_errcode(self->db) & 0xff) == SQLITE_READONLY)
        return err_set(code, "the database is read-only");
    return err_set(code, "%s", sqlite3_errmsg(self->db));
}

char *session_words(arena_t *arena, const char *said, const char *ours, const char *theirs)
{
    const char *at = strstr(said, ours);
    if (!at)
        return arena_printf(arena, "%s", said);
    return arena_printf(arena, "%.*s%s%s", (int)(at - said), said, theirs,
                        session_words(arena, at + strlen(ours), ours, theirs));
}

static void trace(session_t *self, const char *sql)
{
    if (self->options->trace)
        self->options->trace(self->options->context, sql);
}

err_t session_run(session_t *self, const char *sql)
{
    trace(self, sql);
    return sqlite3_exec(self->db, sql, NULL, NULL, NULL) == SQLITE_OK ? ERR_OK
                                                                      : session_error(self);
}

err_t session_prepare(session_t *self, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v2(self->db, sql, -1, out, NULL) == SQLITE_OK ? ERR_OK
                                                                         : session_error(self);
}

err_t session_next(session_t *self, sqlite3_stmt **statement, bool *row)
{
    int code = sqlite3_step(*statement);
    *row = code == SQLITE_ROW;
    if (*row)
        return ERR_OK;
    err_t err = code == SQLITE_DONE ? ERR_OK : session_error(self);
    sqlite3_finalize(*statement);
    *statement = NULL;
    return err;
}

char *session_column(arena_t *arena, sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text ? arena_text(arena, (const char *)text,
                             (size_t)sqlite3_column_bytes(statement, column))
                : NULL;
}

err_t session_text(session_t *self, arena_t *arena, const char *sql, char **out)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    err_t err = session_prepare(self, sql, &statement);
    if (!err)
        err = session_next(self, &statement, &row);
    if (!err)
        *out = row ? session_column(arena, statement, 0) : NULL;
    sqlite3_finalize(statement);
    return err;
}

err_t session_number(session_t *self, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    err_t err = session_prepare(self, sql, &statement);
    if (!err)
        err = session_next(self, &statement, &row);
    if (!err)
        *out = row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return err;
}

void session_note_failure(session_t *self)
{
    int code = sqlite3_errcode(self->db) & 0xff;
    err_t err = sqlite_err(self->db);
    if (code != SQLITE_ERROR && (err != ERR_INTERNAL || code == SQLITE_NOMEM) &&
        err != ERR_CONFLICT)
        self->failure = err;
}

err_t session_failure(const session_t *self)
{
    return self->failure
               ? err_set(self->failure, "%s: nothing was changed", err_title(self->failure))
               : ERR_OK;
}

/* Prepared and thrown away: nothing runs, and no statement is left that a later change of the
 * schema would make SQLite compile again. */
char *session_compile(session_t *self, arena_t *arena, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(self->db, sql, -1, &statement, NULL);
    if (code != SQLITE_OK)
        session_note_failure(self);
    sqlite3_finalize(statement);
    return code == SQLITE_OK ? NULL : arena_printf(arena, "%s", sqlite3_errmsg(self->db));
}

/* -- settings ----------------------------------------------------------------------------- */

static int config_get(sqlite3 *db, int option)
{
    int value = 0;
    sqlite3_db_config(db, option, -1, &value);
    return value;
}

static void config_set(sqlite3 *db, int option, int value)
{
    sqlite3_db_config(db, option, value, NULL);
}

void session_quotes(session_t *self, bool text)
{
    config_set(self->db, SQLITE_DBCONFIG_DQS_DDL, text);
    config_set(self->db, SQLITE_DBCONFIG_DQS_DML, text);
}

/* The pragma does nothing inside a transaction; this does. */
void session_foreign_keys(session_t *self, bool on)
{
    config_set(self->db, SQLITE_DBCONFIG_ENABLE_FKEY, on);
}

void session_legacy_alter(session_t *self, bool on)
{
    trace(self, on ? "PRAGMA legacy_alter_table = ON" : "PRAGMA legacy_alter_table = OFF");
    config_set(self->db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, on);
}

static void settings_save(session_t *self)
{
    sqlite3 *db = self->db;
    self->was.foreign_keys = config_get(db, SQLITE_DBCONFIG_ENABLE_FKEY);
    self->was.dqs_ddl = config_get(db, SQLITE_DBCONFIG_DQS_DDL);
    self->was.dqs_dml = config_get(db, SQLITE_DBCONFIG_DQS_DML);
    self->was.legacy_alter = config_get(db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE);
    self->was.writable_schema = config_get(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA);
    if (session_number(self, "PRAGMA busy_timeout", &self->was.busy_ms))
        self->was.busy_ms = 0;
    if (session_number(self, "PRAGMA ignore_check_constraints", &self->was.ignore_checks))
        self->was.ignore_checks = 0;
}

static void settings_restore(session_t *self)
{
    sqlite3 *db = self->db;
    config_set(db, SQLITE_DBCONFIG_ENABLE_FKEY, self->was.foreign_keys);
    config_set(db, SQLITE_DBCONFIG_DQS_DDL, self->was.dqs_ddl);
    config_set(db, SQLITE_DBCONFIG_DQS_DML, self->was.dqs_dml);
    config_set(db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, self->was.legacy_alter);
    config_set(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, self->was.writable_schema);
    sqlite3_busy_timeout(db, (int)self->was.busy_ms);
    const char *checks = self->was.ignore_checks ? "PRAGMA ignore_check_constraints = ON"
                                                 : "PRAGMA ignore_check_constraints = OFF";
    sqlite3_exec(db, checks, NULL, NULL, NULL);
}

/* -- the transaction ---------------------------------------------------------------------- */

/* With a rollback journal the readers must be gone at the latest when the commit comes: they are
 * waited for now, not after an hour of copying. In WAL mode they may stay. */
err_t session_begin(session_t *out, sqlite3 *db, const migrate_options_t *options)
{
    session_t self = {.db = db, .options = options, .keys_on = true};
    if (!sqlite3_get_autocommit(db))
        return err_set(ERR_CONFLICT, "this connection is inside a transaction: a migration is one "
                                     "of its own");
    settings_save(&self);
    sqlite3_busy_timeout(db, (int)options->lock_timeout_ms);
    session_foreign_keys(&self, false);
    config_set(db, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 0);
    config_set(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0);
    session_quotes(&self, false);
    trace(&self, "PRAGMA foreign_keys = OFF");
    err_t err = session_run(&self, "BEGIN EXCLUSIVE");
    if (err) {
        settings_restore(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

err_t session_commit(session_t *self)
{
    err_t err = session_run(self, "COMMIT");
    if (err) {
        session_abort(self);
        return err;
    }
    settings_restore(self);
    return ERR_OK;
}

void session_abort(session_t *self)
{
    /* A full disk or a failed write may have rolled it back already. */
    if (!sqlite3_get_autocommit(self->db) &&
        sqlite3_exec(self->db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        log_error("migrate.rollback", "error=\"%s\"", sqlite3_errmsg(self->db));
    settings_restore(self);
}

err_t session_schema_open(session_t *self)
{
    return session_run(self, "PRAGMA writable_schema = ON");
}

err_t session_schema_close(session_t *self)
{
    int64_t version = 0, tables = 0;
    char sql[64];
    err_t err = session_run(self, "PRAGMA writable_schema = OFF");
    if (!err)
        err = session_number(self, "PRAGMA schema_version", &version);
    snprintf(sql, sizeof sql, "PRAGMA schema_version = %" PRId64, version + 1);
    if (!err)
        err = session_run(self, sql);
    return err ? err : session_number(self, "SELECT count(*) FROM sqlite_schema", &tables);
}

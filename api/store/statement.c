/* statement: taking, binding and running the statements of statements.def, and what SQLite's errors
 * mean here. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "api/store/internal.h"
#include "common/log.h"
#include "common/sqlite_err.h"

#define WRITE false
#define READ  true
static const statement_t statements[STATEMENTS_N] = {
#define STATEMENT(ID, SIDE, text) [STATEMENT_##ID] = {#ID, text, SIDE},
#define TWICE(ID, SQL)                                                                             \
    [STATEMENT_BATCH_##ID] = {"BATCH_" #ID, SQL("batch", "batch_id"), false},                      \
    [STATEMENT_FINALIZE_##ID] = {"FINALIZE_" #ID, SQL("finalize", "finalize_id"), false},
#include "api/store/statements.def"
#undef STATEMENT
#undef TWICE
};

const statement_t *sql_statement_at(int id)
{
    return &statements[id];
}

err_t sql_error(store_t *self, sqlite3 *db, const char *what)
{
    err_t code = sqlite_err(db);
    self->broken = self->broken || (db == self->writer && (code == ERR_IO || code == ERR_CORRUPT));
    if (db == self->writer && self->in_turn && sqlite3_get_autocommit(db)) {
        self->lost = true;
        self->lost_code = code;
    }
    int extended = sqlite3_extended_errcode(db), why = sqlite3_system_errno(db);
    const char *reason = why && (code == ERR_IO || code == ERR_FULL) ? strerror(why) : NULL;
    if ((extended & 0xff) == SQLITE_IOERR) { /* which call on which file, says the number */
        return err_set(code, "%s: %s (SQLite code %d%s%s)", what, sqlite3_errmsg(db), extended,
                       reason ? ", " : "", reason ? reason : "");
    }
    return err_set(code, reason ? "%s: %s (%s)" : "%s: %s", what, sqlite3_errmsg(db), reason);
}

err_t sql_execute(store_t *self, sqlite3 *db, const char *sql)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? ERR_OK : sql_error(self, db, "the database");
}

err_t sql_query(store_t *self, statement_id_t id, sqlite3_stmt **out)
{
    sqlite3 *db = statements[id].reads ? self->reader : self->writer;
    if (!statements[id].reads) {
        if (self->lost)
            return err_set(self->lost_code, "the turn was rolled back by a failed write");
        if (self->owed.job && id != STATEMENT_JOB_COUNT) {
            err_t err = store_owed_flush(self);
            if (err)
                return err;
        }
    }
    if (!self->cached[id] &&
        sqlite3_prepare_v3(db, statements[id].sql, -1, SQLITE_PREPARE_PERSISTENT, &self->cached[id],
                           NULL) != SQLITE_OK)
        return sql_error(self, db, statements[id].name);
    /* Outside a turn a write would be a commit of its own: our mistake. */
    INVARIANT(self->in_turn || id == STATEMENT_BEGIN || sqlite3_stmt_readonly(self->cached[id]));
    *out = self->cached[id];
    return ERR_OK;
}

void sql_finish(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

err_t sql_next(store_t *self, sqlite3_stmt *statement, bool *row)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *row = true;
        return ERR_OK;
    }
    err_t err = ERR_OK;
    if (code == SQLITE_DONE)
        *row = false;
    else
        err = sql_error(self, sqlite3_db_handle(statement), "the store");
    sql_finish(statement);
    return err;
}

err_t sql_run(store_t *self, sqlite3_stmt *statement)
{
    bool row = true;
    err_t err = ERR_OK;
    while (!err && row)
        err = sql_next(self, statement, &row);
    return err;
}

err_t sql_run_guarded(store_t *self, sqlite3_stmt *statement, const char *what)
{
    err_t err = sql_run(self, statement);
    if (!err && sqlite3_changes(self->writer) == 0)
        err = err_set(ERR_STALE, "%s: it is not in that state any more", what);
    return err;
}

statement_id_t sql_twin(statement_id_t batch_statement, const batch_row_t *row)
{
    return row->is_finalize ? (statement_id_t)(batch_statement + 1) : batch_statement;
}

/* Binding fails only for a wrong number or without memory: neither is the world's fault. */
void sql_bind_u64(sqlite3_stmt *statement, int i, uint64_t value)
{
    INVARIANT(value <= INT64_MAX);
    sql_bind_i64(statement, i, (int64_t)value);
}

void sql_bind_i64(sqlite3_stmt *statement, int i, int64_t value)
{
    int code = sqlite3_bind_int64(statement, i, value);
    INVARIANT(code == SQLITE_OK);
}

void sql_bind_text(sqlite3_stmt *statement, int i, const char *text)
{
    int code = sqlite3_bind_text(statement, i, text, -1, SQLITE_STATIC);
    INVARIANT(code == SQLITE_OK);
}

void sql_bind_bytes(sqlite3_stmt *statement, int i, const void *data, size_t n)
{
    if (!data)
        return;
    INVARIANT(n <= INT_MAX);
    int code = n ? sqlite3_bind_blob(statement, i, data, (int)n, SQLITE_STATIC)
                 : sqlite3_bind_zeroblob(statement, i, 0);
    INVARIANT(code == SQLITE_OK);
}

uint64_t sql_u64(sqlite3_stmt *statement, int i)
{
    return (uint64_t)sqlite3_column_int64(statement, i);
}

uint32_t sql_u32(sqlite3_stmt *statement, int i)
{
    return (uint32_t)sqlite3_column_int64(statement, i);
}

const char *sql_text(sqlite3_stmt *statement, int i)
{
    const unsigned char *text = sqlite3_column_text(statement, i);
    if (!text && sqlite3_errcode(sqlite3_db_handle(statement)) == SQLITE_NOMEM)
        mem_exhausted(0); /* a text that is there must not pass for none */
    return text ? (const char *)text : "";
}

void sql_copy(sqlite3_stmt *statement, int i, char *out, size_t size)
{
    snprintf(out, size, "%s", sql_text(statement, i));
}

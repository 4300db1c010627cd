/* session: one connection while it is being migrated: its settings, its transaction, its SQL.
 *
 * Lives here: taking the lock, every pragma that has to be different meanwhile and the restoring of
 * what it was, running SQL and telling the tracer. Not here: what is run (engine and its rooms).
 * A session is one transaction: between session_begin and session_commit or session_abort. */
#ifndef STINT_MIGRATE_SESSION_H
#define STINT_MIGRATE_SESSION_H

#include <sqlite3.h>

#include "schema/migrate/arena.h"
#include "schema/migrate/migrate.h"

typedef struct {
    sqlite3 *db;
    const migrate_options_t *options;
    bool legacy_quotes; /* an object of this database needs "text" to mean 'text' */
    bool keys_on;       /* the script's own INSERT, UPDATE, DELETE obey foreign keys */
    err_t failure;      /* a try failed for the machine's sake, not for what was tried */
    struct {
        int foreign_keys, dqs_ddl, dqs_dml, legacy_alter, writable_schema;
        int64_t busy_ms, ignore_checks;
    } was;
} session_t;

/* ERR_CONFLICT: the connection is inside a transaction already. ERR_BUSY after the lock timeout.
 * ERR_IO: read-only. On an error everything is as before. */
CHECKED err_t session_begin(session_t *out, sqlite3 *db, const migrate_options_t *options);
/* Both end the transaction and restore the connection's settings, the commit also when it fails
 * (then it has rolled back). */
CHECKED err_t session_commit(session_t *self);
void session_abort(session_t *self);

/* Run SQL that changes something: the tracer sees it. */
CHECKED err_t session_run(session_t *self, const char *sql);
/* Ask: one row's first column; 0 and NULL if there is no row. Texts are the arena's. */
CHECKED err_t session_number(session_t *self, const char *sql, int64_t *out);
CHECKED err_t session_text(session_t *self, arena_t *arena, const char *sql, char **out);
CHECKED err_t session_prepare(session_t *self, const char *sql, sqlite3_stmt **out);
/* One row more? On an error or at the end the statement is finalized and NULL. */
CHECKED err_t session_next(session_t *self, sqlite3_stmt **statement, bool *row);
/* The text of a column in the arena; NULL for NULL. */
char *session_column(arena_t *arena, sqlite3_stmt *statement, int column);
/* Would SQLite compile it? Then NULL, else its sentence. */
char *session_compile(session_t *self, arena_t *arena, const char *sql);
/* Behind a try that failed: was it full, broken or out of memory? Then session_failure says so. */
void session_note_failure(session_t *self);
CHECKED err_t session_failure(const session_t *self);
err_t session_error(session_t *self);
/* SQLite's words with a name of ours replaced by the one that people know. */
char *session_words(arena_t *arena, const char *said, const char *ours, const char *theirs);

/* Do double quotes around what is no name mean text? In definitions and in statements. */
void session_quotes(session_t *self, bool text);
void session_foreign_keys(session_t *self, bool on);
void session_legacy_alter(session_t *self, bool on);
/* Statements that edit sqlite_schema between these two; the second makes everybody read the schema
 * again, this connection too, and fails if it cannot be read. */
CHECKED err_t session_schema_open(session_t *self);
CHECKED err_t session_schema_close(session_t *self);

#endif

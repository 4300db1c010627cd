/* migrate: standard ALTER TABLE on SQLite, whole scripts in one transaction, and their history.
 *
 * The public face of schema/migrate: what stint-migrate, stint-api and the tests call.
 * docs/migrations.md is the manual: the dialect, what is kept, what is refused.
 *
 * A change is made true natively where SQLite can do that faithfully (RENAME, a plain ADD COLUMN),
 * by an edit of the stored CREATE TABLE text where the stored rows stay as they are, else by the
 * rebuild of https://www.sqlite.org/lang_altertable.html#otheralter. The settings of the connection
 * are the same after every call, whatever its outcome (but it has no authorizer then, and what a
 * script sets by other PRAGMAs stays set). Scripts are below 1 GiB. */
#ifndef STINT_MIGRATE_MIGRATE_H
#define STINT_MIGRATE_MIGRATE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

typedef struct {
    const char *table;
    int64_t rows_done, rows_total; /* total 0: not known */
    int64_t elapsed_ms;
} migrate_progress_t;

typedef struct {
    int64_t lock_timeout_ms; /* how long to wait for another writer */
    int64_t wall_at;         /* now, for the records; 0: ask the clock */
    bool rebuild;            /* always by a rebuild, never by an edit of the stored text */
    void (*trace)(void *context, const char *sql);       /* each statement that changes something */
    void (*notice)(void *context, const char *sentence); /* worth knowing, and no error */
    /* While rows are copied, about four times a second; counting them first costs a scan. */
    void (*progress)(void *context, const migrate_progress_t *progress);
    void *context;
} migrate_options_t;

/* Run a script of n bytes: all of it or, on an error, nothing. `where` names it in messages
 * ("FILE"), lines are counted from `first_line`. Refused: a connection inside a transaction
 * (ERR_CONFLICT); what the rows or other objects do not allow, with how many, where and what to do
 * (ERR_INVALID); a lock that is not given up in time (ERR_BUSY); ERR_FULL, ERR_IO. */
CHECKED err_t migrate_script(sqlite3 *db, const char *text, size_t n, const char *where,
                             int first_line, const migrate_options_t *options);

#endif

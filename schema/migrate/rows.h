/* rows: asking the stored rows whether they bear a change, and saying which do not.
 *
 * Lives here: the queries behind each need of a change and their sentences: how many rows, the
 * first of them, what to do. What a change of type does to values is values.c; foreign keys are in
 * keys. */
#ifndef STINT_MIGRATE_ROWS_H
#define STINT_MIGRATE_ROWS_H

#include "schema/migrate/change.h"
#include "schema/migrate/session.h"

/* Where the rows are asked: a table or "(SELECT …)" that has the columns of change->now. */
typedef struct {
    session_t *session;
    arena_t *arena;
    const change_t *change;
    const char *table;    /* its name, for messages */
    const char *relation; /* SQL */
    const char *label;    /* SQL that says which row it is: 'rowid 5' */
} rows_t;

/* The stored table `name` itself, without or with what the change will fill in. */
rows_t rows_stored(session_t *session, arena_t *arena, const change_t *change, const char *name);
rows_t rows_to_be(session_t *session, arena_t *arena, const change_t *change, const char *name);
/* SQL that says which row of a table it is: 'rowid 5', or 'key …' of a table without. */
char *rows_label(arena_t *arena, const table_text_t *table);

typedef struct {
    int64_t n;
    char *shown; /* " (rowid 1, rowid 2, …)" or "" */
} offenders_t;
/* The rows for which `condition` holds. `detail` is SQL that is shown behind the label, or NULL. */
CHECKED err_t rows_find(const rows_t *self, const char *condition, const char *detail,
                        offenders_t *out);

/* ERR_INVALID with the sentence. NEED_PARENT, NEED_DEFAULT and NEED_LOSSLESS are not asked here. */
CHECKED err_t rows_check(const rows_t *self, const need_t *need);
/* A query for the rows that break this CHECK: SQLite compiles it if the condition makes sense. */
char *rows_check_sql(const rows_t *self, const part_t *part);
/* ERR_INVALID: a column of the new primary key has NULL. SQLite itself would give such rows a
 * number of its own. */
CHECKED err_t rows_check_key_nulls(const rows_t *self, const part_t *part);
/* ERR_INVALID: the first constraint of the new table, old or new, that the rows do not meet. */
CHECKED err_t rows_explain(const rows_t *self);
/* ERR_INVALID: the rows that share a value of this CREATE UNIQUE INDEX statement. */
CHECKED err_t rows_explain_index(session_t *session, arena_t *arena, const char *sql);
/* How many rows show `marker` in this column: they do not have it stored, and its default is that.
 */
CHECKED err_t rows_showing(session_t *session, arena_t *arena, const char *table,
                           const char *column, const char *marker, int64_t *out);

/* -- values.c */
/* ERR_INVALID: values of a column whose type changes would not come out as they went in. */
CHECKED err_t rows_lossless(const rows_t *self, int column);
/* ERR_INVALID: values that the type of a STRICT table, or a rowid, cannot be. */
CHECKED err_t rows_fit(const rows_t *self, int column, const char *type, const char *what);

#endif

/* change: what the actions of one ALTER TABLE make of a stored CREATE TABLE, and what the rows must
 * be asked before it is true.
 *
 * Lives here: the new text, where each column's values come from, whether the stored rows stay as
 * they are, and the list of needs. Pure. Not here: asking the rows (rows), doing it (in_place,
 * rebuild), what other objects depend on (objects).
 * Actions are taken as PostgreSQL takes them: constraints are dropped first, then columns, then the
 * rest in the order written. */
#ifndef STINT_MIGRATE_CHANGE_H
#define STINT_MIGRATE_CHANGE_H

#include "schema/migrate/rename.h"

typedef struct {
    const char *name;
    const char *old;   /* its name in the stored table; NULL: a new column */
    const char *using; /* the expression that fills it; NULL: the old value, or the default */
    const char *fill;  /* of a new column the default that ADD gave it, as an expression */
} mapping_t;

typedef enum {
    NEED_EMPTY,    /* a new NOT NULL column without a default: no rows may be there */
    NEED_NOT_NULL, /* `column` has no NULL */
    NEED_CHECK,    /* `part` holds in every row */
    NEED_KEY,      /* UNIQUE or PRIMARY KEY `part` has no row twice */
    NEED_PARENT,   /* every row has its parent by foreign key `part` */
    NEED_DEFAULT,  /* no row relies on the default of `column` that changes */
    NEED_LOSSLESS  /* the values of `column` survive the change of its type */
} need_kind_t;

typedef struct {
    need_kind_t kind;
    int column;         /* of change.now; -1 if it is not about one */
    const part_t *part; /* in change.now, NULL if it is not about one */
} need_t;

typedef struct {
    table_text_t old, now; /* both with the working names of `renames` */
    const char *text;      /* of now */
    mapping_t *columns;    /* one for each of now.columns */
    const char **dropped;  /* columns of old that go */
    int dropped_n;
    bool keys_change;        /* PRIMARY KEY or UNIQUE: the indexes behind them have other numbers */
    bool compares_otherwise; /* a column of old has another collation, or is computed otherwise */
    const char *rebuild;     /* why the rows must be written anew; NULL: they stay as they are */
    need_t *needs;
    int needs_n;
} change_t;

/* `sql` is the stored text. ERR_INVALID says what cannot be. */
CHECKED err_t change_make(arena_t *arena, const char *sql, const alter_t *alter,
                          const renames_t *renames, change_t *out);
/* Is nothing to be done? */
bool change_is_nothing(const change_t *self);
/* Is it a value that an added column can have without writing the rows anew? */
bool default_is_constant(const tokens_t *tokens, const part_t *part);
/* Did the old text have a CHECK of these words? */
bool change_had_check(arena_t *arena, const change_t *self, const part_t *part);
/* A constraint as a person would name it: "ck_ab" or "CHECK (a < b)". */
char *part_words(arena_t *arena, const tokens_t *tokens, const part_t *part);
/* Columns that an expression of this table names; by their index, *n of them. */
int *columns_named(arena_t *arena, const table_text_t *table, const tokens_t *tokens, int from,
                   int to, int *n);
/* ERR_INVALID: "t has no column x; it has a, b". */
err_t no_column(arena_t *arena, const table_text_t *table, const char *name);

#endif

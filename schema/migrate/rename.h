/* rename: which columns of a table change their names in one ALTER TABLE, in what steps, and what a
 * name means in each of its actions.
 *
 * Every column has one working name while the other actions are carried out: its stored name, or
 * the one ADD gives it (or, while that is still another column's, one of ours). The renames are the
 * last steps, and SQLite's own: its RENAME COLUMN follows the references in indexes, views,
 * triggers and other tables. Pure. */
#ifndef STINT_MIGRATE_RENAME_H
#define STINT_MIGRATE_RENAME_H

#include "schema/migrate/alter.h"

typedef struct {
    int action;
    const char *target;
    bool bare; /* written without quotes */
} renaming_t;

typedef struct {
    const char *written; /* in the stored text, or by ADD */
    const char *working;
    int born;            /* the action that adds it; -1: stored */
    renaming_t *renames; /* in the order of their actions */
    int renames_n;
    bool dropped;
    int dropped_by; /* the action, if it is dropped */
} named_t;

typedef struct {
    const char *from, *to;
    bool bare; /* `to` was written without quotes */
} rename_step_t;

typedef struct {
    const char *table;
    named_t *items; /* the stored columns, then the added ones */
    int n;
    rename_step_t *steps;
    int steps_n;
} renames_t;

/* ERR_INVALID: a name would stand twice. Renames of one statement are simultaneous: two columns may
 * swap; a name may be taken over from a column that is dropped or renamed. */
CHECKED err_t renames_plan(arena_t *arena, const table_text_t *table, const alter_t *alter,
                           renames_t *out);
/* The working name of the column that `name` means in action number `action`; the name itself if it
 * is no column's. */
const char *renames_resolve(const renames_t *self, const char *name, int action);
/* The working name of the column that action number `action` drops; NULL if it drops none. */
const char *renames_dropped(const renames_t *self, int action);
/* The column that action number `action` renames or adds; NULL if it does neither. */
const named_t *renames_of(const renames_t *self, int action);
/* Does a name mean something else in action number `action` than in the stored text? */
bool renames_before(const renames_t *self, int action);

/* Where in an action's text columns are named. */
typedef struct {
    int from, to;
    bool list; /* of names (and their order and collation); else an expression */
} naming_t;

/* Tokens [from, to) of an action's text, with working names at these places. */
char *renames_words(arena_t *arena, const renames_t *self, const tokens_t *tokens, int from, int to,
                    int action, const naming_t *places, int places_n);

#endif

/* rename: which columns of a table change their names in one ALTER TABLE, and in what steps.
 *
 * Lives here: the plan (names may be swapped, or taken over from a column that is dropped) and what
 * a name in each action means. Pure. SQLite itself carries the steps out: its RENAME COLUMN follows
 * the references in indexes, views, triggers and other tables. */
#ifndef STINT_MIGRATE_RENAME_H
#define STINT_MIGRATE_RENAME_H

#include "schema/migrate/alter.h"

typedef struct {
    const char *from, *to;
} rename_step_t;

typedef struct {
    const table_text_t *table; /* as stored */
    int *action;               /* of each column the action that renames it, -1: none does */
    const char **target;       /* the name that action gives it */
    const char **last;         /* its name behind all steps */
    rename_step_t *steps;
    int steps_n;
} renames_t;

/* `table` must live as long as `out`. ERR_INVALID: a name would stand twice. */
CHECKED err_t renames_plan(arena_t *arena, const table_text_t *table, const alter_t *alter,
                           renames_t *out);
/* The column that `name` means in action number `action`, by the name it has behind all steps; the
 * name itself if it is no stored column's. */
const char *renames_resolve(const renames_t *self, const char *name, int action);
/* Tokens [from, to) of an action's text, with the names of columns as they are behind all steps. */
char *renames_apply(arena_t *arena, const renames_t *self, const tokens_t *tokens, int from, int to,
                    int action);
/* The name before all steps, for messages. */
const char *renames_original(const renames_t *self, const char *name);

#endif

/* change_inside: what the two rooms of change share: change.c (columns, order of events) and
 * change_constraints.c. Nobody else includes it. */
#ifndef STINT_MIGRATE_CHANGE_INSIDE_H
#define STINT_MIGRATE_CHANGE_INSIDE_H

#include "schema/migrate/change.h"

typedef struct {
    arena_t *arena;
    const alter_t *alter;
    const renames_t *renames;
    change_t *out;
    bool *done; /* of each action */
    int action; /* the one at work */
    bool rebuild;
} maker_t;

/* A part, and the column it stands in (-1: of the table). */
typedef struct {
    const part_t *part;
    int column;
} part_place_t;

typedef bool (*part_match_t)(const maker_t *self, const part_t *part, const action_t *action);

/* The text becomes this one, and is read again. */
CHECKED err_t change_put_text(maker_t *self, char *text);
/* By the name it has in the action at work; -1 if there is none. */
int change_column_index(const maker_t *self, const char *name);
CHECKED err_t change_find_column(const maker_t *self, const char *name, int *out);
/* An expression of the action at work, with the working names of columns. */
char *change_expression(const maker_t *self, int from, int to);
/* The column or constraint that the action at work adds, in the same way. */
char *change_definition(const maker_t *self, const action_t *action);
/* Does this statement drop the column, here or further on? */
bool change_is_going(const maker_t *self, const char *column_name);

/* Constraints on this column alone fall with it; ERR_INVALID names one that has others too. */
CHECKED err_t change_drop_own_constraints(maker_t *self, const char *column_name);
bool change_same_name(const maker_t *self, const part_t *part, const action_t *action);
bool change_same_thing(const maker_t *self, const part_t *part, const action_t *action);
/* How many there are, and the first. */
int change_find_parts(const maker_t *self, part_match_t match, const action_t *action,
                      part_place_t *first);
CHECKED err_t change_drop_constraint(maker_t *self, const action_t *action);
CHECKED err_t change_rename_constraint(maker_t *self, const action_t *action);
CHECKED err_t change_add_constraint(maker_t *self, const action_t *action);

#endif

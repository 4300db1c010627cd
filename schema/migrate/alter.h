/* alter: one ALTER TABLE statement of the standard dialect, as a list of actions.
 *
 * Lives here: the grammar that PostgreSQL users know, and what of it is refused with a sentence.
 * Pure. Not here: what an action does to a table's text (edit) or its rows. */
#ifndef STINT_MIGRATE_ALTER_H
#define STINT_MIGRATE_ALTER_H

#include "schema/migrate/table_text.h"

typedef enum {
    ACTION_ADD_COLUMN,
    ACTION_DROP_COLUMN,
    ACTION_SET_TYPE,
    ACTION_SET_DEFAULT,
    ACTION_DROP_DEFAULT,
    ACTION_SET_NOT_NULL,
    ACTION_DROP_NOT_NULL,
    ACTION_RENAME_COLUMN,
    ACTION_RENAME_TABLE,
    ACTION_RENAME_CONSTRAINT,
    ACTION_ADD_CONSTRAINT,
    ACTION_DROP_CONSTRAINT, /* by name */
    ACTION_DROP_PART,       /* by what it is: kind and columns, or expression */
    ACTION_REBUILD
} action_kind_t;

typedef enum { PLACE_LAST, PLACE_FIRST, PLACE_AFTER, PLACE_BEFORE } place_t;

typedef struct {
    action_kind_t kind;
    bool lenient;   /* IF EXISTS, IF NOT EXISTS */
    char *name;     /* the column, constraint or table it is about */
    char *new_name; /* RENAME */
    bool new_bare;  /* written without quotes */
    int from,
        to; /* tokens of ADD's definition, of SET DEFAULT's value, of DROP CHECK's expression */
    place_t place;            /* ADD COLUMN */
    char *neighbour;          /* of PLACE_AFTER and PLACE_BEFORE */
    column_t column;          /* ADD COLUMN */
    part_t part;              /* ADD CONSTRAINT; of DROP_PART kind, columns and parent */
    char *type;               /* SET_TYPE */
    char *collation;          /* SET_TYPE, NULL: as it was */
    int using_from, using_to; /* SET_TYPE; equal: none */
} action_t;

typedef struct {
    tokens_t tokens;
    char *table;
    bool lenient; /* IF EXISTS */
    action_t *actions;
    int actions_n;
} alter_t;

/* Is this statement an ALTER TABLE? */
bool alter_is(const tokens_t *tokens);
/* ERR_INVALID says near which token it is not understood. `tokens` must live as long as `out`. */
CHECKED err_t alter_read(arena_t *arena, const tokens_t *tokens, alter_t *out);

#endif

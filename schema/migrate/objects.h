/* objects: what else stands in the schema, and whether a change would break it.
 *
 * Lives here: reading sqlite_schema, asking SQLite to compile every view and trigger before and
 * behind a change, and who needs a column that goes: indexes, triggers, views (SQLite's authorizer
 * tells what they read; the connection has none afterwards), virtual tables that name a table. Not
 * here: foreign keys (keys), rows (rows). */
#ifndef STINT_MIGRATE_OBJECTS_H
#define STINT_MIGRATE_OBJECTS_H

#include "schema/migrate/change.h"
#include "schema/migrate/session.h"

typedef struct {
    int64_t rowid;                   /* in sqlite_schema */
    char *type, *name, *table, *sql; /* sql NULL: the index of a constraint */
} object_t;

typedef struct {
    object_t *items;
    int n;
} objects_t;

/* In the order of sqlite_schema. */
CHECKED err_t objects_read(session_t *session, arena_t *arena, objects_t *out);
/* NULL if there is none. Tables, views, indexes and triggers share one list of names. */
const object_t *objects_find(const objects_t *self, const char *name);
/* A name nobody has. */
char *objects_free_name(arena_t *arena, const objects_t *self, const char *prefix);
bool object_is(const object_t *self, const char *type);
bool object_is_virtual(arena_t *arena, const object_t *self);

/* What SQLite says to a view or trigger. */
typedef struct {
    const object_t *object;
    char *strict; /* NULL: fine. With "text" taken for a name, as the standard has it */
    char *loose;  /* NULL: fine. With "text" for text where no such name is */
} health_t;

typedef struct {
    objects_t objects;
    health_t *items;
    int n;
} checkup_t;

CHECKED err_t checkup_make(session_t *session, arena_t *arena, checkup_t *out);
/* Does a view or trigger rely on "text" in double quotes? */
bool checkup_needs_quotes(const checkup_t *self);
/* ERR_INVALID names the first view or trigger that was fine `before` and is not now. `change` (NULL
 * without) tells which columns went. */
CHECKED err_t checkup_compare(session_t *session, arena_t *arena, const checkup_t *before,
                              const change_t *change);
/* ERR_INVALID names the index, view, trigger or virtual table that still needs a column which
 * change->dropped has; asked before the change. */
CHECKED err_t checkup_need(session_t *session, arena_t *arena, const checkup_t *before,
                           const change_t *change);
/* ERR_INVALID: a virtual table names `table` (and `column`, if that is not NULL) in its arguments,
 * as FTS5's content=: it would not follow a rename. */
CHECKED err_t objects_virtual_need(arena_t *arena, const objects_t *objects, const char *table,
                                   const char *column);

#endif

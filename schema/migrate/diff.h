/* diff: what differs between the schemas of two databases, as lines a person can read.
 *
 * White space, comments, quotes around names and the case of words make no difference. Not
 * compared: rows, SQLite's own tables, schema_migrations. */
#ifndef STINT_MIGRATE_DIFF_H
#define STINT_MIGRATE_DIFF_H

#include "schema/migrate/arena.h"
#include "schema/migrate/migrate.h"

typedef struct {
    const char *type, *name; /* of the object */
    char sign;               /* '-' only in the first, '+' only in the second */
    char *what;              /* the object, or a piece of a table: "column b INTEGER" */
} difference_t;

typedef struct {
    difference_t *items;
    int n;
} differences_t;

CHECKED err_t schema_diff(sqlite3 *first, sqlite3 *second, arena_t *arena, differences_t *out);

#endif

/* keys: foreign keys: which there are, whether each has a parent that can be one, and which rows
 * have none.
 *
 * PRAGMA foreign_key_check does not see a parent that is missing while the child is empty: whether
 * a key can be kept at all is decided here. Rules: https://www.sqlite.org/foreignkeys.html */
#ifndef STINT_MIGRATE_KEYS_H
#define STINT_MIGRATE_KEYS_H

#include "schema/migrate/objects.h"

typedef struct {
    char *table, *parent;
    int id; /* as in PRAGMA foreign_key_list */
    char **from, **to;
    int n; /* columns; `to` is NULL in each when the parent's primary key is meant: */
    char **implied;
    char *problem; /* NULL: it has a parent key */
} foreign_key_t;

typedef struct {
    foreign_key_t *items;
    int n;
} keys_t;

/* Every foreign key of the database. */
CHECKED err_t keys_read(session_t *session, arena_t *arena, const objects_t *objects, keys_t *out);
/* ERR_INVALID: a key without a parent now has one in `before`: it was taken from it. */
CHECKED err_t keys_compare(const keys_t *before, const keys_t *now);
/* Those of `from` that have a parent join those of `self`, unless they are there. */
void keys_collect(arena_t *arena, keys_t *self, const keys_t *from);
/* The key of `table` made by this constraint; NULL if there is none. */
const foreign_key_t *keys_find(const keys_t *self, const char *table, const part_t *part);
/* ERR_INVALID if it has a problem, or rows without a parent: how many, and the first of them. */
CHECKED err_t key_rows_check(session_t *session, arena_t *arena, const foreign_key_t *key);

/* Rows without a parent, table by table: counted before statements that nobody else watches over,
 * and behind. */
typedef struct {
    const char *table;
    int64_t violations_n; /* -1: a key of it has no parent key, nothing can be counted */
} watch_t;

typedef struct {
    watch_t *items; /* every table with foreign keys */
    int n;
    bool on;
} watches_t;

/* Count now, if that was not done before. */
CHECKED err_t watches_begin(session_t *session, arena_t *arena, watches_t *self,
                            const keys_t *keys);
/* ERR_INVALID: there are more of them than when it began. */
CHECKED err_t watches_check(session_t *session, arena_t *arena, const watches_t *self,
                            const keys_t *keys);

#endif

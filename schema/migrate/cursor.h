/* cursor: reading tokens one after the other; what the two parsers (table_text, alter) share. */
#ifndef STINT_MIGRATE_CURSOR_H
#define STINT_MIGRATE_CURSOR_H

#include "common/err.h"
#include "schema/migrate/token.h"

typedef struct {
    arena_t *arena;
    const tokens_t *tokens;
    int i, end; /* where it reads, and behind what it may */
} cursor_t;

/* ERR_INVALID: near "x": expected this. */
err_t cursor_near(const cursor_t *self, const char *expected);
bool cursor_at(const cursor_t *self, const char *word);
bool cursor_at_sign(const cursor_t *self, char sign);
bool cursor_at_name(const cursor_t *self);
/* True: it was there, and the cursor is behind it. */
bool cursor_take(cursor_t *self, const char *word);
bool cursor_take_two(cursor_t *self, const char *first, const char *second);
CHECKED err_t cursor_take_name(cursor_t *self, const char *what, char **out);
/* The parenthesis that opens here: the cursor is behind its closing one, *from and *to are the
 * tokens inside. */
CHECKED err_t cursor_take_parentheses(cursor_t *self, const char *what, int *from, int *to);

#endif

/* script: a file of SQL cut into statements, and a migration file into its two halves.
 *
 * Lives here: where a statement ends (a trigger has semicolons inside), which line it is on, and
 * the lines "-- migrate:up" and "-- migrate:down". Pure. */
#ifndef STINT_MIGRATE_SCRIPT_H
#define STINT_MIGRATE_SCRIPT_H

#include "common/err.h"
#include "schema/migrate/token.h"

typedef struct {
    arena_t *arena;
    tokens_t tokens;   /* of the whole script */
    int next;          /* token */
    int line, line_at; /* the line of byte line_at */
} script_t;

typedef struct {
    char *text;      /* from its first token to its semicolon, which is left out */
    tokens_t tokens; /* of text */
    int line;
} script_statement_t;

/* `text` must live as long as the script. */
script_t script_open(arena_t *arena, const char *text, size_t n, int first_line);
/* False at the end. Empty statements are passed over. */
bool script_next(script_t *self, script_statement_t *out);

typedef struct {
    const char *up, *down; /* in the file's text; down NULL: the file has none */
    size_t up_n, down_n;
    int up_line, down_line; /* the first line of each, from 1 */
} migration_text_t;

/* ERR_INVALID: the lines are missing, repeated, in the wrong order or have an option this does not
 * know; SQL stands before "-- migrate:up". */
CHECKED err_t migration_text_read(const char *text, size_t n, migration_text_t *out);

#endif

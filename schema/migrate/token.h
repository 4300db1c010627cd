/* token: SQL text as SQLite's own scanner cuts it.
 *
 * Lives here: the tokens of a text, what a name is without its quotes, how a name is written with
 * them. Pure; works on any bytes. Not here: what tokens mean (table_text, alter, script).
 * Rules: https://www.sqlite.org/lang_keywords.html and src/tokenize.c of SQLite. */
#ifndef STINT_MIGRATE_TOKEN_H
#define STINT_MIGRATE_TOKEN_H

#include <stdbool.h>

#include "common/buffer.h"
#include "schema/migrate/arena.h"

typedef enum {
    TOKEN_END,
    TOKEN_WORD,   /* keyword or bare name */
    TOKEN_QUOTED, /* "name", [name] or `name` */
    TOKEN_STRING, /* 'text'; SQLite takes it for a name where one must stand */
    TOKEN_NUMBER,
    TOKEN_BLOB,
    TOKEN_VARIABLE,
    TOKEN_SIGN, /* operator or punctuation */
    TOKEN_BAD   /* a byte no token begins with, or a quote that is not closed */
} token_kind_t;

typedef struct {
    token_kind_t kind;
    int at, n; /* bytes of the text */
} token_t;

typedef struct {
    const char *text; /* borrowed */
    token_t *items;   /* items[n] is TOKEN_END at the text's end */
    int n;
} tokens_t;

/* White space and comments are left out. The text may hold any bytes; n below 2^30. */
tokens_t tokens_read(arena_t *arena, const char *text, size_t n);
/* A keyword, whatever the case of its letters. Past the end nothing is anything. */
bool token_is(const tokens_t *self, int i, const char *word);
bool token_is_sign(const tokens_t *self, int i, char sign);
/* Can it stand for a name? */
bool token_is_name(const tokens_t *self, int i);
/* The name without quotes. */
char *token_name(arena_t *arena, const tokens_t *self, int i);
/* Bytes from the beginning of token `from` to the end of token `to - 1`. */
char *tokens_slice(arena_t *arena, const tokens_t *self, int from, int to);
int token_start(const tokens_t *self, int i);
int token_stop(const tokens_t *self, int i);
/* The index behind the parenthesis that closes the one at `i`; -1 if none does. */
int tokens_close(const tokens_t *self, int i, int end);
/* One text for all texts that differ in white space, comments, quotes of names and the case of
 * words only: for comparing. */
char *tokens_normal(arena_t *arena, const tokens_t *self, int from, int to);

/* Names are compared without regard to the case of ASCII letters. */
bool name_equal(const char *a, const char *b);
/* The only way a name gets into SQL: "in double quotes", quotes inside doubled. */
char *name_quoted(arena_t *arena, const char *name);
/* A text as an SQL literal: 'in single quotes'. */
char *text_quoted(arena_t *arena, const char *text);

#endif

#include "schema/migrate/script.h"

#include <string.h>

script_t script_open(arena_t *arena, const char *text, size_t n, int first_line)
{
    return (script_t){.arena = arena, .tokens = tokens_read(arena, text, n), .line = first_line};
}

static bool is_trigger(const tokens_t *tokens, int i)
{
    if (token_is(tokens, i, "EXPLAIN"))
        i += token_is(tokens, i + 1, "QUERY") ? 3 : 1;
    if (!token_is(tokens, i, "CREATE"))
        return false;
    i++;
    i += token_is(tokens, i, "TEMP") || token_is(tokens, i, "TEMPORARY");
    return token_is(tokens, i, "TRIGGER");
}

/* The semicolon that ends the statement, or the end. A trigger ends with "; END ;": an END behind
 * anything but a semicolon closes a CASE. */
static int statement_end(const tokens_t *tokens, int i)
{
    bool trigger = is_trigger(tokens, i);
    for (int from = i; i < tokens->n; i++) {
        if (!token_is_sign(tokens, i, ';'))
            continue;
        if (!trigger ||
            (i - from >= 2 && token_is(tokens, i - 1, "END") && token_is_sign(tokens, i - 2, ';')))
            return i;
    }
    return i;
}

static int line_of(script_t *self, int at)
{
    for (; self->line_at < at; self->line_at++)
        self->line += self->tokens.text[self->line_at] == '\n';
    return self->line;
}

bool script_next(script_t *self, script_statement_t *out)
{
    while (token_is_sign(&self->tokens, self->next, ';'))
        self->next++;
    if (self->next >= self->tokens.n)
        return false;
    int end = statement_end(&self->tokens, self->next);
    out->line = line_of(self, token_start(&self->tokens, self->next));
    out->text = tokens_slice(self->arena, &self->tokens, self->next, end);
    out->tokens = tokens_read(self->arena, out->text, strlen(out->text));
    self->next = end + 1;
    return true;
}

/* -- a migration file --------------------------------------------------------------------- */

static bool starts(const char *line, size_t n, const char *mark)
{
    size_t mark_n = strlen(mark);
    return n >= mark_n && memcmp(line, mark, mark_n) == 0;
}

/* Nothing but the mark, and white space behind it. */
static err_t check_mark(const char *line, size_t n, const char *mark, int at)
{
    for (size_t i = strlen(mark); i < n; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return err_set(ERR_INVALID,
                           "line %d: \"%s\" takes no options here: every migration is one "
                           "transaction",
                           at, mark);
    return ERR_OK;
}

static bool is_comment(const char *line, size_t n)
{
    size_t i = 0;
    while (i < n && strchr(" \t\r", line[i]))
        i++;
    return i == n || starts(line + i, n - i, "--");
}

static err_t take_line(migration_text_t *self, const char *line, size_t n, const char *next, int at)
{
    static const char up[] = "-- migrate:up", down[] = "-- migrate:down";
    if (starts(line, n, up)) {
        if (self->up)
            return err_set(ERR_INVALID, "line %d: a second \"%s\"", at, up);
        self->up = next;
        self->up_line = at + 1;
        return check_mark(line, n, up, at);
    }
    if (starts(line, n, down)) {
        if (!self->up || self->down)
            return err_set(ERR_INVALID, "line %d: \"%s\" %s", at, down,
                           self->up ? "for the second time" : "before \"-- migrate:up\"");
        self->up_n = (size_t)(line - self->up);
        self->down = next;
        self->down_line = at + 1;
        return check_mark(line, n, down, at);
    }
    if (starts(line, n, "-- migrate:"))
        return err_set(ERR_INVALID, "line %d: expected \"%s\" or \"%s\"", at, up, down);
    return self->up || is_comment(line, n)
               ? ERR_OK
               : err_set(ERR_INVALID, "line %d: only comments may stand before \"%s\"", at, up);
}

err_t migration_text_read(const char *text, size_t n, migration_text_t *out)
{
    migration_text_t self = {0};
    const char *end = text + n;
    int at = 1;
    if (memchr(text, '\0', n))
        return err_set(ERR_INVALID, "it has a NUL byte: that is no SQL text");
    for (const char *line = text; line < end; at++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *next = newline ? newline + 1 : end;
        err_t err = take_line(&self, line, (size_t)((newline ? newline : end) - line), next, at);
        if (err)
            return err;
        line = next;
    }
    if (!self.up)
        return err_set(ERR_INVALID, "it has no line \"-- migrate:up\"");
    if (self.down)
        self.down_n = (size_t)(end - self.down);
    else
        self.up_n = (size_t)(end - self.up);
    *out = self;
    return ERR_OK;
}

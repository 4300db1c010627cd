#include "schema/migrate/cursor.h"

err_t cursor_near(const cursor_t *self, const char *expected)
{
    if (self->i >= self->end)
        return err_set(ERR_INVALID, "it ends where %s is expected", expected);
    return err_set(ERR_INVALID, "near %.60s: expected %s",
                   tokens_slice(self->arena, self->tokens, self->i, self->i + 1), expected);
}

bool cursor_at(const cursor_t *self, const char *word)
{
    return self->i < self->end && token_is(self->tokens, self->i, word);
}

bool cursor_at_sign(const cursor_t *self, char sign)
{
    return self->i < self->end && token_is_sign(self->tokens, self->i, sign);
}

bool cursor_at_name(const cursor_t *self)
{
    return self->i < self->end && token_is_name(self->tokens, self->i);
}

bool cursor_take(cursor_t *self, const char *word)
{
    bool is = cursor_at(self, word);
    self->i += is;
    return is;
}

bool cursor_take_two(cursor_t *self, const char *first, const char *second)
{
    bool are = cursor_at(self, first) && self->i + 1 < self->end &&
               token_is(self->tokens, self->i + 1, second);
    self->i += are ? 2 : 0;
    return are;
}

err_t cursor_take_name(cursor_t *self, const char *what, char **out)
{
    if (!cursor_at_name(self))
        return cursor_near(self, what);
    *out = token_name(self->arena, self->tokens, self->i++);
    return ERR_OK;
}

err_t cursor_take_parentheses(cursor_t *self, const char *what, int *from, int *to)
{
    int close = cursor_at_sign(self, '(') ? tokens_close(self->tokens, self->i, self->end) : -1;
    if (close < 0)
        return cursor_near(self, what);
    *from = self->i + 1;
    *to = close - 1;
    self->i = close;
    return ERR_OK;
}

#include "schema/migrate/rename.h"

#include <string.h>

#include "schema/migrate/edit.h"

static const char *original(const renames_t *self, int column)
{
    return self->table->columns[column].name;
}

/* Its name when action number `action` is read. */
static const char *name_at(const renames_t *self, int column, int action)
{
    bool renamed = self->action[column] >= 0 && self->action[column] < action;
    return renamed ? self->target[column] : original(self, column);
}

static int find_at(const renames_t *self, const char *name, int action)
{
    for (int i = 0; i < self->table->columns_n; i++)
        if (name_equal(name_at(self, i, action), name))
            return i;
    return -1;
}

/* The name of the moment first, then the stored one. */
static int find(const renames_t *self, const char *name, int action)
{
    int column = find_at(self, name, action);
    return column >= 0 ? column : find_at(self, name, -1);
}

const char *renames_resolve(const renames_t *self, const char *name, int action)
{
    int column = find(self, name, action);
    return column >= 0 ? self->last[column] : name;
}

const char *renames_original(const renames_t *self, const char *name)
{
    for (int i = 0; i < self->table->columns_n; i++)
        if (name_equal(self->last[i], name))
            return original(self, i);
    return name;
}

static bool is_dropped(const renames_t *self, const alter_t *alter, int column)
{
    for (int k = 0; k < alter->actions_n; k++)
        if (alter->actions[k].kind == ACTION_DROP_COLUMN &&
            find(self, alter->actions[k].name, k) == column)
            return true;
    return false;
}

/* A name no column of the table has, before or behind. */
static char *free_name(arena_t *arena, const renames_t *self, const char *why, int n)
{
    for (;; n++) {
        char *name = arena_printf(arena, "_stint_%s_%d", why, n);
        bool taken = false;
        for (int i = 0; i < self->table->columns_n; i++)
            taken = taken || name_equal(original(self, i), name) || name_equal(self->last[i], name);
        if (!taken)
            return name;
    }
}

/* Two columns of one name: an error, but a column that is dropped makes room. */
static err_t make_room(arena_t *arena, renames_t *self, const alter_t *alter)
{
    for (int i = 0; i < self->table->columns_n; i++)
        for (int k = 0; k < self->table->columns_n; k++) {
            if (i == k || !name_equal(self->last[i], self->last[k]))
                continue;
            if (!is_dropped(self, alter, i) && !is_dropped(self, alter, k))
                return err_set(ERR_INVALID, "%s has a column \"%s\" already", self->table->name,
                               self->last[i]);
            if (is_dropped(self, alter, i))
                self->last[i] = free_name(arena, self, "dropped", i);
        }
    return ERR_OK;
}

static void add_step(arena_t *arena, renames_t *self, const char *from, const char *to)
{
    self->steps = arena_grow(arena, self->steps, self->steps_n, sizeof *self->steps);
    self->steps[self->steps_n++] = (rename_step_t){from, to};
}

static bool changes(const renames_t *self, int column)
{
    return strcmp(original(self, column), self->last[column]) != 0;
}

/* Is the new name still another column's old one? */
static bool in_the_way(const renames_t *self, int column)
{
    int other = find_at(self, self->last[column], -1);
    return other >= 0 && other != column;
}

static void make_steps(arena_t *arena, renames_t *self)
{
    int n = self->table->columns_n;
    const char **now = arena_alloc(arena, (size_t)n * sizeof *now);
    for (int i = 0; i < n; i++) {
        now[i] = original(self, i);
        if (!changes(self, i) || !in_the_way(self, i))
            continue;
        now[i] = free_name(arena, self, "renamed", i);
        add_step(arena, self, original(self, i), now[i]);
    }
    /* Those whose name is free go first: what makes room is done before it is needed. */
    for (int late = 0; late < 2; late++)
        for (int i = 0; i < n; i++)
            if (changes(self, i) && in_the_way(self, i) == late)
                add_step(arena, self, now[i], self->last[i]);
}

err_t renames_plan(arena_t *arena, const table_text_t *table, const alter_t *alter, renames_t *out)
{
    size_t n = (size_t)table->columns_n;
    renames_t self = {.table = table,
                      .action = arena_alloc(arena, n * sizeof *self.action),
                      .target = arena_alloc(arena, n * sizeof *self.target),
                      .last = arena_alloc(arena, n * sizeof *self.last)};
    for (int i = 0; i < table->columns_n; i++) {
        self.action[i] = -1;
        self.last[i] = original(&self, i);
    }
    for (int k = 0; k < alter->actions_n; k++) {
        const action_t *action = &alter->actions[k];
        if (action->kind != ACTION_RENAME_COLUMN)
            continue;
        /* Renames of one statement are simultaneous: they mean the stored names first. */
        int column = find_at(&self, action->name, -1);
        if (column < 0 || self.action[column] >= 0)
            column = find_at(&self, action->name, k);
        if (column < 0)
            continue; /* a column that this statement adds, or none: change finds out */
        self.action[column] = k;
        self.target[column] = self.last[column] = action->new_name;
    }
    err_t err = make_room(arena, &self, alter);
    if (!err)
        make_steps(arena, &self);
    if (!err)
        *out = self;
    return err;
}

/* The parent's columns in REFERENCES parent (...) are the parent's. */
static int skip_parent(const renames_t *self, arena_t *arena, const tokens_t *tokens, int i, int to)
{
    if (!token_is(tokens, i, "REFERENCES") || i + 1 >= to || !token_is_name(tokens, i + 1))
        return i;
    bool own = name_equal(token_name(arena, tokens, i + 1), self->table->name);
    if (own || !token_is_sign(tokens, i + 2, '('))
        return i + 1;
    int close = tokens_close(tokens, i + 2, to);
    return close < 0 ? i + 1 : close - 1;
}

char *renames_apply(arena_t *arena, const renames_t *self, const tokens_t *tokens, int from, int to,
                    int action)
{
    buffer_t out = {0};
    int written = token_start(tokens, from);
    for (int i = from; i < to; i++) {
        int behind = skip_parent(self, arena, tokens, i, to);
        token_kind_t kind = tokens->items[i].kind;
        bool name = behind == i && (kind == TOKEN_WORD || kind == TOKEN_QUOTED) &&
                    !token_is_sign(tokens, i + 1, '(');
        int column = name ? find_at(self, token_name(arena, tokens, i), action) : -1;
        i = behind;
        if (column < 0 || name_equal(name_at(self, column, action), self->last[column]))
            continue;
        int start = token_start(tokens, i);
        buffer_add(&out, tokens->text + written, (size_t)(start - written));
        buffer_add_text(&out, name_quoted(arena, self->last[column]));
        written = token_stop(tokens, i);
    }
    int stop = to > from ? token_stop(tokens, to - 1) : written;
    buffer_add(&out, tokens->text + written, (size_t)(stop - written));
    char *text = arena_text(arena, (const char *)out.data, out.n);
    buffer_free(&out);
    return text;
}

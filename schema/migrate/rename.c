#include "schema/migrate/rename.h"

#include <limits.h>
#include <string.h>

#include "schema/migrate/expression.h"

/* -- names in their time ------------------------------------------------------------------ */

static const char *name_at(const named_t *item, int action)
{
    return item->renamed < action ? item->target : item->written;
}

static const char *last_name(const named_t *item)
{
    return item->target ? item->target : item->working;
}

/* Among those that stay first: a dropped column may leave its name to another one. */
static int find_at(const renames_t *self, const char *name, int action)
{
    int found = -1;
    for (int i = 0; i < self->n; i++) {
        const named_t *item = &self->items[i];
        if (item->born > action || !name_equal(name_at(item, action), name))
            continue;
        if (!item->dropped)
            return i;
        found = i;
    }
    return found;
}

/* By the name of the moment, else by the one of before the statement. */
static int find(const renames_t *self, const char *name, int action)
{
    int found = find_at(self, name, action);
    for (int i = 0; found < 0 && i < self->n; i++)
        if (self->items[i].born < 0 && name_equal(self->items[i].written, name))
            found = i;
    return found;
}

const char *renames_resolve(const renames_t *self, const char *name, int action)
{
    int found = find(self, name, action);
    return found >= 0 ? self->items[found].working : name;
}

const named_t *renames_of(const renames_t *self, int action)
{
    for (int i = 0; i < self->n; i++)
        if (self->items[i].renamed == action || self->items[i].born == action)
            return &self->items[i];
    return NULL;
}

/* -- the plan ----------------------------------------------------------------------------- */

static void rename_item(renames_t *self, int item, int action, const char *target)
{
    self->items[item].renamed = action;
    self->items[item].target = target;
}

/* Simultaneous: the stored names first. */
static void plan_stored(renames_t *self, const alter_t *alter)
{
    for (int k = 0; k < alter->actions_n; k++) {
        const action_t *action = &alter->actions[k];
        if (action->kind != ACTION_RENAME_COLUMN)
            continue;
        int item = -1;
        for (int i = 0; i < self->n && item < 0; i++)
            if (!self->items[i].target && name_equal(self->items[i].written, action->name))
                item = i;
        if (item < 0)
            item = find_at(self, action->name, k);
        if (item >= 0)
            rename_item(self, item, k, action->new_name);
    }
    for (int k = 0; k < alter->actions_n; k++) {
        int item = alter->actions[k].kind == ACTION_DROP_COLUMN
                       ? find(self, alter->actions[k].name, k)
                       : -1;
        if (item >= 0)
            self->items[item].dropped = true;
    }
}

static bool stays_as(const renames_t *self, const char *written)
{
    for (int i = 0; i < self->n; i++)
        if (!self->items[i].dropped && name_equal(self->items[i].working, written))
            return true;
    return false;
}

static err_t has_already(const renames_t *self, const char *name)
{
    return err_set(ERR_INVALID, "%s has a column \"%s\" already", self->table, name);
}

static err_t plan_added(arena_t *arena, renames_t *self, const alter_t *alter)
{
    for (int k = 0; k < alter->actions_n; k++) {
        const action_t *action = &alter->actions[k];
        if (action->kind == ACTION_RENAME_COLUMN && !renames_of(self, k)) {
            int item = find_at(self, action->name, k);
            if (item >= 0)
                rename_item(self, item, k, action->new_name);
        }
        if (action->kind != ACTION_ADD_COLUMN)
            continue;
        int same = find_at(self, action->name, k);
        if (same >= 0 && !self->items[same].dropped) {
            if (action->lenient)
                continue;
            return has_already(self, action->name);
        }
        named_t item = {
            .written = action->name, .working = action->name, .born = k, .renamed = INT_MAX};
        if (stays_as(self, action->name)) { /* until the other one has its new name */
            item.working = arena_printf(arena, "_stint_added_%d", k);
            item.target = action->name;
        }
        self->items = arena_grow(arena, self->items, self->n, sizeof item);
        self->items[self->n++] = item;
    }
    return ERR_OK;
}

static void add_step(arena_t *arena, renames_t *self, const char *from, const char *to)
{
    self->steps = arena_grow(arena, self->steps, self->steps_n, sizeof *self->steps);
    self->steps[self->steps_n++] = (rename_step_t){from, to};
}

static bool changes(const named_t *item)
{
    return !item->dropped && strcmp(item->working, last_name(item)) != 0;
}

/* Is the new name still another column's working one? */
static bool in_the_way(const renames_t *self, int item)
{
    for (int i = 0; i < self->n; i++)
        if (i != item && !self->items[i].dropped &&
            name_equal(self->items[i].working, last_name(&self->items[item])))
            return true;
    return false;
}

/* Those whose name is free go first: what makes room is done before it is needed. */
static void make_steps(arena_t *arena, renames_t *self)
{
    const char **now = arena_alloc(arena, (size_t)(self->n + 1) * sizeof *now);
    for (int i = 0; i < self->n; i++) {
        now[i] = self->items[i].working;
        if (!changes(&self->items[i]) || !in_the_way(self, i))
            continue;
        now[i] = arena_printf(arena, "_stint_renamed_%d", i);
        add_step(arena, self, self->items[i].working, now[i]);
    }
    for (int late = 0; late < 2; late++)
        for (int i = 0; i < self->n; i++)
            if (changes(&self->items[i]) && in_the_way(self, i) == late)
                add_step(arena, self, now[i], last_name(&self->items[i]));
}

err_t renames_plan(arena_t *arena, const table_text_t *table, const alter_t *alter, renames_t *out)
{
    renames_t self = {.table = table->name};
    for (int i = 0; i < table->columns_n; i++) {
        named_t item = {.written = table->columns[i].name,
                        .working = table->columns[i].name,
                        .born = -1,
                        .renamed = INT_MAX};
        self.items = arena_grow(arena, self.items, self.n, sizeof item);
        self.items[self.n++] = item;
    }
    plan_stored(&self, alter);
    err_t err = plan_added(arena, &self, alter);
    for (int i = 0; i < self.n && !err; i++)
        for (int k = i + 1; k < self.n && !err; k++)
            if (!self.items[i].dropped && !self.items[k].dropped &&
                name_equal(last_name(&self.items[i]), last_name(&self.items[k])))
                err = has_already(&self, last_name(&self.items[i]));
    if (err)
        return err;
    make_steps(arena, &self);
    *out = self;
    return ERR_OK;
}

/* -- words -------------------------------------------------------------------------------- */

static bool names_column(const tokens_t *tokens, int i, const naming_t *places, int n)
{
    for (int k = 0; k < n; k++) {
        if (i < places[k].from || i >= places[k].to)
            continue;
        if (places[k].list)
            return token_is_name(tokens, i) &&
                   (i == places[k].from || token_is_sign(tokens, i - 1, ','));
        return expression_names(tokens, places[k].from, i);
    }
    return false;
}

char *renames_words(arena_t *arena, const renames_t *self, const tokens_t *tokens, int from, int to,
                    int action, const naming_t *places, int places_n)
{
    buffer_t out = {0};
    int written = token_start(tokens, from);
    for (int i = from; i < to; i++) {
        if (!names_column(tokens, i, places, places_n))
            continue;
        char *name = token_name(arena, tokens, i);
        const char *working = renames_resolve(self, name, action);
        if (name_equal(name, working))
            continue;
        int start = token_start(tokens, i);
        buffer_add(&out, tokens->text + written, (size_t)(start - written));
        buffer_add_text(&out, name_quoted(arena, working));
        written = token_stop(tokens, i);
    }
    int stop = to > from ? token_stop(tokens, to - 1) : written;
    buffer_add(&out, tokens->text + written, (size_t)(stop - written));
    char *text = arena_text(arena, (const char *)out.data, out.n);
    buffer_free(&out);
    return text;
}

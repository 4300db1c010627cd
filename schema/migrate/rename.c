#include "schema/migrate/rename.h"

#include <limits.h>
#include <string.h>

#include "schema/migrate/expression.h"

/* -- names in their time ------------------------------------------------------------------ */

/* Its name when action number `action` is read. */
static const char *name_at(const named_t *item, int action)
{
    const char *name = item->written;
    for (int i = 0; i < item->renames_n && item->renames[i].action < action; i++)
        name = item->renames[i].target;
    return name;
}

static const char *last_name(const named_t *item)
{
    return item->renames_n ? item->renames[item->renames_n - 1].target : item->written;
}

static bool is_called(const named_t *item, const char *name, int action)
{
    return item->born <= action && name_equal(name_at(item, action), name);
}

static bool is_renamed(const named_t *item, int action)
{
    return item->renames_n > 0 && item->renames[0].action < action;
}

/* Two may have one name for a while. RENAME and DROP mean the one that always had it: renames are
 * simultaneous, and what is dropped makes room. */
static int find_own(const renames_t *self, const char *name, int action)
{
    int found = -1;
    for (int i = 0; i < self->n; i++) {
        const named_t *item = &self->items[i];
        if (!is_called(item, name, action) || item->dropped)
            continue;
        if (!is_renamed(item, action))
            return i;
        found = i;
    }
    return found;
}

/* Every other action means the one that stays; at last the one that had the name before. */
static int find(const renames_t *self, const char *name, int action)
{
    int found = -1;
    for (int i = 0; i < self->n; i++) {
        const named_t *item = &self->items[i];
        if (!is_called(item, name, action))
            continue;
        if (!item->dropped)
            return i;
        found = i;
    }
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

const char *renames_dropped(const renames_t *self, int action)
{
    for (int i = 0; i < self->n; i++)
        if (self->items[i].dropped && self->items[i].dropped_by == action)
            return self->items[i].working;
    return NULL;
}

const named_t *renames_of(const renames_t *self, int action)
{
    for (int i = 0; i < self->n; i++) {
        if (self->items[i].born == action)
            return &self->items[i];
        for (int k = 0; k < self->items[i].renames_n; k++)
            if (self->items[i].renames[k].action == action)
                return &self->items[i];
    }
    return NULL;
}

bool renames_before(const renames_t *self, int action)
{
    for (int i = 0; i < self->n; i++)
        if (is_renamed(&self->items[i], action) ||
            (self->items[i].born >= 0 && self->items[i].born < action &&
             self->items[i].working != self->items[i].written))
            return true;
    return false;
}

/* -- the plan ----------------------------------------------------------------------------- */

static void plan_rename(arena_t *arena, renames_t *self, const action_t *action, int k)
{
    int found = find_own(self, action->name, k);
    if (found < 0)
        return; /* change finds out */
    named_t *item = &self->items[found];
    item->renames = arena_grow(arena, item->renames, item->renames_n, sizeof *item->renames);
    item->renames[item->renames_n++] = (renaming_t){k, action->new_name, action->new_bare};
}

static void plan_add(arena_t *arena, renames_t *self, const action_t *action, int k)
{
    if (action->lenient && find_own(self, action->name, k) >= 0)
        return;
    self->items = arena_grow(arena, self->items, self->n, sizeof *self->items);
    self->items[self->n++] = (named_t){.written = action->name, .working = action->name, .born = k};
}

static void plan_drop(renames_t *self, const action_t *action, int k)
{
    int found = find_own(self, action->name, k);
    if (found < 0)
        return;
    self->items[found].dropped = true;
    self->items[found].dropped_by = k;
}

static bool is_working_name(const renames_t *self, const char *name, int but)
{
    for (int i = 0; i < self->n; i++)
        if (i != but && !self->items[i].dropped && name_equal(self->items[i].working, name))
            return true;
    return false;
}

/* An added column whose name is not free yet waits under another one. */
static void plan_working(arena_t *arena, renames_t *self)
{
    for (int i = 0; i < self->n; i++)
        if (self->items[i].born >= 0 && !self->items[i].dropped &&
            is_working_name(self, self->items[i].written, i))
            self->items[i].working = arena_printf(arena, "_stint_added_%d", i);
}

static err_t check_unique(const renames_t *self)
{
    for (int i = 0; i < self->n; i++)
        for (int k = i + 1; k < self->n; k++)
            if (!self->items[i].dropped && !self->items[k].dropped &&
                name_equal(last_name(&self->items[i]), last_name(&self->items[k])))
                return err_set(
                    ERR_INVALID, "%s has a column \"%s\" already", self->table,
                    last_name(&self->items[is_renamed(&self->items[i], INT_MAX) ? i : k]));
    return ERR_OK;
}

static bool changes(const named_t *item)
{
    return !item->dropped && strcmp(item->working, last_name(item)) != 0;
}

static void add_step(arena_t *arena, renames_t *self, const char *from, const char *to, bool bare)
{
    self->steps = arena_grow(arena, self->steps, self->steps_n, sizeof *self->steps);
    self->steps[self->steps_n++] = (rename_step_t){from, to, bare};
}

/* Those whose name is free go first: what makes room is done before it is needed. */
static void make_steps(arena_t *arena, renames_t *self)
{
    const char **now = arena_alloc(arena, (size_t)(self->n + 1) * sizeof *now);
    for (int i = 0; i < self->n; i++) {
        const named_t *item = &self->items[i];
        now[i] = item->working;
        if (!changes(item) || !is_working_name(self, last_name(item), i))
            continue;
        now[i] = arena_printf(arena, "_stint_renamed_%d", i);
        add_step(arena, self, item->working, now[i], false);
    }
    for (int late = 0; late < 2; late++)
        for (int i = 0; i < self->n; i++) {
            const named_t *item = &self->items[i];
            bool bare = item->renames_n > 0 && item->renames[item->renames_n - 1].bare;
            if (changes(item) && is_working_name(self, last_name(item), i) == late)
                add_step(arena, self, now[i], last_name(item), bare);
        }
}

err_t renames_plan(arena_t *arena, const table_text_t *table, const alter_t *alter, renames_t *out)
{
    renames_t self = {.table = table->name};
    for (int i = 0; i < table->columns_n; i++) {
        self.items = arena_grow(arena, self.items, self.n, sizeof *self.items);
        self.items[self.n++] = (named_t){
            .written = table->columns[i].name, .working = table->columns[i].name, .born = -1};
    }
    for (int k = 0; k < alter->actions_n; k++) {
        const action_t *action = &alter->actions[k];
        if (action->kind == ACTION_RENAME_COLUMN)
            plan_rename(arena, &self, action, k);
        else if (action->kind == ACTION_ADD_COLUMN)
            plan_add(arena, &self, action, k);
        else if (action->kind == ACTION_DROP_COLUMN)
            plan_drop(&self, action, k);
    }
    plan_working(arena, &self);
    err_t err = check_unique(&self);
    if (err)
        return err;
    make_steps(arena, &self);
    *out = self;
    return ERR_OK;
}

/* -- words -------------------------------------------------------------------------------- */

static bool names_column(const renames_t *self, const tokens_t *tokens, int i,
                         const naming_t *places, int n)
{
    for (int k = 0; k < n; k++) {
        if (i < places[k].from || i >= places[k].to)
            continue;
        if (places[k].list)
            return token_is_name(tokens, i) &&
                   (i == places[k].from || token_is_sign(tokens, i - 1, ','));
        return expression_names(tokens, places[k].from, i, self->table);
    }
    return false;
}

char *renames_words(arena_t *arena, const renames_t *self, const tokens_t *tokens, int from, int to,
                    int action, const naming_t *places, int places_n)
{
    buffer_t out = {0};
    int written = token_start(tokens, from);
    for (int i = from; i < to; i++) {
        if (!names_column(self, tokens, i, places, places_n))
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

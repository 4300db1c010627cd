/* change: the actions, each an edit of the text. What they amount to is compare.c. */
#include "schema/migrate/change.h"

#include <string.h>

#include "schema/migrate/change_inside.h"
#include "schema/migrate/compare.h"
#include "schema/migrate/edit.h"

/* -- the text at work --------------------------------------------------------------------- */

err_t change_put_text(maker_t *self, char *text)
{
    self->out->text = text;
    err_t err = table_text_read(self->arena, text, &self->out->now);
    return err ? err_context(err, "the change would make \"%s\"", text) : ERR_OK;
}

int change_column_index(const maker_t *self, const char *name)
{
    const table_text_t *now = &self->out->now;
    const column_t *column = table_column(now, renames_resolve(self->renames, name, self->action));
    return column ? (int)(column - now->columns) : -1;
}

err_t no_column(arena_t *arena, const table_text_t *table, const char *name)
{
    buffer_t has = {0};
    for (int i = 0; i < table->columns_n && has.n < 300; i++)
        buffer_printf(&has, "%s%s", i ? ", " : "", table->columns[i].name);
    char *list = arena_text(arena, (const char *)has.data, has.n);
    buffer_free(&has);
    return err_set(ERR_INVALID, "%s has no column \"%s\"; it has %s", table->name, name, list);
}

err_t change_find_column(const maker_t *self, const char *name, int *out)
{
    int column = change_column_index(self, name);
    if (column < 0)
        return no_column(self->arena, &self->out->now, name);
    *out = column;
    return ERR_OK;
}

static void map_insert(maker_t *self, int at, mapping_t mapping)
{
    change_t *out = self->out;
    int n = out->now.columns_n; /* one more than mapped so far */
    mapping_t *larger = arena_alloc(self->arena, (size_t)n * sizeof *larger);
    for (int i = 0, k = 0; i < n; i++)
        larger[i] = i == at ? mapping : out->columns[k++];
    out->columns = larger;
}

static void map_remove(maker_t *self, int at)
{
    change_t *out = self->out;
    for (int i = at; i < out->now.columns_n; i++) /* already one less */
        out->columns[i] = out->columns[i + 1];
}

/* -- an action's own words ---------------------------------------------------------------- */

char *change_expression(const maker_t *self, int from, int to)
{
    return renames_words(self->arena, self->renames, &self->alter->tokens, from, to, self->action,
                         &(naming_t){from, to, false}, 1);
}

static void add_place(const maker_t *self, naming_t **places, int *n, const part_t *part)
{
    bool own = part->parent && name_equal(part->parent, self->renames->table);
    if (own && part->parent_to > part->parent_from) {
        *places = arena_grow(self->arena, *places, *n, sizeof **places);
        (*places)[(*n)++] = (naming_t){part->parent_from, part->parent_to, true};
    }
    bool expression = part->kind == PART_CHECK || part->kind == PART_GENERATED;
    bool list = part->inner_to > part->inner && part->columns_n > 0;
    if (!expression && !list)
        return;
    *places = arena_grow(self->arena, *places, *n, sizeof **places);
    (*places)[(*n)++] = (naming_t){part->inner, part->inner_to, list};
}

char *change_definition(const maker_t *self, const action_t *action)
{
    naming_t *places = NULL;
    int n = 0;
    if (action->kind == ACTION_ADD_CONSTRAINT)
        add_place(self, &places, &n, &action->part);
    for (int i = 0; action->kind == ACTION_ADD_COLUMN && i < action->column.parts_n; i++)
        add_place(self, &places, &n, &action->column.parts[i]);
    return renames_words(self->arena, self->renames, &self->alter->tokens, action->from, action->to,
                         self->action, places, n);
}

bool change_is_going(const maker_t *self, const char *column_name)
{
    for (int i = 0; i < self->alter->actions_n; i++) {
        const char *dropped = renames_dropped(self->renames, i);
        if (dropped && name_equal(dropped, column_name))
            return true;
    }
    return false;
}

/* -- columns ------------------------------------------------------------------------------ */

/* What existing rows get, whatever becomes of the default further on. A bare word is a text there.
 */
static const char *fill_of(const maker_t *self, const tokens_t *tokens, const column_t *column)
{
    const part_t *part = column_part(column, PART_DEFAULT);
    if (!part)
        return NULL;
    token_kind_t kind = tokens->items[part->inner].kind;
    bool word =
        part->inner_to - part->inner == 1 && !token_is_sign(tokens, part->inner - 1, '(') &&
        (kind == TOKEN_QUOTED || (kind == TOKEN_WORD && !default_is_constant(tokens, part) &&
                                  !token_is(tokens, part->inner, "CURRENT_TIME") &&
                                  !token_is(tokens, part->inner, "CURRENT_DATE") &&
                                  !token_is(tokens, part->inner, "CURRENT_TIMESTAMP")));
    return word ? text_quoted(self->arena, token_name(self->arena, tokens, part->inner))
                : tokens_slice(self->arena, tokens, part->inner, part->inner_to);
}

static err_t add_column(maker_t *self, const action_t *action)
{
    change_t *out = self->out;
    int at = out->now.columns_n;
    const named_t *named = renames_of(self->renames, self->action);
    if (!named)
        return ERR_OK; /* IF NOT EXISTS */
    if (action->place == PLACE_FIRST)
        at = 0;
    err_t err = action->neighbour ? change_find_column(self, action->neighbour, &at) : ERR_OK;
    if (err)
        return err;
    at += action->place == PLACE_AFTER;
    err = change_put_text(
        self, edit_add_column(self->arena, &out->now, at, change_definition(self, action)));
    if (!err && strcmp(named->working, named->written) != 0)
        err = change_put_text(self, edit_column_name(self->arena, &out->now, at, named->working));
    if (!err)
        map_insert(self, at,
                   (mapping_t){.name = named->working,
                               .fill = fill_of(self, &self->alter->tokens, &action->column)});
    return err;
}

static err_t drop_column(maker_t *self, const action_t *action)
{
    change_t *out = self->out;
    const char *name = renames_dropped(self->renames, self->action);
    if (!name)
        return action->lenient ? ERR_OK : no_column(self->arena, &out->now, action->name);
    int column = (int)(table_column(&out->now, name) - out->now.columns);
    if (out->now.columns_n == 1)
        return err_set(ERR_INVALID, "%s.%s is the only column: a table keeps at least one",
                       out->now.name, action->name);
    err_t err = change_drop_own_constraints(self, out->now.columns[column].name);
    if (err)
        return err;
    if (out->columns[column].old) {
        out->dropped = arena_grow(self->arena, out->dropped, out->dropped_n, sizeof *out->dropped);
        out->dropped[out->dropped_n++] = out->columns[column].old;
    }
    err = change_put_text(self, edit_drop_column(self->arena, &out->now, column));
    if (!err)
        map_remove(self, column);
    return err;
}

/* Every part of that kind goes. */
static err_t drop_parts(maker_t *self, int column, part_kind_t kind)
{
    for (;;) {
        const part_t *part = column_part(&self->out->now.columns[column], kind);
        if (!part)
            return ERR_OK;
        err_t err = change_put_text(self, edit_drop_part(self->arena, &self->out->now, part));
        if (err)
            return err;
    }
}

static err_t add_part(maker_t *self, int column, const char *text)
{
    return change_put_text(self, edit_add_part(self->arena, &self->out->now, column, text));
}

static err_t set_type(maker_t *self, const action_t *action, int column)
{
    change_t *out = self->out;
    bool generated = column_part(&out->now.columns[column], PART_GENERATED) != NULL;
    if (generated && action->using_to > action->using_from)
        return err_set(ERR_INVALID, "%s.%s is a generated column: USING makes no sense for it",
                       out->now.name, action->name);
    err_t err = change_put_text(self, edit_type(self->arena, &out->now, column, action->type));
    if (!err && action->collation) {
        err = drop_parts(self, column, PART_COLLATE);
        if (!err)
            err = add_part(self, column,
                           arena_printf(self->arena, "COLLATE %s",
                                        name_quoted(self->arena, action->collation)));
    }
    for (int i = action->using_from; i < action->using_to && !err; i++)
        if (token_is(&self->alter->tokens, i, "SELECT") &&
            renames_before(self->renames, self->action))
            err = err_set(ERR_INVALID,
                          "%s.%s: USING with a SELECT stands behind a RENAME, and its names could "
                          "mean either: put it first",
                          out->now.name, action->name);
    if (!err && action->using_to > action->using_from)
        out->columns[column].using = change_expression(self, action->using_from, action->using_to);
    return err;
}

/* An expression needs parentheses in SQLite, a literal does not. */
static char *default_words(const maker_t *self, const action_t *action)
{
    const tokens_t *tokens = &self->alter->tokens;
    int n = action->to - action->from;
    char *text = tokens_slice(self->arena, tokens, action->from, action->to);
    bool sign =
        token_is_sign(tokens, action->from, '-') || token_is_sign(tokens, action->from, '+');
    bool plain = (n == 1 && tokens->items[action->from].kind != TOKEN_SIGN) ||
                 (n == 2 && sign && tokens->items[action->from + 1].kind == TOKEN_NUMBER) ||
                 (token_is_sign(tokens, action->from, '(') &&
                  tokens_close(tokens, action->from, action->to) == action->to);
    return arena_printf(self->arena, plain ? "DEFAULT %s" : "DEFAULT (%s)", text);
}

static err_t set_default(maker_t *self, const action_t *action, int column)
{
    if (column_part(&self->out->now.columns[column], PART_GENERATED))
        return err_set(ERR_INVALID, "%s.%s is a generated column: it has no default",
                       self->out->now.name, action->name);
    err_t err = drop_parts(self, column, PART_DEFAULT);
    return err ? err : add_part(self, column, default_words(self, action));
}

static err_t set_not_null(maker_t *self, int column)
{
    if (column_part(&self->out->now.columns[column], PART_NOT_NULL))
        return ERR_OK;
    err_t err = drop_parts(self, column, PART_NULL);
    return err ? err : add_part(self, column, "NOT NULL");
}

static err_t drop_not_null(maker_t *self, int column)
{
    const table_text_t *now = &self->out->now;
    const part_t *key = table_primary_key(now);
    for (int i = 0; key && i < key->columns_n; i++)
        if (name_equal(key->columns[i], now->columns[column].name))
            return err_set(ERR_INVALID, "%s.%s is in the primary key: it stays NOT NULL", now->name,
                           now->columns[column].name);
    return drop_parts(self, column, PART_NOT_NULL);
}

/* -- the statement ------------------------------------------------------------------------ */

static err_t column_action(maker_t *self, const action_t *action)
{
    int column = 0;
    err_t err = change_find_column(self, action->name, &column);
    if (err)
        return err;
    switch (action->kind) {
    case ACTION_SET_TYPE:
        return set_type(self, action, column);
    case ACTION_SET_DEFAULT:
        return set_default(self, action, column);
    case ACTION_DROP_DEFAULT:
        return drop_parts(self, column, PART_DEFAULT);
    case ACTION_SET_NOT_NULL:
        return set_not_null(self, column);
    default:
        return drop_not_null(self, column);
    }
}

static err_t apply(maker_t *self, const action_t *action)
{
    switch (action->kind) {
    case ACTION_ADD_COLUMN:
        return add_column(self, action);
    case ACTION_DROP_COLUMN:
        return drop_column(self, action);
    case ACTION_RENAME_COLUMN:
        return renames_of(self->renames, self->action)
                   ? ERR_OK /* the steps of the plan do it, at the end */
                   : no_column(self->arena, &self->out->now, action->name);
    case ACTION_RENAME_CONSTRAINT:
        return change_rename_constraint(self, action);
    case ACTION_ADD_CONSTRAINT:
        return change_add_constraint(self, action);
    case ACTION_DROP_CONSTRAINT:
    case ACTION_DROP_PART:
        return change_drop_constraint(self, action);
    case ACTION_REBUILD:
        self->rebuild = true;
        return ERR_OK;
    case ACTION_RENAME_TABLE: /* the last step of all, and SQLite's own */
        return ERR_OK;
    default:
        return column_action(self, action);
    }
}

/* Is it there already, or does an action of this statement make it first? */
static bool can_go_now(const maker_t *self, const action_t *action)
{
    part_place_t at;
    if (action->kind == ACTION_DROP_COLUMN) {
        const char *name = renames_dropped(self->renames, self->action);
        return name && table_column(&self->out->now, name);
    }
    part_match_t match =
        action->kind == ACTION_DROP_CONSTRAINT ? change_same_name : change_same_thing;
    return change_find_parts(self, match, action, &at) > 0;
}

static err_t pass(maker_t *self, bool (*mine)(action_kind_t kind), bool last)
{
    for (int i = 0; i < self->alter->actions_n; i++) {
        const action_t *action = &self->alter->actions[i];
        self->action = i;
        if (self->done[i] || !(last || (mine(action->kind) && can_go_now(self, action))))
            continue;
        err_t err = apply(self, action);
        if (err)
            return err;
        self->done[i] = true;
    }
    return ERR_OK;
}

static bool drops_constraint(action_kind_t kind)
{
    return kind == ACTION_DROP_CONSTRAINT || kind == ACTION_DROP_PART;
}

static bool drops_column(action_kind_t kind)
{
    return kind == ACTION_DROP_COLUMN;
}

err_t change_make(arena_t *arena, const char *sql, const alter_t *alter, const renames_t *renames,
                  change_t *out)
{
    change_t change = {.text = sql};
    maker_t self = {.arena = arena, .alter = alter, .renames = renames, .out = &change};
    self.done = arena_alloc(arena, (size_t)alter->actions_n * sizeof *self.done);
    err_t err = table_text_read(arena, sql, &change.old);
    if (!err)
        err = table_text_read(arena, sql, &change.now);
    if (err)
        return err;
    change.columns = arena_alloc(arena, (size_t)change.now.columns_n * sizeof *change.columns);
    for (int i = 0; i < change.now.columns_n; i++)
        change.columns[i].name = change.columns[i].old = change.now.columns[i].name;
    err = pass(&self, drops_constraint, false);
    if (!err)
        err = pass(&self, drops_column, false);
    if (!err)
        err = pass(&self, drops_column, true);
    if (err)
        return err;
    for (int i = 0; i < change.now.columns_n; i++) {
        mapping_t *mapping = &change.columns[i];
        const char *last = fill_of(&self, &change.now.tokens, &change.now.columns[i]);
        bool same =
            mapping->fill && last ? strcmp(mapping->fill, last) == 0 : mapping->fill == last;
        if (!mapping->old && !mapping->using && !same)
            mapping->using = mapping->fill ? mapping->fill : "NULL";
    }
    change_compare(arena, &change, self.rebuild);
    *out = change;
    return ERR_OK;
}

bool change_is_nothing(const change_t *self)
{
    return !self->rebuild && strcmp(self->text, self->old.tokens.text) == 0;
}

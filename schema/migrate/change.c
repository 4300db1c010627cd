/* change: the actions, each an edit of the text. What they amount to is compare.c. */
#include "schema/migrate/change.h"

#include <stdlib.h>
#include <string.h>

#include "schema/migrate/compare.h"
#include "schema/migrate/edit.h"

typedef struct {
    arena_t *arena;
    const alter_t *alter;
    const renames_t *renames;
    change_t *out;
    bool *done; /* of each action */
    int action; /* the one at work */
    bool rebuild;
} maker_t;

/* -- the text at work --------------------------------------------------------------------- */

static err_t put_text(maker_t *self, char *text)
{
    self->out->text = text;
    err_t err = table_text_read(self->arena, text, &self->out->now);
    return err ? err_context(err, "the change would make \"%s\"", text) : ERR_OK;
}

static int column_index(const maker_t *self, const char *name)
{
    const table_text_t *now = &self->out->now;
    const column_t *column = table_column(now, renames_resolve(self->renames, name, self->action));
    if (!column)
        column = table_column(now, name); /* one that this statement adds */
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

static err_t find_column(const maker_t *self, const char *name, int *out)
{
    int column = column_index(self, name);
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

/* An action's own words, with the names of columns as they are behind all renames. */
static char *words(const maker_t *self, int from, int to)
{
    return renames_apply(self->arena, self->renames, &self->alter->tokens, from, to, self->action);
}

/* -- what depends on a column inside its own table ---------------------------------------- */

int *columns_named(arena_t *arena, const table_text_t *table, const tokens_t *tokens, int from,
                   int to, int *n)
{
    int *found = NULL;
    *n = 0;
    for (int i = from; i < to; i++) {
        token_kind_t kind = tokens->items[i].kind;
        if ((kind != TOKEN_WORD && kind != TOKEN_QUOTED) || token_is_sign(tokens, i + 1, '('))
            continue;
        const column_t *column = table_column(table, token_name(arena, tokens, i));
        int index = column ? (int)(column - table->columns) : -1;
        bool known = index < 0;
        for (int k = 0; k < *n; k++)
            known = known || found[k] == index;
        if (known)
            continue;
        found = arena_grow(arena, found, *n, sizeof *found);
        found[(*n)++] = index;
    }
    return found;
}

/* The columns a table constraint is about. */
static int *columns_of(arena_t *arena, const table_text_t *table, const part_t *part, int *n)
{
    if (part->kind == PART_CHECK)
        return columns_named(arena, table, &table->tokens, part->inner, part->inner_to, n);
    int *found = NULL;
    *n = 0;
    for (int i = 0; i < part->columns_n; i++) {
        const column_t *column = table_column(table, part->columns[i]);
        if (!column)
            continue;
        found = arena_grow(arena, found, *n, sizeof *found);
        found[(*n)++] = (int)(column - table->columns);
    }
    return found;
}

static bool among(const int *items, int n, int item)
{
    for (int i = 0; i < n; i++)
        if (items[i] == item)
            return true;
    return false;
}

static err_t still_needs(maker_t *self, const part_t *part, int column)
{
    const table_text_t *now = &self->out->now;
    const char *column_name = renames_original(self->renames, now->columns[column].name);
    char *name = part_words(self->arena, &now->tokens, part);
    const char *how = part->name ? arena_printf(self->arena, "DROP CONSTRAINT %s", part->name)
                                 : arena_printf(self->arena, "DROP %s", name);
    return err_set(ERR_INVALID, "%s.%s cannot be dropped: %s still needs it; add %s first",
                   now->name, column_name, name, how);
}

/* Another column's CHECK or generated value. */
static err_t other_columns_need(maker_t *self, int column)
{
    const table_text_t *now = &self->out->now;
    for (int i = 0; i < now->columns_n; i++)
        for (int k = 0; i != column && k < now->columns[i].parts_n; k++) {
            const part_t *part = &now->columns[i].parts[k];
            int n = 0;
            if (part->kind != PART_CHECK && part->kind != PART_GENERATED)
                continue;
            int *named =
                columns_named(self->arena, now, &now->tokens, part->inner, part->inner_to, &n);
            if (!among(named, n, column))
                continue;
            if (part->kind == PART_CHECK)
                return still_needs(self, part, column);
            return err_set(ERR_INVALID,
                           "%s.%s cannot be dropped: the generated column %s is made from it",
                           now->name, renames_original(self->renames, now->columns[column].name),
                           now->columns[i].name);
        }
    return ERR_OK;
}

/* Constraints on this column alone fall with it; one that has other columns too is in the way. */
static err_t drop_own_constraints(maker_t *self, const char *column_name)
{
    for (;;) {
        const table_text_t *now = &self->out->now;
        int column = (int)(table_column(now, column_name) - now->columns);
        const part_t *falls = NULL;
        for (int i = 0; i < now->constraints_n && !falls; i++) {
            const part_t *part = &now->constraints[i];
            int n = 0;
            int *about = columns_of(self->arena, now, part, &n);
            if (!among(about, n, column))
                continue;
            if (n > 1)
                return still_needs(self, part, column);
            falls = part;
        }
        if (!falls)
            return other_columns_need(self, column);
        err_t err = put_text(self, edit_drop_constraint(self->arena, now, falls));
        if (err)
            return err;
    }
}

/* -- columns ------------------------------------------------------------------------------ */

static err_t add_column(maker_t *self, const action_t *action)
{
    change_t *out = self->out;
    int at = out->now.columns_n;
    if (table_column(&out->now, action->name))
        return action->lenient ? ERR_OK
                               : err_set(ERR_INVALID, "%s has a column \"%s\" already",
                                         out->now.name, action->name);
    if (action->place == PLACE_FIRST)
        at = 0;
    err_t err = action->neighbour ? find_column(self, action->neighbour, &at) : ERR_OK;
    if (err)
        return err;
    at += action->place == PLACE_AFTER;
    err = put_text(
        self, edit_add_column(self->arena, &out->now, at, words(self, action->from, action->to)));
    if (!err)
        map_insert(self, at, (mapping_t){.name = action->name});
    return err;
}

static err_t drop_column(maker_t *self, const action_t *action)
{
    change_t *out = self->out;
    int column = column_index(self, action->name);
    if (column < 0)
        return action->lenient ? ERR_OK : no_column(self->arena, &out->now, action->name);
    if (out->now.columns_n == 1)
        return err_set(ERR_INVALID, "%s.%s is the only column: a table keeps at least one",
                       out->now.name, action->name);
    err_t err = drop_own_constraints(self, out->now.columns[column].name);
    if (err)
        return err;
    if (out->columns[column].old) {
        out->dropped = arena_grow(self->arena, out->dropped, out->dropped_n, sizeof *out->dropped);
        out->dropped[out->dropped_n++] = out->columns[column].old;
    }
    err = put_text(self, edit_drop_column(self->arena, &out->now, column));
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
        err_t err = put_text(self, edit_drop_part(self->arena, &self->out->now, part));
        if (err)
            return err;
    }
}

static err_t add_part(maker_t *self, int column, const char *text)
{
    return put_text(self, edit_add_part(self->arena, &self->out->now, column, text));
}

static err_t set_type(maker_t *self, const action_t *action, int column)
{
    change_t *out = self->out;
    bool generated = column_part(&out->now.columns[column], PART_GENERATED) != NULL;
    if (generated && action->using_to > action->using_from)
        return err_set(ERR_INVALID, "%s.%s is a generated column: USING makes no sense for it",
                       out->now.name, action->name);
    err_t err = put_text(self, edit_type(self->arena, &out->now, column, action->type));
    if (!err && action->collation) {
        err = drop_parts(self, column, PART_COLLATE);
        if (!err)
            err = add_part(self, column,
                           arena_printf(self->arena, "COLLATE %s",
                                        name_quoted(self->arena, action->collation)));
    }
    if (!err && action->using_to > action->using_from)
        out->columns[column].using = words(self, action->using_from, action->using_to);
    return err;
}

/* An expression needs parentheses in SQLite, a literal does not. */
static char *default_words(const maker_t *self, const action_t *action)
{
    const tokens_t *tokens = &self->alter->tokens;
    int n = action->to - action->from;
    char *text = words(self, action->from, action->to);
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

static err_t rename_new_column(maker_t *self, const action_t *action)
{
    change_t *out = self->out;
    for (int i = 0; i < self->renames->table->columns_n; i++)
        if (self->renames->action[i] == self->action)
            return ERR_OK; /* a stored column: the steps of the plan have done it */
    int column = 0;
    err_t err = find_column(self, action->name, &column);
    if (err)
        return err;
    if (table_column(&out->now, action->new_name))
        return err_set(ERR_INVALID, "%s has a column \"%s\" already", out->now.name,
                       action->new_name);
    err = put_text(self, edit_column_name(self->arena, &out->now, column, action->new_name));
    if (!err)
        out->columns[column].name = action->new_name;
    return err;
}

/* -- constraints -------------------------------------------------------------------------- */

char *part_words(arena_t *arena, const tokens_t *tokens, const part_t *part)
{
    static const char *const kinds[] = {[PART_NONE] = "constraint",
                                        [PART_DEFAULT] = "DEFAULT",
                                        [PART_NOT_NULL] = "NOT NULL",
                                        [PART_NULL] = "NULL",
                                        [PART_PRIMARY_KEY] = "PRIMARY KEY",
                                        [PART_UNIQUE] = "UNIQUE",
                                        [PART_CHECK] = "CHECK",
                                        [PART_FOREIGN_KEY] = "FOREIGN KEY",
                                        [PART_COLLATE] = "COLLATE",
                                        [PART_GENERATED] = "GENERATED"};
    if (part->kind == PART_CHECK)
        return arena_printf(arena, "%s%sCHECK (%.200s)", part->name ? part->name : "",
                            part->name ? " " : "",
                            tokens_slice(arena, tokens, part->inner, part->inner_to));
    buffer_t out = {0};
    buffer_printf(&out, "%s%s%s", part->name ? part->name : "", part->name ? " " : "",
                  kinds[part->kind]);
    for (int i = 0; i < part->columns_n; i++)
        buffer_printf(&out, "%s%s%s", i ? ", " : " (", part->columns[i],
                      i + 1 == part->columns_n ? ")" : "");
    char *text = arena_text(arena, (const char *)out.data, out.n);
    buffer_free(&out);
    return text;
}

/* A part, and the column it stands in (-1: of the table). */
typedef struct {
    const part_t *part;
    int column;
} place_of_t;

typedef bool (*match_t)(const maker_t *self, const part_t *part, const action_t *action);

static bool same_name(const maker_t *self, const part_t *part, const action_t *action)
{
    (void)self;
    return part->name && name_equal(part->name, action->name);
}

static bool same_columns(const maker_t *self, const part_t *part, const action_t *action)
{
    if (part->columns_n != action->part.columns_n)
        return false;
    for (int i = 0; i < part->columns_n; i++) {
        bool found = false;
        for (int k = 0; k < part->columns_n; k++)
            found = found || name_equal(part->columns[i],
                                        renames_resolve(self->renames, action->part.columns[k],
                                                        self->action));
        if (!found)
            return false;
    }
    return true;
}

/* DROP UNIQUE (a, b) and its like: by what it is. */
static bool same_thing(const maker_t *self, const part_t *part, const action_t *action)
{
    if (part->kind != action->part.kind)
        return false;
    if (part->kind == PART_PRIMARY_KEY)
        return true;
    if (part->kind != PART_CHECK)
        return same_columns(self, part, action) &&
               (!action->part.parent || name_equal(action->part.parent, part->parent));
    char *text = words(self, action->from, action->to);
    tokens_t wanted = tokens_read(self->arena, text, strlen(text));
    const tokens_t *tokens = &self->out->now.tokens;
    return strcmp(tokens_normal(self->arena, &wanted, 0, wanted.n),
                  tokens_normal(self->arena, tokens, part->inner, part->inner_to)) == 0;
}

static int find_parts(const maker_t *self, match_t match, const action_t *action, place_of_t *first)
{
    const table_text_t *now = &self->out->now;
    int n = 0;
    *first = (place_of_t){NULL, -1};
    for (int i = 0; i < now->columns_n; i++)
        for (int k = 0; k < now->columns[i].parts_n; k++)
            if (match(self, &now->columns[i].parts[k], action) && n++ == 0)
                *first = (place_of_t){&now->columns[i].parts[k], i};
    for (int i = 0; i < now->constraints_n; i++)
        if (match(self, &now->constraints[i], action) && n++ == 0)
            *first = (place_of_t){&now->constraints[i], -1};
    return n;
}

static err_t no_constraint(const maker_t *self, const action_t *action)
{
    const table_text_t *now = &self->out->now;
    buffer_t has = {0};
    for (int i = 0; i < now->columns_n && has.n < 300; i++)
        for (int k = 0; k < now->columns[i].parts_n; k++)
            if (now->columns[i].parts[k].name)
                buffer_printf(&has, "%s%s", has.n ? ", " : "", now->columns[i].parts[k].name);
    for (int i = 0; i < now->constraints_n && has.n < 300; i++)
        buffer_printf(&has, "%s%s", has.n ? ", " : "",
                      part_words(self->arena, &now->tokens, &now->constraints[i]));
    char *list = arena_text(self->arena, (const char *)has.data, has.n);
    buffer_free(&has);
    const char *what = action->name ? arena_printf(self->arena, "constraint \"%s\"", action->name)
                                    : part_words(self->arena, &self->alter->tokens,
                                                 &(part_t){.kind = action->part.kind,
                                                           .columns = action->part.columns,
                                                           .columns_n = action->part.columns_n,
                                                           .inner = action->from,
                                                           .inner_to = action->to});
    return err_set(ERR_INVALID, "%s has no %s; it has %s", now->name, what, *list ? list : "none");
}

static err_t drop_found(maker_t *self, const place_of_t *at)
{
    return put_text(self, at->column < 0
                              ? edit_drop_constraint(self->arena, &self->out->now, at->part)
                              : edit_drop_part(self->arena, &self->out->now, at->part));
}

static err_t drop_constraint(maker_t *self, const action_t *action)
{
    place_of_t at;
    match_t match = action->kind == ACTION_DROP_CONSTRAINT ? same_name : same_thing;
    int n = find_parts(self, match, action, &at);
    if (n == 0)
        return action->lenient ? ERR_OK : no_constraint(self, action);
    bool alike = action->kind == ACTION_DROP_PART && action->part.kind != PART_FOREIGN_KEY;
    if (n > 1 && !alike)
        return err_set(ERR_INVALID, "%s has %d constraints that this names: say which, %s",
                       self->out->now.name, n,
                       action->name ? "or drop them by what they are: DROP UNIQUE (…)"
                                    : "with REFERENCES parent");
    err_t err = ERR_OK;
    for (int i = 0; i < n && !err; i++) { /* twins go together: what is left would still hold */
        (void)find_parts(self, match, action, &at);
        err = drop_found(self, &at);
    }
    return err;
}

static err_t rename_constraint(maker_t *self, const action_t *action)
{
    place_of_t at;
    if (find_parts(self, same_name, action, &at) != 1)
        return no_constraint(self, action);
    const tokens_t *tokens = &self->out->now.tokens;
    int token = at.part->name_token;
    return put_text(self, edit_splice(self->arena, tokens->text, token_start(tokens, token),
                                      token_stop(tokens, token),
                                      name_quoted(self->arena, action->new_name)));
}

static err_t add_constraint(maker_t *self, const action_t *action)
{
    const table_text_t *now = &self->out->now;
    place_of_t at;
    int column = 0;
    if (action->name && find_parts(self, same_name, action, &at) > 0)
        return err_set(ERR_INVALID, "%s has a constraint \"%s\" already", now->name, action->name);
    if (action->part.kind == PART_PRIMARY_KEY && table_primary_key(now))
        return err_set(ERR_INVALID, "%s has a primary key already: put DROP PRIMARY KEY before it",
                       now->name);
    for (int i = 0; i < action->part.columns_n; i++) {
        err_t err = find_column(self, action->part.columns[i], &column);
        if (err)
            return err;
    }
    return put_text(self,
                    edit_add_constraint(self->arena, now, words(self, action->from, action->to)));
}

/* -- the statement ------------------------------------------------------------------------ */

static err_t column_action(maker_t *self, const action_t *action)
{
    int column = 0;
    err_t err = find_column(self, action->name, &column);
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
        return rename_new_column(self, action);
    case ACTION_RENAME_CONSTRAINT:
        return rename_constraint(self, action);
    case ACTION_ADD_CONSTRAINT:
        return add_constraint(self, action);
    case ACTION_DROP_CONSTRAINT:
    case ACTION_DROP_PART:
        return drop_constraint(self, action);
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
    place_of_t at;
    if (action->kind == ACTION_DROP_COLUMN)
        return column_index(self, action->name) >= 0;
    match_t match = action->kind == ACTION_DROP_CONSTRAINT ? same_name : same_thing;
    return find_parts(self, match, action, &at) > 0;
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
    change_compare(arena, &change, self.rebuild);
    *out = change;
    return ERR_OK;
}

bool change_is_nothing(const change_t *self)
{
    return !self->rebuild && strcmp(self->text, self->old.tokens.text) == 0;
}

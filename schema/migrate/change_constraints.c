/* change: what an action does to constraints, and what depends on a column in its own table. */
#include <string.h>

#include "schema/migrate/change_inside.h"
#include "schema/migrate/edit.h"
#include "schema/migrate/expression.h"

/* -- what depends on a column inside its own table ---------------------------------------- */

int *columns_named(arena_t *arena, const table_text_t *table, const tokens_t *tokens, int from,
                   int to, int *n)
{
    int *found = NULL;
    *n = 0;
    for (int i = from; i < to; i++) {
        if (!expression_names(tokens, from, i, table->name))
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
    const char *column_name = now->columns[column].name;
    char *name = part_words(self->arena, &now->tokens, part);
    const char *how = part->name ? arena_printf(self->arena, "DROP CONSTRAINT %s", part->name)
                      : part->kind == PART_PRIMARY_KEY ? "DROP PRIMARY KEY"
                                                       : arena_printf(self->arena, "DROP %s", name);
    return err_set(ERR_INVALID, "%s.%s cannot be dropped: %s still needs it; add %s first",
                   now->name, column_name, name, how);
}

/* Another column's CHECK or generated value. */
static err_t other_columns_need(maker_t *self, int column)
{
    const table_text_t *now = &self->out->now;
    for (int i = 0; i < now->columns_n; i++)
        for (int k = 0; i != column && !change_is_going(self, now->columns[i].name) &&
                        k < now->columns[i].parts_n;
             k++) {
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
                           now->name, now->columns[column].name, now->columns[i].name);
        }
    return ERR_OK;
}

/* Columns that stay. */
static bool has_others(const maker_t *self, const int *about, int n)
{
    for (int i = 0; i < n; i++)
        if (!change_is_going(self, self->out->now.columns[about[i]].name))
            return true;
    return false;
}

/* Constraints on this column alone fall with it; one that has other columns too is in the way. */
err_t change_drop_own_constraints(maker_t *self, const char *column_name)
{
    for (;;) {
        const table_text_t *now = &self->out->now;
        int column = (int)(table_column(now, column_name) - now->columns);
        int n = 0, i = 0, *about = NULL;
        for (; i < now->constraints_n; i++) {
            about = columns_of(self->arena, now, &now->constraints[i], &n);
            if (among(about, n, column))
                break;
        }
        if (i == now->constraints_n)
            return other_columns_need(self, column);
        if (has_others(self, about, n))
            return still_needs(self, &now->constraints[i], column);
        err_t err =
            change_put_text(self, edit_drop_constraint(self->arena, now, &now->constraints[i]));
        if (err)
            return err;
    }
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

bool change_same_name(const maker_t *self, const part_t *part, const action_t *action)
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
bool change_same_thing(const maker_t *self, const part_t *part, const action_t *action)
{
    if (part->kind != action->part.kind)
        return false;
    if (part->kind == PART_PRIMARY_KEY)
        return true;
    if (part->kind != PART_CHECK)
        return same_columns(self, part, action) &&
               (!action->part.parent || name_equal(action->part.parent, part->parent));
    char *text = change_expression(self, action->from, action->to);
    tokens_t wanted = tokens_read(self->arena, text, strlen(text));
    const tokens_t *tokens = &self->out->now.tokens;
    return strcmp(tokens_normal(self->arena, &wanted, 0, wanted.n),
                  tokens_normal(self->arena, tokens, part->inner, part->inner_to)) == 0;
}

int change_find_parts(const maker_t *self, part_match_t match, const action_t *action,
                      part_place_t *first)
{
    const table_text_t *now = &self->out->now;
    int n = 0;
    *first = (part_place_t){NULL, -1};
    for (int i = 0; i < now->columns_n; i++)
        for (int k = 0; k < now->columns[i].parts_n; k++)
            if (match(self, &now->columns[i].parts[k], action) && n++ == 0)
                *first = (part_place_t){&now->columns[i].parts[k], i};
    for (int i = 0; i < now->constraints_n; i++)
        if (match(self, &now->constraints[i], action) && n++ == 0)
            *first = (part_place_t){&now->constraints[i], -1};
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

static err_t drop_found(maker_t *self, const part_place_t *at)
{
    return change_put_text(self, at->column < 0
                                     ? edit_drop_constraint(self->arena, &self->out->now, at->part)
                                     : edit_drop_part(self->arena, &self->out->now, at->part));
}

err_t change_drop_constraint(maker_t *self, const action_t *action)
{
    part_place_t at;
    part_match_t match =
        action->kind == ACTION_DROP_CONSTRAINT ? change_same_name : change_same_thing;
    int n = change_find_parts(self, match, action, &at);
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
        (void)change_find_parts(self, match, action, &at);
        err = drop_found(self, &at);
    }
    return err;
}

err_t change_rename_constraint(maker_t *self, const action_t *action)
{
    part_place_t at;
    if (change_find_parts(self, change_same_name, action, &at) != 1)
        return no_constraint(self, action);
    const action_t taken = {.name = action->new_name};
    part_place_t other;
    if (!name_equal(action->name, action->new_name) &&
        change_find_parts(self, change_same_name, &taken, &other) > 0)
        return err_set(ERR_INVALID, "%s has a constraint \"%s\" already", self->out->now.name,
                       action->new_name);
    const tokens_t *tokens = &self->out->now.tokens;
    int token = at.part->name_token;
    return change_put_text(self, edit_splice(self->arena, tokens->text, token_start(tokens, token),
                                             token_stop(tokens, token),
                                             name_quoted(self->arena, action->new_name)));
}

err_t change_add_constraint(maker_t *self, const action_t *action)
{
    const table_text_t *now = &self->out->now;
    part_place_t at;
    int column = 0;
    if (action->name && change_find_parts(self, change_same_name, action, &at) > 0)
        return err_set(ERR_INVALID, "%s has a constraint \"%s\" already", now->name, action->name);
    if (action->part.kind == PART_PRIMARY_KEY && table_primary_key(now))
        return err_set(ERR_INVALID, "%s has a primary key already: put DROP PRIMARY KEY before it",
                       now->name);
    for (int i = 0; i < action->part.columns_n; i++) {
        err_t err = change_find_column(self, action->part.columns[i], &column);
        if (err)
            return err;
    }
    return change_put_text(self,
                           edit_add_constraint(self->arena, now, change_definition(self, action)));
}

#include "schema/migrate/alter.h"

#include <string.h>

#include "schema/migrate/cursor.h"

static bool take_exists(cursor_t *self, bool negated)
{
    return negated ? cursor_at(self, "IF") && token_is(self->tokens, self->i + 1, "NOT") &&
                         token_is(self->tokens, self->i + 2, "EXISTS") && (self->i += 3)
                   : cursor_take_two(self, "IF", "EXISTS");
}

static err_t expect(cursor_t *self, const char *word)
{
    return cursor_take(self, word) ? ERR_OK : cursor_near(self, word);
}

/* RESTRICT is what happens anyway; CASCADE would remove what nobody named. */
static err_t take_behaviour(cursor_t *self)
{
    (void)cursor_take(self, "RESTRICT");
    return cursor_at(self, "CASCADE")
               ? err_set(ERR_INVALID, "ALTER TABLE does not take CASCADE: drop what depends on it "
                                      "by statements of their own, before this one")
               : ERR_OK;
}

/* -- ADD ---------------------------------------------------------------------------------- */

static void take_place(cursor_t *self, action_t *out, int from, int *to)
{
    if (*to - from >= 2 && token_is(self->tokens, *to - 1, "FIRST")) {
        out->place = PLACE_FIRST;
        *to -= 1;
    } else if (*to - from >= 3 && token_is_name(self->tokens, *to - 1) &&
               (token_is(self->tokens, *to - 2, "AFTER") ||
                token_is(self->tokens, *to - 2, "BEFORE"))) {
        out->place = token_is(self->tokens, *to - 2, "AFTER") ? PLACE_AFTER : PLACE_BEFORE;
        out->neighbour = token_name(self->arena, self->tokens, *to - 1);
        *to -= 2;
    }
}

static err_t read_add(cursor_t *self, action_t *out)
{
    if (constraint_begins(self->tokens, self->i)) {
        out->kind = ACTION_ADD_CONSTRAINT;
        out->from = self->i;
        err_t err = constraint_read(self->arena, self->tokens, self->i, self->end, &out->part);
        if (err)
            return err_context(err, "ALTER TABLE ADD");
        out->to = self->i = out->part.to;
        out->name = out->part.name;
        return out->part.kind == PART_NONE
                   ? cursor_near(self, "UNIQUE, CHECK, PRIMARY KEY or FOREIGN KEY")
                   : ERR_OK;
    }
    (void)cursor_take(self, "COLUMN");
    out->kind = ACTION_ADD_COLUMN;
    out->lenient = take_exists(self, true);
    int to = self->end;
    out->from = self->i;
    take_place(self, out, self->i, &to);
    err_t err = column_read(self->arena, self->tokens, self->i, to, &out->column);
    if (err)
        return err_context(err, "ALTER TABLE ADD COLUMN");
    out->to = to;
    out->name = out->column.name;
    self->i = self->end;
    return ERR_OK;
}

/* -- DROP --------------------------------------------------------------------------------- */

static err_t read_drop_list(cursor_t *self, action_t *out, part_kind_t kind)
{
    out->kind = ACTION_DROP_PART;
    out->part.kind = kind;
    err_t err = names_read(self->arena, self->tokens, self->i, self->end, &out->part.columns,
                           &out->part.columns_n, &self->i);
    if (!err && kind == PART_FOREIGN_KEY && cursor_take(self, "REFERENCES"))
        err = cursor_take_name(self, "the name of the parent table", &out->part.parent);
    return err;
}

static err_t read_drop_check(cursor_t *self, action_t *out)
{
    out->kind = ACTION_DROP_PART;
    out->part.kind = PART_CHECK;
    return cursor_take_parentheses(self, "an expression in parentheses", &out->from, &out->to);
}

static bool followed_by_list(const cursor_t *self, int words)
{
    return token_is_sign(self->tokens, self->i + words, '(');
}

static err_t read_drop(cursor_t *self, action_t *out)
{
    err_t err;
    if (cursor_at(self, "FOREIGN") && token_is(self->tokens, self->i + 1, "KEY") &&
        followed_by_list(self, 2)) {
        self->i += 2;
        err = read_drop_list(self, out, PART_FOREIGN_KEY);
    } else if (cursor_at(self, "UNIQUE") && followed_by_list(self, 1)) {
        self->i++;
        err = read_drop_list(self, out, PART_UNIQUE);
    } else if (cursor_at(self, "CHECK") && followed_by_list(self, 1)) {
        self->i++;
        err = read_drop_check(self, out);
    } else if (cursor_at(self, "PRIMARY") && token_is(self->tokens, self->i + 1, "KEY")) {
        self->i += 2;
        out->kind = ACTION_DROP_PART;
        out->part.kind = PART_PRIMARY_KEY;
        err = ERR_OK;
    } else if (cursor_take(self, "CONSTRAINT")) {
        out->kind = ACTION_DROP_CONSTRAINT;
        out->lenient = take_exists(self, false);
        err = cursor_take_name(self, "the constraint's name", &out->name);
    } else {
        (void)cursor_take(self, "COLUMN");
        out->kind = ACTION_DROP_COLUMN;
        out->lenient = take_exists(self, false);
        err = cursor_take_name(self, "the column's name", &out->name);
    }
    return err ? err : take_behaviour(self);
}

/* -- ALTER COLUMN, RENAME ----------------------------------------------------------------- */

static err_t read_type(cursor_t *self, action_t *out)
{
    out->kind = ACTION_SET_TYPE;
    int from = self->i;
    while (self->i < self->end && token_is_name(self->tokens, self->i) &&
           !cursor_at(self, "COLLATE") && !cursor_at(self, "USING"))
        self->i++;
    int inner, inner_to;
    if (self->i > from && cursor_at_sign(self, '(')) {
        err_t err = cursor_take_parentheses(self, "a closing parenthesis", &inner, &inner_to);
        if (err)
            return err;
    }
    if (self->i == from)
        return cursor_near(self, "a type");
    out->type = tokens_slice(self->arena, self->tokens, from, self->i);
    if (cursor_take(self, "COLLATE")) {
        err_t err = cursor_take_name(self, "a collation's name", &out->collation);
        if (err)
            return err;
    }
    if (cursor_take(self, "USING")) {
        out->using_from = self->i;
        out->using_to = self->i = self->end;
        if (out->using_from == out->using_to)
            return cursor_near(self, "an expression");
    }
    return ERR_OK;
}

static err_t read_set(cursor_t *self, action_t *out)
{
    if (cursor_take(self, "DEFAULT")) {
        out->kind = ACTION_SET_DEFAULT;
        out->from = self->i;
        out->to = self->i = self->end;
        return out->from == out->to ? cursor_near(self, "a default value") : ERR_OK;
    }
    if (cursor_take(self, "NOT")) {
        out->kind = ACTION_SET_NOT_NULL;
        return expect(self, "NULL");
    }
    if (cursor_at(self, "DATA") && token_is(self->tokens, self->i + 1, "TYPE")) {
        self->i += 2;
        return read_type(self, out);
    }
    return cursor_near(self, "DEFAULT, NOT NULL or DATA TYPE");
}

static err_t read_alter_column(cursor_t *self, action_t *out)
{
    (void)cursor_take(self, "COLUMN");
    err_t err = cursor_take_name(self, "the column's name", &out->name);
    if (err)
        return err;
    if (cursor_take(self, "TYPE"))
        return read_type(self, out);
    if (cursor_take(self, "SET"))
        return read_set(self, out);
    if (!cursor_take(self, "DROP"))
        return cursor_near(self, "TYPE, SET or DROP");
    if (cursor_take(self, "DEFAULT")) {
        out->kind = ACTION_DROP_DEFAULT;
        return ERR_OK;
    }
    out->kind = ACTION_DROP_NOT_NULL;
    err = expect(self, "NOT");
    return err ? cursor_near(self, "DEFAULT or NOT NULL") : expect(self, "NULL");
}

static err_t read_rename(cursor_t *self, action_t *out)
{
    if (cursor_at(self, "TO") && self->end - self->i == 2) {
        self->i++;
        out->kind = ACTION_RENAME_TABLE;
        return cursor_take_name(self, "the new name", &out->new_name);
    }
    out->kind = ACTION_RENAME_COLUMN;
    if (cursor_at(self, "CONSTRAINT") && token_is(self->tokens, self->i + 2, "TO")) {
        self->i++;
        out->kind = ACTION_RENAME_CONSTRAINT;
    } else {
        (void)cursor_take(self, "COLUMN");
    }
    err_t err = cursor_take_name(self, "the name that changes", &out->name);
    if (!err)
        err = expect(self, "TO");
    out->new_bare = self->i < self->end && self->tokens->items[self->i].kind == TOKEN_WORD;
    return err ? err : cursor_take_name(self, "the new name", &out->new_name);
}

/* -- the statement ------------------------------------------------------------------------ */

static err_t read_action(cursor_t *self, action_t *out)
{
    err_t err;
    if (cursor_take(self, "ADD")) {
        err = read_add(self, out);
    } else if (cursor_take(self, "DROP")) {
        err = read_drop(self, out);
    } else if (cursor_take(self, "ALTER")) {
        err = read_alter_column(self, out);
    } else if (cursor_take(self, "RENAME")) {
        err = read_rename(self, out);
    } else if (cursor_take(self, "REBUILD")) {
        out->kind = ACTION_REBUILD;
        err = ERR_OK;
    } else {
        return cursor_near(self, "ADD, DROP, ALTER, RENAME or REBUILD");
    }
    return err || self->i == self->end ? err : cursor_near(self, "a comma or the end");
}

/* Behind the action that begins at i: at its comma or the end; -1 if its parentheses do not match.
 */
static int action_end(const tokens_t *tokens, int i, int end)
{
    int depth = 0;
    for (; i < end; i++) {
        if (token_is_sign(tokens, i, '('))
            depth++;
        else if (token_is_sign(tokens, i, ')') && --depth < 0)
            return -1;
        else if (depth == 0 && token_is_sign(tokens, i, ','))
            break;
    }
    return depth == 0 ? i : -1;
}

bool alter_is(const tokens_t *tokens)
{
    return token_is(tokens, 0, "ALTER") && token_is(tokens, 1, "TABLE");
}

static err_t read_target(cursor_t *self, alter_t *out)
{
    if (token_is_sign(self->tokens, self->i + 1, '.')) {
        char *schema = NULL;
        err_t err = cursor_take_name(self, "the table's name", &schema);
        if (err)
            return err;
        if (!name_equal(schema, "main"))
            return err_set(ERR_INVALID, "ALTER TABLE %s.…: only tables of main can be changed",
                           schema);
        self->i++;
    }
    return cursor_take_name(self, "the table's name", &out->table);
}

err_t alter_read(arena_t *arena, const tokens_t *tokens, alter_t *out)
{
    alter_t alter = {.tokens = *tokens};
    int end = tokens->n;
    while (end > 0 && token_is_sign(tokens, end - 1, ';'))
        end--;
    cursor_t self = {arena, tokens, 2, end};
    alter.lenient = take_exists(&self, false);
    err_t err = read_target(&self, &alter);
    int i = self.i;
    while (!err) {
        action_t action = {0};
        self = (cursor_t){arena, tokens, i, action_end(tokens, i, end)};
        if (self.end < 0)
            return err_set(ERR_INVALID, "ALTER TABLE: its parentheses do not match");
        err = read_action(&self, &action);
        if (err)
            break;
        alter.actions = arena_grow(arena, alter.actions, alter.actions_n, sizeof action);
        alter.actions[alter.actions_n++] = action;
        if (self.end == end)
            break;
        i = self.end + 1;
    }
    int names = 0;
    for (int k = 0; k < alter.actions_n; k++)
        names += alter.actions[k].kind == ACTION_RENAME_TABLE;
    if (!err && names > 1)
        err = err_set(ERR_INVALID, "ALTER TABLE: a table gets one new name, not %d", names);
    if (!err)
        *out = alter;
    return err;
}

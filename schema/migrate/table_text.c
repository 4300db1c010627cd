#include "schema/migrate/table_text.h"

#include <string.h>

#include "schema/migrate/cursor.h"

static char **names_add(arena_t *arena, char **names, int *n, char *name)
{
    names = arena_grow(arena, names, *n, sizeof *names);
    names[(*n)++] = name;
    return names;
}

err_t names_read(arena_t *arena, const tokens_t *tokens, int i, int end, char ***names, int *n,
                 int *to)
{
    cursor_t self = {arena, tokens, i, end};
    int close = cursor_at_sign(&self, '(') ? tokens_close(tokens, i, end) : -1;
    if (close < 0)
        return cursor_near(&self, "a list of names in parentheses");
    *names = NULL;
    *n = 0;
    self.end = close - 1;
    for (self.i++; self.i < self.end; self.i++) {
        if (!cursor_at_name(&self))
            return cursor_near(&self, "a column's name");
        *names = names_add(arena, *names, n, token_name(arena, tokens, self.i));
        for (self.i++; self.i < self.end && !cursor_at_sign(&self, ','); self.i++)
            if (cursor_at_sign(&self, '(')) /* an expression */
                return cursor_near(&self, "a column's name");
    }
    *to = close;
    return *n > 0 ? ERR_OK : cursor_near(&self, "a column's name");
}

/* -- one constraint ----------------------------------------------------------------------- */

static err_t read_parentheses(cursor_t *self, part_t *part)
{
    return cursor_take_parentheses(self, "an expression in parentheses", &part->inner,
                                   &part->inner_to);
}

static void take_conflict(cursor_t *self)
{
    if (cursor_take_two(self, "ON", "CONFLICT"))
        self->i++;
}

static err_t read_default(cursor_t *self, part_t *part)
{
    if (cursor_at_sign(self, '('))
        return read_parentheses(self, part);
    part->inner = self->i;
    if (cursor_at_sign(self, '-') || cursor_at_sign(self, '+'))
        self->i++;
    if (self->i >= self->end || self->tokens->items[self->i].kind == TOKEN_SIGN)
        return cursor_near(self, "a default value");
    part->inner_to = ++self->i;
    return ERR_OK;
}

/* Behind REFERENCES parent (columns): actions and MATCH in any order. */
static void take_actions(cursor_t *self)
{
    for (;;) {
        if (cursor_take(self, "MATCH")) {
            self->i++;
        } else if (cursor_at(self, "ON") && !token_is(self->tokens, self->i + 1, "CONFLICT")) {
            self->i += 2;
            if (cursor_take(self, "SET") || cursor_take(self, "NO"))
                self->i++;
            else
                self->i++;
        } else {
            return;
        }
    }
}

static void take_deferrable(cursor_t *self)
{
    if (!cursor_take_two(self, "NOT", "DEFERRABLE") && !cursor_take(self, "DEFERRABLE"))
        return;
    if (cursor_take(self, "INITIALLY"))
        self->i++;
}

static err_t read_references(cursor_t *self, part_t *part)
{
    if (!cursor_at_name(self))
        return cursor_near(self, "the name of the parent table");
    part->parent = token_name(self->arena, self->tokens, self->i++);
    if (cursor_at_sign(self, '(')) {
        part->parent_from = self->i + 1;
        err_t err = names_read(self->arena, self->tokens, self->i, self->end, &part->parent_columns,
                               &part->parent_columns_n, &self->i);
        if (err)
            return err;
        part->parent_to = self->i - 1;
    }
    take_actions(self);
    take_deferrable(self);
    if (self->i > self->end)
        self->i = self->end;
    return ERR_OK;
}

static void begin_part(cursor_t *self, part_t *out)
{
    *out = (part_t){.from = self->i, .name_token = -1};
    if (cursor_at(self, "CONSTRAINT") && self->i + 1 < self->end &&
        token_is_name(self->tokens, self->i + 1)) {
        out->name_token = self->i + 1;
        out->name = token_name(self->arena, self->tokens, self->i + 1);
        self->i += 2;
    }
}

static err_t read_generated(cursor_t *self, part_t *part)
{
    part->kind = PART_GENERATED;
    err_t err = read_parentheses(self, part);
    if (err)
        return err;
    part->stored = cursor_take(self, "STORED");
    if (!part->stored)
        (void)cursor_take(self, "VIRTUAL");
    return ERR_OK;
}

/* A column's key is a key of this one column. */
static void own_column(cursor_t *self, part_t *part, char *column)
{
    part->columns = names_add(self->arena, NULL, &part->columns_n, column);
}

static err_t read_column_part(cursor_t *self, char *column, part_t *out)
{
    begin_part(self, out);
    err_t err = ERR_OK;
    if (cursor_take(self, "DEFAULT")) {
        out->kind = PART_DEFAULT;
        err = read_default(self, out);
    } else if (cursor_take_two(self, "NOT", "NULL") || cursor_take(self, "NULL")) {
        out->kind = token_is(self->tokens, self->i - 2, "NOT") ? PART_NOT_NULL : PART_NULL;
        take_conflict(self);
    } else if (cursor_take_two(self, "PRIMARY", "KEY")) {
        out->kind = PART_PRIMARY_KEY;
        own_column(self, out, column);
        if (!cursor_take(self, "ASC"))
            (void)cursor_take(self, "DESC");
        take_conflict(self);
        out->autoincrement = cursor_take(self, "AUTOINCREMENT");
    } else if (cursor_take(self, "UNIQUE")) {
        out->kind = PART_UNIQUE;
        own_column(self, out, column);
        take_conflict(self);
    } else if (cursor_take(self, "CHECK")) {
        out->kind = PART_CHECK;
        err = read_parentheses(self, out);
    } else if (cursor_take(self, "REFERENCES")) {
        out->kind = PART_FOREIGN_KEY;
        own_column(self, out, column);
        err = read_references(self, out);
    } else if (cursor_take(self, "COLLATE")) {
        out->kind = PART_COLLATE;
        out->inner = self->i;
        out->inner_to = ++self->i;
    } else if (cursor_take_two(self, "GENERATED", "ALWAYS") ? cursor_take(self, "AS")
                                                            : cursor_take(self, "AS")) {
        err = read_generated(self, out);
    } else if (out->name_token < 0) {
        return cursor_near(self, "a constraint");
    }
    out->to = self->i;
    return err;
}

static bool part_begins(const cursor_t *self)
{
    static const char *const words[] = {"CONSTRAINT", "DEFAULT", "NULL",       "NOT",     "PRIMARY",
                                        "UNIQUE",     "CHECK",   "REFERENCES", "COLLATE", "AS"};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        if (cursor_at(self, words[k]))
            return true;
    return cursor_at(self, "GENERATED") && token_is(self->tokens, self->i + 1, "ALWAYS");
}

/* Words, then perhaps one or two numbers in parentheses. */
static err_t read_type(cursor_t *self, column_t *out)
{
    out->type_from = self->i;
    while (cursor_at_name(self) && !part_begins(self))
        self->i++;
    int inner, inner_to;
    err_t err = ERR_OK;
    if (self->i > out->type_from && cursor_at_sign(self, '('))
        err = cursor_take_parentheses(self, "a closing parenthesis", &inner, &inner_to);
    out->type_to = self->i;
    return err;
}

static err_t read_column(cursor_t *self, column_t *out)
{
    if (!cursor_at_name(self))
        return cursor_near(self, "a column's name");
    *out = (column_t){.from = self->i, .name = token_name(self->arena, self->tokens, self->i)};
    self->i++;
    err_t err = read_type(self, out);
    while (!err && self->i < self->end && !cursor_at_sign(self, ',')) {
        part_t part;
        err = read_column_part(self, out->name, &part);
        if (err)
            break;
        out->parts = arena_grow(self->arena, out->parts, out->parts_n, sizeof *out->parts);
        out->parts[out->parts_n++] = part;
    }
    out->to = self->i;
    return err;
}

err_t column_read(arena_t *arena, const tokens_t *tokens, int from, int to, column_t *out)
{
    cursor_t self = {arena, tokens, from, to};
    err_t err = read_column(&self, out);
    return err || self.i == to ? err : cursor_near(&self, "the end of the column");
}

/* -- table constraints -------------------------------------------------------------------- */

bool constraint_begins(const tokens_t *tokens, int i)
{
    return token_is(tokens, i, "CONSTRAINT") || token_is(tokens, i, "PRIMARY") ||
           token_is(tokens, i, "UNIQUE") || token_is(tokens, i, "CHECK") ||
           token_is(tokens, i, "FOREIGN");
}

static err_t read_key_list(cursor_t *self, part_t *part)
{
    int open = self->i;
    err_t err = names_read(self->arena, self->tokens, open, self->end, &part->columns,
                           &part->columns_n, &self->i);
    if (err)
        return err;
    part->inner = open + 1;
    part->inner_to = self->i - 1;
    part->autoincrement = token_is(self->tokens, part->inner_to - 1, "AUTOINCREMENT");
    return ERR_OK;
}

static err_t read_constraint(cursor_t *self, part_t *out)
{
    begin_part(self, out);
    err_t err = ERR_OK;
    if (cursor_take_two(self, "PRIMARY", "KEY")) {
        out->kind = PART_PRIMARY_KEY;
        err = read_key_list(self, out);
    } else if (cursor_take(self, "UNIQUE")) {
        out->kind = PART_UNIQUE;
        err = read_key_list(self, out);
    } else if (cursor_take(self, "CHECK")) {
        out->kind = PART_CHECK;
        err = read_parentheses(self, out);
    } else if (cursor_take_two(self, "FOREIGN", "KEY")) {
        out->kind = PART_FOREIGN_KEY;
        err = read_key_list(self, out);
        if (!err && !cursor_take(self, "REFERENCES"))
            err = cursor_near(self, "REFERENCES");
        if (!err)
            err = read_references(self, out);
    } else if (out->name_token < 0) {
        err = cursor_near(self, "a constraint");
    }
    if (!err && out->kind != PART_FOREIGN_KEY)
        take_conflict(self);
    out->to = self->i;
    return err;
}

err_t constraint_read(arena_t *arena, const tokens_t *tokens, int from, int to, part_t *out)
{
    cursor_t self = {arena, tokens, from, to};
    return read_constraint(&self, out);
}

/* -- the whole statement ------------------------------------------------------------------ */

static err_t read_options(cursor_t *self, table_text_t *out)
{
    while (self->i < self->end) {
        if (cursor_take_two(self, "WITHOUT", "ROWID"))
            out->without_rowid = true;
        else if (cursor_take(self, "STRICT"))
            out->strict = true;
        else if (cursor_at_sign(self, ',') || cursor_at_sign(self, ';'))
            self->i++;
        else
            return cursor_near(self, "WITHOUT ROWID or STRICT");
    }
    return ERR_OK;
}

static err_t read_head(cursor_t *self, table_text_t *out)
{
    if (!cursor_take(self, "CREATE"))
        return cursor_near(self, "CREATE TABLE");
    if (!cursor_take(self, "TEMP"))
        (void)cursor_take(self, "TEMPORARY");
    if (!cursor_take(self, "TABLE"))
        return cursor_near(self, "CREATE TABLE");
    if (cursor_take_two(self, "IF", "NOT"))
        (void)cursor_take(self, "EXISTS");
    if (cursor_at_name(self) && token_is_sign(self->tokens, self->i + 1, '.'))
        self->i += 2;
    if (!cursor_at_name(self))
        return cursor_near(self, "the table's name");
    out->name_token = self->i;
    out->name = token_name(self->arena, self->tokens, self->i++);
    out->open = self->i;
    int inner;
    return cursor_take_parentheses(self, "the columns in parentheses", &inner, &out->close);
}

static err_t read_body(cursor_t *self, table_text_t *out)
{
    err_t err = ERR_OK;
    while (!err && self->i < self->end) {
        if (constraint_begins(self->tokens, self->i)) {
            part_t part;
            err = read_constraint(self, &part);
            out->constraints =
                arena_grow(self->arena, out->constraints, out->constraints_n, sizeof part);
            out->constraints[out->constraints_n++] = part;
            if (!err && cursor_at_sign(self, ','))
                self->i++;
            continue;
        }
        column_t column;
        err = read_column(self, &column);
        out->columns = arena_grow(self->arena, out->columns, out->columns_n, sizeof column);
        out->columns[out->columns_n++] = column;
        if (!err && cursor_at_sign(self, ','))
            self->i++;
    }
    return err;
}

err_t table_text_read(arena_t *arena, const char *text, table_text_t *out)
{
    table_text_t table = {.tokens = tokens_read(arena, text, strlen(text))};
    cursor_t self = {arena, &table.tokens, 0, table.tokens.n};
    err_t err = read_head(&self, &table);
    if (err)
        return err;
    self = (cursor_t){arena, &table.tokens, table.open + 1, table.close};
    err = read_body(&self, &table);
    if (!err && table.columns_n == 0)
        err = cursor_near(&self, "a column");
    self = (cursor_t){arena, &table.tokens, table.close + 1, table.tokens.n};
    if (!err)
        err = read_options(&self, &table);
    if (!err)
        *out = table;
    return err;
}

/* -- questions ---------------------------------------------------------------------------- */

const column_t *table_column(const table_text_t *self, const char *name)
{
    for (int i = 0; i < self->columns_n; i++)
        if (name_equal(self->columns[i].name, name))
            return &self->columns[i];
    return NULL;
}

const part_t *column_part(const column_t *self, part_kind_t kind)
{
    for (int i = self->parts_n; i-- > 0;)
        if (self->parts[i].kind == kind)
            return &self->parts[i];
    return NULL;
}

const part_t *table_primary_key(const table_text_t *self)
{
    for (int i = 0; i < self->columns_n; i++) {
        const part_t *part = column_part(&self->columns[i], PART_PRIMARY_KEY);
        if (part)
            return part;
    }
    for (int i = 0; i < self->constraints_n; i++)
        if (self->constraints[i].kind == PART_PRIMARY_KEY)
            return &self->constraints[i];
    return NULL;
}

char *column_type(arena_t *arena, const tokens_t *tokens, const column_t *column)
{
    return tokens_slice(arena, tokens, column->type_from, column->type_to);
}

const char *table_rowid_name(const table_text_t *self)
{
    static const char *const names[] = {"rowid", "_rowid_", "oid"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!table_column(self, names[i]))
            return names[i];
    return NULL;
}

const char *table_integer_key(const table_text_t *self)
{
    const part_t *key = table_primary_key(self);
    const column_t *only = key && key->columns_n == 1 ? table_column(self, key->columns[0]) : NULL;
    if (!only || only->type_to - only->type_from != 1)
        return NULL;
    arena_t arena = {0};
    bool integer = name_equal(token_name(&arena, &self->tokens, only->type_from), "INTEGER");
    arena_free(&arena);
    /* A quirk that SQLite keeps: DESC in the column makes it a key of its own, in the table not. */
    bool inline_key = column_part(only, PART_PRIMARY_KEY) == key;
    for (int i = key->from; inline_key && i < key->to; i++)
        if (token_is(&self->tokens, i, "DESC"))
            return NULL;
    return integer ? only->name : NULL;
}

bool table_rowid_alias(const table_text_t *self, const char **column)
{
    const char *key = self->without_rowid ? NULL : table_integer_key(self);
    if (key)
        *column = key;
    return key != NULL;
}

static bool contains(const char *type, const char *part)
{
    return strcasestr(type, part) != NULL;
}

affinity_t type_affinity(const char *type)
{
    if (contains(type, "INT"))
        return AFFINITY_INTEGER;
    if (contains(type, "CHAR") || contains(type, "CLOB") || contains(type, "TEXT"))
        return AFFINITY_TEXT;
    if (!*type || contains(type, "BLOB"))
        return AFFINITY_BLOB;
    if (contains(type, "REAL") || contains(type, "FLOA") || contains(type, "DOUB"))
        return AFFINITY_REAL;
    return AFFINITY_NUMERIC;
}

#include "schema/migrate/compare.h"

#include <string.h>

typedef struct {
    arena_t *arena;
    change_t *change;
} comparer_t;

static void need(comparer_t *self, need_kind_t kind, int column, const part_t *part)
{
    change_t *change = self->change;
    change->needs = arena_grow(self->arena, change->needs, change->needs_n, sizeof *change->needs);
    change->needs[change->needs_n++] = (need_t){kind, column, part};
}

/* The first reason is told. */
static void rebuild(comparer_t *self, const char *why)
{
    if (!self->change->rebuild)
        self->change->rebuild = why;
}

static char *normal(comparer_t *self, const table_text_t *table, int from, int to)
{
    return tokens_normal(self->arena, &table->tokens, from, to);
}

static const column_t *old_column(const comparer_t *self, int i)
{
    const char *old = self->change->columns[i].old;
    return old ? table_column(&self->change->old, old) : NULL;
}

/* -- keys: PRIMARY KEY and UNIQUE, in the order SQLite numbers their indexes ---------------- */

typedef struct {
    const part_t *part;
    char *text; /* without its name, in one form for the column's and the table's own */
} key_text_t;

static void add_key(comparer_t *self, const table_text_t *table, const part_t *part,
                    key_text_t **keys, int *n)
{
    if (part->kind != PART_UNIQUE && part->kind != PART_PRIMARY_KEY)
        return;
    int body = part->name_token < 0 ? part->from : part->name_token + 1;
    char *text = arena_printf(self->arena, "%s|%s", part->inner_to ? "" : part->columns[0],
                              normal(self, table, body, part->to));
    *keys = arena_grow(self->arena, *keys, *n, sizeof **keys);
    (*keys)[(*n)++] = (key_text_t){part, text};
}

static key_text_t *keys_of(comparer_t *self, const table_text_t *table, int *n)
{
    key_text_t *keys = NULL;
    *n = 0;
    for (int i = 0; i < table->columns_n; i++)
        for (int k = 0; k < table->columns[i].parts_n; k++)
            add_key(self, table, &table->columns[i].parts[k], &keys, n);
    for (int i = 0; i < table->constraints_n; i++)
        add_key(self, table, &table->constraints[i], &keys, n);
    return keys;
}

static void compare_keys(comparer_t *self)
{
    int old_n = 0, now_n = 0;
    key_text_t *old = keys_of(self, &self->change->old, &old_n);
    key_text_t *now = keys_of(self, &self->change->now, &now_n);
    for (int i = 0; i < now_n; i++) {
        bool known = false;
        for (int k = 0; k < old_n; k++)
            known = known || name_equal(now[i].text, old[k].text);
        if (!known)
            need(self, NEED_KEY, -1, now[i].part);
    }
    bool same = old_n == now_n;
    for (int i = 0; same && i < now_n; i++)
        same = name_equal(now[i].text, old[i].text);
    self->change->keys_change = !same;
    if (!same)
        rebuild(self, "its keys change");
    /* Also without rowids: SQLite numbers the index of such a key behind the others. */
    const char *old_alias = table_integer_key(&self->change->old);
    const char *now_alias = table_integer_key(&self->change->now);
    if (name_equal(old_alias ? old_alias : "", now_alias ? now_alias : ""))
        return;
    self->change->keys_change = true;
    rebuild(self, "its primary key becomes INTEGER PRIMARY KEY or is no longer");
    if (now_alias) /* INT PRIMARY KEY may have NULL, INTEGER PRIMARY KEY numbers such a row */
        need(self, NEED_KEY, -1, table_primary_key(&self->change->now));
}

/* -- CHECK and FOREIGN KEY ---------------------------------------------------------------- */

typedef void (*visit_t)(comparer_t *self, int column, const part_t *part);

static void each_part(comparer_t *self, const table_text_t *table, part_kind_t kind, visit_t visit)
{
    for (int i = 0; i < table->columns_n; i++)
        for (int k = 0; k < table->columns[i].parts_n; k++)
            if (table->columns[i].parts[k].kind == kind)
                visit(self, i, &table->columns[i].parts[k]);
    for (int i = 0; i < table->constraints_n; i++)
        if (table->constraints[i].kind == kind)
            visit(self, -1, &table->constraints[i]);
}

static bool part_in(comparer_t *self, const table_text_t *table, part_kind_t kind,
                    bool (*same)(comparer_t *self, const part_t *now, const part_t *old),
                    const part_t *now)
{
    for (int i = 0; i < table->columns_n; i++)
        for (int k = 0; k < table->columns[i].parts_n; k++)
            if (table->columns[i].parts[k].kind == kind &&
                same(self, now, &table->columns[i].parts[k]))
                return true;
    for (int i = 0; i < table->constraints_n; i++)
        if (table->constraints[i].kind == kind && same(self, now, &table->constraints[i]))
            return true;
    return false;
}

static bool same_check(comparer_t *self, const part_t *now, const part_t *old)
{
    return strcmp(normal(self, &self->change->now, now->inner, now->inner_to),
                  normal(self, &self->change->old, old->inner, old->inner_to)) == 0;
}

bool change_had_check(arena_t *arena, const change_t *self, const part_t *part)
{
    change_t copy = *self; /* only read */
    comparer_t comparer = {arena, &copy};
    return part_in(&comparer, &self->old, PART_CHECK, same_check, part);
}

static bool same_names(char **a, int a_n, char **b, int b_n)
{
    bool same = a_n == b_n;
    for (int i = 0; same && i < a_n; i++)
        same = name_equal(a[i], b[i]);
    return same;
}

static bool same_reference(comparer_t *self, const part_t *now, const part_t *old)
{
    (void)self;
    return name_equal(now->parent, old->parent) &&
           same_names(now->columns, now->columns_n, old->columns, old->columns_n) &&
           same_names(now->parent_columns, now->parent_columns_n, old->parent_columns,
                      old->parent_columns_n);
}

/* Is a column of it new, or are its values? */
static bool values_change(const comparer_t *self, int column)
{
    const mapping_t *mapping = &self->change->columns[column];
    /* A generated column follows others: asked again whenever there are any new values. */
    if (column_part(&self->change->now.columns[column], PART_GENERATED))
        for (int i = 0; i < self->change->now.columns_n; i++)
            if (!column_part(&self->change->now.columns[i], PART_GENERATED) &&
                values_change(self, i))
                return true;
    const column_t *old = old_column(self, column), *now = &self->change->now.columns[column];
    if (!old || mapping->using)
        return true;
    arena_t *arena = self->arena;
    return !name_equal(column_type(arena, &self->change->old.tokens, old),
                       column_type(arena, &self->change->now.tokens, now));
}

static void visit_check(comparer_t *self, int column, const part_t *part)
{
    int n = 0;
    const table_text_t *now = &self->change->now;
    int *named = columns_named(self->arena, now, &now->tokens, part->inner, part->inner_to, &n);
    bool fresh = !part_in(self, &self->change->old, PART_CHECK, same_check, part);
    for (int i = 0; i < n; i++)
        fresh = fresh || values_change(self, named[i]);
    if (fresh)
        need(self, NEED_CHECK, column, part);
}

static void visit_foreign_key(comparer_t *self, int column, const part_t *part)
{
    bool fresh = !part_in(self, &self->change->old, PART_FOREIGN_KEY, same_reference, part);
    for (int i = 0; i < part->columns_n; i++) {
        const column_t *own = table_column(&self->change->now, part->columns[i]);
        fresh = fresh || (own && values_change(self, (int)(own - self->change->now.columns)));
    }
    if (fresh)
        need(self, NEED_PARENT, column, part);
}

/* -- columns ------------------------------------------------------------------------------ */

static char *part_normal(comparer_t *self, const table_text_t *table, const column_t *column,
                         part_kind_t kind)
{
    const part_t *part = column_part(column, kind);
    if (!part)
        return arena_text(self->arena, "", 0);
    int body = part->name_token < 0 ? part->from : part->name_token + 1;
    return normal(self, table, body, part->to);
}

bool default_is_constant(const tokens_t *tokens, const part_t *part)
{
    int i = part->inner, n = part->inner_to - part->inner;
    if (token_is_sign(tokens, i - 1, '('))
        return false;
    if (n == 2)
        return tokens->items[i + 1].kind == TOKEN_NUMBER;
    token_kind_t kind = tokens->items[i].kind;
    return kind == TOKEN_STRING || kind == TOKEN_NUMBER || kind == TOKEN_BLOB ||
           token_is(tokens, i, "NULL") || token_is(tokens, i, "TRUE") ||
           token_is(tokens, i, "FALSE");
}

static bool default_is_null(const comparer_t *self, const column_t *column)
{
    const part_t *part = column_part(column, PART_DEFAULT);
    return !part || token_is(&self->change->now.tokens, part->inner, "NULL");
}

static void compare_new(comparer_t *self, int i)
{
    const column_t *now = &self->change->now.columns[i];
    const part_t *generated = column_part(now, PART_GENERATED);
    const part_t *value = column_part(now, PART_DEFAULT);
    const mapping_t *mapping = &self->change->columns[i];
    if (mapping->using)
        rebuild(self, "the rows get other values than the default of the added column");
    if (generated && generated->stored)
        rebuild(self, "a stored generated column is added");
    if (value && !default_is_constant(&self->change->now.tokens, value))
        rebuild(self, "the default of the added column is an expression");
    /* Rows from before would show 1 where a row from now on has '1': a slip of SQLite's. */
    bool truth = value && (token_is(&self->change->now.tokens, value->inner, "TRUE") ||
                           token_is(&self->change->now.tokens, value->inner, "FALSE"));
    const char *type = column_type(self->arena, &self->change->now.tokens, now);
    if (truth && type_affinity(type) == AFFINITY_TEXT)
        rebuild(self, "TRUE and FALSE are numbers, and the added column holds text");
    if (column_part(now, PART_NOT_NULL) && !generated && !mapping->using &&
        default_is_null(self, now))
        need(self, NEED_EMPTY, i, NULL);
    if (column_part(now, PART_NOT_NULL) && generated)
        need(self, NEED_NOT_NULL, i, NULL);
}

static void compare_type(comparer_t *self, int i, const column_t *old)
{
    const column_t *now = &self->change->now.columns[i];
    char *old_type = column_type(self->arena, &self->change->old.tokens, old);
    char *now_type = column_type(self->arena, &self->change->now.tokens, now);
    if (self->change->columns[i].using) {
        rebuild(self, "a column's values are made anew");
        return;
    }
    if (name_equal(old_type, now_type))
        return;
    bool strict = self->change->now.strict;
    if (!strict && type_affinity(old_type) == type_affinity(now_type))
        return;
    self->change->compares_otherwise = true;
    rebuild(self, arena_printf(self->arena, "%s changes its type", now->name));
    if (!column_part(now, PART_GENERATED))
        need(self, NEED_LOSSLESS, i, NULL);
}

static void compare_kept(comparer_t *self, int i, const column_t *old)
{
    const table_text_t *then = &self->change->old, *table = &self->change->now;
    const column_t *now = &table->columns[i];
    compare_type(self, i, old);
    if (strcmp(part_normal(self, then, old, PART_COLLATE),
               part_normal(self, table, now, PART_COLLATE)) != 0) {
        rebuild(self, arena_printf(self->arena, "%s changes its collation", now->name));
        self->change->compares_otherwise = true;
    }
    if (strcmp(part_normal(self, then, old, PART_DEFAULT),
               part_normal(self, table, now, PART_DEFAULT)) != 0)
        need(self, NEED_DEFAULT, i, NULL);
    bool was_bound = column_part(old, PART_NOT_NULL) != NULL;
    if (column_part(now, PART_NOT_NULL) && (!was_bound || self->change->columns[i].using))
        need(self, NEED_NOT_NULL, i, NULL);
}

void change_compare(arena_t *arena, change_t *change, bool forced)
{
    comparer_t self = {arena, change};
    if (forced)
        rebuild(&self, "it was asked for");
    for (int i = 0; i < change->now.columns_n; i++) {
        const column_t *old = old_column(&self, i);
        if (!old)
            compare_new(&self, i);
        else
            compare_kept(&self, i, old);
        if (old && old != &change->old.columns[i])
            rebuild(&self, "the order of its columns changes");
        if (!old && i < change->old.columns_n)
            rebuild(&self, "a column is added between others");
    }
    if (change->dropped_n > 0)
        rebuild(&self, "a column goes");
    compare_keys(&self);
    each_part(&self, &change->now, PART_CHECK, visit_check);
    each_part(&self, &change->now, PART_FOREIGN_KEY, visit_foreign_key);
}

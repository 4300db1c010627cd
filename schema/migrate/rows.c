#include "schema/migrate/rows.h"

#include <inttypes.h>
#include <string.h>

enum { SHOWN = 3, SHOWN_BYTES = 100 };

/* -- which row ---------------------------------------------------------------------------- */

char *rows_label(arena_t *arena, const table_text_t *table)
{
    const char *rowid = table_rowid_name(table);
    const part_t *key = table_primary_key(table);
    if (!table->without_rowid)
        return rowid ? arena_printf(arena, "'rowid ' || %s", rowid)
                     : arena_text(arena, "'a row'", 7);
    char *label = arena_text(arena, "'key '", 6);
    for (int i = 0; key && i < key->columns_n; i++)
        label = arena_printf(arena, "%s%s || quote(%s)", label, i ? " || ', '" : "",
                             name_quoted(arena, key->columns[i]));
    return label;
}

rows_t rows_stored(session_t *session, arena_t *arena, const change_t *change, const char *name)
{
    return (rows_t){.session = session,
                    .arena = arena,
                    .change = change,
                    .table = name,
                    .relation = arena_printf(arena, "main.%s", name_quoted(arena, name)),
                    .label = rows_label(arena, &change->old)};
}

/* What a column will hold, said over the old table. */
static char *value_of(arena_t *arena, const change_t *change, int column)
{
    const mapping_t *mapping = &change->columns[column];
    const column_t *now = &change->now.columns[column];
    if (mapping->using)
        return arena_printf(arena, "(%s\n)", mapping->using);
    const part_t *collation = column_part(now, PART_COLLATE);
    if (mapping->old && collation)
        return arena_printf(
            arena, "%s COLLATE %s", name_quoted(arena, mapping->old),
            name_quoted(arena, token_name(arena, &change->now.tokens, collation->inner)));
    if (mapping->old)
        return name_quoted(arena, mapping->old);
    const part_t *value = column_part(now, PART_DEFAULT);
    if (!value)
        return arena_text(arena, "NULL", 4);
    return arena_printf(arena, "(%s\n)",
                        tokens_slice(arena, &change->now.tokens, value->inner, value->inner_to));
}

rows_t rows_to_be(session_t *session, arena_t *arena, const change_t *change, const char *name)
{
    rows_t self = rows_stored(session, arena, change, name);
    buffer_t sql = {0};
    buffer_printf(&sql, "(SELECT %s AS _stint_row", self.label);
    for (int i = 0; i < change->now.columns_n; i++)
        buffer_printf(&sql, ", %s AS %s", value_of(arena, change, i),
                      name_quoted(arena, change->now.columns[i].name));
    /* Under the table's own name: a condition may say t.a. */
    buffer_printf(&sql, " FROM %s) AS %s", self.relation, name_quoted(arena, name));
    self.relation = arena_text(arena, (const char *)sql.data, sql.n);
    self.label = "_stint_row";
    buffer_free(&sql);
    return self;
}

/* -- one query for all: rows that break something ----------------------------------------- */

/* Not in the middle of a letter. */
static int cut(const char *text, int most)
{
    int n = (int)strlen(text);
    if (n <= most)
        return n;
    while (most > 0 && ((unsigned char)text[most] & 0xc0) == 0x80)
        most--;
    return most;
}

err_t rows_find(const rows_t *self, const char *condition, const char *detail, offenders_t *out)
{
    sqlite3_stmt *statement = NULL;
    buffer_t shown = {0};
    bool row = true;
    err_t err = session_number(
        self->session,
        arena_printf(self->arena, "SELECT count(*) FROM %s WHERE %s", self->relation, condition),
        &out->n);
    if (!err)
        err = session_prepare(self->session,
                              arena_printf(self->arena, "SELECT %s%s%s FROM %s WHERE %s LIMIT %d",
                                           self->label, detail ? " || ' -> ' || " : "",
                                           detail ? detail : "", self->relation, condition, SHOWN),
                              &statement);
    while (!err && row) {
        err = session_next(self->session, &statement, &row);
        if (err || !row)
            break;
        char *text = session_column(self->arena, statement, 0);
        buffer_printf(&shown, "%s%.*s", shown.n ? ", " : " (", cut(text, SHOWN_BYTES), text);
    }
    sqlite3_finalize(statement);
    out->shown =
        arena_printf(self->arena, "%.*s%s%s", (int)shown.n, shown.n ? (const char *)shown.data : "",
                     out->n > SHOWN && shown.n ? ", …" : "", shown.n ? ")" : "");
    buffer_free(&shown);
    return err;
}

static const char *s(int64_t n)
{
    return n == 1 ? "" : "s";
}

/* -- needs -------------------------------------------------------------------------------- */

static err_t check_empty(const rows_t *self, int column)
{
    int64_t n = 0;
    err_t err = session_number(
        self->session, arena_printf(self->arena, "SELECT count(*) FROM %s", self->relation), &n);
    if (err || n == 0)
        return err;
    return err_set(ERR_INVALID,
                   "%s.%s: NOT NULL without a DEFAULT, but the table has %" PRId64
                   " row%s: give it a DEFAULT, or add it without NOT NULL, fill it, then SET NOT "
                   "NULL",
                   self->table, self->change->now.columns[column].name, n, s(n));
}

static err_t check_not_null(const rows_t *self, const char *column)
{
    offenders_t found = {0};
    char *quoted = name_quoted(self->arena, column);
    err_t err = rows_find(self, arena_printf(self->arena, "%s IS NULL", quoted), NULL, &found);
    if (err || found.n == 0)
        return err;
    return err_set(ERR_INVALID,
                   "%s.%s: %" PRId64 " row%s NULL%s. Fill %s first: UPDATE %s SET %s = … WHERE %s "
                   "IS NULL",
                   self->table, column, found.n, found.n == 1 ? " is" : "s are", found.shown,
                   found.n == 1 ? "it" : "them", name_quoted(self->arena, self->table), quoted,
                   quoted);
}

char *rows_check_sql(const rows_t *self, const part_t *part)
{
    return arena_printf(
        self->arena, "SELECT 1 FROM %s WHERE NOT (%s\n)", self->relation,
        tokens_slice(self->arena, &self->change->now.tokens, part->inner, part->inner_to));
}

static err_t check_check(const rows_t *self, const part_t *part)
{
    offenders_t found = {0};
    const tokens_t *tokens = &self->change->now.tokens;
    char *expression = tokens_slice(self->arena, tokens, part->inner, part->inner_to);
    err_t err = rows_find(self, arena_printf(self->arena, "NOT (%s\n)", expression), NULL, &found);
    if (err)
        return err_context(err, "%s: CHECK (%.200s)", self->table, expression);
    if (found.n == 0)
        return ERR_OK;
    return err_set(ERR_INVALID, "%s: %" PRId64 " row%s %s%s. Change the row%s, or the condition",
                   self->table, found.n, found.n == 1 ? " breaks" : "s break",
                   part_words(self->arena, tokens, part), found.shown, s(found.n));
}

/* -- twice -------------------------------------------------------------------------------- */

/* The terms of a key or index between tokens, without their order: "a COLLATE NOCASE", "lower(b)".
 */
static char **terms_of(arena_t *arena, const tokens_t *tokens, int from, int to, int *n)
{
    char **terms = NULL;
    int depth = 0, start = from;
    *n = 0;
    for (int i = from; i <= to; i++) {
        depth += token_is_sign(tokens, i, '(') - token_is_sign(tokens, i, ')');
        if (i < to && !(depth == 0 && token_is_sign(tokens, i, ',')))
            continue;
        int end = i;
        while (end > start + 1 &&
               (token_is(tokens, end - 1, "ASC") || token_is(tokens, end - 1, "DESC") ||
                token_is(tokens, end - 1, "AUTOINCREMENT")))
            end--;
        terms = arena_grow(arena, terms, *n, sizeof *terms);
        terms[(*n)++] = tokens_slice(arena, tokens, start, end);
        start = i + 1;
    }
    return terms;
}

static char *joined(arena_t *arena, char **terms, int n, const char *before, const char *between,
                    const char *behind)
{
    char *list = arena_text(arena, "", 0);
    for (int i = 0; i < n; i++)
        list = arena_printf(arena, "%s%s%s%s%s", list, i ? between : "", before, terms[i], behind);
    return list;
}

/* Rows that are alike in every term; NULL is like nothing. */
static err_t find_twins(const rows_t *self, char **terms, int n, const char *where,
                        offenders_t *out)
{
    arena_t *arena = self->arena;
    rows_t twins = *self;
    twins.relation = arena_printf(
        arena,
        "(SELECT %s AS _stint_row, %s AS _stint_value, count(*) OVER (PARTITION BY %s) AS _stint_n "
        "FROM %s WHERE %s%s%s%s)",
        self->label, joined(arena, terms, n, "quote(", " || ', ' || ", ")"),
        joined(arena, terms, n, "(", ", ", ")"), self->relation,
        joined(arena, terms, n, "(", " AND ", ") IS NOT NULL"), where ? " AND (" : "",
        where ? where : "", where ? ")" : "");
    twins.label = "_stint_row";
    return rows_find(&twins, "_stint_n > 1", "_stint_value", out);
}

static err_t check_twice(const rows_t *self, const part_t *part)
{
    int n = 1;
    offenders_t found = {0};
    char *own = name_quoted(self->arena, part->columns[0]), **terms = &own;
    if (part->inner_to > part->inner)
        terms = terms_of(self->arena, &self->change->now.tokens, part->inner, part->inner_to, &n);
    err_t err = find_twins(self, terms, n, NULL, &found);
    if (err || found.n == 0)
        return err;
    return err_set(ERR_INVALID,
                   "%s: %" PRId64 " rows share their values of %s%s. Change or remove what is "
                   "there twice first",
                   self->table, found.n, part_words(self->arena, &self->change->now.tokens, part),
                   found.shown);
}

/* CREATE UNIQUE INDEX name ON table (terms) [WHERE condition]; nothing is said of another
 * statement. */
err_t rows_explain_index(session_t *session, arena_t *arena, const char *sql)
{
    tokens_t tokens = tokens_read(arena, sql, strlen(sql));
    int on = 0, n = 0;
    if (!token_is(&tokens, 1, "UNIQUE"))
        return ERR_OK;
    while (on < tokens.n && !token_is(&tokens, on, "ON"))
        on++;
    int close = token_is_sign(&tokens, on + 2, '(') ? tokens_close(&tokens, on + 2, tokens.n) : -1;
    if (close < 0)
        return ERR_OK;
    char *stored = NULL, *name = token_name(arena, &tokens, on + 1);
    change_t none = {0};
    err_t err = session_text(
        session, arena,
        arena_printf(
            arena,
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = %s COLLATE NOCASE",
            text_quoted(arena, name)),
        &stored);
    if (err || !stored || table_text_read(arena, stored, &none.old))
        return err;
    rows_t rows = rows_stored(session, arena, &none, name);
    offenders_t found = {0};
    char **terms = terms_of(arena, &tokens, on + 3, close - 1, &n);
    char *where = token_is(&tokens, close, "WHERE")
                      ? tokens_slice(arena, &tokens, close + 1, tokens.n)
                      : NULL;
    err = find_twins(&rows, terms, n, where, &found);
    if (err || found.n == 0)
        return err;
    return err_set(ERR_INVALID,
                   "%s: %" PRId64
                   " rows share their values of the unique index%s. Change or remove "
                   "what is there twice first",
                   name, found.n, found.shown);
}

/* -- all of them -------------------------------------------------------------------------- */

err_t rows_check_key_nulls(const rows_t *self, const part_t *part)
{
    const change_t *change = self->change;
    const char *alias = "";
    (void)table_rowid_alias(&change->now, &alias);
    err_t err = ERR_OK;
    for (int i = 0; part->kind == PART_PRIMARY_KEY && i < part->columns_n && !err; i++) {
        const column_t *column = table_column(&change->now, part->columns[i]);
        const mapping_t *mapping = column ? &change->columns[column - change->now.columns] : NULL;
        /* A new column that becomes the rowid gets the rowids. */
        bool filled =
            mapping && !mapping->old && !mapping->using && name_equal(column->name, alias);
        if (mapping && !filled && !column_part(column, PART_GENERATED))
            err = check_not_null(self, part->columns[i]);
    }
    return err;
}

err_t rows_check(const rows_t *self, const need_t *need)
{
    switch (need->kind) {
    case NEED_EMPTY:
        return check_empty(self, need->column);
    case NEED_NOT_NULL:
        if (column_part(&self->change->now.columns[need->column], PART_GENERATED))
            return ERR_OK; /* SQLite computes it, and checks */
        return check_not_null(self, self->change->now.columns[need->column].name);
    case NEED_CHECK:
        return check_check(self, need->part);
    case NEED_KEY:
        return check_twice(self, need->part);
    default:
        return ERR_OK;
    }
}

static err_t explain_part(const rows_t *self, const column_t *column, const part_t *part)
{
    if (column && part->kind == PART_NOT_NULL && !column_part(column, PART_GENERATED))
        return check_not_null(self, column->name);
    if (part->kind == PART_CHECK)
        return check_check(self, part);
    return part->kind == PART_UNIQUE || part->kind == PART_PRIMARY_KEY ? check_twice(self, part)
                                                                       : ERR_OK;
}

err_t rows_explain(const rows_t *self)
{
    const table_text_t *now = &self->change->now;
    const char *alias = NULL;
    err_t err = ERR_OK;
    for (int i = 0; i < now->columns_n && !err; i++) {
        const column_t *column = &now->columns[i];
        for (int k = 0; k < column->parts_n && !err; k++)
            err = explain_part(self, column, &column->parts[k]);
        if (!err && now->strict && !column_part(column, PART_GENERATED))
            err = rows_fit(self, i, column_type(self->arena, &now->tokens, column),
                           "of a STRICT table");
    }
    for (int i = 0; i < now->constraints_n && !err; i++)
        err = explain_part(self, NULL, &now->constraints[i]);
    if (!err && table_rowid_alias(now, &alias))
        err = rows_fit(self, (int)(table_column(now, alias) - now->columns), "INTEGER",
                       "that is a primary key");
    return err;
}

/* -- defaults ----------------------------------------------------------------------------- */

err_t rows_showing(session_t *session, arena_t *arena, const char *table, const char *column,
                   const char *marker, int64_t *out)
{
    return session_number(
        session,
        arena_printf(arena, "SELECT count(*) FROM main.%s NOT INDEXED WHERE %s IS %s",
                     name_quoted(arena, table), name_quoted(arena, column), marker),
        out);
}

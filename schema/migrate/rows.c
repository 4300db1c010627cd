#include "schema/migrate/rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 3 };

/* -- which row ---------------------------------------------------------------------------- */

/* Of a table WITHOUT ROWID the key says which row it is. */
static char *label_of(arena_t *arena, const table_text_t *table)
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
                    .relation = name_quoted(arena, name),
                    .label = label_of(arena, &change->old)};
}

/* What a column will hold, said over the old table. */
static char *value_of(arena_t *arena, const change_t *change, int column)
{
    const mapping_t *mapping = &change->columns[column];
    const column_t *now = &change->now.columns[column];
    if (mapping->using)
        return arena_printf(arena, "(%s)", mapping->using);
    if (mapping->old)
        return name_quoted(arena, mapping->old);
    const part_t *value = column_part(now, PART_DEFAULT);
    if (!value)
        return arena_text(arena, "NULL", 4);
    return arena_printf(arena, "(%s)",
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
    buffer_printf(&sql, " FROM %s)", name_quoted(arena, name));
    self.relation = arena_text(arena, (const char *)sql.data, sql.n);
    self.label = "_stint_row";
    buffer_free(&sql);
    return self;
}

/* -- one query for all: rows that break something ----------------------------------------- */

typedef struct {
    int64_t n;
    char *shown; /* " (rowid 1, rowid 2, …)" or "" */
} offenders_t;

/* `detail` is SQL that adds to the label, or NULL. */
static err_t find_offenders(const rows_t *self, const char *condition, const char *detail,
                            offenders_t *out)
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
        if (!err && row)
            buffer_printf(&shown, "%s%.100s", shown.n ? ", " : " (",
                          session_column(self->arena, statement, 0));
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
    char *condition = arena_printf(self->arena, "%s IS NULL", name_quoted(self->arena, column));
    err_t err = find_offenders(self, condition, NULL, &found);
    if (err || found.n == 0)
        return err;
    return err_set(ERR_INVALID,
                   "%s.%s: %" PRId64 " row%s NULL%s. Fill %s first: UPDATE %s SET %s = … WHERE %s "
                   "IS NULL",
                   self->table, column, found.n, found.n == 1 ? " is" : "s are", found.shown,
                   found.n == 1 ? "it" : "them", name_quoted(self->arena, self->table),
                   name_quoted(self->arena, column), name_quoted(self->arena, column));
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
    err_t err =
        find_offenders(self, arena_printf(self->arena, "NOT (%s\n)", expression), NULL, &found);
    if (err)
        return err_context(err, "%s: CHECK (%.200s)", self->table, expression);
    if (found.n == 0)
        return ERR_OK;
    return err_set(ERR_INVALID, "%s: %" PRId64 " row%s %s%s. Change the row%s, or the condition",
                   self->table, found.n, found.n == 1 ? " breaks" : "s break",
                   part_words(self->arena, tokens, part), found.shown, s(found.n));
}

static char *column_list(arena_t *arena, const part_t *part, const char *between)
{
    char *list = arena_text(arena, "", 0);
    for (int i = 0; i < part->columns_n; i++)
        list = arena_printf(arena, "%s%s%s", list, i ? between : "",
                            name_quoted(arena, part->columns[i]));
    return list;
}

static err_t check_twice(const rows_t *self, const part_t *part)
{
    arena_t *arena = self->arena;
    offenders_t found = {0};
    char *columns = column_list(arena, part, ", ");
    char *none_null =
        arena_printf(arena, "%s IS NOT NULL", column_list(arena, part, " IS NOT NULL AND "));
    char *twice =
        arena_printf(arena, "(%s) IN (SELECT %s FROM %s WHERE %s GROUP BY %s HAVING count(*) > 1)",
                     columns, columns, self->relation, none_null, columns);
    char *value = arena_printf(arena, "quote(%s)", column_list(arena, part, ") || ', ' || quote("));
    err_t err = find_offenders(self, twice, value, &found);
    if (err || found.n == 0)
        return err;
    return err_set(ERR_INVALID,
                   "%s: %" PRId64 " rows share their values of %s%s. Change or remove what is "
                   "there twice first",
                   self->table, found.n, part_words(arena, &self->change->now.tokens, part),
                   found.shown);
}

err_t rows_check_key_nulls(const rows_t *self, const part_t *part)
{
    err_t err = ERR_OK;
    for (int i = 0; part->kind == PART_PRIMARY_KEY && i < part->columns_n && !err; i++) {
        const column_t *column = table_column(&self->change->now, part->columns[i]);
        const mapping_t *mapping =
            column ? &self->change->columns[column - self->change->now.columns] : NULL;
        /* A new column that becomes the rowid gets the rowids. */
        if (mapping && (mapping->old || mapping->using))
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

/* -- types -------------------------------------------------------------------------------- */

/* Is the type's name that of a number? Others of numeric affinity (JSON, DATE) hold texts, which
 * must come out letter by letter. */
static bool names_a_number(const char *type)
{
    affinity_t affinity = type_affinity(type);
    return affinity == AFFINITY_INTEGER || affinity == AFFINITY_REAL || strcasestr(type, "NUM") ||
           strcasestr(type, "DEC");
}

/* Two tables, row by row: by the rowid, or by the key of a table without. */
static char *joined(const rows_t *self, const char *copy)
{
    arena_t *arena = self->arena;
    const table_text_t *old = &self->change->old, *now = &self->change->now;
    char *from = arena_printf(arena, "%s AS o, %s AS n", self->relation, name_quoted(arena, copy));
    const part_t *key = table_primary_key(now);
    if (!old->without_rowid)
        return arena_printf(arena, "%s WHERE o.%s = n.%s", from,
                            table_rowid_name(old) ? table_rowid_name(old) : "rowid",
                            table_rowid_name(now) ? table_rowid_name(now) : "rowid");
    for (int i = 0; key && i < key->columns_n; i++) {
        const column_t *column = table_column(now, key->columns[i]);
        const mapping_t *mapping = &self->change->columns[column - now->columns];
        from = arena_printf(arena, "%s %s o.%s = n.%s", from, i ? "AND" : "WHERE",
                            name_quoted(arena, mapping->old ? mapping->old : mapping->name),
                            name_quoted(arena, mapping->name));
    }
    return from;
}

err_t rows_lossless(const rows_t *self, int column, const char *copy)
{
    arena_t *arena = self->arena;
    const table_text_t *now = &self->change->now;
    const char *type = column_type(arena, &now->tokens, &now->columns[column]);
    char *o = arena_printf(arena, "o.%s", name_quoted(arena, self->change->columns[column].old));
    char *n = arena_printf(arena, "n.%s", name_quoted(arena, now->columns[column].name));
    /* A number out of a text: 007 and +7 were no numbers, or their writer would not have kept the
     * zero; 1.50 and 1.5 are the same one. */
    char *text_lost =
        names_a_number(type)
            ? arena_printf(arena,
                           "(%s GLOB '0[0-9]*' OR %s GLOB '-0[0-9]*' OR %s GLOB '+*' OR trim(%s, "
                           "' ' || char(9, 10, 11, 12, 13)) <> %s)",
                           o, o, o, o, o)
            : arena_printf(arena, "CAST(%s AS TEXT) <> CAST(%s AS TEXT)", o, n);
    char *lost = arena_printf(
        arena, "(%s IS NOT %s OR (typeof(%s) = 'text' AND typeof(%s) <> 'text' AND %s))", o, n, o,
        n, text_lost);
    rows_t both = *self;
    const char *rowid = table_rowid_name(&self->change->old);
    both.relation = joined(self, copy);
    both.label = self->change->old.without_rowid || !rowid
                     ? "'a row'"
                     : arena_printf(arena, "'rowid ' || o.%s", rowid);
    /* The relation has its WHERE already: the condition goes on in it. */
    both.relation = arena_printf(arena,
                                 "(SELECT %s AS _stint_row, quote(%s) || ' to ' || quote(%s) "
                                 "AS _stint_value FROM %s AND %s)",
                                 both.label, o, n, both.relation, lost);
    both.label = "_stint_row";
    offenders_t found = {0};
    err_t err = find_offenders(&both, "1", "_stint_value", &found);
    if (err || found.n == 0)
        return err;
    return err_set(ERR_INVALID,
                   "%s.%s: %" PRId64 " value%s would change with the type %s%s. Say how with "
                   "USING, as in TYPE %s USING CAST(%s AS %s)",
                   self->table, now->columns[column].name, found.n, s(found.n), type, found.shown,
                   type, name_quoted(arena, self->change->columns[column].old), type);
}

err_t rows_strict(const rows_t *self, int column)
{
    arena_t *arena = self->arena;
    const table_text_t *now = &self->change->now;
    const char *type = column_type(arena, &now->tokens, &now->columns[column]);
    if (name_equal(type, "ANY") || !*type)
        return ERR_OK;
    /* A table that is not STRICT stores what it can: what did not become the type is the offender.
     */
    char *scratch = arena_printf(arena, "temp.\"_stint_values\"");
    const char *stored = name_equal(type, "REAL")   ? "'real'"
                         : name_equal(type, "TEXT") ? "'text'"
                         : name_equal(type, "BLOB") ? "'blob'"
                                                    : "'integer'";
    rows_t values = *self;
    values.relation = scratch;
    values.label = "_stint_row";
    offenders_t found = {0};
    err_t err = session_run(
        self->session,
        arena_printf(arena, "CREATE TEMP TABLE \"_stint_values\" (_stint_row, v %s)", type));
    if (!err)
        err = session_run(self->session,
                          arena_printf(arena, "INSERT INTO %s SELECT %s, %s FROM %s", scratch,
                                       self->label, name_quoted(arena, now->columns[column].name),
                                       self->relation));
    if (!err)
        err = find_offenders(&values,
                             arena_printf(arena, "v IS NOT NULL AND typeof(v) <> %s", stored),
                             "quote(v)", &found);
    err_t dropped = session_run(self->session, "DROP TABLE IF EXISTS temp.\"_stint_values\"");
    if (err || dropped || found.n == 0)
        return err ? err : dropped;
    return err_set(ERR_INVALID,
                   "%s.%s: %" PRId64 " value%s %s of a STRICT table cannot hold%s. Change %s "
                   "first, or say how with USING",
                   self->table, now->columns[column].name, found.n, s(found.n), type, found.shown,
                   found.n == 1 ? "it" : "them");
}

/* -- defaults ----------------------------------------------------------------------------- */

err_t rows_showing(session_t *session, arena_t *arena, const char *table, const char *column,
                   const char *marker, int64_t *out)
{
    return session_number(session,
                          arena_printf(arena, "SELECT count(*) FROM %s NOT INDEXED WHERE %s IS %s",
                                       name_quoted(arena, table), name_quoted(arena, column),
                                       marker),
                          out);
}

/* values: what a change of type does to the values of a column, found by letting SQLite do it to a
 * copy of those that could suffer. */
#include <inttypes.h>
#include <string.h>

#include "schema/migrate/rows.h"

static const char scratch[] = "temp.\"_stint_values\"";

/* Each value as it is and as the type stores it; `condition` is SQL over v, the value. */
static err_t scratch_make(const rows_t *self, const char *value, const char *type,
                          const char *condition)
{
    arena_t *arena = self->arena;
    err_t err = session_run(
        self->session,
        arena_printf(arena, "CREATE TEMP TABLE \"_stint_values\" (_stint_row, o, n %s)", type));
    if (!err)
        err = session_run(self->session,
                          arena_printf(arena,
                                       "INSERT INTO %s SELECT _stint_row, v, v FROM (SELECT %s AS "
                                       "_stint_row, %s AS v FROM %s) WHERE %s",
                                       scratch, self->label, value, self->relation, condition));
    return err;
}

static err_t scratch_drop(const rows_t *self)
{
    return session_run(self->session, "DROP TABLE IF EXISTS temp.\"_stint_values\"");
}

/* Is the type's name that of a number? Others of numeric affinity (JSON, DATE) hold texts, which
 * must come out letter by letter. */
static bool names_a_number(const char *type)
{
    affinity_t affinity = type_affinity(type);
    return affinity == AFFINITY_INTEGER || affinity == AFFINITY_REAL || strcasestr(type, "NUM") ||
           strcasestr(type, "DEC");
}

/* A number out of a text: 007 and +7 were no numbers, or their writer would not have kept the zero;
 * 1.50 and 1.5 are the same one. A double keeps 15 digits of any number. */
static const char number_lost[] =
    "typeof(n) <> 'text' AND (o GLOB '0[0-9]*' OR o GLOB '-0[0-9]*' OR o GLOB '+*' OR trim(o, ' ' "
    "|| "
    "char(9, 10, 11, 12, 13)) <> o OR abs(n) = 9e999 OR (typeof(n) = 'integer' AND o NOT GLOB "
    "'*[.eE]*' AND CAST(n AS TEXT) <> o) OR ((typeof(n) = 'real' OR o GLOB '*[.eE]*') AND "
    "length(rtrim(ltrim(replace(replace(substr(o, 1, CASE WHEN instr(lower(o), 'e') > 0 THEN "
    "instr(lower(o), 'e') - 1 ELSE length(o) END), '-', ''), '.', ''), '0'), CASE WHEN o GLOB "
    "'*.*' "
    "THEN '0' ELSE '' END)) > 15))";

static const char *lost_of(const char *type)
{
    switch (type_affinity(type)) {
    case AFFINITY_BLOB:
        return NULL;
    case AFFINITY_TEXT: /* 0.1 + 0.2 is written as 0.3 */
        return "CAST(n AS REAL) IS NOT o";
    default:
        return names_a_number(type) ? number_lost : "typeof(n) <> 'text' AND CAST(n AS TEXT) <> o";
    }
}

/* Values that could suffer at all. */
static const char *suspects_of(const char *type)
{
    switch (type_affinity(type)) {
    case AFFINITY_TEXT:
        return "typeof(v) = 'real'";
    case AFFINITY_REAL:
        return "typeof(v) = 'text' OR (typeof(v) = 'integer' AND v NOT BETWEEN -9007199254740992 "
               "AND "
               "9007199254740992)";
    default:
        return "typeof(v) = 'text'";
    }
}

err_t rows_lossless(const rows_t *self, int column)
{
    arena_t *arena = self->arena;
    const table_text_t *now = &self->change->now;
    const char *old = self->change->columns[column].old;
    const char *type = column_type(arena, &now->tokens, &now->columns[column]);
    const char *lost = lost_of(type);
    if (!lost || (now->strict && name_equal(type, "ANY")))
        return ERR_OK;
    rows_t values = *self;
    values.relation = scratch;
    values.label = "_stint_row";
    offenders_t found = {0};
    err_t err = scratch_make(self, name_quoted(arena, old), type, suspects_of(type));
    if (!err)
        err = rows_find(&values,
                        arena_printf(arena,
                                     "(typeof(o) = 'text' AND %s) OR (typeof(o) = 'real' AND "
                                     "%s) OR (typeof(o) = 'integer' AND n IS NOT o)",
                                     type_affinity(type) == AFFINITY_TEXT ? "0" : lost,
                                     type_affinity(type) == AFFINITY_TEXT ? lost : "0"),
                        "quote(o) || ' to ' || quote(n)", &found);
    err_t dropped = scratch_drop(self);
    if (err || dropped || found.n == 0)
        return err ? err : dropped;
    return err_set(ERR_INVALID,
                   "%s.%s: %" PRId64 " value%s would change with the type %s%s. Say how with "
                   "USING, as in TYPE %s USING CAST(%s AS %s)",
                   self->table, now->columns[column].name, found.n, found.n == 1 ? "" : "s", type,
                   found.shown, type, name_quoted(arena, old), type);
}

/* A table that is not STRICT stores what it can: what did not become the type is the offender. */
err_t rows_fit(const rows_t *self, int column, const char *type, const char *what)
{
    arena_t *arena = self->arena;
    const char *name = self->change->now.columns[column].name;
    const char *stored = name_equal(type, "REAL")   ? "real"
                         : name_equal(type, "TEXT") ? "text"
                         : name_equal(type, "BLOB") ? "blob"
                                                    : "integer";
    if (name_equal(type, "ANY") || !*type)
        return ERR_OK;
    rows_t values = *self;
    values.relation = scratch;
    values.label = "_stint_row";
    offenders_t found = {0};
    err_t err = scratch_make(self, name_quoted(arena, name), type, "v IS NOT NULL");
    if (!err)
        err = rows_find(&values, arena_printf(arena, "typeof(n) <> '%s'", stored), "quote(o)",
                        &found);
    err_t dropped = scratch_drop(self);
    if (err || dropped || found.n == 0)
        return err ? err : dropped;
    return err_set(ERR_INVALID,
                   "%s.%s: %" PRId64 " value%s not fit the type %s %s%s. Change %s first, or say "
                   "how with USING",
                   self->table, name, found.n, found.n == 1 ? " does" : "s do", type, what,
                   found.shown, found.n == 1 ? "it" : "them");
}

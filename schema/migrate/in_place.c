#include "schema/migrate/in_place.h"

#include <string.h>

#include "schema/migrate/edit.h"
#include "schema/migrate/rows.h"

static err_t set_text(session_t *session, arena_t *arena, const object_t *table, const char *text)
{
    err_t err = session_schema_open(session);
    if (!err)
        err = session_run(session,
                          arena_printf(arena,
                                       "UPDATE sqlite_schema SET sql = %s WHERE type = "
                                       "'table' AND name = %s",
                                       text_quoted(arena, text), text_quoted(arena, table->name)));
    err_t closed = session_schema_close(session);
    return err ? err : closed;
}

/* -- rows from before a column was added ---------------------------------------------------- */

/* Such rows end before the column; reading them gives its default of today, and a new default would
 * change them. A default that nobody can have stored makes them visible. */
static err_t show_default(session_t *session, arena_t *arena, const object_t *table,
                          const char *column, int64_t *out)
{
    char *marker = NULL, *text = arena_printf(arena, "%s", table->sql);
    err_t err = session_text(session, arena, "SELECT quote(randomblob(16))", &marker);
    table_text_t parsed;
    if (!err)
        err = table_text_read(arena, text, &parsed);
    if (err)
        return err;
    int index = (int)(table_column(&parsed, column) - parsed.columns);
    const part_t *old = column_part(&parsed.columns[index], PART_DEFAULT);
    if (old) {
        text = edit_drop_part(arena, &parsed, old);
        err = table_text_read(arena, text, &parsed);
    }
    if (!err)
        err = set_text(
            session, arena, table,
            edit_add_part(arena, &parsed, index, arena_printf(arena, "DEFAULT %s", marker)));
    if (!err)
        err = rows_showing(session, arena, table->name, column, marker, out);
    if (!err)
        err = set_text(session, arena, table, table->sql);
    return err;
}

/* The column that was there from the beginning is in every row. */
static err_t default_shows(session_t *session, arena_t *arena, change_t *change,
                           const object_t *table, bool *out)
{
    *out = false;
    for (int i = 0; i < change->needs_n && !*out; i++) {
        const need_t *need = &change->needs[i];
        int64_t rows = 0;
        if (need->kind != NEED_DEFAULT)
            continue;
        const char *column = change->columns[need->column].old;
        err_t err = show_default(session, arena, table, column, &rows);
        if (err)
            return err;
        if (rows > 0) {
            *out = true;
            change->rebuild =
                arena_printf(arena, "rows show the default of %s without having it stored", column);
        }
    }
    return ERR_OK;
}

/* -- the change --------------------------------------------------------------------------- */

/* Is it about a column that is not there yet? */
static bool is_about_new(arena_t *arena, const change_t *change, const need_t *need)
{
    int n = 0;
    if (need->kind != NEED_CHECK)
        return false;
    int *named = columns_named(arena, &change->now, &change->now.tokens, need->part->inner,
                               need->part->inner_to, &n);
    for (int i = 0; i < n; i++)
        if (!change->columns[named[i]].old)
            return true;
    return false;
}

/* Before ADD COLUMN, or behind it: only there does a new column have its affinity and collation. */
static err_t ask_rows(session_t *session, arena_t *arena, const change_t *change,
                      const object_t *table, bool behind)
{
    rows_t rows = rows_stored(session, arena, change, table->name);
    err_t err = ERR_OK;
    for (int i = 0; i < change->needs_n && !err; i++)
        if (is_about_new(arena, change, &change->needs[i]) == behind)
            err = rows_check(&rows, &change->needs[i]);
    return err;
}

/* SQLite's own ADD COLUMN: it also sees to the file format of very old databases. */
static err_t add_columns(session_t *session, arena_t *arena, const change_t *change,
                         const object_t *table)
{
    err_t err = ERR_OK;
    for (int i = change->old.columns_n; i < change->now.columns_n && !err; i++) {
        const column_t *column = &change->now.columns[i];
        err = session_run(session, arena_printf(arena, "ALTER TABLE main.%s ADD COLUMN %s",
                                                name_quoted(arena, table->name),
                                                tokens_slice(arena, &change->now.tokens,
                                                             column->from, column->to)));
        if (err == ERR_INVALID)
            err = err_context(err, "%s.%s: the rows that are there do not bear it", table->name,
                              column->name);
    }
    return err;
}

static bool same_tokens(arena_t *arena, const char *a, const char *b)
{
    tokens_t a_tokens = tokens_read(arena, a, strlen(a));
    tokens_t b_tokens = tokens_read(arena, b, strlen(b));
    return strcmp(tokens_normal(arena, &a_tokens, 0, a_tokens.n),
                  tokens_normal(arena, &b_tokens, 0, b_tokens.n)) == 0;
}

err_t in_place_run(session_t *session, arena_t *arena, change_t *change, const object_t *table,
                   bool *done)
{
    bool shows = false;
    err_t err = default_shows(session, arena, change, table, &shows);
    *done = false;
    if (err || shows)
        return err;
    err = ask_rows(session, arena, change, table, false);
    if (!err)
        err = add_columns(session, arena, change, table);
    if (!err)
        err = ask_rows(session, arena, change, table, true);
    char *stored = NULL;
    if (!err)
        err = session_text(
            session, arena,
            arena_printf(arena, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = %s",
                         text_quoted(arena, table->name)),
            &stored);
    if (!err && !(change->now.columns_n > change->old.columns_n &&
                  same_tokens(arena, stored, change->text)))
        err = set_text(session, arena, table, change->text);
    *done = !err;
    return err;
}

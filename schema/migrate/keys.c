#include "schema/migrate/keys.h"

#include <inttypes.h>
#include <string.h>

#include "schema/migrate/rows.h"

enum { SHOWN = 3, UNKNOWN = -1 };

/* -- which there are ---------------------------------------------------------------------- */

static void add_column(arena_t *arena, keys_t *self, sqlite3_stmt *statement)
{
    int seq = sqlite3_column_int(statement, 2);
    if (seq == 0) {
        self->items = arena_grow(arena, self->items, self->n, sizeof *self->items);
        self->items[self->n++] = (foreign_key_t){.table = session_column(arena, statement, 0),
                                                 .id = sqlite3_column_int(statement, 1),
                                                 .parent = session_column(arena, statement, 3)};
    }
    foreign_key_t *key = &self->items[self->n - 1];
    int n = key->n;
    key->from = arena_grow(arena, key->from, n, sizeof *key->from);
    key->to = arena_grow(arena, key->to, n, sizeof *key->to);
    key->from[n] = session_column(arena, statement, 4);
    key->to[n] = session_column(arena, statement, 5);
    key->n++;
}

static bool in_list(char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (name_equal(names[i], name))
            return true;
    return false;
}

/* The collation a column of a parent is declared with. */
static const char *collation_of(arena_t *arena, const table_text_t *table, const char *name)
{
    const column_t *column = table_column(table, name);
    const part_t *part = column ? column_part(column, PART_COLLATE) : NULL;
    return part ? token_name(arena, &table->tokens, part->inner) : "BINARY";
}

/* Is this index UNIQUE over just these columns, each compared as its column is? */
static err_t index_serves(session_t *session, arena_t *arena, const table_text_t *parent,
                          const char *index, const foreign_key_t *key, bool *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = true, fits = true;
    int columns = 0;
    err_t err = session_prepare(
        session,
        arena_printf(arena, "SELECT name, coll FROM pragma_index_xinfo(%s) WHERE key = 1",
                     text_quoted(arena, index)),
        &statement);
    while (!err && row) {
        err = session_next(session, &statement, &row);
        if (err || !row)
            break;
        char *name = session_column(arena, statement, 0);
        char *collation = session_column(arena, statement, 1);
        fits = fits && name && in_list(key->to, key->n, name) && collation &&
               name_equal(collation, collation_of(arena, parent, name));
        columns++;
    }
    sqlite3_finalize(statement);
    *out = fits && columns == key->n;
    return err;
}

static err_t any_index_serves(session_t *session, arena_t *arena, const table_text_t *parent,
                              const foreign_key_t *key, bool *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = true;
    *out = false;
    err_t err = session_prepare(
        session,
        arena_printf(arena,
                     "SELECT name FROM pragma_index_list(%s) WHERE \"unique\" = 1 AND partial = 0",
                     text_quoted(arena, parent->name)),
        &statement);
    while (!err && row && !*out) {
        err = session_next(session, &statement, &row);
        if (!err && row)
            err =
                index_serves(session, arena, parent, session_column(arena, statement, 0), key, out);
    }
    sqlite3_finalize(statement);
    return err;
}

static char *parent_words(arena_t *arena, const foreign_key_t *key)
{
    buffer_t out = {0};
    for (int i = 0; i < key->n; i++)
        buffer_printf(&out, "%s%s", i ? ", " : "", key->to[i]);
    char *text = arena_printf(arena, "%s (%.*s)", key->parent, (int)out.n, (const char *)out.data);
    buffer_free(&out);
    return text;
}

/* Without a list of columns the primary key is meant. */
static void implied_key(const table_text_t *parent, foreign_key_t *key, arena_t *arena)
{
    const part_t *primary = table_primary_key(parent);
    if (!primary)
        key->problem = arena_printf(arena, "%s has no primary key", key->parent);
    else if (primary->columns_n != key->n)
        key->problem = arena_printf(arena, "the primary key of %s has %d columns", key->parent,
                                    primary->columns_n);
    else
        key->implied = primary->columns;
}

static err_t resolve(session_t *session, arena_t *arena, const objects_t *objects,
                     foreign_key_t *key)
{
    const object_t *object = objects_find(objects, key->parent);
    table_text_t parent;
    if (!object || !object_is(object, "table") || object_is_virtual(arena, object)) {
        key->problem =
            arena_printf(arena, object ? "%s is no table" : "there is no table %s", key->parent);
        return ERR_OK;
    }
    err_t err = table_text_read(arena, object->sql, &parent);
    if (err)
        return err;
    parent.name = object->name;
    foreign_key_t whole = *key;
    if (!key->to[0]) { /* SQLite asks nothing else of a primary key that is implied */
        implied_key(&parent, key, arena);
        return ERR_OK;
    }
    for (int i = 0; i < whole.n; i++)
        if (!table_column(&parent, whole.to[i])) {
            key->problem = arena_printf(arena, "%s has no column \"%s\"", key->parent, whole.to[i]);
            return ERR_OK;
        }
    const char *alias = "";
    if (whole.n == 1 && table_rowid_alias(&parent, &alias) && name_equal(alias, whole.to[0]))
        return ERR_OK;
    bool serves = false;
    err = any_index_serves(session, arena, &parent, &whole, &serves);
    if (!err && !serves)
        key->problem = arena_printf(
            arena, "%s is neither PRIMARY KEY nor UNIQUE: give the parent a UNIQUE constraint",
            parent_words(arena, &whole));
    return err;
}

err_t keys_read(session_t *session, arena_t *arena, const objects_t *objects, keys_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = true;
    keys_t self = {0};
    err_t err = session_prepare(
        session,
        "SELECT m.name, f.id, f.seq, f.\"table\", f.\"from\", f.\"to\" FROM sqlite_schema m, "
        "pragma_foreign_key_list(m.name) f WHERE m.type = 'table' AND m.sql NOT LIKE 'CREATE "
        "VIRTUAL%' ORDER BY m.rowid, f.id, f.seq",
        &statement);
    while (!err && row) {
        err = session_next(session, &statement, &row);
        if (!err && row)
            add_column(arena, &self, statement);
    }
    sqlite3_finalize(statement);
    for (int i = 0; i < self.n && !err; i++)
        err = resolve(session, arena, objects, &self.items[i]);
    if (!err)
        *out = self;
    return err;
}

/* -- comparing ---------------------------------------------------------------------------- */

static bool same_key(const foreign_key_t *a, const foreign_key_t *b)
{
    bool same = a->n == b->n && name_equal(a->table, b->table) && name_equal(a->parent, b->parent);
    for (int i = 0; same && i < a->n; i++)
        same = name_equal(a->from[i], b->from[i]);
    return same;
}

err_t keys_compare(const keys_t *before, const keys_t *now)
{
    for (int i = 0; i < now->n; i++) {
        const foreign_key_t *key = &now->items[i];
        for (int k = 0; key->problem && k < before->n; k++)
            if (!before->items[k].problem && same_key(key, &before->items[k]))
                return err_set(ERR_INVALID,
                               "the foreign key %s.%s still needs its parent: %s; drop that "
                               "foreign key first",
                               key->table, key->from[0], key->problem);
    }
    return ERR_OK;
}

void keys_collect(arena_t *arena, keys_t *self, const keys_t *from)
{
    for (int i = 0; i < from->n; i++) {
        bool known = from->items[i].problem != NULL;
        for (int k = 0; !known && k < self->n; k++)
            known = !self->items[k].problem && same_key(&self->items[k], &from->items[i]);
        if (known)
            continue;
        self->items = arena_grow(arena, self->items, self->n, sizeof *self->items);
        self->items[self->n++] = from->items[i];
    }
}

const foreign_key_t *keys_find(const keys_t *self, const char *table, const part_t *part)
{
    for (int i = 0; i < self->n; i++) {
        const foreign_key_t *key = &self->items[i];
        bool same = name_equal(key->table, table) && name_equal(key->parent, part->parent) &&
                    key->n == part->columns_n;
        for (int k = 0; same && k < key->n; k++)
            same = name_equal(key->from[k], part->columns[k]) &&
                   (part->parent_columns_n == 0
                        ? key->to[k] == NULL
                        : key->to[k] && name_equal(key->to[k], part->parent_columns[k]));
        if (same)
            return key;
    }
    return NULL;
}

/* -- rows --------------------------------------------------------------------------------- */

static char *own_words(arena_t *arena, const foreign_key_t *key)
{
    buffer_t out = {0};
    for (int i = 0; i < key->n; i++)
        buffer_printf(&out, "%s%s", i ? ", " : "", key->from[i]);
    char *text = key->n == 1 ? arena_printf(arena, "%s.%s", key->table, key->from[0])
                             : arena_printf(arena, "%s (%.*s)", key->table, (int)out.n,
                                            (const char *)out.data);
    buffer_free(&out);
    return text;
}

/* The child's rows that SQLite's own search would name, said as a query. */
static char *orphans_sql(arena_t *arena, const foreign_key_t *key)
{
    char *given = arena_text(arena, "", 0), *equal = arena_text(arena, "", 0);
    char *values = arena_text(arena, "", 0);
    for (int i = 0; i < key->n; i++) {
        char *own = name_quoted(arena, key->from[i]);
        const char *parent = key->to[i] ? key->to[i] : key->implied[i];
        given = arena_printf(arena, "%s%sc.%s IS NOT NULL", given, i ? " AND " : "", own);
        equal = arena_printf(arena, "%s%sp.%s = c.%s", equal, i ? " AND " : "",
                             name_quoted(arena, parent), own);
        values = arena_printf(arena, "%s%squote(%s)", values, i ? " || ', ' || " : "", own);
    }
    return arena_printf(arena,
                        "(SELECT *, %s AS _stint_value FROM main.%s AS c WHERE %s AND NOT EXISTS "
                        "(SELECT 1 FROM main.%s AS p WHERE %s))",
                        values, name_quoted(arena, key->table), given,
                        name_quoted(arena, key->parent), equal);
}

/* "rowid 5 -> 99, rowid 6 -> 98": the first of them, with what they refer to. */
static err_t show_orphans(session_t *session, arena_t *arena, const foreign_key_t *key,
                          buffer_t *out)
{
    char *sql = NULL, *label = arena_text(arena, "'a row'", 7);
    sqlite3_stmt *statement = NULL;
    table_text_t child;
    bool row = true;
    err_t err = session_text(
        session, arena,
        arena_printf(arena, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = %s",
                     text_quoted(arena, key->table)),
        &sql);
    if (!err && sql && table_text_read(arena, sql, &child) == ERR_OK)
        label = rows_label(arena, &child);
    char *inner = orphans_sql(arena, key);
    /* The label stands inside: there the rowid has its name. */
    inner =
        arena_printf(arena, "(SELECT %s AS _stint_row, %s", label, inner + strlen("(SELECT *, "));
    if (!err)
        err = session_prepare(session,
                              arena_printf(arena,
                                           "SELECT _stint_row || ' -> ' || _stint_value FROM "
                                           "%s LIMIT %d",
                                           inner, SHOWN),
                              &statement);
    while (!err && row) {
        err = session_next(session, &statement, &row);
        if (!err && row)
            buffer_printf(out, "%s%s", out->n ? ", " : "", session_column(arena, statement, 0));
    }
    sqlite3_finalize(statement);
    return err;
}

static err_t no_parent(session_t *session, arena_t *arena, const foreign_key_t *key, int64_t n)
{
    buffer_t rows = {0};
    err_t err = show_orphans(session, arena, key, &rows);
    if (!err)
        err =
            err_set(ERR_INVALID,
                    "%s: %" PRId64 " %s no %s (%.*s%s). Fix the row%s, or UPDATE %s to NULL first",
                    own_words(arena, key), n, n == 1 ? "row has" : "rows have", key->parent,
                    (int)rows.n, rows.n ? (const char *)rows.data : "", n > SHOWN ? ", …" : "",
                    n == 1 ? "" : "s", key->n == 1 ? key->from[0] : "one of the columns");
    buffer_free(&rows);
    return err;
}

err_t key_rows_check(session_t *session, arena_t *arena, const foreign_key_t *key)
{
    if (key->problem)
        return err_set(ERR_INVALID, "%s cannot reference %s: %s", own_words(arena, key),
                       key->parent, key->problem);
    int64_t n = 0;
    err_t err = session_number(
        session,
        arena_printf(arena, "SELECT count(*) FROM pragma_foreign_key_check(%s) WHERE fkid = %d",
                     text_quoted(arena, key->table), key->id),
        &n);
    /* Another key of the table that has no parent key stops SQLite's search: then ours. */
    if (err == ERR_INVALID)
        err = session_number(
            session, arena_printf(arena, "SELECT count(*) FROM %s", orphans_sql(arena, key)), &n);
    return err || n == 0 ? err : no_parent(session, arena, key, n);
}

/* -- watching ----------------------------------------------------------------------------- */

static err_t violations(session_t *session, arena_t *arena, const char *table, int64_t *out)
{
    /* A key without a parent key is no error of its rows: keys_compare speaks of those. */
    err_t err =
        session_number(session,
                       arena_printf(arena, "SELECT count(*) FROM pragma_foreign_key_check(%s)",
                                    text_quoted(arena, table)),
                       out);
    if (err == ERR_INVALID) { /* foreign key mismatch */
        *out = UNKNOWN;
        err = ERR_OK;
    }
    return err;
}

static bool is_watched(const watches_t *self, const char *table, int64_t *before)
{
    for (int i = 0; i < self->n; i++)
        if (name_equal(self->items[i].table, table)) {
            *before = self->items[i].violations_n;
            return true;
        }
    return false;
}

static err_t count_all(session_t *session, arena_t *arena, watches_t *self, const keys_t *keys)
{
    err_t err = ERR_OK;
    for (int i = 0; i < keys->n && !err; i++) {
        watch_t watch = {.table = arena_printf(arena, "%s", keys->items[i].table)};
        int64_t before = 0;
        if (is_watched(self, watch.table, &before))
            continue;
        err = violations(session, arena, watch.table, &watch.violations_n);
        self->items = arena_grow(arena, self->items, self->n, sizeof *self->items);
        self->items[self->n++] = watch;
    }
    return err;
}

err_t watches_begin(session_t *session, arena_t *arena, watches_t *self, const keys_t *keys)
{
    if (self->on)
        return ERR_OK;
    self->on = true;
    return count_all(session, arena, self, keys);
}

static int64_t counted(const watch_t *watch)
{
    return watch->violations_n > 0 ? watch->violations_n : 0;
}

/* A table may have another name by now: what the tables that are gone had, the new ones may have.
 */
err_t watches_check(session_t *session, arena_t *arena, const watches_t *self, const keys_t *keys)
{
    watches_t now = {.on = true};
    int64_t inherited = 0, before = 0;
    err_t err = self->on ? count_all(session, arena, &now, keys) : ERR_OK;
    for (int i = 0; i < self->n; i++)
        if (!is_watched(&now, self->items[i].table, &before))
            inherited += counted(&self->items[i]);
    for (int i = 0; i < now.n && !err; i++) {
        int64_t more = counted(&now.items[i]);
        if (is_watched(self, now.items[i].table, &before))
            more = before == UNKNOWN ? 0 : more - before;
        else {
            int64_t old = more < inherited ? more : inherited;
            inherited -= old;
            more -= old;
        }
        if (more > 0)
            err = err_set(ERR_INVALID,
                          "%s: %" PRId64 " more row%s than before without a parent (PRAGMA "
                          "foreign_key_check shows them)",
                          now.items[i].table, more, more == 1 ? "" : "s");
    }
    return err;
}

#include "schema/migrate/keys.h"

#include <inttypes.h>
#include <string.h>

enum { SHOWN = 3 };

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
static bool implied_key(const table_text_t *parent, foreign_key_t *key, char **problem,
                        arena_t *arena)
{
    const part_t *primary = table_primary_key(parent);
    if (!primary || primary->columns_n != key->n) {
        *problem = arena_printf(arena, "%s has no primary key of %d column%s", key->parent, key->n,
                                key->n == 1 ? "" : "s");
        return false;
    }
    key->to = primary->columns;
    return true;
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
    if (!key->to[0] && !implied_key(&parent, &whole, &key->problem, arena))
        return ERR_OK;
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

/* "rowid 5 -> 99": the child's values; of a table without rowids only how many there are. */
static err_t row_words(session_t *session, arena_t *arena, const foreign_key_t *key, int64_t rowid,
                       buffer_t *out)
{
    buffer_t sql = {0};
    char *values = NULL;
    buffer_add_text(&sql, "SELECT ");
    for (int i = 0; i < key->n; i++)
        buffer_printf(&sql, "%squote(%s)", i ? " || ', ' || " : "",
                      name_quoted(arena, key->from[i]));
    buffer_printf(&sql, " FROM %s NOT INDEXED WHERE rowid = %" PRId64,
                  name_quoted(arena, key->table), rowid);
    buffer_add(&sql, "", 1);
    err_t err = session_text(session, arena, (const char *)sql.data, &values);
    buffer_free(&sql);
    if (err) /* a column called rowid: the number alone will do */
        values = NULL;
    buffer_printf(out, values ? "%s%" PRId64 " -> %.80s" : "%s%" PRId64, out->n ? ", " : "rowid ",
                  rowid, values);
    return ERR_OK;
}

static err_t no_parent(arena_t *arena, const foreign_key_t *key, int64_t n, const buffer_t *rows)
{
    char *where = rows->n ? arena_printf(arena, " (%.*s%s)", (int)rows->n, (const char *)rows->data,
                                         n > SHOWN ? ", …" : "")
                          : arena_text(arena, "", 0);
    return err_set(ERR_INVALID,
                   "%s: %" PRId64 " %s no %s%s. Fix the row%s, or UPDATE %s to NULL first",
                   own_words(arena, key), n, n == 1 ? "row has" : "rows have", key->parent, where,
                   n == 1 ? "" : "s", key->n == 1 ? key->from[0] : "one of the columns");
}

err_t key_rows_check(session_t *session, arena_t *arena, const foreign_key_t *key)
{
    if (key->problem)
        return err_set(ERR_INVALID, "%s cannot reference %s: %s", own_words(arena, key),
                       key->parent, key->problem);
    sqlite3_stmt *statement = NULL;
    buffer_t rows = {0};
    bool row = true;
    int64_t n = 0;
    err_t err =
        session_prepare(session,
                        arena_printf(arena,
                                     "SELECT rowid FROM pragma_foreign_key_check(%s) WHERE fkid = "
                                     "%d",
                                     text_quoted(arena, key->table), key->id),
                        &statement);
    while (!err && row) {
        err = session_next(session, &statement, &row);
        if (err || !row)
            break;
        if (n++ < SHOWN && sqlite3_column_type(statement, 0) != SQLITE_NULL)
            err = row_words(session, arena, key, sqlite3_column_int64(statement, 0), &rows);
    }
    sqlite3_finalize(statement);
    if (!err && n > 0)
        err = no_parent(arena, key, n, &rows);
    buffer_free(&rows);
    return err;
}

/* -- watching ----------------------------------------------------------------------------- */

static err_t violations(session_t *session, arena_t *arena, const char *table, int64_t *out)
{
    /* A key without a parent table is no error of its rows here: keys_compare speaks of those. */
    err_t err =
        session_number(session,
                       arena_printf(arena, "SELECT count(*) FROM pragma_foreign_key_check(%s)",
                                    text_quoted(arena, table)),
                       out);
    if (err == ERR_INVALID) { /* foreign key mismatch */
        *out = 0;
        err = ERR_OK;
    }
    return err;
}

err_t watches_add(session_t *session, arena_t *arena, watches_t *self, const char *table)
{
    for (int i = 0; i < self->n; i++)
        if (name_equal(self->items[i].table, table))
            return ERR_OK;
    watch_t watch = {.table = arena_printf(arena, "%s", table)};
    err_t err = violations(session, arena, table, &watch.violations_n);
    if (err)
        return err;
    self->items = arena_grow(arena, self->items, self->n, sizeof *self->items);
    self->items[self->n++] = watch;
    return ERR_OK;
}

err_t watches_check(session_t *session, arena_t *arena, const watches_t *self,
                    const objects_t *objects)
{
    for (int i = 0; i < self->n; i++) {
        const object_t *table = objects_find(objects, self->items[i].table);
        int64_t n = 0;
        if (!table || !object_is(table, "table"))
            continue;
        err_t err = violations(session, arena, table->name, &n);
        if (err)
            return err;
        if (n > self->items[i].violations_n)
            return err_set(ERR_INVALID,
                           "%s: %" PRId64 " more row%s than before without a parent (PRAGMA "
                           "foreign_key_check shows them)",
                           table->name, n - self->items[i].violations_n,
                           n - self->items[i].violations_n == 1 ? "" : "s");
    }
    return ERR_OK;
}

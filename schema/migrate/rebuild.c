#include "schema/migrate/rebuild.h"

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "schema/migrate/edit.h"
#include "schema/migrate/rows.h"
#include "schema/migrate/statistics.h"

enum { PROGRESS_MS = 250, PROGRESS_ROWS = 1024 };

typedef struct {
    session_t *session;
    arena_t *arena;
    const change_t *change;
    const objects_t *objects;
    const object_t *table;
    bool legacy;
    char *copy;    /* the new table's name until the old one is gone */
    char *waiting; /* the name of the old rows of sqlite_sequence meanwhile */
    bool has_sequence;
    migrate_progress_t progress;
    int64_t began_ms, told_ms;
} rebuild_t;

static err_t run(rebuild_t *self, char *sql)
{
    return session_run(self->session, sql);
}

/* -- copying ------------------------------------------------------------------------------ */

static void count_row(sqlite3_context *context, int n, sqlite3_value **values)
{
    rebuild_t *self = sqlite3_user_data(context);
    (void)n;
    (void)values;
    sqlite3_result_int(context, 1);
    if (++self->progress.rows_done % PROGRESS_ROWS != 0)
        return;
    int64_t now_ms = clock_now_ms();
    if (now_ms - self->told_ms < PROGRESS_MS)
        return;
    self->told_ms = now_ms;
    self->progress.elapsed_ms = now_ms - self->began_ms;
    self->session->options->progress(self->session->options->context, &self->progress);
}

static void add(buffer_t *list, const char *item)
{
    buffer_printf(list, "%s%s", list->n ? ", " : "", item);
}

/* Where the rowid is nobody's column it is copied as itself. */
static void add_rowid(const rebuild_t *self, buffer_t *into, buffer_t *from)
{
    const change_t *change = self->change;
    const char *alias = NULL;
    if (change->now.without_rowid)
        return;
    if (table_rowid_alias(&change->now, &alias)) {
        const column_t *column = table_column(&change->now, alias);
        const mapping_t *mapping = &change->columns[column - change->now.columns];
        if (mapping->old || mapping->using)
            return;
    }
    const char *old = table_rowid_name(&change->old), *now = table_rowid_name(&change->now);
    if (old && now) {
        add(into, now);
        add(from, old);
    }
}

static char *copy_sql(const rebuild_t *self)
{
    const change_t *change = self->change;
    arena_t *arena = self->arena;
    buffer_t into = {0}, from = {0};
    add_rowid(self, &into, &from);
    for (int i = 0; i < change->now.columns_n; i++) {
        const mapping_t *mapping = &change->columns[i];
        if (column_part(&change->now.columns[i], PART_GENERATED) ||
            !(mapping->old || mapping->using))
            continue;
        add(&into, name_quoted(arena, mapping->name));
        add(&from, mapping->using ? arena_printf(arena, "(%s\n)", mapping->using)
                                  : name_quoted(arena, mapping->old));
    }
    /* Nothing of the old table goes on (every column dropped, others added): a row stays a row. */
    if (!into.n) {
        add(&into, name_quoted(arena, change->columns[0].name));
        add(&from, "NULL");
    }
    /* OR ABORT: a constraint's own ON CONFLICT REPLACE or IGNORE would lose rows in silence. */
    char *sql = arena_printf(
        arena, "INSERT OR ABORT INTO main.%s (%.*s) SELECT %.*s FROM main.%s NOT INDEXED%s",
        name_quoted(arena, self->copy), (int)into.n, (const char *)into.data, (int)from.n,
        (const char *)from.data, name_quoted(arena, self->table->name),
        self->session->options->progress ? " WHERE _stint_row()" : "");
    buffer_free(&into);
    buffer_free(&from);
    return sql;
}

/* SQLite names the constraint; which rows, and how many, takes questions of our own. */
static err_t explain(rebuild_t *self, err_t err)
{
    char *said = session_words(self->arena, err_text(), self->copy, self->table->name);
    rows_t rows = rows_to_be(self->session, self->arena, self->change, self->table->name);
    err_t found = rows_explain(&rows);
    return found ? found
                 : err_set(err, "%s: a row does not fit the change: %s", self->table->name, said);
}

/* What a person can see beforehand is told before the copying: a mistake in USING, a new NOT NULL
 * column, NULL in a new key, a type that does not hold its values. */
static err_t ask_first(rebuild_t *self)
{
    const change_t *change = self->change;
    rows_t to_be = rows_to_be(self->session, self->arena, change, self->table->name);
    rows_t stored = rows_stored(self->session, self->arena, change, self->table->name);
    err_t err = ERR_OK;
    for (int i = 0; i < change->now.columns_n && !err; i++) {
        const char *using = change->columns[i].using;
        /* As a condition: there an aggregate, which would make one row of all, is refused. */
        char *error =
            using
                ? session_compile(self->session, self->arena,
                                  arena_printf(self->arena, "SELECT 1 FROM %s WHERE (%s\n) IS NULL",
                                               stored.relation, using))
                : NULL;
        if (error)
            err = err_set(ERR_INVALID, "%s.%s: USING: %s", self->table->name,
                          change->columns[i].name, error);
    }
    for (int i = 0; i < change->needs_n && !err; i++) {
        const need_t *need = &change->needs[i];
        if (need->kind == NEED_EMPTY)
            err = rows_check(&to_be, need);
        else if (need->kind == NEED_KEY)
            err = rows_check_key_nulls(&to_be, need->part);
        else if (need->kind == NEED_LOSSLESS)
            err = rows_lossless(&stored, need->column);
    }
    return err;
}

/* A row is a row, whatever the change. */
static err_t count_rows(rebuild_t *self)
{
    int64_t old = 0, now = 0;
    char *count = "SELECT count(*) FROM main.%s";
    err_t err = session_number(
        self->session,
        arena_printf(self->arena, count, name_quoted(self->arena, self->table->name)), &old);
    if (!err)
        err = session_number(self->session,
                             arena_printf(self->arena, count, name_quoted(self->arena, self->copy)),
                             &now);
    if (!err && old != now)
        err = err_set(ERR_INVALID, "%s: %" PRId64 " rows became %" PRId64, self->table->name, old,
                      now);
    return err;
}

static err_t copy_rows(rebuild_t *self)
{
    session_t *session = self->session;
    err_t err = ERR_OK;
    if (session->options->progress) {
        self->progress.table = self->table->name;
        err = session_number(session,
                             arena_printf(self->arena, "SELECT count(*) FROM main.%s",
                                          name_quoted(self->arena, self->table->name)),
                             &self->progress.rows_total);
        self->began_ms = self->told_ms = clock_now_ms();
        sqlite3_create_function(session->db, "_stint_row", 0, SQLITE_UTF8, self, count_row, NULL,
                                NULL);
    }
    if (!err) {
        err = run(self, copy_sql(self));
        if (err == ERR_INVALID)
            err = explain(self, err);
        if (!err)
            err = count_rows(self);
    }
    if (session->options->progress)
        sqlite3_create_function(session->db, "_stint_row", 0, SQLITE_UTF8, NULL, NULL, NULL, NULL);
    return err;
}

/* -- what SQLite keeps beside the rows ---------------------------------------------------- */

static bool is_autoincrement(const table_text_t *table)
{
    const part_t *key = table_primary_key(table);
    return key && key->autoincrement;
}

static err_t sequence_rename(rebuild_t *self, const char *from, const char *to)
{
    return run(self, arena_printf(self->arena,
                                  "UPDATE main.sqlite_sequence SET name = %s WHERE name = %s",
                                  text_quoted(self->arena, to), text_quoted(self->arena, from)));
}

/* The rows wait under another name while the copy makes its own, which is then not wanted. */
static err_t sequence_save(rebuild_t *self)
{
    self->has_sequence =
        is_autoincrement(&self->change->old) && is_autoincrement(&self->change->now);
    return self->has_sequence ? sequence_rename(self, self->table->name, self->waiting) : ERR_OK;
}

static err_t sequence_delete(rebuild_t *self, const char *name)
{
    return run(self, arena_printf(self->arena, "DELETE FROM main.sqlite_sequence WHERE name = %s",
                                  text_quoted(self->arena, name)));
}

/* Behind the rows of before if there are any, else as the copy has counted. */
static err_t sequence_restore(rebuild_t *self)
{
    if (!is_autoincrement(&self->change->now))
        return ERR_OK;
    if (!self->has_sequence)
        return sequence_rename(self, self->copy, self->table->name);
    err_t err = sequence_delete(self, self->copy);
    return err ? err : sequence_rename(self, self->waiting, self->table->name);
}

/* -- indexes and triggers ----------------------------------------------------------------- */

static bool is_own(const rebuild_t *self, const object_t *object)
{
    return object->sql && name_equal(object->table, self->table->name) &&
           (object_is(object, "index") || object_is(object, "trigger"));
}

/* Their text was accepted once: what double quotes meant then they mean now. */
static err_t make_again(rebuild_t *self)
{
    err_t err = ERR_OK;
    session_quotes(self->session, true);
    for (int i = 0; i < self->objects->n && !err; i++) {
        const object_t *object = &self->objects->items[i];
        if (!is_own(self, object))
            continue;
        err = run(self, object->sql);
        if (err == ERR_INVALID) {
            err_t found = rows_explain_index(self->session, self->arena, object->sql);
            err = found ? found : err_set(err, "%s", sqlite3_errmsg(self->session->db));
        }
        if (err)
            err = err_context(err, "%s: its %s %s cannot be kept", self->table->name, object->type,
                              object->name);
    }
    session_quotes(self->session, self->session->legacy_quotes);
    return err;
}

static err_t move_back(rebuild_t *self, const object_t *object)
{
    return run(self, arena_printf(self->arena,
                                  "UPDATE sqlite_schema SET rowid = %" PRId64
                                  " WHERE type = %s AND name = %s",
                                  object->rowid, text_quoted(self->arena, object->type),
                                  text_quoted(self->arena, object->name)));
}

/* Every object where it stood: triggers fire, and dumps are written, in that order. At the very
 * end: while the table stands last, what is made again gets numbers behind it, which nobody had. */
static err_t move_own_back(rebuild_t *self)
{
    err_t err = session_schema_open(self->session);
    if (!err)
        err = move_back(self, self->table);
    for (int i = 0; i < self->objects->n && !err; i++)
        if (is_own(self, &self->objects->items[i]))
            err = move_back(self, &self->objects->items[i]);
    err_t closed = session_schema_close(self->session);
    return err ? err : closed;
}

/* -- the twelve steps --------------------------------------------------------------------- */

static err_t make_copy(rebuild_t *self)
{
    session_quotes(self->session, self->legacy || self->session->legacy_quotes);
    err_t err = run(self, edit_copy(self->arena, &self->change->now, self->copy));
    session_quotes(self->session, self->session->legacy_quotes);
    return err ? err : copy_rows(self);
}

/* The copy takes over the name, with the text as it was written but for the change, and the indexes
 * of its keys follow. Not by RENAME TO: that reads every text of the schema anew, and stops at old
 * ones which mean text by double quotes. */
static err_t take_over(rebuild_t *self)
{
    arena_t *arena = self->arena;
    char *copy = text_quoted(arena, self->copy), *name = text_quoted(arena, self->table->name);
    err_t err = session_schema_open(self->session);
    if (!err)
        err = run(self,
                  arena_printf(arena,
                               "UPDATE sqlite_schema SET name = 'sqlite_autoindex_' || %s || "
                               "substr(name, %d), tbl_name = %s WHERE type = 'index' AND "
                               "tbl_name = %s",
                               name, (int)(strlen("sqlite_autoindex_") + strlen(self->copy)) + 1,
                               name, copy));
    if (!err)
        err = run(self, arena_printf(arena,
                                     "UPDATE sqlite_schema SET name = %s, tbl_name = %s, sql = %s "
                                     "WHERE type = 'table' AND name = %s",
                                     name, name, text_quoted(arena, self->change->text), copy));
    err_t closed = session_schema_close(self->session);
    return err ? err : closed;
}

static err_t replace(rebuild_t *self)
{
    arena_t *arena = self->arena;
    /* DROP TABLE takes the statistics of that name along: they wait under the other one. */
    err_t err =
        statistics_rename(self->session, arena, self->objects, self->table->name, self->copy);
    if (!err)
        err = run(self,
                  arena_printf(arena, "DROP TABLE main.%s", name_quoted(arena, self->table->name)));
    if (!err)
        err = take_over(self);
    return err ? err
               : statistics_rename(self->session, arena, self->objects, self->copy,
                                   self->table->name);
}

err_t rebuild_run(session_t *session, arena_t *arena, const change_t *change,
                  const objects_t *objects, const object_t *table, bool legacy)
{
    rebuild_t self = {.session = session,
                      .arena = arena,
                      .change = change,
                      .objects = objects,
                      .table = table,
                      .legacy = legacy,
                      .copy = objects_free_name(arena, objects, "_stint_new"),
                      .waiting = objects_free_name(arena, objects, "_stint_waiting")};
    err_t err = ask_first(&self);
    if (!err)
        err = sequence_save(&self);
    if (!err)
        err = make_copy(&self);
    if (!err)
        err = replace(&self);
    if (!err)
        err = make_again(&self);
    if (!err)
        err = move_own_back(&self);
    if (!err)
        err = sequence_restore(&self);
    if (!err && change->keys_change)
        err = statistics_prune(session, arena, objects, table->name);
    return err;
}

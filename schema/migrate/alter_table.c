#include "schema/migrate/alter_table.h"

#include <string.h>

#include "schema/migrate/edit.h"
#include "schema/migrate/in_place.h"
#include "schema/migrate/keys.h"
#include "schema/migrate/rebuild.h"
#include "schema/migrate/rows.h"
#include "schema/migrate/statistics.h"

typedef struct {
    session_t *session;
    arena_t *arena;
    alter_t alter;
    table_text_t stored;
    renames_t renames;
    change_t change;
    checkup_t before; /* the first */
    keys_t keys_before;
    const object_t *table;
    bool legacy; /* the table's own text needs "text" to mean 'text' */
} altering_t;

/* -- the table ---------------------------------------------------------------------------- */

static err_t find_table(altering_t *self, const objects_t *objects)
{
    const char *name = self->alter.table;
    self->table = objects_find(objects, name);
    if (!self->table)
        return err_set(ERR_INVALID, "there is no table \"%s\"", name);
    if (!object_is(self->table, "table"))
        return err_set(ERR_INVALID, "\"%s\" is %s %s and no table", name,
                       object_is(self->table, "index") ? "an" : "a", self->table->type);
    if (strncasecmp(name, "sqlite_", 7) == 0)
        return err_set(ERR_INVALID, "%s is SQLite's own table", name);
    return ERR_OK;
}

static const char *rename_target(const alter_t *alter)
{
    const char *name = NULL;
    for (int i = 0; i < alter->actions_n; i++)
        if (alter->actions[i].kind == ACTION_RENAME_TABLE)
            name = alter->actions[i].new_name;
    return name;
}

/* -- native steps ------------------------------------------------------------------------- */

/* SQLite reads every view and trigger before it renames, and stops at one that is broken already.
 */
static err_t rename_run(altering_t *self, char *sql)
{
    session_quotes(self->session, checkup_needs_quotes(&self->before));
    err_t err = session_run(self->session, sql);
    session_quotes(self->session, self->session->legacy_quotes);
    for (int i = 0; err == ERR_INVALID && i < self->before.n; i++)
        if (self->before.items[i].loose) {
            const object_t *object = self->before.items[i].object;
            char *why = self->before.items[i].loose;
            return err_set(err,
                           "SQLite renames nothing while the %s %s is broken (%s): drop or mend "
                           "it first",
                           object->type, object->name, why);
        }
    return err;
}

static err_t rename_columns(altering_t *self)
{
    err_t err = ERR_OK;
    for (int i = 0; i < self->renames.steps_n && !err; i++) {
        const rename_step_t *step = &self->renames.steps[i];
        err = rename_run(self, arena_printf(self->arena, "ALTER TABLE %s RENAME COLUMN %s TO %s",
                                            name_quoted(self->arena, self->table->name),
                                            name_quoted(self->arena, step->from),
                                            name_quoted(self->arena, step->to)));
    }
    return err;
}

static err_t rename_table(altering_t *self, const char *target)
{
    objects_t objects;
    err_t err = objects_read(self->session, self->arena, &objects);
    if (!err)
        err = objects_virtual_need(self->arena, &objects, self->table->name);
    if (err)
        return err;
    char *from = name_quoted(self->arena, self->table->name);
    char *to = name_quoted(self->arena, target);
    if (name_equal(target, self->table->name)) {
        /* SQLite takes another spelling of the same name for a name that is taken. */
        char *between =
            name_quoted(self->arena, objects_free_name(self->arena, &objects, "_stint_renamed"));
        err = rename_run(self,
                         arena_printf(self->arena, "ALTER TABLE %s RENAME TO %s", from, between));
        from = between;
    }
    if (!err)
        err = rename_run(self, arena_printf(self->arena, "ALTER TABLE %s RENAME TO %s", from, to));
    return err ? err
               : statistics_rename(self->session, self->arena, &objects, self->table->name, target);
}

/* -- would SQLite take the new text? ------------------------------------------------------ */

static char *try_text(altering_t *self, const table_text_t *table, bool quotes)
{
    session_t *session = self->session;
    char *error = NULL;
    char *name = objects_free_name(self->arena, &self->before.objects, "_stint_try");
    session_quotes(session, quotes);
    sqlite3_exec(session->db, "SAVEPOINT _stint_try", NULL, NULL, NULL);
    if (sqlite3_exec(session->db, edit_table_name(self->arena, table, name), NULL, NULL, NULL) !=
        SQLITE_OK)
        error = arena_printf(self->arena, "%s", sqlite3_errmsg(session->db));
    sqlite3_exec(session->db, "ROLLBACK TO _stint_try; RELEASE _stint_try", NULL, NULL, NULL);
    session_quotes(session, session->legacy_quotes);
    return error;
}

/* What an old text is excused for, a new condition is not. */
static err_t try_checks(altering_t *self)
{
    rows_t rows = rows_to_be(self->session, self->arena, &self->change, self->table->name);
    char *error = NULL;
    session_quotes(self->session, false);
    for (int i = 0; i < self->change.needs_n && !error; i++) {
        const need_t *need = &self->change.needs[i];
        if (need->kind == NEED_CHECK && !change_had_check(self->arena, &self->change, need->part))
            error = session_compile(self->session, self->arena, rows_check_sql(&rows, need->part));
    }
    session_quotes(self->session, self->session->legacy_quotes);
    return error ? err_set(ERR_INVALID, "%s: %s", self->table->name, error) : ERR_OK;
}

/* A text that was stored long ago may rely on "text" in double quotes, or on a function only its
 * own program has: what the old text is excused for the new one is too, and nothing else. */
static err_t try_change(altering_t *self)
{
    char *error = try_text(self, &self->change.now, false);
    if (!error)
        return ERR_OK;
    char *old = try_text(self, &self->change.old, false);
    if (old) {
        self->legacy = true;
        char *loose = try_text(self, &self->change.now, true);
        char *old_loose = try_text(self, &self->change.old, true);
        if (!loose || (old_loose && !strcmp(loose, old_loose)))
            return try_checks(self);
        error = loose;
    }
    return err_set(ERR_INVALID, "%s: %s", self->table->name, error);
}

/* -- the change itself -------------------------------------------------------------------- */

static err_t check_new_keys(altering_t *self, const keys_t *keys)
{
    err_t err = ERR_OK;
    for (int i = 0; i < self->change.needs_n && !err; i++) {
        const need_t *need = &self->change.needs[i];
        if (need->kind != NEED_PARENT)
            continue;
        const foreign_key_t *key = keys_find(keys, self->table->name, need->part);
        err = key ? key_rows_check(self->session, self->arena, key)
                  : err_set(ERR_INTERNAL, "SQLite does not list the foreign key %s",
                            part_words(self->arena, &self->change.now.tokens, need->part));
    }
    return err;
}

/* A parent's values can only change with its type or by USING: then its children are asked too. */
static err_t check_children(altering_t *self, const keys_t *keys)
{
    err_t err = ERR_OK;
    bool values = false;
    for (int i = 0; i < self->change.now.columns_n; i++)
        values = values || self->change.columns[i].using;
    for (int i = 0; i < self->change.needs_n; i++)
        values = values || self->change.needs[i].kind == NEED_LOSSLESS;
    for (int i = 0; values && i < keys->n && !err; i++)
        if (name_equal(keys->items[i].parent, self->table->name) && !keys->items[i].problem)
            err = key_rows_check(self->session, self->arena, &keys->items[i]);
    return err;
}

/* PRAGMA quick_check of the table: each row against NOT NULL, CHECK and the STRICT types. */
static err_t check_table(altering_t *self)
{
    char *said = NULL;
    err_t err = session_text(self->session, self->arena,
                             arena_printf(self->arena, "PRAGMA quick_check(%s)",
                                          name_quoted(self->arena, self->table->name)),
                             &said);
    if (!err && said && strcmp(said, "ok") != 0)
        err = err_set(ERR_INVALID, "%s: the changed table does not pass quick_check: %s",
                      self->table->name, said);
    return err;
}

static err_t judge(altering_t *self)
{
    objects_t objects;
    keys_t keys;
    err_t err =
        checkup_compare(self->session, self->arena, &self->before, &self->change, &self->renames);
    if (!err)
        err = objects_read(self->session, self->arena, &objects);
    if (!err)
        err = keys_read(self->session, self->arena, &objects, &keys);
    if (!err)
        err = check_new_keys(self, &keys);
    if (!err)
        err = keys_compare(&self->keys_before, &keys);
    if (!err)
        err = check_children(self, &keys);
    return err ? err : check_table(self);
}

static err_t carry_out(altering_t *self)
{
    bool done = false;
    objects_t objects;
    err_t err = objects_read(self->session, self->arena, &objects);
    if (!err)
        err = find_table(self, &objects);
    if (!err)
        err = objects_need(self->session, self->arena, &objects, &self->change, &self->renames);
    if (!err)
        err = try_change(self);
    if (!err && !self->change.rebuild)
        err = in_place_run(self->session, self->arena, &self->change, self->table, &done);
    if (!err && !done)
        err = rebuild_run(self->session, self->arena, &self->change, &objects, self->table,
                          self->legacy);
    return err ? err : judge(self);
}

static err_t prepare(altering_t *self)
{
    err_t err = checkup_make(self->session, self->arena, &self->before);
    if (!err)
        err = find_table(self, &self->before.objects);
    if (err)
        return err;
    self->session->legacy_quotes = checkup_needs_quotes(&self->before);
    session_quotes(self->session, self->session->legacy_quotes);
    if (object_is_virtual(self->arena, self->table))
        return self->alter.actions_n == 1 && rename_target(&self->alter)
                   ? ERR_OK
                   : err_set(ERR_INVALID, "%s is a virtual table: it can only be renamed",
                             self->table->name);
    err = table_text_read(self->arena, self->table->sql, &self->stored);
    if (!err)
        err = renames_plan(self->arena, &self->stored, &self->alter, &self->renames);
    return err;
}

static err_t change_columns(altering_t *self)
{
    char *sql = NULL;
    objects_t objects;
    err_t err = rename_columns(self);
    if (!err)
        err = session_text(
            self->session, self->arena,
            arena_printf(self->arena,
                         "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = %s",
                         text_quoted(self->arena, self->table->name)),
            &sql);
    if (!err) /* the names in the keys of other tables have followed */
        err = objects_read(self->session, self->arena, &objects);
    if (!err)
        err = keys_read(self->session, self->arena, &objects, &self->keys_before);
    if (!err)
        err = change_make(self->arena, sql, &self->alter, &self->renames, &self->change);
    if (!err && change_is_nothing(&self->change))
        return checkup_compare(self->session, self->arena, &self->before, NULL, NULL);
    return err ? err : carry_out(self);
}

/* --rebuild is one more action. */
static void force_rebuild(altering_t *self)
{
    alter_t *alter = &self->alter;
    alter->actions = arena_grow(self->arena, alter->actions, alter->actions_n, sizeof(action_t));
    alter->actions[alter->actions_n++] = (action_t){.kind = ACTION_REBUILD};
}

err_t alter_table(session_t *session, const tokens_t *tokens)
{
    arena_t arena = {0};
    altering_t self = {.session = session, .arena = &arena};
    err_t err = alter_read(&arena, tokens, &self.alter);
    bool only_name = !err && self.alter.actions_n == 1 && rename_target(&self.alter);
    if (!err)
        err = prepare(&self);
    if (err && self.alter.lenient && !self.table)
        err = ERR_OK; /* IF EXISTS */
    else if (!err && !only_name) {
        if (session->options->rebuild)
            force_rebuild(&self);
        err = change_columns(&self);
    }
    if (!err && self.table && rename_target(&self.alter))
        err = rename_table(&self, rename_target(&self.alter));
    arena_free(&arena);
    return err;
}

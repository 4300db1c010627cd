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
    watches_t watches;
    const object_t *table;
    bool absent;
    bool legacy; /* the table's own text needs "text" to mean 'text' */
} altering_t;

/* -- the table ---------------------------------------------------------------------------- */

static err_t find_table(altering_t *self, const objects_t *objects)
{
    const char *name = self->alter.table;
    self->table = objects_find(objects, name);
    self->absent = !self->table;
    if (self->absent)
        return err_set(ERR_INVALID, "there is no table \"%s\"", name);
    if (!object_is(self->table, "table"))
        return err_set(ERR_INVALID, "\"%s\" is %s %s and no table", name,
                       object_is(self->table, "index") ? "an" : "a", self->table->type);
    if (strncasecmp(name, "sqlite_", 7) == 0)
        return err_set(ERR_INVALID, "%s is SQLite's own table", name);
    int64_t hidden = 0;
    err_t err = session_number(
        self->session,
        arena_printf(self->arena,
                     "SELECT count(*) FROM sqlite_temp_schema WHERE name = %s COLLATE NOCASE",
                     text_quoted(self->arena, name)),
        &hidden);
    int64_t shadow = 0;
    if (!err)
        err = session_number(self->session,
                             arena_printf(self->arena,
                                          "SELECT type = 'shadow' FROM pragma_table_list(%s) WHERE "
                                          "schema = 'main'",
                                          text_quoted(self->arena, self->table->name)),
                             &shadow);
    if (!err && shadow)
        return err_set(ERR_INVALID, "%s belongs to a virtual table, which needs it as it is", name);
    if (!err && hidden)
        err = err_set(ERR_INVALID, "a TEMP object called \"%s\" hides the table: drop that first",
                      name);
    return err;
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
    session_quotes(self->session, true); /* every text in the schema was accepted once */
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

/* As the script spells it: without quotes where SQLite needs none. */
static char *spelled(arena_t *arena, const rename_step_t *step)
{
    int n = (int)strlen(step->to);
    return step->bare && !sqlite3_keyword_check(step->to, n) ? arena_printf(arena, "%s", step->to)
                                                             : name_quoted(arena, step->to);
}

/* The last steps: every other action is done under the names of before. */
static err_t rename_columns(altering_t *self)
{
    err_t err = ERR_OK;
    for (int i = 0; i < self->renames.steps_n && !err; i++) {
        const rename_step_t *step = &self->renames.steps[i];
        err =
            objects_virtual_need(self->arena, &self->before.objects, self->table->name, step->from);
        if (!err)
            err = rename_run(self,
                             arena_printf(self->arena, "ALTER TABLE main.%s RENAME COLUMN %s TO %s",
                                          name_quoted(self->arena, self->table->name),
                                          name_quoted(self->arena, step->from),
                                          spelled(self->arena, step)));
    }
    return err;
}

static err_t rename_table(altering_t *self, const char *target)
{
    objects_t objects;
    err_t err = objects_read(self->session, self->arena, &objects);
    if (!err)
        err = objects_virtual_need(self->arena, &objects, self->table->name, NULL);
    if (err)
        return err;
    char *from = name_quoted(self->arena, self->table->name);
    char *to = name_quoted(self->arena, target);
    if (name_equal(target, self->table->name)) {
        /* SQLite takes another spelling of the same name for a name that is taken. */
        char *between =
            name_quoted(self->arena, objects_free_name(self->arena, &objects, "_stint_renamed"));
        err = rename_run(
            self, arena_printf(self->arena, "ALTER TABLE main.%s RENAME TO %s", from, between));
        from = between;
    }
    if (!err)
        err = rename_run(self,
                         arena_printf(self->arena, "ALTER TABLE main.%s RENAME TO %s", from, to));
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
    if (sqlite3_exec(session->db, edit_copy(self->arena, table, name), NULL, NULL, NULL) !=
        SQLITE_OK) {
        session_note_failure(session);
        error = session_words(self->arena, sqlite3_errmsg(session->db), name, self->table->name);
    }
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
    if (!error || self->session->failure)
        return session_failure(self->session);
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

/* Can a parent or child lose its other side: by new values, another comparison, another key? */
static bool touches_keys(const altering_t *self)
{
    const change_t *change = &self->change;
    bool touches = change->keys_change;
    for (int i = 0; i < change->now.columns_n; i++)
        touches = touches || change->columns[i].using;
    for (int i = 0; i < change->needs_n; i++)
        touches = touches || change->needs[i].kind == NEED_LOSSLESS;
    return touches || change->compares_otherwise;
}

/* PRAGMA quick_check of the table: each row against NOT NULL, CHECK and the STRICT types. Of 3.40
 * it errs about tables WITHOUT ROWID, and takes a name like 5 for a number. */
static err_t check_table(altering_t *self)
{
    char *said = NULL;
    if (self->change.now.without_rowid || strchr("+-0123456789", self->table->name[0]))
        return ERR_OK;
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
    err_t err = checkup_compare(self->session, self->arena, &self->before, &self->change);
    if (!err)
        err = objects_read(self->session, self->arena, &objects);
    if (!err)
        err = keys_read(self->session, self->arena, &objects, &keys);
    if (!err)
        err = check_new_keys(self, &keys);
    if (!err)
        err = keys_compare(&self->keys_before, &keys);
    if (!err)
        err = watches_check(self->session, self->arena, &self->watches, &keys);
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
        err = checkup_need(self->session, self->arena, &self->before, &self->change);
    if (!err && touches_keys(self))
        err = watches_begin(self->session, self->arena, &self->watches, &self->keys_before);
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
    err_t err = keys_read(self->session, self->arena, &self->before.objects, &self->keys_before);
    if (!err)
        err =
            change_make(self->arena, self->table->sql, &self->alter, &self->renames, &self->change);
    if (!err && !change_is_nothing(&self->change))
        err = carry_out(self);
    return err ? err : rename_columns(self);
}

/* --rebuild is one more action. */
static void force_rebuild(altering_t *self)
{
    alter_t *alter = &self->alter;
    alter->actions = arena_grow(self->arena, alter->actions, alter->actions_n, sizeof(action_t));
    alter->actions[alter->actions_n++] = (action_t){.kind = ACTION_REBUILD};
}

/* Settings that a script may have changed with a PRAGMA, and that would make untruths of checks. */
static err_t settings_reset(session_t *session)
{
    session_legacy_alter(session, false);
    return session_run(session, "PRAGMA ignore_check_constraints = OFF");
}

static err_t carry_out_all(altering_t *self)
{
    const char *target = rename_target(&self->alter);
    err_t err = ERR_OK;
    if (self->alter.actions_n > 1 || !target) {
        if (self->session->options->rebuild)
            force_rebuild(self);
        err = change_columns(self);
    }
    if (!err && target)
        err = rename_table(self, target);
    return err ? err : checkup_compare(self->session, self->arena, &self->before, NULL);
}

/* Names that only stand in for others are nobody's business. */
static err_t in_their_words(altering_t *self, err_t err)
{
    char *said = arena_printf(self->arena, "%s", err_text());
    for (int i = 0; i < self->renames.n; i++) {
        const named_t *item = &self->renames.items[i];
        if (strcmp(item->working, item->written) != 0)
            said = session_words(self->arena, said, item->working, item->written);
    }
    return err_set(err, "%s", said);
}

err_t alter_table(session_t *session, const tokens_t *tokens)
{
    arena_t arena = {0};
    altering_t self = {.session = session, .arena = &arena};
    err_t err = settings_reset(session);
    if (!err)
        err = alter_read(&arena, tokens, &self.alter);
    if (!err)
        err = prepare(&self);
    if (err && self.alter.lenient && self.absent)
        err = ERR_OK; /* IF EXISTS */
    else if (!err)
        err = carry_out_all(&self);
    if (err)
        err = in_their_words(&self, err);
    arena_free(&arena);
    return err;
}

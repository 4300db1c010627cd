#include "schema/migrate/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "schema/migrate/engine.h"

static const char record_table[] = "CREATE TABLE IF NOT EXISTS schema_migrations (\n"
                                   "    version INTEGER PRIMARY KEY,\n"
                                   "    name TEXT NOT NULL,\n"
                                   "    checksum TEXT NOT NULL, -- sha256 of the file\n"
                                   "    applied_at INTEGER NOT NULL, -- ms since 1970 UTC\n"
                                   "    duration_ms INTEGER NOT NULL,\n"
                                   "    tool TEXT NOT NULL\n"
                                   ") STRICT";

/* -- records ------------------------------------------------------------------------------ */

static const migrate_options_t reading = {0};

static err_t table_there(session_t *session, arena_t *arena, bool *out)
{
    char *columns = NULL;
    err_t err = session_text(
        session, arena, "SELECT group_concat(name) FROM pragma_table_info('schema_migrations')",
        &columns);
    *out = columns != NULL;
    if (!err && columns &&
        strcmp(columns, "version,name,checksum,applied_at,duration_ms,tool") != 0)
        err = err_set(ERR_CONFLICT,
                      "the table schema_migrations here is another tool's (its columns are "
                      "%.200s): rename it first",
                      columns);
    return err;
}

static err_t records_read(session_t *session, arena_t *arena, migration_records_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = true, there = false;
    migration_records_t self = {0};
    err_t err = table_there(session, arena, &there);
    if (!err && there)
        err = session_prepare(session,
                              "SELECT version, name, checksum, applied_at, duration_ms, tool FROM "
                              "schema_migrations ORDER BY version",
                              &statement);
    while (!err && there && row) {
        err = session_next(session, &statement, &row);
        if (err || !row)
            break;
        self.items = arena_grow(arena, self.items, self.n, sizeof *self.items);
        self.items[self.n++] =
            (migration_record_t){.version = sqlite3_column_int64(statement, 0),
                                 .name = session_column(arena, statement, 1),
                                 .checksum = session_column(arena, statement, 2),
                                 .applied_at = sqlite3_column_int64(statement, 3),
                                 .duration_ms = sqlite3_column_int64(statement, 4),
                                 .tool = session_column(arena, statement, 5)};
    }
    sqlite3_finalize(statement);
    if (!err)
        *out = self;
    return err;
}

err_t history_read(sqlite3 *db, arena_t *arena, migration_records_t *out)
{
    session_t session = {.db = db, .options = &reading};
    return records_read(&session, arena, out);
}

int64_t history_version(const migration_records_t *self)
{
    return self->n ? self->items[self->n - 1].version : 0;
}

static err_t record_insert(engine_t *engine, const migration_file_t *file, int64_t began_ms)
{
    arena_t *arena = &engine->arena;
    const migrate_options_t *options = engine->session.options;
    err_t err = session_run(&engine->session, record_table);
    if (err)
        return err;
    return session_run(&engine->session,
                       arena_printf(arena,
                                    "INSERT OR REPLACE INTO schema_migrations VALUES (%" PRId64
                                    ", %s, %s, %" PRId64 ", %" PRId64 ", 'stint " STINT_VERSION
                                    "')",
                                    file->version, text_quoted(arena, file->name),
                                    text_quoted(arena, file->checksum),
                                    options->wall_at ? options->wall_at : clock_wall_ms(),
                                    began_ms ? clock_now_ms() - began_ms : 0));
}

static err_t record_delete(engine_t *engine, int64_t above)
{
    return session_run(&engine->session,
                       arena_printf(&engine->arena,
                                    "DELETE FROM schema_migrations WHERE version > %" PRId64,
                                    above));
}

/* -- judgement ---------------------------------------------------------------------------- */

static err_t record_judge(const migration_files_t *files, const migration_record_t *record)
{
    const migration_file_t *file = migration_files_find(files, record->version);
    int64_t newest = files->n ? files->items[files->n - 1].version : 0;
    if (!file && record->version > newest)
        return err_set(ERR_NEWER,
                       "the database has schema version %" PRId64 " (%s), newer than what is "
                       "known here: up to %" PRId64,
                       record->version, record->name, newest);
    if (!file)
        return err_set(ERR_CORRUPT, "%s has run on this database, but the file is gone",
                       record->name);
    if (strcmp(file->checksum, record->checksum) != 0)
        return err_set(ERR_CORRUPT,
                       "%s is not what has run on this database: it was edited afterwards. Put it "
                       "back and write a new migration",
                       file->name);
    return ERR_OK;
}

static bool has_run(const migration_records_t *records, int64_t version)
{
    for (int i = 0; i < records->n; i++)
        if (records->items[i].version == version)
            return true;
    return false;
}

/* The newest first: a database that is newer is called newer and nothing else. */
err_t history_pending(const migration_files_t *files, const migration_records_t *records, int *out)
{
    err_t err = ERR_OK;
    int n = 0;
    for (int i = records->n; i-- > 0 && !err;)
        err = record_judge(files, &records->items[i]);
    for (int i = 0; i < files->n && !err; i++) {
        const migration_file_t *file = &files->items[i];
        if (has_run(records, file->version))
            continue;
        if (file->version < history_version(records))
            err = err_set(ERR_INVALID,
                          "%s has not run, but the database is at version %" PRId64
                          " already: give it the next number",
                          file->name, history_version(records));
        n++;
    }
    if (!err)
        *out = n;
    return err;
}

/* -- targets ------------------------------------------------------------------------------ */

err_t target_read(const char *text, bool upgrade, target_t *out)
{
    const char *expected = upgrade ? "head, a version or +N" : "base, a version or -N";
    char sign = upgrade ? '+' : '-', *end = NULL;
    if (strcmp(text, upgrade ? "head" : "base") == 0) {
        *out = (target_t){upgrade ? TARGET_HEAD : TARGET_VERSION, 0};
        return ERR_OK;
    }
    bool steps = text[0] == sign;
    const char *digits = steps ? text + 1 : text;
    long long n = strtoll(digits, &end, 10);
    if (end == digits || *end || strspn(digits, "0123456789") != strlen(digits) ||
        strlen(digits) > 18 || (steps && n == 0))
        return err_set(ERR_USAGE, "\"%.80s\" is no target: expected %s", text, expected);
    *out = (target_t){steps ? TARGET_STEPS : TARGET_VERSION, n};
    return ERR_OK;
}

/* The version an upgrade stops at. */
static err_t upgrade_end(const migration_files_t *files, const migration_records_t *records,
                         target_t target, int64_t *out)
{
    int64_t now = history_version(records);
    *out = files->n ? files->items[files->n - 1].version : 0;
    if (target.kind == TARGET_HEAD)
        return ERR_OK;
    if (target.kind == TARGET_STEPS) {
        int64_t left = target.n;
        for (int i = 0; i < files->n; i++)
            if (files->items[i].version > now && left-- == 1)
                *out = files->items[i].version;
        return ERR_OK;
    }
    if (!migration_files_find(files, target.n))
        return err_set(ERR_INVALID, "there is no migration %" PRId64 "; the newest is %" PRId64,
                       target.n, *out);
    if (target.n < now)
        return err_set(ERR_INVALID,
                       "the database is at version %" PRId64 ", above %" PRId64
                       ": that is a downgrade",
                       now, target.n);
    *out = target.n;
    return ERR_OK;
}

static err_t downgrade_end(const migration_records_t *records, target_t target, int64_t *out)
{
    int64_t now = history_version(records);
    if (target.kind == TARGET_STEPS) {
        int64_t left = records->n - target.n;
        *out = left > 0 ? records->items[left - 1].version : 0;
        return ERR_OK;
    }
    if (target.n > now || (target.n > 0 && !has_run(records, target.n)))
        return err_set(ERR_INVALID,
                       "the database is at version %" PRId64 " and never had %" PRId64
                       ": a downgrade goes to a version below",
                       now, target.n);
    *out = target.n;
    return ERR_OK;
}

/* -- steps -------------------------------------------------------------------------------- */

static void note(arena_t *arena, migrated_t *out, const migration_file_t *file)
{
    out->items = arena_grow(arena, out->items, out->n, sizeof *out->items);
    out->items[out->n++] = file;
}

static err_t finish(engine_t *engine, const char *where, err_t err)
{
    if (!err)
        return engine_commit(engine, where);
    engine_abort(engine);
    return err;
}

/* The next file up to `end`, if there is still one when the lock is ours. */
static err_t upgrade_one(sqlite3 *db, const migration_files_t *files, int64_t end,
                         const migrate_options_t *options, const migration_file_t **done)
{
    engine_t engine;
    migration_records_t records;
    int pending = 0;
    int64_t began_ms = clock_now_ms();
    *done = NULL;
    err_t err = engine_begin(&engine, db, options);
    if (err)
        return err;
    err = records_read(&engine.session, &engine.arena, &records);
    if (!err)
        err = history_pending(files, &records, &pending);
    const migration_file_t *next = NULL;
    for (int i = 0; i < files->n && !next && !err; i++)
        if (files->items[i].version <= end && !has_run(&records, files->items[i].version))
            next = &files->items[i];
    if (!next) {
        engine_abort(&engine);
        return err;
    }
    if (!err)
        err = engine_run(&engine, next->text.up, next->text.up_n, next->name, next->text.up_line);
    if (!err)
        err = record_insert(&engine, next, began_ms);
    err = finish(&engine, next->name, err);
    if (!err)
        *done = next;
    return err;
}

err_t history_upgrade(sqlite3 *db, arena_t *arena, const migration_files_t *files, target_t target,
                      const migrate_options_t *options, migrated_t *out)
{
    migration_records_t records;
    int pending = 0;
    int64_t end = 0;
    err_t err = history_read(db, arena, &records);
    if (!err)
        err = history_pending(files, &records, &pending);
    if (!err)
        err = upgrade_end(files, &records, target, &end);
    for (int i = 0; i < files->n && !err; i++) {
        const migration_file_t *done = NULL;
        if (files->items[i].version > end || has_run(&records, files->items[i].version))
            continue;
        err = upgrade_one(db, files, end, options, &done);
        if (!err && done) /* another runner may have been faster */
            note(arena, out, done);
    }
    return err;
}

static err_t downgrade_one(sqlite3 *db, const migration_file_t *file,
                           const migrate_options_t *options)
{
    engine_t engine;
    migration_records_t records;
    err_t err = engine_begin(&engine, db, options);
    if (err)
        return err;
    err = records_read(&engine.session, &engine.arena, &records);
    if (!err && history_version(&records) != file->version)
        err = err_set(ERR_CONFLICT, "the database changed meanwhile: it is at version %" PRId64,
                      history_version(&records));
    if (!err)
        err = engine_run(&engine, file->text.down, file->text.down_n, file->name,
                         file->text.down_line);
    if (!err)
        err = record_delete(&engine, file->version - 1);
    return finish(&engine, file->name, err);
}

/* All of them are judged before the first is undone. */
static err_t can_go_down(const migration_files_t *files, const migration_records_t *records,
                         int64_t end)
{
    err_t err = ERR_OK;
    for (int i = records->n; i-- > 0 && records->items[i].version > end && !err;) {
        const migration_file_t *file = migration_files_find(files, records->items[i].version);
        err = record_judge(files, &records->items[i]);
        if (!err && !file->text.down)
            err = err_set(ERR_INVALID, "%s has no \"-- migrate:down\": it cannot be undone",
                          file->name);
    }
    return err;
}

err_t history_downgrade(sqlite3 *db, arena_t *arena, const migration_files_t *files,
                        target_t target, const migrate_options_t *options, migrated_t *out)
{
    migration_records_t records;
    int64_t end = 0;
    err_t err = history_read(db, arena, &records);
    if (!err)
        err = downgrade_end(&records, target, &end);
    if (!err)
        err = can_go_down(files, &records, end);
    for (int i = records.n; !err && i-- > 0 && records.items[i].version > end;) {
        const migration_file_t *file = migration_files_find(files, records.items[i].version);
        err = downgrade_one(db, file, options);
        if (!err)
            note(arena, out, file);
    }
    return err;
}

/* Those that agree with their file keep their times. */
static err_t stamp(engine_t *engine, const migration_files_t *files, int64_t version,
                   const migration_records_t *records)
{
    err_t err = record_delete(engine, version);
    for (int i = 0; i < records->n && !err; i++)
        if (!migration_files_find(files, records->items[i].version))
            err = session_run(&engine->session,
                              arena_printf(&engine->arena,
                                           "DELETE FROM schema_migrations WHERE version = %" PRId64,
                                           records->items[i].version));
    for (int i = 0; i < files->n && !err && files->items[i].version <= version; i++) {
        bool known = false;
        for (int k = 0; k < records->n; k++)
            known = known || (records->items[k].version == files->items[i].version &&
                              strcmp(records->items[k].checksum, files->items[i].checksum) == 0);
        if (!known)
            err = record_insert(engine, &files->items[i], 0);
    }
    return err;
}

err_t history_stamp(sqlite3 *db, const migration_files_t *files, int64_t version,
                    const migrate_options_t *options)
{
    engine_t engine;
    migration_records_t records;
    if (version > 0 && !migration_files_find(files, version))
        return err_set(ERR_INVALID, "there is no migration %" PRId64, version);
    err_t err = engine_begin(&engine, db, options);
    if (err)
        return err;
    err = records_read(&engine.session, &engine.arena, &records);
    if (!err)
        err = session_run(&engine.session, record_table);
    if (!err)
        err = stamp(&engine, files, version, &records);
    return finish(&engine, "schema_migrations", err);
}

#include "schema/migrate/mirror.h"

#include <string.h>

#include "schema/migrate/objects.h"

static const migrate_options_t quiet = {0};

static err_t open_memory(sqlite3 **out)
{
    sqlite3 *db = NULL;
    if (sqlite3_open(":memory:", &db) != SQLITE_OK) {
        sqlite3_close(db);
        return err_set(ERR_INTERNAL, "no database in memory");
    }
    /* Its own text was accepted once. */
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 1, NULL);
    *out = db;
    return ERR_OK;
}

/* A virtual table is only its row here: its module may not be there, and needs not. */
static err_t add_virtual(session_t *to, arena_t *arena, const object_t *object)
{
    err_t err = session_schema_open(to);
    if (!err)
        err = session_run(to, arena_printf(arena,
                                           "INSERT INTO sqlite_schema VALUES ('table', %s, %s, 0, "
                                           "%s)",
                                           text_quoted(arena, object->name),
                                           text_quoted(arena, object->table),
                                           text_quoted(arena, object->sql)));
    err_t closed = session_schema_close(to);
    return err ? err : closed;
}

static err_t add_object(session_t *to, arena_t *arena, const object_t *object)
{
    if (!object->sql || strncmp(object->name, "sqlite_sequence", 15) == 0)
        return ERR_OK;
    if (strncmp(object->name, "sqlite_stat", 11) == 0)
        return session_run(to, "ANALYZE");
    if (object_is_virtual(arena, object))
        return add_virtual(to, arena, object);
    err_t err = session_run(to, object->sql);
    return err ? err_context(err, "%s %s", object->type, object->name) : ERR_OK;
}

static err_t copy_records(session_t *to, arena_t *arena, const migration_records_t *records)
{
    err_t err = ERR_OK;
    for (int i = 0; i < records->n && !err; i++) {
        const migration_record_t *record = &records->items[i];
        err = session_run(to,
                          arena_printf(arena,
                                       "INSERT INTO schema_migrations VALUES (%lld, %s, %s, 0, "
                                       "0, '')",
                                       (long long)record->version, text_quoted(arena, record->name),
                                       text_quoted(arena, record->checksum)));
    }
    return err;
}

err_t mirror_of(sqlite3 *db, sqlite3 **out)
{
    arena_t arena = {0};
    objects_t objects;
    migration_records_t records = {0};
    session_t from = {.db = db, .options = &quiet}, to = {.options = &quiet};
    err_t err = open_memory(&to.db);
    if (!err)
        err = objects_read(&from, &arena, &objects);
    for (int i = 0; !err && i < objects.n; i++)
        err = add_object(&to, &arena, &objects.items[i]);
    if (!err)
        err = history_read(db, &arena, &records);
    if (!err)
        err = copy_records(&to, &arena, &records);
    /* What is printed of a change made here counts on from the database's own number. */
    int64_t number = 0;
    if (!err)
        err = session_number(&from, "PRAGMA schema_version", &number);
    if (!err)
        err = session_run(&to,
                          arena_printf(&arena, "PRAGMA schema_version = %lld", (long long)number));
    arena_free(&arena);
    if (err)
        sqlite3_close(to.db);
    else
        *out = to.db;
    return err;
}

err_t mirror_built(arena_t *arena, const migration_files_t *files, int64_t version, sqlite3 **out)
{
    sqlite3 *db = NULL;
    migrated_t done = {0};
    err_t err = open_memory(&db);
    if (!err && version > 0)
        err = history_upgrade(db, arena, files, (target_t){TARGET_VERSION, version}, &quiet, &done);
    if (err)
        sqlite3_close(db);
    else
        *out = db;
    return err;
}

#include "api/store/migrate.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"
#include "schema/migrate/backup.h"
#include "schema/migrate/history.h"

enum { MIGRATE_LOCK_MS = 2000 };

static const struct {
    const char *name;
    const unsigned char *text;
    size_t n;
} embedded[] = {
#include "versions.inc"
};

err_t store_migrations(arena_t *arena, migration_files_t *out)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < sizeof embedded / sizeof *embedded && !err; i++)
        err = migration_files_add(arena, out, embedded[i].name, (const char *)embedded[i].text,
                                  embedded[i].n);
    return err;
}

/* The application id says "this is a store": it is there before the first table, so that a start
 * cut short leaves no tables without it. */
static err_t mark_new(store_t *self, int64_t version)
{
    char sql[64];
    if (version > 0)
        return ERR_OK;
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d", STORE_APPLICATION_ID);
    return sql_execute(self, self->writer, sql);
}

static err_t needs_a_person(const store_t *self, int64_t version, int64_t newest)
{
    return err_set(ERR_CONFIG,
                   "it has schema version %" PRId64 ", this program needs %" PRId64
                   ", and auto_migrate is off: run `stint-migrate --db %s/store.db --dir "
                   "VERSIONS upgrade` (VERSIONS: share/stint/versions of this release)",
                   version, newest, self->directory);
}

static err_t save(store_t *self, arena_t *arena, const store_options_t *options, char **backup)
{
    if (!options->backup)
        return ERR_OK;
    err_t err = backup_make(self->writer, arena, options->wall_at, backup);
    if (!err && *backup)
        log_info("store.backup", "path=\"%s\"", *backup);
    return err;
}

static void tell_notice(void *context, const char *sentence)
{
    (void)context;
    log_warn("store.migrate_notice", "text=\"%s\"", sentence);
}

static err_t upgrade(store_t *self, arena_t *arena, const migration_files_t *files,
                     const store_options_t *options, char *backup, bool tell)
{
    const migrate_options_t how = {
        .lock_timeout_ms = MIGRATE_LOCK_MS, .wall_at = options->wall_at, .notice = tell_notice};
    migrated_t done = {0};
    err_t err =
        history_upgrade(self->writer, arena, files, (target_t){TARGET_HEAD, 0}, &how, &done);
    backup_settle(self->writer, arena, backup, done.n > 0);
    for (int i = 0; i < done.n && tell; i++)
        log_info("store.migrated", "file=%s", done.items[i]->name);
    return err;
}

err_t store_migrate(store_t *self, const store_options_t *options)
{
    arena_t arena = {0};
    migration_files_t files = {0};
    migration_records_t records = {0};
    int pending = 0;
    char *backup = NULL;
    err_t err = store_migrations(&arena, &files);
    if (!err)
        err = history_read(self->writer, &arena, &records);
    if (!err)
        err = history_pending(&files, &records, &pending);
    int64_t version = err ? 0 : history_version(&records);
    int64_t newest = files.n ? files.items[files.n - 1].version : 0;
    if (!err && pending > 0 && version > 0 && !options->auto_migrate)
        err = needs_a_person(self, version, newest);
    if (!err)
        err = mark_new(self, version);
    if (!err && pending > 0 && version > 0)
        err = save(self, &arena, options, &backup);
    if (!err && pending > 0)
        err = upgrade(self, &arena, &files, options, backup, version > 0);
    arena_free(&arena);
    if (!err)
        self->version = (int)newest;
    return err;
}

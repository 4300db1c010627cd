/* history: which migrations a database has had, and bringing it to another version.
 *
 * Lives here: the table schema_migrations, the judgement of files against it, upgrade, downgrade
 * and stamp. Each migration is one transaction together with its record. */
#ifndef STINT_MIGRATE_HISTORY_H
#define STINT_MIGRATE_HISTORY_H

#include "schema/migrate/files.h"
#include "schema/migrate/migrate.h"

typedef struct {
    int64_t version;
    char *name, *checksum, *tool;
    int64_t applied_at, duration_ms;
} migration_record_t;

typedef struct {
    migration_record_t *items; /* by version, rising */
    int n;
} migration_records_t;

/* No table is no record. ERR_CONFLICT: a table of that name is another tool's. */
CHECKED err_t history_read(sqlite3 *db, arena_t *arena, migration_records_t *out);
/* The newest version; 0 without any. */
int64_t history_version(const migration_records_t *self);

typedef struct {
    enum { TARGET_HEAD, TARGET_VERSION, TARGET_STEPS } kind;
    int64_t n; /* the version (0: the empty one), or how many */
} target_t;

/* "head", "N", "+N" for an upgrade; "base", "N", "-N" for a downgrade. */
CHECKED err_t target_read(const char *text, bool upgrade, target_t *out);

/* What an upgrade or downgrade did. */
typedef struct {
    const migration_file_t **items;
    int n;
} migrated_t;

/* ERR_NEWER: the database is newer than the files. ERR_CORRUPT: a file was edited after it ran, or
 * is gone. ERR_INVALID: a file below the newest version never ran; a script is refused; there is no
 * such version. `out` has what was done before an error, too. */
CHECKED err_t history_upgrade(sqlite3 *db, arena_t *arena, const migration_files_t *files,
                              target_t target, const migrate_options_t *options, migrated_t *out);
/* ERR_INVALID: one of them has no "-- migrate:down"; then none is undone. */
CHECKED err_t history_downgrade(sqlite3 *db, arena_t *arena, const migration_files_t *files,
                                target_t target, const migrate_options_t *options, migrated_t *out);
/* Say that the database is at a version (0: at none), running nothing: records up to it are made to
 * agree with the files, later ones are removed. */
CHECKED err_t history_stamp(sqlite3 *db, const migration_files_t *files, int64_t version,
                            const migrate_options_t *options);
/* How many migrations an upgrade to the newest would run; judges like it. */
CHECKED err_t history_pending(const migration_files_t *files, const migration_records_t *records,
                              int *out);

#endif

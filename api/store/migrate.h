/* migrate: brings the store to the schema of this program.
 *
 * Lives here: the migrations compiled in (schema/versions/, by schema/embed.py), when they run by
 * themselves, the backup before. How they run is schema/migrate. Called by store_open. */
#ifndef STINT_API_STORE_MIGRATE_H
#define STINT_API_STORE_MIGRATE_H

#include "api/store/internal.h"
#include "schema/migrate/files.h"

/* The migrations this program has; the list's memory is the arena's. */
CHECKED err_t store_migrations(arena_t *arena, migration_files_t *out);

/* An empty database is always made. An older one is upgraded if options->auto_migrate, after a
 * backup if options->backup; else ERR_CONFIG names the command that does it. ERR_NEWER: it has a
 * version this program does not know. ERR_CORRUPT: what was applied is not the file known here. */
CHECKED err_t store_migrate(store_t *self, const store_options_t *options);

#endif

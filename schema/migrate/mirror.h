/* mirror: a database of the same schema in memory, without rows: where a change can be tried, and
 * what a history builds. */
#ifndef STINT_MIGRATE_MIRROR_H
#define STINT_MIGRATE_MIRROR_H

#include "schema/migrate/history.h"

/* The schema of `db`, and the rows of schema_migrations. */
CHECKED err_t mirror_of(sqlite3 *db, sqlite3 **out);
/* What the files up to `version` build. */
CHECKED err_t mirror_built(arena_t *arena, const migration_files_t *files, int64_t version,
                           sqlite3 **out);

#endif

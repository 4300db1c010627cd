/* backup: a copy of a database file made while it is in use, proven by opening it, the last three
 * kept. */
#ifndef STINT_MIGRATE_BACKUP_H
#define STINT_MIGRATE_BACKUP_H

#include "schema/migrate/arena.h"
#include "schema/migrate/migrate.h"

enum { BACKUPS_KEPT = 3 };

/* PATH.backup-YYYYMMDDTHHMMSS.mmmZ beside the database; *out is its name. Older ones above
 * BACKUPS_KEPT are removed. On an error nothing new is left. A database in memory: *out NULL. */
CHECKED err_t backup_make(sqlite3 *db, arena_t *arena, int64_t wall_at, char **out);

#endif

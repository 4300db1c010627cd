/* backup: a copy of a database file made while it is in use, proven by opening it, the last three
 * kept. */
#ifndef STINT_MIGRATE_BACKUP_H
#define STINT_MIGRATE_BACKUP_H

#include "schema/migrate/arena.h"
#include "schema/migrate/migrate.h"

enum { BACKUPS_KEPT = 3 };

/* PATH.backup-YYYYMMDDTHHMMSS.mmmZ beside the database; *out is its name. On an error nothing new
 * is left. A database in memory: *out NULL. */
CHECKED err_t backup_make(sqlite3 *db, arena_t *arena, int64_t wall_at, char **out);
/* Behind the change it was made for (NULL: there is none). `changed`: it is worth keeping, and
 * older ones above BACKUPS_KEPT go; else it goes, and they stay. */
void backup_settle(sqlite3 *db, arena_t *arena, char *backup, bool changed);

#endif

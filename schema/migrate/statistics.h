/* statistics: the rows ANALYZE left in sqlite_stat1, 3 and 4 go where their table goes. SQLite
 * itself forgets them with DROP TABLE and leaves them behind at RENAME TO. */
#ifndef STINT_MIGRATE_STATISTICS_H
#define STINT_MIGRATE_STATISTICS_H

#include "schema/migrate/objects.h"

/* Under another table's name, the indexes of its constraints too. */
CHECKED err_t statistics_rename(session_t *session, arena_t *arena, const objects_t *objects,
                                const char *from, const char *to);
/* Without those of the indexes behind PRIMARY KEY and UNIQUE: their numbers have changed. */
CHECKED err_t statistics_prune(session_t *session, arena_t *arena, const objects_t *objects,
                               const char *table);

#endif

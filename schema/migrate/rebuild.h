/* rebuild: the twelve steps of https://www.sqlite.org/lang_altertable.html#otheralter: a new table,
 * the rows copied, the old one dropped, the new one given its name, indexes and triggers made
 * again.
 *
 * Kept beside the rows: rowids, sqlite_sequence, statistics, the place of each object in the
 * schema.
 */
#ifndef STINT_MIGRATE_REBUILD_H
#define STINT_MIGRATE_REBUILD_H

#include "schema/migrate/objects.h"

/* `table` is the stored table among `objects`. `legacy`: its text needs "text" to mean 'text'.
 * ERR_INVALID says which rows do not bear the change. */
CHECKED err_t rebuild_run(session_t *session, arena_t *arena, const change_t *change,
                          const objects_t *objects, const object_t *table, bool legacy);

#endif

/* in_place: a change that leaves the stored rows as they are: they are asked, then the stored
 * CREATE TABLE text is edited, by the procedure of
 * https://www.sqlite.org/lang_altertable.html#otheralter (its second one, for changes that do not
 * affect the content on disk). */
#ifndef STINT_MIGRATE_IN_PLACE_H
#define STINT_MIGRATE_IN_PLACE_H

#include "schema/migrate/objects.h"

/* `table` is the stored table. *done false, and nothing changed: rows show the default of a column
 * (they were there before it was added), so they must be written anew after all; change->rebuild
 * says so. */
CHECKED err_t in_place_run(session_t *session, arena_t *arena, change_t *change,
                           const object_t *table, bool *done);

#endif

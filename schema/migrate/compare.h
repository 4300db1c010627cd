/* compare: what the old and the new text of a table differ in, as far as rows are concerned.
 *
 * Lives here: may the rows stay as they are, and what must they be asked. Pure. Called by change.
 */
#ifndef STINT_MIGRATE_COMPARE_H
#define STINT_MIGRATE_COMPARE_H

#include "schema/migrate/change.h"

/* Fills in rebuild, needs; `forced`: somebody asked for a rebuild. */
void change_compare(arena_t *arena, change_t *change, bool forced);

#endif

/* alter_table: one ALTER TABLE of the dialect, carried out: which way, in what order, and what is
 * judged before and behind. */
#ifndef STINT_MIGRATE_ALTER_TABLE_H
#define STINT_MIGRATE_ALTER_TABLE_H

#include "schema/migrate/session.h"
#include "schema/migrate/token.h"

CHECKED err_t alter_table(session_t *session, const tokens_t *tokens);

#endif

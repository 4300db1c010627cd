/* expression: which words of an SQL expression are columns, and which only look like one.
 *
 * Pure, by SQLite's grammar of expressions without subqueries (CHECK, generated columns, index
 * terms). A column that is taken for another word is found by SQLite when it compiles the changed
 * text. */
#ifndef STINT_MIGRATE_EXPRESSION_H
#define STINT_MIGRATE_EXPRESSION_H

#include "schema/migrate/token.h"

/* Can token i of the expression that begins at `from` name a column of `table`? Not: functions,
 * collations, types in CAST, reserved words, operators, ASC and DESC, the table before a point,
 * what stands behind the point of another table. */
bool expression_names(const tokens_t *tokens, int from, int i, const char *table);

#endif

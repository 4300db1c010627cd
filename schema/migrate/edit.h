/* edit: the text of a CREATE TABLE with one thing changed, all else byte for byte as it was.
 *
 * Lives here: where a piece goes, and what commas, line ends and comments go with it. Pure. Not
 * here: whether the change makes sense (change). Each returns a new text in the arena. */
#ifndef STINT_MIGRATE_EDIT_H
#define STINT_MIGRATE_EDIT_H

#include "schema/migrate/table_text.h"

/* The bytes [from, to) replaced. */
char *edit_splice(arena_t *arena, const char *text, int from, int to, const char *replacement);
/* The table under another name (written quoted), to stand beside it: conditions that say
 * "table.column" say "column" there. */
char *edit_copy(arena_t *arena, const table_text_t *table, const char *name);
/* One column under another name (written quoted), nothing that refers to it. */
char *edit_column_name(arena_t *arena, const table_text_t *table, int column, const char *name);
/* A definition before the column of that index; columns_n puts it last. */
char *edit_add_column(arena_t *arena, const table_text_t *table, int before,
                      const char *definition);
/* With the comment that ends its line. */
char *edit_drop_column(arena_t *arena, const table_text_t *table, int column);
char *edit_add_constraint(arena_t *arena, const table_text_t *table, const char *definition);
char *edit_drop_constraint(arena_t *arena, const table_text_t *table, const part_t *part);
/* A part of a column: directly behind its type, replaced, removed. */
char *edit_add_part(arena_t *arena, const table_text_t *table, int column, const char *text);
char *edit_drop_part(arena_t *arena, const table_text_t *table, const part_t *part);
char *edit_type(arena_t *arena, const table_text_t *table, int column, const char *type);

#endif

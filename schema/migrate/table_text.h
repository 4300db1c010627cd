/* table_text: a CREATE TABLE statement taken apart, every part with its place in the text.
 *
 * Lives here: which columns, constraints and options a stored statement has, by SQLite's grammar.
 * Pure. Not here: changing it (edit), what it means to rows. The PRAGMAs of SQLite do not show
 * constraint names, CHECKs, comments or deferrability: only the text does. */
#ifndef STINT_MIGRATE_TABLE_TEXT_H
#define STINT_MIGRATE_TABLE_TEXT_H

#include "common/err.h"
#include "schema/migrate/token.h"

typedef enum {
    PART_NONE, /* a CONSTRAINT name with nothing behind it: SQLite allows that */
    PART_DEFAULT,
    PART_NOT_NULL,
    PART_NULL,
    PART_PRIMARY_KEY,
    PART_UNIQUE,
    PART_CHECK,
    PART_FOREIGN_KEY,
    PART_COLLATE,
    PART_GENERATED
} part_kind_t;

/* One constraint, of a column or of the table. Token indexes; `to` is behind the last. */
typedef struct {
    part_kind_t kind;
    char *name;          /* of CONSTRAINT, NULL without */
    int from, to;        /* with the CONSTRAINT name and, of a foreign key, its DEFERRABLE */
    int name_token;      /* -1 without */
    int inner, inner_to; /* what stands in the parentheses of CHECK, GENERATED or the list; of
                            DEFAULT and COLLATE the value */
    char **columns; /* of PRIMARY KEY, UNIQUE and FOREIGN KEY; of a column's own part that one */
    int columns_n;
    bool autoincrement, stored;
    char *parent; /* of a foreign key */
    char **parent_columns;
    int parent_columns_n;       /* 0: the parent's primary key */
    int parent_from, parent_to; /* tokens of that list */
} part_t;

typedef struct {
    char *name;
    int from, to;           /* the whole definition */
    int type_from, type_to; /* equal: without a type */
    part_t *parts;
    int parts_n;
} column_t;

typedef struct {
    tokens_t tokens;
    char *name;
    int name_token;
    int open, close; /* tokens of the parentheses */
    column_t *columns;
    int columns_n;
    part_t *constraints; /* of the table */
    int constraints_n;
    bool without_rowid, strict;
} table_text_t;

/* `text` must live as long as `out`. ERR_INVALID says near which token it is not understood: a
 * virtual table, CREATE TABLE AS, or no CREATE TABLE at all. */
CHECKED err_t table_text_read(arena_t *arena, const char *text, table_text_t *out);
/* One column definition in tokens [from, to), as in ADD COLUMN. */
CHECKED err_t column_read(arena_t *arena, const tokens_t *tokens, int from, int to, column_t *out);
/* One table constraint that begins at `from`; out->to is behind it. */
CHECKED err_t constraint_read(arena_t *arena, const tokens_t *tokens, int from, int to,
                              part_t *out);
/* Does a table constraint (and no column) begin here? */
bool constraint_begins(const tokens_t *tokens, int i);
/* Names in the parentheses that open at `i`; *to is behind them. For "(a COLLATE x DESC, b)" a, b.
 */
CHECKED err_t names_read(arena_t *arena, const tokens_t *tokens, int i, int end, char ***names,
                         int *n, int *to);

const column_t *table_column(const table_text_t *self, const char *name); /* NULL if none */
const part_t *column_part(const column_t *self, part_kind_t kind);        /* the last of its kind */
/* The primary key, the table's or a column's; NULL without. */
const part_t *table_primary_key(const table_text_t *self);
/* Is it the rowid under another name? Only "INTEGER PRIMARY KEY", the type spelled just so, DESC
 * not inside the column. */
bool table_rowid_alias(const table_text_t *self, const char **column);
/* A name for the rowid that no column has; NULL if all three are columns. */
const char *table_rowid_name(const table_text_t *self);
/* The column of an INTEGER PRIMARY KEY, also of a table WITHOUT ROWID, where it is no rowid; NULL
 * if the key is another. */
const char *table_integer_key(const table_text_t *self);
/* The type as written, "" without. */
char *column_type(arena_t *arena, const tokens_t *tokens, const column_t *column);

typedef enum {
    AFFINITY_BLOB,
    AFFINITY_TEXT,
    AFFINITY_NUMERIC,
    AFFINITY_INTEGER,
    AFFINITY_REAL
} affinity_t;
/* https://www.sqlite.org/datatype3.html section 3.1, of a table that is not STRICT. */
affinity_t type_affinity(const char *type);

#endif

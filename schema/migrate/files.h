/* files: the numbered migrations, from a directory or compiled into a program. */
#ifndef STINT_MIGRATE_FILES_H
#define STINT_MIGRATE_FILES_H

#include "common/sha256.h"
#include "schema/migrate/script.h"

typedef struct {
    int64_t version;           /* at least 1 */
    char *name;                /* "0002_case_sealed_by.sql" */
    char checksum[SHA256_HEX]; /* of the whole file */
    migration_text_t text;
} migration_file_t;

typedef struct {
    migration_file_t *items; /* by version, rising */
    int n;
} migration_files_t;

/* One more file; its text must live as long as the list. ERR_INVALID names it and says what is
 * wrong with it; two files of one version are. */
CHECKED err_t migration_files_add(arena_t *arena, migration_files_t *self, const char *name,
                                  const char *text, size_t n);
/* All NNNN_name.sql of a directory. ERR_NOT_FOUND: there is no such directory; ERR_INVALID: a .sql
 * file with another kind of name. */
CHECKED err_t migration_files_read(arena_t *arena, const char *directory, migration_files_t *out);
/* NULL if there is none. */
const migration_file_t *migration_files_find(const migration_files_t *self, int64_t version);
/* A new empty migration NNNN_name.sql with the next number; *path is where. ERR_CONFLICT: there. */
CHECKED err_t migration_files_new(arena_t *arena, const char *directory, const char *name,
                                  char **path);
/* A whole file, NUL behind it. */
CHECKED err_t file_read(arena_t *arena, const char *path, char **text, size_t *n);

#endif

/* engine: carries out the statements of a script inside a session. */
#ifndef STINT_MIGRATE_ENGINE_H
#define STINT_MIGRATE_ENGINE_H

#include "schema/migrate/keys.h"

typedef struct {
    session_t session;
    arena_t arena; /* of the whole script */
    keys_t start;  /* foreign keys at its beginning */
    keys_t keys;   /* those that had a parent key at any time since */
    watches_t watches;
    bool schema_written; /* the script has used writable_schema itself */
} engine_t;

/* Begins the session. On an error there is nothing to end. */
CHECKED err_t engine_begin(engine_t *out, sqlite3 *db, const migrate_options_t *options);
/* Each statement of the script; messages begin with "where:line: ". */
CHECKED err_t engine_run(engine_t *self, const char *text, size_t n, const char *where,
                         int first_line);
/* Judges what the scripts have made of foreign keys, and commits. Ends the engine in any case. */
CHECKED err_t engine_commit(engine_t *self, const char *where);
void engine_abort(engine_t *self);

#endif

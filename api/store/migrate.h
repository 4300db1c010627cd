/* migrate: brings a database to the newest of the embedded schema versions.
 *
 * Lives here: running schema/versions/ (compiled in by schema/embed.py), one transaction each, and
 * the record of it. Called by store_open. */
#ifndef STINT_API_STORE_MIGRATE_H
#define STINT_API_STORE_MIGRATE_H

#include "api/store/internal.h"

typedef struct {
    int version;
    const char *file, *checksum;
    const unsigned char *up;
    size_t up_n;
    const unsigned char *down;
    size_t down_n;
} migration_t;

/* Version i + 1, for i in 0..migrations_n() - 1. */
const migration_t *migration_at(int i);
int migrations_n(void);

/* ERR_NEWER: the database has a version this program does not know. ERR_CORRUPT: what was applied
 * is not the embedded file. */
CHECKED err_t migrate_up(store_t *self, int64_t wall_at);

#endif

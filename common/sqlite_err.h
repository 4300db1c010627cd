/* sqlite_err: what SQLite's codes mean as our errors. */
#ifndef STINT_COMMON_SQLITE_ERR_H
#define STINT_COMMON_SQLITE_ERR_H

#include <sqlite3.h>

#include "common/err.h"

/* Of the last call on `db` that failed. A write that found no room is ERR_FULL, whatever SQLite
 * calls it: a rollback undoes it. A failed fsync is ERR_IO: nobody knows what is on the disk. */
err_t sqlite_err(sqlite3 *db);

#endif

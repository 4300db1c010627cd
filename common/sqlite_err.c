#include "common/sqlite_err.h"

#include <errno.h>

static bool no_room(int code, int system_errno)
{
    /* The index of the log (-shm) could not grow: SQLite does not keep the errno of that write, and
     * nothing that lasts stands in that file. */
    if (code == SQLITE_IOERR_SHMSIZE) {
        return true;
    }
    bool writing = code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_SHMMAP;
    return writing && (system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG);
}

err_t sqlite_err(sqlite3 *db)
{
    int code = sqlite3_extended_errcode(db);
    if (no_room(code, sqlite3_system_errno(db)))
        return ERR_FULL;
    switch (code & 0xff) {
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return ERR_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_CONSTRAINT:
        return ERR_CONFLICT;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    default:
        return ERR_INTERNAL;
    }
}

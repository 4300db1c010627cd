/* log_renew: writes the log of an earlier process again before it is believed.
 *
 * When a sync has failed the kernel keeps the bytes as if they were on the disk: they are read, and
 * the next sync says ok, until the power goes. What that process had not promised would be found,
 * built upon and promised with what follows it. Written again the bytes reach the disk, or this
 * start fails. */
#include <stdlib.h>

#include "api/store/internal.h"

enum { PIECE = 1 << 16 };

static int rewrite(sqlite3_file *file)
{
    sqlite3_int64 size = 0;
    uint8_t *piece = mem_alloc(PIECE);
    int code = file->pMethods->xFileSize(file, &size);
    for (sqlite3_int64 at = 0; at < size && !code; at += PIECE) {
        int n = size - at < PIECE ? (int)(size - at) : PIECE;
        code = file->pMethods->xRead(file, piece, n, at);
        if (!code)
            code = file->pMethods->xWrite(file, piece, n, at);
    }
    free(piece);
    return code ? code : file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
}

/* By SQLite's own way to its files: a path of WAL kind, ended by two more zeros (it looks there).
 */
err_t store_log_renew(const char *path)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3_file *file = mem_zero((size_t)vfs->szOsFile);
    buffer_t name = {0};
    buffer_add_text(&name, path);
    buffer_add(&name, "\0\0\0", 3);
    int code = vfs->xOpen(vfs, (const char *)name.data, file,
                          SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL, NULL);
    if (!code)
        code = rewrite(file);
    if (file->pMethods)
        file->pMethods->xClose(file);
    buffer_free(&name);
    free(file);
    return code ? err_set(code == SQLITE_FULL ? ERR_FULL : ERR_IO, "cannot write %s again: %s",
                          path, sqlite3_errstr(code))
                : ERR_OK;
}

#include "schema/migrate/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/sqlite_err.h"

enum { STEP_PAGES = 1024, BUSY_MS = 100, BUSY_TRIES = 300 };

/* -- copying ------------------------------------------------------------------------------ */

static err_t copy(sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    int code = backup ? SQLITE_OK : SQLITE_ERROR;
    for (int tries = 0; code == SQLITE_OK && tries < BUSY_TRIES;) {
        code = sqlite3_backup_step(backup, STEP_PAGES);
        if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
            sqlite3_sleep(BUSY_MS);
            tries++;
            code = SQLITE_OK;
        }
    }
    sqlite3_backup_finish(backup);
    if (code == SQLITE_DONE)
        return ERR_OK;
    return code == SQLITE_OK ? err_set(ERR_BUSY, "the database is locked by another process")
                             : err_set(sqlite_err(to), "%s", sqlite3_errmsg(to));
}

static err_t one_text(sqlite3 *db, arena_t *arena, const char *sql, char **out)
{
    sqlite3_stmt *statement = NULL;
    bool row = sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
               sqlite3_step(statement) == SQLITE_ROW;
    if (row)
        *out = arena_printf(arena, "%s", (const char *)sqlite3_column_text(statement, 0));
    err_t err = row ? ERR_OK : err_set(sqlite_err(db), "%s", sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    return err;
}

/* Opened as somebody who needs it would: it must be whole, and have the same schema. */
static err_t prove(sqlite3 *from, arena_t *arena, const char *path)
{
    static const char schema[] = "SELECT coalesce(group_concat(quote(sql)), '') FROM sqlite_schema";
    sqlite3 *copy_db = NULL;
    char *check = NULL, *theirs = NULL, *ours = NULL;
    err_t err = sqlite3_open_v2(path, &copy_db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK
                    ? ERR_OK
                    : err_set(ERR_IO, "%s", sqlite3_errmsg(copy_db));
    if (!err)
        err = one_text(copy_db, arena, "PRAGMA quick_check(1)", &check);
    if (!err)
        err = one_text(copy_db, arena, schema, &theirs);
    if (!err)
        err = one_text(from, arena, schema, &ours);
    if (!err && strcmp(check, "ok") != 0)
        err = err_set(ERR_CORRUPT, "the copy does not pass quick_check: %s", check);
    if (!err && strcmp(theirs, ours) != 0)
        err = err_set(ERR_CORRUPT, "the copy has another schema");
    sqlite3_close(copy_db);
    return err;
}

static void remove_all(arena_t *arena, const char *path)
{
    static const char *const ends[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        (void)unlink(arena_printf(arena, "%s%s", path, ends[i]));
}

/* The file is nobody's but the owner's from the beginning, as the database may be. */
static err_t make_file(const char *path, const char *like)
{
    struct stat status;
    mode_t mode = stat(like, &status) == 0 ? status.st_mode & 0777 : 0600;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return err_set(ERR_IO, "cannot write %s: %s", path, strerror(errno));
    close(fd);
    return ERR_OK;
}

static err_t write_copy(sqlite3 *db, const char *path)
{
    sqlite3 *to = NULL;
    err_t err =
        sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK
            ? ERR_OK
            : err_set(ERR_IO, "%s", sqlite3_errmsg(to));
    if (!err)
        err = copy(db, to);
    sqlite3_close(to);
    return err;
}

/* -- keeping the last --------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Their names sort by time. */
static void keep_last(arena_t *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash ? arena_text(arena, path, (size_t)(slash - path + 1)) : "./";
    char *prefix = arena_printf(arena, "%s.backup-", slash ? slash + 1 : path);
    char **names = NULL;
    int n = 0;
    struct dirent *entry;
    DIR *dir = opendir(directory);
    while (dir && (entry = readdir(dir))) {
        size_t length = strlen(entry->d_name);
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || entry->d_name[length - 1] != 'Z')
            continue;
        names = arena_grow(arena, names, n, sizeof *names);
        names[n++] = arena_printf(arena, "%s%s", directory, entry->d_name);
    }
    if (dir)
        closedir(dir);
    if (n > 0)
        qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n - BACKUPS_KEPT; i++)
        remove_all(arena, names[i]);
}

static char *stamp(arena_t *arena, int64_t wall_at)
{
    char iso[CLOCK_ISO_N], *out = arena_alloc(arena, sizeof iso), *to = out;
    clock_iso(wall_at, iso);
    for (const char *at = iso; *at; at++)
        if (*at != '-' && *at != ':')
            *to++ = *at;
    return out;
}

err_t backup_make(sqlite3 *db, arena_t *arena, int64_t wall_at, char **out)
{
    const char *path = sqlite3_db_filename(db, "main");
    *out = NULL;
    if (!path || !*path)
        return ERR_OK;
    char *final = arena_printf(arena, "%s.backup-%s", path, stamp(arena, wall_at));
    char *part = arena_printf(arena, "%s.part", final);
    err_t err = make_file(part, path);
    if (!err)
        err = write_copy(db, part);
    if (!err)
        err = prove(db, arena, part);
    if (!err && rename(part, final) < 0)
        err = err_set(ERR_IO, "cannot rename %s: %s", part, strerror(errno));
    remove_all(arena, part);
    if (err)
        return err_context(err, "the backup %s", final);
    *out = final;
    return ERR_OK;
}

void backup_settle(sqlite3 *db, arena_t *arena, char *backup, bool changed)
{
    if (!backup)
        return;
    if (changed)
        keep_last(arena, sqlite3_db_filename(db, "main"));
    else
        remove_all(arena, backup);
}

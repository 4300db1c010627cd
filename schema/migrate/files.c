#include "schema/migrate/files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES_MAX = 64 << 20, VERSION_DIGITS_MAX = 18 };

/* -- one file ----------------------------------------------------------------------------- */

/* NNNN_name.sql: digits, an underscore, and any name. */
static bool name_read(const char *name, int64_t *version)
{
    size_t digits = strspn(name, "0123456789"), n = strlen(name);
    if (digits == 0 || digits > VERSION_DIGITS_MAX || name[digits] != '_' || n < digits + 6 ||
        strcmp(name + n - 4, ".sql") != 0)
        return false;
    *version = strtoll(name, NULL, 10);
    return *version >= 1;
}

err_t migration_files_add(arena_t *arena, migration_files_t *self, const char *name,
                          const char *text, size_t n)
{
    migration_file_t file = {.name = arena_printf(arena, "%s", name)};
    if (!name_read(name, &file.version))
        return err_set(ERR_INVALID,
                       "%s: a migration is called NUMBER_name.sql, as 0002_add_users.sql", name);
    err_t err = migration_text_read(text, n, &file.text);
    if (err)
        return err_context(err, "%s", name);
    sha256_hex(text, n, file.checksum);
    int at = self->n;
    while (at > 0 && self->items[at - 1].version > file.version)
        at--;
    if (at > 0 && self->items[at - 1].version == file.version)
        return err_set(ERR_INVALID, "%s and %s have the same number: give one of them the next",
                       self->items[at - 1].name, name);
    self->items = arena_grow(arena, self->items, self->n, sizeof *self->items);
    memmove(&self->items[at + 1], &self->items[at], (size_t)(self->n - at) * sizeof *self->items);
    self->items[at] = file;
    self->n++;
    return ERR_OK;
}

const migration_file_t *migration_files_find(const migration_files_t *self, int64_t version)
{
    for (int i = 0; i < self->n; i++)
        if (self->items[i].version == version)
            return &self->items[i];
    return NULL;
}

static err_t cannot(const char *what, const char *path)
{
    return err_set(errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot %s %s: %s", what, path,
                   strerror(errno));
}

err_t file_read(arena_t *arena, const char *path, char **text, size_t *n)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (!file)
        return cannot("read", path);
    if (fstat(fileno(file), &status) == 0 && S_ISDIR(status.st_mode)) {
        fclose(file);
        return err_set(ERR_INVALID, "%s is a directory", path);
    }
    buffer_t bytes = {0};
    char piece[65536];
    size_t got;
    while ((got = fread(piece, 1, sizeof piece, file)) > 0 && bytes.n <= FILE_BYTES_MAX)
        buffer_add(&bytes, piece, got);
    err_t err = ferror(file) ? cannot("read", path) : ERR_OK;
    if (!err && bytes.n > FILE_BYTES_MAX)
        err = err_set(ERR_TOO_LARGE, "%s is over %d MiB: that is no script", path,
                      FILE_BYTES_MAX >> 20);
    fclose(file);
    if (!err) {
        *text = arena_text(arena, (const char *)bytes.data, bytes.n);
        *n = bytes.n;
    }
    buffer_free(&bytes);
    return err;
}

/* -- a directory -------------------------------------------------------------------------- */

static bool is_sql(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".sql") == 0 && name[0] != '.';
}

err_t migration_files_read(arena_t *arena, const char *directory, migration_files_t *out)
{
    migration_files_t self = {0};
    DIR *dir = opendir(directory);
    if (!dir)
        return cannot("read the directory", directory);
    err_t err = ERR_OK;
    struct dirent *entry;
    while (!err && (entry = readdir(dir))) {
        char *text = NULL;
        size_t n = 0;
        if (!is_sql(entry->d_name))
            continue;
        err = file_read(arena, arena_printf(arena, "%s/%s", directory, entry->d_name), &text, &n);
        if (!err)
            err = migration_files_add(arena, &self, entry->d_name, text, n);
    }
    closedir(dir);
    if (!err)
        *out = self;
    return err;
}

/* -- a new one ---------------------------------------------------------------------------- */

/* Letters, digits and underscores; everything else becomes one of those. */
static char *tidy_name(arena_t *arena, const char *name)
{
    char *out = arena_alloc(arena, strlen(name) + 1), *to = out;
    for (; *name; name++) {
        char lower = (char)(*name >= 'A' && *name <= 'Z' ? *name + 'a' - 'A' : *name);
        bool plain = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
        if (plain)
            *to++ = lower;
        else if (to > out && to[-1] != '_')
            *to++ = '_';
    }
    while (to > out && to[-1] == '_')
        *--to = '\0';
    return out;
}

err_t migration_files_new(arena_t *arena, const char *directory, const char *name, char **path)
{
    migration_files_t files = {0};
    char *tidy = tidy_name(arena, name);
    if (!*tidy)
        return err_set(ERR_USAGE, "\"%s\" has no letter or digit: a name says what changes", name);
    if (mkdir(directory, 0777) < 0 && errno != EEXIST)
        return cannot("make the directory", directory);
    err_t err = migration_files_read(arena, directory, &files);
    if (err)
        return err;
    int64_t version = files.n ? files.items[files.n - 1].version + 1 : 1;
    *path = arena_printf(arena, "%s/%04" PRId64 "_%s.sql", directory, version, tidy);
    FILE *file = fopen(*path, "wx");
    if (!file)
        return cannot("make", *path);
    bool written = fputs("-- migrate:up\n\n-- migrate:down\n", file) >= 0;
    written = fclose(file) == 0 && written;
    return written ? ERR_OK : cannot("write", *path);
}

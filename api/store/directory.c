/* directory: the place of a store, its making and its lock. Not here: what is in the files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/store/internal.h"
#include "common/log.h"

void store_path(const store_t *self, const char *name, char out[STORE_PATH_N])
{
    snprintf(out, STORE_PATH_N, "%s/%s", self->directory, name);
}

uint64_t store_file_bytes(const store_t *self, const char *name)
{
    char path[STORE_PATH_N];
    struct stat status;
    store_path(self, name, path);
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* A new name is on the disk when the directory it stands in is. */
static err_t directory_sync_parent(const char *path)
{
    char parent[STORE_PATH_N];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = '\0';
    int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool failed = fd >= 0 && fsync(fd) < 0 && errno == EIO;
    if (fd >= 0)
        close(fd);
    return failed ? err_set(ERR_IO, "cannot sync the directory that %s stands in", path) : ERR_OK;
}

static err_t directory_make(const char *directory)
{
    char path[STORE_PATH_N];
    if (snprintf(path, sizeof path - 64, "%s", directory) >= (int)sizeof path - 64)
        return err_set(ERR_CONFIG, "the directory's name is too long");
    for (char *slash = path + 1;; slash++) {
        char kept = *slash;
        if (kept != '/' && kept != '\0')
            continue;
        *slash = '\0';
        bool made = mkdir(path, 0700) == 0;
        if (!made && errno != EEXIST)
            return err_set(ERR_IO, "cannot make the directory %s: %s", path, strerror(errno));
        err_t err = made ? directory_sync_parent(path) : ERR_OK;
        if (err)
            return err;
        *slash = kept;
        if (!kept)
            return ERR_OK;
    }
}

/* First the process, for the message to a second one; then, once a store stands here, the word that
 * says so: without it an emptied database file would pass for a new store. */
void store_lock_write(store_t *self)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%ld\n%s", (long)getpid(), self->made ? "made\n" : "");
    if (ftruncate(self->lock_fd, 0) < 0 || pwrite(self->lock_fd, text, (size_t)n, 0) != n)
        log_warn("store_lock", "directory=%s error=\"%s\"", self->directory, strerror(errno));
}

/* The kernel drops the lock when the process dies, however it dies. */
static err_t directory_lock(store_t *self)
{
    char path[STORE_PATH_N], text[64] = "";
    store_path(self, "lock", path);
    self->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self->lock_fd < 0)
        return err_set(ERR_IO, "cannot write in %s: %s", self->directory, strerror(errno));
    bool taken = flock(self->lock_fd, LOCK_EX | LOCK_NB) < 0;
    if (taken && errno != EWOULDBLOCK)
        return err_set(ERR_IO, "cannot lock %s: %s", path, strerror(errno));
    ssize_t n = pread(self->lock_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    self->made = strstr(text, "made") != NULL;
    text[strcspn(text, "\n")] = '\0';
    if (taken)
        return err_set(ERR_BUSY, "another api (process %s) has the store %s",
                       *text ? text : "unknown", self->directory);
    store_lock_write(self);
    return ERR_OK;
}

err_t store_directory_take(store_t *self)
{
    err_t err = directory_make(self->directory);
    return err ? err : directory_lock(self);
}

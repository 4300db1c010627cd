#include "worker/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"

enum { TRIES = 200, TRY_MS = 10 };

struct state_dir {
    char *path;
    int fd;
};

/* mkdir -p; only the last one is private, parents may be shared. */
static err_t make_path(const char *path)
{
    char *part = mem_text(path);
    err_t err = ERR_OK;
    for (char *at = part + 1; part[0]; at++) {
        char end = *at;
        if (end != '/' && end != 0) {
            continue;
        }
        *at = 0;
        if (mkdir(part, end ? 0755 : 0700) && errno != EEXIST) {
            err = err_set(ERR_IO, "cannot make the directory %s: %s", part, strerror(errno));
        }
        *at = end;
        if (!end || err) {
            break;
        }
    }
    free(part);
    return err;
}

/* Who the file says holds the lock; 0 = it does not say. */
static pid_t holder(int fd)
{
    char text[256];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    int pid = 0;
    if (n > 0) {
        text[n] = 0;
        if (sscanf(text, "%d", &pid) != 1) {
            pid = 0;
        }
    }
    return pid;
}

static err_t take_lock(int fd, const char *path, const char *worker)
{
    for (int i = 0;; i++) {
        if (!flock(fd, LOCK_EX | LOCK_NB)) {
            return ERR_OK;
        }
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return err_set(ERR_IO, "cannot lock %s: %s", path, strerror(errno));
        }
        pid_t pid = holder(fd);
        bool dead = pid > 0 && kill(pid, 0) && errno == ESRCH;
        if (!dead || i == TRIES) {
            return err_set(ERR_BUSY, "another worker named %s runs, process %d (%s)", worker,
                           (int)pid, path);
        }
        poll(NULL, 0, TRY_MS); /* flock that waits could wait for ever */
    }
}

err_t state_dir_open(state_dir_t **out, const char *path, const char *worker)
{
    err_t err = make_path(path);
    if (err) {
        return err;
    }
    state_dir_t *self = mem_zero(sizeof *self);
    buffer_t lock = {0};
    buffer_printf(&lock, "%s/lock", path);
    buffer_add(&lock, "", 1);
    self->path = mem_text(path);
    self->fd = open((const char *)lock.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self->fd < 0) {
        err = err_set(ERR_IO, "cannot open %s: %s", (const char *)lock.data, strerror(errno));
    } else {
        err = take_lock(self->fd, path, worker);
    }
    buffer_free(&lock);
    if (!err) {
        char text[256];
        int n = snprintf(text, sizeof text, "%d %.200s\n", (int)getpid(), worker);
        if (ftruncate(self->fd, 0) || pwrite(self->fd, text, (size_t)n, 0) != n) {
            err = err_set(ERR_IO, "cannot write the lock in %s: %s", path, strerror(errno));
        }
    }
    if (err) {
        state_dir_close(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

void state_dir_close(state_dir_t **self)
{
    state_dir_t *dir = *self;
    *self = NULL;
    if (dir) {
        if (dir->fd >= 0) {
            close(dir->fd);
        }
        free(dir->path);
        free(dir);
    }
}

int state_dir_fd(const state_dir_t *self)
{
    return self->fd;
}

const char *state_dir_path(const state_dir_t *self)
{
    return self->path;
}

err_t state_dir_life(state_dir_t *self, int64_t wall_at, uint64_t *out)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/life", self->path);
    int m = snprintf(fresh, sizeof fresh, "%s/life.new", self->path);
    if (n < 0 || m < 0 || (size_t)m >= sizeof fresh) {
        return err_set(ERR_IO, "%s: the path is too long", self->path);
    }
    unsigned long long last = 0;
    FILE *file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%20llu", &last) != 1) {
            last = 0; /* damaged: the wall clock orders them as well as it can */
        }
        fclose(file);
    }
    uint64_t life = wall_at > 0 ? (uint64_t)wall_at : 0;
    life = life > last ? life : (uint64_t)last + 1;
    file = fopen(fresh, "we");
    bool written = file && fprintf(file, "%llu\n", (unsigned long long)life) > 0;
    written = file && fclose(file) == 0 && written;
    if (!written || rename(fresh, path) != 0) {
        return err_set(ERR_IO, "%s: %s", path, strerror(errno));
    }
    *out = life;
    return ERR_OK;
}

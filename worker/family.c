#include "worker/family.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/clock.h"

enum {
    READ = 4096,
    PATIENCE_MS = 1000,
    PAUSE_MS = 2,
    FAMILY_MOST = 1 << 16, /* more than a pid space of Debian's default holds */
};

typedef struct {
    pid_t *pids;
    int n, capacity, most;
} family_t;

static bool add(family_t *self, pid_t pid)
{
    if (self->n == self->most) {
        return false;
    }
    if (self->n == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 64;
        self->pids = mem_grow(self->pids, (size_t)self->capacity * sizeof *self->pids);
    }
    self->pids[self->n++] = pid;
    return true;
}

/* Ids in decimal, a space behind each; the file comes in pieces that may cut one. */
static bool add_children_of_thread(family_t *self, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return true; /* ended meanwhile */
    }
    char bytes[READ];
    pid_t pid = 0;
    bool more = true;
    for (ssize_t n; more && (n = read(fd, bytes, sizeof bytes)) > 0;) {
        for (ssize_t i = 0; more && i < n; i++) {
            if (isdigit((unsigned char)bytes[i])) {
                pid = pid * 10 + (bytes[i] - '0');
            } else {
                more = pid == 0 || add(self, pid);
                pid = 0;
            }
        }
    }
    close(fd);
    return more;
}

static bool add_children(family_t *self, pid_t pid)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    bool more = true;
    for (const struct dirent *thread; threads && more && (thread = readdir(threads));) {
        if (isdigit((unsigned char)thread->d_name[0])) {
            snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)pid, thread->d_name);
            more = add_children_of_thread(self, path);
        }
    }
    if (threads) {
        closedir(threads);
    }
    return more;
}

/* Those found so far are the list and the queue. */
static void add_below(family_t *self, int at)
{
    while (at < self->n && add_children(self, self->pids[at])) {
        at++;
    }
}

int family_count(pid_t pid, int most)
{
    family_t family = {.most = most + 1};
    if (add_children(&family, pid)) {
        add_below(&family, 0);
    }
    free(family.pids);
    return family.n;
}

static bool is_kept(pid_t pid, const pid_t *kept, int kept_n)
{
    for (int i = 0; i < kept_n; i++) {
        if (kept[i] == pid) {
            return true;
        }
    }
    return false;
}

static void find_orphans(family_t *out, const pid_t *kept, int kept_n)
{
    family_t mine = {.most = FAMILY_MOST};
    add_children(&mine, getpid());
    out->n = 0;
    for (int i = 0; i < mine.n; i++) {
        if (!is_kept(mine.pids[i], kept, kept_n)) {
            add(out, mine.pids[i]);
        }
    }
    free(mine.pids);
}

static void signal_all(const family_t *family, int number)
{
    for (int i = 0; i < family->n; i++) {
        kill(family->pids[i], number);
    }
}

bool family_end_orphans(const pid_t *kept, int kept_n)
{
    family_t family = {.most = FAMILY_MOST};
    int64_t end = clock_now_ms() + PATIENCE_MS;
    find_orphans(&family, kept, kept_n);
    while (family.n && clock_now_ms() < end) {
        int before;
        do { /* until nobody is left who could have forked since the last look */
            before = family.n;
            find_orphans(&family, kept, kept_n);
            add_below(&family, 0);
            signal_all(&family, SIGSTOP);
        } while (family.n != before && clock_now_ms() < end);
        signal_all(&family, SIGKILL);
        find_orphans(&family, kept, kept_n);
        for (int i = 0; i < family.n; i++) {
            if (waitpid(family.pids[i], NULL, WNOHANG | __WALL) == 0) {
                poll(NULL, 0, PAUSE_MS);
            }
        }
        find_orphans(&family, kept, kept_n);
    }
    bool all = family.n == 0;
    free(family.pids);
    return all;
}

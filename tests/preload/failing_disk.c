/* failing_disk: a disk under a whole program that fails once when a test says so (LD_PRELOAD).
 *
 * STINT_TEST_DISK names a directory. A file "sync" or "read" in it holds the end of a path: the
 * next sync or read of a file with such a path fails with EIO, and the file is removed. Every sync
 * is a line "PATH ok" or "PATH failed" in the file "syncs" there. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_N = 4096 };

static bool path_in(const char *name, char out[PATH_N])
{
    const char *directory = getenv("STINT_TEST_DISK");
    return directory && snprintf(out, PATH_N, "%s/%s", directory, name) < PATH_N;
}

static bool path_of(int fd, char out[PATH_N])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_N - 1);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool ends(const char *path, const char *end)
{
    size_t n = strlen(path), end_n = strlen(end);
    return n >= end_n && strcmp(path + n - end_n, end) == 0;
}

/* The order for this kind of call, if it is for this file: taken once. */
static bool ordered(const char *kind, int fd)
{
    char order[PATH_N], wanted[256] = "", path[PATH_N];
    int file = path_in(kind, order) ? open(order, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) {
        return false;
    }
    ssize_t n = read(file, wanted, sizeof wanted - 1);
    close(file);
    return n > 0 && path_of(fd, path) && ends(path, wanted) && unlink(order) == 0;
}

static void note(int fd, const char *how)
{
    char list[PATH_N], path[PATH_N], line[PATH_N + 16];
    int file = path_in("syncs", list) && path_of(fd, path)
                   ? open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                   : -1;
    if (file >= 0) {
        int n = snprintf(line, sizeof line, "%s %s\n", path, how);
        (void)!write(file, line, (size_t)n);
        close(file);
    }
}

static int sync_call(const char *name, int fd)
{
    bool fails = ordered("sync", fd);
    int (*real)(int) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, name);
    note(fd, fails ? "failed" : "ok");
    if (fails) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fsync(int fd)
{
    return sync_call("fsync", fd);
}

int fdatasync(int fd)
{
    return sync_call("fdatasync", fd);
}

ssize_t pread64(int fd, void *data, size_t n, off64_t at)
{
    ssize_t (*real)(int, void *, size_t, off64_t) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "pread64");
    if (ordered("read", fd)) {
        errno = EIO;
        return -1;
    }
    return real(fd, data, n, at);
}

/* A wall clock that a test sets while a process runs (LD_PRELOAD): the real one plus the
 * milliseconds in the file that WALL_CLOCK names, 8 bytes, read at each look. All other clocks are
 * left alone. (libfaketime leaves semaphores in /dev/shm when its process is killed, and breaks
 * sleeps until an absolute time.) */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_ms;

__attribute__((constructor)) static void open_clock(void)
{
    const char *path = getenv("WALL_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof *offset_ms, PROT_READ, MAP_SHARED, fd, 0);
        offset_ms = page == MAP_FAILED ? NULL : page;
        close(fd);
    }
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, out);
    if (!rc && offset_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ms = *offset_ms;
        int64_t ns = (int64_t)out->tv_nsec + ms % 1000 * 1000000;
        out->tv_sec += ms / 1000 + (ns >= 1000000000) - (ns < 0);
        out->tv_nsec = (long)(ns - (ns >= 1000000000) * 1000000000 + (ns < 0) * 1000000000);
    }
    return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}

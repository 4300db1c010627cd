#include "common/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"

enum { LEFT_MAX = 64 };

uint64_t descriptors_limit(void)
{
    struct rlimit limit = {0};
    return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : (uint64_t)limit.rlim_cur;
}

err_t descriptors_raise(uint64_t needed)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            log_warn("process.descriptors", "detail=\"the limit cannot be raised to %llu\"",
                     (unsigned long long)limit.rlim_max);
        }
    }
    if (descriptors_limit() < needed) {
        return err_set(ERR_CONFIG,
                       "this process may have %llu file descriptors and needs at least %llu: raise "
                       "its limit (ulimit -n, LimitNOFILE= of systemd)",
                       (unsigned long long)descriptors_limit(), (unsigned long long)needed);
    }
    return ERR_OK;
}

bool descriptors_left(int n)
{
    int taken[LEFT_MAX], got = 0;
    INVARIANT(n <= LEFT_MAX);
    while (got < n && (taken[got] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        got++;
    }
    bool all = got == n;
    while (got > 0) {
        close(taken[--got]);
    }
    return all;
}

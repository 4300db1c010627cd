#include "worker/tasks/probes.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 50, EAT_BYTES = 1 << 20, WATER_BYTES = 1 << 16, FORKED_S = 60 };

int64_t probe_number(const task_batch_t *batch, const char *name, int64_t standard)
{
    json_t *params = json_loads(batch->params && *batch->params ? batch->params : "{}", 0, NULL);
    const json_t *value = json_object_get(params, name);
    int64_t out = json_is_integer(value)   ? json_integer_value(value)
                  : json_is_boolean(value) ? json_is_true(value)
                                           : standard;
    json_decref(params);
    return out;
}

static void wait_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) {
    }
}

err_t probe_noop(const task_batch_t *batch, task_result_t *out)
{
    int64_t sleep_ms = probe_number(batch, "sleep_ms", 0);
    int64_t failures = probe_number(batch, "fail_attempts", 0);
    for (int64_t done = 0; done < sleep_ms;) {
        int64_t step = sleep_ms - done < STEP_MS ? sleep_ms - done : STEP_MS;
        wait_ms(step);
        done += step;
        if (batch->progress) {
            batch->progress(batch->progress_context,
                            (uint32_t)((__int128)batch->items_n * done / sleep_ms));
        }
    }
    if (batch->attempt <= failures) {
        out->retry_after_ms = -1;
        return err_set(ERR_UNAVAILABLE, "attempt %u fails as asked (fail_attempts %lld)",
                       batch->attempt, (long long)failures);
    }
    if (batch->progress) {
        batch->progress(batch->progress_context, batch->items_n);
    }
    return ERR_OK;
}

err_t probe_crash(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    (void)out;
    /* The default action, whatever handlers the process or a sanitizer has set. */
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return err_set(ERR_INTERNAL, "SIGSEGV did not end the process");
}

err_t probe_hang(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    (void)out;
    signal(SIGTERM, SIG_IGN);
    for (;;) {
        pause();
    }
}

err_t probe_eat(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    (void)out;
    for (;;) {
        /* Touched, or the kernel would never give the pages; volatile, or the compiler would drop
         * the write. */
        volatile uint8_t *bytes = mem_alloc(EAT_BYTES);
        for (size_t i = 0; i < EAT_BYTES; i += 4096) {
            bytes[i] = 1;
        }
    }
}

err_t probe_flood(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    static const uint8_t water[WATER_BYTES];
    /* Over every output limit, under every memory limit: it is the size of the result that is to be
     * noticed. */
    while (out->result.n < (size_t)64 << 20) {
        buffer_add(&out->result, water, sizeof water);
    }
    return ERR_OK;
}

/* ---- a bomb that ends by itself: each process forks two until `most` are there, and lives a
 * minute
 * -------------------------------------------------------------------------------------------------
 */

static void fork_on(_Atomic int64_t *left, bool own_session)
{
    for (;;) {
        if (atomic_fetch_sub(left, 1) <= 0) {
            return;
        }
        pid_t pid = fork();
        if (pid == 0) {
            alarm(FORKED_S);
            if (own_session) {
                setsid();
            }
            fork_on(left, own_session);
            for (;;) {
                pause();
            }
        }
        if (pid < 0) {
            return;
        }
    }
}

err_t probe_fork(const task_batch_t *batch, task_result_t *out)
{
    (void)out;
    _Atomic int64_t *left =
        mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (left == MAP_FAILED) {
        return err_set(ERR_INTERNAL, "no shared memory: %s", strerror(errno));
    }
    atomic_store(left, probe_number(batch, "processes", 500));
    fork_on(left, probe_number(batch, "own_session", 1));
    while (probe_number(batch, "stay", 1)) {
        pause();
    }
    return ERR_OK;
}

/* Half to what the worker listens to, half to a file that no directory names: nothing is left of it
 * whatever ends this process. */
err_t probe_fill(const task_batch_t *batch, task_result_t *out)
{
    (void)out;
    static uint8_t water[WATER_BYTES];
    const char *folder = getenv("TMPDIR");
    int file = open(folder ? folder : "/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (file < 0) {
        return err_set(ERR_IO, "no temporary file: %s", strerror(errno));
    }
    memset(water, '~', sizeof water);
    const int to[] = {STDOUT_FILENO, STDERR_FILENO, file};
    for (int64_t left = probe_number(batch, "megabytes", 1024) << 20; left > 0;) {
        for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
            ssize_t n = write(to[i], water, sizeof water);
            if (n < 0 && errno != EINTR) {
                err_t err = err_set(ERR_IO, "cannot write: %s", strerror(errno));
                close(file);
                return err;
            }
            left -= i == 2 && n > 0 ? n : 0;
        }
    }
    close(file);
    return ERR_OK;
}

err_t probe_close(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    (void)out;
    close_range(0, ~0U, 0);
    return ERR_OK;
}

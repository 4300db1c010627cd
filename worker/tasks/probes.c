#include "worker/tasks/probes.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 50, EAT_BYTES = 1 << 20 };

static void wait_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) {
    }
}

err_t probe_noop(const task_batch_t *batch, task_result_t *out)
{
    json_t *params = json_loads(batch->params && *batch->params ? batch->params : "{}", 0, NULL);
    int64_t sleep_ms = json_integer_value(json_object_get(params, "sleep_ms"));
    int64_t failures = json_integer_value(json_object_get(params, "fail_attempts"));
    json_decref(params);
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
    static const uint8_t water[1 << 16];
    /* Over every output limit, under every memory limit: it is the size of the result that is to be
     * noticed. */
    while (out->result.n < (size_t)64 << 20) {
        buffer_add(&out->result, water, sizeof water);
    }
    return ERR_OK;
}

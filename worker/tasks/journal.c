#include "worker/tasks/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/tasks/probes.h"

typedef struct {
    uint64_t items, sum, squares;
} figures_t;

typedef struct {
    uint64_t job;
    uint32_t batches_n;
    buffer_t seen; /* a byte for each batch number: a repeat is skipped */
    figures_t all;
} merge_t;

static err_t say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static err_t say(const char *format, ...)
{
    const char *path = getenv("STINT_JOURNAL");
    if (!path) {
        return err_set(ERR_CONFIG, "STINT_JOURNAL names no file");
    }
    char line[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    n += snprintf(line + n, sizeof line - (size_t)n, " %d %" PRId64 "\n", (int)getpid(),
                  clock_now_ms());
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    ssize_t written = file < 0 ? -1 : write(file, line, (size_t)n);
    int problem = errno;
    if (file >= 0) {
        close(file);
    }
    return written == n ? ERR_OK
                        : err_set(ERR_IO, "cannot write to %s: %s", path, strerror(problem));
}

static figures_t figures_of(const task_batch_t *batch)
{
    figures_t out = {0};
    const char *at = (const char *)batch->items, *end = at + batch->items_bytes;
    while (at < end) {
        uint64_t value = strtoull(at, NULL, 10);
        out.items++;
        out.sum += value;
        out.squares += value * value;
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline ? newline + 1 : end;
    }
    return out;
}

/* 0..999, the same for the same attempt: what goes wrong is drawn, not remembered. */
static int64_t lot_of(const task_batch_t *batch)
{
    uint64_t x = batch->job_id * 0x9e3779b97f4a7c15u + batch->batch_no * 0xbf58476d1ce4e5b9u +
                 batch->attempt * 0x94d049bb133111ebu;
    x ^= x >> 31;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    return (int64_t)(x % 1000);
}

static err_t say_fault(const task_batch_t *batch, const char *what)
{
    return say("fault %" PRIu64 " %u %u %s", batch->job_id, batch->batch_no, batch->attempt, what);
}

static err_t misbehave(const task_batch_t *batch, task_result_t *out)
{
    int64_t lot = lot_of(batch);
    int64_t crash = probe_number(batch, "crash_permille", 0);
    int64_t hang = crash + probe_number(batch, "hang_permille", 0);
    int64_t fail = hang + probe_number(batch, "fail_permille", 0);
    if (lot < crash) {
        err_t err = say_fault(batch, "crash");
        return err ? err : probe_crash(batch, out);
    }
    if (lot < hang) {
        err_t err = say_fault(batch, "hang");
        return err ? err : probe_hang(batch, out);
    }
    if (lot < fail) {
        err_t err = say_fault(batch, "fail");
        if (err) {
            return err;
        }
        out->retry_after_ms = 50;
        return err_set(ERR_UNAVAILABLE, "attempt %u fails as its lot was", batch->attempt);
    }
    return ERR_OK;
}

err_t journal_run(const task_batch_t *batch, task_result_t *out)
{
    err_t err = say("start %" PRIu64 " %u %u %" PRIu64 " %u", batch->job_id, batch->batch_no,
                    batch->attempt, batch->first_line, batch->items_n);
    if (!err) {
        err = probe_noop(batch, out); /* sleep_ms */
    }
    if (!err) {
        err = misbehave(batch, out);
    }
    if (err) {
        return err;
    }
    figures_t figures = figures_of(batch);
    buffer_add(&out->result, &figures, sizeof figures);
    return say("end %" PRIu64 " %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, batch->job_id,
               batch->batch_no, batch->attempt, batch->first_line, figures.items, figures.sum,
               figures.squares);
}

err_t journal_finalize_open(void **state, const task_finalize_t *job)
{
    err_t err = say("merge %" PRIu64, job->job_id);
    if (!err) {
        merge_t *self = mem_zero(sizeof *self);
        self->job = job->job_id;
        *state = self;
    }
    return err;
}

err_t journal_finalize_merge(void *state, uint32_t batch_no, const uint8_t *partial, size_t n)
{
    merge_t *self = state;
    figures_t figures;
    if (n != sizeof figures) {
        return err_set(ERR_CORRUPT, "a partial of %zu bytes instead of %zu", n, sizeof figures);
    }
    while (self->seen.n <= batch_no) {
        buffer_add(&self->seen, "", 1);
    }
    if (!self->seen.data[batch_no]) {
        self->seen.data[batch_no] = 1;
        memcpy(&figures, partial, sizeof figures);
        self->batches_n++;
        self->all.items += figures.items;
        self->all.sum += figures.sum;
        self->all.squares += figures.squares;
    }
    return ERR_OK;
}

err_t journal_finalize_close(void **state, task_result_t *out)
{
    merge_t *self = *state;
    *state = NULL;
    const figures_t *all = &self->all;
    err_t err = say("merged %" PRIu64 " %u %" PRIu64 " %" PRIu64 " %" PRIu64, self->job,
                    self->batches_n, all->items, all->sum, all->squares);
    /* As texts: JSON readers lose numbers of 64 bits. */
    buffer_printf(&out->result,
                  "{\"batches\": %u, \"items\": %" PRIu64 ", \"sum\": \"%" PRIu64
                  "\", \"squares\": \"%" PRIu64 "\"}",
                  self->batches_n, all->items, all->sum, all->squares);
    buffer_free(&self->seen);
    free(self);
    return err;
}

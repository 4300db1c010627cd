/* The journal: what was promised to clients and what executions did, kept outside the store, and
 * the way to fail. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "tests/sim/sim.h"

enum { PROMISES = 256, STARTS = 16384, RATES = 4096 };

typedef struct {
    uint8_t store[16];
    uint64_t batch, attempt;
} started_t;

struct journal {
    promise_t promises[PROMISES], backup[PROMISES];
    int n, backup_n;
    started_t *starts;
    int starts_n;
    int64_t rates[SIM_WORKERS][RATES];
    int rates_n[SIM_WORKERS];
};

void journal_open(sim_t *sim)
{
    sim->journal = mem_zero(sizeof *sim->journal);
    sim->journal->starts = mem_alloc(STARTS * sizeof *sim->journal->starts);
}

void journal_close(sim_t *sim)
{
    free(sim->journal->starts);
    free(sim->journal);
}

void sim_fail(sim_t *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "simulation seed %llu at %lld ms: ", (unsigned long long)sim->seed,
            (long long)sim->now);
    vfprintf(stderr, format, args);
    fprintf(stderr,
            "\n(run it again: STINT_SIM_ONLY=%llu STINT_SIM_TRACE=1 CK_FORK=no "
            "build/tests/sim/test_sim)\n",
            (unsigned long long)sim->seed);
    va_end(args);
    exit(1);
}

void journal_acknowledged(sim_t *sim, uint64_t job, uint64_t items)
{
    struct journal *self = sim->journal;
    if (self->n == PROMISES) {
        sim_fail(sim, "the journal is full");
    }
    self->promises[self->n++] = (promise_t){.job = job, .items = items};
}

void journal_cancelled(sim_t *sim, uint64_t job)
{
    for (int i = 0; i < sim->journal->n; i++) {
        if (sim->journal->promises[i].job == job) {
            sim->journal->promises[i].cancelled = true;
        }
    }
}

void journal_started(sim_t *sim, const uint8_t store[16], uint64_t batch, uint64_t attempt)
{
    struct journal *self = sim->journal;
    for (int i = 0; i < self->starts_n; i++) {
        if (self->starts[i].batch == batch && self->starts[i].attempt == attempt &&
            memcmp(self->starts[i].store, store, 16) == 0) {
            sim_fail(sim, "batch %llu attempt %llu was started twice", (unsigned long long)batch,
                     (unsigned long long)attempt);
        }
    }
    if (self->starts_n == STARTS) {
        sim_fail(sim, "too many starts");
    }
    self->starts[self->starts_n] = (started_t){.batch = batch, .attempt = attempt};
    memcpy(self->starts[self->starts_n++].store, store, 16);
}

bool journal_batch(sim_t *sim, int i, uint64_t *batch, uint32_t *executions)
{
    struct journal *self = sim->journal;
    if (i >= self->starts_n) {
        return false;
    }
    *batch = self->starts[i].batch;
    *executions = 0;
    for (int k = 0; k < self->starts_n; k++) {
        *executions += self->starts[k].batch == *batch;
    }
    return true;
}

void journal_rate(sim_t *sim, int worker, int64_t at)
{
    struct journal *self = sim->journal;
    int n = self->rates_n[worker];
    if (n == RATES) {
        sim_fail(sim, "too many limited starts");
    }
    self->rates[worker][n] = at;
    self->rates_n[worker] = n + 1;
    /* The newest start and the tenth before it must not lie in one window. */
    if (n >= SIM_RATE_N && at - self->rates[worker][n - SIM_RATE_N] < SIM_RATE_MS) {
        sim_fail(sim, "worker %d started over %d limited batches within %d ms", worker, SIM_RATE_N,
                 SIM_RATE_MS);
    }
}

int journal_rate_times(sim_t *sim, int worker, int64_t *out, int n)
{
    struct journal *self = sim->journal;
    int from = self->rates_n[worker] > n ? self->rates_n[worker] - n : 0;
    int count = 0;
    for (int i = from; i < self->rates_n[worker]; i++) {
        out[count++] = self->rates[worker][i];
    }
    return count;
}

void journal_backup(sim_t *sim)
{
    memcpy(sim->journal->backup, sim->journal->promises, sizeof sim->journal->backup);
    sim->journal->backup_n = sim->journal->n;
}

void journal_restore(sim_t *sim)
{
    memcpy(sim->journal->promises, sim->journal->backup, sizeof sim->journal->backup);
    sim->journal->n = sim->journal->backup_n;
}

int journal_n(sim_t *sim)
{
    return sim->journal->n;
}

promise_t *journal_at(sim_t *sim, int i)
{
    return &sim->journal->promises[i];
}

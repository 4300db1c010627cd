#include "api/feeder.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { KEPT_MAX = 4096, KEPT_BYTES_MAX = 4 << 20 };

typedef struct {
    uint64_t job;
    size_t bytes;
} kept_t;

struct feeder {
    map_t jobs, batches, tasks;
    heap_t deadlines;
    kept_t kept[KEPT_MAX]; /* a ring: kept_from.. of kept_n; jobs may be gone already */
    size_t kept_from, kept_n, kept_bytes;
};

static bool deadline_before(const void *a, const void *b)
{
    return ((const live_batch_t *)a)->deadline < ((const live_batch_t *)b)->deadline;
}

bool feeder_job_before(const live_job_t *a, const live_job_t *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->id < b->id;
}

static bool job_before(const void *a, const void *b)
{
    return feeder_job_before(a, b);
}

static void job_free(live_job_t *job)
{
    if (job->row) {
        job_row_free(job->row);
        free(job->row);
    }
    blob_unref(&job->input);
    free(job);
}

feeder_t *feeder_new(void)
{
    feeder_t *self = mem_zero(sizeof *self);
    heap_init(&self->deadlines, offsetof(live_batch_t, slot), deadline_before);
    return self;
}

void feeder_destroy(feeder_t **self_ref)
{
    feeder_t *self = *self_ref;
    if (!self) {
        return;
    }
    size_t at = 0;
    for (live_batch_t *batch; (batch = map_next(&self->batches, &at));) {
        free(batch);
    }
    at = 0;
    for (live_job_t *job; (job = map_next(&self->jobs, &at));) {
        job_free(job);
    }
    at = 0;
    for (live_task_t *task; (task = map_next(&self->tasks, &at));) {
        heap_free(&task->jobs);
        heap_free(&task->finalizing);
        free(task);
    }
    map_free(&self->batches);
    map_free(&self->jobs);
    map_free(&self->tasks);
    heap_free(&self->deadlines);
    free(self);
    *self_ref = NULL;
}

/* -- tasks
 * --------------------------------------------------------------------------------------------- */

live_task_t *feeder_task_put(feeder_t *self, const task_row_t *row)
{
    live_task_t *task = map_get(&self->tasks, row->id);
    if (!task) {
        task = mem_zero(sizeof *task);
        heap_init(&task->jobs, offsetof(live_job_t, slot), job_before);
        heap_init(&task->finalizing, offsetof(live_job_t, slot), job_before);
        map_put(&self->tasks, row->id, task);
    }
    task->row = *row;
    const task_spec_t *spec = task_spec_find(row->name);
    task->flags = spec ? spec->flags : TASK_USER;
    task->soft_ms = spec ? spec->soft_ms : 300000;
    task->hard_ms = spec ? spec->hard_ms : 360000;
    task->memory_bytes = spec ? spec->memory_bytes : (int64_t)1 << 30;
    return task;
}

live_task_t *feeder_task(const feeder_t *self, const char *name, size_t n)
{
    size_t at = 0;
    for (live_task_t *task; (task = map_next(&self->tasks, &at));) {
        if (strlen(task->row.name) == n && memcmp(task->row.name, name, n) == 0) {
            return task;
        }
    }
    return NULL;
}

live_task_t *feeder_task_by_id(const feeder_t *self, uint64_t id)
{
    return map_get(&self->tasks, id);
}

live_task_t *feeder_next_task(const feeder_t *self, size_t *at)
{
    return map_next(&self->tasks, at);
}

/* -- jobs
 * ---------------------------------------------------------------------------------------------- */

bool feeder_uncut(const live_job_t *job)
{
    if (job->state != JOB_PENDING && job->state != JOB_PROCESSING) {
        return false;
    }
    return job->chunks_n ? job->chunks_cut < job->chunks_n : job->batches_n == 0;
}

/* A job starts to finalize when nothing of it waits, so it is in neither heap when this changes. */
static heap_t *heap_of(const live_job_t *job)
{
    return job->state == JOB_FINALIZING ? &job->task->finalizing : &job->task->jobs;
}

uint64_t feeder_estimate(uint64_t items, uint64_t items_cut, uint32_t batches_n,
                         uint32_t batch_items)
{
    enum { USUAL = 1000 };
    uint64_t size = batches_n ? items_cut / batches_n : 0;
    size = size ? size : batch_items && batch_items < USUAL ? batch_items : USUAL;
    return (items + size - 1) / size;
}

int64_t feeder_oldest_waiting(const feeder_t *self)
{
    int64_t oldest = 0;
    size_t at = 0;
    for (const live_job_t *job; (job = map_next(&self->jobs, &at));) {
        bool waits = job->ready_first || feeder_uncut(job);
        if (waits && job->created_at && (oldest == 0 || job->created_at < oldest)) {
            oldest = job->created_at;
        }
    }
    return oldest;
}

/* In its task's heap exactly while there is something to dispatch. */
static void settle(live_job_t *job)
{
    uint64_t estimate = !feeder_uncut(job) ? 0
                        : job->chunks_n == 0
                            ? 1
                            : feeder_estimate(job->items_total - job->items_cut, job->items_cut,
                                              job->batches_n, job->batch_items);
    job->task->batches_waiting += estimate - job->batches_estimate;
    job->batches_estimate = estimate;
    bool wanted = job->ready_first || feeder_uncut(job);
    bool there = heap_has(heap_of(job), job);
    if (wanted && !there) {
        heap_add(heap_of(job), job);
    } else if (!wanted && there) {
        heap_remove(heap_of(job), job);
    }
}

live_job_t *feeder_job_add(feeder_t *self, const job_row_t *row)
{
    live_job_t *job = mem_zero(sizeof *job);
    job->id = row->id;
    job->task = feeder_task_by_id(self, row->task_id);
    INVARIANT(job->task);
    job->state = row->state;
    job->priority = row->priority;
    job->chunks_n = row->chunks_n;
    job->chunks_cut = row->chunks_cut;
    job->batches_n = row->batches_n;
    job->batches_dead = row->batches_dead;
    job->items_total = row->items_total;
    job->items_cut = row->items_cut;
    job->batch_items = row->batch_items;
    job->created_at = row->created_at;
    job->task->items_waiting += job->items_total - job->items_cut;
    map_put(&self->jobs, job->id, job);
    settle(job);
    return job;
}

static void drop_oldest(feeder_t *self)
{
    kept_t *oldest = &self->kept[self->kept_from];
    live_job_t *job = feeder_job(self, oldest->job);
    if (job && job->state == JOB_PENDING) {
        job_row_free(job->row);
        free(job->row);
        job->row = NULL;
        blob_unref(&job->input);
    }
    self->kept_bytes -= oldest->bytes;
    self->kept_from = (self->kept_from + 1) % KEPT_MAX;
    self->kept_n--;
}

void feeder_job_keep(feeder_t *self, live_job_t *job, job_row_t *row, blob_t *input)
{
    INVARIANT(!job->row && job->state == JOB_PENDING);
    size_t bytes = sizeof *row + strlen(row->params) + strlen(row->header) + blob_n(input);
    job->row = row;
    job->input = input ? blob_ref(input) : NULL;
    while (self->kept_n == KEPT_MAX ||
           (self->kept_n && self->kept_bytes + bytes > KEPT_BYTES_MAX)) {
        drop_oldest(self);
    }
    self->kept[(self->kept_from + self->kept_n++) % KEPT_MAX] = (kept_t){job->id, bytes};
    self->kept_bytes += bytes;
}

live_job_t *feeder_job(const feeder_t *self, uint64_t id)
{
    return map_get(&self->jobs, id);
}

void feeder_job_remove(feeder_t *self, live_job_t *job)
{
    if (job->batches_live > 0) {
        /* Only a cancelled job still has batches: rare enough to look for them. */
        size_t at = 0;
        live_batch_t **found = mem_alloc(job->batches_live * sizeof *found);
        size_t n = 0;
        for (live_batch_t *batch; (batch = map_next(&self->batches, &at));) {
            if (batch->job == job) {
                INVARIANT(n < job->batches_live);
                found[n++] = batch;
            }
        }
        for (size_t i = 0; i < n; i++) {
            map_remove(&self->batches, found[i]->row.id);
            heap_remove(&self->deadlines, found[i]);
            free(found[i]);
        }
        free(found);
    }
    heap_remove(heap_of(job), job);
    job->task->items_waiting -= job->items_total - job->items_cut;
    job->task->batches_waiting -= job->batches_estimate;
    map_remove(&self->jobs, job->id);
    job_free(job);
}

uint64_t feeder_jobs_n(const feeder_t *self)
{
    return self->jobs.n;
}

void feeder_cut(feeder_t *self, live_job_t *job, const batch_row_t *row)
{
    (void)self;
    job->chunks_cut += row->chunks_n;
    job->items_cut += row->items_n;
    job->task->items_waiting -= row->items_n;
    job->batches_n++;
    settle(job);
}

enum { RATE_SPAN_MS = 5000, RATE_SPANS = 12 };

void feeder_job_items(live_job_t *job, int64_t now, uint64_t items_n)
{
    int64_t span = now / RATE_SPAN_MS;
    if (job->rate_since == 0) {
        job->rate_since = now;
        job->rate_span = span;
    }
    for (int i = 0; job->rate_span < span && i < RATE_SPANS; i++) {
        job->rate[++job->rate_span % RATE_SPANS] = 0;
    }
    job->rate_span = span;
    job->rate[span % RATE_SPANS] += items_n;
}

double feeder_job_rate(const live_job_t *job, int64_t now)
{
    int64_t span = now / RATE_SPAN_MS;
    uint64_t items = 0;
    for (int64_t at = job->rate_span;
         at > span - RATE_SPANS && at > job->rate_span - RATE_SPANS && at >= 0; at--) {
        items += job->rate[at % RATE_SPANS];
    }
    int64_t passed = now - job->rate_since;
    int64_t window = (RATE_SPANS - 1) * RATE_SPAN_MS + now % RATE_SPAN_MS;
    passed = passed > window ? window : passed < 1000 ? 1000 : passed;
    return (double)items * 1000.0 / (double)passed;
}

live_job_t *feeder_best(const live_task_t *task)
{
    return heap_top(&task->jobs);
}

live_job_t *feeder_best_finalize(const live_task_t *task)
{
    return heap_top(&task->finalizing);
}

/* -- batches
 * ------------------------------------------------------------------------------------------- */

live_batch_t *feeder_batch_add(feeder_t *self, live_job_t *job, const batch_row_t *row)
{
    live_batch_t *batch = mem_zero(sizeof *batch);
    batch->row = *row;
    batch->job = job;
    job->batches_live++;
    map_put(&self->batches, row->id, batch);
    return batch;
}

live_batch_t *feeder_batch(const feeder_t *self, uint64_t id)
{
    return map_get(&self->batches, id);
}

static void leave_ready(live_batch_t *batch)
{
    if (!batch->ready) {
        return;
    }
    live_job_t *job = batch->job;
    live_batch_t *before = NULL;
    for (live_batch_t *at = job->ready_first; at != batch; at = at->next_ready) {
        before = at;
    }
    if (before) {
        before->next_ready = batch->next_ready;
    } else {
        job->ready_first = batch->next_ready;
    }
    if (job->ready_last == batch) {
        job->ready_last = before;
    }
    batch->next_ready = NULL;
    batch->ready = false;
    settle(job);
}

void feeder_batch_remove(feeder_t *self, live_batch_t *batch)
{
    leave_ready(batch);
    heap_remove(&self->deadlines, batch);
    map_remove(&self->batches, batch->row.id);
    batch->job->batches_live--;
    free(batch);
}

void feeder_batch_ready(feeder_t *self, live_batch_t *batch)
{
    heap_remove(&self->deadlines, batch);
    batch->accepted = batch->local = false;
    batch->worker[0] = 0;
    memset(batch->peer, 0, sizeof batch->peer);
    if (!batch->ready) {
        live_job_t *job = batch->job;
        batch->ready = true;
        batch->next_ready = NULL;
        if (job->ready_last) {
            job->ready_last->next_ready = batch;
        } else {
            job->ready_first = batch;
        }
        job->ready_last = batch;
        settle(job);
    }
}

void feeder_batch_until(feeder_t *self, live_batch_t *batch, int64_t deadline)
{
    leave_ready(batch);
    batch->deadline = deadline;
    if (heap_has(&self->deadlines, batch)) {
        heap_moved(&self->deadlines, batch);
    } else {
        heap_add(&self->deadlines, batch);
    }
}

live_batch_t *feeder_ready(const live_job_t *job)
{
    return job->ready_first;
}

live_batch_t *feeder_due(const feeder_t *self)
{
    return heap_top(&self->deadlines);
}

live_batch_t *feeder_next_batch(const feeder_t *self, size_t *at)
{
    return map_next(&self->batches, at);
}

feeder_counts_t feeder_counts(const feeder_t *self)
{
    feeder_counts_t counts = {0};
    size_t at = 0;
    for (live_batch_t *batch; (batch = map_next(&self->batches, &at));) {
        if (batch->row.state == BATCH_LEASED) {
            counts.leased++;
        } else if (batch->row.state == BATCH_RETRYING && !batch->ready) {
            counts.retrying++;
        } else {
            counts.ready++;
        }
    }
    return counts;
}

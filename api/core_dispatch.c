/* Matching what there is to do with what brokers have room for; DISPATCH is written, committed,
 * then sent (P16). */
#include <stdlib.h>
#include <string.h>

#include "api/core_internal.h"
#include "common/log.h"

void core_broker_hello(core_t *self, int broker)
{
    capacity_reset(&self->brokers[broker].capacity);
    self->brokers[broker].up = false;
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.role = WIRE_ROLE_API,
                           .name = str_of(self->name),
                           .incarnation = str_bytes(self->options.incarnation, WIRE_PEER_N),
                           .store_id = str_bytes(store_id(self->store), WIRE_PEER_N),
                           .host = str_of(self->host),
                           .pid = self->options.pid,
                           .version = str_of(STINT_VERSION)}};
    core_owe(self, broker, NULL, &msg, NULL);
}

void core_on_capacity(core_t *self, int broker, const msg_capacity_is_t *msg)
{
    if (self->brokers[broker].up) {
        capacity_told(&self->brokers[broker].capacity, msg);
    }
}

/* The roomiest group that takes the task, over all brokers; NULL if none. */
static capacity_group_t *find_room(core_t *self, const char *task, int *broker)
{
    capacity_group_t *best = NULL;
    for (int b = 0; b < self->options.brokers_n; b++) {
        capacity_t *capacity = &self->brokers[b].capacity;
        for (int g = 0; self->brokers[b].up && g < capacity->groups_n; g++) {
            capacity_group_t *group = &capacity->groups[g];
            if (group->n > 0 && (!best || group->n > best->n) &&
                capacity_names(group->tasks, task)) {
                best = group;
                *broker = b;
            }
        }
    }
    return best;
}

typedef struct {
    live_job_t *job;
    capacity_group_t *group;
    int broker;
} choice_t;

static void consider(core_t *self, choice_t *best, live_job_t *job, const char *name)
{
    if (!job || (best->job && !feeder_job_before(job, best->job))) {
        return;
    }
    int broker = 0;
    capacity_group_t *room = find_room(self, name, &broker);
    if (room) {
        *best = (choice_t){.job = job, .group = room, .broker = broker};
    }
}

/* The best job that some ticket is good for. The api's own tasks are maintenance's. A finalize
 * needs a ticket of another task: without one it must not stand before the batches of its own. */
static choice_t choose(core_t *self)
{
    choice_t best = {0};
    size_t at = 0;
    for (live_task_t *task; (task = feeder_next_task(self->feeder, &at));) {
        if (!(task->flags & TASK_STORE)) {
            consider(self, &best, feeder_best(task), task->row.name);
            consider(self, &best, feeder_best_finalize(task), task->row.finalize);
        }
    }
    return best;
}

/* Rate tokens, not hosts, are scarce: then a batch must be at least items left / tokens left. */
static uint32_t token_floor(core_t *self, const live_task_t *task)
{
    uint64_t tokens = 0;
    for (int i = 0; i < peers_n(self->peers); i++) {
        const peer_t *peer = peers_at(self->peers, i);
        for (int k = 0; k < peer->limits_n; k++) {
            const peer_limit_t *limit = &peer->limits[k];
            if (strcmp(limit->task, task->row.name) != 0) {
                continue;
            }
            if (limit->rate_n == 0) {
                return 0;
            }
            tokens += limit->used_n < limit->rate_n ? limit->rate_n - limit->used_n : 0;
        }
    }
    uint64_t floor = tokens ? (task->items_waiting + tokens - 1) / tokens : 0;
    return floor > 1500 ? 1500 : (uint32_t)floor;
}

static frames_t dispatch_of(core_t *self, broker_t *broker, const live_batch_t *batch,
                            blob_t *items)
{
    const live_job_t *job = batch->job;
    const batch_row_t *row = &batch->row;
    const live_task_t *task = job->task;
    const job_row_t *about = job->row;
    const char *name = row->is_finalize ? task->row.finalize : task->row.name;
    const task_spec_t *spec = task_spec_find(name);
    msg_t msg = {.type = MSG_DISPATCH,
                 .dispatch = {
                     .store_id = str_bytes(store_id(self->store), WIRE_PEER_N),
                     .job = job->id,
                     .batch = row->id,
                     .attempt = row->attempt,
                     .kind = row->is_finalize ? WIRE_KIND_FINALIZE : WIRE_KIND_BATCH,
                     .task = str_of(name),
                     .items_n = row->items_n,
                     .raw_bytes = row->raw_bytes,
                     .batch_no = row->no,
                     .first_line = about->first_line + row->first_item,
                     .format = about->format,
                     .params = str_of(about->params),
                     .header = str_of(about->header),
                     .failures = row->failures,
                     .max_attempts = task->row.max_attempts,
                     .lease_ms = self->options.lease_ms,
                     .soft_ms = spec ? spec->soft_ms : task->soft_ms,
                     .hard_ms = spec ? spec->hard_ms : task->hard_ms,
                     .memory_bytes = (uint64_t)(spec ? spec->memory_bytes : task->memory_bytes),
                     .items_total = job->items_total,
                     .batches_n = job->batches_n,
                     .broker = str_bytes(broker->incarnation, WIRE_PEER_N),
                     .number = broker->capacity.sent,
                 }};
    return frames_of(&msg, items);
}

/* What the DISPATCH says beside the batch: kept since the submission, or read once. */
static err_t load_row(core_t *self, live_job_t *job)
{
    if (job->row) {
        return ERR_OK;
    }
    job_row_t *row = mem_zero(sizeof *row);
    err_t err = store_job_get(self->store, job->id, row);
    if (err) {
        free(row);
        return err;
    }
    job->row = row;
    return ERR_OK;
}

/* The store's side of a dispatch: the batch (a waiting one, or the next cut) leased under a new
 * attempt. */
static err_t lease_next(core_t *self, live_job_t *job, uint32_t max_items, batch_row_t *row)
{
    live_batch_t *ready = feeder_ready(job);
    if (ready) {
        *row = ready->row;
        return store_batch_lease(self->store, row);
    }
    *row = (batch_row_t){
        .id = store_next_id(self->store, self->wall),
        .job = job->id,
        .no = job->batches_n,
        .state = BATCH_LEASED,
        .chunk_from = job->chunks_cut,
        .first_item = job->items_cut,
        .attempt = 1,
        .starts = 1,
    };
    err_t err = store_batch_measure(self->store, job->row, max_items, row);
    if (!err) {
        err = store_batch_insert(self->store, row);
    }
    if (!err && job->state == JOB_PENDING) {
        err = store_job_start(self->store, job->id, job->task->row.id, self->wall);
    }
    return err;
}

live_batch_t *core_lease(core_t *self, live_job_t *job, uint32_t max_items, blob_t **items)
{
    batch_row_t row;
    *items = NULL;
    if (core_verb(self)) {
        return NULL;
    }
    err_t err = load_row(self, job);
    if (!err) {
        err = lease_next(self, job, max_items, &row);
    }
    if (!err && job->input) {
        *items = job->input;
        job->input = NULL;
    } else if (!err && !row.is_finalize && row.chunks_n > 0) {
        err = store_batch_items(self->store, job->id, &row, items);
    }
    err = core_verb_end(self, err);
    if (err) {
        blob_unref(items);
        log_error("dispatch.failed", "job=%llu error=%s detail=\"%s\"", (unsigned long long)job->id,
                  err_code(err), err_text());
        self->lost = self->lost ? self->lost : err;
        return NULL;
    }
    live_batch_t *batch = feeder_ready(job);
    if (batch) {
        batch->row = row;
    } else {
        INVARIANT(job->state == JOB_PROCESSING || job_may_move(job->state, JOB_PROCESSING));
        job->state = JOB_PROCESSING;
        feeder_cut(self->feeder, job, &row);
        batch = feeder_batch_add(self->feeder, job, &row);
    }
    batch->accepted = false;
    feeder_batch_until(self->feeder, batch, self->now + self->options.accept_lease_ms);
    return batch;
}

void core_feed(core_t *self)
{
    for (int i = 0; i < TURN_DISPATCHES && !self->lost; i++) {
        choice_t it = choose(self);
        if (!it.job) {
            return;
        }
        uint32_t floor = token_floor(self, it.job->task);
        uint32_t max_items = it.group->max_items > floor ? it.group->max_items : floor;
        blob_t *items = NULL;
        live_batch_t *batch = core_lease(self, it.job, max_items < 100 ? 100 : max_items, &items);
        if (!batch) {
            return;
        }
        broker_t *broker = &self->brokers[it.broker];
        capacity_used(&broker->capacity, it.group);
        frames_t frames = dispatch_of(self, broker, batch, items);
        core_owe_dispatch(self, it.broker, &frames, &batch->row);
        self->counters.dispatched_n++;
    }
    self->more = true;
}

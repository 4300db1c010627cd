/* Submissions: a small one is one row in one transaction; a large one is a job in state receiving
 * until its last chunk. */
#include <stdlib.h>
#include <string.h>

#include "api/core_internal.h"
#include "common/log.h"

enum { INLINE_BYTES = 8192 };

struct core_submission {
    core_t *core; /* NULL: the transaction with its rows was rolled back */
    core_submission_t *next;
    live_task_t *task;
    uint64_t task_id, id;
    char *params, *header;
    int priority;
    uint32_t format, chunk_items, batch_items;
    uint64_t first_line;
    blob_t *first; /* the first chunk, kept back: it may be the only one */
    uint32_t first_items;
    uint64_t first_raw;
    uint32_t chunks_n;
    uint64_t items_total;
    bool inserted;
};

/* -- opening
 * -------------------------------------------------------------------------------------------- */

static err_t unknown_task(const core_t *self, const char *name)
{
    const char *names[256];
    int n = 0;
    size_t at = 0;
    for (live_task_t *task; n < 256 && (task = feeder_next_task(self->feeder, &at));) {
        if ((task->flags & TASK_USER) && (self->options.test_tasks || !(task->flags & TASK_TEST))) {
            names[n++] = task->row.name;
        }
    }
    const char *near = nearest_name(name, names, n);
    return near ? err_set(ERR_INVALID, "task '%.64s' is unknown; did you mean '%s'?", name, near)
                : err_set(ERR_INVALID, "task '%.64s' is unknown: no worker has announced it", name);
}

static err_t in_bounds(const char *name, uint32_t *value, uint32_t fallback)
{
    if (*value == 0) {
        *value = fallback;
    }
    return *value >= 100 && *value <= 1500
               ? ERR_OK
               : err_set(ERR_INVALID, "%s must be 100 to 1500, not %u", name, *value);
}

static err_t check(core_t *self, submit_t *what, live_task_t **task)
{
    if (self->full) {
        return err_set(ERR_FULL, "the disk under the store is full");
    }
    if (feeder_jobs_n(self->feeder) >= self->options.max_waiting_jobs) {
        return err_set(ERR_LIMIT, "%llu jobs are unfinished, the limit",
                       (unsigned long long)self->options.max_waiting_jobs);
    }
    *task = feeder_task(self->feeder, what->task, strlen(what->task));
    if (!*task || !((*task)->flags & TASK_USER) ||
        (((*task)->flags & TASK_TEST) && !self->options.test_tasks)) {
        return unknown_task(self, what->task);
    }
    if (what->priority < -100 || what->priority > 100) {
        return err_set(ERR_INVALID, "priority must be -100 to 100, not %d", what->priority);
    }
    err_t err = in_bounds("chunk_items", &what->chunk_items, 100);
    if (!err) {
        err = in_bounds("batch_items", &what->batch_items, 1500);
    }
    if (!err && what->batch_items < what->chunk_items) {
        err = err_set(ERR_INVALID,
                      "batch_items %u is less than chunk_items %u: a batch is whole chunks",
                      what->batch_items, what->chunk_items);
    }
    const task_spec_t *spec = task_spec_find(what->task);
    if (!err && spec) {
        err = task_check_params(spec, what->params);
    }
    return err;
}

err_t core_submit_open(core_submission_t **out, core_t *core, const submit_t *wanted)
{
    submit_t what = *wanted;
    live_task_t *task = NULL;
    err_t err = check(core, &what, &task);
    if (err) {
        return err;
    }
    char *params = what.params ? json_dumps(what.params, JSON_COMPACT) : mem_text("{}");
    if (!params || strlen(params) > 60000) {
        free(params);
        return err_set(ERR_TOO_LARGE, "params are over 60000 bytes");
    }
    core_submission_t *self = mem_zero(sizeof *self);
    self->core = core;
    self->task = task;
    self->task_id = task->row.id;
    self->params = params;
    self->header = mem_text("");
    self->priority = what.priority;
    self->format = what.format;
    self->chunk_items = what.chunk_items;
    self->batch_items = what.batch_items;
    self->first_line = 1;
    self->next = core->submissions;
    core->submissions = self;
    *out = self;
    return ERR_OK;
}

task_input_t core_submit_input(const core_submission_t *self)
{
    return self->core ? self->task->row.input : TASK_INPUT_LINES;
}

uint32_t core_submit_chunk_items(const core_submission_t *self)
{
    return self->chunk_items;
}

err_t core_submit_header(core_submission_t *self, const char *line, size_t n, uint64_t first_line)
{
    if (!self->core) {
        return err_set(ERR_UNAVAILABLE, "the upload was rolled back; send it again");
    }
    const task_spec_t *spec = task_spec_find(self->task->row.name);
    if (spec) {
        err_t err = task_check_header(spec, line, n);
        if (err) {
            return err;
        }
    }
    free(self->header);
    self->header = mem_text_n(line, n);
    self->first_line = first_line;
    return ERR_OK;
}

/* -- rows
 * -----------------------------------------------------------------------------------------------
 */

static job_new_t job_of(const core_submission_t *self)
{
    return (job_new_t){.id = self->id,
                       .task_id = self->task_id,
                       .priority = self->priority,
                       .format = self->format,
                       .chunk_items = self->chunk_items,
                       .batch_items = self->batch_items,
                       .first_line = self->first_line,
                       .params = self->params,
                       .header = self->header,
                       .created_at = self->core->wall};
}

static err_t insert_receiving(core_submission_t *self)
{
    if (self->inserted) {
        return ERR_OK;
    }
    self->id = store_next_id(self->core->store, self->core->wall);
    job_new_t job = job_of(self);
    err_t err = store_job_insert(self->core->store, &job);
    self->inserted = !err;
    return err;
}

static err_t insert_chunk(core_submission_t *self, uint32_t items_n, uint64_t raw_bytes,
                          const blob_t *data)
{
    chunk_new_t chunk = {.job = self->id,
                         .seq = self->chunks_n,
                         .first_item = self->items_total,
                         .items_n = items_n,
                         .raw_bytes = raw_bytes,
                         .data = blob_data(data),
                         .n = blob_n(data)};
    err_t err = store_chunk_insert(self->core->store, &chunk);
    if (!err) {
        self->chunks_n++;
        self->items_total += items_n;
    }
    return err;
}

/* The chunk that was kept back, now that it is known not to be the only one. */
static err_t insert_first(core_submission_t *self)
{
    err_t err = insert_receiving(self);
    if (!err && self->first) {
        err = insert_chunk(self, self->first_items, self->first_raw, self->first);
        blob_unref(&self->first);
    }
    return err;
}

err_t core_submit_chunk(core_submission_t *self, uint32_t items_n, uint64_t raw_bytes, blob_t *data)
{
    core_t *core = self->core;
    if (!core) {
        blob_unref(&data);
        return err_set(ERR_UNAVAILABLE, "the upload was rolled back; send it again");
    }
    if (self->chunks_n == 0 && !self->first) {
        self->first = data;
        self->first_items = items_n;
        self->first_raw = raw_bytes;
        return ERR_OK;
    }
    err_t err = core_verb(core);
    if (!err) {
        bool was = self->inserted;
        err = insert_first(self);
        if (!err) {
            err = insert_chunk(self, items_n, raw_bytes, data);
        }
        err = core_verb_end(core, err);
        self->inserted = err ? was : true;
    }
    if (!err) {
        core->upload_since = core->upload_since ? core->upload_since : core->now;
        core->upload_bytes += blob_n(data);
    }
    blob_unref(&data);
    return err;
}

/* -- the end
 * -------------------------------------------------------------------------------------------- */

static void unlink_submission(core_submission_t *self)
{
    core_submission_t **at = self->core ? &self->core->submissions : NULL;
    while (at && *at && *at != self) {
        at = &(*at)->next;
    }
    if (at && *at) {
        *at = self->next;
    }
}

static void destroy(core_submission_t **self_ref)
{
    core_submission_t *self = *self_ref;
    unlink_submission(self);
    blob_unref(&self->first);
    free(self->params);
    free(self->header);
    free(self);
    *self_ref = NULL;
}

static err_t accept_small(core_submission_t *self)
{
    self->id = store_next_id(self->core->store, self->core->wall);
    job_new_t job = job_of(self);
    job.input = self->first;
    job.input_raw = self->first_raw;
    job.items_total = self->first_items;
    err_t err = store_job_insert(self->core->store, &job);
    if (!err) {
        self->items_total = self->first_items;
        self->chunks_n = self->first ? 1 : 0;
    }
    return err;
}

static err_t accept(core_submission_t *self)
{
    if (!self->inserted && blob_n(self->first) <= INLINE_BYTES) {
        return accept_small(self);
    }
    err_t err = insert_first(self);
    return err ? err
               : store_job_received(self->core->store, self->id, self->chunks_n, self->items_total);
}

/* The job in memory, with what its DISPATCH will say. */
static const job_row_t *remember(core_submission_t *self)
{
    job_row_t *row = mem_zero(sizeof *row);
    *row = (job_row_t){.id = self->id,
                       .task_id = self->task_id,
                       .state = JOB_PENDING,
                       .priority = self->priority,
                       .epoch = 1,
                       .format = self->format,
                       .chunk_items = self->chunk_items,
                       .batch_items = self->batch_items,
                       .first_line = self->first_line,
                       .params = self->params,
                       .header = self->header,
                       .chunks_n = self->chunks_n,
                       .items_total = self->items_total,
                       .input_raw = self->first ? self->first_raw : 0,
                       .input_inline = self->first != NULL,
                       .created_at = self->core->wall};
    memcpy(row->task, self->task->row.name, sizeof row->task);
    self->params = self->header = NULL;
    feeder_t *feeder = self->core->feeder;
    feeder_job_keep(feeder, feeder_job_add(feeder, row), row, self->first);
    return row;
}

err_t core_submit_close(core_submission_t **self_ref, const job_row_t **job)
{
    core_submission_t *self = *self_ref;
    core_t *core = self->core;
    if (!core) {
        destroy(self_ref);
        return err_set(ERR_UNAVAILABLE, "the upload was rolled back; send it again");
    }
    bool wants_items = self->task->row.input != TASK_INPUT_NONE;
    bool has_items = self->first || self->chunks_n;
    if (wants_items != has_items) {
        err_t refused = wants_items
                            ? err_set(ERR_INVALID, "the submission has no items")
                            : err_set(ERR_INVALID, "task %s takes no items", self->task->row.name);
        core_submit_abort(self_ref);
        return refused;
    }
    err_t err = core_verb(core);
    if (!err) {
        err = core_verb_end(core, accept(self));
    }
    if (err) {
        core_submit_abort(self_ref);
        return err;
    }
    *job = remember(self);
    core->urgent = true;
    destroy(self_ref);
    return ERR_OK;
}

static void remember_aborted(core_t *core, uint64_t id)
{
    if (core->aborted_n == core->aborted_capacity) {
        core->aborted_capacity = core->aborted_capacity ? core->aborted_capacity * 2 : 16;
        core->aborted = mem_grow(core->aborted, core->aborted_capacity * sizeof *core->aborted);
    }
    core->aborted[core->aborted_n++] = id;
    core->more = true;
}

void core_submit_abort(core_submission_t **self_ref)
{
    core_submission_t *self = *self_ref;
    if (!self) {
        return;
    }
    if (self->core && self->inserted) {
        remember_aborted(self->core, self->id);
    }
    destroy(self_ref);
}

/* The running transaction is gone, and rows of these uploads with it; what earlier ones committed
 * is removed. */
void core_submissions_break(core_t *self)
{
    for (core_submission_t *at = self->submissions; at;) {
        core_submission_t *next = at->next;
        if (at->inserted) {
            remember_aborted(self, at->id);
        }
        at->core = NULL;
        at->next = NULL;
        at = next;
    }
    self->submissions = NULL;
}

/* One step a turn of removing what aborted uploads left. */
void core_remove_aborted(core_t *self)
{
    if (self->aborted_n == 0 || self->full) {
        return;
    }
    uint64_t id = self->aborted[self->aborted_n - 1];
    bool more = false;
    err_t err = core_verb(self);
    if (!err) {
        err = core_verb_end(self, store_job_remove(self->store, id, 100, &more));
    }
    if (err && err != ERR_NOT_FOUND) {
        return;
    }
    if (err) {
        self->aborted_n--; /* gone, and committed: a removal of this turn may be rolled back */
    }
    self->urgent = true;
    self->more = self->more || self->aborted_n > 0;
}

/* -- cancel
 * --------------------------------------------------------------------------------------------- */

err_t core_cancel(core_t *self, uint64_t id)
{
    live_job_t *job = feeder_job(self->feeder, id);
    if (!job) {
        job_row_t row;
        err_t err = store_in_turn(self->store)
                        ? store_job_get(self->store, id, &row) /* cancelled in this very turn? */
                        : store_read_job(self->store, id, &row);
        if (err) {
            return err;
        }
        job_state_t state = row.state;
        job_row_free(&row);
        return state == JOB_CANCELLED ? ERR_OK
                                      : err_set(ERR_CONFLICT, "job %llu is %s already",
                                                (unsigned long long)id, job_state_name(state));
    }
    err_t err = core_verb(self);
    if (!err) {
        err = core_verb_end(self, store_job_cancel(self->store, id, self->wall));
    }
    if (!err) {
        log_info("job.moved", "job=%llu task=%s state=cancelled", (unsigned long long)id,
                 job->task->row.name);
        feeder_job_remove(self->feeder, job);
        self->urgent = true;
    }
    return err;
}

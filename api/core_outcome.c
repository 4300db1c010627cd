/* What became of a batch: the rules of PROTOCOL 5 and of a job's end. The store is written first,
 * in the verb's mark; memory follows when the mark was kept. */
#include <stdio.h>
#include <string.h>

#include "api/core_internal.h"
#include "common/log.h"

/* -- the end of a job
 * ----------------------------------------------------------------------------------- */

typedef struct {
    bool moves;
    job_state_t to;
    uint64_t finalize; /* to == JOB_FINALIZING */
} step_t;

typedef struct {
    const char *report;
    size_t report_n;
    const char *error_code, *error_text;
} verdict_t;

static err_t end_job(core_t *self, const live_job_t *job, const verdict_t *verdict, step_t *step)
{
    *step = (step_t){.moves = true, .to = verdict->error_code[0] ? JOB_FAILED : JOB_COMPLETED};
    job_end_t end = {.job = job->id,
                     .task = job->task->row.id,
                     .from = job->state,
                     .to = step->to,
                     .error_code = verdict->error_code,
                     .error_text = verdict->error_text,
                     .report = verdict->report,
                     .report_n = verdict->report_n,
                     .wall_at = self->wall};
    return store_job_end(self->store, &end);
}

/* A batch of the job has just become terminal in the store (`dead` or done): if it was the last,
 * move the job on. */
static err_t after_batch(core_t *self, const live_job_t *job, bool dead, const verdict_t *verdict,
                         step_t *step)
{
    *step = (step_t){0};
    if (job->batches_live > 1 || feeder_uncut(job)) {
        return ERR_OK;
    }
    uint32_t dead_n = job->batches_dead + (dead ? 1 : 0);
    bool callback = job->task->row.finalize[0] != 0;
    const task_spec_t *spec = task_spec_find(job->task->row.name);
    bool always = spec && (spec->flags & TASK_FINALIZE_ALWAYS);
    if (job->state == JOB_PROCESSING && callback && (dead_n == 0 || always)) {
        *step = (step_t){.moves = true,
                         .to = JOB_FINALIZING,
                         .finalize = store_next_id(self->store, self->wall)};
        return store_job_finalize(self->store, job->id, job->task->row.id, step->finalize);
    }
    if (dead_n == 0) {
        return end_job(self, job, verdict, step);
    }
    buffer_t missing = {0};
    buffer_printf(&missing, "%u of %u batches are dead: ", dead_n, job->batches_n);
    err_t err = store_job_missing(self->store, job->id, 10, &missing);
    buffer_add(&missing, "", 1);
    verdict_t failed = *verdict;
    failed.error_code = "batches_dead";
    failed.error_text = (const char *)missing.data;
    if (!err) {
        err = end_job(self, job, &failed, step);
    }
    buffer_free(&missing);
    return err;
}

static void apply(core_t *self, live_job_t *job, const step_t *step)
{
    if (!step->moves) {
        return;
    }
    log_info("job.moved", "job=%llu task=%s state=%s", (unsigned long long)job->id,
             job->task->row.name, job_state_name(step->to));
    INVARIANT(job_may_move(job->state, step->to));
    job->state = step->to;
    if (step->to == JOB_FINALIZING) {
        batch_row_t row = {
            .id = step->finalize, .job = job->id, .is_finalize = true, .state = BATCH_READY};
        feeder_batch_ready(self->feeder, feeder_batch_add(self->feeder, job, &row));
    } else {
        feeder_job_remove(self->feeder, job);
    }
}

/* -- results
 * -------------------------------------------------------------------------------------------- */

static err_t record(core_t *self, live_batch_t *batch, const result_new_t *result,
                    const attempt_new_t *history, const verdict_t *verdict)
{
    live_job_t *job = batch->job;
    batch_row_t row = batch->row;
    step_t step = {0};
    err_t err = core_verb(self);
    if (err) {
        return err;
    }
    result_new_t stored = *result;
    if (row.is_finalize || verdict->report) {
        stored.data = NULL; /* the report stands in the job */
    }
    err = store_batch_done(self->store, &row, &stored, history);
    if (!err && row.is_finalize) {
        err = end_job(self, job, verdict, &step);
    } else if (!err) {
        err = after_batch(self, job, false, verdict, &step);
    }
    err = core_verb_end(self, err);
    if (err) {
        return err;
    }
    uint64_t failed = result->items_failed;
    uint64_t done = row.items_n - failed;
    meter_add(&self->meter, self->now, done, failed);
    feeder_job_items(job, self->now, row.items_n);
    feeder_batch_remove(self->feeder, batch);
    apply(self, job, &step);
    self->urgent = true;
    self->counters.recorded_n++;
    return ERR_OK;
}

static void answer(core_t *self, int broker, const uint8_t *peer, const lease_answer_t *what)
{
    msg_t msg = {.type = what->why ? MSG_DISCARDED : MSG_RECORDED};
    if (what->why) {
        self->counters.discarded_n++;
        msg.discarded = (msg_discarded_t){
            .batch = what->batch, .attempt = what->attempt, .reason = str_of(what->why)};
    } else {
        msg.recorded = (msg_recorded_t){.batch = what->batch, .attempt = what->attempt};
    }
    core_owe(self, broker, peer, &msg, NULL);
}

static bool our_store(const core_t *self, str_t id)
{
    return str_equal(id, str_bytes(store_id(self->store), WIRE_PEER_N));
}

void core_on_result(core_t *self, int broker, const uint8_t *peer, const msg_result_t *msg,
                    blob_t *body)
{
    lease_answer_t reply = {.batch = msg->batch, .attempt = msg->attempt};
    live_batch_t *batch = feeder_batch(self->feeder, msg->batch);
    if (!our_store(self, msg->store_id)) {
        reply.why = "another store";
    } else if (!batch || msg->attempt == 0 || msg->attempt > batch->row.attempt) {
        reply.why = "unknown or terminal";
    } else if (msg->raw_bytes > UINT32_MAX) {
        reply.why = "malformed"; /* P30 has 32 bits for it */
        self->counters.garbage_n++;
    }
    if (reply.why) {
        answer(self, broker, peer, &reply);
        return;
    }
    char worker[65], error_code[65], error_text[513];
    core_worker_name(self, peer, msg->worker, worker);
    str_copy(error_code, sizeof error_code, msg->job_error);
    str_copy(error_text, sizeof error_text, msg->job_error_text);
    result_new_t result = {
        .attempt = (uint32_t)msg->attempt,
        .items_failed = (uint32_t)(msg->items_failed < batch->row.items_n ? msg->items_failed
                                                                          : batch->row.items_n),
        .data = blob_n(body) ? body : NULL,
        .raw_bytes = msg->raw_bytes,
    };
    attempt_new_t history = {.worker = worker,
                             .failure_class = "",
                             .duration_us = msg->duration_us,
                             .text = "",
                             .stderr_tail = "",
                             .wall_at = self->wall};
    verdict_t verdict = {.error_code = error_code, .error_text = error_text};
    if (batch->row.is_finalize && blob_n(body)) {
        verdict.report = (const char *)blob_data(body);
        verdict.report_n = blob_n(body);
    }
    err_t err = record(self, batch, &result, &history, &verdict);
    if (err == ERR_STALE) {
        reply.why = "terminal";
    } else if (err) {
        /* No answer: the worker sends it again. */
        log_warn("result.not_recorded", "batch=%llu error=%s detail=\"%s\"",
                 (unsigned long long)msg->batch, err_code(err), err_text());
        return;
    }
    answer(self, broker, peer, &reply);
}

err_t core_record_local(core_t *self, uint64_t id, const char *report, const char *error)
{
    live_batch_t *batch = feeder_batch(self->feeder, id);
    if (!batch) {
        return ERR_OK; /* cancelled meanwhile */
    }
    result_new_t result = {.attempt = batch->row.attempt};
    attempt_new_t history = {
        .worker = "api", .failure_class = "", .text = "", .stderr_tail = "", .wall_at = self->wall};
    verdict_t verdict = {.report = report,
                         .report_n = report ? strlen(report) : 0,
                         .error_code = error ? "task_failed" : "",
                         .error_text = error ? error : ""};
    return record(self, batch, &result, &history, &verdict);
}

/* -- failures and lost executions
 * ------------------------------------------------------------------------- */

/* The current attempt ended badly. `lost`: nobody knows how; else the worker reported a failure. */
static err_t end_attempt(core_t *self, live_batch_t *batch, bool lost, bool dead,
                         int64_t backoff_ms, const attempt_new_t *history)
{
    live_job_t *job = batch->job;
    batch_row_t row = batch->row;
    step_t step = {0};
    err_t err = core_verb(self);
    if (err) {
        return err;
    }
    int64_t not_before = self->wall + backoff_ms;
    err = lost ? store_batch_lost(self->store, &row, dead, history)
               : store_batch_failed(self->store, &row, dead, not_before, history);
    if (!err && dead && row.is_finalize) {
        char text[600];
        snprintf(text, sizeof text, "the finalize of %s failed: %s", job->task->row.name,
                 history->text);
        verdict_t verdict = {.error_code = "finalize_failed", .error_text = text};
        err = end_job(self, job, &verdict, &step);
    } else if (!err && dead) {
        verdict_t none = {.error_code = "", .error_text = ""};
        err = after_batch(self, job, true, &none, &step);
    }
    err = core_verb_end(self, err);
    if (err) {
        return err;
    }
    batch->row = row;
    self->urgent = true;
    if (dead) {
        meter_add(&self->meter, self->now, 0, row.items_n);
        feeder_job_items(job, self->now, row.items_n);
        job->batches_dead += row.is_finalize ? 0 : 1;
        feeder_batch_remove(self->feeder, batch);
        apply(self, job, &step);
    } else if (lost) {
        feeder_batch_ready(self->feeder, batch);
    } else {
        feeder_batch_until(self->feeder, batch, self->now + backoff_ms);
    }
    return ERR_OK;
}

void core_lose(core_t *self, live_batch_t *batch, const char *why)
{
    bool dead = batch->row.starts >= self->options.max_starts;
    char text[200], worker[65];
    snprintf(text, sizeof text, dead ? "%s; lost %u times, the limit" : "%s", why,
             batch->row.starts);
    snprintf(worker, sizeof worker, "%s", batch->worker);
    attempt_new_t history = {.worker = worker,
                             .failure_class = "",
                             .text = text,
                             .stderr_tail = "",
                             .wall_at = self->wall};
    log_warn("batch.lost", "job=%llu batch=%u attempt=%u worker=\"%s\" why=\"%s\"",
             (unsigned long long)batch->job->id, batch->row.no, batch->row.attempt, worker, why);
    self->counters.lost_n++;
    err_t err = end_attempt(self, batch, true, dead, 0, &history);
    if (err && !self->lost) {
        log_error("batch.lost_not_recorded", "error=%s detail=\"%s\"", err_code(err), err_text());
        self->lost = err;
    }
}

void core_on_failure(core_t *self, int broker, const uint8_t *peer, const msg_failure_t *msg)
{
    lease_answer_t reply = {.batch = msg->batch, .attempt = msg->attempt};
    live_batch_t *batch = feeder_batch(self->feeder, msg->batch);
    if (!our_store(self, msg->store_id)) {
        reply.why = "another store";
    } else if (!batch || batch->row.state != BATCH_LEASED || batch->row.attempt != msg->attempt) {
        reply.why = "not the current attempt";
    } else if (!core_holds(batch, peer)) {
        reply.why = "another worker's lease";
    }
    if (reply.why) {
        answer(self, broker, peer, &reply);
        return;
    }
    char worker[65], text[1025], tail[2049];
    core_worker_name(self, peer, msg->worker, worker);
    str_copy(text, sizeof text, msg->text);
    str_copy(tail, sizeof tail, msg->stderr_tail);
    attempt_new_t history = {.worker = worker,
                             .failure_class = failure_class_name(msg->class),
                             .duration_us = msg->duration_us,
                             .text = text,
                             .stderr_tail = tail,
                             .wall_at = self->wall};
    uint32_t max_attempts = batch->job->task->row.max_attempts;
    bool dead = msg->permanent || batch->row.failures + 1 >= max_attempts ||
                batch->row.starts >= self->options.max_starts;
    if (!dead && msg->class == FAILURE_CRASH) {
        int others = 0;
        dead = !store_batch_crashers(self->store, &batch->row, worker, &others) && others > 0;
    }
    int64_t backoff = msg->backoff_ms < 0         ? 0
                      : msg->backoff_ms > 3600000 ? 3600000
                                                  : msg->backoff_ms;
    log_warn("batch.failed",
             "job=%llu batch=%u attempt=%u worker=%s class=%s dead=%d backoff_ms=%lld",
             (unsigned long long)batch->job->id, batch->row.no, batch->row.attempt, worker,
             history.failure_class, dead, (long long)backoff);
    err_t err = end_attempt(self, batch, false, dead, backoff, &history);
    if (err == ERR_STALE) {
        reply.why = "stale";
    } else if (err) {
        log_warn("failure.not_recorded", "batch=%llu error=%s", (unsigned long long)msg->batch,
                 err_code(err));
        return;
    }
    answer(self, broker, peer, &reply);
}

/* -- leases
 * --------------------------------------------------------------------------------------------- */

static live_batch_t *current(core_t *self, uint64_t id, uint64_t attempt)
{
    live_batch_t *batch = feeder_batch(self->feeder, id);
    return batch && batch->row.state == BATCH_LEASED && batch->row.attempt == attempt ? batch
                                                                                      : NULL;
}

bool core_holds(const live_batch_t *batch, const uint8_t *peer)
{
    return !batch->accepted || memcmp(batch->peer, peer, WIRE_PEER_N) == 0;
}

void core_worker_name(const core_t *self, const uint8_t *peer, str_t said, char out[65])
{
    const peer_t *known = peers_find(self->peers, peer);
    str_copy(out, 65, known && known->name[0] ? str_of(known->name) : said);
}

void core_on_accepted(core_t *self, const uint8_t *peer, const msg_accepted_t *msg)
{
    live_batch_t *batch = current(self, msg->batch, msg->attempt);
    if (batch && !batch->accepted) {
        batch->accepted = true;
        memcpy(batch->peer, peer, WIRE_PEER_N);
        core_worker_name(self, peer, msg->worker, batch->worker);
        feeder_batch_until(self->feeder, batch, self->now + self->options.lease_ms);
    }
}

void core_on_given_back(core_t *self, const uint8_t *peer, uint64_t id, uint64_t attempt)
{
    const live_batch_t *batch = current(self, id, attempt);
    if (batch && core_holds(batch, peer)) {
        core_give_back(self, id, attempt);
    }
}

void core_give_back(core_t *self, uint64_t id, uint64_t attempt)
{
    live_batch_t *batch = current(self, id, attempt);
    if (!batch || core_verb(self)) {
        return;
    }
    batch_row_t row = batch->row;
    err_t err = core_verb_end(self, store_batch_give_back(self->store, &row));
    if (!err) {
        batch->row = row;
        feeder_batch_ready(self->feeder, batch);
    }
}

void core_expire(core_t *self)
{
    for (int i = 0; i < TURN_EXPIRIES && !self->lost; i++) {
        live_batch_t *batch = feeder_due(self->feeder);
        if (!batch || batch->deadline > self->now) {
            return;
        }
        if (batch->row.state == BATCH_LEASED) {
            core_lose(self, batch, batch->accepted ? "lease over" : "not accepted in time");
        } else {
            feeder_batch_ready(self->feeder, batch); /* its backoff is over */
        }
    }
    self->more = true;
}

/* Schedules and the ledger of ticks (PROTOCOL 8): a tick and its job are one transaction. */
#include <stdlib.h>
#include <string.h>

#include "api/core_internal.h"
#include "common/log.h"

/* What every fleet has; a user may pause or change them, they are only made when absent. */
static const schedule_row_t builtin[] = {
    {.name = "health_check",
     .expression = "every 5m",
     .zone = "UTC",
     .task = "health_check",
     .catch_up = 1},
    {.name = "cleanup_old_jobs",
     .expression = "0 2 * * *",
     .zone = "UTC",
     .task = "cleanup_old_jobs",
     .catch_up = 1},
};

err_t core_ensure_schedules(core_t *self)
{
    err_t err = store_begin(self->store);
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin && !err; i++) {
        schedule_row_t row = builtin[i];
        live_task_t *task = feeder_task(self->feeder, row.task, strlen(row.task));
        INVARIANT(task);
        row.task_id = task->row.id;
        row.params = mem_text("{}");
        row.last_nominal_at = self->wall;
        err = store_schedule_ensure(self->store, &row, self->wall);
        free(row.params);
    }
    if (err) {
        if (store_in_turn(self->store)) {
            store_rollback(self->store);
        }
        return err;
    }
    return store_commit(self->store);
}

/* -- snapshots
 * ------------------------------------------------------------------------------------------ */

typedef struct {
    wire_schedule_t *items;
    char **texts; /* three of each */
    uint32_t n;
} snapshot_t;

static void visit(void *context, const schedule_row_t *row)
{
    snapshot_t *snapshot = context;
    if (snapshot->n == WIRE_LIST_MAX) {
        return;
    }
    uint32_t i = snapshot->n++;
    snapshot->items = mem_grow(snapshot->items, snapshot->n * sizeof *snapshot->items);
    snapshot->texts = mem_grow(snapshot->texts, snapshot->n * 3 * sizeof *snapshot->texts);
    char **texts = snapshot->texts + (size_t)i * 3;
    texts[0] = mem_text(row->name);
    texts[1] = mem_text(row->expression);
    texts[2] = mem_text(row->zone);
    snapshot->items[i] = (wire_schedule_t){.name = str_of(texts[0]),
                                           .expression = str_of(texts[1]),
                                           .zone = str_of(texts[2]),
                                           .catch_up = row->catch_up,
                                           .paused = row->paused,
                                           .last_at = row->last_nominal_at};
}

void core_on_schedules_get(core_t *self, int broker, const uint8_t *peer_id,
                           const msg_schedules_get_t *msg)
{
    peer_t *peer = peers_put(self->peers, peer_id);
    if (peer) {
        str_copy(peer->name, sizeof peer->name, msg->scheduler);
        peer->is_worker = false;
        peer->broker = broker;
        peer->seen_at = self->now;
        peer->knows_schedules = true;
    }
    snapshot_t snapshot = {0};
    uint64_t revision = 0;
    err_t err = store_schedules(self->store, &revision, NULL, NULL);
    if (!err && revision != msg->revision) {
        err = store_schedules(self->store, &revision, visit, &snapshot);
    }
    if (err) {
        log_warn("schedules.unreadable", "error=%s detail=\"%s\"", err_code(err), err_text());
    } else {
        msg_t reply = {.type = MSG_SCHEDULES,
                       .schedules = {.revision = revision,
                                     .wall_at = self->wall,
                                     .schedules = snapshot.items,
                                     .schedules_n = snapshot.n}};
        core_owe(self, broker, peer_id, &reply, NULL);
    }
    for (uint32_t i = 0; i < snapshot.n * 3; i++) {
        free(snapshot.texts[i]);
    }
    free(snapshot.texts);
    free(snapshot.items);
}

/* -- ticks
 * ---------------------------------------------------------------------------------------------- */

typedef struct {
    tick_outcome_t outcome;
    uint64_t job;
    const char *text;
} answer_t;

static answer_t judge(core_t *self, const msg_tick_t *msg, const schedule_row_t *row)
{
    if (row->paused) {
        return (answer_t){TICK_REFUSED, 0, "the schedule is paused"};
    }
    if (msg->nominal_at > self->wall + 2000) {
        return (answer_t){TICK_REFUSED, 0, "over 2 s in the store's future"};
    }
    if (msg->nominal_at <= row->last_nominal_at) {
        return (answer_t){TICK_DUPLICATE, 0, "not after the newest tick"};
    }
    return (answer_t){TICK_FIRED, 0, ""};
}

static err_t fire(core_t *self, const msg_tick_t *msg, const schedule_row_t *row, answer_t *answer)
{
    char scheduler[65];
    str_copy(scheduler, sizeof scheduler, msg->scheduler);
    job_new_t job = {.id = store_next_id(self->store, self->wall),
                     .task_id = row->task_id,
                     .format = WIRE_FORMAT_JSON,
                     .chunk_items = 100,
                     .batch_items = 1500,
                     .first_line = 1,
                     .params = row->params,
                     .header = "",
                     .created_at = self->wall};
    tick_new_t tick = {.schedule = row->id,
                       .job = job.id,
                       .nominal_at = msg->nominal_at,
                       .wall_at = self->wall,
                       .scheduler = scheduler};
    err_t err = core_verb(self);
    if (err) {
        return err;
    }
    err = store_job_insert(self->store, &job);
    uint64_t existing = 0;
    if (!err) {
        err = store_tick_insert(self->store, &tick, &existing);
    }
    err = core_verb_end(self, err);
    if (err == ERR_CONFLICT) {
        *answer = (answer_t){TICK_DUPLICATE, existing, "the tick exists"};
        return ERR_OK;
    }
    if (err) {
        return err;
    }
    job_row_t live = {
        .id = job.id, .task_id = job.task_id, .state = JOB_PENDING, .created_at = self->wall};
    feeder_job_add(self->feeder, &live);
    self->urgent = true;
    answer->job = job.id;
    log_info("schedule.fired", "schedule=%s job=%llu late_ms=%lld scheduler=\"%s\"", row->name,
             (unsigned long long)job.id, (long long)(self->wall - msg->nominal_at), scheduler);
    return ERR_OK;
}

void core_on_tick(core_t *self, int broker, const uint8_t *peer, const msg_tick_t *msg)
{
    char name[65];
    str_copy(name, sizeof name, msg->schedule);
    uint64_t revision = 0;
    schedule_row_t row = {0};
    answer_t answer = {0};
    err_t err = store_schedules(self->store, &revision, NULL, NULL);
    if (!err && revision != msg->revision) {
        answer = (answer_t){TICK_STALE_REVISION, 0, "the schedules have changed"};
    } else if (!err) {
        err = store_schedule_get(self->store, name, &row);
        if (err == ERR_NOT_FOUND) {
            answer = (answer_t){TICK_REFUSED, 0, "no such schedule"};
            err = ERR_OK;
        } else if (!err) {
            answer = judge(self, msg, &row);
            if (answer.outcome == TICK_FIRED) {
                err = fire(self, msg, &row, &answer);
            }
            free(row.params);
        }
    }
    if (err) {
        log_warn("tick.not_recorded", "schedule=%s error=%s detail=\"%s\"", name, err_code(err),
                 err_text());
        return; /* the scheduler asks again */
    }
    msg_t reply = {.type = MSG_TICK_OK,
                   .tick_ok = {.schedule = msg->schedule,
                               .nominal_at = msg->nominal_at,
                               .outcome = answer.outcome,
                               .job = answer.job,
                               .text = str_of(answer.text)}};
    core_owe(self, broker, peer, &reply, NULL);
}

/* The turn of the api's loop, and the way back after a rolled-back one. */
#include "api/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/core_internal.h"
#include "common/log.h"

/* -- life
 * ---------------------------------------------------------------------------------------------- */

static void visit_task(void *context, const task_row_t *row)
{
    feeder_task_put(context, row);
}

typedef struct {
    core_t *core;
    uint64_t armed;
} load_t;

/* A leased batch is armed in full and spread over one more lease, so that a fleet that is still
 * there renews it and one that is not does not come back in one crowd. What the api had leased to
 * itself is gone with the process. */
static void visit_batch(void *context, const batch_row_t *row)
{
    load_t *load = context;
    core_t *self = load->core;
    live_job_t *job = feeder_job(self->feeder, row->job);
    INVARIANT(job);
    live_batch_t *batch = feeder_batch_add(self->feeder, job, row);
    if (row->state == BATCH_LEASED) {
        int64_t spread = (int64_t)(load->armed++ % 1000) * self->options.lease_ms / 1000;
        feeder_batch_until(self->feeder, batch, self->now + self->options.lease_ms + spread);
        if (job->task->flags & TASK_STORE) {
            feeder_batch_until(self->feeder, batch, self->now);
        }
    } else if (row->state == BATCH_RETRYING) {
        /* At most its whole backoff, wherever the wall clock has jumped meanwhile. */
        int64_t wait = row->not_before_at - self->wall;
        int64_t backoff = row->not_before_at - row->failed_at;
        wait = wait < backoff ? wait : backoff;
        feeder_batch_until(self->feeder, batch, self->now + (wait < 0 ? 0 : wait));
    } else {
        feeder_batch_ready(self->feeder, batch);
    }
}

static void visit_job(void *context, const job_row_t *row)
{
    feeder_job_add(context, row);
}

err_t core_load(core_t *self)
{
    feeder_destroy(&self->feeder);
    self->feeder = feeder_new();
    maintenance_reset(self->maintenance);
    err_t err = store_tasks(self->store, visit_task, self->feeder);
    if (!err) {
        err = store_jobs_live(self->store, visit_job, self->feeder);
    }
    if (!err) {
        err = store_batches_live(self->store, visit_batch, &(load_t){.core = self});
    }
    return err;
}

err_t core_open(core_t **out, store_t *store, const core_options_t *options, core_effects_t effects)
{
    core_t *self = mem_zero(sizeof *self);
    self->store = store;
    self->options = *options;
    str_copy(self->name, sizeof self->name, str_of(options->name));
    str_copy(self->host, sizeof self->host, str_of(options->host));
    self->options.name = self->name;
    self->options.host = self->host;
    self->effects = effects;
    self->peers = peers_new();
    self->arena = wire_arena_new();
    self->maintenance = maintenance_new();
    for (int i = 0; i < options->brokers_n; i++) {
        capacity_init(&self->brokers[i].capacity);
    }
    core_clock(self, options->now_ms, options->wall_at);
    self->opened_at = self->now;
    err_t err = core_load(self);
    if (!err) {
        err = core_ensure_schedules(self);
    }
    if (err) {
        core_destroy(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

static void run_after(core_t *self, err_t err)
{
    /* A call may ask for another one of the next turn: work on what is there now. */
    size_t n = self->after_n;
    for (size_t i = 0; i < n; i++) {
        self->after[i].call(self->after[i].context, err);
    }
    self->after_n -= n;
    if (self->after_n) {
        memmove(self->after, self->after + n, self->after_n * sizeof *self->after);
    }
}

void core_cancel_waiting(core_t *self)
{
    core_submissions_break(self);
    run_after(self, ERR_CANCELLED);
}

void core_destroy(core_t **self_ref)
{
    core_t *self = *self_ref;
    if (!self) {
        return;
    }
    core_cancel_waiting(self);
    for (size_t i = 0; i < self->owed_n; i++) {
        frames_free(&self->owed[i].frames);
    }
    for (int i = 0; i < self->options.brokers_n; i++) {
        capacity_free(&self->brokers[i].capacity);
    }
    maintenance_destroy(&self->maintenance);
    feeder_destroy(&self->feeder);
    peers_destroy(&self->peers);
    wire_arena_destroy(&self->arena);
    free(self->owed);
    free(self->unsent);
    free(self->after);
    free(self->aborted);
    free(self);
    *self_ref = NULL;
}

/* -- owed: leaves after the commit
 * ---------------------------------------------------------------------- */

static void owe(core_t *self, const owed_t *what)
{
    if (self->owed_n == self->owed_capacity) {
        self->owed_capacity = self->owed_capacity ? self->owed_capacity * 2 : 64;
        self->owed = mem_grow(self->owed, self->owed_capacity * sizeof *self->owed);
    }
    self->owed[self->owed_n++] = *what;
}

void core_owe(core_t *self, int broker, const uint8_t *peer, const msg_t *msg, blob_t *body)
{
    owed_t what = {.broker = broker, .frames = frames_of(msg, body)};
    if (peer) {
        frames_route(&what.frames, peer, WIRE_PEER_N);
    }
    owe(self, &what);
}

void core_owe_dispatch(core_t *self, int broker, frames_t *frames, const batch_row_t *row)
{
    owed_t what = {.broker = broker, .frames = *frames, .batch = row->id, .attempt = row->attempt};
    owe(self, &what);
}

void core_after_commit(core_t *self, core_after_t call, void *context)
{
    if (self->after_n == self->after_capacity) {
        self->after_capacity = self->after_capacity ? self->after_capacity * 2 : 16;
        self->after = mem_grow(self->after, self->after_capacity * sizeof *self->after);
    }
    self->after[self->after_n].call = call;
    self->after[self->after_n++].context = context;
    self->urgent = true;
}

/* At a start the connections are a few milliseconds younger than the first HELLO. */
static void hello_soon(core_t *self, int broker)
{
    if (!self->brokers[broker].up && self->now - self->opened_at < START_MS) {
        self->beat_at = self->now + HELLO_AGAIN_MS;
    }
}

static void send_owed(core_t *self)
{
    for (size_t i = 0; i < self->owed_n; i++) {
        owed_t *what = &self->owed[i];
        if (self->effects.send(self->effects.context, what->broker, &what->frames)) {
            continue;
        }
        if (!what->batch) {
            hello_soon(self, what->broker);
            continue;
        }
        /* Nothing left this process: as good as UNDELIVERABLE. */
        if (self->unsent_n == self->unsent_capacity) {
            self->unsent_capacity = self->unsent_capacity ? self->unsent_capacity * 2 : 16;
            self->unsent = mem_grow(self->unsent, self->unsent_capacity * sizeof *self->unsent);
        }
        self->unsent[self->unsent_n++] = *what;
        self->more = true;
    }
    self->owed_n = 0;
}

/* -- verbs
 * ---------------------------------------------------------------------------------------------- */

err_t core_verb(core_t *self)
{
    if (self->lost) {
        return err_set(ERR_UNAVAILABLE, "the running transaction was rolled back");
    }
    if (!store_in_turn(self->store)) {
        err_t err = store_begin(self->store);
        if (err == ERR_IO || err == ERR_CORRUPT) {
            self->lost = err;
        }
        if (err) {
            return err;
        }
    }
    return store_mark(self->store);
}

err_t core_verb_end(core_t *self, err_t err)
{
    bool kept = err == ERR_OK;
    if (kept) {
        err = store_keep(self->store);
    } else {
        store_undo(self->store);
    }
    if (!self->lost && kept && err) {
        self->lost = err; /* its mark still stands: neither kept nor undone */
    }
    if (!self->lost && (err == ERR_FULL || err == ERR_IO || err == ERR_CORRUPT)) {
        self->lost = err; /* the database may have rolled back by itself: the whole turn goes */
    } else if (!self->lost && store_turn_lost(self->store)) {
        self->lost = ERR_INTERNAL;
    }
    return err;
}

/* -- the turn
 * ------------------------------------------------------------------------------------------- */

/* A process that did not run (stopped, or stuck in a slow disk) has not heard its workers: that
 * time counts for nobody. How long it meant to sleep is no gap. */
void core_clock(core_t *self, int64_t now_ms, int64_t wall_at)
{
    int64_t stalled = now_ms - self->wake_at;
    if (self->raw_now == 0) {
        self->beat_at = now_ms;
    } else if (now_ms - self->raw_now > 1000 && stalled > 500) {
        self->shift += stalled;
        log_warn("api.gap", "ms=%lld", (long long)stalled);
    }
    self->raw_now = now_ms;
    self->wake_at = now_ms > self->wake_at ? now_ms : self->wake_at;
    self->now = now_ms - self->shift;
    self->wall = wall_at;
}

static void beat(core_t *self)
{
    if (self->now < self->beat_at) {
        return;
    }
    self->beat_at = self->now + self->options.heartbeat_ms;
    self->ping_seq++;
    for (int i = 0; i < self->options.brokers_n; i++) {
        broker_t *broker = &self->brokers[i];
        if (broker->up && self->now - broker->heard_at > 3 * self->options.heartbeat_ms) {
            broker->up = false;
            log_warn("api.broker_silent", "broker=%d", i);
        }
        if (!broker->up && !broker->missed && broker->heard_at == 0 &&
            self->now - self->opened_at > 3 * self->options.heartbeat_ms) {
            broker->missed = true;
            log_warn("api.broker_unreached", "broker=%d detail=\"no answer yet; see --brokers\"",
                     i);
        }
        if (broker->up) {
            msg_t ping = {.type = MSG_PING, .ping = {.seq = self->ping_seq}};
            core_owe(self, i, NULL, &ping, NULL);
        } else {
            core_broker_hello(self, i);
        }
    }
    peers_expire(self->peers, self->now - 3 * self->options.heartbeat_ms);
    if (self->full) {
        uint64_t space = 0, database = 0, log = 0;
        store_space(self->store, &space, &database, &log);
        if (space > (uint64_t)16 << 20) {
            store_reserve(self->store, true);
            self->full = false;
            for (int i = 0; i < self->options.brokers_n; i++) {
                core_broker_hello(self, i); /* they pass on the HELLOs that were not noted */
            }
            log_info("store.room_again", "free_bytes=%llu", (unsigned long long)space);
        }
    }
}

static void give_back_unsent(core_t *self)
{
    size_t n = self->unsent_n;
    for (size_t i = 0; i < n; i++) {
        owed_t what = self->unsent[i];
        if (self->brokers[what.broker].up) {
            core_broker_hello(self, what.broker); /* it would be counted as on its way for ever */
        }
        core_give_back(self, what.batch, what.attempt);
    }
    self->unsent_n = 0;
}

/* Nothing of this turn happened: drop what is owed and build the memory again from what is
 * committed. */
static err_t roll_back(core_t *self, err_t why)
{
    char text[512];
    snprintf(text, sizeof text, "%s", err_text());
    store_rollback(self->store);
    self->counters.rolled_back_n++;
    log_error("store.rolled_back", "error=%s detail=\"%s\"", err_code(why), text);
    for (size_t i = 0; i < self->owed_n; i++) {
        frames_free(&self->owed[i].frames);
    }
    self->owed_n = 0;
    self->unsent_n = 0;
    self->upload_since = 0;
    self->upload_bytes = 0;
    self->urgent = false;
    core_submissions_break(self);
    if (why == ERR_FULL) {
        self->full = true;
        store_reserve(self->store, false);
    }
    run_after(self, why);
    if (why == ERR_IO || why == ERR_CORRUPT) {
        /* What is on the disk is not known any more: only a new process may look. */
        return err_set(why, "%s", text);
    }
    for (int i = 0; i < self->options.brokers_n; i++) {
        self->brokers[i].up = false; /* what was counted as sent was not: begin anew */
    }
    self->beat_at = self->now + (why == ERR_FULL ? self->options.heartbeat_ms : 0);
    peers_destroy(&self->peers); /* the rows of a HELLO are gone: brokers pass it on again (P10) */
    self->peers = peers_new();
    return core_load(self);
}

/* While the disk is full nothing is begun of its own accord: it would fail, be rolled back and
 * begin again at once. What workers report is still tried. */
/* After a cleanup, between turns: some free pages go back to the file system each time. */
static void give_back_pages(core_t *self)
{
    bool more = false;
    if (!self->vacuum || store_in_turn(self->store)) {
        return;
    }
    err_t err = store_vacuum_step(self->store, VACUUM_PAGES, &more);
    if (err) {
        log_warn("store.vacuum_failed", "error=%s detail=\"%s\"", err_code(err), err_text());
    }
    self->vacuum = !err && more;
    self->more = self->more || self->vacuum;
}

static err_t turn(core_t *self)
{
    self->more = false;
    if (!self->lost) {
        beat(self);
    }
    if (!self->lost && !self->full) {
        give_back_unsent(self);
        core_expire(self);
        core_remove_aborted(self);
        self->more = maintenance_step(self->maintenance, self) || self->more;
        core_feed(self);
    }
    err_t err = ERR_OK;
    if (self->lost) {
        err = self->lost;
        self->lost = ERR_OK;
        return roll_back(self, err);
    }
    if (store_in_turn(self->store)) {
        bool wait = !self->urgent && self->owed_n == 0 && self->upload_since &&
                    self->now - self->upload_since < UPLOAD_WAIT_MS &&
                    self->upload_bytes < UPLOAD_WAIT_BYTES;
        if (wait) {
            return ERR_OK;
        }
        err = store_commit(self->store);
        self->upload_since = 0;
        self->upload_bytes = 0;
        self->urgent = false;
        if (err) {
            return roll_back(self, err);
        }
        self->counters.commits_n++;
    }
    self->urgent = false;
    send_owed(self);
    run_after(self, ERR_OK);
    err = store_sound(self->store);
    if (!err) {
        give_back_pages(self);
    }
    return err;
}

err_t core_turn(core_t *self)
{
    err_t err = turn(self);
    self->wake_at = core_next_at(self);
    return err;
}

int64_t core_next_at(const core_t *self)
{
    if (self->more || self->lost || self->after_n) {
        return self->raw_now;
    }
    int64_t next = self->beat_at;
    const live_batch_t *due = feeder_due(self->feeder);
    if (due) {
        /* While anything is out, turns come often enough for a gap of a second to mean a stalled
         * process. */
        next = due->deadline < next && !self->full ? due->deadline : next;
        next = self->now + 500 < next ? self->now + 500 : next;
    }
    if (self->upload_since && self->upload_since + UPLOAD_WAIT_MS < next) {
        next = self->upload_since + UPLOAD_WAIT_MS;
    }
    return next + self->shift;
}

/* -- for readers
 * ---------------------------------------------------------------------------------------- */

store_t *core_store(const core_t *self)
{
    return self->store;
}

feeder_t *core_feeder(const core_t *self)
{
    return self->feeder;
}

peers_t *core_peers(const core_t *self)
{
    return self->peers;
}

int64_t core_now(const core_t *self)
{
    return self->now;
}

int64_t core_wall(const core_t *self)
{
    return self->wall;
}

meter_sum_t core_minute(const core_t *self)
{
    return meter_minute(&self->meter, self->now);
}

meter_sum_t core_hour(const core_t *self)
{
    return meter_hour(&self->meter, self->now);
}

double core_job_rate(const core_t *self, uint64_t id)
{
    const live_job_t *job = feeder_job(self->feeder, id);
    return job ? feeder_job_rate(job, self->now) : 0;
}

bool core_broker_up(const core_t *self, int broker)
{
    return broker < self->options.brokers_n && self->brokers[broker].up;
}

bool core_full(const core_t *self)
{
    return self->full;
}

const core_health_t *core_last_health(const core_t *self)
{
    return &self->health;
}

const core_counters_t *core_counters(const core_t *self)
{
    return &self->counters;
}

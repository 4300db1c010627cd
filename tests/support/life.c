#include "tests/support/life.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "api/store/audit.h"
#include "api/store/internal.h"
#include "common/log.h"

enum {
    BEAT = 1000,
    LEASE = 9000,
    ACCEPT = 2000,
    MAX_STARTS = 10,
    FLYING = 64,
    CALM_STEPS = 4000,
    NAME_N = WIRE_PEER_N
};

/* An execution that the worker has. */
typedef struct {
    int attempt; /* in the notes */
    bool done;   /* reported, and not yet answered */
    bool failed;
} flying_t;

struct life {
    store_t *store;
    core_t *core;
    life_notes_t *notes;
    wire_arena_t *arena;
    bool calm, greet;
    err_t ended;          /* what a turn in the middle of a step said */
    uint64_t seq, number; /* of CAPACITY, of the newest DISPATCH */
    uint8_t worker[NAME_N];
    flying_t flying[FLYING];
    int flying_n;
    uint64_t revision; /* of the schedules */
    int64_t nominal_at;
};

static const uint8_t scheduler[NAME_N] = {9, 9};

life_notes_t *life_notes_new(uint64_t seed)
{
    void *memory =
        mmap(NULL, sizeof(life_notes_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    INVARIANT(memory != MAP_FAILED);
    life_notes_t *notes = memory;
    notes->seed = seed * 2 + 1;
    notes->now = 5000000;
    notes->wall = INT64_C(1790000000000);
    return notes;
}

void life_notes_destroy(life_notes_t **self)
{
    if (*self)
        munmap(*self, sizeof **self);
    *self = NULL;
}

static uint64_t draw(life_t *self, uint64_t below)
{
    uint64_t x = self->notes->seed;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    self->notes->seed = x;
    return (x >> 11) % below;
}

static void note_broken(life_t *self, const char *what, uint64_t batch, uint64_t attempt)
{
    if (!self->notes->broken[0])
        snprintf(self->notes->broken, sizeof self->notes->broken,
                 "%s (batch %" PRIu64 " attempt %" PRIu64 ")", what, batch, attempt);
}

/* -- what the api sends ------------------------------------------------------------------------ */

static void note_dispatch(life_t *self, const msg_dispatch_t *msg)
{
    life_notes_t *notes = self->notes;
    for (int i = 0; i < notes->attempts_n; i++) {
        const life_attempt_t *old = &notes->attempts[i];
        if (old->batch == msg->batch && old->attempt == msg->attempt)
            note_broken(self, "an attempt was sent twice", msg->batch, msg->attempt);
    }
    INVARIANT(notes->attempts_n < LIFE_ATTEMPTS);
    notes->attempts[notes->attempts_n] =
        (life_attempt_t){.batch = msg->batch,
                         .job = msg->job,
                         .attempt = (uint32_t)msg->attempt,
                         .is_finalize = msg->kind == WIRE_KIND_FINALIZE};
    if (self->flying_n < FLYING)
        self->flying[self->flying_n++] = (flying_t){.attempt = notes->attempts_n};
    notes->attempts_n++;
    self->number = msg->number > self->number ? msg->number : self->number;
}

static void land(life_t *self, int i)
{
    self->flying[i] = self->flying[--self->flying_n];
}

static void note_recorded(life_t *self, uint64_t batch, uint64_t attempt, bool recorded)
{
    for (int i = 0; i < self->flying_n; i++) {
        flying_t *at = &self->flying[i];
        life_attempt_t *it = &self->notes->attempts[at->attempt];
        if (it->batch == batch && it->attempt == attempt && at->done) {
            it->recorded = recorded && !at->failed;
            it->failed = recorded && at->failed;
            self->notes->recorded_n += it->recorded;
            land(self, i);
            return;
        }
    }
}

static void note_tick(life_t *self, const msg_tick_ok_t *msg)
{
    life_notes_t *notes = self->notes;
    if (msg->outcome == TICK_FIRED && notes->ticks_n < LIFE_TICKS)
        notes->ticks[notes->ticks_n++] = msg->job;
}

static bool on_send(void *context, int broker, frames_t *frames)
{
    life_t *self = context;
    msg_t msg = {0};
    (void)broker;
    if (store_in_turn(self->store))
        note_broken(self, "a message left before the commit", 0, 0);
    err_t err = wire_decode(self->arena, blob_data(frames->head), blob_n(frames->head), &msg);
    INVARIANT(!err);
    if (msg.type == MSG_DISPATCH)
        note_dispatch(self, &msg.dispatch);
    else if (msg.type == MSG_RECORDED)
        note_recorded(self, msg.recorded.batch, msg.recorded.attempt, true);
    else if (msg.type == MSG_DISCARDED)
        note_recorded(self, msg.discarded.batch, msg.discarded.attempt, false);
    else if (msg.type == MSG_TICK_OK)
        note_tick(self, &msg.tick_ok);
    else if (msg.type == MSG_SCHEDULES)
        self->revision = msg.schedules.revision;
    else if (msg.type == MSG_HELLO)
        self->greet = true;
    frames_free(frames);
    return true;
}

/* -- what the api hears ------------------------------------------------------------------------ */

static void hear(life_t *self, const uint8_t *peer, const msg_t *msg, const char *body)
{
    frames_t frames = frames_of(msg, body ? blob_new(body, strlen(body)) : NULL);
    if (peer)
        frames_route(&frames, peer, NAME_N);
    core_receive(self->core, 0, &frames);
}

static str_t broker_life(void)
{
    return str_bytes("broker-of-a-test", NAME_N);
}

static void greet(life_t *self)
{
    self->greet = false;
    hear(self, NULL,
         &(msg_t){.type = MSG_HELLO_OK,
                  .hello_ok = {.incarnation = broker_life(), .heartbeat_ms = BEAT}},
         NULL);
    hear(self, self->worker,
         &(msg_t){.type = MSG_HELLO,
                  .hello = {.role = WIRE_ROLE_WORKER,
                            .name = str_of("w1"),
                            .incarnation = str_bytes(self->worker, NAME_N),
                            .host = str_of("host"),
                            .slots = 4}},
         NULL);
}

static void say_capacity(life_t *self)
{
    static const uint64_t sizes[] = {100, 300, 1000, 1500};
    wire_capacity_t group = {.tasks =
                                 str_of("finalize_transactions,noop,process_transaction_batch"),
                             .max_items = sizes[draw(self, 4)],
                             .n = 1 + draw(self, 4)};
    hear(self, NULL,
         &(msg_t){.type = MSG_CAPACITY,
                  .capacity_is = {.seq = ++self->seq,
                                  .dispatches_seen = self->number,
                                  .groups = &group,
                                  .groups_n = 1,
                                  .broker = broker_life()}},
         NULL);
}

/* The same for the same execution, and of any length up to some pages. */
static void result_text(const life_attempt_t *it, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "{\"batch\":%" PRIu64 ",\"attempt\":%u,\"x\":\"",
                                it->batch, it->attempt);
    size_t more = it->is_finalize ? 100 + it->batch % 9000 : (it->batch * 7 + it->attempt) % 1500;
    memset(out + n, 'x', more);
    memcpy(out + n + more, "\"}", 3);
}

static void say_result(life_t *self, flying_t *flying)
{
    const life_attempt_t *it = &self->notes->attempts[flying->attempt];
    char body[10000];
    result_text(it, body, sizeof body);
    flying->done = true;
    hear(self, self->worker,
         &(msg_t){.type = MSG_RESULT,
                  .result = {.store_id = str_bytes(store_id(self->store), 16),
                             .batch = it->batch,
                             .attempt = it->attempt,
                             .worker = str_of("w1"),
                             .items_failed = it->batch % 3 == 0}},
         body);
}

static void say_failure(life_t *self, flying_t *flying)
{
    const life_attempt_t *it = &self->notes->attempts[flying->attempt];
    flying->done = flying->failed = true;
    hear(self, self->worker,
         &(msg_t){.type = MSG_FAILURE,
                  .failure = {.store_id = str_bytes(store_id(self->store), 16),
                              .batch = it->batch,
                              .attempt = it->attempt,
                              .worker = str_of("w1"),
                              .class = FAILURE_TASK_ERROR,
                              .backoff_ms = (int64_t)draw(self, 3000),
                              .text = str_of("it broke")}},
         NULL);
}

static void say_handed_back(life_t *self, const life_attempt_t *it)
{
    hear(self, self->worker,
         &(msg_t){.type = MSG_HANDED_BACK,
                  .handed_back = {.batch = it->batch, .attempt = it->attempt}},
         NULL);
}

static void say_heartbeat(life_t *self)
{
    wire_running_t running[FLYING];
    for (int i = 0; i < self->flying_n; i++) {
        const life_attempt_t *it = &self->notes->attempts[self->flying[i].attempt];
        running[i] = (wire_running_t){.batch = it->batch, .attempt = it->attempt};
    }
    hear(self, self->worker,
         &(msg_t){.type = MSG_HEARTBEAT,
                  .heartbeat = {.seq = 17,
                                .worker = str_of("w1"),
                                .slots = 4,
                                .memory_available = UINT64_C(8) << 30,
                                .batches = running,
                                .batches_n = (uint32_t)self->flying_n}},
         NULL);
}

static void say_partials_get(life_t *self)
{
    for (int i = 0; i < self->flying_n; i++) {
        const life_attempt_t *it = &self->notes->attempts[self->flying[i].attempt];
        if (it->is_finalize)
            hear(self, self->worker,
                 &(msg_t){.type = MSG_PARTIALS_GET,
                          .partials_get = {.batch = it->batch, .attempt = it->attempt}},
                 NULL);
    }
}

static void say_tick(life_t *self)
{
    if (!self->revision) {
        hear(self, scheduler,
             &(msg_t){.type = MSG_SCHEDULES_GET, .schedules_get = {.scheduler = str_of("s1")}},
             NULL);
        return;
    }
    self->nominal_at =
        self->nominal_at < self->notes->wall - 2000 ? self->notes->wall : self->nominal_at;
    hear(self, scheduler,
         &(msg_t){.type = MSG_TICK,
                  .tick = {.scheduler = str_of("s1"),
                           .revision = self->revision,
                           .schedule = str_of("health_check"),
                           .nominal_at = self->nominal_at++}},
         NULL);
}

/* -- clients ----------------------------------------------------------------------------------- */

typedef struct {
    life_t *life;
    uint64_t job, items;
    bool cancel;
} asked_t;

static void on_answer(void *context, err_t err)
{
    asked_t *asked = context;
    life_notes_t *notes = asked->life->notes;
    if (!err && !asked->cancel && notes->jobs_n < LIFE_JOBS)
        notes->jobs[notes->jobs_n++] = (life_job_t){.job = asked->job, .items = asked->items};
    for (int i = 0; !err && asked->cancel && i < notes->jobs_n; i++) {
        if (notes->jobs[i].job == asked->job) {
            notes->cancelled_n += !notes->jobs[i].cancelled;
            notes->jobs[i].cancelled = true;
        }
    }
    free(asked);
}

static void ask(life_t *self, const asked_t *what)
{
    asked_t *asked = mem_alloc(sizeof *asked);
    *asked = *what;
    asked->life = self;
    core_after_commit(self->core, on_answer, asked);
}

static err_t take_turn(life_t *self);

static err_t send_chunks(life_t *self, core_submission_t *submission, uint64_t items)
{
    char text[600];
    memset(text, 'z', sizeof text);
    for (uint64_t n; items > 0; items -= n) {
        n = items < 100 ? items : 100;
        size_t bytes = 4 + (size_t)draw(self, sizeof text - 4);
        err_t err = core_submit_chunk(submission, (uint32_t)n, n * 10, blob_new(text, bytes));
        if (!err && draw(self, 20) == 0) {
            self->notes->now += 60;
            err = self->ended = take_turn(self); /* a long upload spans turns */
        }
        if (err)
            return err;
    }
    return ERR_OK;
}

/* What the client is told then is in the notes; a refusal promises nothing. */
static err_t submit(life_t *self)
{
    bool rows = draw(self, 2);
    uint64_t items = draw(self, 2) ? 1 + draw(self, 5) : 1 + draw(self, 3000);
    submit_t what = {.task = rows ? "process_transaction_batch" : "noop",
                     .format = rows ? WIRE_FORMAT_CSV : WIRE_FORMAT_JSON,
                     .priority = (int)draw(self, 3)};
    core_submission_t *submission = NULL;
    const job_row_t *job = NULL;
    if (self->notes->jobs_n >= LIFE_JOBS - 8 || core_submit_open(&submission, self->core, &what))
        return ERR_OK;
    err_t err =
        rows ? core_submit_header(submission, "txn_id,ts,src,dst,amount,ccy", 28, 2) : ERR_OK;
    if (!err)
        err = send_chunks(self, submission, items);
    if (err || draw(self, 12) == 0)
        core_submit_abort(&submission); /* or the client went away */
    else if (!core_submit_close(&submission, &job))
        ask(self, &(asked_t){.job = job->id, .items = items});
    return self->ended;
}

static void cancel(life_t *self)
{
    life_notes_t *notes = self->notes;
    if (!notes->jobs_n)
        return;
    uint64_t job = notes->jobs[draw(self, (uint64_t)notes->jobs_n)].job;
    if (!core_cancel(self->core, job))
        ask(self, &(asked_t){.job = job, .cancel = true});
}

/* -- a step ------------------------------------------------------------------------------------ */

static err_t take_turn(life_t *self)
{
    core_clock(self->core, self->notes->now, self->notes->wall);
    err_t err = core_turn(self->core);
    self->notes->turns_n++;
    if (self->greet && !err)
        greet(self);
    return err;
}

static void work_of_a_worker(life_t *self)
{
    if (self->flying_n == 0) {
        say_capacity(self);
        return;
    }
    int i = (int)draw(self, (uint64_t)self->flying_n);
    flying_t *flying = &self->flying[i];
    const life_attempt_t *it = &self->notes->attempts[flying->attempt];
    uint64_t dice = self->calm ? 0 : draw(self, 20);
    if (dice < 14) {
        say_result(self, flying);
    } else if (dice < 16 && !flying->done) {
        say_failure(self, flying);
    } else if (dice < 17 && !flying->done) {
        say_handed_back(self, it);
        land(self, i);
    } else if (dice < 18 && !flying->done) {
        land(self, i); /* it vanished */
    } else {
        hear(self, self->worker,
             &(msg_t){
                 .type = MSG_ACCEPTED,
                 .accepted = {.batch = it->batch, .attempt = it->attempt, .worker = str_of("w1")}},
             NULL);
    }
}

static void pass(life_t *self, int64_t ms)
{
    self->notes->now += ms;
    self->notes->wall += ms;
    hear(self, NULL, &(msg_t){.type = MSG_PONG, .pong.broker = broker_life()}, NULL);
}

err_t life_step(life_t *self)
{
    uint64_t dice = draw(self, 20);
    err_t err = ERR_OK;
    core_clock(self->core, self->notes->now, self->notes->wall);
    if (dice < 8)
        work_of_a_worker(self);
    else if (dice < 11)
        say_capacity(self);
    else if (dice < 12)
        say_heartbeat(self);
    else if (dice < 13)
        say_partials_get(self);
    else if (dice < 15 || self->calm)
        pass(self, (int64_t)draw(self, 900));
    else if (dice < 18)
        err = submit(self);
    else if (dice < 19)
        say_tick(self);
    else if (draw(self, 3) == 0)
        cancel(self);
    return err ? err : take_turn(self);
}

static bool all_ended(life_t *self)
{
    for (int i = 0; i < self->notes->jobs_n; i++) {
        job_row_t row;
        if (store_read_job(self->store, self->notes->jobs[i].job, &row))
            return false;
        bool ended = job_state_terminal(row.state);
        job_row_free(&row);
        if (!ended)
            return false;
    }
    return true;
}

err_t life_finish(life_t *self)
{
    self->calm = true;
    for (int i = 0; i < CALM_STEPS; i++) {
        err_t err = life_step(self);
        if (err)
            return err;
        if (i % 32 == 31 && !store_in_turn(self->store) && all_ended(self))
            return ERR_OK;
    }
    return err_set(ERR_TIMEOUT, "the work does not end within %d steps", CALM_STEPS);
}

/* -- life -------------------------------------------------------------------------------------- */

err_t life_open(life_t **out, const char *directory, life_notes_t *notes)
{
    life_t *self = mem_zero(sizeof *self);
    self->notes = notes;
    self->arena = wire_arena_new();
    notes->now += 60000; /* leases of an earlier life may have ended */
    notes->wall += 60000;
    memcpy(self->worker, "        one life", NAME_N);
    wire_ticket_put(self->worker, (uint64_t)notes->now);
    core_options_t options = {.brokers_n = 1,
                              .heartbeat_ms = BEAT,
                              .lease_ms = LEASE,
                              .accept_lease_ms = ACCEPT,
                              .max_starts = MAX_STARTS,
                              .max_waiting_jobs = 1000,
                              .name = "api",
                              .host = "here",
                              .pid = 1,
                              .now_ms = notes->now,
                              .wall_at = notes->wall};
    memcpy(options.incarnation, self->worker, NAME_N);
    err_t err = store_open(
        &self->store,
        &(store_options_t){.directory = directory, .wall_at = notes->wall, .auto_migrate = true});
    if (!err) /* pages leave the memory, and are read again, within a turn */
        sqlite3_exec(self->store->writer, "PRAGMA cache_size = 5", NULL, NULL, NULL);
    if (!err)
        err = core_open(&self->core, self->store, &options,
                        (core_effects_t){.context = self, .send = on_send});
    if (!err)
        err = take_turn(self);
    if (!err)
        err = take_turn(self);
    if (err) {
        life_close(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

void life_close(life_t **self_ref)
{
    life_t *self = *self_ref;
    if (!self)
        return;
    *self_ref = NULL;
    core_destroy(&self->core);
    store_close(&self->store);
    wire_arena_destroy(&self->arena);
    free(self);
}

store_t *life_store(life_t *self)
{
    return self->store;
}

core_t *life_core(life_t *self)
{
    return self->core;
}

/* -- the look ---------------------------------------------------------------------------------- */

static bool answer_is(life_t *self, const char *sql, const char *want, char *out, size_t size)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(self->store->writer, sql, -1, &statement, NULL);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0)
                                          : sqlite3_errmsg(self->store->writer);
    bool same = code == SQLITE_ROW && text && strcmp(text, want) == 0;
    if (!same)
        snprintf(out, size, "%.80s: %.120s", sql, text ? text : "NULL");
    sqlite3_finalize(statement);
    return same;
}

static bool job_missing(life_t *self, const life_job_t *it, char *out, size_t size)
{
    job_row_t row;
    if (store_read_job(self->store, it->job, &row)) {
        snprintf(out, size, "job %" PRIu64 " was acknowledged and is lost: %.150s", it->job,
                 err_text());
        return true;
    }
    bool cancelled = row.state == JOB_CANCELLED;
    bool wrong = row.items_total != it->items || (it->cancelled && !cancelled);
    if (wrong)
        snprintf(out, size, "job %" PRIu64 " of %" PRIu64 " items (cancelled %d) is %s, %" PRIu64,
                 it->job, it->items, it->cancelled, job_state_name(row.state), row.items_total);
    job_row_free(&row);
    return wrong;
}

/* A recorded result is there to the byte; an attempt that left has its number used up. */
static bool attempt_missing(life_t *self, const life_attempt_t *it, char *out, size_t size)
{
    batch_row_t row;
    char want[10000], sql[400], problem[200] = "";
    if (store_batch_get(self->store, it->batch, &row) || row.attempt < it->attempt) {
        snprintf(out, size, "batch %" PRIu64 " attempt %u left and is not in the store", it->batch,
                 it->attempt);
        return true;
    }
    if (it->failed) {
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM attempt WHERE coalesce(batch_id, finalize_id) = %" PRIu64
                 " AND attempt = %u AND outcome IN ('failed', 'done')",
                 it->batch, it->attempt);
        if (!answer_is(self, sql, "1", problem, sizeof problem)) {
            snprintf(out, size, "the failure of batch %" PRIu64 " attempt %u is lost", it->batch,
                     it->attempt);
            return true;
        }
    }
    if (!it->recorded)
        return false;
    result_text(it, want, sizeof want);
    snprintf(sql, sizeof sql,
             it->is_finalize
                 ? "SELECT report FROM processing_job j JOIN finalize f ON f.job_id = j.id WHERE "
                   "f.id = %" PRIu64 " AND f.state = 'done'"
                 : "SELECT cast(coalesce(result, (SELECT data FROM batch_result WHERE batch_id = "
                   "b.id)) AS TEXT) FROM batch b WHERE id = %" PRIu64 " AND state = 'done'",
             it->batch);
    if (answer_is(self, sql, want, problem, sizeof problem))
        return false;
    snprintf(out, size,
             "the result of batch %" PRIu64 " attempt %u was recorded and is lost (%.90s)",
             it->batch, it->attempt, problem);
    return true;
}

bool life_broken(life_t *self, char *out, size_t size)
{
    static const struct {
        const char *sql, *want;
    } rules[] = {
        {"PRAGMA integrity_check", "ok"},
        {"SELECT count(*) FROM pragma_foreign_key_check", "0"},
        {"SELECT count(*) FROM processing_job WHERE state = 'receiving'", "0"},
        {"SELECT coalesce(sum(n), 0) - (SELECT count(*) FROM processing_job) FROM task_count", "0"},
        {"SELECT count(*) FROM processing_job j WHERE (attempts_n, failures_n, lost_n) <> (SELECT "
         "count(*), coalesce(sum(outcome = 'failed'), 0), coalesce(sum(outcome = 'lost'), 0) FROM "
         "attempt a LEFT JOIN batch b ON b.id = a.batch_id LEFT JOIN finalize f ON f.id = "
         "a.finalize_id WHERE coalesce(b.job_id, f.job_id) = j.id)",
         "0"},
        {"SELECT count(*) FROM processing_job j WHERE batches_done <> (SELECT count(*) FROM batch "
         "WHERE job_id = j.id AND state = 'done')",
         "0"},
        {"SELECT count(*) FROM chunk c LEFT JOIN processing_job j ON j.id = c.job_id WHERE j.id IS "
         "NULL",
         "0"}};
    life_notes_t *notes = self->notes;
    snprintf(out, size, "%s", notes->broken);
    bool broken = out[0] || store_audit(self->store, MAX_STARTS, out, size);
    for (size_t i = 0; i < sizeof rules / sizeof *rules && !broken; i++)
        broken = !answer_is(self, rules[i].sql, rules[i].want, out, size);
    for (int i = 0; i < notes->jobs_n && !broken; i++)
        broken = job_missing(self, &notes->jobs[i], out, size);
    for (int i = 0; i < notes->attempts_n && !broken; i++)
        broken = attempt_missing(self, &notes->attempts[i], out, size);
    for (int i = 0; i < notes->ticks_n && !broken; i++) {
        char sql[120];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM tick WHERE job_id = %" PRIu64,
                 notes->ticks[i]);
        broken = !answer_is(self, sql, "1", out, size);
    }
    return broken;
}

bool life_left_broken(const char *directory, life_notes_t *notes, char *out, size_t size)
{
    life_t *life = NULL;
    err_t err = life_open(&life, directory, notes);
    if (err) {
        snprintf(out, size, "it does not start again: %s", err_text());
        return true;
    }
    sqlite3_exec(life->store->writer, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    bool broken = life_broken(life, out, size);
    if (!broken) {
        err = life_finish(life);
        if (err)
            snprintf(out, size, "the work does not end: %s", err_text());
        broken = err || life_broken(life, out, size);
    }
    life_close(&life);
    return broken;
}

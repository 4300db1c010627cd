/* The api's core over the real store, in memory; and the client that believes every
 * acknowledgement. */
#include <stdlib.h>
#include <string.h>

#include "api/core.h"
#include "api/store/audit.h"
#include "api/store/store_sim.h"
#include "tests/sim/sim.h"

typedef struct {
    store_t *store; /* outlives crashes */
    core_t *core;
    void *backup;
    size_t backup_n;
    bool full;
} api_t;

static api_t api; /* one simulation a process (Check forks) */

static bool send_frames(void *context, int broker, frames_t *frames)
{
    return sim_to_broker(context, broker, frames);
}

static void start(node_t *node)
{
    sim_t *sim = node->sim;
    if (!api.store) {
        store_options_t options = {.wall_at = sim_wall(sim)};
        if (store_open(&api.store, &options)) {
            sim_fail(sim, "store: %s", err_text());
        }
    }
    core_options_t options = {.brokers_n = SIM_BROKERS,
                              .heartbeat_ms = SIM_HEARTBEAT,
                              .lease_ms = SIM_LEASE,
                              .accept_lease_ms = SIM_ACCEPT,
                              .max_starts = SIM_MAX_STARTS,
                              .max_waiting_jobs = 1000,
                              .name = "api",
                              .host = "sim",
                              .now_ms = sim->now,
                              .wall_at = sim_wall(sim)};
    for (size_t i = 0; i < sizeof options.incarnation; i++) {
        options.incarnation[i] = (uint8_t)sim_random(sim, 256);
    }
    core_effects_t effects = {.context = node, .send = send_frames};
    err_t err = core_open(&api.core, api.store, &options, effects);
    if (err) {
        /* As the real process: it ends, and is started again. */
        sim_trace(sim, "api did not start: %s", err_text());
        api.core = NULL;
        node->up = false;
        node->start_at = sim->now + 500;
    }
    node->self = &api;
}

static void crash(node_t *node)
{
    (void)node;
    core_destroy(&api.core);
    if (store_in_turn(api.store)) {
        store_rollback(api.store);
    }
    store_forget(api.store);
}

static void end(node_t *node)
{
    (void)node;
    store_close(&api.store);
    free(api.backup);
    api = (api_t){0};
}

static void receive(node_t *node, int broker, const link_id_t *from, bool backend, frames_t *frames)
{
    (void)from;
    (void)backend;
    core_clock(api.core, node->sim->now, sim_wall(node->sim));
    core_receive(api.core, broker, frames);
}

static void turn(node_t *node)
{
    core_clock(api.core, node->sim->now, sim_wall(node->sim));
    err_t err = core_turn(api.core);
    if (err && err != ERR_FULL) {
        sim_fail(node->sim, "the api would end: %s", err_text());
    }
    if (err) {
        crash(node); /* the way back needs the disk too: a real process would end here */
        node->up = false;
        node->start_at = node->sim->now + 500;
    }
}

static int64_t next_at(node_t *node)
{
    (void)node;
    return core_next_at(api.core);
}

const room_t sim_api_room = {start, crash, receive, turn, next_at, end};

/* -- the client
 * ----------------------------------------------------------------------------------------- */

static node_t *awake(sim_t *sim)
{
    node_t *node = sim_node(sim, NODE_API, 0);
    return node->up && node->paused_until <= sim->now ? node : NULL;
}

typedef struct {
    sim_t *sim;
    uint64_t job, items;
    bool cancel;
} wait_t;

static void after(void *context, err_t err)
{
    wait_t *wait = context;
    if (!err && wait->cancel) {
        journal_cancelled(wait->sim, wait->job);
        sim_trace(wait->sim, "cancelled %llu", (unsigned long long)wait->job);
    } else if (!err) {
        journal_acknowledged(wait->sim, wait->job, wait->items);
        sim_trace(wait->sim, "acknowledged %llu, %llu items", (unsigned long long)wait->job,
                  (unsigned long long)wait->items);
    }
    free(wait);
}

static void wait_for(sim_t *sim, uint64_t job, uint64_t items, bool cancel)
{
    wait_t *wait = mem_zero(sizeof *wait);
    *wait = (wait_t){.sim = sim, .job = job, .items = items, .cancel = cancel};
    core_after_commit(api.core, after, wait);
}

static err_t send_items(sim_t *sim, core_submission_t *submission, uint64_t items)
{
    err_t err = core_submit_header(submission, "txn_id,ts,src,dst,amount,ccy", 28, 2);
    while (items > 0 && !err) {
        uint32_t n = (uint32_t)(items < 100 ? items : 100);
        err = core_submit_chunk(submission, n, n * 10, blob_new("zstd", 4));
        items -= n;
        if (!err && sim_chance(sim, 50)) {
            err = core_turn(api.core); /* a long upload spans turns */
            core_clock(api.core, sim->now, sim_wall(sim));
        }
    }
    return err;
}

void sim_api_submit(sim_t *sim)
{
    if (!awake(sim) || journal_n(sim) > 60) {
        return;
    }
    core_clock(api.core, sim->now, sim_wall(sim));
    bool limited = sim_chance(sim, 500);
    uint64_t items = sim_chance(sim, 500) ? 1 + sim_random(sim, 5) : 1 + sim_random(sim, 4000);
    submit_t what = {.task = limited ? "process_transaction_batch" : "noop",
                     .format = limited ? WIRE_FORMAT_CSV : WIRE_FORMAT_JSON,
                     .priority = (int)sim_random(sim, 3)};
    core_submission_t *submission = NULL;
    if (core_submit_open(&submission, api.core, &what)) {
        return; /* disk full, or too many */
    }
    err_t err = send_items(sim, submission, items);
    if (err || sim_chance(sim, 50)) {
        core_submit_abort(&submission); /* or the client went away */
        return;
    }
    const job_row_t *job = NULL;
    if (!core_submit_close(&submission, &job)) {
        wait_for(sim, job->id, items, false);
    }
}

void sim_api_cancel(sim_t *sim)
{
    if (!awake(sim) || journal_n(sim) == 0) {
        return;
    }
    core_clock(api.core, sim->now, sim_wall(sim));
    promise_t *promise = journal_at(sim, (int)sim_random(sim, (uint64_t)journal_n(sim)));
    if (!core_cancel(api.core, promise->job)) {
        wait_for(sim, promise->job, 0, true);
    }
}

/* -- faults of the disk
 * --------------------------------------------------------------------------------- */

void sim_api_disk(sim_t *sim, bool full)
{
    if (api.store && api.full != full) {
        sim_trace(sim, "DISK %s", full ? "full" : "has room");
        store_sim_full(api.store, full);
        api.full = full;
    }
}

void sim_api_backup(sim_t *sim)
{
    node_t *node = awake(sim);
    if (node && !store_in_turn(api.store)) {
        free(api.backup);
        if (store_sim_backup(api.store, &api.backup, &api.backup_n)) {
            sim_fail(sim, "backup: %s", err_text());
        }
        journal_backup(sim);
        sim_trace(sim, "BACKUP %zu bytes", api.backup_n);
    }
}

/* The operator stops the api, puts the backup in place and starts it again: a new store id. */
void sim_api_restore(sim_t *sim)
{
    node_t *node = awake(sim);
    if (!node || !api.backup_n) {
        return;
    }
    crash(node);
    node->up = false;
    node->start_at = sim->now + 500;
    sim_api_disk(sim, false);
    if (store_sim_restore(api.store, api.backup, api.backup_n)) {
        sim_fail(sim, "restore: %s", err_text());
    }
    store_forget(api.store);
    journal_restore(sim);
    sim->restored = true;
    sim_trace(sim, "RESTORE");
}

/* -- invariants
 * ----------------------------------------------------------------------------------------- */

bool sim_api_all_ended(sim_t *sim)
{
    if (!awake(sim)) {
        return false;
    }
    for (int i = 0; i < journal_n(sim); i++) {
        job_row_t row;
        if (store_read_job(api.store, journal_at(sim, i)->job, &row)) {
            sim_fail(sim, "job %llu was acknowledged and is lost",
                     (unsigned long long)journal_at(sim, i)->job);
        }
        bool ended = job_state_terminal(row.state);
        job_row_free(&row);
        if (!ended) {
            return false;
        }
    }
    return true;
}

static void look(sim_t *sim, promise_t *promise)
{
    job_row_t row;
    if (store_read_job(api.store, promise->job, &row)) {
        sim_fail(sim, "job %llu was acknowledged and is lost: %s", (unsigned long long)promise->job,
                 err_text());
    }
    uint64_t seen = row.items_done + row.items_failed;
    if (row.items_total != promise->items) {
        sim_fail(sim, "job %llu has %llu items, not %llu", (unsigned long long)row.id,
                 (unsigned long long)row.items_total, (unsigned long long)promise->items);
    }
    if (seen < promise->seen || seen > promise->items) {
        sim_fail(sim, "progress of job %llu went from %llu to %llu", (unsigned long long)row.id,
                 (unsigned long long)promise->seen, (unsigned long long)seen);
    }
    if ((row.state == JOB_COMPLETED) && seen != promise->items) {
        sim_fail(sim, "job %llu is completed with %llu of %llu items", (unsigned long long)row.id,
                 (unsigned long long)seen, (unsigned long long)promise->items);
    }
    if (promise->cancelled && row.state != JOB_CANCELLED) {
        sim_fail(sim, "job %llu was cancelled and is %s", (unsigned long long)row.id,
                 job_state_name(row.state));
    }
    promise->seen = seen;
    job_row_free(&row);
}

void sim_api_watch(sim_t *sim)
{
    if (!awake(sim) || store_in_turn(api.store)) {
        return;
    }
    for (int i = 0; i < journal_n(sim); i++) {
        look(sim, journal_at(sim, i));
    }
    char broken[200];
    if (sim_chance(sim, 100) && store_audit(api.store, SIM_MAX_STARTS, broken, sizeof broken)) {
        sim_fail(sim, "%s", broken);
    }
}

/* A start is given back only on proof that nothing ran: so no batch has run more often than its row
 * says. */
void sim_api_count(sim_t *sim)
{
    char broken[200];
    if (awake(sim) && store_audit(api.store, SIM_MAX_STARTS, broken, sizeof broken)) {
        sim_fail(sim, "%s", broken);
    }
    uint64_t batch = 0;
    uint32_t executions = 0;
    for (int i = 0; !sim->restored && journal_batch(sim, i, &batch, &executions); i++) {
        batch_row_t row;
        if (!store_batch_get(api.store, batch, &row) && executions > row.starts) {
            sim_fail(sim, "batch %llu ran %u times and counts %u starts", (unsigned long long)batch,
                     executions, row.starts);
        }
    }
}

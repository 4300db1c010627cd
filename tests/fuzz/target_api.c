/* The api's core over the real store, in memory. Each step is a byte and what it needs: messages of
 * brokers, workers and schedulers with ids from what was dispatched, submissions, time, a full
 * disk, restarts. Outside it is written down what was promised; the rows are audited. */
#include "api/core.h"
#include "api/store/audit.h"
#include "api/store/store_sim.h"
#include "tests/fuzz/fuzz.h"

enum {
    BROKERS = 2,
    DISPATCHES_N = 2048,
    JOBS_N = 64,
    LEASE = 9000,
    ACCEPT = 2000,
    MAX_STARTS = 5,
    SPINS = 400
};
#define WALL INT64_C(1790000000000)

typedef struct {
    uint64_t job, batch, attempt, kind, batches_n;
    int broker;
    bool proved;        /* given back by a proof that is true */
    msg_type_t outcome; /* RESULT or FAILURE: an attempt has one */
} dispatched_t;

typedef struct {
    uint64_t job, items, seen;
    bool cancelled;
} promise_t;

typedef struct {
    uint64_t job, items;
    bool cancel;
} wait_t;

static store_t *store;
static core_t *core;
static wire_arena_t *arena;
static int64_t now;
static uint8_t life, broker_life[BROKERS];
static uint64_t capacity_seq[BROKERS], dispatches_seen[BROKERS];
static dispatched_t dispatched[DISPATCHES_N];
static uint32_t dispatched_n;
static promise_t promises[JOBS_N];
static uint32_t promises_n;
static bool unconnected, full;

static int64_t wall(void)
{
    return WALL + now;
}

/* -- what it does
 * -----------------------------------------------------------------------------------------------
 */

static void on_dispatch(int broker, const msg_dispatch_t *msg)
{
    for (uint32_t i = 0; i < dispatched_n; i++) {
        FUZZ_CHECK(dispatched[i].batch != msg->batch || dispatched[i].attempt < msg->attempt,
                   "batch %llu attempt %llu is sent again (P16)", (unsigned long long)msg->batch,
                   (unsigned long long)msg->attempt);
    }
    FUZZ_CHECK(msg->number > dispatches_seen[broker], "a number that has been (P16)");
    dispatches_seen[broker] = msg->number;
    batch_row_t row;
    FUZZ_CHECK(store_batch_get(store, msg->batch, &row) == ERR_OK, "a batch that is not stored");
    FUZZ_CHECK(row.state == BATCH_LEASED && row.attempt == msg->attempt,
               "a DISPATCH of what is not leased");
    if (dispatched_n < DISPATCHES_N) {
        dispatched[dispatched_n++] = (dispatched_t){.job = msg->job,
                                                    .batch = msg->batch,
                                                    .attempt = msg->attempt,
                                                    .kind = msg->kind,
                                                    .batches_n = msg->batches_n,
                                                    .broker = broker};
    }
}

static bool on_send(void *context, int broker, frames_t *frames)
{
    (void)context;
    FUZZ_CHECK(!store_in_turn(store), "a message leaves before the commit");
    msg_t msg;
    FUZZ_CHECK(wire_decode(arena, blob_data(frames->head), blob_n(frames->head), &msg) == ERR_OK,
               "it sent what is no message: %s", err_text());
    if (msg.type == MSG_DISPATCH) {
        on_dispatch(broker, &msg.dispatch);
    }
    frames_free(frames);
    return !unconnected;
}

/* -- life
 * -----------------------------------------------------------------------------------------------
 */

static void start_api(void)
{
    core_options_t options = {.brokers_n = BROKERS,
                              .heartbeat_ms = 1000,
                              .lease_ms = LEASE,
                              .accept_lease_ms = ACCEPT,
                              .max_starts = MAX_STARTS,
                              .max_waiting_jobs = 40,
                              .name = "api",
                              .host = "h",
                              .pid = 1,
                              .now_ms = now,
                              .wall_at = wall()};
    options.incarnation[0] = ++life;
    memset(dispatches_seen, 0, sizeof dispatches_seen); /* numbers are of a life */
    err_t err = core_open(&core, store, &options, (core_effects_t){.send = on_send});
    if (err) {
        FUZZ_CHECK(err == ERR_FULL, "it does not start: %s", err_text());
        core = NULL;
    }
}

static void stop_api(void)
{
    core_destroy(&core);
    if (store_in_turn(store)) {
        store_rollback(store);
    }
    (void)!store_forget(store);
}

static void look(promise_t *promise)
{
    job_row_t row;
    FUZZ_CHECK(store_read_job(store, promise->job, &row) == ERR_OK,
               "job %llu was acknowledged and is lost (G1)", (unsigned long long)promise->job);
    uint64_t seen = row.items_done + row.items_failed;
    FUZZ_CHECK(row.items_total == promise->items, "items are missing");
    FUZZ_CHECK(seen >= promise->seen && seen <= promise->items, "progress goes back (G7)");
    FUZZ_CHECK(row.state != JOB_COMPLETED || seen == promise->items, "completed with items left");
    FUZZ_CHECK(!promise->cancelled || row.state == JOB_CANCELLED, "a cancel is not final (G8)");
    promise->seen = seen;
    job_row_free(&row);
}

static void turn(void)
{
    if (!core) {
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        core_clock(core, now, wall());
        err_t err = core_turn(core);
        FUZZ_CHECK(!err || err == ERR_FULL, "the api would end: %s", err_text());
        if (err) { /* as the real process: it ends, and is started again */
            stop_api();
            return;
        }
        if (core_next_at(core) > now) {
            break;
        }
        FUZZ_CHECK(i + 1 < SPINS, "the loop spins");
    }
    for (uint32_t i = 0; i < promises_n; i++) {
        look(&promises[i]);
    }
}

/* -- what happens to it
 * -----------------------------------------------------------------------------------------------
 */

static const uint8_t *worker_id(uint32_t who)
{
    static uint8_t id[WIRE_PEER_N];
    memset(id, 0, sizeof id);
    id[7] = (uint8_t)(1 + who / 3); /* rises with each start */
    id[8] = (uint8_t)(who % 3);
    return id;
}

static str_t worker_name(uint32_t who)
{
    static const char *const names[] = {"w0", "w1", "w2"};
    return str_of(names[who % 3]);
}

static str_t life_of(int broker)
{
    static uint8_t incarnation[WIRE_PEER_N];
    incarnation[0] = (uint8_t)(0xb0 + broker);
    incarnation[1] = broker_life[broker];
    return str_bytes(incarnation, sizeof incarnation);
}

static void hear(int broker, const uint8_t *peer, const msg_t *msg, const char *body)
{
    frames_t frames = frames_of(msg, body ? blob_new(body, strlen(body)) : NULL);
    if (peer) {
        frames_route(&frames, peer, WIRE_PEER_N);
    }
    core_receive(core, broker, &frames);
    FUZZ_CHECK(!frames.head, "frames are left");
}

static void hello_ok(int broker)
{
    msg_t msg = {.type = MSG_HELLO_OK,
                 .hello_ok = {.incarnation = life_of(broker), .heartbeat_ms = 1000}};
    hear(broker, NULL, &msg, NULL);
}

static void capacity(feed_t *feed)
{
    static const char *const tasks[] = {"noop,process_transaction_batch,finalize_transactions",
                                        "noop", "process_transaction_batch",
                                        "finalize_transactions"};
    int broker = (int)feed_below(feed, BROKERS);
    wire_capacity_t groups[2];
    uint32_t n = feed_below(feed, 3);
    for (uint32_t i = 0; i < n; i++) {
        groups[i] = (wire_capacity_t){
            .tasks = str_of(tasks[feed_below(feed, 4)]),
            .max_items = feed_chance(feed, 8) ? feed_u64(feed) : 100 * feed_below(feed, 16),
            .n = feed_chance(feed, 8) ? feed_u64(feed) : feed_below(feed, 4)};
    }
    msg_t msg = {.type = MSG_CAPACITY,
                 .capacity_is = {.seq = ++capacity_seq[broker] - (feed_chance(feed, 16) ? 1 : 0),
                                 .dispatches_seen =
                                     dispatches_seen[broker] - (feed_chance(feed, 32) ? 1 : 0),
                                 .groups = groups,
                                 .groups_n = n,
                                 .broker = life_of(broker)}};
    hear(broker, NULL, &msg, NULL);
}

/* One of the newest dispatches, seldom something that never was. */
static dispatched_t pick(feed_t *feed, dispatched_t **which)
{
    uint32_t back = feed_below(feed, 16);
    *which = back < dispatched_n ? &dispatched[dispatched_n - 1 - back] : NULL;
    dispatched_t it = *which ? **which : (dispatched_t){.batch = back, .attempt = 1};
    if (feed_chance(feed, 16)) {
        it.attempt += feed_below(feed, 3);
        *which = NULL;
        for (uint32_t i = 0; i < dispatched_n; i++) {
            if (dispatched[i].batch == it.batch && dispatched[i].attempt == it.attempt) {
                *which = &dispatched[i];
            }
        }
    }
    return it;
}

static void outcome(feed_t *feed, msg_type_t type)
{
    dispatched_t *which, it = pick(feed, &which);
    uint32_t who = feed_below(feed, 6);
    str_t id = str_bytes(store_id(store), WIRE_PEER_N), worker = worker_name(who);
    if (feed_chance(feed, 8)) {
        id = str_of("another store...");
    }
    msg_t msg = {.type = type};
    /* No worker says both that it ran and that it did not, or two outcomes of one attempt. */
    bool proof = type == MSG_REFUSED || type == MSG_HANDED_BACK || type == MSG_UNDELIVERABLE;
    bool end = type == MSG_RESULT || type == MSG_FAILURE;
    if (which && ((proof && which->outcome) || (!proof && which->proved) ||
                  (end && which->outcome && which->outcome != type))) {
        return;
    }
    if (which) {
        which->proved = which->proved || proof;
        which->outcome = end ? type : which->outcome;
    }
    switch ((int)type) {
    case MSG_ACCEPTED:
        msg.accepted = (msg_accepted_t){it.batch, it.attempt, worker};
        break;
    case MSG_REFUSED:
        msg.refused = (msg_refused_t){it.batch, it.attempt, worker, str_of("no")};
        break;
    case MSG_HANDED_BACK:
        msg.handed_back = (msg_handed_back_t){it.batch, it.attempt, worker, str_of("late")};
        break;
    case MSG_UNDELIVERABLE:
        msg.undeliverable = (msg_undeliverable_t){it.batch, it.attempt, capacity_seq[it.broker],
                                                  life_of(it.broker)};
        hear(it.broker, NULL, &msg, NULL);
        return;
    case MSG_RESULT:
        msg.result = (msg_result_t){
            .store_id = id,
            .batch = it.batch,
            .attempt = it.attempt,
            .worker = worker,
            .items_failed = feed_chance(feed, 16) ? feed_u64(feed) : feed_below(feed, 3),
            .duration_us = feed_chance(feed, 8) ? (int64_t)feed_u64(feed) : 7};
        if (feed_chance(feed, 16)) {
            msg.result.raw_bytes = feed_u64(feed);
            msg.result.job_error = str_of("E_TOO_MANY_BAD");
        }
        break;
    case MSG_FAILURE:
        msg.failure =
            (msg_failure_t){.store_id = id,
                            .batch = it.batch,
                            .attempt = it.attempt,
                            .worker = worker,
                            .class = feed_below(feed, 7),
                            .permanent = feed_chance(feed, 32),
                            .backoff_ms = feed_chance(feed, 8) ? (int64_t)feed_u64(feed)
                                                               : (int64_t)feed_below(feed, 5000),
                            .text = str_of("it broke")};
        break;
    default:
        msg.partials_get = (msg_partials_get_t){id, it.batch, it.attempt, feed_below(feed, 4)};
    }
    hear((int)feed_below(feed, BROKERS), worker_id(who), &msg,
         type == MSG_RESULT ? "result" : NULL);
}

static void worker_hello(feed_t *feed)
{
    uint32_t who = feed_below(feed, 6);
    wire_task_offer_t offers[] = {{.name = str_of("noop"), .max_attempts = 3},
                                  {.name = str_of("process_transaction_batch"),
                                   .finalize = str_of("finalize_transactions"),
                                   .rate_n = 10,
                                   .rate_window_ms = 60000}};
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.role = WIRE_ROLE_WORKER,
                           .name = worker_name(who),
                           .incarnation = str_bytes(worker_id(who), WIRE_PEER_N),
                           .host = str_of("h"),
                           .slots = 2,
                           .tasks = offers,
                           .tasks_n = 2}};
    hear((int)feed_below(feed, BROKERS), worker_id(who), &msg, NULL);
}

static void heartbeat(feed_t *feed)
{
    uint32_t who = feed_below(feed, 6), n = feed_below(feed, 4);
    wire_running_t running[3];
    for (uint32_t i = 0; i < n; i++) {
        dispatched_t *which, it = pick(feed, &which);
        running[i] = (wire_running_t){it.batch, it.attempt, feed_byte(feed)};
    }
    msg_t msg = {.type = MSG_HEARTBEAT,
                 .heartbeat = {.seq = feed_byte(feed),
                               .worker = worker_name(who),
                               .slots = 2,
                               .memory_available = feed_chance(feed, 16) ? feed_u64(feed) : 1 << 30,
                               .batches = running,
                               .batches_n = n}};
    hear((int)feed_below(feed, BROKERS), worker_id(who), &msg, NULL);
}

static void tick(feed_t *feed)
{
    static const char *const names[] = {"health_check", "cleanup_old_jobs", "unknown"};
    uint8_t id[WIRE_PEER_N] = {0, 0, 0, 0, 0, 0, 0, 9};
    msg_t msg = {.type = MSG_TICK,
                 .tick = {.scheduler = str_of("s"),
                          .revision = feed_below(feed, 4),
                          .schedule = str_of(names[feed_below(feed, 3)]),
                          .nominal_at = wall() / 60000 * 60000 -
                                        60000 * (int64_t)feed_below(feed, 8) +
                                        (feed_chance(feed, 16) ? 3600000 : 0)}};
    if (feed_chance(feed, 16)) {
        msg.tick.nominal_at = (int64_t)feed_u64(feed);
    }
    if (feed_chance(feed, 64)) {
        msg = (msg_t){.type = MSG_SCHEDULES_GET, .schedules_get = {str_of("s"), 0}};
    }
    hear((int)feed_below(feed, BROKERS), id, &msg, NULL);
}

static void after(void *context, err_t err)
{
    wait_t *wait = context;
    for (uint32_t i = 0; !err && wait->cancel && i < promises_n; i++) {
        promises[i].cancelled = promises[i].cancelled || promises[i].job == wait->job;
    }
    if (!err && !wait->cancel && promises_n < JOBS_N) {
        promises[promises_n++] = (promise_t){.job = wait->job, .items = wait->items};
    }
    free(wait);
}

static void wait_for(uint64_t job, uint64_t items, bool cancel)
{
    wait_t *wait = malloc(sizeof *wait);
    *wait = (wait_t){job, items, cancel};
    core_after_commit(core, after, wait);
}

static void submit(feed_t *feed)
{
    uint32_t how = feed_byte(feed);
    bool limited = how & 1;
    uint32_t items = how & 2 ? 1 + feed_below(feed, 5) : 1 + feed_below(feed, 3000), left = items;
    submit_t what = {.task = limited ? "process_transaction_batch" : "noop",
                     .format = limited ? WIRE_FORMAT_CSV : WIRE_FORMAT_JSON,
                     .priority = (int)(how >> 2 & 3)};
    core_submission_t *submission = NULL;
    if (core_submit_open(&submission, core, &what)) {
        return;
    }
    err_t err =
        limited ? core_submit_header(submission, "txn_id,ts,src,dst,amount,ccy", 28, 2) : ERR_OK;
    while (left > 0 && !err) {
        uint32_t n = left < 100 ? left : 100;
        err = core_submit_chunk(submission, n, n * 10, blob_new("zstd", 4));
        left -= n;
        if (!err && (how & 0xc0) == 0xc0) { /* a long upload spans turns */
            err = core_turn(core);
            core_clock(core, now, wall());
        }
    }
    const job_row_t *job = NULL;
    if (err || (how & 0x30) == 0x30) {
        core_submit_abort(&submission); /* or the client went away */
    } else if (!core_submit_close(&submission, &job)) {
        wait_for(job->id, items, false);
    }
}

static void cancel(feed_t *feed)
{
    uint32_t i = feed_below(feed, 16);
    uint64_t job = i < promises_n ? promises[i].job : i;
    if (!core_cancel(core, job)) {
        wait_for(job, 0, true);
    }
}

static void raw(feed_t *feed)
{
    uint8_t head[64] = {0x99, 0xce, 0x53, 0x54, 0x4e, 0x54, 0x01};
    size_t n = 7 + feed_below(feed, 50);
    for (size_t i = 7; i < n; i++) {
        head[i] = (uint8_t)feed_byte(feed);
    }
    head[0] = (uint8_t)(0x90 | (feed_byte(feed) & 15));
    frames_t frames = {.head = blob_new(head, n)};
    if (feed_chance(feed, 200)) {
        frames_route(&frames, worker_id(feed_below(feed, 6)), WIRE_PEER_N);
    }
    core_receive(core, (int)feed_below(feed, BROKERS), &frames);
}

static void audit(void)
{
    char broken[200] = "";
    FUZZ_CHECK(!store_audit(store, MAX_STARTS, broken, sizeof broken), "%s", broken);
}

static void step(feed_t *feed)
{
    uint32_t what = feed_byte(feed) % 26;
    if (!core) {
        store_sim_full(store, full = false);
        start_api();
        FUZZ_CHECK(core, "with room it starts");
    }
    core_clock(core, now, wall());
    switch (what) {
    case 0:
    case 1: {
        int64_t next = core_next_at(core);
        now = next > now && next < now + 100000 ? next : now + 1;
        break;
    }
    case 2:
        now += feed_byte(feed);
        break;
    case 3:
        now += 100 * (int64_t)feed_byte(feed);
        break;
    case 4:
        broker_life[feed_below(feed, BROKERS)] += feed_chance(feed, 64);
        hello_ok((int)feed_below(feed, BROKERS));
        break;
    case 5:
    case 6:
    case 7:
        capacity(feed);
        break;
    case 8:
    case 9:
        submit(feed);
        break;
    case 10:
    case 11:
        outcome(feed, MSG_ACCEPTED);
        break;
    case 12:
        outcome(feed, feed_chance(feed, 128) ? MSG_REFUSED : MSG_HANDED_BACK);
        break;
    case 13:
        outcome(feed, MSG_UNDELIVERABLE);
        break;
    case 14:
    case 15:
    case 16:
        outcome(feed, MSG_RESULT);
        break;
    case 17:
        outcome(feed, MSG_FAILURE);
        break;
    case 18:
        outcome(feed, MSG_PARTIALS_GET);
        break;
    case 19:
        worker_hello(feed);
        break;
    case 20:
        heartbeat(feed);
        break;
    case 21:
        tick(feed);
        break;
    case 22:
        cancel(feed);
        break;
    case 23:
        raw(feed);
        break;
    case 24: {
        msg_t msg = {.type = MSG_RECONNECT, .reconnect.reason = str_of("")};
        if (!feed_chance(feed, 32)) {
            msg = (msg_t){.type = MSG_PONG,
                          .pong.broker = feed_chance(feed, 32) ? str_of("") : life_of(0)};
        }
        hear((int)feed_below(feed, BROKERS), NULL, &msg, NULL);
        unconnected = feed_chance(feed, 24);
        break;
    }
    default:
        if (feed_chance(feed, 96)) {
            stop_api(); /* kill -9 */
            start_api();
        } else {
            full = feed_chance(feed, 96);
            store_sim_full(store, full);
        }
    }
    turn();
    if (core && what == 25) {
        audit();
    }
}

/* Making the schema takes longer than an input: it is made once, and put back each time. */
static void open_store(void)
{
    static void *bytes;
    static size_t bytes_n;
    err_t err = ERR_OK;
    if (!store) {
        err = store_open(&store, &(store_options_t){.wall_at = wall()});
        err = err ? err : store_sim_backup(store, &bytes, &bytes_n);
    } else {
        store_sim_full(store, false);
        err = store_sim_restore(store, bytes, bytes_n);
        err = err ? err : store_forget(store);
    }
    FUZZ_CHECK(!err, "%s", err_text());
}

void fuzz_api(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    now = 1000000;
    life = 0;
    memset(broker_life, 0, sizeof broker_life);
    memset(capacity_seq, 0, sizeof capacity_seq);
    dispatched_n = promises_n = 0;
    unconnected = full = false;
    arena = wire_arena_new();
    open_store();
    start_api();
    turn();
    for (int i = 0; i < BROKERS; i++) {
        hello_ok(i);
    }
    turn();
    for (int steps = 0; steps < 300 && feed_left(&feed) > 0; steps++) {
        step(&feed);
    }
    stop_api();
    audit();
    wire_arena_destroy(&arena);
}

/* core_world: the api's core over a store in memory, between fake brokers on a clock that the test
 * moves. Everything it sends is written down; what the tests say comes in as frames. Included by
 * the test_core_*.c and test_maintenance.c programs only. */
#ifndef STINT_TESTS_CORE_WORLD_H
#define STINT_TESTS_CORE_WORLD_H

/* Each program uses a part of it. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/core_internal.h"
#include "api/store/audit.h"
#include "api/store/store_sim.h"
#include "common/log.h"

enum { SENT_MAX = 20000, BROKERS = 2, LEASE = 30000, ACCEPT = 5000, MAX_STARTS = 4 };
#define WALL         INT64_C(1790000000000)
#define START        INT64_C(5000000)
#define BOTH         "noop,process_transaction_batch,finalize_transactions"
#define ck_ok(call)  ck_assert_msg((call) == ERR_OK, "%s: %s", #call, err_text())
#define ck_err(e, c) ck_assert_msg((c) == (e), "%s: expected %s: %s", #c, err_code(e), err_text())

typedef struct {
    int broker;
    frames_t frames;
    msg_type_t type;
    bool taken;
} sent_t;

static store_t *store;
static core_t *core;
static wire_arena_t *arena;
static int64_t now, wall;
static sent_t sent[SENT_MAX];
static int sent_n;
static bool refuse_sends; /* nobody takes a message */
static bool by_hand;      /* jobs of schedules were submitted without a tick */
static bool committed_first = true;
static uint64_t seq[BROKERS], seen[BROKERS];
static core_options_t options;

static uint8_t broker_id(int broker)
{
    return (uint8_t)(0xb0 + broker);
}

static bool on_send(void *context, int broker, frames_t *frames)
{
    (void)context;
    committed_first = committed_first && !store_in_turn(store);
    if (refuse_sends) {
        frames_free(frames);
        return false;
    }
    ck_assert_int_lt(sent_n, SENT_MAX);
    sent_t *it = &sent[sent_n++];
    *it = (sent_t){.broker = broker, .frames = *frames};
    ck_ok(wire_peek(blob_data(frames->head), blob_n(frames->head), &it->type));
    return true;
}

/* -- what the core sent -- */

/* The oldest message of that type that no test has looked at; type MSG_NONE: there is none. */
static msg_t take_from(msg_type_t type, sent_t **which)
{
    msg_t msg = {.type = MSG_NONE};
    for (int i = 0; i < sent_n; i++) {
        if (!sent[i].taken && sent[i].type == type) {
            sent[i].taken = true;
            const blob_t *head = sent[i].frames.head;
            ck_ok(wire_decode(arena, blob_data(head), blob_n(head), &msg));
            if (which) {
                *which = &sent[i];
            }
            return msg;
        }
    }
    return msg;
}

static msg_t take(msg_type_t type)
{
    return take_from(type, NULL);
}

static int waiting(msg_type_t type)
{
    int n = 0;
    for (int i = 0; i < sent_n; i++) {
        n += !sent[i].taken && sent[i].type == type;
    }
    return n;
}

static void forget_sent(void)
{
    for (int i = 0; i < sent_n; i++) {
        frames_free(&sent[i].frames);
    }
    sent_n = 0;
}

/* -- what the core hears -- */

static void hear(int broker, const uint8_t *peer, const msg_t *msg, const char *body)
{
    frames_t frames = frames_of(msg, body ? blob_new(body, strlen(body)) : NULL);
    if (peer) {
        frames_route(&frames, peer, WIRE_PEER_N);
    }
    core_receive(core, broker, &frames);
}

static void turn(void)
{
    core_clock(core, now, wall);
    ck_ok(core_turn(core));
    ck_assert_msg(committed_first, "a message left before the commit");
}

/* The incarnation of a broker; valid until asked again. */
static str_t life_of(int broker)
{
    static uint8_t incarnation[WIRE_PEER_N];
    memset(incarnation, broker_id(broker), sizeof incarnation);
    return str_bytes(incarnation, sizeof incarnation);
}

static void hello_ok(int broker)
{
    msg_t msg = {.type = MSG_HELLO_OK,
                 .hello_ok = {.incarnation = life_of(broker), .heartbeat_ms = 1000}};
    hear(broker, NULL, &msg, NULL);
}

/* The whole of what that broker holds, counting every DISPATCH that it was sent. */
static void capacity_of(int broker, const char *tasks, uint64_t max_items, uint64_t n)
{
    for (int i = 0; i < sent_n; i++) {
        if (sent[i].broker == broker && sent[i].type == MSG_DISPATCH) {
            msg_t msg;
            const blob_t *head = sent[i].frames.head;
            ck_ok(wire_decode(arena, blob_data(head), blob_n(head), &msg));
            seen[broker] = msg.dispatch.number > seen[broker] ? msg.dispatch.number : seen[broker];
        }
    }
    wire_capacity_t group = {.tasks = str_of(tasks), .max_items = max_items, .n = n};
    msg_t msg = {.type = MSG_CAPACITY,
                 .capacity_is = {.seq = ++seq[broker],
                                 .dispatches_seen = seen[broker],
                                 .groups = &group,
                                 .groups_n = n ? 1 : 0,
                                 .broker = life_of(broker)}};
    hear(broker, NULL, &msg, NULL);
}

static void capacity(uint64_t n)
{
    capacity_of(0, BOTH, 1500, n);
}

static void pong_of(int broker)
{
    hear(broker, NULL, &(msg_t){.type = MSG_PONG, .pong.broker = life_of(broker)}, NULL);
}

static void pong(void)
{
    for (int i = 0; i < BROKERS; i++) {
        pong_of(i);
    }
}

/* Let time pass in small steps, with brokers that answer. */
static void pass(int64_t ms)
{
    while (ms > 0) {
        int64_t step = ms < 500 ? ms : 500;
        now += step;
        wall += step;
        ms -= step;
        core_clock(core, now, wall);
        pong();
        turn();
    }
}

/* -- workers -- */

typedef struct {
    uint8_t id[WIRE_PEER_N];
    char name[16];
} peer_id_t;

static peer_id_t worker_of(int n, uint8_t incarnation)
{
    peer_id_t peer = {{0}, {0}};
    peer.id[7] = incarnation;
    peer.id[8] = (uint8_t)n;
    peer.id[15] = incarnation;
    snprintf(peer.name, sizeof peer.name, "w%d", n);
    return peer;
}

static void hello_from(const peer_id_t *worker, wire_task_offer_t *offers, uint32_t offers_n)
{
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.role = WIRE_ROLE_WORKER,
                           .name = str_of(worker->name),
                           .incarnation = str_bytes(worker->id, WIRE_PEER_N),
                           .host = str_of("host"),
                           .slots = 1,
                           .tasks = offers,
                           .tasks_n = offers_n}};
    hear(0, worker->id, &msg, NULL);
}

static void accepted_from(const peer_id_t *worker, uint64_t batch, uint64_t attempt)
{
    msg_t msg = {.type = MSG_ACCEPTED,
                 .accepted = {.batch = batch, .attempt = attempt, .worker = str_of(worker->name)}};
    hear(0, worker->id, &msg, NULL);
}

static void accepted(uint64_t batch, uint64_t attempt)
{
    peer_id_t worker = worker_of(1, 1);
    accepted_from(&worker, batch, attempt);
}

static msg_t result_msg(uint64_t batch, uint64_t attempt)
{
    return (msg_t){.type = MSG_RESULT,
                   .result = {.store_id = str_bytes(store_id(store), WIRE_PEER_N),
                              .batch = batch,
                              .attempt = attempt,
                              .worker = str_of("w1"),
                              .duration_us = 7}};
}

static void result(uint64_t batch, uint64_t attempt, const char *body)
{
    peer_id_t worker = worker_of(1, 1);
    msg_t msg = result_msg(batch, attempt);
    hear(0, worker.id, &msg, body);
}

static msg_t failure_msg(uint64_t batch, uint64_t attempt, int64_t backoff_ms)
{
    return (msg_t){.type = MSG_FAILURE,
                   .failure = {.store_id = str_bytes(store_id(store), WIRE_PEER_N),
                               .batch = batch,
                               .attempt = attempt,
                               .worker = str_of("w1"),
                               .class = FAILURE_TASK_ERROR,
                               .backoff_ms = backoff_ms,
                               .text = str_of("it broke")}};
}

static void failure(uint64_t batch, uint64_t attempt, int64_t backoff_ms)
{
    peer_id_t worker = worker_of(1, 1);
    msg_t msg = failure_msg(batch, attempt, backoff_ms);
    hear(0, worker.id, &msg, NULL);
}

static void undeliverable(uint64_t batch, uint64_t attempt)
{
    msg_t msg = {
        .type = MSG_UNDELIVERABLE,
        .undeliverable = {.batch = batch, .attempt = attempt, .seq = seq[0], .broker = life_of(0)}};
    hear(0, NULL, &msg, NULL);
}

static void heartbeat_from(const peer_id_t *worker, uint64_t batch, uint64_t attempt)
{
    wire_running_t running = {.batch = batch, .attempt = attempt};
    msg_t msg = {.type = MSG_HEARTBEAT,
                 .heartbeat = {.seq = 17,
                               .worker = str_of(worker->name),
                               .slots = 1,
                               .memory_available = UINT64_C(8) << 30,
                               .batches = &running,
                               .batches_n = batch ? 1 : 0}};
    hear(0, worker->id, &msg, NULL);
}

/* -- jobs -- */

static err_t submit_to(core_submission_t **out, const char *task, int priority)
{
    submit_t what = {.task = task, .format = WIRE_FORMAT_NDJSON, .priority = priority};
    return core_submit_open(out, core, &what);
}

/* `items` items in chunks of 100. */
static void send_items(core_submission_t *submission, uint32_t items)
{
    for (uint32_t n; items > 0; items -= n) {
        n = items < 100 ? items : 100;
        ck_ok(core_submit_chunk(submission, n, n * 10, blob_new("zstd", 4)));
    }
}

static uint64_t submit(const char *task, uint32_t items, int priority)
{
    core_submission_t *submission = NULL;
    const job_row_t *job = NULL;
    ck_ok(submit_to(&submission, task, priority));
    send_items(submission, items);
    ck_ok(core_submit_close(&submission, &job));
    return job->id;
}

static job_row_t job_row(uint64_t job)
{
    job_row_t row;
    ck_ok(store_job_get(store, job, &row));
    return row;
}

static job_state_t job_state(uint64_t job)
{
    job_row_t row = job_row(job);
    job_row_free(&row);
    return row.state;
}

static batch_row_t batch_row(uint64_t batch)
{
    batch_row_t row;
    ck_ok(store_batch_get(store, batch, &row));
    return row;
}

/* One batch of `task` on its way: the job has `items` items and there was one ticket. */
static msg_dispatch_t dispatch_one(const char *task, uint32_t items)
{
    capacity(1);
    (void)submit(task, items, 0);
    turn();
    msg_t msg = take(MSG_DISPATCH);
    ck_assert_int_eq(msg.type, MSG_DISPATCH);
    return msg.dispatch;
}

static msg_dispatch_t next_dispatch(void)
{
    capacity(1);
    turn();
    msg_t msg = take(MSG_DISPATCH);
    ck_assert_int_eq(msg.type, MSG_DISPATCH);
    return msg.dispatch;
}

/* -- life -- */

static void core_start(void)
{
    core_effects_t effects = {.send = on_send};
    options.now_ms = now;
    options.wall_at = wall;
    ck_ok(core_open(&core, store, &options, effects));
    turn();
    for (int i = 0; i < BROKERS; i++) {
        hello_ok(i);
    }
    turn();
}

/* kill -9, and a new process. */
static void core_restart(void)
{
    core_destroy(&core);
    ck_ok(store_forget(store));
    forget_sent();
    memset(seq, 0, sizeof seq);
    memset(seen, 0, sizeof seen);
    core_start();
}

static void world_open(void)
{
    log_open("test", LOG_ERROR + 1);
    now = START;
    wall = WALL;
    arena = wire_arena_new();
    ck_ok(store_open(&store, &(store_options_t){.wall_at = wall}));
    options = (core_options_t){.brokers_n = BROKERS,
                               .heartbeat_ms = 1000,
                               .lease_ms = LEASE,
                               .accept_lease_ms = ACCEPT,
                               .max_starts = MAX_STARTS,
                               .max_waiting_jobs = 1000,
                               .incarnation = "api-incarnation",
                               .name = "api",
                               .host = "here",
                               .pid = 1};
    core_start();
}

/* Whatever a test did, the rows keep the rules of the store. */
static void world_close(void)
{
    core_destroy(&core);
    store_rollback(store);
    char broken[200] = "";
    ck_assert_msg(by_hand || !store_audit(store, MAX_STARTS, broken, sizeof broken), "%s", broken);
    store_close(&store);
    forget_sent();
    wire_arena_destroy(&arena);
}

static int run_suite(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    tcase_add_checked_fixture(rules, world_open, world_close);
    for (size_t i = 0; i < n; i++) {
        tcase_add_test(rules, tests[i]);
    }
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif

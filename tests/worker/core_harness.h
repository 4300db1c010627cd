/* A worker's core between fake brokers and fake children, on a clock that the test moves.
 * Every message it sends and every effect is written down. Included by the test_core*.c programs
 * only. */
#ifndef STINT_TESTS_CORE_HARNESS_H
#define STINT_TESTS_CORE_HARNESS_H

/* Each program uses a part of it. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/random.h"
#include "worker/core.h"

enum { LOG_MAX = 200000, BROKERS = 3, SLOTS = 8 };

typedef struct {
    int broker;
    int64_t at;
    msg_type_t type;
    frames_t frames;
} sent_t;

typedef struct {
    uint64_t batch, attempt;
    int64_t deadline_ms;
    bool busy;
    char task[32];
} child_t;

static sent_t sent[LOG_MAX];
static int sent_n;
static child_t children[SLOTS];
static int starts_n, kills_n, pages_n, extends_n;
static int64_t start_times[LOG_MAX];
static int limited_n; /* starts of the limited task, times in start_times */
static bool started_before_start, start_refused, log_broken, unconnected;
static worker_core_t *core;
static int64_t now;
static wire_arena_t *arena;

static const char LIMITED[] = "process_transaction_batch", FREE[] = "noop";

static bool on_send(void *context, int broker, frames_t *frames)
{
    (void)context;
    ck_assert_int_lt(sent_n, LOG_MAX);
    sent_t *it = &sent[sent_n++];
    *it = (sent_t){.broker = broker, .at = now, .frames = *frames};
    ck_assert_int_eq(wire_peek(blob_data(frames->head), blob_n(frames->head), &it->type), ERR_OK);
    *frames = (frames_t){0};
    return !unconnected;
}

static err_t on_started(void *context, const char *task, int64_t at)
{
    (void)context;
    ck_assert_str_eq(task, LIMITED);
    ck_assert_int_eq(at, now);
    started_before_start = true;
    return log_broken ? err_set(ERR_IO, "no disk") : ERR_OK;
}

static err_t on_start(void *context, int slot, const pool_work_t *work)
{
    (void)context;
    ck_assert(!children[slot].busy);
    if (start_refused) {
        return err_set(ERR_UNAVAILABLE, "no child");
    }
    if (strcmp(work->task, LIMITED) == 0) {
        start_times[limited_n++] = now;
    }
    children[slot] = (child_t){.batch = work->batch,
                               .attempt = work->attempt,
                               .deadline_ms = work->deadline_ms,
                               .busy = true};
    snprintf(children[slot].task, sizeof children[slot].task, "%s", work->task);
    starts_n++;
    return ERR_OK;
}

static void on_page(void *context, int slot, blob_t *page, uint64_t next_no, bool last)
{
    (void)context, (void)page, (void)next_no, (void)last;
    ck_assert(children[slot].busy);
    pages_n++;
}

static void on_extend(void *context, int slot, int64_t deadline_ms)
{
    (void)context;
    ck_assert_int_gt(deadline_ms, children[slot].deadline_ms);
    children[slot].deadline_ms = deadline_ms;
    extends_n++;
}

static void on_kill(void *context, int slot)
{
    (void)context;
    ck_assert(children[slot].busy);
    children[slot].busy = false;
    kills_n++;
}

static worker_options_t options(void)
{
    worker_options_t it = {.name = "w1",
                           .host = "h",
                           .incarnation = "01234567\0\0\0\0cde", /* tickets from 1 */
                           .slots = 1,
                           .brokers = 1,
                           .heartbeat_ms = 1000,
                           .drain_ms = 60000,
                           .target_duration_ms = 5000,
                           .result_space = 64 << 20,
                           .lookahead = true,
                           .random_seed = 7};
    worker_options_offer(&it, false);
    return it;
}

static void turn(void)
{
    worker_core_turn(core, now);
}

/* -- what the worker said -- */

static int count(msg_type_t type)
{
    int n = 0;
    for (int i = 0; i < sent_n; i++) {
        n += sent[i].type == type;
    }
    return n;
}

static void forget(void)
{
    for (int i = 0; i < sent_n; i++) {
        frames_free(&sent[i].frames);
    }
    sent_n = 0;
}

static msg_t decoded(const sent_t *it)
{
    msg_t msg;
    ck_assert_int_eq(wire_decode(arena, blob_data(it->frames.head), blob_n(it->frames.head), &msg),
                     ERR_OK);
    return msg;
}

/* The newest message of a type (to that broker, or -1), good until the next call. */
static bool newest(msg_type_t type, int broker, msg_t *out)
{
    for (int i = sent_n; i-- > 0;) {
        if (sent[i].type == type && (broker < 0 || sent[i].broker == broker)) {
            *out = decoded(&sent[i]);
            return true;
        }
    }
    return false;
}

static msg_t last_of(msg_type_t type)
{
    msg_t msg = {0};
    ck_assert_msg(newest(type, -1, &msg), "no %s was sent", wire_name(type));
    return msg;
}

static uint64_t task_bit(const char *task)
{
    worker_options_t it = options();
    for (int i = 0; i < it.tasks_n; i++) {
        if (strcmp(it.tasks[i]->name, task) == 0) {
            return UINT64_C(1) << i;
        }
    }
    ck_abort_msg("no task %s", task);
    return 0;
}

/* Ids of the tickets broker was last told of that are good for the task. */
static int granted(int broker, const char *task, uint64_t *ids)
{
    msg_t msg;
    int n = 0;
    if (!newest(MSG_TICKETS, broker, &msg)) {
        return 0;
    }
    for (uint32_t i = 0; i < msg.tickets.grants_n; i++) {
        if (msg.tickets.grants[i].tasks & task_bit(task)) {
            if (ids) {
                ids[n] = msg.tickets.grants[i].ticket;
            }
            n++;
        }
    }
    return n;
}

/* -- what the worker hears -- */

static void hear(int broker, const msg_t *msg, blob_t *body)
{
    frames_t frames = frames_of(msg, body);
    worker_core_receive(core, broker, &frames, now);
    ck_assert_ptr_null(frames.head);
}

static void hello_ok(int broker)
{
    msg_t msg = {
        .type = MSG_HELLO_OK,
        .hello_ok = {.incarnation = str_bytes("0123456789abcdef", 16), .heartbeat_ms = 1000}};
    hear(broker, &msg, NULL);
}

static void pong(int broker)
{
    hear(broker, &(msg_t){.type = MSG_PONG}, NULL);
}

static msg_t dispatch_msg(uint64_t batch, uint64_t attempt, const char *task)
{
    return (msg_t){.type = MSG_DISPATCH,
                   .dispatch = {.store_id = str_bytes("ABCDEFGHIJKLMNOP", 16),
                                .job = 1,
                                .batch = batch,
                                .attempt = attempt,
                                .task = str_of(task),
                                .items_n = 100,
                                .lease_ms = 30000,
                                .params = str_of("{}")}};
}

static void dispatch_msg_on(uint64_t ticket, const msg_t *msg)
{
    frames_t frames = frames_of(msg, blob_new("items", 5));
    uint8_t route[8];
    wire_ticket_put(route, ticket);
    frames_route(&frames, route, 8);
    worker_core_receive(core, 0, &frames, now);
}

static void dispatch_on(uint64_t ticket, uint64_t batch, uint64_t attempt, const char *task)
{
    msg_t msg = dispatch_msg(batch, attempt, task);
    dispatch_msg_on(ticket, &msg);
}

/* On a ticket that broker 0 was told of. */
static uint64_t dispatch(uint64_t batch, const char *task)
{
    uint64_t ids[4096];
    ck_assert_msg(granted(0, task, ids) > 0, "no ticket for %s", task);
    dispatch_on(ids[0], batch, 1, task);
    return ids[0];
}

static void heartbeat_ok(uint64_t seq, const wire_lease_ref_t *stop, uint32_t stop_n)
{
    msg_t msg = {.type = MSG_HEARTBEAT_OK,
                 .heartbeat_ok = {.seq = seq,
                                  .lease_ms = 30000,
                                  .stop = (wire_lease_ref_t *)(uintptr_t)stop,
                                  .stop_n = stop_n}};
    hear(0, &msg, NULL);
}

static void recorded(uint64_t batch, uint64_t attempt)
{
    hear(0, &(msg_t){.type = MSG_RECORDED, .recorded = {.batch = batch, .attempt = attempt}}, NULL);
}

/* -- children -- */

static void ready_all(int slots)
{
    for (int i = 0; i < slots; i++) {
        worker_core_slot_ready(core, i, !children[i].busy);
    }
}

static void child_fails(int slot, pool_event_t event)
{
    event.type = POOL_FAILURE;
    event.slot = slot;
    event.batch = children[slot].batch;
    event.attempt = children[slot].attempt;
    children[slot].busy = false;
    worker_core_event(core, &event, now);
    worker_core_slot_ready(core, slot, true);
}

static void child_ends(int slot, int64_t duration_us)
{
    blob_t *result = blob_new("result", 6);
    pool_event_t event = {.type = POOL_RESULT,
                          .slot = slot,
                          .batch = children[slot].batch,
                          .attempt = children[slot].attempt,
                          .result = result,
                          .duration_us = duration_us};
    ck_assert(children[slot].busy);
    children[slot].busy = false;
    worker_core_event(core, &event, now);
    worker_core_slot_ready(core, slot, true);
    blob_unref(&result);
}

/* A worker that has said hello, with idle children. */
static void open_worker(const worker_options_t *it)
{
    static const worker_effects_t effects = {.send = on_send,
                                             .started = on_started,
                                             .start = on_start,
                                             .page = on_page,
                                             .extend = on_extend,
                                             .kill = on_kill};
    core = worker_core_new(it, &effects);
    arena = wire_arena_new();
    now = 1000000;
    ready_all(it->slots);
    turn();
    for (int i = 0; i < it->brokers; i++) {
        hello_ok(i);
    }
    turn();
}

/* Let time pass in the steps the core asks for; brokers below `alive` answer each heartbeat, the
 * store does not. */
static void pass(int64_t ms, int alive)
{
    int64_t end = now + ms;
    while (now < end) {
        int64_t next = worker_core_next_at(core, now);
        now = next <= now ? now + 1 : next < end ? next : end;
        turn();
        ck_assert_msg(worker_core_next_at(core, now) > now, "the loop would spin");
        for (int i = 0; i < alive; i++) {
            pong(i);
        }
    }
}

static void close_worker(void)
{
    forget();
    worker_core_destroy(&core);
    wire_arena_destroy(&arena);
}

static int run_suite(const char *name, const TTest *const *tests, int n)
{
    Suite *suite = suite_create(name);
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    for (int i = 0; i < n; i++) {
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

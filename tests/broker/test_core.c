/* The broker as a conversation: each test says what peers send and what the broker sends. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "common/buffer.h"

enum { SENT_MAX = 20000, HEARTBEAT_MS = 1000 };

typedef struct {
    broker_side_t side;
    int link;
    frames_t frames;
} sent_t;

static broker_core_t *core;
static sent_t sent[SENT_MAX];
static int sent_n, read_n, deaf_link = -1;
static int64_t now;
static wire_arena_t *arena;
static msg_t got; /* what expect() decoded last */
static sent_t *last;
static uint64_t seq;

static link_id_t link_of(int n)
{
    link_id_t id = {.n = 5};
    memcpy(id.bytes + 1, &n, 4);
    return id;
}

static bool take(void *context, broker_side_t side, const link_id_t *to, frames_t *frames)
{
    (void)context;
    int n = 0;
    memcpy(&n, to->bytes + 1, 4);
    if (n == deaf_link || sent_n == SENT_MAX) {
        frames_free(frames);
        return false;
    }
    sent[sent_n++] = (sent_t){.side = side, .link = n, .frames = *frames};
    *frames = (frames_t){0};
    return true;
}

static uint64_t number; /* of the newest DISPATCH */

static void start_core(bool duplicate)
{
    number = 0;
    broker_options_t options = {.incarnation = "broker-number-1",
                                .heartbeat_ms = HEARTBEAT_MS,
                                .test_duplicate = duplicate};
    broker_core_destroy(&core);
    core = broker_core_new(&options, (broker_effects_t){.send = take});
}

static void forget_sent(void)
{
    for (int i = 0; i < sent_n; i++) {
        frames_free(&sent[i].frames);
    }
    sent_n = read_n = 0;
}

static void start(void)
{
    now = 1000000;
    seq = 0;
    deaf_link = -1;
    arena = wire_arena_new();
    start_core(false);
}

static void end(void)
{
    forget_sent();
    broker_core_destroy(&core);
    broker_core_destroy(&core);
    wire_arena_destroy(&arena);
}

static void say_frames(broker_side_t side, int link, frames_t frames)
{
    link_id_t id = link_of(link);
    broker_core_receive(core, side, &id, &frames, now);
    ck_assert_ptr_null(frames.head);
}

static void say(broker_side_t side, int link, const msg_t *msg)
{
    say_frames(side, link, frames_of(msg, NULL));
}

/* The next message the broker sent is of that type and to that connection; decoded into `got`. */
static void expect(int link, msg_type_t type)
{
    ck_assert_msg(read_n < sent_n, "the broker sent nothing, expected %s", wire_name(type));
    last = &sent[read_n++];
    ck_assert_int_eq(
        wire_decode(arena, blob_data(last->frames.head), blob_n(last->frames.head), &got), ERR_OK);
    ck_assert_msg(got.type == type, "the broker sent %s, expected %s", wire_name(got.type),
                  wire_name(type));
    ck_assert_int_eq(last->link, link);
}

static void expect_silence(void)
{
    ck_assert_msg(read_n == sent_n, "the broker said more");
}

static const uint8_t *incarnation_of(int n)
{
    static uint8_t bytes[WIRE_PEER_N];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &n, sizeof n);
    return bytes;
}

static wire_task_offer_t offers[65];

/* Connection, incarnation and name are told apart by numbers; tasks "noop" and "pay". */
static msg_t hello(uint64_t role, int incarnation, const char *name, uint64_t slots)
{
    msg_t msg = {.type = MSG_HELLO};
    msg.hello.role = role;
    msg.hello.name = str_of(name);
    msg.hello.incarnation = str_bytes(incarnation_of(incarnation), WIRE_PEER_N);
    msg.hello.store_id = role == WIRE_ROLE_API ? str_of("0123456789abcdef") : str_of("");
    msg.hello.host = msg.hello.version = str_of("");
    msg.hello.slots = slots;
    for (int i = 0; i < 65; i++) {
        offers[i] = (wire_task_offer_t){.name = str_of("noop"), .finalize = str_of("")};
    }
    if (role == WIRE_ROLE_WORKER) {
        offers[1].name = str_of("pay");
        msg.hello.tasks = offers;
        msg.hello.tasks_n = 2;
    }
    return msg;
}

static void worker_comes(int link, int incarnation, const char *name, uint64_t slots)
{
    msg_t msg = hello(WIRE_ROLE_WORKER, incarnation, name, slots);
    say(BROKER_BACKEND, link, &msg);
    expect(link, MSG_HELLO_OK);
}

static void api_comes(int link, int incarnation)
{
    msg_t msg = hello(WIRE_ROLE_API, incarnation, "", 0);
    say(BROKER_FRONTEND, link, &msg);
    expect(link, MSG_HELLO_OK);
}

/* Tickets first..first+n-1 for the tasks of the mask, up to max_items. */
static void grants(int link, uint64_t first, uint32_t n, uint64_t mask, uint64_t max_items)
{
    static wire_grant_t list[4096];
    for (uint32_t i = 0; i < n; i++) {
        list[i] = (wire_grant_t){.ticket = first + i, .tasks = mask, .max_items = max_items};
    }
    msg_t msg = {.type = MSG_TICKETS};
    msg.tickets.seq = ++seq;
    msg.tickets.ttl_ms = 3000;
    msg.tickets.grants = list;
    msg.tickets.grants_n = n;
    say(BROKER_BACKEND, link, &msg);
    expect(link, MSG_PONG);
    ck_assert_uint_eq(got.pong.seq, seq);
}

static void dispatch(int api, uint64_t batch, const char *task, uint64_t items_n)
{
    msg_t msg = {.type = MSG_DISPATCH};
    msg.dispatch.broker = str_bytes("broker-number-1", WIRE_PEER_N);
    msg.dispatch.number = ++number;
    msg.dispatch.store_id = str_of("0123456789abcdef");
    msg.dispatch.batch = batch;
    msg.dispatch.attempt = 1;
    msg.dispatch.task = str_of(task);
    msg.dispatch.params = msg.dispatch.header = str_of("");
    msg.dispatch.items_n = items_n;
    say_frames(BROKER_FRONTEND, api, frames_of(&msg, blob_new("items", 5)));
}

static void expect_dispatch(int link, uint64_t batch, uint64_t ticket)
{
    expect(link, MSG_DISPATCH);
    ck_assert_uint_eq(got.dispatch.batch, batch);
    ck_assert_uint_eq(last->frames.route_n, 8);
    ck_assert_uint_eq(wire_ticket_get(last->frames.route), ticket);
    ck_assert_uint_eq(blob_n(last->frames.body), 5);
}

static void turn(void)
{
    broker_core_turn(core, now);
}

static void expect_capacity(int link, uint32_t groups_n, uint64_t first_n)
{
    expect(link, MSG_CAPACITY);
    ck_assert_uint_eq(got.capacity_is.groups_n, groups_n);
    if (groups_n) {
        ck_assert_uint_eq(got.capacity_is.groups[0].n, first_n);
    }
}

/* An api on connection 1 and a worker on 2 with two slots, everything told. */
static void small_fleet(void)
{
    api_comes(1, 11);
    turn();
    expect_capacity(1, 0, 0);
    worker_comes(2, 22, "w", 2);
    expect(1, MSG_HELLO);
    expect_silence();
}

START_TEST(test_p8_stranger_is_told_to_reconnect_until_it_says_hello)
{
    msg_t tickets = {.type = MSG_TICKETS}, ping = {.type = MSG_PING};
    say(BROKER_BACKEND, 2, &tickets);
    expect(2, MSG_RECONNECT);
    ck_assert_int_eq(last->side, BROKER_BACKEND);
    say(BROKER_FRONTEND, 1, &ping);
    expect(1, MSG_RECONNECT);
    dispatch(1, 7, "noop", 1);
    expect(1, MSG_RECONNECT);
    worker_comes(2, 22, "w", 1);
    ck_assert_uint_eq(got.hello_ok.incarnation.n, WIRE_PEER_N);
    ck_assert_int_eq(got.hello_ok.heartbeat_ms, HEARTBEAT_MS);
    grants(2, 1, 1, 1, 100);
    /* The same connection number on the other side is another peer. */
    say(BROKER_FRONTEND, 2, &ping);
    expect(2, MSG_RECONNECT);
    expect_silence();
    /* Answers to answers would never end. */
    msg_t answers[] = {{.type = MSG_RECONNECT, .reconnect.reason = {"", 0}},
                       {.type = MSG_PONG},
                       {.type = MSG_UNSUPPORTED}};
    for (int i = 0; i < 3; i++) {
        say(BROKER_BACKEND, 9, &answers[i]);
    }
    expect_silence();
}
END_TEST

START_TEST(test_p10_hello_of_every_worker_and_capacity_reach_a_new_store)
{
    worker_comes(2, 22, "w", 1);
    worker_comes(3, 33, "x", 1);
    grants(2, 1, 1, 3, 100);
    turn();
    expect_silence();
    api_comes(1, 11);
    turn();
    bool seen[2] = {false, false};
    for (int i = 0; i < 2; i++) {
        expect(1, MSG_HELLO);
        ck_assert_uint_eq(last->frames.route_n, WIRE_PEER_N);
        ck_assert_mem_eq(last->frames.route, got.hello.incarnation.p, WIRE_PEER_N);
        seen[got.hello.name.p[0] == 'x'] = true;
    }
    ck_assert(seen[0] && seen[1]);
    expect_capacity(1, 1, 1);
    ck_assert(str_equal(got.capacity_is.groups[0].tasks, str_of("noop,pay")));
    /* BYE of a worker is passed on and it is a stranger from then on. */
    msg_t bye = {.type = MSG_BYE, .bye.reason = str_of("done")};
    say(BROKER_BACKEND, 2, &bye);
    expect(1, MSG_BYE);
    ck_assert_mem_eq(last->frames.route, incarnation_of(22), WIRE_PEER_N);
    turn();
    expect_capacity(1, 0, 0);
    msg_t tickets = {.type = MSG_TICKETS};
    say(BROKER_BACKEND, 2, &tickets);
    expect(2, MSG_RECONNECT);
    expect_silence();
}
END_TEST

START_TEST(test_p34_gone_is_passed_on_and_the_dead_worker_forgotten)
{
    worker_comes(2, 22, "w", 1);
    grants(2, 1, 1, 3, 100);
    api_comes(1, 11);
    turn();
    forget_sent();
    /* From a connection that has not said HELLO. */
    msg_t gone = {
        .type = MSG_GONE,
        .gone = {.incarnation = str_bytes(incarnation_of(22), WIRE_PEER_N), .name = str_of("w")}};
    say(BROKER_BACKEND, 9, &gone);
    expect(1, MSG_GONE);
    ck_assert_mem_eq(last->frames.route, incarnation_of(22), WIRE_PEER_N);
    turn();
    expect_capacity(1, 0, 0);
    /* Again, and of one that was never here: the store knows what to make of it. */
    say(BROKER_BACKEND, 9, &gone);
    expect(1, MSG_GONE);
    gone.gone.incarnation = str_bytes(incarnation_of(77), WIRE_PEER_N);
    say(BROKER_BACKEND, 9, &gone);
    expect(1, MSG_GONE);
    ck_assert_mem_eq(last->frames.route, incarnation_of(77), WIRE_PEER_N);
    /* Not of an api, not at the frontend, not without an incarnation. */
    gone.gone.incarnation = str_bytes(incarnation_of(11), WIRE_PEER_N);
    say(BROKER_BACKEND, 9, &gone);
    gone.gone.incarnation = str_bytes(incarnation_of(22), WIRE_PEER_N);
    say(BROKER_FRONTEND, 9, &gone);
    gone.gone.incarnation = str_of("short");
    say(BROKER_BACKEND, 9, &gone);
    expect_silence();
    ck_assert_uint_eq(broker_core_counters(core)->ignored, 3);
    msg_t ping = {.type = MSG_PING};
    say(BROKER_FRONTEND, 1, &ping);
    expect(1, MSG_PONG);
}
END_TEST

START_TEST(test_p10_store_that_is_full_gets_the_hellos_later_and_each_once)
{
    char name[16];
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "w%d", i);
        worker_comes(100 + i, 1000 + i, name, 1);
    }
    api_comes(1, 11);
    deaf_link = 1;
    turn();
    expect_silence();
    deaf_link = -1;
    static bool seen[600];
    memset(seen, 0, sizeof seen);
    int hellos = 0;
    for (int turns = 0; turns < 5; turns++) {
        if (hellos < 600) {
            ck_assert_int_le(broker_core_next_at(core), now + 10);
        }
        now += 10;
        turn();
        while (read_n < sent_n) {
            last = &sent[read_n++];
            ck_assert_int_eq(last->link, 1);
            ck_assert_int_eq(
                wire_decode(arena, blob_data(last->frames.head), blob_n(last->frames.head), &got),
                ERR_OK);
            if (got.type == MSG_HELLO) {
                int n = atoi(got.hello.name.p + 1);
                ck_assert(!seen[n]);
                seen[n] = true;
                hellos++;
            }
        }
    }
    ck_assert_int_eq(hellos, 600);
    ck_assert_int_gt(broker_core_next_at(core), now + 10);
}
END_TEST

START_TEST(test_p2_messages_travel_between_worker_and_store_byte_for_byte)
{
    small_fleet();
    msg_t result = {.type = MSG_RESULT};
    result.result.store_id = result.result.worker = str_of("");
    result.result.job_error = result.result.job_error_text = str_of("");
    result.result.batch = 7;
    frames_t frames = frames_of(&result, blob_new("result", 6));
    blob_t *head = blob_ref(frames.head), *body = blob_ref(frames.body);
    say_frames(BROKER_BACKEND, 2, frames);
    expect(1, MSG_RESULT);
    ck_assert_ptr_eq(last->frames.head, head);
    ck_assert_ptr_eq(last->frames.body, body);
    ck_assert_mem_eq(last->frames.route, incarnation_of(22), WIRE_PEER_N);
    blob_unref(&head);
    blob_unref(&body);
    msg_t recorded = {.type = MSG_RECORDED, .recorded.batch = 7};
    frames = frames_of(&recorded, NULL);
    frames_route(&frames, incarnation_of(22), WIRE_PEER_N);
    say_frames(BROKER_FRONTEND, 1, frames);
    expect(2, MSG_RECORDED);
    ck_assert_uint_eq(last->frames.route_n, 0);
    /* Nobody of that address: dropped and counted. */
    frames = frames_of(&recorded, NULL);
    frames_route(&frames, incarnation_of(23), WIRE_PEER_N);
    say_frames(BROKER_FRONTEND, 1, frames);
    expect_silence();
    ck_assert_uint_eq(broker_core_counters(core)->no_peer, 1);
    /* A worker may not speak for the store, nor the store for a worker. */
    say(BROKER_BACKEND, 2, &recorded);
    say_frames(BROKER_FRONTEND, 1, frames_of(&result, NULL));
    expect_silence();
    ck_assert_uint_eq(broker_core_counters(core)->ignored, 2);
}
END_TEST

START_TEST(test_p13_tickets_replace_the_set_and_end_with_their_time)
{
    small_fleet();
    grants(2, 1, 2, 1, 100);
    grants(2, 3, 1, 1, 100); /* 1 and 2 are withdrawn */
    turn();
    expect_capacity(1, 1, 1);
    dispatch(1, 7, "noop", 100);
    expect_dispatch(2, 7, 3);
    dispatch(1, 8, "noop", 100);
    expect(1, MSG_UNDELIVERABLE);
    grants(2, 4, 1, 1, 100);
    now += 2999;
    msg_t ping = {.type = MSG_PING};
    say(BROKER_FRONTEND, 1, &ping);
    expect(1, MSG_PONG);
    turn();
    expect_capacity(1, 1, 1);
    ck_assert_int_le(broker_core_next_at(core), now + 1);
    now += 1; /* ttl_ms: also without a turn in between */
    dispatch(1, 9, "noop", 1);
    expect(1, MSG_UNDELIVERABLE);
    turn();
    expect_capacity(1, 0, 0);
}
END_TEST

START_TEST(test_p14_tickets_that_crossed_a_dispatch_are_never_used_again)
{
    small_fleet();
    grants(2, 41, 2, 1, 100);
    dispatch(1, 7, "noop", 1);
    expect_dispatch(2, 7, 41);
    grants(2, 41, 2, 1, 100); /* crossed: the worker did not know yet */
    grants(2, 41, 2, 1, 100);
    turn();
    expect_capacity(1, 1, 1);
    ck_assert_uint_eq(got.capacity_is.dispatches_seen, 1);
    dispatch(1, 8, "noop", 1);
    expect_dispatch(2, 8, 42);
    dispatch(1, 9, "noop", 1);
    expect(1, MSG_UNDELIVERABLE);
    /* A TICKETS overtaken by a newer one that names nothing any more. */
    uint64_t overtaken = ++seq;
    grants(2, 43, 0, 1, 100);
    seq = overtaken - 1;
    grants(2, 41, 2, 1, 100);
    dispatch(1, 10, "noop", 1);
    expect(1, MSG_UNDELIVERABLE);
    expect_silence();
}
END_TEST

START_TEST(test_p14_use_of_a_ticket_outlives_a_silence_and_a_new_connection)
{
    small_fleet();
    grants(2, 41, 1, 1, 100);
    dispatch(1, 7, "noop", 1);
    expect_dispatch(2, 7, 41);
    now += 3 * HEARTBEAT_MS - 1;
    msg_t ping = {.type = MSG_PING};
    say(BROKER_FRONTEND, 1, &ping);
    expect(1, MSG_PONG);
    now += 1;
    turn();
    ck_assert_uint_eq(broker_core_peers_n(core), 1);
    expect(1, MSG_CAPACITY);
    worker_comes(5, 22, "w", 2); /* the same process, back on another connection */
    expect(1, MSG_HELLO);
    grants(5, 41, 2, 1, 100);
    dispatch(1, 8, "noop", 1);
    expect_dispatch(5, 8, 42);
    dispatch(1, 9, "noop", 1);
    expect(1, MSG_UNDELIVERABLE);
}
END_TEST

START_TEST(test_p15_capacity_is_whole_numbered_and_sent_on_change_and_ping)
{
    small_fleet();
    worker_comes(3, 33, "x", 2);
    expect(1, MSG_HELLO);
    grants(2, 1, 2, 3, 500);
    grants(3, 1, 1, 2, 500);
    turn();
    expect_capacity(1, 2, 2);
    uint64_t first = got.capacity_is.seq;
    ck_assert(str_equal(got.capacity_is.groups[0].tasks, str_of("noop,pay")));
    ck_assert(str_equal(got.capacity_is.groups[1].tasks, str_of("pay")));
    ck_assert_uint_eq(got.capacity_is.groups[1].n, 1);
    turn(); /* nothing changed */
    grants(2, 1, 2, 3, 500);
    turn(); /* nor by a renewal */
    expect_silence();
    msg_t ping = {.type = MSG_PING, .ping.seq = 5};
    say(BROKER_FRONTEND, 1, &ping);
    expect(1, MSG_PONG);
    ck_assert_uint_eq(got.pong.seq, 5);
    turn();
    expect_capacity(1, 2, 2);
    ck_assert_uint_eq(got.capacity_is.seq, first + 1);
    ck_assert_uint_eq(got.capacity_is.dispatches_seen, 0);
    dispatch(1, 7, "pay", 500);
    read_n++;
    turn();
    expect(1, MSG_CAPACITY);
    ck_assert_uint_eq(got.capacity_is.dispatches_seen, 1);
    ck_assert_uint_eq(got.capacity_is.seq, first + 2);
    grants(3, 2, 1, 0, 500); /* good for no task */
    grants(3, 2, 1, 1ULL << 63, 500);
    turn();
    expect(1, MSG_CAPACITY);
    for (uint32_t i = 0; i < got.capacity_is.groups_n; i++) {
        ck_assert(str_equal(got.capacity_is.groups[i].tasks, str_of("noop,pay")));
    }
}
END_TEST

START_TEST(test_p16_fewest_in_flight_per_slot_first_then_the_oldest_ticket)
{
    small_fleet(); /* w: 2 slots on connection 2 */
    worker_comes(3, 33, "x", 4);
    expect(1, MSG_HELLO);
    grants(3, 1, 4, 1, 100);
    grants(2, 1, 2, 1, 100);
    /* Both idle: x has the older tickets. Then loads 1/4 against 0/2, 1/4 against 1/2 ... */
    static const int order[] = {3, 2, 3, 3, 2, 3};
    for (int i = 0; i < 6; i++) {
        dispatch(1, (uint64_t)i, "noop", 1);
        expect(order[i], MSG_DISPATCH);
    }
    /* An outcome lowers the load without a new TICKETS. */
    start_core(false);
    forget_sent();
    small_fleet();
    worker_comes(3, 33, "x", 2);
    expect(1, MSG_HELLO);
    grants(2, 1, 2, 1, 100);
    grants(3, 1, 2, 1, 100);
    dispatch(1, 1, "noop", 1);
    expect(2, MSG_DISPATCH);
    dispatch(1, 2, "noop", 1);
    expect(3, MSG_DISPATCH);
    msg_t refused = {.type = MSG_REFUSED};
    refused.refused.worker = refused.refused.reason = str_of("");
    say(BROKER_BACKEND, 3, &refused);
    expect(1, MSG_REFUSED);
    dispatch(1, 3, "noop", 1);
    expect(3, MSG_DISPATCH);
}
END_TEST

START_TEST(test_p16_without_a_fitting_ticket_undeliverable_at_once_and_nothing_is_queued)
{
    small_fleet();
    dispatch(1, 7, "noop", 1);
    expect(1, MSG_UNDELIVERABLE);
    ck_assert_uint_eq(got.undeliverable.batch, 7);
    ck_assert_uint_eq(got.undeliverable.attempt, 1);
    ck_assert_uint_eq(got.undeliverable.seq, 1);
    turn();
    expect(1, MSG_CAPACITY); /* the newer one the store waits for */
    ck_assert_uint_eq(got.capacity_is.seq, 2);
    grants(2, 1, 1, 2, 100); /* "pay" only */
    expect_silence();        /* the refused batch is not remembered */
    dispatch(1, 8, "noop", 1);
    expect(1, MSG_UNDELIVERABLE);
    dispatch(1, 9, "pa", 1);
    expect(1, MSG_UNDELIVERABLE);
    dispatch(1, 10, "pay", 100);
    expect_dispatch(2, 10, 1);
    /* A worker that takes nothing: certainly not sent, and its other tickets are not tried. */
    grants(2, 2, 2, 2, 100);
    deaf_link = 2;
    dispatch(1, 11, "pay", 1);
    expect(1, MSG_UNDELIVERABLE);
    uint64_t dropped = broker_core_counters(core)->dropped;
    dispatch(1, 12, "pay", 1);
    expect(1, MSG_UNDELIVERABLE);
    ck_assert_uint_eq(broker_core_counters(core)->dropped, dropped);
    ck_assert_uint_eq(broker_core_counters(core)->undeliverable, 5);
}
END_TEST

START_TEST(test_p16_a_batch_too_large_takes_the_last_resort_and_only_that)
{
    small_fleet();
    worker_comes(3, 33, "x", 1);
    expect(1, MSG_HELLO);
    grants(2, 1, 1, 1, 100);
    grants(3, 1, 1, 1, 500);
    dispatch(1, 1, "noop", 400);
    expect_dispatch(3, 1, 1);
    dispatch(1, 2, "noop", 400); /* nobody asks for so many: the batch must not wait for ever */
    expect_dispatch(2, 2, 1);
}
END_TEST

START_TEST(test_p16_a_copied_late_or_misdirected_dispatch_is_dropped_in_silence)
{
    small_fleet();
    grants(2, 1, 3, 1, 100);
    dispatch(1, 1, "noop", 1);
    expect_dispatch(2, 1, 1);
    number = 0;
    dispatch(1, 1, "noop", 1); /* the same number again */
    expect_silence();
    number = 4;
    dispatch(1, 5, "noop", 1);
    expect_dispatch(2, 5, 2);
    number = 2;
    dispatch(1, 3, "noop", 1); /* overtaken */
    expect_silence();
    msg_t msg = {.type = MSG_DISPATCH};
    msg.dispatch.broker = str_bytes("broker-number-2", WIRE_PEER_N);
    msg.dispatch.number = 9;
    msg.dispatch.task = str_of("noop");
    msg.dispatch.store_id = msg.dispatch.params = msg.dispatch.header = str_of("");
    say(BROKER_FRONTEND, 1, &msg);
    expect_silence();
}
END_TEST

START_TEST(test_p9_silent_peers_are_forgotten_and_time_asleep_is_no_silence)
{
    small_fleet();
    grants(2, 1, 1, 1, 100);
    turn();
    expect_capacity(1, 1, 1);
    msg_t ping = {.type = MSG_PING};
    for (int i = 0; i < 3; i++) {
        now += HEARTBEAT_MS;
        say(BROKER_FRONTEND, 1, &ping);
        turn();
    }
    ck_assert_uint_eq(broker_core_peers_n(core), 1); /* the worker said nothing */
    while (read_n < sent_n - 1) {
        read_n++;
    }
    expect_capacity(1, 0, 0);
    msg_t accepted = {.type = MSG_ACCEPTED, .accepted.worker = str_of("")};
    say(BROKER_BACKEND, 2, &accepted);
    expect(2, MSG_RECONNECT);
    /* This process is stopped for an hour: the heartbeats of the others wait in its queue. */
    now += 3600000;
    turn();
    ck_assert_uint_eq(broker_core_peers_n(core), 1);
    now = broker_core_next_at(core);
    ck_assert_int_ne(now, INT64_MAX);
    turn();
    ck_assert_uint_eq(broker_core_peers_n(core), 0);
}
END_TEST

START_TEST(test_p3_the_api_that_said_hello_last_is_the_store)
{
    small_fleet();
    grants(2, 1, 2, 1, 100);
    api_comes(4, 44);
    turn();
    expect(4, MSG_HELLO);
    expect_capacity(4, 1, 2);
    dispatch(1, 7, "noop", 1); /* the replaced one starts nothing */
    expect(1, MSG_UNDELIVERABLE);
    dispatch(4, 8, "noop", 1);
    expect_dispatch(2, 8, 1);
    msg_t accepted = {.type = MSG_ACCEPTED, .accepted.worker = str_of("")};
    say(BROKER_BACKEND, 2, &accepted);
    expect(4, MSG_ACCEPTED);
    /* The new one leaves: the old one is asked to say HELLO, and is the store again. */
    msg_t bye = {.type = MSG_BYE, .bye.reason = str_of("")}, ping = {.type = MSG_PING};
    say(BROKER_FRONTEND, 4, &bye);
    say(BROKER_BACKEND, 2, &accepted);
    ck_assert_uint_eq(broker_core_counters(core)->no_store, 1);
    say(BROKER_FRONTEND, 1, &ping);
    expect(1, MSG_RECONNECT);
    api_comes(1, 11);
    turn();
    expect(1, MSG_HELLO);
    expect_capacity(1, 1, 1);
    ck_assert_uint_eq(got.capacity_is.dispatches_seen, 0);
}
END_TEST

START_TEST(test_p11_new_incarnation_of_a_name_ends_the_older_one_at_once)
{
    small_fleet();
    grants(2, 1, 2, 1, 100);
    worker_comes(3, 33, "w", 2);
    expect(1, MSG_HELLO);
    ck_assert_mem_eq(last->frames.route, incarnation_of(33), WIRE_PEER_N);
    dispatch(1, 7, "noop", 1);
    expect(1, MSG_UNDELIVERABLE);
    msg_t tickets = {.type = MSG_TICKETS};
    say(BROKER_BACKEND, 2, &tickets);
    expect(2, MSG_RECONNECT);
}
END_TEST

/* "Keys": the number of the connection says whose; `barred` speaks for nobody any more. */
static int barred;
static bool admit(void *context, const link_id_t *from, uint64_t role, const char *name)
{
    (void)context;
    int n = 0;
    memcpy(&n, from->bytes + 1, 4);
    return n != barred && (role == WIRE_ROLE_WORKER) == (name[0] == 'w');
}

START_TEST(test_hello_that_its_key_is_not_for_is_dropped_in_silence)
{
    broker_options_t options = {.incarnation = "broker-number-1", .heartbeat_ms = HEARTBEAT_MS};
    broker_core_destroy(&core);
    core = broker_core_new(&options, (broker_effects_t){.send = take, .admit = admit});
    msg_t msg = hello(WIRE_ROLE_WORKER, 2, "another", 1);
    say(BROKER_BACKEND, 2, &msg);
    msg = hello(WIRE_ROLE_SCHEDULER, 3, "w", 1);
    say(BROKER_FRONTEND, 3, &msg);
    expect_silence();
    ck_assert_uint_eq(broker_core_counters(core)->hello_refused, 2);
    ck_assert_uint_eq(broker_core_peers_n(core), 0);
    msg = hello(WIRE_ROLE_WORKER, 2, "w", 1);
    say(BROKER_BACKEND, 2, &msg);
    expect(2, MSG_HELLO_OK);
}
END_TEST

START_TEST(test_whose_key_is_removed_is_forgotten_with_its_tickets)
{
    broker_options_t options = {.incarnation = "broker-number-1", .heartbeat_ms = HEARTBEAT_MS};
    broker_core_destroy(&core);
    core = broker_core_new(&options, (broker_effects_t){.send = take, .admit = admit});
    small_fleet();
    grants(2, 1, 1, 1, 100);
    turn();
    expect_capacity(1, 1, 1);
    broker_core_review(core, now);
    turn();
    expect_silence(); /* nobody's was */
    barred = 2;
    broker_core_review(core, now);
    turn();
    expect_capacity(1, 0, 0);
    ck_assert_uint_eq(broker_core_peers_n(core), 1);
    dispatch(1, 7, "noop", 100);
    expect(1, MSG_UNDELIVERABLE);
    barred = 1; /* the store too */
    broker_core_review(core, now);
    ck_assert_uint_eq(broker_core_peers_n(core), 0);
    barred = 0;
}
END_TEST

START_TEST(test_an_incarnation_is_not_taken_over_with_another_key)
{
    small_fleet();
    link_id_t thief = link_of(9);
    memset(thief.key, 'k', LINK_KEY_N);
    msg_t msg = hello(WIRE_ROLE_WORKER, 22, "w", 1);
    frames_t frames = frames_of(&msg, NULL);
    uint64_t before = broker_core_counters(core)->hello_refused;
    broker_core_receive(core, BROKER_BACKEND, &thief, &frames, now);
    ck_assert_uint_eq(broker_core_counters(core)->hello_refused, before + 1);
    expect_silence();
}
END_TEST

START_TEST(test_the_name_of_a_connection_under_another_key_is_a_stranger)
{
    small_fleet();
    link_id_t thief = link_of(2);
    memset(thief.key, 'k', LINK_KEY_N);
    msg_t accepted = {.type = MSG_ACCEPTED, .accepted.worker = str_of("")};
    frames_t frames = frames_of(&accepted, NULL);
    uint64_t before = broker_core_counters(core)->routed;
    broker_core_receive(core, BROKER_BACKEND, &thief, &frames, now);
    ck_assert_uint_eq(broker_core_counters(core)->routed, before);
    expect(2, MSG_RECONNECT);
}
END_TEST

START_TEST(test_bad_hello_is_counted_and_dropped)
{
    msg_t bad[12];
    for (int i = 0; i < 12; i++) {
        bad[i] = hello(WIRE_ROLE_WORKER, 50 + i, "w", 1);
        bad[i].hello.incarnation = str_of("0123456789abcdef");
    }
    bad[0].hello.role = WIRE_ROLE_API; /* on the workers' side */
    bad[1].hello.role = 0;
    bad[2].hello.role = 99;
    bad[3].hello.incarnation = str_of("short");
    bad[4].hello.name = str_of("");
    bad[5].hello.name = str_of("a,b");
    bad[6].hello.name = str_of("new\nline");
    bad[7].hello.name = str_bytes("nul\0", 4);
    bad[8].hello.name = str_of("12345678901234567890123456789012345678901234567890123456789012345");
    bad[9].hello.tasks_n = 65;
    bad[10].hello.name = str_of("caf\xc3\xa9");
    bad[11].hello.incarnation = str_of("");
    for (int i = 0; i < 12; i++) {
        say(BROKER_BACKEND, 2, &bad[i]);
        ck_assert_msg(broker_core_counters(core)->hello_refused == (uint64_t)i + 1, "number %d", i);
    }
    offers[1].name = str_of("a,b");
    msg_t msg = hello(WIRE_ROLE_WORKER, 1, "w", 1);
    offers[1].name = str_of("a,b");
    say(BROKER_BACKEND, 2, &msg);
    msg = hello(WIRE_ROLE_API, 1, "", 1);
    msg.hello.store_id = str_of("");
    say(BROKER_FRONTEND, 2, &msg);
    ck_assert_uint_eq(broker_core_counters(core)->hello_refused, 14);
    ck_assert_uint_eq(broker_core_peers_n(core), 0);
    expect_silence();
}
END_TEST

START_TEST(test_p5_unknown_major_is_answered_and_forgotten_and_unknown_types_are_ignored)
{
    small_fleet();
    static const uint8_t newer[] = {0x93, 0xce, 0x53, 0x54, 0x4e, 0x54, 0x02, 0x01};
    static const uint8_t unknown[] = {0x93, 0xce, 0x53, 0x54, 0x4e, 0x54, 0x01, 0x7e};
    say_frames(BROKER_BACKEND, 2, (frames_t){.head = blob_new(unknown, sizeof unknown)});
    expect_silence();
    ck_assert_uint_eq(broker_core_counters(core)->ignored, 1);
    say_frames(BROKER_BACKEND, 2, (frames_t){.head = blob_new(newer, sizeof newer)});
    expect(2, MSG_UNSUPPORTED);
    ck_assert_uint_eq(got.unsupported.major, WIRE_MAJOR);
    ck_assert_uint_eq(broker_core_peers_n(core), 1);
}
END_TEST

START_TEST(test_switch_for_tests_sends_every_dispatch_twice)
{
    start_core(true);
    small_fleet();
    grants(2, 1, 1, 1, 100);
    dispatch(1, 7, "noop", 1);
    expect_dispatch(2, 7, 1);
    expect_dispatch(2, 7, 1);
    expect_silence();
}
END_TEST

static uint64_t random_state;
static uint32_t random_number(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

/* Frames like those of real peers, with some bytes wrong; some of it gets past the decoder. */
static frames_t spoiled(const msg_t *msg)
{
    buffer_t bytes = {0};
    wire_encode(&bytes, msg);
    for (uint32_t i = random_number(3); i > 0; i--) {
        bytes.data[random_number((uint32_t)bytes.n)] = (uint8_t)random_number(256);
    }
    if (random_number(8) == 0) {
        bytes.n = random_number((uint32_t)bytes.n) + 1;
    }
    frames_t frames = {.head = blob_take(&bytes)};
    uint8_t route[WIRE_PEER_N];
    memcpy(route, incarnation_of((int)random_number(20)), WIRE_PEER_N);
    frames_route(&frames, route, random_number(2) ? WIRE_PEER_N : random_number(WIRE_PEER_N));
    return frames;
}

START_TEST(test_p6_garbage_and_mad_peers_never_end_the_broker)
{
    static wire_grant_t list[300];
    random_state = 20261123;
    char name[8];
    for (int i = 0; i < 60000; i++) {
        msg_t msg = {.type = MSG_TICKETS};
        int who = (int)random_number(20);
        switch (random_number(6)) {
        case 0:
            snprintf(name, sizeof name, "w%u", random_number(15));
            msg = hello(1 + random_number(3), who, name, random_number(4));
            break;
        case 1:
        case 2:
            msg.tickets.seq = (uint64_t)i;
            msg.tickets.ttl_ms = (int64_t)random_number(5000) - 100;
            msg.tickets.grants = list;
            msg.tickets.grants_n = random_number(300);
            for (uint32_t k = 0; k < msg.tickets.grants_n; k++) {
                list[k] = (wire_grant_t){random_number(400), random_number(4), random_number(90)};
            }
            break;
        case 3:
            msg = (msg_t){.type = MSG_DISPATCH};
            msg.dispatch.store_id = msg.dispatch.params = msg.dispatch.header = str_of("");
            msg.dispatch.task = str_of(random_number(2) ? "noop" : "pay");
            msg.dispatch.items_n = random_number(90);
            msg.dispatch.broker = str_bytes("broker-number-1", WIRE_PEER_N);
            msg.dispatch.number = random_number(2) ? ++number : random_number(50);
            break;
        case 4:
            msg = (msg_t){.type = MSG_REFUSED};
            msg.refused.worker = msg.refused.reason = str_of("");
            break;
        default:
            msg = (msg_t){.type = random_number(2) ? MSG_PING : MSG_BYE};
            msg.bye.reason = str_of("");
        }
        deaf_link = random_number(10) ? -1 : who;
        say_frames(random_number(2) ? BROKER_FRONTEND : BROKER_BACKEND, who, spoiled(&msg));
        now += random_number(10) ? 0 : random_number(300);
        if (random_number(4) == 0) {
            turn();
            forget_sent();
        }
    }
    ck_assert_uint_gt(broker_core_counters(core)->garbage, 1000);
    ck_assert_uint_gt(broker_core_counters(core)->dispatched, 10);
    ck_assert_uint_eq(broker_core_counters(core)->received, 60000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("broker core");
    TCase *tests = tcase_create("core");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start, end);
    tcase_add_test(tests, test_p8_stranger_is_told_to_reconnect_until_it_says_hello);
    tcase_add_test(tests, test_p10_hello_of_every_worker_and_capacity_reach_a_new_store);
    tcase_add_test(tests, test_p10_store_that_is_full_gets_the_hellos_later_and_each_once);
    tcase_add_test(tests, test_p34_gone_is_passed_on_and_the_dead_worker_forgotten);
    tcase_add_test(tests, test_p2_messages_travel_between_worker_and_store_byte_for_byte);
    tcase_add_test(tests, test_p13_tickets_replace_the_set_and_end_with_their_time);
    tcase_add_test(tests, test_p14_tickets_that_crossed_a_dispatch_are_never_used_again);
    tcase_add_test(tests, test_p14_use_of_a_ticket_outlives_a_silence_and_a_new_connection);
    tcase_add_test(tests, test_p15_capacity_is_whole_numbered_and_sent_on_change_and_ping);
    tcase_add_test(tests, test_p16_fewest_in_flight_per_slot_first_then_the_oldest_ticket);
    tcase_add_test(tests,
                   test_p16_without_a_fitting_ticket_undeliverable_at_once_and_nothing_is_queued);
    tcase_add_test(tests, test_p16_a_batch_too_large_takes_the_last_resort_and_only_that);
    tcase_add_test(tests, test_p16_a_copied_late_or_misdirected_dispatch_is_dropped_in_silence);
    tcase_add_test(tests, test_p9_silent_peers_are_forgotten_and_time_asleep_is_no_silence);
    tcase_add_test(tests, test_p3_the_api_that_said_hello_last_is_the_store);
    tcase_add_test(tests, test_p11_new_incarnation_of_a_name_ends_the_older_one_at_once);
    tcase_add_test(tests, test_hello_that_its_key_is_not_for_is_dropped_in_silence);
    tcase_add_test(tests, test_whose_key_is_removed_is_forgotten_with_its_tickets);
    tcase_add_test(tests, test_an_incarnation_is_not_taken_over_with_another_key);
    tcase_add_test(tests, test_the_name_of_a_connection_under_another_key_is_a_stranger);
    tcase_add_test(tests, test_bad_hello_is_counted_and_dropped);
    tcase_add_test(tests,
                   test_p5_unknown_major_is_answered_and_forgotten_and_unknown_types_are_ignored);
    tcase_add_test(tests, test_switch_for_tests_sends_every_dispatch_twice);
    tcase_add_test(tests, test_p6_garbage_and_mad_peers_never_end_the_broker);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

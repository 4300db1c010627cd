/* The worker's core: connections, tickets, heartbeats, drain (PROTOCOL.md 3, 4, 6). */
#include "tests/worker/core_harness.h"

START_TEST(test_p8_hello_first_and_again_until_answered)
{
    worker_options_t it = options();
    static const worker_effects_t effects = {.send = on_send};
    core = worker_core_new(&it, &effects);
    arena = wire_arena_new();
    turn();
    ck_assert_int_eq(count(MSG_HELLO), 1);
    msg_t hello = last_of(MSG_HELLO);
    ck_assert_uint_eq(hello.hello.role, WIRE_ROLE_WORKER);
    ck_assert(str_equal(hello.hello.name, str_of("w1")));
    ck_assert_uint_eq(hello.hello.slots, 1);
    ck_assert_uint_eq(hello.hello.incarnation.n, 16);
    ck_assert_uint_eq(hello.hello.tasks_n, 3); /* noop, the transactions and their finalize */
    ck_assert_uint_eq(hello.hello.tasks[1].rate_n, 10);
    ck_assert_int_eq(hello.hello.tasks[1].rate_window_ms, 60000);
    pass(2500, 0);
    ck_assert_int_eq(count(MSG_HELLO), 3);
    ck_assert_int_eq(sent_n, 3); /* and nothing else to a broker that does not answer */
    hello_ok(0);
    pass(1000, 1);
    ck_assert_int_eq(count(MSG_HELLO), 3);
    close_worker();
}
END_TEST

START_TEST(test_a_hello_that_nobody_took_is_said_again_soon)
{
    worker_options_t it = options();
    static const worker_effects_t effects = {.send = on_send};
    core = worker_core_new(&it, &effects);
    arena = wire_arena_new();
    unconnected = true;
    turn();
    pass(200, 0);
    ck_assert_int_eq(count(MSG_HELLO), 5);
    unconnected = false;
    pass(700, 0);
    ck_assert_int_eq(count(MSG_HELLO), 6);
    close_worker();
}
END_TEST

START_TEST(test_p8_reconnect_is_answered_with_one_hello)
{
    worker_options_t it = options();
    open_worker(&it);
    forget();
    for (int i = 0; i < 5; i++) {
        hear(0, &(msg_t){.type = MSG_RECONNECT, .reconnect = {.reason = str_of("stranger")}}, NULL);
        turn();
    }
    ck_assert_int_eq(count(MSG_HELLO), 1);
    ck_assert_int_eq(worker_core_facts(core).tickets_n, 0);
    hello_ok(0);
    turn();
    ck_assert_int_eq(granted(0, FREE, NULL), 1);
    close_worker();
}
END_TEST

START_TEST(test_p9_three_unanswered_heartbeats_move_the_tickets)
{
    worker_options_t it = options();
    it.brokers = 2;
    it.slots = 4;
    open_worker(&it);
    ck_assert_int_eq(granted(0, FREE, NULL), 2);
    ck_assert_int_eq(granted(1, FREE, NULL), 2);
    forget();
    for (int i = 0; i < 4; i++) { /* broker 1 falls silent */
        now += 1000;
        turn();
        pong(0);
    }
    ck_assert_int_eq(granted(0, FREE, NULL), 4);
    ck_assert_int_eq(worker_core_facts(core).brokers_live_n, 1);
    forget();
    pass(2000, 1);
    msg_t msg;
    ck_assert(newest(MSG_HELLO, 1, &msg));
    ck_assert(!newest(MSG_TICKETS, 1, &msg));
    hello_ok(1);
    turn();
    ck_assert(newest(MSG_TICKETS, 1, &msg));
    close_worker();
}
END_TEST

START_TEST(test_p9_tickets_to_every_broker_at_each_heartbeat)
{
    worker_options_t it = options();
    it.brokers = 3;
    open_worker(&it);
    forget();
    pass(3000, 3);
    ck_assert_int_eq(count(MSG_TICKETS), 9);
    ck_assert_int_eq(count(MSG_HEARTBEAT), 3); /* the store hears it once, through one of them */
    close_worker();
}
END_TEST

START_TEST(test_p13_a_ticket_is_offered_to_one_broker_and_ids_rise)
{
    worker_options_t it = options();
    it.brokers = 3;
    it.slots = 8;
    open_worker(&it);
    uint64_t ids[16], seen[64], last = 0;
    int n = 0;
    for (int broker = 0; broker < 3; broker++) {
        int k = granted(broker, FREE, ids);
        ck_assert_int_ge(k, 2);
        for (int i = 0; i < k; i++) {
            seen[n++] = ids[i];
            last = ids[i] > last ? ids[i] : last;
        }
    }
    ck_assert_int_eq(n, 8);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) {
            ck_assert_uint_ne(seen[i], seen[k]);
        }
    }
    uint64_t used = dispatch(1, FREE);
    turn();
    child_ends(0, 50000);
    turn();
    int fresh = 0;
    for (int broker = 0; broker < 3; broker++) {
        for (int i = granted(broker, FREE, ids); i-- > 0;) {
            ck_assert_uint_ne(ids[i], used);
            fresh += ids[i] > last;
        }
    }
    ck_assert_int_eq(fresh, 1);
    close_worker();
}
END_TEST

START_TEST(test_p13_a_ticket_lives_three_heartbeats_from_its_last_mention)
{
    worker_options_t it = options();
    open_worker(&it);
    uint64_t id;
    ck_assert_int_eq(granted(0, FREE, &id), 1);
    ck_assert_int_eq(last_of(MSG_TICKETS).tickets.ttl_ms, 3000);
    now += 2999;
    dispatch_on(id, 1, 1, FREE);
    ck_assert_int_eq(count(MSG_ACCEPTED), 1);
    close_worker();
    open_worker(&it);
    granted(0, FREE, &id);
    now += 3000; /* as after SIGSTOP: no turn in between */
    dispatch_on(id, 1, 1, FREE);
    ck_assert_int_eq(count(MSG_ACCEPTED), 0);
    ck_assert_int_eq(count(MSG_REFUSED), 1);
    turn();
    uint64_t next;
    ck_assert_int_eq(granted(0, FREE, &next), 1);
    ck_assert_uint_gt(next, id);
    close_worker();
}
END_TEST

START_TEST(test_tickets_are_free_slots_and_come_back_in_the_turn_of_the_end)
{
    worker_options_t it = options();
    it.slots = 3;
    it.lookahead = false;
    open_worker(&it);
    ck_assert_int_eq(granted(0, FREE, NULL), 3);
    dispatch(1, FREE);
    dispatch_on(2, 2, 1, FREE);
    turn();
    ck_assert_int_eq(starts_n, 2);
    pass(1000, 1);
    ck_assert_int_eq(granted(0, FREE, NULL), 1);
    child_ends(0, 1000);
    turn();
    ck_assert_int_eq(granted(0, FREE, NULL), 2);
    ck_assert_int_eq(sent[sent_n - 1].at, now);
    close_worker();
}
END_TEST

START_TEST(test_p28_quiet_grants_nothing_until_it_ends)
{
    worker_options_t it = options();
    open_worker(&it);
    uint64_t id;
    granted(0, FREE, &id);
    msg_t msg = {.type = MSG_HEARTBEAT_OK, .heartbeat_ok = {.seq = 1, .quiet = 1}};
    hear(0, &msg, NULL);
    turn();
    ck_assert_int_eq(granted(0, FREE, NULL), 0);
    dispatch_on(id, 1, 1, FREE);
    ck_assert_int_eq(count(MSG_REFUSED), 1);
    pass(1000, 1);
    msg.heartbeat_ok.seq = 2;
    msg.heartbeat_ok.quiet = 0;
    hear(0, &msg, NULL);
    turn();
    ck_assert_int_eq(granted(0, FREE, NULL), 1);
    msg.heartbeat_ok.seq = 1; /* an old answer, late */
    msg.heartbeat_ok.quiet = 1;
    hear(0, &msg, NULL);
    turn();
    ck_assert_int_eq(granted(0, FREE, NULL), 1);
    close_worker();
}
END_TEST

START_TEST(test_p28_limits_of_the_store_replace_the_own_until_they_go)
{
    worker_options_t it = options();
    it.slots = 8;
    open_worker(&it);
    ck_assert_int_eq(granted(0, LIMITED, NULL), 8);
    wire_limit_t limit = {.task = str_of(LIMITED), .rate_n = 3, .rate_window_ms = 60000};
    msg_t msg = {.type = MSG_HEARTBEAT_OK,
                 .heartbeat_ok = {.seq = 1, .limits = &limit, .limits_n = 1}};
    hear(0, &msg, NULL);
    turn();
    ck_assert_int_eq(granted(0, LIMITED, NULL), 3);
    ck_assert_int_eq(granted(0, FREE, NULL), 8);
    pass(1000, 1);
    ck_assert_uint_eq(last_of(MSG_HEARTBEAT).heartbeat.limits[0].rate_n, 3);
    msg.heartbeat_ok = (msg_heartbeat_ok_t){.seq = 2};
    hear(0, &msg, NULL);
    turn();
    ck_assert_int_eq(granted(0, LIMITED, NULL), 8);
    limit.rate_n = UINT64_MAX; /* nonsense is bounded, a limit without window ignored */
    limit.rate_window_ms = -5;
    msg.heartbeat_ok = (msg_heartbeat_ok_t){.seq = 2, .limits = &limit, .limits_n = 1};
    hear(0, &msg, NULL);
    turn();
    ck_assert_int_eq(granted(0, LIMITED, NULL), 8);
    close_worker();
}
END_TEST

START_TEST(test_p25_heartbeat_names_what_runs_and_waits)
{
    worker_options_t it = options();
    open_worker(&it);
    dispatch(7, FREE);
    turn();
    pool_event_t event = {.type = POOL_PROGRESS, .batch = 7, .attempt = 1, .items_done = 42};
    worker_core_event(core, &event, now);
    worker_core_sample(core, &(worker_sample_t){.cpu_permille = 500, .memory_total = 9}, now);
    pass(1000, 1);
    msg_t msg = last_of(MSG_HEARTBEAT);
    ck_assert_uint_eq(msg.heartbeat.batches_n, 1);
    ck_assert_uint_eq(msg.heartbeat.batches[0].batch, 7);
    ck_assert_uint_eq(msg.heartbeat.batches[0].items_done, 42);
    ck_assert_uint_eq(msg.heartbeat.busy, 1);
    ck_assert_uint_eq(msg.heartbeat.cpu_permille, 500);
    ck_assert_uint_eq(msg.heartbeat.batch_items, 1000);
    close_worker();
}
END_TEST

START_TEST(test_p9_heartbeats_leave_a_broker_that_does_not_reach_the_store)
{
    worker_options_t it = options();
    it.brokers = 2;
    it.slots = 4;
    open_worker(&it);
    for (int i = 0; i < 10; i++) { /* both brokers live, the store answers only through 0 */
        now += 1000;
        turn();
        pong(0);
        pong(1);
        msg_t msg;
        if (newest(MSG_HEARTBEAT, 0, &msg)) {
            heartbeat_ok(msg.heartbeat.seq, NULL, 0);
        }
    }
    ck_assert_int_eq(granted(0, FREE, NULL), 4);
    ck_assert_int_eq(granted(1, FREE, NULL), 0);
    forget();
    for (int i = 0; i < 4; i++) {
        now += 1000;
        turn();
        pong(0);
        pong(1);
        ck_assert_int_eq(sent[sent_n - 1].type, MSG_HEARTBEAT);
        ck_assert_int_eq(sent[sent_n - 1].broker, 0);
    }
    close_worker();
}
END_TEST

START_TEST(test_drain_hands_back_finishes_waits_for_the_store_and_says_bye)
{
    worker_options_t it = options();
    open_worker(&it);
    dispatch(1, FREE);
    turn();
    worker_core_drain(core, now);
    turn();
    ck_assert_int_eq(granted(0, FREE, NULL), 0);
    pass(5000, 1);
    ck_assert(!worker_core_drained(core));
    ck_assert_uint_eq(last_of(MSG_HEARTBEAT).heartbeat.draining, 1);
    ck_assert_int_eq(kills_n, 0);
    child_ends(0, 1000);
    pass(3000, 1);
    ck_assert_int_ge(count(MSG_RESULT), 2);
    ck_assert(!worker_core_drained(core));
    recorded(1, 1);
    turn();
    ck_assert(worker_core_drained(core));
    ck_assert_int_eq(count(MSG_BYE), 1);
    pass(1000, 1);
    ck_assert_int_eq(count(MSG_BYE), 1);
    close_worker();
}
END_TEST

START_TEST(test_drain_ends_after_its_time_and_reports_nothing_of_what_it_kills)
{
    worker_options_t it = options();
    open_worker(&it);
    dispatch(1, FREE);
    turn();
    for (uint64_t seq = 1; seq < 60; seq++) { /* the lease is kept all the time */
        if (seq == 1) {
            worker_core_drain(core, now);
        }
        now += 1000;
        turn();
        pong(0);
        heartbeat_ok(last_of(MSG_HEARTBEAT).heartbeat.seq, NULL, 0);
    }
    ck_assert_int_eq(kills_n, 0);
    ck_assert(!worker_core_drained(core));
    now += 1000;
    turn();
    ck_assert_int_eq(kills_n, 1);
    ck_assert(worker_core_drained(core));
    ck_assert_int_eq(count(MSG_FAILURE) + count(MSG_RESULT) + count(MSG_HANDED_BACK), 0);
    close_worker();
}
END_TEST

START_TEST(test_p28_the_store_can_ask_for_the_drain)
{
    worker_options_t it = options();
    open_worker(&it);
    hear(0, &(msg_t){.type = MSG_HEARTBEAT_OK, .heartbeat_ok = {.seq = 1, .drain = 1}}, NULL);
    turn();
    ck_assert(worker_core_drained(core));
    close_worker();
}
END_TEST

START_TEST(test_p5_p6_bytes_of_strangers_are_counted_and_dropped)
{
    worker_options_t it = options();
    open_worker(&it);
    uint64_t seed = (uint64_t)now, state = seed;
    msg_t msg = dispatch_msg(1, 1, FREE);
    frames_t good = frames_of(&msg, NULL);
    for (size_t cut = 0; cut < blob_n(good.head); cut++) {
        frames_t frames = {.head = blob_new(blob_data(good.head), cut)};
        worker_core_receive(core, 0, &frames, now);
    }
    for (int i = 0; i < 5000; i++) {
        uint8_t bytes[256];
        size_t n = blob_n(good.head) < sizeof bytes ? blob_n(good.head) : sizeof bytes;
        memcpy(bytes, blob_data(good.head), n);
        bytes[random_below(&state, n)] ^= (uint8_t)(1 + random_below(&state, 255));
        frames_t frames = {.head = blob_new(bytes, n), .route_n = 8};
        worker_core_receive(core, 0, &frames, now);
        turn();
    }
    frames_free(&good);
    frames_t none = {0};
    worker_core_receive(core, 0, &none, now);
    ck_assert_uint_gt(worker_core_facts(core).garbage_n, blob_n(good.head));
    /* 0x93: [magic, major 2, type 1]: answered once a heartbeat, or two versions would never stop.
     */
    for (int i = 0; i < 3; i++) {
        frames_t other = {.head = blob_new("\x93\xce\x53\x54\x4e\x54\x02\x01", 8)};
        worker_core_receive(core, 0, &other, now);
    }
    ck_assert_int_le(count(MSG_UNSUPPORTED), 2);
    ck_assert_int_ge(count(MSG_UNSUPPORTED), 1);
    ck_assert_int_eq(starts_n, 0);
    close_worker();
}
END_TEST

int main(void)
{
    static const TTest *tests[20];
    int n = 0;
    tests[n++] = test_p8_hello_first_and_again_until_answered;
    tests[n++] = test_a_hello_that_nobody_took_is_said_again_soon;
    tests[n++] = test_p8_reconnect_is_answered_with_one_hello;
    tests[n++] = test_p9_three_unanswered_heartbeats_move_the_tickets;
    tests[n++] = test_p9_tickets_to_every_broker_at_each_heartbeat;
    tests[n++] = test_p9_heartbeats_leave_a_broker_that_does_not_reach_the_store;
    tests[n++] = test_p13_a_ticket_is_offered_to_one_broker_and_ids_rise;
    tests[n++] = test_p13_a_ticket_lives_three_heartbeats_from_its_last_mention;
    tests[n++] = test_tickets_are_free_slots_and_come_back_in_the_turn_of_the_end;
    tests[n++] = test_p25_heartbeat_names_what_runs_and_waits;
    tests[n++] = test_p28_quiet_grants_nothing_until_it_ends;
    tests[n++] = test_p28_limits_of_the_store_replace_the_own_until_they_go;
    tests[n++] = test_p28_the_store_can_ask_for_the_drain;
    tests[n++] = test_drain_hands_back_finishes_waits_for_the_store_and_says_bye;
    tests[n++] = test_drain_ends_after_its_time_and_reports_nothing_of_what_it_kills;
    tests[n++] = test_p5_p6_bytes_of_strangers_are_counted_and_dropped;
    return run_suite("worker core: connections", tests, n);
}

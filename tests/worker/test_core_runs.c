/* The worker's core: batches taken, started, given back, ended (PROTOCOL.md 4 to 7, the rate
 * limit). */
#include <time.h>

#include "tests/worker/core_harness.h"

static void no_lookahead(int slots)
{
    worker_options_t it = options();
    it.slots = slots;
    it.lookahead = false;
    open_worker(&it);
}

START_TEST(test_p18_a_dispatch_is_accepted_and_started)
{
    no_lookahead(1);
    dispatch(5, FREE);
    ck_assert_int_eq(count(MSG_ACCEPTED), 1);
    turn();
    ck_assert_int_eq(starts_n, 1);
    ck_assert_uint_eq(children[0].batch, 5);
    close_worker();
}
END_TEST

START_TEST(test_p17_a_duplicate_dispatch_is_silent_at_every_stage)
{
    no_lookahead(2);
    uint64_t id = dispatch(5, FREE);
    forget();
    for (int stage = 0; stage < 4; stage++) {
        dispatch_on(id, 5, 1, FREE);
        ck_assert_int_eq(count(MSG_REFUSED) + count(MSG_ACCEPTED) + count(MSG_HANDED_BACK), 0);
        if (stage == 0) {
            turn();
        } else if (stage == 1) {
            child_ends(0, 50000);
        } else if (stage == 2) {
            recorded(5, 1);
        }
    }
    turn();
    ck_assert_int_eq(starts_n, 1);
    close_worker();
}
END_TEST

START_TEST(test_p17_refused_are_used_expired_and_wrong_task_but_not_unknown)
{
    no_lookahead(2);
    uint64_t id = dispatch(5, FREE);
    dispatch_on(id, 6, 1, FREE); /* used by another batch */
    dispatch_on(id, 5, 2, FREE); /* and by another attempt */
    ck_assert_int_eq(count(MSG_REFUSED), 2);
    dispatch_on(4711, 7, 1, FREE); /* nothing can be proven of it */
    ck_assert_int_eq(count(MSG_REFUSED), 2);
    dispatch_on(2, 8, 1, "no_such_task");
    ck_assert_int_eq(count(MSG_REFUSED), 3);
    ck_assert_uint_eq(last_of(MSG_REFUSED).refused.batch, 8);
    dispatch_on(2, 9, 1, FREE); /* its broker has given it away: it is over */
    ck_assert_int_eq(count(MSG_REFUSED), 4);
    ck_assert_int_eq(count(MSG_ACCEPTED), 1);
    turn();
    ck_assert_int_eq(starts_n, 1);
    close_worker();
}
END_TEST

START_TEST(test_p24_the_same_attempt_on_a_second_ticket_is_not_run_again)
{
    no_lookahead(2);
    uint64_t ids[8];
    ck_assert_int_eq(granted(0, FREE, ids), 2);
    dispatch_on(ids[0], 5, 1, FREE);
    dispatch_on(ids[1], 5, 1, FREE);
    turn();
    ck_assert_int_eq(starts_n, 1);
    ck_assert_int_eq(count(MSG_REFUSED), 0); /* a refusal would deny the start that happened */
    close_worker();
}
END_TEST

START_TEST(test_p18_what_waits_100_ms_too_long_is_handed_back)
{
    worker_options_t it = options();
    open_worker(&it);
    dispatch(1, FREE);
    turn();
    child_ends(0, 1000); /* 1 ms: short, lookahead begins */
    turn();
    uint64_t ids[64];
    ck_assert_int_eq(granted(0, FREE, ids), 7); /* a slot and the 6 that fit 5 ms */
    for (int i = 0; i < 7; i++) {
        dispatch_on(ids[i], (uint64_t)(2 + i), 1, FREE);
    }
    turn();
    ck_assert_int_eq(starts_n, 2);
    ck_assert_uint_eq(worker_core_facts(core).waiting_n, 6);
    pass(100, 1);
    ck_assert_int_eq(count(MSG_HANDED_BACK), 0);
    pass(8, 1);
    ck_assert_int_eq(count(MSG_HANDED_BACK), 6);
    ck_assert_uint_eq(worker_core_facts(core).tickets_n,
                      0); /* and no lookahead behind a batch that is long */
    child_ends(0, 109000);
    turn();
    ck_assert_int_eq(starts_n, 2); /* what was handed back never starts */
    close_worker();
}
END_TEST

START_TEST(test_lookahead_starts_in_order_as_children_end)
{
    worker_options_t it = options();
    open_worker(&it);
    dispatch(1, FREE);
    turn();
    child_ends(0, 100);
    turn();
    enum { ALL = 1 + 51 }; /* 5 ms of batches of 100 us wait beside the one that runs */
    uint64_t ids[ALL];
    ck_assert_int_eq(granted(0, FREE, ids), ALL);
    ck_assert_int_eq(granted(0, LIMITED, NULL), 1); /* a limited batch never waits */
    for (int i = 0; i < ALL; i++) {
        dispatch_on(ids[i], (uint64_t)(10 + i), 1, FREE);
    }
    turn();
    for (uint64_t batch = 10; batch < 10 + ALL; batch++) {
        ck_assert_uint_eq(children[0].batch, batch);
        child_ends(0, 100);
        turn();
    }
    ck_assert_int_eq(count(MSG_HANDED_BACK), 0);
    close_worker();
}
END_TEST

START_TEST(test_outcomes_of_a_millisecond_go_together_while_batches_wait)
{
    worker_options_t it = options();
    open_worker(&it);
    dispatch(1, FREE);
    turn();
    child_ends(0, 100);
    turn();
    pass(1, 1);
    int before = count(MSG_RESULT);
    uint64_t ids[64];
    ck_assert_int_ge(granted(0, FREE, ids), 4);
    for (int i = 0; i < 4; i++) {
        dispatch_on(ids[i], (uint64_t)(10 + i), 1, FREE);
    }
    turn();
    child_ends(0, 100);
    turn();
    ck_assert_int_eq(count(MSG_RESULT) - before, 1); /* the first of a millisecond goes at once */
    child_ends(0, 100);
    turn();
    ck_assert_int_eq(count(MSG_RESULT) - before, 1);
    ck_assert_int_eq((int)(worker_core_next_at(core, now) - now), 1);
    child_ends(0, 100);
    turn(); /* nothing waits any more */
    ck_assert_int_eq(count(MSG_RESULT) - before, 3);
    child_ends(0, 100);
    turn();
    ck_assert_int_eq(count(MSG_RESULT) - before, 4);
    close_worker();
}
END_TEST

START_TEST(test_a_child_that_cannot_start_or_a_log_that_fails_hands_back_and_spends_the_token)
{
    no_lookahead(1);
    start_refused = true;
    dispatch(1, LIMITED);
    turn();
    ck_assert(started_before_start);
    ck_assert_int_eq(count(MSG_HANDED_BACK), 1);
    start_refused = false;
    log_broken = true;
    worker_core_slot_ready(core, 0, true);
    turn();
    dispatch(2, LIMITED);
    turn();
    ck_assert_int_eq(count(MSG_HANDED_BACK), 2);
    ck_assert_int_eq(starts_n, 0);
    pass(1000, 1);
    ck_assert_uint_eq(last_of(MSG_HEARTBEAT).heartbeat.limits[0].used_n, 2);
    close_worker();
}
END_TEST

START_TEST(test_p26_stop_kills_and_reports_nothing)
{
    no_lookahead(1);
    dispatch(5, FREE);
    turn();
    pass(1000, 1);
    wire_lease_ref_t other = {.batch = 5, .attempt = 2}, mine = {.batch = 5, .attempt = 1};
    heartbeat_ok(2, &other, 1);
    ck_assert_int_eq(kills_n, 0);
    heartbeat_ok(2, &mine, 1);
    ck_assert_int_eq(kills_n, 1);
    pool_event_t late = {
        .type = POOL_FAILURE, .batch = 5, .attempt = 1, .failure_class = FAILURE_CRASH};
    worker_core_event(core, &late, now);
    worker_core_slot_ready(core, 0, true);
    pass(3000, 1);
    ck_assert_int_eq(count(MSG_RESULT) + count(MSG_FAILURE) + count(MSG_HANDED_BACK), 0);
    ck_assert_int_eq(granted(0, FREE, NULL), 1);
    close_worker();
}
END_TEST

START_TEST(test_p27_without_renewal_the_child_is_killed_before_the_lease_ends)
{
    no_lookahead(1);
    dispatch(5, FREE);
    int64_t accepted_at = now;
    turn();
    ck_assert_int_gt(children[0].deadline_ms, accepted_at + 20000);
    ck_assert_int_lt(children[0].deadline_ms, accepted_at + 30000);
    pass(19999, 1);
    ck_assert_int_eq(kills_n, 0);
    pass(1, 1);
    ck_assert_int_eq(kills_n, 1);
    ck_assert_int_eq(count(MSG_FAILURE), 0);
    close_worker();
}
END_TEST

START_TEST(test_p27_a_child_that_its_own_guard_ended_is_no_failure)
{
    no_lookahead(1);
    dispatch(5, FREE);
    turn();
    now += 25000; /* the parent was stopped */
    child_fails(0, (pool_event_t){.failure_class = FAILURE_CRASH, .retry_after_ms = -1});
    turn();
    ck_assert_int_eq(count(MSG_FAILURE), 0);
    close_worker();
}
END_TEST

START_TEST(test_p25_the_lease_counts_from_the_sending_of_the_heartbeat)
{
    no_lookahead(1);
    dispatch(5, FREE);
    turn();
    pass(1000, 1);
    uint64_t seq = last_of(MSG_HEARTBEAT).heartbeat.seq;
    int64_t sent_at = sent[sent_n - 1].at;
    now += 900; /* the answer is slow */
    heartbeat_ok(seq, NULL, 0);
    ck_assert_int_eq(children[0].deadline_ms, sent_at + 22500);
    heartbeat_ok(seq - 1, NULL, 0); /* did not name it, is older */
    heartbeat_ok(seq + 1, NULL, 0); /* never sent */
    heartbeat_ok(seq, NULL, 0);
    ck_assert_int_eq(extends_n, 1);
    pass(sent_at + 19999 - now, 1);
    ck_assert_int_eq(kills_n, 0);
    pass(1, 1);
    ck_assert_int_eq(kills_n, 1);
    close_worker();
}
END_TEST

START_TEST(test_p23_outcomes_are_sent_again_until_recorded_or_discarded)
{
    no_lookahead(2);
    dispatch(1, FREE);
    dispatch_on(2, 2, 1, FREE);
    turn();
    child_ends(0, 50000);
    child_fails(1, (pool_event_t){.failure_class = FAILURE_TASK_ERROR, .retry_after_ms = -1});
    turn();
    ck_assert_int_eq(count(MSG_RESULT), 1);
    ck_assert_int_eq(count(MSG_FAILURE), 1);
    msg_t msg = last_of(MSG_RESULT);
    ck_assert_uint_eq(msg.result.store_id.n, 16);
    ck_assert_int_eq(memcmp(msg.result.store_id.p, "ABCDEFGHIJKLMNOP", 16), 0);
    pass(4000, 1);
    ck_assert_int_eq(count(MSG_RESULT), 3);
    recorded(1, 2); /* another attempt: says nothing of this one */
    pass(2000, 1);
    ck_assert_int_eq(count(MSG_RESULT), 4);
    recorded(1, 1);
    hear(0, &(msg_t){.type = MSG_DISCARDED, .discarded = {.batch = 2, .attempt = 1}}, NULL);
    pass(6000, 1);
    ck_assert_int_eq(count(MSG_RESULT), 4);
    ck_assert_int_eq(count(MSG_FAILURE), 4);
    ck_assert_uint_eq(worker_core_facts(core).results_n, 0);
    close_worker();
}
END_TEST

START_TEST(test_p23_outcomes_leave_through_another_broker)
{
    worker_options_t it = options();
    it.brokers = 2;
    it.lookahead = false;
    open_worker(&it);
    uint64_t id;
    ck_assert_int_eq(granted(0, FREE, &id) + granted(1, FREE, &id), 1);
    dispatch_on(id, 1, 1, FREE);
    turn();
    for (int i = 0; i < 4; i++) {
        now += 1000;
        turn();
        pong(1);
    }
    forget();
    child_ends(0, 1);
    turn();
    msg_t msg;
    ck_assert(newest(MSG_RESULT, 1, &msg));
    ck_assert_int_eq(count(MSG_RESULT), 1);
    close_worker();
}
END_TEST

START_TEST(test_p23_no_ticket_without_space_for_results)
{
    worker_options_t it = options();
    it.slots = 2;
    it.result_space = 1200;
    it.lookahead = false;
    open_worker(&it);
    ck_assert_int_eq(granted(0, FREE, NULL), 1);
    for (uint64_t batch = 1; worker_core_facts(core).tickets_n > 0; batch++) {
        ck_assert_uint_lt(batch, 9);
        dispatch(batch, FREE);
        turn();
        child_ends(0, 50000);
        turn();
    }
    ck_assert_uint_gt(worker_core_facts(core).results_n, 0);
    for (uint64_t batch = 1; batch < 9; batch++) {
        recorded(batch, 1);
    }
    turn();
    ck_assert_int_eq(granted(0, FREE, NULL), 1);
    close_worker();
}
END_TEST

START_TEST(test_p22_failure_carries_class_and_backoff)
{
    no_lookahead(1);
    static const struct {
        pool_event_t event;
        uint64_t failures;
        int64_t low, high;
    } rows[] = {
        {{.failure_class = FAILURE_CRASH, .retry_after_ms = -1}, 0, 0, 1000},
        {{.failure_class = FAILURE_MEMORY, .retry_after_ms = -1}, 3, 0, 8000},
        {{.failure_class = FAILURE_TASK_ERROR, .retry_after_ms = 1234}, 0, 1234, 1234},
        {{.failure_class = FAILURE_TASK_ERROR, .permanent = true, .retry_after_ms = 99}, 0, 0, 0},
    };
    for (int i = 0; i < 4; i++) {
        msg_t msg = dispatch_msg((uint64_t)i + 1, 1, FREE);
        msg.dispatch.failures = rows[i].failures;
        uint64_t ids[2];
        granted(0, FREE, ids);
        dispatch_msg_on(ids[0], &msg);
        turn();
        child_fails(0, rows[i].event);
        turn();
        msg = last_of(MSG_FAILURE);
        ck_assert_uint_eq(msg.failure.class, rows[i].event.failure_class);
        ck_assert_uint_eq(msg.failure.permanent, rows[i].event.permanent);
        ck_assert_int_ge(msg.failure.backoff_ms, rows[i].low);
        ck_assert_int_le(msg.failure.backoff_ms, rows[i].high);
    }
    close_worker();
}
END_TEST

START_TEST(test_the_duplicate_switch_sends_every_outcome_twice)
{
    worker_options_t it = options();
    it.test_duplicate = true;
    open_worker(&it);
    dispatch(1, FREE);
    turn();
    child_ends(0, 50000);
    turn();
    ck_assert_int_eq(count(MSG_RESULT), 2);
    close_worker();
}
END_TEST

static void partials(uint64_t batch, uint64_t attempt, uint64_t from, uint64_t next)
{
    msg_t msg = {
        .type = MSG_PARTIALS,
        .partials = {.batch = batch, .attempt = attempt, .from_no = from, .next_no = next}};
    hear(0, &msg, blob_new("page", 4));
}

START_TEST(test_p29_pages_are_asked_for_again_and_each_is_taken_once)
{
    no_lookahead(1);
    msg_t msg = dispatch_msg(9, 1, "finalize_transactions");
    msg.dispatch.kind = WIRE_KIND_FINALIZE;
    dispatch_msg_on(1, &msg);
    turn();
    pool_event_t event = {.type = POOL_PAGE, .batch = 9, .attempt = 1, .from_no = 12};
    worker_core_event(core, &event, now);
    turn();
    ck_assert_int_eq(count(MSG_PARTIALS_GET), 1);
    ck_assert_uint_eq(last_of(MSG_PARTIALS_GET).partials_get.from_no, 12);
    pass(2000, 1);
    ck_assert_int_eq(count(MSG_PARTIALS_GET), 3);
    partials(9, 2, 12, 20); /* another attempt */
    partials(9, 1, 0, 12);  /* another page */
    partials(8, 1, 12, 20);
    ck_assert_int_eq(pages_n, 0);
    partials(9, 1, 12, 20);
    partials(9, 1, 12, 20);
    ck_assert_int_eq(pages_n, 1);
    pass(3000, 1);
    ck_assert_int_eq(count(MSG_PARTIALS_GET), 3);
    close_worker();
}
END_TEST

START_TEST(test_no_ticket_names_a_limited_task_without_a_token)
{
    no_lookahead(8);
    for (uint64_t batch = 1; batch <= 7; batch++) {
        dispatch_on(batch, batch, 1, LIMITED);
    }
    turn();
    pass(1000, 1);
    ck_assert_int_eq(granted(0, LIMITED, NULL), 1); /* 8 slots, 7 run: the tokens are 3 */
    for (int slot = 0; slot < 7; slot++) {
        child_ends(slot, 50000);
    }
    turn();
    ck_assert_int_eq(granted(0, LIMITED, NULL), 3);
    ck_assert_int_eq(granted(0, FREE, NULL), 8);
    uint64_t ids[16];
    granted(0, LIMITED, ids);
    for (uint64_t i = 0; i < 3; i++) {
        dispatch_on(ids[i], 11 + i, 1, LIMITED);
    }
    turn();
    ck_assert_int_eq(starts_n, 10);
    pass(1000, 1);
    ck_assert_int_eq(granted(0, LIMITED, NULL), 0);
    ck_assert_int_eq(granted(0, FREE, NULL), 5);
    pass(57900, 1);
    for (int slot = 0; slot < 8; slot++) {
        worker_core_slot_ready(core, slot, true);
    }
    ck_assert_int_eq(granted(0, LIMITED, NULL), 0);
    pass(200, 1); /* no heartbeat is needed: the core wakes for the token */
    ck_assert_int_gt(granted(0, LIMITED, NULL), 0);
    close_worker();
}
END_TEST

START_TEST(test_rate_off_and_rate_set_replace_the_limit)
{
    worker_options_t it = options();
    it.slots = 8;
    it.rate = WORKER_RATE_SET;
    it.rate_n = 2;
    it.rate_window_ms = 1000;
    open_worker(&it);
    ck_assert_int_eq(granted(0, LIMITED, NULL), 2);
    close_worker();
    it.rate = WORKER_RATE_OFF;
    open_worker(&it);
    ck_assert_int_eq(granted(0, LIMITED, NULL), 8);
    dispatch(1, LIMITED);
    turn();
    ck_assert(!started_before_start);
    close_worker();
}
END_TEST

START_TEST(test_the_past_of_the_window_counts)
{
    worker_options_t it = options();
    it.slots = 8;
    static const worker_effects_t effects = {.send = on_send};
    for (int fill = 0; fill < 2; fill++) {
        core = worker_core_new(&it, &effects);
        arena = wire_arena_new();
        now = 1000;
        static const int64_t times[] = {-50000, -40000, 900, 950};
        worker_core_window_load(core, LIMITED, times, 4);
        if (fill) {
            worker_core_window_fill(core, LIMITED, now);
        }
        ready_all(8);
        turn();
        hello_ok(0);
        pass(1000, 1);
        ck_assert_uint_eq(last_of(MSG_HEARTBEAT).heartbeat.limits[0].used_n, fill ? 10 : 4);
        ck_assert_int_eq(granted(0, LIMITED, NULL), fill ? 0 : 6);
        close_worker();
    }
}
END_TEST

/* A store that dispatches whatever it may, children of any duration, brokers that vanish, limits
 * that change down. */
START_TEST(test_at_most_ten_starts_in_any_window_under_random_load)
{
    uint64_t seed = (uint64_t)time(NULL) * 31 + (uint64_t)_i, state = seed;
    printf("core seed %llu\n", (unsigned long long)seed);
    worker_options_t it = options();
    it.slots = 1 + (int)random_below(&state, SLOTS);
    it.brokers = 1 + (int)random_below(&state, BROKERS);
    open_worker(&it);
    int64_t end = now + 600000, quiet_until = 0;
    uint64_t batch = 1;
    while (now < end) {
        for (int broker = 0; broker < it.brokers; broker++) {
            uint64_t ids[4096];
            const char *task = random_below(&state, 3) ? LIMITED : FREE;
            int n = now < quiet_until ? 0 : granted(broker, task, ids);
            for (int i = 0; i < n; i++) {
                if (random_below(&state, 2)) {
                    dispatch_on(ids[i], batch++, 1, task);
                }
                if (random_below(&state, 8) == 0) {
                    dispatch_on(ids[i], batch - 1, 1, task);
                }
            }
            if (random_below(&state, 200) == 0) {
                hear(broker, &(msg_t){.type = MSG_RECONNECT}, NULL);
            }
            pong(broker);
            hello_ok(broker);
        }
        for (int slot = 0; slot < it.slots; slot++) {
            if (children[slot].busy && random_below(&state, 3) == 0) {
                uint64_t ended = children[slot].batch;
                child_ends(slot, (int64_t)random_below(&state, 20000));
                recorded(ended, 1);
            }
        }
        turn();
        if (sent_n > 1000) { /* keep what each broker was last told */
            forget();
            for (int broker = 0; broker < it.brokers; broker++) {
                hear(broker, &(msg_t){.type = MSG_RECONNECT}, NULL);
                hello_ok(broker);
            }
            turn();
        }
        if (random_below(&state, 500) == 0) {
            quiet_until = now + 70000; /* then all come at once */
        }
        now += random_below(&state, 5) ? (int64_t)random_below(&state, 50)
                                       : (int64_t)random_below(&state, 3000);
    }
    ck_assert_int_gt(limited_n, 20);
    for (int i = 0; i + 10 < limited_n; i++) {
        ck_assert_msg(start_times[i + 10] - start_times[i] >= 60000, "seed %llu, start %d",
                      (unsigned long long)seed, i);
    }
    close_worker();
}
END_TEST

int main(void)
{
    static const TTest *tests[32];
    int n = 0;
    tests[n++] = test_p17_a_duplicate_dispatch_is_silent_at_every_stage;
    tests[n++] = test_p17_refused_are_used_expired_and_wrong_task_but_not_unknown;
    tests[n++] = test_p18_a_dispatch_is_accepted_and_started;
    tests[n++] = test_p18_what_waits_100_ms_too_long_is_handed_back;
    tests[n++] = test_lookahead_starts_in_order_as_children_end;
    tests[n++] = test_outcomes_of_a_millisecond_go_together_while_batches_wait;
    tests[n++] = test_a_child_that_cannot_start_or_a_log_that_fails_hands_back_and_spends_the_token;
    tests[n++] = test_p22_failure_carries_class_and_backoff;
    tests[n++] = test_p23_outcomes_are_sent_again_until_recorded_or_discarded;
    tests[n++] = test_p23_outcomes_leave_through_another_broker;
    tests[n++] = test_p23_no_ticket_without_space_for_results;
    tests[n++] = test_the_duplicate_switch_sends_every_outcome_twice;
    tests[n++] = test_p24_the_same_attempt_on_a_second_ticket_is_not_run_again;
    tests[n++] = test_p25_the_lease_counts_from_the_sending_of_the_heartbeat;
    tests[n++] = test_p26_stop_kills_and_reports_nothing;
    tests[n++] = test_p27_without_renewal_the_child_is_killed_before_the_lease_ends;
    tests[n++] = test_p27_a_child_that_its_own_guard_ended_is_no_failure;
    tests[n++] = test_p29_pages_are_asked_for_again_and_each_is_taken_once;
    tests[n++] = test_no_ticket_names_a_limited_task_without_a_token;
    tests[n++] = test_rate_off_and_rate_set_replace_the_limit;
    tests[n++] = test_the_past_of_the_window_counts;
    tests[n++] = test_at_most_ten_starts_in_any_window_under_random_load;
    return run_suite("worker core: batches", tests, n);
}

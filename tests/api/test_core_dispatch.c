/* What the api's core sends to brokers: order, size, numbers, and what it counts on (PROTOCOL 4).
 */
#include "tests/api/core_world.h"

START_TEST(test_job_that_arrives_while_a_ticket_is_free_leaves_in_the_same_turn)
{
    capacity(1);
    turn();
    uint64_t commits = core_counters(core)->commits_n;
    uint64_t job = submit("noop", 5, 0);
    turn();
    ck_assert_uint_eq(core_counters(core)->commits_n, commits + 1);
    msg_dispatch_t it = take(MSG_DISPATCH).dispatch;
    ck_assert_uint_eq(it.job, job);
    ck_assert_uint_eq(it.attempt, 1);
    batch_row_t row = batch_row(it.batch);
    ck_assert_int_eq(row.state, BATCH_LEASED);
    ck_assert_uint_eq(row.attempt, 1);
    ck_assert_uint_eq(row.starts, 1);
}
END_TEST

START_TEST(test_higher_priority_goes_first_then_age)
{
    uint64_t old = submit("noop", 5, 0), newer = submit("noop", 5, 0);
    uint64_t urgent = submit("noop", 5, 7), later = submit("noop", 5, -1);
    turn();
    capacity(4);
    turn();
    const uint64_t order[] = {urgent, old, newer, later};
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.job, order[i]);
    }
}
END_TEST

START_TEST(test_order_holds_over_tasks_too)
{
    uint64_t noop = submit("noop", 5, 0), payments = submit("process_transaction_batch", 5, 1);
    capacity(2);
    turn();
    ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.job, payments);
    ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.job, noop);
}
END_TEST

START_TEST(test_task_without_a_ticket_does_not_hold_up_others)
{
    (void)submit("process_transaction_batch", 5, 50);
    uint64_t noop = submit("noop", 5, 0);
    capacity_of(0, "noop", 1500, 5);
    turn();
    ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.job, noop);
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
}
END_TEST

/* A finalize for which no worker has a ticket must not hold up the batches of other jobs. */
START_TEST(test_finalize_without_a_ticket_does_not_hold_up_its_task)
{
    msg_dispatch_t first = dispatch_one("process_transaction_batch", 5);
    result(first.batch, 1, "partial");
    uint64_t second = submit("process_transaction_batch", 5, 0);
    capacity_of(0, "process_transaction_batch", 1500, 1);
    turn();
    ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.job, second);
}
END_TEST

START_TEST(test_batch_is_whole_chunks_of_at_most_max_items)
{
    (void)submit("noop", 1030, 0);
    capacity_of(0, BOTH, 450, 4);
    turn();
    static const uint64_t sizes[] = {400, 400, 230};
    for (uint64_t i = 0, first = 1; i < 3; i++) {
        msg_dispatch_t it = take(MSG_DISPATCH).dispatch;
        ck_assert_uint_eq(it.items_n, sizes[i]);
        ck_assert_uint_eq(it.batch_no, i);
        ck_assert_uint_eq(it.first_line, first);
        ck_assert_uint_eq(it.raw_bytes, sizes[i] * 10);
        first += sizes[i];
    }
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
}
END_TEST

START_TEST(test_body_is_the_chunks_one_after_another)
{
    (void)submit("noop", 250, 0);
    capacity(1);
    turn();
    sent_t *which = NULL;
    ck_assert_int_eq(take_from(MSG_DISPATCH, &which).type, MSG_DISPATCH);
    ck_assert_uint_eq(blob_n(which->frames.body), 12);
    ck_assert_int_eq(memcmp(blob_data(which->frames.body), "zstdzstdzstd", 12), 0);
}
END_TEST

/* A batch that was cut is never cut again, whatever the next ticket says. */
START_TEST(test_range_of_a_batch_never_changes)
{
    msg_dispatch_t first = dispatch_one("noop", 1000);
    undeliverable(first.batch, 1);
    capacity_of(0, BOTH, 100, 1);
    turn();
    msg_dispatch_t again = take(MSG_DISPATCH).dispatch;
    ck_assert_uint_eq(again.batch, first.batch);
    ck_assert_uint_eq(again.items_n, 1000);
    ck_assert_uint_eq(again.attempt, 2);
}
END_TEST

static void limit_of(const peer_id_t *worker, uint64_t rate_n, uint64_t used_n)
{
    wire_limit_t limit = {.task = str_of("process_transaction_batch"),
                          .rate_n = rate_n,
                          .rate_window_ms = 60000,
                          .used_n = used_n};
    msg_t msg = {
        .type = MSG_HEARTBEAT,
        .heartbeat = {.seq = 1, .worker = str_of(worker->name), .limits = &limit, .limits_n = 1}};
    hear(0, worker->id, &msg, NULL);
}

START_TEST(test_when_tokens_are_scarce_a_batch_is_at_least_items_left_by_tokens_left)
{
    peer_id_t one = worker_of(1, 1), two = worker_of(2, 1);
    limit_of(&one, 10, 7);
    limit_of(&two, 10, 9);
    (void)submit("process_transaction_batch", 2000, 0);
    capacity_of(0, BOTH, 100, 1);
    turn();
    ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.items_n, 500);
    limit_of(&two, 0, 0); /* unlimited: nothing is scarce */
    capacity_of(0, BOTH, 100, 1);
    turn();
    ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.items_n, 100);
}
END_TEST

START_TEST(test_floor_of_tokens_never_exceeds_the_largest_batch)
{
    peer_id_t one = worker_of(1, 1);
    limit_of(&one, 10, 9);
    (void)submit("process_transaction_batch", 40000, 0);
    capacity_of(0, BOTH, 100, 1);
    turn();
    ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.items_n, 1500);
}
END_TEST

/* P16 */
START_TEST(test_p16_numbers_rise_per_broker_and_name_its_incarnation)
{
    (void)submit("noop", 1500 * 6, 0);
    for (int i = 0; i < 2; i++) {
        capacity_of(0, BOTH, 1500, 2);
        capacity_of(1, BOTH, 1500, 1);
        turn();
    }
    uint64_t last[BROKERS] = {0};
    for (int i = 0; i < 6; i++) {
        sent_t *which = NULL;
        msg_dispatch_t it = take_from(MSG_DISPATCH, &which).dispatch;
        ck_assert_uint_eq(it.number, last[which->broker] + 1);
        last[which->broker] = it.number;
        ck_assert_uint_eq(it.broker.n, WIRE_PEER_N);
        ck_assert_uint_eq((uint8_t)it.broker.p[0], broker_id(which->broker));
        ck_assert_uint_eq(which->frames.route_n, 0);
    }
    ck_assert_uint_eq(last[0], 4);
    ck_assert_uint_eq(last[1], 2);
}
END_TEST

START_TEST(test_p16_number_rises_on_over_a_reconnect)
{
    msg_dispatch_t first = dispatch_one("noop", 5);
    hear(0, NULL, &(msg_t){.type = MSG_RECONNECT}, NULL);
    turn();
    hello_ok(0);
    seq[0] = 0;
    msg_dispatch_t second = dispatch_one("noop", 5);
    ck_assert_uint_gt(second.number, first.number);
}
END_TEST

/* What an earlier life of the broker said comes late, after the new one was greeted. */
START_TEST(test_p15_words_of_an_earlier_life_of_a_broker_count_for_nothing)
{
    static const uint8_t old[WIRE_PEER_N] = "an earlier life";
    wire_capacity_t group = {.tasks = str_of(BOTH), .max_items = 1500, .n = 9};
    msg_t msg = {
        .type = MSG_CAPACITY,
        .capacity_is = {
            .seq = 500, .groups = &group, .groups_n = 1, .broker = str_bytes(old, sizeof old)}};
    hear(0, NULL, &msg, NULL);
    (void)submit("noop", 5, 0);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    capacity(1); /* its number is lower, and it counts */
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 1);
    forget_sent();
    /* Greeted by the wrong one: say HELLO until greeting and PONG agree. */
    msg = (msg_t){.type = MSG_HELLO_OK, .hello_ok.incarnation = str_bytes(old, sizeof old)};
    hear(0, NULL, &msg, NULL);
    turn();
    ck_assert_int_eq(waiting(MSG_HELLO), 1);
    hear(0, NULL, &msg, NULL);
    turn();
    ck_assert(core_broker_up(core, 0));
    forget_sent();
    pong_of(0);
    turn();
    ck_assert_int_eq(waiting(MSG_HELLO), 1);
    ck_assert(!core_broker_up(core, 0));
}
END_TEST

/* P15 */
START_TEST(test_p15_what_is_on_its_way_is_taken_off_the_brokers_count)
{
    (void)submit("noop", 1500 * 8, 0);
    wire_capacity_t group = {.tasks = str_of(BOTH), .max_items = 1500, .n = 2};
    msg_t msg = {.type = MSG_CAPACITY,
                 .capacity_is = {.groups = &group, .groups_n = 1, .broker = life_of(0)}};
    msg.capacity_is.seq = 1;
    hear(0, NULL, &msg, NULL);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 2);
    msg.capacity_is.seq = 2; /* crossed both */
    hear(0, NULL, &msg, NULL);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 2);
    msg.capacity_is.seq = 3; /* counts one */
    msg.capacity_is.dispatches_seen = 1;
    hear(0, NULL, &msg, NULL);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 3);
    msg.capacity_is.seq = 2; /* late */
    group.n = 100;
    hear(0, NULL, &msg, NULL);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 3);
}
END_TEST

/* P19 */
START_TEST(test_p19_after_undeliverable_only_a_newer_capacity_counts)
{
    (void)submit("noop", 1500 * 8, 0);
    capacity(1);
    turn();
    msg_dispatch_t it = take(MSG_DISPATCH).dispatch;
    capacity(5);
    undeliverable(it.batch, it.attempt);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
    ck_assert_uint_eq(batch_row(it.batch).starts, 0);
    capacity(5);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 5);
    ck_assert_uint_eq(take(MSG_DISPATCH).dispatch.attempt, 2);
}
END_TEST

START_TEST(test_broker_that_did_not_say_hello_ok_is_not_counted_on)
{
    hear(0, NULL, &(msg_t){.type = MSG_RECONNECT}, NULL);
    (void)submit("noop", 5, 0);
    capacity(5);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    hello_ok(0);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    capacity(5);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 1);
}
END_TEST

START_TEST(test_dispatch_that_no_socket_took_is_given_back)
{
    forget_sent();
    refuse_sends = true;
    capacity(1);
    (void)submit("noop", 5, 0);
    turn();
    ck_assert_int_le(core_next_at(core), now);
    refuse_sends = false;
    turn();
    ck_assert_int_eq(waiting(MSG_HELLO), 1);
    hello_ok(0);
    msg_dispatch_t it = next_dispatch();
    ck_assert_uint_eq(it.attempt, 2);
    ck_assert_uint_eq(batch_row(it.batch).starts, 1);
    ck_assert_uint_eq(core_counters(core)->lost_n, 0);
}
END_TEST

START_TEST(test_turn_dispatches_at_most_64_and_asks_for_another)
{
    (void)submit("noop", 1500 * 70, 0);
    capacity(70);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 64);
    ck_assert_int_le(core_next_at(core), now);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 70);
}
END_TEST

START_TEST(test_dispatch_says_what_the_worker_must_know)
{
    json_t *params = json_pack("{s:i}", "sleep_ms", 5);
    submit_t what = {.task = "noop", .params = params, .format = WIRE_FORMAT_NDJSON};
    core_submission_t *submission = NULL;
    ck_ok(core_submit_open(&submission, core, &what));
    json_decref(params);
    send_items(submission, 7);
    const job_row_t *accepted = NULL;
    ck_ok(core_submit_close(&submission, &accepted));
    uint64_t job = accepted->id;
    msg_dispatch_t it = next_dispatch();
    ck_assert(str_equal(it.store_id, str_bytes(store_id(store), WIRE_PEER_N)));
    ck_assert(str_equal(it.task, str_of("noop")));
    ck_assert(str_equal(it.params, str_of("{\"sleep_ms\":5}")));
    ck_assert_uint_eq(it.format, WIRE_FORMAT_NDJSON);
    ck_assert_uint_eq(it.items_n, 7);
    ck_assert_int_eq(it.lease_ms, LEASE);
    ck_assert_int_eq(it.soft_ms, 300000);
    ck_assert_int_eq(it.hard_ms, 360000);
    ck_assert_uint_eq(it.memory_bytes, 1 << 30);
    ck_assert_uint_eq(it.max_attempts, 3);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_job_that_arrives_while_a_ticket_is_free_leaves_in_the_same_turn,
        test_higher_priority_goes_first_then_age,
        test_order_holds_over_tasks_too,
        test_task_without_a_ticket_does_not_hold_up_others,
        test_finalize_without_a_ticket_does_not_hold_up_its_task,
        test_batch_is_whole_chunks_of_at_most_max_items,
        test_body_is_the_chunks_one_after_another,
        test_range_of_a_batch_never_changes,
        test_when_tokens_are_scarce_a_batch_is_at_least_items_left_by_tokens_left,
        test_floor_of_tokens_never_exceeds_the_largest_batch,
        test_p16_numbers_rise_per_broker_and_name_its_incarnation,
        test_p15_words_of_an_earlier_life_of_a_broker_count_for_nothing,
        test_p16_number_rises_on_over_a_reconnect,
        test_p15_what_is_on_its_way_is_taken_off_the_brokers_count,
        test_p19_after_undeliverable_only_a_newer_capacity_counts,
        test_broker_that_did_not_say_hello_ok_is_not_counted_on,
        test_dispatch_that_no_socket_took_is_given_back,
        test_turn_dispatches_at_most_64_and_asks_for_another,
        test_dispatch_says_what_the_worker_must_know,
    };
    return run_suite("core_dispatch", tests, sizeof tests / sizeof *tests);
}

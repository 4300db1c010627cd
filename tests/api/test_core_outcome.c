/* What becomes of a batch and of its job: PROTOCOL 4 (give-backs, leases), 5, 6 and 7. */
#include "tests/api/core_world.h"

static void is_discarded(const char *reason)
{
    turn();
    msg_t msg = take(MSG_DISCARDED);
    ck_assert_int_eq(msg.type, MSG_DISCARDED);
    ck_assert_msg(str_equal(msg.discarded.reason, str_of(reason)), "\"%.*s\" is not \"%s\"",
                  (int)msg.discarded.reason.n, msg.discarded.reason.p, reason);
    ck_assert_int_eq(waiting(MSG_RECORDED), 0);
}

static void is_recorded(uint64_t batch, uint64_t attempt)
{
    turn();
    msg_t msg = take(MSG_RECORDED);
    ck_assert_int_eq(msg.type, MSG_RECORDED);
    ck_assert_uint_eq(msg.recorded.batch, batch);
    ck_assert_uint_eq(msg.recorded.attempt, attempt);
    ck_assert_int_eq(waiting(MSG_DISCARDED), 0);
}

/* -- give-backs and leases -- */

static void give_back(msg_type_t type, uint64_t batch, uint64_t attempt)
{
    peer_id_t worker = worker_of(1, 1);
    msg_t msg = {.type = type};
    if (type == MSG_REFUSED) {
        msg.refused = (msg_refused_t){.batch = batch, .attempt = attempt};
    } else {
        msg.handed_back = (msg_handed_back_t){.batch = batch, .attempt = attempt};
    }
    hear(0, worker.id, &msg, NULL);
    turn();
}

START_TEST(test_p19_refused_and_handed_back_give_the_start_back)
{
    static const msg_type_t types[] = {MSG_REFUSED, MSG_HANDED_BACK};
    msg_dispatch_t it = dispatch_one("noop", 5);
    for (uint32_t i = 0; i < 2; i++) {
        give_back(types[i], it.batch, i + 1);
        ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
        ck_assert_uint_eq(batch_row(it.batch).starts, 0);
        ck_assert_uint_eq(next_dispatch().attempt, i + 2); /* P16: never used again */
        ck_assert_uint_eq(batch_row(it.batch).starts, 1);
    }
}
END_TEST

START_TEST(test_p19_give_back_of_another_attempt_is_ignored)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    give_back(MSG_REFUSED, it.batch, 1);
    (void)next_dispatch();
    give_back(MSG_REFUSED, it.batch, 1);
    give_back(MSG_HANDED_BACK, it.batch, 3);
    give_back(MSG_HANDED_BACK, 12345, 1);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    ck_assert_uint_eq(batch_row(it.batch).starts, 1);
}
END_TEST

START_TEST(test_p19_give_back_of_a_batch_that_is_not_leased_is_ignored)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    failure(it.batch, 1, 60000);
    turn();
    give_back(MSG_REFUSED, it.batch, 1);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_RETRYING);
    ck_assert_uint_eq(batch_row(it.batch).starts, 1);
}
END_TEST

/* -- whose lease it is -- */

START_TEST(test_p22_another_worker_cannot_end_a_lease)
{
    peer_id_t holder = worker_of(1, 1), other = worker_of(2, 1);
    msg_dispatch_t it = dispatch_one("noop", 5);
    accepted_from(&holder, it.batch, 1);
    turn();
    msg_t msg = failure_msg(it.batch, 1, 0);
    msg.failure.permanent = 1;
    hear(0, other.id, &msg, NULL);
    is_discarded("another worker's lease");
    msg = (msg_t){.type = MSG_HANDED_BACK, .handed_back = {.batch = it.batch, .attempt = 1}};
    hear(0, other.id, &msg, NULL);
    msg = (msg_t){.type = MSG_REFUSED, .refused = {.batch = it.batch, .attempt = 1}};
    hear(0, other.id, &msg, NULL);
    turn();
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    ck_assert_uint_eq(batch_row(it.batch).starts, 1);
    /* Nor take it over: what it names is not its own, and its BYE ends nothing. */
    heartbeat_from(&other, it.batch, 1);
    turn();
    msg_t beat = take(MSG_HEARTBEAT_OK);
    ck_assert_uint_eq(beat.heartbeat_ok.stop_n, 1);
    msg = (msg_t){.type = MSG_BYE, .bye = {.reason = str_of("x")}};
    hear(0, other.id, &msg, NULL);
    turn();
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    heartbeat_from(&holder, it.batch, 1);
    turn();
    ck_assert_uint_eq(take(MSG_HEARTBEAT_OK).heartbeat_ok.stop_n, 0);
    msg = failure_msg(it.batch, 1, 60000);
    hear(0, holder.id, &msg, NULL);
    is_recorded(it.batch, 1);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_RETRYING);
}
END_TEST

START_TEST(test_p20_not_accepted_in_time_is_lost_and_no_failure)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    pass(ACCEPT - 1);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    pass(1);
    batch_row_t row = batch_row(it.batch);
    ck_assert_int_eq(row.state, BATCH_READY);
    ck_assert_uint_eq(row.starts, 1);
    ck_assert_uint_eq(row.failures, 0);
    ck_assert_uint_eq(core_counters(core)->lost_n, 1);
}
END_TEST

START_TEST(test_p20_accepted_starts_the_run_lease)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    pass(ACCEPT - 1000);
    accepted(it.batch, 1);
    pass(LEASE - 1);
    accepted(it.batch, 1); /* a copy renews nothing */
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    pass(1);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
}
END_TEST

START_TEST(test_p20_a_batch_lost_max_starts_times_is_dead)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    for (int i = 1; i < MAX_STARTS; i++) {
        pass(ACCEPT);
        ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
        it = next_dispatch();
    }
    pass(ACCEPT);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_DEAD);
    ck_assert_int_eq(job_state(it.job), JOB_FAILED);
}
END_TEST

START_TEST(test_turn_ends_at_most_1000_leases)
{
    (void)submit("noop", 110000, 0);
    capacity_of(0, BOTH, 100, 1100);
    for (int i = 0; i < 20; i++) {
        turn();
    }
    ck_assert_int_eq(waiting(MSG_DISPATCH), 1100);
    pass(ACCEPT - 1);
    ck_assert_uint_eq(core_counters(core)->lost_n, 0);
    pass(1);
    ck_assert_uint_eq(core_counters(core)->lost_n, 1000);
    ck_assert_int_le(core_next_at(core), now);
    turn();
    ck_assert_uint_eq(core_counters(core)->lost_n, 1100);
}
END_TEST

/* -- results -- */

START_TEST(test_p21_result_implies_accepted_and_ends_a_job_without_finalize)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    result(it.batch, 1, "body");
    is_recorded(it.batch, 1);
    job_row_t row = job_row(it.job);
    ck_assert_int_eq(row.state, JOB_COMPLETED);
    ck_assert_uint_eq(row.items_done, 5);
    ck_assert_uint_eq(row.attempts_n, 1);
    job_row_free(&row);
    ck_assert_uint_eq(feeder_jobs_n(core_feeder(core)), 0);
    ck_assert_uint_eq(core_minute(core).done, 5);
}
END_TEST

START_TEST(test_p21_first_result_wins_the_second_is_discarded)
{
    (void)submit("noop", 3000, 0);
    msg_dispatch_t it = next_dispatch();
    result(it.batch, 1, "first");
    is_recorded(it.batch, 1);
    result(it.batch, 1, "second");
    is_discarded("unknown or terminal");
    result(987654321, 1, "never was");
    is_discarded("unknown or terminal");
}
END_TEST

START_TEST(test_p21_two_results_in_one_turn_are_recorded_once)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    result(it.batch, 1, "first");
    result(it.batch, 1, "copy");
    turn();
    ck_assert_int_eq(waiting(MSG_RECORDED), 1);
    ck_assert_int_eq(waiting(MSG_DISCARDED), 1);
    ck_assert_uint_eq(core_minute(core).done, 5);
}
END_TEST

START_TEST(test_p21_late_result_of_a_lost_attempt_wins)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    pass(ACCEPT);
    (void)next_dispatch();
    result(it.batch, 1, "late");
    is_recorded(it.batch, 1);
    job_row_t row = job_row(it.job);
    ck_assert_int_eq(row.state, JOB_COMPLETED);
    ck_assert_uint_eq(row.lost_n, 0); /* it was not lost after all */
    job_row_free(&row);
    result(it.batch, 2, "of the second");
    is_discarded("unknown or terminal");
}
END_TEST

START_TEST(test_p21_attempt_that_was_never_leased_is_discarded)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    result(it.batch, 2, "from the future");
    is_discarded("unknown or terminal");
    result(it.batch, 0, "of nothing");
    is_discarded("unknown or terminal");
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
}
END_TEST

START_TEST(test_p21_result_of_another_store_is_discarded)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    msg_t msg = result_msg(it.batch, 1);
    msg.result.store_id = str_of("another store id");
    peer_id_t worker = worker_of(1, 1);
    hear(0, worker.id, &msg, "x");
    is_discarded("another store");
    msg = failure_msg(it.batch, 1, 0);
    msg.failure.store_id = str_of("");
    hear(0, worker.id, &msg, NULL);
    is_discarded("another store");
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
}
END_TEST

/* A page of partials has 32 bits for it (P30); and no number off the wire may end the process. */
START_TEST(test_result_of_an_impossible_size_is_discarded)
{
    static const uint64_t sizes[] = {UINT64_MAX, (uint64_t)UINT32_MAX + 1};
    msg_dispatch_t it = dispatch_one("process_transaction_batch", 5);
    peer_id_t worker = worker_of(1, 1);
    for (int i = 0; i < 2; i++) {
        msg_t msg = result_msg(it.batch, 1);
        msg.result.raw_bytes = sizes[i];
        hear(0, worker.id, &msg, "x");
        is_discarded("malformed");
    }
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
}
END_TEST

START_TEST(test_items_that_failed_are_counted_and_never_more_than_there_are)
{
    msg_dispatch_t it = dispatch_one("noop", 50);
    msg_t msg = result_msg(it.batch, 1);
    msg.result.items_failed = 999;
    peer_id_t worker = worker_of(1, 1);
    hear(0, worker.id, &msg, NULL);
    is_recorded(it.batch, 1);
    job_row_t row = job_row(it.job);
    ck_assert_uint_eq(row.items_failed, 50);
    ck_assert_uint_eq(row.items_done, 0);
    job_row_free(&row);
}
END_TEST

/* -- failures -- */

START_TEST(test_p22_failure_waits_for_its_backoff)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    failure(it.batch, 1, 4000);
    is_recorded(it.batch, 1);
    batch_row_t row = batch_row(it.batch);
    ck_assert_int_eq(row.state, BATCH_RETRYING);
    ck_assert_uint_eq(row.failures, 1);
    ck_assert_int_eq(row.not_before_at, wall + 4000);
    capacity(1);
    pass(3999);
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    pass(1);
    msg_dispatch_t again = take(MSG_DISPATCH).dispatch;
    ck_assert_uint_eq(again.attempt, 2);
    ck_assert_uint_eq(again.failures, 1);
}
END_TEST

START_TEST(test_p22_dead_at_max_attempts_and_the_job_names_what_is_missing)
{
    (void)submit("noop", 2000, 0);
    msg_dispatch_t dead = next_dispatch(), good = next_dispatch();
    result(good.batch, 1, NULL);
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        failure(dead.batch, attempt, 0);
        turn();
        if (attempt < 3) {
            ck_assert_int_eq(batch_row(dead.batch).state, BATCH_RETRYING);
            (void)next_dispatch();
        }
    }
    ck_assert_int_eq(batch_row(dead.batch).state, BATCH_DEAD);
    job_row_t row = job_row(dead.job);
    ck_assert_int_eq(row.state, JOB_FAILED);
    ck_assert_str_eq(row.error_code, "batches_dead");
    ck_assert_str_eq(row.error_text, "1 of 2 batches are dead: items 1-1500 (batch 0: it broke)");
    ck_assert_uint_eq(row.items_done, 500);
    ck_assert_uint_eq(row.items_failed, 1500);
    job_row_free(&row);
}
END_TEST

START_TEST(test_dead_batch_does_not_stop_the_others)
{
    (void)submit("noop", 3000, 0);
    msg_dispatch_t it = next_dispatch();
    peer_id_t worker = worker_of(1, 1);
    msg_t msg = failure_msg(it.batch, 1, 0);
    msg.failure.permanent = 1;
    hear(0, worker.id, &msg, NULL);
    turn();
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_DEAD);
    ck_assert_int_eq(job_state(it.job), JOB_PROCESSING);
    msg_dispatch_t other = next_dispatch();
    result(other.batch, 1, NULL);
    turn();
    ck_assert_int_eq(job_state(it.job), JOB_FAILED);
}
END_TEST

START_TEST(test_p22_failure_of_an_old_attempt_is_discarded)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    pass(ACCEPT);
    (void)next_dispatch();
    failure(it.batch, 1, 0);
    is_discarded("not the current attempt");
    ck_assert_uint_eq(batch_row(it.batch).failures, 0);
}
END_TEST

static void crash(uint64_t batch, uint64_t attempt, const char *worker)
{
    peer_id_t peer = worker_of(1, 1);
    msg_t msg = failure_msg(batch, attempt, 0);
    msg.failure.class = FAILURE_CRASH;
    msg.failure.worker = str_of(worker);
    hear(0, peer.id, &msg, NULL);
    turn();
}

START_TEST(test_p22_crash_on_two_workers_quarantines_the_batch)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    crash(it.batch, 1, "w1");
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_RETRYING);
    (void)next_dispatch();
    crash(it.batch, 2, "w2");
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_DEAD);
}
END_TEST

START_TEST(test_crash_on_the_same_worker_again_is_an_ordinary_failure)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    crash(it.batch, 1, "w1");
    (void)next_dispatch();
    crash(it.batch, 2, "w1");
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_RETRYING);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_p19_refused_and_handed_back_give_the_start_back,
        test_p19_give_back_of_another_attempt_is_ignored,
        test_p19_give_back_of_a_batch_that_is_not_leased_is_ignored,
        test_p22_another_worker_cannot_end_a_lease,
        test_p20_not_accepted_in_time_is_lost_and_no_failure,
        test_p20_accepted_starts_the_run_lease,
        test_p20_a_batch_lost_max_starts_times_is_dead,
        test_turn_ends_at_most_1000_leases,
        test_p21_result_implies_accepted_and_ends_a_job_without_finalize,
        test_p21_first_result_wins_the_second_is_discarded,
        test_p21_two_results_in_one_turn_are_recorded_once,
        test_p21_late_result_of_a_lost_attempt_wins,
        test_p21_attempt_that_was_never_leased_is_discarded,
        test_p21_result_of_another_store_is_discarded,
        test_result_of_an_impossible_size_is_discarded,
        test_items_that_failed_are_counted_and_never_more_than_there_are,
        test_p22_failure_waits_for_its_backoff,
        test_p22_dead_at_max_attempts_and_the_job_names_what_is_missing,
        test_dead_batch_does_not_stop_the_others,
        test_p22_failure_of_an_old_attempt_is_discarded,
        test_p22_crash_on_two_workers_quarantines_the_batch,
        test_crash_on_the_same_worker_again_is_an_ordinary_failure,
    };
    return run_suite("core_outcome", tests, sizeof tests / sizeof *tests);
}

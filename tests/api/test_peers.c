/* Peers: what the api remembers of them, and what their HELLO, BYE and HEARTBEAT do to leases. */
#include "tests/api/core_world.h"

START_TEST(test_peers_are_found_by_incarnation_and_forgotten_when_silent)
{
    peers_t *peers = peers_new();
    peer_id_t one = worker_of(1, 1), two = worker_of(2, 1);
    ck_assert_ptr_null(peers_find(peers, one.id));
    peer_t *peer = peers_put(peers, one.id);
    ck_assert_ptr_eq(peers_put(peers, one.id), peer);
    peer->seen_at = 10;
    peers_put(peers, two.id)->seen_at = 20;
    peers_expire(peers, 10);
    ck_assert_int_eq(peers_n(peers), 2);
    peers_expire(peers, 11);
    ck_assert_int_eq(peers_n(peers), 1);
    ck_assert_ptr_null(peers_find(peers, one.id));
    ck_assert_ptr_nonnull(peers_find(peers, two.id));
    peers_remove(peers, peers_at(peers, 0));
    ck_assert_int_eq(peers_n(peers), 0);
    peers_destroy(&peers);
    ck_assert_ptr_null(peers);
}
END_TEST

START_TEST(test_peers_have_a_limit)
{
    peers_t *peers = peers_new();
    uint8_t id[WIRE_PEER_N] = {0};
    for (uint32_t i = 0; i <= PEERS_MAX; i++) {
        memcpy(id + 8, &(uint32_t){i + 1}, 4);
        ck_assert_int_eq(peers_put(peers, id) != NULL, i < PEERS_MAX);
    }
    peers_destroy(&peers);
}
END_TEST

/* A batch that worker 1, first incarnation, has accepted. */
static msg_dispatch_t leased(const peer_id_t *worker)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    accepted_from(worker, it.batch, 1);
    turn();
    return it;
}

START_TEST(test_p11_newer_incarnation_ends_the_leases_of_the_older_at_once)
{
    peer_id_t old = worker_of(1, 1), newer = worker_of(1, 2), other = worker_of(2, 9);
    hello_from(&old, NULL, 0);
    msg_dispatch_t it = leased(&old);
    hello_from(&other, NULL, 0); /* another name proves nothing */
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    hello_from(&newer, NULL, 0);
    turn();
    batch_row_t row = batch_row(it.batch);
    ck_assert_int_eq(row.state, BATCH_READY);
    ck_assert_uint_eq(row.failures, 0);
    ck_assert_ptr_null(peers_find(core_peers(core), old.id));
}
END_TEST

START_TEST(test_p11_also_if_a_heartbeat_came_before_the_hello)
{
    peer_id_t old = worker_of(1, 1), newer = worker_of(1, 2);
    hello_from(&old, NULL, 0);
    msg_dispatch_t it = leased(&old);
    heartbeat_from(&newer, 0, 0);
    hello_from(&newer, NULL, 0);
    turn();
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
}
END_TEST

START_TEST(test_p11_also_if_the_older_one_is_forgotten)
{
    peer_id_t old = worker_of(1, 1), newer = worker_of(1, 2);
    hello_from(&old, NULL, 0);
    msg_dispatch_t it = leased(&old);
    pass(4000);
    ck_assert_int_eq(peers_n(core_peers(core)), 0);
    hello_from(&newer, NULL, 0);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
}
END_TEST

START_TEST(test_p11_late_hello_of_a_lower_incarnation_is_ignored)
{
    peer_id_t old = worker_of(1, 1), newer = worker_of(1, 2);
    hello_from(&newer, NULL, 0);
    msg_dispatch_t it = leased(&newer);
    hello_from(&old, NULL, 0);
    turn();
    ck_assert_ptr_null(peers_find(core_peers(core), old.id));
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
}
END_TEST

START_TEST(test_p25_heartbeat_extends_the_lease_it_names)
{
    peer_id_t worker = worker_of(1, 1);
    msg_dispatch_t it = leased(&worker);
    for (int i = 0; i < 3; i++) {
        pass(LEASE - 1000);
        heartbeat_from(&worker, it.batch, 1);
        turn();
        msg_t msg = take(MSG_HEARTBEAT_OK);
        ck_assert_uint_eq(msg.heartbeat_ok.seq, 17);
        ck_assert_int_eq(msg.heartbeat_ok.lease_ms, LEASE);
        ck_assert_uint_eq(msg.heartbeat_ok.stop_n, 0);
    }
    pass(LEASE);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
}
END_TEST

START_TEST(test_p26_heartbeat_of_what_is_not_the_current_lease_is_told_to_stop)
{
    peer_id_t worker = worker_of(1, 1);
    msg_dispatch_t it = leased(&worker);
    heartbeat_from(&worker, it.batch, 2);
    heartbeat_from(&worker, 4711, 1);
    turn();
    for (int i = 0; i < 2; i++) {
        msg_t msg = take(MSG_HEARTBEAT_OK);
        ck_assert_uint_eq(msg.heartbeat_ok.stop_n, 1);
        ck_assert_uint_eq(msg.heartbeat_ok.stop[0].batch, i ? 4711 : it.batch);
        ck_assert_uint_eq(msg.heartbeat_ok.stop[0].attempt, i ? 1 : 2);
    }
}
END_TEST

START_TEST(test_cancel_is_final_and_answered_stop_and_discarded)
{
    peer_id_t worker = worker_of(1, 1);
    msg_dispatch_t it = leased(&worker);
    ck_ok(core_cancel(core, it.job));
    turn();
    ck_assert_int_eq(job_state(it.job), JOB_CANCELLED);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_CANCELLED);
    heartbeat_from(&worker, it.batch, 1);
    result(it.batch, 1, "too late");
    turn();
    ck_assert_uint_eq(take(MSG_HEARTBEAT_OK).heartbeat_ok.stop_n, 1);
    ck_assert_int_eq(waiting(MSG_DISCARDED), 1);
    ck_assert_int_eq(job_state(it.job), JOB_CANCELLED);
    ck_ok(core_cancel(core, it.job));
    ck_err(ERR_NOT_FOUND, core_cancel(core, 99));
}
END_TEST

START_TEST(test_completed_job_cannot_be_cancelled)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    result(it.batch, 1, NULL);
    turn();
    ck_err(ERR_CONFLICT, core_cancel(core, it.job));
}
END_TEST

START_TEST(test_p12_bye_ends_the_leases_of_that_worker)
{
    peer_id_t worker = worker_of(1, 1), other = worker_of(2, 1);
    hello_from(&worker, NULL, 0);
    msg_dispatch_t it = leased(&worker);
    hear(0, other.id, &(msg_t){.type = MSG_BYE}, NULL);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    hear(0, worker.id, &(msg_t){.type = MSG_BYE}, NULL);
    turn();
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
}
END_TEST

START_TEST(test_p34_gone_ends_the_leases_of_that_worker_and_of_no_other)
{
    peer_id_t worker = worker_of(1, 1), other = worker_of(2, 1);
    hello_from(&worker, NULL, 0);
    msg_dispatch_t it = leased(&worker);
    hear(0, other.id, &(msg_t){.type = MSG_GONE}, NULL);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    hear(0, worker.id, &(msg_t){.type = MSG_GONE}, NULL);
    turn();
    batch_row_t row = batch_row(it.batch);
    ck_assert_int_eq(row.state, BATCH_READY);
    ck_assert_uint_eq(row.failures, 0);
    hear(0, worker.id, &(msg_t){.type = MSG_GONE}, NULL);
    turn();
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
}
END_TEST

static void announce(const peer_id_t *worker, const char *task, uint64_t max_attempts)
{
    wire_task_offer_t offer = {.name = str_of(task),
                               .input = TASK_INPUT_JSON,
                               .rate_window_ms = 60000,
                               .max_attempts = max_attempts};
    hello_from(worker, &offer, 1);
}

START_TEST(test_task_that_a_worker_announces_can_be_submitted)
{
    core_submission_t *submission = NULL;
    ck_err(ERR_INVALID, submit_to(&submission, "resize", 0));
    peer_id_t worker = worker_of(1, 1);
    heartbeat_from(&worker, 0, 0);
    announce(&worker, "resize", 2);
    turn();
    uint64_t job = submit("resize", 5, 0);
    capacity_of(0, "resize", 1500, 1);
    turn();
    msg_dispatch_t it = take(MSG_DISPATCH).dispatch;
    ck_assert_uint_eq(it.job, job);
    ck_assert_uint_eq(it.max_attempts, 2);
}
END_TEST

START_TEST(test_task_that_the_store_refuses_is_not_remembered)
{
    peer_id_t worker = worker_of(1, 1);
    wire_task_offer_t offers[2] = {{.name = str_of("resize"), .max_attempts = 3},
                                   {.name = str_of("rotate"), .max_attempts = 0}};
    hello_from(&worker, offers, 2);
    turn();
    core_submission_t *submission = NULL;
    ck_err(ERR_INVALID, submit_to(&submission, "resize", 0));
}
END_TEST

START_TEST(test_hello_of_a_rolled_back_turn_counts_when_it_comes_again)
{
    peer_id_t worker = worker_of(1, 1);
    store_sim_full(store, true);
    announce(&worker, "resize", 2);
    turn();
    store_sim_full(store, false);
    ck_assert_uint_eq(core_counters(core)->rolled_back_n, 1);
    pass(2000);
    announce(&worker, "resize", 2);
    turn();
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "resize", 0));
    core_submit_abort(&submission);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_peers_are_found_by_incarnation_and_forgotten_when_silent,
        test_peers_have_a_limit,
        test_p11_newer_incarnation_ends_the_leases_of_the_older_at_once,
        test_p11_also_if_a_heartbeat_came_before_the_hello,
        test_p11_also_if_the_older_one_is_forgotten,
        test_p11_late_hello_of_a_lower_incarnation_is_ignored,
        test_p25_heartbeat_extends_the_lease_it_names,
        test_p26_heartbeat_of_what_is_not_the_current_lease_is_told_to_stop,
        test_cancel_is_final_and_answered_stop_and_discarded,
        test_completed_job_cannot_be_cancelled,
        test_p12_bye_ends_the_leases_of_that_worker,
        test_p34_gone_ends_the_leases_of_that_worker_and_of_no_other,
        test_task_that_a_worker_announces_can_be_submitted,
        test_task_that_the_store_refuses_is_not_remembered,
        test_hello_of_a_rolled_back_turn_counts_when_it_comes_again,
    };
    return run_suite("peers", tests, sizeof tests / sizeof *tests);
}

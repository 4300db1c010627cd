/* The ends of jobs: finalizes and their partials, and the store's own work in steps (rule 12). */
#include "tests/api/core_world.h"

#define TASK "process_transaction_batch"

static char *report_of(uint64_t job)
{
    buffer_t report = {0};
    ck_ok(store_read_report(store, job, &report));
    buffer_add(&report, "", 1);
    return (char *)report.data;
}

/* -- finalize -- */

/* Both batches of a job are done; its finalize is on its way. */
static msg_dispatch_t finalize_out(void)
{
    (void)submit(TASK, 2000, 0);
    for (int i = 0; i < 2; i++) {
        msg_dispatch_t it = next_dispatch();
        ck_assert_uint_eq(it.kind, WIRE_KIND_BATCH);
        result(it.batch, 1, i ? "second" : "first");
    }
    msg_dispatch_t it = next_dispatch();
    ck_assert_uint_eq(it.kind, WIRE_KIND_FINALIZE);
    return it;
}

START_TEST(test_finalize_runs_once_and_last_and_its_result_is_the_report)
{
    msg_dispatch_t it = finalize_out();
    ck_assert(str_equal(it.task, str_of("finalize_transactions")));
    ck_assert_uint_eq(it.batches_n, 2);
    ck_assert_uint_eq(it.items_total, 2000);
    ck_assert_int_eq(job_state(it.job), JOB_FINALIZING);
    capacity(5);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    result(it.batch, 1, "{\"rows\":2000}");
    turn();
    ck_assert_int_eq(job_state(it.job), JOB_COMPLETED);
    char *report = report_of(it.job);
    ck_assert_str_eq(report, "{\"rows\":2000}");
    free(report);
}
END_TEST

START_TEST(test_failed_finalize_fails_the_job)
{
    msg_dispatch_t it = finalize_out();
    for (uint64_t attempt = 1; attempt <= 3; attempt++) {
        failure(it.batch, attempt, 0);
        turn();
        if (attempt < 3) {
            (void)next_dispatch();
        }
    }
    job_row_t row = job_row(it.job);
    ck_assert_int_eq(row.state, JOB_FAILED);
    ck_assert_str_eq(row.error_code, "finalize_failed");
    ck_assert_ptr_nonnull(strstr(row.error_text, "it broke"));
    ck_assert_uint_eq(row.items_done, 2000);
    job_row_free(&row);
}
END_TEST

START_TEST(test_job_error_makes_the_job_failed_with_its_report)
{
    msg_dispatch_t it = finalize_out();
    msg_t msg = result_msg(it.batch, 1);
    msg.result.job_error = str_of("no_valid_rows");
    msg.result.job_error_text = str_of("not one row could be read");
    peer_id_t worker = worker_of(1, 1);
    hear(0, worker.id, &msg, "{\"rows\":0}");
    turn();
    job_row_t row = job_row(it.job);
    ck_assert_int_eq(row.state, JOB_FAILED);
    ck_assert_str_eq(row.error_code, "no_valid_rows");
    ck_assert(row.has_report);
    job_row_free(&row);
}
END_TEST

START_TEST(test_dead_batch_fails_the_job_without_a_finalize)
{
    msg_dispatch_t it = dispatch_one(TASK, 5);
    peer_id_t worker = worker_of(1, 1);
    msg_t msg = failure_msg(it.batch, 1, 0);
    msg.failure.permanent = 1;
    hear(0, worker.id, &msg, NULL);
    turn();
    ck_assert_int_eq(job_state(it.job), JOB_FAILED);
}
END_TEST

START_TEST(test_restart_goes_on_with_the_finalize)
{
    msg_dispatch_t it = finalize_out();
    uint64_t batch = it.batch, job = it.job;
    core_restart();
    result(batch, 1, "{}");
    turn();
    ck_assert_int_eq(job_state(job), JOB_COMPLETED);
}
END_TEST

static void ask_partials(uint64_t batch, uint64_t attempt, uint64_t from_no)
{
    peer_id_t worker = worker_of(1, 1);
    msg_t msg = {.type = MSG_PARTIALS_GET,
                 .partials_get = {.store_id = str_bytes(store_id(store), WIRE_PEER_N),
                                  .batch = batch,
                                  .attempt = attempt,
                                  .from_no = from_no}};
    hear(0, worker.id, &msg, NULL);
    turn();
}

START_TEST(test_p29_partials_come_in_order_of_batches)
{
    msg_dispatch_t it = finalize_out();
    ask_partials(it.batch, 1, 0);
    sent_t *which = NULL;
    msg_t msg = take_from(MSG_PARTIALS, &which);
    ck_assert_uint_eq(msg.partials.last, 1);
    ck_assert_uint_eq(msg.partials.next_no, 2);
    static const char page[] = "\0\0\0\0\0\0\0\0\5\0\0\0first"
                               "\1\0\0\0\0\0\0\0\6\0\0\0second";
    ck_assert_uint_eq(blob_n(which->frames.body), sizeof page - 1);
    ck_assert_int_eq(memcmp(blob_data(which->frames.body), page, sizeof page - 1), 0);
}
END_TEST

START_TEST(test_p31_only_the_current_lease_of_a_finalize_gets_partials)
{
    msg_dispatch_t it = finalize_out();
    ask_partials(it.batch, 2, 0);
    ask_partials(it.batch + 1, 1, 0);
    ask_partials(it.batch, 1, UINT64_MAX);
    msg_dispatch_t batch = dispatch_one(TASK, 5);
    ask_partials(batch.batch, 1, 0); /* no finalize */
    pass(ACCEPT);
    ask_partials(it.batch, 1, 0); /* its lease is over */
    ck_assert_int_eq(waiting(MSG_PARTIALS), 0);
}
END_TEST

/* -- the store's own work -- */

START_TEST(test_health_check_needs_no_broker_and_names_what_is_unwell)
{
    by_hand = true;
    peer_id_t worker = worker_of(1, 1);
    hello_from(&worker, NULL, 0);
    heartbeat_from(&worker, 0, 0);
    uint64_t job = submit("health_check", 0, 0);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    ck_assert_int_eq(job_state(job), JOB_COMPLETED);
    char *report = report_of(job);
    ck_assert_str_eq(report, "{\"healthy\":false,\"unhealthy\":\"scheduler any: there is none\"}");
    free(report);
    ck_assert_uint_eq(core_last_health(core)->job, job);
    ck_assert_int_eq(core_last_health(core)->at, wall);
}
END_TEST

START_TEST(test_cleanup_removes_in_steps_what_is_past_retention)
{
    by_hand = true;
    msg_dispatch_t old = dispatch_one("noop", 30000); /* 300 chunks */
    ck_ok(core_cancel(core, old.job));
    turn();
    wall += INT64_C(31) * 86400000;
    msg_dispatch_t young = dispatch_one("noop", 5);
    result(young.batch, 1, NULL);
    turn();
    uint64_t job = submit("cleanup_old_jobs", 0, 0);
    turn();
    ck_assert_int_eq(job_state(job), JOB_PROCESSING); /* in steps */
    int turns = 1;
    for (; job_state(job) == JOB_PROCESSING; turns++) {
        ck_assert_int_lt(turns, 50);
        ck_assert_int_le(core_next_at(core), now);
        turn();
    }
    ck_assert_int_gt(turns, 4);
    char *report = report_of(job);
    ck_assert_str_eq(report, "{\"jobs_removed\":1}");
    free(report);
    job_row_t row;
    ck_err(ERR_NOT_FOUND, store_job_get(store, old.job, &row));
    ck_assert_int_eq(job_state(young.job), JOB_COMPLETED);
}
END_TEST

START_TEST(test_cleanup_that_a_restart_cut_off_is_done_again)
{
    by_hand = true;
    uint64_t job = submit("cleanup_old_jobs", 0, 0);
    turn();
    ck_assert_int_eq(job_state(job), JOB_PROCESSING);
    core_restart();
    for (int i = 0; i < 10; i++) {
        turn();
    }
    ck_assert_int_eq(job_state(job), JOB_COMPLETED);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_finalize_runs_once_and_last_and_its_result_is_the_report,
        test_failed_finalize_fails_the_job,
        test_job_error_makes_the_job_failed_with_its_report,
        test_dead_batch_fails_the_job_without_a_finalize,
        test_restart_goes_on_with_the_finalize,
        test_p29_partials_come_in_order_of_batches,
        test_p31_only_the_current_lease_of_a_finalize_gets_partials,
        test_health_check_needs_no_broker_and_names_what_is_unwell,
        test_cleanup_removes_in_steps_what_is_past_retention,
        test_cleanup_that_a_restart_cut_off_is_done_again,
    };
    return run_suite("maintenance", tests, sizeof tests / sizeof *tests);
}

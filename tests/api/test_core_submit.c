/* Submissions in the api's core: what is refused, what is invisible, what is removed. */
#include "tests/api/core_world.h"

static int jobs_seen;

static void count_job(void *context, const job_row_t *row)
{
    (void)context;
    (void)row;
    jobs_seen++;
}

static int visible_jobs(void)
{
    jobs_seen = 0;
    ck_ok(store_read_jobs(store, &(job_filter_t){.limit = 100}, count_job, NULL));
    return jobs_seen;
}

static bool row_exists(uint64_t job)
{
    job_row_t row;
    if (store_job_get(store, job, &row)) {
        return false;
    }
    job_row_free(&row);
    return true;
}

/* The id of the upload that has rows: the newest id given out before. */
static uint64_t upload_id(void)
{
    return store_next_id(store, 0) - 1;
}

START_TEST(test_upload_is_invisible_and_not_dispatched_while_receiving)
{
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "noop", 0));
    capacity(5);
    send_items(submission, 1000);
    uint64_t id = upload_id();
    pass(1000);
    ck_assert(!store_in_turn(store));
    ck_assert(row_exists(id));
    ck_assert_int_eq(visible_jobs(), 0);
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    ck_err(ERR_NOT_FOUND, core_cancel(core, id));
    const job_row_t *job = NULL;
    ck_ok(core_submit_close(&submission, &job));
    ck_assert_uint_eq(job->id, id);
    turn();
    ck_assert_int_eq(visible_jobs(), 1);
    ck_assert_int_eq(waiting(MSG_DISPATCH), 1);
}
END_TEST

START_TEST(test_rows_of_an_upload_wait_50_ms_for_a_commit)
{
    pass(100);
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "noop", 0));
    send_items(submission, 300);
    turn();
    ck_assert(store_in_turn(store));
    ck_assert_int_eq(core_next_at(core), now + UPLOAD_WAIT_MS);
    now += UPLOAD_WAIT_MS - 1;
    turn();
    ck_assert(store_in_turn(store));
    now += 1;
    turn();
    ck_assert(!store_in_turn(store));
    core_submit_abort(&submission);
}
END_TEST

START_TEST(test_four_mib_of_an_upload_are_committed_at_once)
{
    pass(100);
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "noop", 0));
    void *bytes = mem_zero(3 << 20);
    for (int i = 0; i < 3; i++) {
        ck_ok(core_submit_chunk(submission, 100, 3 << 20, blob_new(bytes, 3 << 20)));
        turn();
        ck_assert_int_eq(store_in_turn(store), i == 1);
    }
    free(bytes);
    core_submit_abort(&submission);
}
END_TEST

START_TEST(test_aborted_upload_is_removed)
{
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "noop", 0));
    send_items(submission, 25000);
    uint64_t id = upload_id();
    pass(100);
    ck_assert(row_exists(id));
    core_submit_abort(&submission);
    ck_assert_ptr_null(submission);
    turn();
    ck_assert(row_exists(id)); /* in steps */
    pass(1000);
    for (int i = 0; i < 5; i++) {
        turn();
    }
    ck_assert(!row_exists(id));
    ck_assert_int_gt(core_next_at(core), now);
}
END_TEST

START_TEST(test_removal_that_was_rolled_back_is_done_again)
{
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "noop", 0));
    send_items(submission, 500);
    uint64_t id = upload_id();
    pass(100);
    core_submit_abort(&submission);
    store_sim_full(store, true);
    turn();
    ck_assert_uint_eq(core_counters(core)->rolled_back_n, 1);
    ck_assert(row_exists(id));
    store_sim_full(store, false);
    pass(3000);
    ck_assert(!row_exists(id));
}
END_TEST

START_TEST(test_restart_removes_unfinished_uploads)
{
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "noop", 0));
    send_items(submission, 500);
    uint64_t id = upload_id();
    pass(100);
    ck_assert(row_exists(id));
    core_restart();
    ck_assert(!row_exists(id));
    core_submit_abort(&submission);
}
END_TEST

START_TEST(test_upload_of_a_rolled_back_turn_says_so)
{
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "noop", 0));
    send_items(submission, 300);
    store_sim_full(store, true);
    pass(100);
    ck_assert_uint_eq(core_counters(core)->rolled_back_n, 1);
    store_sim_full(store, false);
    ck_err(ERR_UNAVAILABLE, core_submit_chunk(submission, 100, 10, blob_new("x", 1)));
    const job_row_t *job = NULL;
    ck_err(ERR_UNAVAILABLE, core_submit_close(&submission, &job));
    ck_assert_ptr_null(submission);
    ck_assert_ptr_null(job);
}
END_TEST

START_TEST(test_over_max_waiting_jobs_is_refused_until_one_ends)
{
    core_destroy(&core);
    options.max_waiting_jobs = 2;
    core_start();
    core_submission_t *submission = NULL;
    uint64_t job = submit("noop", 5, 0);
    (void)submit("noop", 5, 0);
    turn();
    ck_err(ERR_LIMIT, submit_to(&submission, "noop", 0));
    ck_ok(core_cancel(core, job));
    ck_ok(submit_to(&submission, "noop", 0));
    core_submit_abort(&submission);
}
END_TEST

START_TEST(test_unknown_task_is_refused_with_the_nearest_name)
{
    core_submission_t *submission = NULL;
    ck_err(ERR_INVALID, submit_to(&submission, "nop", 0));
    ck_assert_ptr_nonnull(strstr(err_text(), "did you mean 'noop'?"));
    ck_err(ERR_INVALID, submit_to(&submission, "finalize_transactions", 0));
    ck_err(ERR_INVALID, submit_to(&submission, "crash", 0)); /* without --test-tasks */
}
END_TEST

START_TEST(test_bounds_of_a_submission)
{
    core_submission_t *submission = NULL;
    const submit_t bad[] = {
        {.task = "noop", .chunk_items = 99},
        {.task = "noop", .chunk_items = 1501},
        {.task = "noop", .batch_items = 99},
        {.task = "noop", .chunk_items = 500, .batch_items = 499},
        {.task = "noop", .priority = 101},
        {.task = "noop", .priority = -101},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_err(ERR_INVALID, core_submit_open(&submission, core, &bad[i]));
    }
    submit_t good = {.task = "noop", .chunk_items = 137, .batch_items = 137, .priority = 100};
    ck_ok(core_submit_open(&submission, core, &good));
    ck_assert_uint_eq(core_submit_chunk_items(submission), 137);
    core_submit_abort(&submission);
}
END_TEST

START_TEST(test_no_items_is_refused_and_leaves_nothing)
{
    core_submission_t *submission = NULL;
    const job_row_t *job = NULL;
    ck_ok(submit_to(&submission, "noop", 0));
    ck_err(ERR_INVALID, core_submit_close(&submission, &job));
    ck_assert_ptr_null(submission);
    ck_ok(submit_to(&submission, "health_check", 0));
    send_items(submission, 1); /* a task that takes none */
    ck_err(ERR_INVALID, core_submit_close(&submission, &job));
    turn();
    ck_assert_int_eq(visible_jobs(), 0);
}
END_TEST

START_TEST(test_wrong_header_is_refused)
{
    core_submission_t *submission = NULL;
    ck_ok(submit_to(&submission, "process_transaction_batch", 0));
    ck_err(ERR_INVALID, core_submit_header(submission, "a,b", 3, 2));
    ck_ok(core_submit_header(submission, "txn_id,ts,src,dst,amount,ccy", 28, 2));
    core_submit_abort(&submission);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_upload_is_invisible_and_not_dispatched_while_receiving,
        test_rows_of_an_upload_wait_50_ms_for_a_commit,
        test_four_mib_of_an_upload_are_committed_at_once,
        test_aborted_upload_is_removed,
        test_removal_that_was_rolled_back_is_done_again,
        test_restart_removes_unfinished_uploads,
        test_upload_of_a_rolled_back_turn_says_so,
        test_over_max_waiting_jobs_is_refused_until_one_ends,
        test_unknown_task_is_refused_with_the_nearest_name,
        test_bounds_of_a_submission,
        test_no_items_is_refused_and_leaves_nothing,
        test_wrong_header_is_refused,
    };
    return run_suite("core_submit", tests, sizeof tests / sizeof *tests);
}

/* feeder: the order of work, the deadlines, and memory that is let go of whole. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "api/feeder.h"

static feeder_t *feeder;
static live_task_t *task;

static void open_it(void)
{
    feeder = feeder_new();
    task_row_t row = {.id = 3, .name = "noop"};
    task = feeder_task_put(feeder, &row);
}

static void close_it(void)
{
    feeder_destroy(&feeder);
    ck_assert_ptr_null(feeder);
}

static live_job_t *job_of(uint64_t id, int priority, uint32_t chunks_n)
{
    job_row_t row = {.id = id,
                     .task_id = 3,
                     .state = JOB_PENDING,
                     .priority = priority,
                     .chunks_n = chunks_n,
                     .items_total = chunks_n * UINT64_C(100)};
    return feeder_job_add(feeder, &row);
}

/* The job's next chunk as a leased batch. */
static live_batch_t *cut(live_job_t *job, uint64_t id, int64_t deadline)
{
    batch_row_t row = {.id = id,
                       .job = job->id,
                       .state = BATCH_LEASED,
                       .chunks_n = 1,
                       .items_n = 100,
                       .attempt = 1};
    job->state = JOB_PROCESSING;
    feeder_cut(feeder, job, &row);
    live_batch_t *batch = feeder_batch_add(feeder, job, &row);
    feeder_batch_until(feeder, batch, deadline);
    return batch;
}

static void keep(live_job_t *job, size_t input_n)
{
    char *bytes = mem_zero(input_n);
    job_row_t *row = mem_zero(sizeof *row);
    *row = (job_row_t){.id = job->id, .params = mem_text("{}"), .header = mem_text("")};
    blob_t *input = blob_new(bytes, input_n);
    feeder_job_keep(feeder, job, row, input);
    blob_unref(&input);
    free(bytes);
}

/* The store has it all: what is kept for a quick dispatch is bounded, and what has started is not
 * taken away. */
START_TEST(test_what_is_kept_of_new_jobs_is_bounded_in_bytes_and_number)
{
    enum { LARGE = 1 << 20, MANY = 10000 };
    live_job_t *first = job_of(1, 0, 1), *started = job_of(2, 0, 1), *gone = job_of(3, 0, 1);
    keep(first, LARGE);
    keep(started, LARGE);
    keep(gone, LARGE);
    ck_assert_uint_eq(blob_n(first->input), LARGE);
    started->state = JOB_PROCESSING;
    feeder_job_remove(feeder, gone);
    live_job_t *larger = job_of(4, 0, 1);
    keep(larger, (size_t)3 * LARGE);
    ck_assert_ptr_null(first->row);
    ck_assert_ptr_null(first->input);
    ck_assert_ptr_nonnull(started->row);
    ck_assert_ptr_nonnull(larger->row);
    int kept = 0;
    for (uint64_t id = 10; id < 10 + MANY; id++) {
        keep(job_of(id, 0, 1), 1);
    }
    for (uint64_t id = 10; id < 10 + MANY; id++) {
        kept += feeder_job(feeder, id)->row != NULL;
    }
    ck_assert_int_lt(kept, MANY / 2);
    ck_assert_ptr_nonnull(feeder_job(feeder, 9 + MANY)->row);
    ck_assert_ptr_null(larger->row);
} /* ASan: what is kept is freed */
END_TEST

/* What stats show: batches to come by the sizes cut so far, and the oldest job that waits, also
 * while others of its batches run. */
START_TEST(test_waiting_batches_follow_the_sizes_cut_and_the_oldest_waits)
{
    job_row_t row = {.id = 7,
                     .task_id = 3,
                     .state = JOB_PENDING,
                     .chunks_n = 40,
                     .items_total = 4000,
                     .batch_items = 100,
                     .created_at = 500};
    live_job_t *small = feeder_job_add(feeder, &row);
    ck_assert_uint_eq(task->batches_waiting, 40);
    row.id = 8;
    row.batch_items = 1500;
    row.created_at = 400;
    live_job_t *large = feeder_job_add(feeder, &row);
    ck_assert_uint_eq(task->batches_waiting, 44);
    (void)cut(large, 80, 1); /* of 100 items: the rest is taken to be cut like that */
    ck_assert_uint_eq(task->batches_waiting, 40 + 39);
    ck_assert_int_eq(feeder_oldest_waiting(feeder), 400);
    feeder_job_remove(feeder, large);
    ck_assert_uint_eq(task->batches_waiting, 40);
    ck_assert_int_eq(feeder_oldest_waiting(feeder), 500);
    feeder_job_remove(feeder, small);
    ck_assert_uint_eq(task->batches_waiting, 0);
    ck_assert_int_eq(feeder_oldest_waiting(feeder), 0);
}
END_TEST

START_TEST(test_priority_then_age)
{
    live_job_t *b = job_of(20, 0, 1), *a = job_of(10, 0, 1), *c = job_of(30, 5, 1);
    live_job_t *order[] = {c, a, b};
    for (int i = 0; i < 3; i++) {
        ck_assert_ptr_eq(feeder_best(task), order[i]);
        feeder_job_remove(feeder, order[i]);
    }
    ck_assert_ptr_null(feeder_best(task));
}
END_TEST

START_TEST(test_job_is_offered_exactly_while_there_is_something_to_dispatch)
{
    live_job_t *job = job_of(1, 0, 2);
    ck_assert_uint_eq(task->items_waiting, 200);
    live_batch_t *first = cut(job, 11, 50);
    ck_assert_ptr_eq(feeder_best(task), job);
    live_batch_t *second = cut(job, 12, 60);
    ck_assert_ptr_null(feeder_best(task));
    ck_assert_uint_eq(task->items_waiting, 0);
    feeder_batch_ready(feeder, second);
    ck_assert_ptr_eq(feeder_best(task), job);
    ck_assert_ptr_eq(feeder_ready(job), second);
    feeder_batch_remove(feeder, second);
    ck_assert_ptr_null(feeder_best(task));
    feeder_batch_remove(feeder, first);
    ck_assert_uint_eq(job->batches_live, 0);
}
END_TEST

START_TEST(test_job_without_items_has_one_batch_of_nothing)
{
    live_job_t *job = job_of(1, 0, 0);
    ck_assert(feeder_uncut(job));
    batch_row_t row = {.id = 11, .job = 1};
    feeder_cut(feeder, job, &row);
    ck_assert(!feeder_uncut(job));
}
END_TEST

START_TEST(test_finalize_waits_beside_the_batches_of_other_jobs)
{
    live_job_t *old = job_of(1, 9, 1), *young = job_of(2, 0, 1);
    feeder_batch_remove(feeder, cut(old, 11, 5));
    old->state = JOB_FINALIZING;
    batch_row_t row = {.id = 12, .job = 1, .is_finalize = true, .state = BATCH_READY};
    live_batch_t *finalize = feeder_batch_add(feeder, old, &row);
    feeder_batch_ready(feeder, finalize);
    ck_assert_ptr_eq(feeder_best(task), young);
    ck_assert_ptr_eq(feeder_best_finalize(task), old);
    feeder_batch_until(feeder, finalize, 9);
    ck_assert_ptr_null(feeder_best_finalize(task));
}
END_TEST

START_TEST(test_ready_batches_of_a_job_leave_in_the_order_they_came)
{
    live_job_t *job = job_of(1, 0, 3);
    live_batch_t *it[3];
    for (int i = 0; i < 3; i++) {
        it[i] = cut(job, 11 + (uint64_t)i, 50);
    }
    static const int order[] = {1, 0, 2};
    for (int i = 0; i < 3; i++) {
        feeder_batch_ready(feeder, it[order[i]]);
        feeder_batch_ready(feeder, it[order[i]]); /* again: no effect */
    }
    feeder_batch_until(feeder, it[0], 9); /* from the middle */
    ck_assert_ptr_eq(feeder_ready(job), it[1]);
    feeder_batch_until(feeder, it[1], 9);
    ck_assert_ptr_eq(feeder_ready(job), it[2]);
    feeder_batch_until(feeder, it[2], 9);
    ck_assert_ptr_null(feeder_ready(job));
}
END_TEST

START_TEST(test_due_is_the_first_deadline)
{
    live_job_t *job = job_of(1, 0, 3);
    live_batch_t *a = cut(job, 11, 70), *b = cut(job, 12, 50);
    ck_assert_ptr_eq(feeder_due(feeder), b);
    feeder_batch_until(feeder, b, 90);
    ck_assert_ptr_eq(feeder_due(feeder), a);
    feeder_batch_ready(feeder, a);
    ck_assert_ptr_eq(feeder_due(feeder), b);
    feeder_counts_t counts = feeder_counts(feeder);
    ck_assert_uint_eq(counts.leased, 2);
    a->row.state = BATCH_READY;
    b->row.state = BATCH_RETRYING;
    counts = feeder_counts(feeder);
    ck_assert_uint_eq(counts.ready, 1);
    ck_assert_uint_eq(counts.retrying, 1);
}
END_TEST

START_TEST(test_job_goes_with_all_its_batches_and_no_others)
{
    live_job_t *job = job_of(1, 0, 3), *other = job_of(2, 0, 2);
    (void)cut(job, 11, 5);
    feeder_batch_ready(feeder, cut(job, 12, 5));
    live_batch_t *stays = cut(other, 21, 7);
    feeder_job_remove(feeder, job);
    ck_assert_ptr_null(feeder_job(feeder, 1));
    ck_assert_ptr_null(feeder_batch(feeder, 11));
    ck_assert_ptr_null(feeder_batch(feeder, 12));
    ck_assert_ptr_eq(feeder_due(feeder), stays);
    ck_assert_ptr_eq(feeder_best(task), other);
    ck_assert_uint_eq(task->items_waiting, 100);
    ck_assert_uint_eq(feeder_jobs_n(feeder), 1);
}
END_TEST

START_TEST(test_rate_is_that_of_the_last_minute)
{
    live_job_t *job = job_of(1, 0, 1);
    int64_t at = 1000000;
    ck_assert_double_eq(feeder_job_rate(job, at), 0);
    for (int i = 0; i < 120; i++, at += 1000) {
        feeder_job_items(job, at, 50);
    }
    double rate = feeder_job_rate(job, at - 1);
    ck_assert_msg(rate > 48 && rate < 53, "%f", rate);
    ck_assert_double_eq(feeder_job_rate(job, at + 61000), 0);
}
END_TEST

START_TEST(test_task_is_found_by_name_and_refreshed_in_place)
{
    task_row_t row = {.id = 3, .name = "noop", .max_attempts = 7};
    ck_assert_ptr_eq(feeder_task_put(feeder, &row), task);
    ck_assert_uint_eq(task->row.max_attempts, 7);
    ck_assert_ptr_eq(feeder_task(feeder, "noop", 4), task);
    ck_assert_ptr_null(feeder_task(feeder, "noopx", 5));
    ck_assert_ptr_null(feeder_task(feeder, "noo", 3));
    ck_assert_ptr_eq(feeder_task_by_id(feeder, 3), task);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_priority_then_age,
        test_what_is_kept_of_new_jobs_is_bounded_in_bytes_and_number,
        test_waiting_batches_follow_the_sizes_cut_and_the_oldest_waits,
        test_job_is_offered_exactly_while_there_is_something_to_dispatch,
        test_job_without_items_has_one_batch_of_nothing,
        test_finalize_waits_beside_the_batches_of_other_jobs,
        test_ready_batches_of_a_job_leave_in_the_order_they_came,
        test_due_is_the_first_deadline,
        test_job_goes_with_all_its_batches_and_no_others,
        test_rate_is_that_of_the_last_minute,
        test_task_is_found_by_name_and_refreshed_in_place,
    };
    Suite *suite = suite_create("feeder");
    TCase *rules = tcase_create("rules");
    tcase_add_checked_fixture(rules, open_it, close_it);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(rules, tests[i]);
    }
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

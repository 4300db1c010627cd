/* guard and rates: small rules with bounds. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "worker/guard.h"
#include "worker/rates.h"

START_TEST(test_p27_parent_then_child_then_store)
{
    static const int64_t leases[] = {100, 5000, 30000, 3600000};
    for (int i = 0; i < 4; i++) {
        guard_t guard = guard_new(1000, leases[i]);
        ck_assert_int_eq(guard.kill_at, 1000 + leases[i] * 2 / 3);
        ck_assert_int_gt(guard.child_at, guard.kill_at);
        ck_assert_int_lt(guard.child_at, 1000 + leases[i]);
        ck_assert(!guard_over(&guard, guard.kill_at - 1));
        ck_assert(guard_over(&guard, guard.kill_at));
    }
}
END_TEST

START_TEST(test_p25_a_late_answer_never_takes_time_away)
{
    guard_t guard = guard_new(0, 30000);
    ck_assert(guard_extend(&guard, 1000, 30000));
    ck_assert_int_eq(guard.kill_at, 21000);
    ck_assert(!guard_extend(&guard, 1000, 30000));
    ck_assert(!guard_extend(&guard, 500, 30000));
    ck_assert(!guard_extend(&guard, 2000, 3000));
    ck_assert_int_eq(guard.kill_at, 21000);
    ck_assert_int_eq(guard.child_at, 23500);
    /* Not the child's either, when the lease gets shorter. */
    ck_assert(guard_extend(&guard, 21001, 1));
    ck_assert_int_eq(guard.kill_at, 21001);
    ck_assert_int_eq(guard.child_at, 23500);
}
END_TEST

START_TEST(test_a_lease_from_a_stranger_is_bounded)
{
    ck_assert_int_eq(guard_new(0, INT64_MAX).kill_at, GUARD_LEASE_MAX_MS * 2LL / 3);
    ck_assert_int_eq(guard_new(0, 0).kill_at, 20000);
    ck_assert_int_eq(guard_new(0, INT64_MIN).kill_at, 20000);
}
END_TEST

START_TEST(test_rate_setting_is_parsed_or_refused)
{
    static const struct {
        const char *text;
        uint32_t n;
        int64_t window_ms;
    } good[] = {{"10/m", 10, 60000},  {"5/10s", 5, 10000},          {"3/200ms", 3, 200},
                {"1/2h", 1, 7200000}, {"10000/d", 10000, 86400000}, {"off", 0, 0}};
    static const char *const bad[] = {
        "",           "10",     "10/",   "/m",      "0/m",   "-1/m", "10/0s",
        "10/w",       "10/ms ", "1e3/m", "10001/m", "10/ m", "OFF",  "99999999999999999999/m",
        "10/1000001s"};
    uint32_t n = 77;
    int64_t window_ms = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(rates_parse(bad[i], &n, &window_ms) == ERR_CONFIG, "%s", bad[i]);
        ck_assert_ptr_nonnull(strstr(err_text(), bad[i]));
        ck_assert_uint_eq(n, 77);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_int_eq(rates_parse(good[i].text, &n, &window_ms), ERR_OK);
        ck_assert_uint_eq(n, good[i].n);
        ck_assert_int_eq(window_ms, good[i].window_ms);
    }
}
END_TEST

static rates_t one_task(uint32_t n)
{
    rates_t rates = {0};
    rates_add(&rates, task_spec_find("process_transaction_batch"), n, n ? 60000 : 0);
    return rates;
}

START_TEST(test_batches_that_wait_have_their_tokens_reserved)
{
    rates_t rates = one_task(3);
    rate_t *task = &rates.tasks[0];
    window_start(task->window, 0);
    task->waiting_n = 1;
    ck_assert_uint_eq(rates_tokens(task, 0), 1);
    task->waiting_n = 5; /* the limit was lowered meanwhile */
    ck_assert_uint_eq(rates_tokens(task, 0), 0);
    ck_assert(rates_may_start(task, 0));
    ck_assert_int_eq(rates_token_at(task, 0), INT64_MAX);
    task->waiting_n = 0;
    window_start(task->window, 10);
    window_start(task->window, 20);
    ck_assert(!rates_may_start(task, 30));
    ck_assert_int_eq(rates_token_at(task, 30), 60000 + RATES_SLACK_MS);
    rates_free(&rates);
}
END_TEST

START_TEST(test_a_limit_set_on_an_unlimited_task_begins_full)
{
    rates_t rates = one_task(0);
    ck_assert_uint_eq(rates_tokens(&rates.tasks[0], 0), UINT32_MAX);
    wire_limit_t limit = {
        .task = str_of("process_transaction_batch"), .rate_n = 2, .rate_window_ms = 1000};
    rates_override(&rates, &limit, 1, 500);
    ck_assert_uint_eq(rates_tokens(&rates.tasks[0], 500), 0);
    ck_assert_uint_eq(rates_tokens(&rates.tasks[0], 1500 + RATES_SLACK_MS), 2);
    rates_override(&rates, &limit, 1, 9999); /* the same again changes nothing */
    ck_assert_uint_eq(rates_tokens(&rates.tasks[0], 9999), 2);
    rates_override(&rates, NULL, 0, 9999);
    ck_assert_uint_eq(rates_tokens(&rates.tasks[0], 9999), UINT32_MAX);
    rates_free(&rates);
}
END_TEST

START_TEST(test_lookahead_follows_the_measured_duration)
{
    rates_t rates = one_task(0);
    rate_t *task = &rates.tasks[0];
    ck_assert_uint_eq(rates_ahead(task), 0);
    static const struct {
        int64_t us;
        uint32_t ahead;
    } rows[] = {{1, RATES_AHEAD_MAX}, {100, 51}, {1000, 6}, {4000, 2}, {5000, 0}, {1000000, 0}};
    for (int i = 0; i < 6; i++) {
        task->mean_us = 0;
        rates_measure(task, rows[i].us);
        ck_assert_uint_eq(rates_ahead(task), rows[i].ahead);
    }
    task->mean_us = 100;
    rates_measure(task, 30000); /* one long batch is enough */
    ck_assert_uint_eq(rates_ahead(task), 0);
    rates_free(&rates);
    rates = one_task(10); /* a limited batch is never held */
    rates_measure(&rates.tasks[0], 100);
    ck_assert_uint_eq(rates_ahead(&rates.tasks[0]), 0);
    rates_free(&rates);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard and rates");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_p27_parent_then_child_then_store);
    tcase_add_test(rules, test_p25_a_late_answer_never_takes_time_away);
    tcase_add_test(rules, test_a_lease_from_a_stranger_is_bounded);
    tcase_add_test(rules, test_rate_setting_is_parsed_or_refused);
    tcase_add_test(rules, test_batches_that_wait_have_their_tokens_reserved);
    tcase_add_test(rules, test_a_limit_set_on_an_unlimited_task_begins_full);
    tcase_add_test(rules, test_lookahead_follows_the_measured_duration);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

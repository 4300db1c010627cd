#include <check.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "common/task_table.h"
#include "common/json_out.h"
#include "worker/tasks/task.h"
#include "worker/tasks/transaction_config.h"

START_TEST(test_every_task_of_the_table_has_its_code)
{
    for (int i = 0; i < TASK_IDS_N; i++) {
        const task_spec_t *spec = task_spec_at(i);
        const task_code_t *code = task_code_find(spec->name);
        if (spec->flags & TASK_STORE) {
            ck_assert_ptr_null(code); /* runs inside the api */
            continue;
        }
        ck_assert_msg(code != NULL, "%s", spec->name);
        bool finalize = spec->flags & TASK_FINALIZE;
        ck_assert_int_eq(code->run == NULL, finalize);
        ck_assert_int_eq(code->finalize_open && code->finalize_merge && code->finalize_close,
                         finalize);
    }
    ck_assert_ptr_null(task_code_find("nothing"));
}
END_TEST

static uint32_t last_progress;

static void note_progress(void *context, uint32_t done)
{
    ck_assert_ptr_eq(context, &last_progress);
    ck_assert_uint_ge(done, last_progress);
    last_progress = done;
}

START_TEST(test_noop_fails_as_often_as_asked_and_reports_progress)
{
    task_batch_t batch = {.params = "{\"fail_attempts\":2,\"sleep_ms\":1}",
                          .items_n = 5,
                          .progress = note_progress,
                          .progress_context = &last_progress};
    const task_code_t *code = task_code_find("noop");
    for (batch.attempt = 1; batch.attempt <= 3; batch.attempt++) {
        task_result_t result = {0};
        ck_assert_int_eq(code->run(&batch, &result), batch.attempt <= 2 ? ERR_UNAVAILABLE : ERR_OK);
        ck_assert(!result.permanent);
        ck_assert_uint_eq(result.result.n, 0);
    }
    ck_assert_uint_eq(last_progress, 5);
}
END_TEST

START_TEST(test_crash_ends_by_sigsegv)
{
    task_batch_t batch = {.params = "{}"};
    task_result_t result = {0};
    ck_assert_int_eq(task_code_find("crash")->run(&batch, &result), ERR_OK);
}
END_TEST

/* Ticks until SIGTERM is ignored, then ends the process by a signal the test expects; pause() has
 * returned by then. */
static void on_tick(int signal_no)
{
    static int ticks;
    struct sigaction now;
    (void)signal_no;
    sigaction(SIGTERM, NULL, &now);
    if (now.sa_handler == SIG_IGN && ticks++ > 3) {
        raise(SIGUSR1);
    }
}

START_TEST(test_hang_ignores_sigterm_and_never_returns)
{
    task_batch_t batch = {.params = "{}"};
    task_result_t result = {0};
    struct itimerval often = {.it_interval = {.tv_usec = 1000}, .it_value = {.tv_usec = 1000}};
    signal(SIGALRM, on_tick);
    setitimer(ITIMER_REAL, &often, NULL);
    ck_assert_int_eq(task_code_find("hang")->run(&batch, &result), ERR_OK);
}
END_TEST

START_TEST(test_report_text_is_escaped_and_numbers_are_exact)
{
    buffer_t out = {0};
    json_out_t json = {.out = &out};
    json_out_object(&json, NULL);
    json_out_text(&json, "a\"b", "\\ \x01\x7f \xe2\x82\xac \xed\xa0\x80.");
    json_out_array(&json, "list");
    json_out_int(&json, NULL, (__int128)(~(unsigned __int128)0 >> 1));
    json_out_int(&json, NULL, -(__int128)(~(unsigned __int128)0 >> 1) - 1);
    json_out_int(&json, NULL, 0);
    json_out_real(&json, NULL, 1.0 / 3);
    json_out_real(&json, NULL, NAN);
    json_out_bool(&json, NULL, false);
    json_out_end_array(&json);
    json_out_null(&json, "none");
    json_out_end_object(&json);
    buffer_add(&out, "", 1);
    ck_assert_str_eq((char *)out.data,
                     "{\"a\\\"b\":\"\\\\ \\u0001\\u007f \xe2\x82\xac ?.\",\"list\":["
                     "170141183460469231731687303715884105727,"
                     "-170141183460469231731687303715884105728,0,0.3333333333,null,false],"
                     "\"none\":null}");
    buffer_free(&out);
}
END_TEST

START_TEST(test_thresholds_do_not_overflow)
{
    transaction_config_t config;
    ck_assert_int_eq(
        transaction_config_open(&config, "{\"thresholds_minor\":[9223372036854775807,1,11]}"),
        ERR_OK);
    ck_assert_int_eq(config.below_from[0], INT64_C(8301034833169298227));
    ck_assert_int_eq(config.above_to[0], INT64_MAX);
    /* 9t <= 10m < 10t and t <= m, 10m < 11t, by trying every m. */
    for (int i = 1; i < 3; i++) {
        int64_t t = config.thresholds[i];
        for (int64_t m = 0; m < 20; m++) {
            ck_assert_int_eq(m >= config.below_from[i] && m < t, 9 * t <= 10 * m && m < t);
            ck_assert_int_eq(m >= t && m < config.above_to[i], m >= t && 10 * m < 11 * t);
        }
    }
    ck_assert_str_eq(config.profile, "ap");
    transaction_config_close(&config);
    ck_assert_int_eq(transaction_config_open(&config, "[1]"), ERR_INVALID);
    ck_assert_int_eq(transaction_config_open(&config, "{"), ERR_INVALID);
}
END_TEST

START_TEST(test_score_caps_each_family)
{
    uint32_t all = (1u << RULES_N) - 1;
    ck_assert_int_eq(rules_score(0), 0);
    ck_assert_int_eq(rules_score(1u << RULE_JUST_BELOW | 1u << RULE_ROUND_1000), 18);
    ck_assert_int_eq(
        rules_score(1u << RULE_ACCOUNT_EMPTIED | 1u << RULE_BALANCE_GAP | 1u << RULE_OVERDRAWN),
        40);
    ck_assert_int_eq(rules_score(all), 21 + 10 + 15 + 40);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tasks");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_every_task_of_the_table_has_its_code);
    tcase_add_test(rules, test_noop_fails_as_often_as_asked_and_reports_progress);
    tcase_add_test_raise_signal(rules, test_crash_ends_by_sigsegv, SIGSEGV);
    tcase_add_test_raise_signal(rules, test_hang_ignores_sigterm_and_never_returns, SIGUSR1);
    tcase_add_test(rules, test_report_text_is_escaped_and_numbers_are_exact);
    tcase_add_test(rules, test_thresholds_do_not_overflow);
    tcase_add_test(rules, test_score_caps_each_family);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

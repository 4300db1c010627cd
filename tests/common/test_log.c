#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static int ends[2], before;
static char text[20000];

static void start(void)
{
    ck_assert_int_eq(pipe(ends), 0);
    before = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
}

static const char *logged(void)
{
    dup2(before, STDERR_FILENO);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static void end(void)
{
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[0]);
}

START_TEST(test_event_is_one_logfmt_line)
{
    log_open("worker w1", LOG_INFO);
    log_info("batch.done", "batch=%d task=%s", 7, "noop");
    logged();
    ck_assert_int_eq(strncmp(text, "ts=2", 4), 0);
    ck_assert_ptr_nonnull(
        strstr(text, "Z level=info proc=\"worker w1\" event=batch.done batch=7 task=noop\n"));
}
END_TEST

START_TEST(test_bytes_from_outside_cannot_make_a_line_of_their_own)
{
    log_open("api", LOG_INFO);
    log_warn("peer.odd", "name=\"%s\"", "a\nts=2 level=error\r\x1b[2J\x7f");
    logged();
    ck_assert_ptr_nonnull(strstr(text, "name=\"a\\x0ats=2 level=error\\x0d\\x1b[2J\\x7f\"\n"));
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}
END_TEST

START_TEST(test_quotes_inside_a_value_are_escaped)
{
    log_open("api", LOG_INFO);
    log_warn("odd", "detail=\"%s\" name=\"%s\" n=%d", "rate = \"foo\": expected off", "a \"b\"", 3);
    logged();
    ck_assert_ptr_nonnull(
        strstr(text, "detail=\"rate = \\\"foo\\\": expected off\" name=\"a \\\"b\\\"\" n=3\n"));
}
END_TEST

START_TEST(test_lines_below_the_level_are_dropped_and_long_ones_cut)
{
    char large[9000];
    memset(large, '\n', sizeof large - 1);
    large[sizeof large - 1] = 0;
    log_open("api", LOG_WARN);
    log_info("quiet", "x=%d", 1);
    log_error("loud", "%s", large);
    logged();
    ck_assert_ptr_null(strstr(text, "quiet"));
    ck_assert_ptr_nonnull(strstr(text, "event=loud \\x0a"));
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}
END_TEST

START_TEST(test_broken_invariant_says_where_and_aborts)
{
    INVARIANT(1 + 1 == 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tests = tcase_create("log");
    tcase_add_checked_fixture(tests, start, end);
    tcase_add_test(tests, test_event_is_one_logfmt_line);
    tcase_add_test(tests, test_bytes_from_outside_cannot_make_a_line_of_their_own);
    tcase_add_test(tests, test_quotes_inside_a_value_are_escaped);
    tcase_add_test(tests, test_lines_below_the_level_are_dropped_and_long_ones_cut);
    tcase_add_test_raise_signal(tests, test_broken_invariant_says_where_and_aborts, 6);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

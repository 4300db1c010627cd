/* framing: lines do not depend on where the bytes were cut. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "api/framing.h"

typedef struct {
    buffer_t seen; /* "<line>" one after another */
    int n;
} lines_t;

static err_t on_line(void *context, const char *line, size_t n)
{
    lines_t *lines = context;
    buffer_add_text(&lines->seen, "<");
    buffer_add(&lines->seen, line, n);
    buffer_add_text(&lines->seen, ">");
    lines->n++;
    return ERR_OK;
}

/* The input cut at `first` and then into pieces of `step`. */
static lines_t frame(const char *blanks, const char *data, size_t n, size_t first, size_t step)
{
    lines_t lines = {0};
    framing_t framing;
    framing_init(&framing, blanks, on_line, &lines);
    err_t err = framing_push(&framing, data, first);
    for (size_t at = first; at < n && !err; at += step) {
        err = framing_push(&framing, data + at, n - at < step ? n - at : step);
    }
    ck_assert_int_eq(err, ERR_OK); /* once: an assertion costs a system call */
    ck_assert_int_eq(framing_finish(&framing), ERR_OK);
    framing_free(&framing);
    return lines;
}

static void check_all_cuts(const char *blanks, const char *data, size_t n, const char *wanted,
                           size_t wanted_n)
{
    for (size_t first = 0; first <= n; first++) {
        lines_t lines = frame(blanks, data, n, first, n + 1);
        ck_assert_uint_eq(lines.seen.n, wanted_n);
        ck_assert_int_eq(wanted_n ? memcmp(lines.seen.data, wanted, wanted_n) : 0, 0);
        buffer_free(&lines.seen);
    }
    lines_t lines = frame(blanks, data, n, 0, 1);
    ck_assert_uint_eq(lines.seen.n, wanted_n);
    ck_assert_int_eq(wanted_n ? memcmp(lines.seen.data, wanted, wanted_n) : 0, 0);
    buffer_free(&lines.seen);
}

#define CUTS(data, wanted)                                                                         \
    check_all_cuts(FRAMING_CSV_BLANKS, data, sizeof data - 1, wanted, sizeof wanted - 1)

START_TEST(test_the_same_lines_wherever_the_bytes_are_cut)
{
    CUTS("a,b\n1,2\r\n\n \n,,\r\r\n\rx\n\xEF\xBB\xBFy\nlast",
         "<a,b><1,2><>< ><,,\r><\rx><\xEF\xBB\xBFy><last>");
}
END_TEST

START_TEST(test_byte_order_mark_goes_only_at_the_very_start)
{
    CUTS("\xEF\xBB\xBF"
         "a\nb\n",
         "<a><b>");
    CUTS("\xEF\xBB\xBF\xEF\xBB\xBF"
         "a\n",
         "<\xEF\xBB\xBF"
         "a>");
    CUTS("\xEF\xBB", "<\xEF\xBB>");
    CUTS("\xEF\xBBz\n", "<\xEF\xBBz>");
    CUTS("\xEF\xBB\xBF", "");
}
END_TEST

START_TEST(test_last_line_without_newline_counts_and_an_empty_rest_does_not)
{
    CUTS("", "");
    CUTS("a", "<a>");
    CUTS("a\n", "<a>");
    CUTS("a\n\n", "<a><>");
    CUTS("\n", "<>");
    CUTS("a\nb\r", "<a><b\r>");
    CUTS("\r", "<\r>");
}
END_TEST

/* "x\n", a line of `n` bytes made of `fill`, `tail`, then "y". */
static void check_long(const char *blanks, size_t n, char fill, const char *tail,
                       const char *wanted, size_t wanted_n)
{
    static const size_t steps[] = {1, 2, 3, 65535, 65536, 65537, 65538, 200000};
    buffer_t data = {0};
    buffer_add_text(&data, "x\n");
    buffer_reserve(&data, n);
    memset(data.data + data.n, fill, n);
    data.n += n;
    buffer_add_text(&data, tail);
    buffer_add_text(&data, "y");
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        for (size_t first = 0; first < 3; first++) {
            lines_t lines = frame(blanks, (const char *)data.data, data.n, first, steps[i]);
            ck_assert_int_eq(lines.n, 3);
            ck_assert_uint_eq(lines.seen.n, wanted_n + 8);
            ck_assert_int_eq(memcmp(lines.seen.data + 4, wanted, wanted_n), 0);
            buffer_free(&lines.seen);
        }
    }
    buffer_free(&data);
}

START_TEST(test_a_line_over_the_limit_becomes_a_marker_with_its_length)
{
    check_long(FRAMING_CSV_BLANKS, 65537, 'z', "\n",
               "\0"
               "65537",
               6);
    check_long(FRAMING_CSV_BLANKS, 65537, 'z', "\r\n",
               "\0"
               "65537",
               6);
    check_long(FRAMING_CSV_BLANKS, 130000, 'z', "\r\r\n",
               "\0"
               "130001",
               7);
}
END_TEST

START_TEST(test_a_line_at_the_limit_stays_also_with_cr)
{
    char *line = malloc(65536);
    memset(line, 'z', 65536);
    check_long(FRAMING_CSV_BLANKS, 65536, 'z', "\n", line, 65536);
    check_long(FRAMING_CSV_BLANKS, 65536, 'z', "\r\n", line, 65536);
    check_long(FRAMING_CSV_BLANKS, 65536, 'z', "\r\r\n",
               "\0"
               "65537",
               6);
    free(line);
}
END_TEST

START_TEST(test_a_long_line_of_blanks_becomes_an_empty_line)
{
    check_long(FRAMING_CSV_BLANKS, 70000, ',', "\r\n", "", 0);
    check_long(FRAMING_CSV_BLANKS, 70000, ' ', ",\t\n", "", 0);
    check_long(FRAMING_NDJSON_BLANKS, 70000, ' ', "\v\f\r\r\n", "", 0);
    check_long(FRAMING_NDJSON_BLANKS, 70000, ',', "\n",
               "\0"
               "70000",
               6);
    check_long(FRAMING_CSV_BLANKS, 70000, ',', "\r,\n",
               "\0"
               "70002",
               6);
    check_long(FRAMING_CSV_BLANKS, 70000, '\0', "\n",
               "\0"
               "70000",
               6);
}
END_TEST

static err_t on_third(void *context, const char *line, size_t n)
{
    (void)line;
    (void)n;
    int *seen = context;
    return ++*seen == 3 ? err_set(ERR_FULL, "enough") : ERR_OK;
}

START_TEST(test_an_error_of_the_call_ends_it)
{
    int seen = 0;
    framing_t framing;
    framing_init(&framing, FRAMING_CSV_BLANKS, on_third, &seen);
    ck_assert_int_eq(framing_push(&framing, "1\n2\n3\n4\n", 8), ERR_FULL);
    ck_assert_int_eq(seen, 3);
    framing_free(&framing);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("framing");
    TCase *test = tcase_create("framing");
    tcase_set_timeout(test, 60);
    tcase_add_test(test, test_the_same_lines_wherever_the_bytes_are_cut);
    tcase_add_test(test, test_byte_order_mark_goes_only_at_the_very_start);
    tcase_add_test(test, test_last_line_without_newline_counts_and_an_empty_rest_does_not);
    tcase_add_test(test, test_a_line_over_the_limit_becomes_a_marker_with_its_length);
    tcase_add_test(test, test_a_line_at_the_limit_stays_also_with_cr);
    tcase_add_test(test, test_a_long_line_of_blanks_becomes_an_empty_line);
    tcase_add_test(test, test_an_error_of_the_call_ends_it);
    suite_add_tcase(suite, test);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

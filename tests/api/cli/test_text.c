/* Formatting, escaping and drawing. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/cli/chart.h"
#include "api/cli/text.h"

static buffer_t made;

static const char *taken(void)
{
    static char text[1024];
    snprintf(text, sizeof text, "%.*s", (int)made.n, (const char *)made.data);
    buffer_free(&made);
    return text;
}

static const char *number(int64_t value)
{
    text_number(&made, value);
    return taken();
}

static const char *money(int64_t minor, const char *currency)
{
    text_money(&made, minor, currency);
    return taken();
}

static const char *duration(double seconds)
{
    text_duration(&made, seconds);
    return taken();
}

static const char *escaped(const char *bytes, size_t n)
{
    text_escape(&made, bytes, n);
    return taken();
}

START_TEST(test_numbers_are_grouped_to_the_last_int64)
{
    ck_assert_str_eq(number(0), "0");
    ck_assert_str_eq(number(999), "999");
    ck_assert_str_eq(number(1000), "1,000");
    ck_assert_str_eq(number(-1234567), "-1,234,567");
    ck_assert_str_eq(number(INT64_MAX), "9,223,372,036,854,775,807");
    ck_assert_str_eq(number(INT64_MIN), "-9,223,372,036,854,775,808");
}
END_TEST

START_TEST(test_money_has_the_decimals_of_its_currency)
{
    ck_assert_str_eq(money(662949065960, "GBP"), "6,629,490,659.60");
    ck_assert_str_eq(money(-5, "EUR"), "-0.05");
    ck_assert_str_eq(money(12345, "JPY"), "12,345");
    ck_assert_str_eq(money(12345, "KWD"), "12.345");
    ck_assert_str_eq(money(1, ""), "0.01");
    ck_assert_str_eq(money(INT64_MIN, "USD"), "-92,233,720,368,547,758.08");
}
END_TEST

START_TEST(test_durations_change_unit_where_they_round)
{
    ck_assert_str_eq(duration(0), "0.00 s");
    ck_assert_str_eq(duration(0.421), "0.42 s");
    ck_assert_str_eq(duration(0.996), "1.0 s");
    ck_assert_str_eq(duration(9.96), "10 s");
    ck_assert_str_eq(duration(59.6), "1 min 0 s");
    ck_assert_str_eq(duration(200), "3 min 20 s");
    ck_assert_str_eq(duration(7500), "2 h 5 min");
    ck_assert_str_eq(duration(273600), "3 d 4 h");
    ck_assert_str_eq(duration(-1), "0.00 s");
    ck_assert_str_eq(duration((double)NAN), "0.00 s");
}
END_TEST

START_TEST(test_bytes_choose_their_unit)
{
    text_bytes(&made, 1023);
    ck_assert_str_eq(taken(), "1023 B");
    text_bytes(&made, 1536);
    ck_assert_str_eq(taken(), "1.5 KiB");
    text_bytes(&made, (int64_t)3 << 30);
    ck_assert_str_eq(taken(), "3.0 GiB");
}
END_TEST

START_TEST(test_strangers_cannot_reach_the_terminal)
{
    ck_assert_str_eq(escaped("\x1b[2J", 4), "\\x1b[2J");
    ck_assert_str_eq(escaped("a\0b\n\x7f", 5), "a\\x00b\\x0a\\x7f");
    ck_assert_str_eq(escaped("\xc2\x9b", 2), "\\xc2\\x9b");             /* CSI as C1 */
    ck_assert_str_eq(escaped("\xe2\x80\xae", 3), "\\xe2\\x80\\xae");    /* right-to-left override */
    ck_assert_str_eq(escaped("\xc0\x80\xff", 3), "\\xc0\\x80\\xff");    /* overlong, not UTF-8 */
    ck_assert_str_eq(escaped("\xed\xa0\x80", 3), "\\xed\\xa0\\x80");    /* surrogate */
    ck_assert_str_eq(escaped("\xe2\x82", 2), "\\xe2\\x82");             /* cut */
    ck_assert_str_eq(escaped("K\xc3\xb6ln \xe2\x82\xac", 9), "Köln €"); /* text stays */
}
END_TEST

START_TEST(test_bars_have_their_width_whatever_the_value)
{
    static const double values[] = {-1, 0, 0.0001, 0.5, 1, 2, (double)NAN, (double)INFINITY};
    for (int unicode = 0; unicode < 2; unicode++) {
        style_t style = {.unicode = unicode, .width = 80};
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            chart_bar(&made, style, values[i], 1, 20);
            ck_assert_int_eq(text_columns((char *)made.data, made.n), 20);
            buffer_clear(&made);
            chart_marked_t marked = {.value = values[i], .expected = 0.3, .most = 1, .width = 20};
            chart_marked(&made, style, &marked);
            ck_assert_int_eq(text_columns((char *)made.data, made.n), 20);
            buffer_clear(&made);
        }
    }
    buffer_free(&made);
}
END_TEST

START_TEST(test_bar_is_as_long_as_its_value_and_the_mark_stands_at_the_expected)
{
    style_t plain = {.width = 80};
    chart_bar(&made, plain, 5, 10, 10);
    ck_assert_str_eq(taken(), "#####     ");
    chart_bar(&made, plain, 1, 1000, 10); /* something is not nothing */
    ck_assert_str_eq(taken(), "#         ");
    chart_bar(&made, (style_t){.unicode = true}, 3, 16, 4);
    ck_assert_str_eq(taken(), "▊   ");
    chart_marked_t marked = {.value = 5, .expected = 7, .most = 10, .width = 10};
    chart_marked(&made, plain, &marked);
    ck_assert_str_eq(taken(), "#####  |  ");
    marked.expected = 2;
    chart_marked(&made, plain, &marked);
    ck_assert_str_eq(taken(), "##|##     ");
}
END_TEST

START_TEST(test_sparkline_fits_and_averages_neighbours)
{
    static const double values[] = {0, 1, 2, 3, 4, 5, 6, 7};
    style_t style = {.unicode = true};
    ck_assert_int_eq(chart_spark(&made, style, values, 8, 8), 8);
    ck_assert_str_eq(taken(), "▁▂▃▄▅▆▇█");
    ck_assert_int_eq(chart_spark(&made, style, values, 8, 5), 4);
    ck_assert_str_eq(taken(), "▁▄▆█");
    ck_assert_int_eq(chart_spark(&made, style, values, 0, 5), 0);
    ck_assert_int_eq(chart_spark(&made, style, values, 8, -3), 0);
    buffer_free(&made);
}
END_TEST

START_TEST(test_only_a_finished_job_has_a_full_bar)
{
    style_t plain = {.width = 80};
    chart_progress(&made, plain, 0.9999, 10);
    ck_assert_str_eq(taken(), "[#########.]");
    chart_progress(&made, plain, 1, 10);
    ck_assert_str_eq(taken(), "[##########]");
    chart_progress(&made, plain, -3, 10);
    ck_assert_str_eq(taken(), "[..........]");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *cases = tcase_create("text and charts");
    tcase_add_test(cases, test_numbers_are_grouped_to_the_last_int64);
    tcase_add_test(cases, test_money_has_the_decimals_of_its_currency);
    tcase_add_test(cases, test_durations_change_unit_where_they_round);
    tcase_add_test(cases, test_bytes_choose_their_unit);
    tcase_add_test(cases, test_strangers_cannot_reach_the_terminal);
    tcase_add_test(cases, test_bars_have_their_width_whatever_the_value);
    tcase_add_test(cases, test_bar_is_as_long_as_its_value_and_the_mark_stands_at_the_expected);
    tcase_add_test(cases, test_sparkline_fits_and_averages_neighbours);
    tcase_add_test(cases, test_only_a_finished_job_has_a_full_bar);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures != 0;
}

/* The report's page, from data/report.json and from broken pieces of it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/cli/job_text.h"
#include "api/cli/report_text.h"

static const char job_json[] =
    "{\"job_id\":\"868000000001\",\"status\":\"completed\",\"items_total\":20000,\"items_done\":"
    "19990,"
    "\"items_failed\":10,\"percent\":100.0,\"batches\":20,\"batches_done\":20,\"attempts\":23,"
    "\"failures\":2,\"lost\":1,\"created_at\":\"2026-11-23T19:18:00.000Z\","
    "\"finished_at\":\"2026-11-23T19:18:08.500Z\"}";

static json_t *report, *job;
static const style_t plain = {.width = 100};

static void setup(void)
{
    report = json_load_file("tests/api/cli/data/report.json", 0, NULL);
    ck_assert_ptr_nonnull(report);
    job = json_loads(job_json, 0, NULL);
    ck_assert_ptr_nonnull(job);
}

static void teardown(void)
{
    json_decref(report);
    json_decref(job);
}

static char *page(style_t style, const json_t *of, const json_t *with)
{
    buffer_t out = {0};
    report_text(&out, style, of, with);
    buffer_add(&out, "", 1);
    return (char *)out.data;
}

static void says(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "the page does not say \"%s\":\n%s", part, text);
}

START_TEST(test_page_has_every_section)
{
    char *text = page(plain, report, job);
    says(text, "Forensic report of job 868000000001, profile ap\n===");
    says(text, "1,070,203 rows, 10 rejected, 2 blank lines");
    says(text, "1,070,193: 1,055,054 payments, 14,871 refunds, 268 of zero");
    says(text, "6,629,490,659.60 GBP");
    says(text, "-3,678,929.00 to 5,000,000.00");
    says(text, "2014-01-02 to 2023-12-22");
    says(text, "half under 1,402.88");
    says(text, "669,516 amounts of 1,000.00 and more");
    says(text, "    1      325,970    48.7 %    30.1 %  ####");
    says(text, "nonconformity, MAD 0.04677");
    says(text, "not applicable: p99/p01 is 61.0");
    says(text, "begins with 10: 55,712 rows, 27,999 more than expected");
    says(text, "16,412 of 1,000.00, 44,511 more of 100.00: 5.77 % (chance 0.01 %)");
    says(text, "25,000.00           7,255      5,708       7.9  more than chance");
    says(text, "Mon");
    says(text, "2014-01 to 2023-12");
    says(text, "JUST_BELOW");
    says(text, "1,043,341 low, 26,753 medium, 99 high, 0 critical");
    says(text, "Also in JPY");
    says(text, "4,500 JPY");
    says(text, "line 17: E_AMOUNT_SCALE in amount");
    says(text, "20 batches of 1,000 items on average");
    says(text, "23 with the final merge: 2 failed, 1 lost");
    says(text, "8.5 s, 2,353 items/s");
    says(text, "for review");
    ck_assert_ptr_null(strstr(text, "fraud"));
    ck_assert_ptr_null(strchr(text, '\x1b'));
    free(text);
}
END_TEST

START_TEST(test_codes_stand_in_order_of_their_count)
{
    char *text = page(plain, report, job);
    ck_assert(strstr(text, "E_AMOUNT_SCALE") < strstr(text, "E_TS_FORMAT"));
    free(text);
}
END_TEST

START_TEST(test_lines_fit_the_terminal)
{
    for (int width = 80; width <= 120; width += 20) {
        char *text = page((style_t){.unicode = true, .width = width}, report, job), *rest = NULL;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
            /* A reason is a sentence of the server and may wrap. */
            ck_assert_msg(strstr(line, "not applicable") ||
                              text_columns(line, strlen(line)) <= width,
                          "%d columns: %s", width, line);
        }
        free(text);
    }
}
END_TEST

START_TEST(test_any_part_may_be_missing_or_of_another_type)
{
    static const char *const others[] = {"null", "[]", "{}", "\"x\"", "-1", "1e300", "[[1],{}]"};
    const char *key;
    json_t *value;
    json_t *whole = json_deep_copy(report);
    json_object_foreach(whole, key, value)
    {
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            json_t *broken = json_deep_copy(report);
            json_object_set_new(broken, key, json_loads(others[i], JSON_DECODE_ANY, NULL));
            free(page(plain, broken, NULL));
            json_object_del(broken, key);
            free(page(plain, broken, job));
            json_decref(broken);
        }
    }
    json_decref(whole);
}
END_TEST

START_TEST(test_texts_of_the_report_are_escaped)
{
    json_object_set_new(report, "currency", json_string("\x1b]0;x\x07"));
    json_object_set_new(json_object_get(report, "item_rules"), "\x1b[31m", json_integer(1));
    json_object_set_new(json_object_get(report, "by_currency"), "\x1b[32m",
                        json_pack("{s{si}}", "totals", "rows", 1));
    char *text = page(plain, report, job);
    ck_assert_ptr_null(strchr(text, '\x1b'));
    says(text, "\\x1b[31m");
    says(text, "\\x1b[32m");
    free(text);
}
END_TEST

START_TEST(test_report_of_another_task_is_shown_as_it_is)
{
    json_t *other = json_pack("{si}", "answer", 42);
    char *text = page(plain, other, job);
    ck_assert_str_eq(text, "{\n  \"answer\": 42\n}\n");
    free(text);
    json_decref(other);
}
END_TEST

START_TEST(test_progress_bar_fits_its_line)
{
    for (int width = 40; width <= 120; width += 10) {
        buffer_t out = {0};
        json_object_set_new(job, "status", json_string("processing"));
        job_bar(&out, (style_t){.unicode = true, .width = width}, job);
        ck_assert_int_le(text_columns((char *)out.data, out.n), width < 60 ? 60 : width);
        buffer_free(&out);
    }
}
END_TEST

START_TEST(test_seconds_between_times)
{
    ck_assert_double_eq_tol(job_seconds("2026-11-23T19:18:00.250Z", "2026-11-23T19:19:00.5Z"),
                            60.25, 1e-6);
    ck_assert_double_eq_tol(job_seconds("2026-11-23T19:18:00Z", "2026-11-23T19:18:01Z"), 1, 1e-6);
    ck_assert_double_lt(job_seconds("", "2026-11-23T19:18:01Z"), 0);
    ck_assert_double_lt(job_seconds("2026-11-23T19:18:02Z", "2026-11-23T19:18:01Z"), 0);
    ck_assert_double_lt(job_seconds("2026-11-23 19:18:02", "yesterday"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("report_text");
    TCase *cases = tcase_create("pages");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, test_page_has_every_section);
    tcase_add_test(cases, test_codes_stand_in_order_of_their_count);
    tcase_add_test(cases, test_lines_fit_the_terminal);
    tcase_add_test(cases, test_any_part_may_be_missing_or_of_another_type);
    tcase_add_test(cases, test_texts_of_the_report_are_escaped);
    tcase_add_test(cases, test_report_of_another_task_is_shown_as_it_is);
    tcase_add_test(cases, test_progress_bar_fits_its_line);
    tcase_add_test(cases, test_seconds_between_times);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures != 0;
}

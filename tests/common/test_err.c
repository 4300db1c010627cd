#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

START_TEST(test_context_is_put_before_the_sentence)
{
    ck_assert_int_eq(err_set(ERR_NOT_FOUND, "no job %d", 7), ERR_NOT_FOUND);
    ck_assert_int_eq(err_context(ERR_NOT_FOUND, "GET /%s", "x"), ERR_NOT_FOUND);
    ck_assert_str_eq(err_text(), "GET /x: no job 7");
    ck_assert_int_eq(err_set(ERR_IO, "again: %s", err_text()), ERR_IO);
    ck_assert_str_eq(err_text(), "again: GET /x: no job 7");
}
END_TEST

START_TEST(test_long_sentences_are_cut_and_stay_texts)
{
    char text[3000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    ck_assert_int_eq(err_set(ERR_IO, "%s", text), ERR_IO);
    size_t n = strlen(err_text());
    ck_assert_uint_lt(n, sizeof text - 1);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(err_context(ERR_IO, "%s", text), ERR_IO);
        ck_assert_uint_eq(strlen(err_text()), n);
    }
}
END_TEST

START_TEST(test_every_row_has_a_code_of_its_own_a_title_and_an_exit)
{
    for (int i = 1; i < ERR_CODES_N; i++) {
        ck_assert_str_ne(err_code((err_t)i), "");
        ck_assert_str_ne(err_title((err_t)i), "");
        ck_assert_int_ge(err_exit((err_t)i), 64);
        ck_assert_int_le(err_exit((err_t)i), 78);
        ck_assert(err_http((err_t)i) == 0 ||
                  (err_http((err_t)i) >= 400 && err_http((err_t)i) < 600));
        for (int k = 1; k < i; k++) {
            ck_assert_str_ne(err_code((err_t)i), err_code((err_t)k));
        }
    }
    ck_assert_int_eq(err_exit(ERR_OK), 0);
    ck_assert(err_retryable(ERR_BUSY) && !err_retryable(ERR_INVALID));
    ck_assert_str_eq(err_code((err_t)9999), err_code(ERR_INTERNAL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("err");
    TCase *tests = tcase_create("err");
    tcase_add_test(tests, test_context_is_put_before_the_sentence);
    tcase_add_test(tests, test_long_sentences_are_cut_and_stay_texts);
    tcase_add_test(tests, test_every_row_has_a_code_of_its_own_a_title_and_an_exit);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* window: the exact limiter against a judge that knows every start. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/random.h"
#include "common/window.h"

START_TEST(test_n_starts_then_none_until_the_first_leaves)
{
    window_t *window = window_new(3, 1000);
    ck_assert_uint_eq(window_free(window, 0), 3);
    ck_assert_int_eq(window_free_at(window, 0), 0);
    window_start(window, 0);
    window_start(window, 400);
    window_start(window, 400);
    ck_assert_uint_eq(window_free(window, 400), 0);
    ck_assert_uint_eq(window_used(window, 400), 3);
    ck_assert_int_eq(window_free_at(window, 400), 1000);
    ck_assert_uint_eq(window_free(window, 999), 0);
    ck_assert_uint_eq(window_free(window, 1000), 1);
    window_start(window, 1000);
    ck_assert_int_eq(window_free_at(window, 1000), 1400);
    ck_assert_uint_eq(window_free(window, 1400), 2);
    window_destroy(&window);
    ck_assert_ptr_null(window);
    window_destroy(&window);
}
END_TEST

START_TEST(test_a_start_over_the_limit_counts_too)
{
    window_t *window = window_new(2, 1000);
    window_start(window, 0);
    window_start(window, 10);
    window_start(window, 500);
    ck_assert_uint_eq(window_free(window, 1000), 0);
    ck_assert_int_eq(window_free_at(window, 600), 1010);
    window_destroy(&window);
}
END_TEST

START_TEST(test_time_that_goes_back_is_taken_as_the_newest)
{
    window_t *window = window_new(1, 1000);
    window_start(window, 5000);
    window_start(window, 100);
    ck_assert_int_eq(window_free_at(window, 5000), 6000);
    window_destroy(&window);
}
END_TEST

START_TEST(test_an_unknown_past_counts_as_full)
{
    window_t *window = window_new(10, 60000);
    window_fill(window, 1000);
    ck_assert_uint_eq(window_free(window, 60999), 0);
    ck_assert_uint_eq(window_free(window, 61000), 10);
    window_destroy(&window);
}
END_TEST

START_TEST(test_a_changed_limit_keeps_the_newest_starts)
{
    window_t *window = window_new(4, 1000);
    for (int i = 0; i < 6; i++) {
        window_start(window, i * 10); /* the ring has turned: 20, 30, 40, 50 are left */
    }
    window_set(window, 2, 1000);
    ck_assert_uint_eq(window_free(window, 60), 0);
    ck_assert_int_eq(window_free_at(window, 60), 1040);
    window_set(window, 3, 2000);
    ck_assert_uint_eq(window_free(window, 60), 1);
    window_start(window, 60);
    ck_assert_int_eq(window_free_at(window, 60), 2040);
    window_destroy(&window);
}
END_TEST

enum { STARTS = 3000 };

/* Eager, lazy and bursty callers; the judge counts every window that begins at a start. */
START_TEST(test_in_no_window_lie_more_than_n_starts)
{
    uint64_t seed = (uint64_t)time(NULL), state = seed;
    printf("window seed %llu\n", (unsigned long long)seed);
    static int64_t starts[STARTS];
    for (int round = 0; round < 40; round++) {
        uint32_t n = 1 + (uint32_t)random_below(&state, 20);
        int64_t window_ms = 1 + (int64_t)random_below(&state, 1000), now = 0;
        window_t *window = window_new(n, window_ms);
        int made = 0;
        while (made < STARTS) {
            if (window_free(window, now) > 0) {
                ck_assert_int_eq(window_free_at(window, now), now);
                window_start(window, now);
                starts[made++] = now;
            } else {
                int64_t at = window_free_at(window, now);
                ck_assert_int_gt(at, now);
                ck_assert_uint_eq(window_free(window, at - 1), 0);
                ck_assert_uint_gt(window_free(window, at), 0);
                now = random_below(&state, 2) ? at : now + 1;
            }
            now += random_below(&state, 4) ? 0 : (int64_t)random_below(&state, 50);
        }
        for (int i = 0; i + (int)n < made; i++) {
            ck_assert_msg(starts[i + (int)n] - starts[i] >= window_ms, "seed %llu round %d",
                          (unsigned long long)seed, round);
        }
        window_destroy(&window);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("window");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_n_starts_then_none_until_the_first_leaves);
    tcase_add_test(rules, test_a_start_over_the_limit_counts_too);
    tcase_add_test(rules, test_time_that_goes_back_is_taken_as_the_newest);
    tcase_add_test(rules, test_an_unknown_past_counts_as_full);
    tcase_add_test(rules, test_a_changed_limit_keeps_the_newest_starts);
    tcase_add_test(rules, test_in_no_window_lie_more_than_n_starts);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

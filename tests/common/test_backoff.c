/* backoff and random: ranges, spread, and the published sequence of splitmix64. */
#include <check.h>
#include <stdlib.h>

#include "common/backoff.h"
#include "common/random.h"

START_TEST(test_ceiling_doubles_from_a_second_to_a_minute)
{
    static const int64_t expected[] = {1000, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (uint32_t attempt = 0; attempt < 9; attempt++) {
        ck_assert_int_eq(backoff_ceiling_ms(attempt), expected[attempt]);
    }
    ck_assert_int_eq(backoff_ceiling_ms(UINT32_MAX), 60000);
}
END_TEST

START_TEST(test_jitter_is_full_and_even)
{
    uint64_t state = 1;
    for (uint32_t attempt = 1; attempt < 9; attempt++) {
        int64_t ceiling = backoff_ceiling_ms(attempt), quarters[4] = {0};
        for (int i = 0; i < 4000; i++) {
            int64_t wait = backoff_ms(attempt, &state);
            ck_assert_int_ge(wait, 0);
            ck_assert_int_le(wait, ceiling);
            quarters[wait * 4 / (ceiling + 1)]++;
        }
        for (int i = 0; i < 4; i++) {
            ck_assert_int_gt(quarters[i], 850);
            ck_assert_int_lt(quarters[i], 1150);
        }
    }
}
END_TEST

START_TEST(test_the_same_seed_gives_the_same_waits)
{
    uint64_t a = 77, b = 77;
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(backoff_ms(5, &a), backoff_ms(5, &b));
    }
}
END_TEST

START_TEST(test_random_is_the_published_splitmix64)
{
    uint64_t state = 0;
    ck_assert_uint_eq(random_u64(&state), UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_eq(random_u64(&state), UINT64_C(0x6e789e6aa1b965f4));
    ck_assert_uint_eq(random_u64(&state), UINT64_C(0x06c45d188009454f));
    for (uint64_t n = 1; n < 100; n++) {
        ck_assert_uint_lt(random_below(&state, n), n);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("backoff");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_ceiling_doubles_from_a_second_to_a_minute);
    tcase_add_test(rules, test_jitter_is_full_and_even);
    tcase_add_test(rules, test_the_same_seed_gives_the_same_waits);
    tcase_add_test(rules, test_random_is_the_published_splitmix64);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

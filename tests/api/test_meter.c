/* meter: what finished in the last minute and hour, no more and no less. */
#include <check.h>
#include <stdlib.h>

#include "api/meter.h"

START_TEST(test_nothing_has_finished_at_first)
{
    meter_t meter = {0};
    ck_assert_uint_eq(meter_minute(&meter, 0).done, 0);
    ck_assert_uint_eq(meter_hour(&meter, 123456789).failed, 0);
}
END_TEST

START_TEST(test_a_minute_and_an_hour_are_counted_and_forgotten)
{
    meter_t meter = {0};
    int64_t at = 7200000;
    meter_add(&meter, at, 3, 1);
    meter_add(&meter, at + 999, 2, 0);
    meter_add(&meter, at + 30000, 10, 5);
    ck_assert_uint_eq(meter_minute(&meter, at + 59999).done, 15);
    ck_assert_uint_eq(meter_minute(&meter, at + 59999).failed, 6);
    ck_assert_uint_eq(meter_minute(&meter, at + 60000).done, 10);
    ck_assert_uint_eq(meter_minute(&meter, at + 90000).done, 0);
    ck_assert_uint_eq(meter_hour(&meter, at + 59 * 60000).done, 15);
    ck_assert_uint_eq(meter_hour(&meter, at + 60 * 60000).done, 0);
}
END_TEST

START_TEST(test_a_place_in_the_ring_is_emptied_before_it_is_used_again)
{
    meter_t meter = {0};
    meter_add(&meter, 1000, 3, 1);
    meter_add(&meter, 61000, 4, 0);
    ck_assert_uint_eq(meter_minute(&meter, 61000).done, 4);
    ck_assert_uint_eq(meter_minute(&meter, 61000).failed, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("meter");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_nothing_has_finished_at_first);
    tcase_add_test(rules, test_a_minute_and_an_hour_are_counted_and_forgotten);
    tcase_add_test(rules, test_a_place_in_the_ring_is_emptied_before_it_is_used_again);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

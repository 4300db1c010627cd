/* optimizer: each rule of the table in its header, and their order. */
#include <check.h>
#include <stdlib.h>

#include "common/optimizer.h"

static const uint64_t ROOM = UINT64_C(4) << 30, TIGHT = (UINT64_C(1) << 30) - 1;

static optimizer_host_t host(uint64_t memory, uint32_t cpu, int64_t now)
{
    return (optimizer_host_t){
        .memory_available = memory, .cpu_permille = cpu, .target_ms = 5000, .now_ms = now};
}

/* A batch whose items took item_us each. */
static void batch(optimizer_t *self, int64_t item_us, optimizer_host_t facts)
{
    optimizer_batch(self, 100, item_us * 100, &facts);
}

START_TEST(test_starts_at_a_thousand)
{
    optimizer_t self = {0};
    ck_assert_uint_eq(optimizer_size(&self), 1000);
}
END_TEST

START_TEST(test_grows_by_half_after_three_calm_batches)
{
    optimizer_t self = {.size = 200};
    for (int i = 0; i < 2; i++) {
        batch(&self, 10, host(ROOM, 900, 10));
        ck_assert_uint_eq(optimizer_size(&self), 200);
    }
    batch(&self, 10, host(ROOM, 900, 10));
    ck_assert_uint_eq(optimizer_size(&self), 300);
    ck_assert_str_eq(self.reason, "growth");
    for (int i = 0; i < 30; i++) {
        batch(&self, 10, host(ROOM, 900, 10));
    }
    ck_assert_uint_eq(optimizer_size(&self), OPTIMIZER_MAX);
}
END_TEST

/* Somebody else's load must not shrink the batches of a worker that has nothing to run, or whose
 * batches are over in a moment. */
START_TEST(test_cpu_halves_once_for_what_ran_and_not_for_short_batches)
{
    optimizer_t self = {0};
    batch(&self, 1000, host(ROOM, 100, 1000));
    for (int i = 0; i < 3; i++) {
        batch(&self, 3000, host(ROOM, 990, 2000));
    }
    ck_assert_uint_eq(optimizer_size(&self), 500);
    ck_assert_str_eq(self.reason, "cpu");
    for (int64_t now = 4000; now < 60000; now += 1000) {
        optimizer_host_t facts = host(ROOM, 1000, now);
        optimizer_sample(&self,
                         &facts); /* idle since: one more step for the last batches, and no more */
    }
    ck_assert_uint_eq(optimizer_size(&self), 250);
    optimizer_t quick = {0};
    batch(&quick, 1, host(ROOM, 100, 1000));
    for (int i = 0; i < 9; i++) {
        batch(&quick, 10, host(ROOM, 990, 2000 + 2000 * i)); /* 10 ms for a thousand items */
    }
    ck_assert_uint_ge(optimizer_size(&quick), 1000);
}
END_TEST

START_TEST(test_low_memory_halves_and_wins_over_all)
{
    optimizer_t self = {0};
    batch(&self, 10, host(TIGHT, 0, 5000));
    ck_assert_uint_eq(optimizer_size(&self), 500);
    ck_assert_str_eq(self.reason, "memory");
    batch(&self, 1000000, host(TIGHT, 1000, 6000));
    ck_assert_uint_eq(optimizer_size(&self), 250);
    ck_assert_str_eq(self.reason, "memory");
    for (int64_t now = 7000; now < 20000; now += 1000) {
        optimizer_host_t facts = host(TIGHT, 0, now);
        optimizer_sample(&self, &facts);
    }
    ck_assert_uint_eq(optimizer_size(&self), OPTIMIZER_MIN);
}
END_TEST

START_TEST(test_unknown_memory_is_no_pressure)
{
    optimizer_t self = {0};
    batch(&self, 10, host(0, 0, 5000));
    ck_assert_uint_eq(optimizer_size(&self), 1000);
}
END_TEST

START_TEST(test_pressure_halves_at_most_once_a_second)
{
    optimizer_t self = {0};
    optimizer_host_t facts = host(TIGHT, 0, 5000);
    optimizer_sample(&self, &facts);
    facts.now_ms = 5999;
    optimizer_sample(&self, &facts);
    ck_assert_uint_eq(optimizer_size(&self), 500);
    facts.now_ms = 6000;
    optimizer_sample(&self, &facts);
    ck_assert_uint_eq(optimizer_size(&self), 250);
}
END_TEST

START_TEST(test_cpu_halves_only_if_items_became_slower)
{
    optimizer_t busy = {0};
    batch(&busy, 100, host(ROOM, 1000, 5000));
    ck_assert_uint_eq(optimizer_size(&busy), 1000);
    optimizer_t slow = {0};
    batch(&slow, 100, host(ROOM, 850, 5000));
    batch(&slow, 400, host(ROOM, 850, 6000)); /* 85 % is not over 85 % */
    ck_assert_uint_eq(optimizer_size(&slow), 1000);
    batch(&slow, 400, host(ROOM, 851, 7000));
    ck_assert_uint_eq(optimizer_size(&slow), 500);
    ck_assert_str_eq(slow.reason, "cpu");
}
END_TEST

START_TEST(test_never_longer_than_the_target_duration)
{
    optimizer_t self = {0};
    batch(&self, 20000, host(ROOM, 0, 5000)); /* 20 ms an item: 250 of them in 5 s */
    ck_assert_uint_eq(optimizer_size(&self), 250);
    ck_assert_str_eq(self.reason, "duration");
    for (int i = 0; i < 9; i++) {
        batch(&self, 20000, host(ROOM, 0, 6000));
    }
    ck_assert_uint_eq(optimizer_size(&self), 250);
    for (int i = 0; i < 9; i++) {
        batch(&self, 10000000, host(ROOM, 0, 7000));
    }
    ck_assert_uint_eq(optimizer_size(&self), OPTIMIZER_MIN);
}
END_TEST

START_TEST(test_pressure_starts_the_count_of_calm_batches_anew)
{
    optimizer_t self = {.size = 400, .changed_at_ms = 1};
    batch(&self, 10, host(ROOM, 0, 5000));
    batch(&self, 10, host(ROOM, 0, 5000));
    batch(&self, 10, host(TIGHT, 0, 5000));
    batch(&self, 10, host(ROOM, 0, 5100));
    batch(&self, 10, host(ROOM, 0, 5100));
    ck_assert_uint_eq(optimizer_size(&self), 200);
    batch(&self, 10, host(ROOM, 0, 5100));
    ck_assert_uint_eq(optimizer_size(&self), 300);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("optimizer");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_starts_at_a_thousand);
    tcase_add_test(rules, test_grows_by_half_after_three_calm_batches);
    tcase_add_test(rules, test_cpu_halves_once_for_what_ran_and_not_for_short_batches);
    tcase_add_test(rules, test_low_memory_halves_and_wins_over_all);
    tcase_add_test(rules, test_unknown_memory_is_no_pressure);
    tcase_add_test(rules, test_pressure_halves_at_most_once_a_second);
    tcase_add_test(rules, test_cpu_halves_only_if_items_became_slower);
    tcase_add_test(rules, test_never_longer_than_the_target_duration);
    tcase_add_test(rules, test_pressure_starts_the_count_of_calm_batches_anew);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

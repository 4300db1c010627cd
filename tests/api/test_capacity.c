/* capacity: what a broker has room for, less what is on its way (PROTOCOL P15, P19). */
#include <check.h>
#include <stdlib.h>

#include "api/capacity.h"

static capacity_t capacity;

static void open_it(void)
{
    capacity_init(&capacity);
}

static void close_it(void)
{
    capacity_free(&capacity);
}

static void told(uint64_t seq, uint64_t seen, uint64_t n)
{
    wire_capacity_t groups[2] = {{.tasks = str_of("noop,resize"), .max_items = 9999, .n = n},
                                 {.tasks = str_of("noop"), .max_items = 100, .n = 1}};
    msg_capacity_is_t msg = {.seq = seq, .dispatches_seen = seen, .groups = groups, .groups_n = 2};
    capacity_told(&capacity, &msg);
}

START_TEST(test_groups_are_copied_and_sizes_bounded)
{
    told(1, 0, UINT64_MAX);
    ck_assert_int_eq(capacity.groups_n, 2);
    ck_assert_str_eq(capacity.groups[0].tasks, "noop,resize");
    ck_assert_uint_eq(capacity.groups[0].max_items, 1500);
    ck_assert_int_eq(capacity.groups[0].n, 1000000);
    ck_assert_int_eq(capacity.groups[1].n, 1);
}
END_TEST

START_TEST(test_older_message_is_ignored)
{
    told(5, 0, 3);
    told(4, 0, 9);
    told(5, 0, 9);
    ck_assert_int_eq(capacity.groups[0].n, 3);
}
END_TEST

START_TEST(test_what_flies_is_taken_off_its_own_group)
{
    told(1, 0, 5);
    capacity_used(&capacity, &capacity.groups[0]);
    capacity_used(&capacity, &capacity.groups[0]);
    capacity_used(&capacity, &capacity.groups[1]);
    ck_assert_int_eq(capacity.groups[0].n, 3);
    ck_assert_uint_eq(capacity.sent, 3);
    told(2, 1, 5);
    ck_assert_int_eq(capacity.groups[0].n, 4);
    ck_assert_int_eq(capacity.groups[1].n, 0);
    told(3, 3, 5);
    ck_assert_int_eq(capacity.groups[0].n, 5);
    ck_assert_int_eq(capacity.groups[1].n, 1);
}
END_TEST

START_TEST(test_never_below_zero)
{
    told(1, 0, 3);
    for (int i = 0; i < 3; i++) {
        capacity_used(&capacity, &capacity.groups[0]);
    }
    told(2, 0, 1);
    ck_assert_int_eq(capacity.groups[0].n, 0);
}
END_TEST

START_TEST(test_more_than_the_ring_in_flight)
{
    told(1, 0, 1000000);
    for (int i = 0; i < 20000; i++) {
        capacity_used(&capacity, &capacity.groups[0]);
    }
    told(2, 19990, 100);
    ck_assert_int_eq(capacity.groups[0].n, 90);
    told(3, 999999, 100); /* more than were ever sent */
    ck_assert_int_eq(capacity.groups[0].n, 100);
}
END_TEST

START_TEST(test_after_undeliverable_only_a_newer_message_counts)
{
    told(5, 0, 3);
    capacity_undeliverable(&capacity, 4); /* older than what is known */
    ck_assert_int_eq(capacity.groups_n, 2);
    capacity_undeliverable(&capacity, 7);
    ck_assert_int_eq(capacity.groups_n, 0);
    told(6, 0, 3);
    told(7, 0, 3);
    ck_assert_int_eq(capacity.groups_n, 0);
    told(8, 0, 3);
    ck_assert_int_eq(capacity.groups_n, 2);
}
END_TEST

START_TEST(test_hello_forgets_all_but_the_number)
{
    told(5, 0, 3);
    capacity_used(&capacity, &capacity.groups[0]);
    capacity_reset(&capacity);
    ck_assert_int_eq(capacity.groups_n, 0);
    ck_assert_uint_eq(capacity.sent, 1);
    told(1, 0, 3);
    ck_assert_int_eq(capacity.groups[0].n, 3);
}
END_TEST

START_TEST(test_task_is_named_whole)
{
    ck_assert(capacity_names("a,noop,b", "noop"));
    ck_assert(capacity_names("noop", "noop"));
    ck_assert(!capacity_names("noopx,xnoop", "noop"));
    ck_assert(!capacity_names("", "noop"));
    ck_assert(!capacity_names("no", "noop"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_groups_are_copied_and_sizes_bounded,
        test_older_message_is_ignored,
        test_what_flies_is_taken_off_its_own_group,
        test_never_below_zero,
        test_more_than_the_ring_in_flight,
        test_after_undeliverable_only_a_newer_message_counts,
        test_hello_forgets_all_but_the_number,
        test_task_is_named_whole,
    };
    Suite *suite = suite_create("capacity");
    TCase *rules = tcase_create("rules");
    tcase_add_checked_fixture(rules, open_it, close_it);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(rules, tests[i]);
    }
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

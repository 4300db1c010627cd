/* map: finds what was put and not removed, whatever the keys. */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/map.h"

enum { KEYS = 700 };

static char values[KEYS];

START_TEST(test_empty_map_has_nothing)
{
    map_t map = {0};
    size_t at = 0;
    ck_assert_ptr_null(map_get(&map, 1));
    ck_assert_ptr_null(map_remove(&map, 1));
    ck_assert_ptr_null(map_next(&map, &at));
    map_put(&map, 5, values);
    ck_assert_ptr_null(map_get(&map, 0)); /* off the wire */
    ck_assert_ptr_null(map_remove(&map, 0));
    map_free(&map);
}
END_TEST

START_TEST(test_put_replaces)
{
    map_t map = {0};
    map_put(&map, UINT64_MAX, &values[0]);
    map_put(&map, UINT64_MAX, &values[1]);
    ck_assert_uint_eq(map.n, 1);
    ck_assert_ptr_eq(map_get(&map, UINT64_MAX), &values[1]);
    ck_assert_ptr_eq(map_remove(&map, UINT64_MAX), &values[1]);
    ck_assert_ptr_null(map_get(&map, UINT64_MAX));
    map_free(&map);
}
END_TEST

static size_t walked(const map_t *map)
{
    size_t at = 0, n = 0;
    while (map_next(map, &at)) {
        n++;
    }
    return n;
}

/* Keys as they are in use (ids near one another, multiples) and at random. */
START_TEST(test_map_agrees_with_a_table_while_it_grows_and_shrinks)
{
    static const uint64_t steps[] = {1, 4096, UINT64_C(1) << 44, UINT64_C(0x9e3779b97f4a7c15)};
    srandom(11);
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        map_t map = {0};
        bool there[KEYS] = {false};
        size_t n = 0, most = 0;
        for (int i = 0; i < 20000; i++) {
            int key = (int)(random() % KEYS);
            uint64_t id = (uint64_t)(key + 1) * steps[k];
            bool add = i < 8000 ? random() % 4 > 0 : i < 16000 ? random() % 4 == 0 : false;
            if (add) {
                map_put(&map, id, &values[key]);
            } else {
                ck_assert_ptr_eq(map_remove(&map, id), there[key] ? &values[key] : NULL);
            }
            n += (size_t)add - (size_t)there[key];
            there[key] = add;
            most = map.capacity > most ? map.capacity : most;
            ck_assert_uint_eq(map.n, n);
            int other = (int)(random() % KEYS);
            ck_assert_ptr_eq(map_get(&map, (uint64_t)(other + 1) * steps[k]),
                             there[other] ? &values[other] : NULL);
        }
        ck_assert_uint_eq(walked(&map), n);
        ck_assert_uint_lt(map.capacity, most);
        map_free(&map);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("map");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_empty_map_has_nothing);
    tcase_add_test(rules, test_put_replaces);
    tcase_add_test(rules, test_map_agrees_with_a_table_while_it_grows_and_shrinks);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

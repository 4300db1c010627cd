/* heap: the least is on top, whatever was added, moved and removed in between. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/heap.h"

enum { N = 500 };

typedef struct {
    int key;
    heap_slot_t slot;
} item_t;

static bool before(const void *a, const void *b)
{
    return ((const item_t *)a)->key < ((const item_t *)b)->key;
}

static item_t items[N];

static int least(void)
{
    int key = INT32_MAX;
    for (int i = 0; i < N; i++) {
        key = items[i].slot.at && items[i].key < key ? items[i].key : key;
    }
    return key;
}

START_TEST(test_empty_heap_has_no_top)
{
    heap_t heap;
    heap_init(&heap, offsetof(item_t, slot), before);
    ck_assert_ptr_null(heap_top(&heap));
    heap_remove(&heap, &items[0]); /* in no heap */
    heap_moved(&heap, &items[0]);
    ck_assert(!heap_has(&heap, &items[0]));
    heap_free(&heap);
}
END_TEST

START_TEST(test_top_is_the_least_after_any_add_move_or_remove)
{
    heap_t heap;
    heap_init(&heap, offsetof(item_t, slot), before);
    srandom(7);
    for (int i = 0; i < 20000; i++) {
        item_t *item = &items[random() % N];
        int key = (int)(random() % 100); /* with many equal ones */
        if (!heap_has(&heap, item)) {
            item->key = key;
            heap_add(&heap, item);
        } else if (random() % 2) {
            item->key = key;
            heap_moved(&heap, item);
        } else {
            heap_remove(&heap, item);
        }
        item_t *top = heap_top(&heap);
        ck_assert_int_eq(top ? top->key : INT32_MAX, least());
    }
    int last = 0;
    for (item_t *top; (top = heap_top(&heap));) {
        ck_assert_int_ge(top->key, last);
        last = top->key;
        heap_remove(&heap, top);
        ck_assert(!heap_has(&heap, top));
    }
    ck_assert_int_eq(least(), INT32_MAX);
    heap_free(&heap);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heap");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_empty_heap_has_no_top);
    tcase_add_test(rules, test_top_is_the_least_after_any_add_move_or_remove);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/tasks/pack.h"
#include "worker/tasks/partial.h"
#include "worker/tasks/task.h"

#define HEADER "txn_id,ts,src,dst,amount,ccy,kind,bal_before,bal_after"
#define PARAMS "{\"profile\":\"transfer\",\"thresholds_minor\":[250000,50000]}"

enum { ROWS = 600 };

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static char *make_row(int i)
{
    static const char *const currencies[] = {"GBP", "GBP", "GBP", "JPY", "XXX"};
    char text[200];
    uint64_t r = next_random();
    snprintf(text, sizeof text, "T%d,20%02u-%02u-%02u,A%u,B%u,%s%u%s,%s,TRANSFER,%u.00,0.00", i,
             (unsigned)(r % 30), (unsigned)(r >> 8 & 255) % 12 + 1,
             (unsigned)(r >> 16 & 255) % 28 + 1, (unsigned)(r >> 24 & 31),
             (unsigned)(r >> 32 & 255), r >> 40 & 7 ? "" : "-", (unsigned)(r >> 42 & 8191) + 1,
             r >> 44 & 1 ? "00" : "", currencies[i % 5], (unsigned)(r >> 44 & 4095));
    return mem_text(text);
}

static buffer_t run_batch(char **rows, int from, int to)
{
    buffer_t items = {0};
    for (int i = from; i < to; i++) {
        buffer_add_text(&items, rows[i]);
        buffer_add_text(&items, i + 1 < to ? "\n" : "");
    }
    task_batch_t batch = {.params = PARAMS,
                          .header = HEADER,
                          .first_line = 2 + (uint64_t)from,
                          .items_n = (uint32_t)(to - from),
                          .items = items.data,
                          .items_bytes = items.n};
    task_result_t result = {0};
    ck_assert_int_eq(task_code_find("process_transaction_batch")->run(&batch, &result), ERR_OK);
    buffer_free(&items);
    return result.result;
}

static buffer_t sample(int rows_n)
{
    char *rows[ROWS];
    for (int i = 0; i < rows_n; i++) {
        rows[i] = make_row(i);
    }
    buffer_t out = run_batch(rows, 0, rows_n);
    for (int i = 0; i < rows_n; i++) {
        free(rows[i]);
    }
    return out;
}

START_TEST(test_decoding_gives_back_what_was_encoded)
{
    buffer_t bytes = sample(ROWS), again = {0};
    statistics_t *statistics = mem_zero(sizeof *statistics);
    ck_assert_int_eq(partial_decode(statistics, bytes.data, bytes.n), ERR_OK);
    ck_assert_uint_eq(statistics->lines, ROWS);
    ck_assert_uint_eq(statistics->rejected, ROWS / 5);
    ck_assert_uint_eq(statistics->errors_n, FAULTS_MAX);
    ck_assert_uint_eq(statistics->errors[1].line, 2 + 9);
    partial_encode(statistics, &again);
    ck_assert_uint_eq(again.n, bytes.n);
    ck_assert_int_eq(memcmp(again.data, bytes.data, bytes.n), 0);
    statistics_clear(statistics);
    free(statistics);
    buffer_free(&bytes);
    buffer_free(&again);
}
END_TEST

/* In memory of exactly its size, so that the sanitizer sees any read beyond. */
static err_t decode_exact(const uint8_t *bytes, size_t n)
{
    statistics_t *statistics = mem_zero(sizeof *statistics);
    uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, bytes, n);
    err_t err = partial_decode(statistics, exact, n);
    if (err) {
        for (int i = 0; i < CURRENCIES_N; i++) {
            ck_assert_ptr_null(statistics->blocks[i]);
        }
        ck_assert_uint_eq(statistics->lines, 0);
    }
    statistics_clear(statistics);
    free(statistics);
    free(exact);
    return err;
}

START_TEST(test_bytes_cut_anywhere_are_refused)
{
    buffer_t bytes = sample(60);
    ck_assert_int_eq(decode_exact(bytes.data, bytes.n), ERR_OK);
    for (size_t n = 0; n < bytes.n; n++) {
        ck_assert_int_eq(decode_exact(bytes.data, n), ERR_CORRUPT);
    }
    buffer_add(&bytes, "", 1);
    ck_assert_int_eq(decode_exact(bytes.data, bytes.n), ERR_CORRUPT);
    buffer_free(&bytes);
}
END_TEST

START_TEST(test_changed_bytes_never_do_harm)
{
    random_state = (uint64_t)time(NULL);
    printf("test_changed_bytes_never_do_harm: seed %llu\n", (unsigned long long)random_state);
    buffer_t bytes = sample(40);
    int refused = 0;
    for (int i = 0; i < 8000; i++) {
        uint8_t *copy = malloc(bytes.n);
        memcpy(copy, bytes.data, bytes.n);
        for (uint64_t changes = 1 + next_random() % 3; changes > 0; changes--) {
            copy[next_random() % bytes.n] = (uint8_t)next_random();
        }
        refused += decode_exact(copy, bytes.n) != ERR_OK;
        free(copy);
    }
    ck_assert_int_gt(refused, 4000);
    buffer_free(&bytes);
}
END_TEST

START_TEST(test_another_version_is_refused_and_unknown_sections_are_stepped_over)
{
    buffer_t bytes = {0};
    pack_array(&bytes, 3);
    pack_text(&bytes, "stint.transactions");
    pack_uint(&bytes, PARTIAL_VERSION + 1);
    pack_map(&bytes, 0);
    ck_assert_int_eq(decode_exact(bytes.data, bytes.n), ERR_UNSUPPORTED);
    buffer_clear(&bytes);
    pack_array(&bytes, 3);
    pack_text(&bytes, "stint.transactions");
    pack_uint(&bytes, PARTIAL_VERSION);
    pack_map(&bytes, 1);
    pack_text(&bytes, "accounts");
    pack_array(&bytes, 3);
    pack_map(&bytes, 1);
    pack_text(&bytes, "deep");
    pack_int(&bytes, -70000);
    pack_bytes(&bytes, "xyz", 3);
    pack_wide(&bytes, (__int128)1 << 90);
    ck_assert_int_eq(decode_exact(bytes.data, bytes.n), ERR_OK);
    ck_assert_int_eq(decode_exact(bytes.data, bytes.n - 1), ERR_CORRUPT);
    ck_assert_int_eq(decode_exact((const uint8_t *)"\xdd\xff\xff\xff\xff", 5), ERR_CORRUPT);
    buffer_free(&bytes);
}
END_TEST

/* One bad row, whose fault is in a field of that name. */
static err_t decode_fault_in(const char *field)
{
    buffer_t bytes = {0};
    pack_array(&bytes, 3);
    pack_text(&bytes, "stint.transactions");
    pack_uint(&bytes, PARTIAL_VERSION);
    pack_map(&bytes, 3);
    pack_text(&bytes, "rows");
    pack_array(&bytes, 5);
    static const uint64_t rows[] = {1, 0, 1, 0, 1};
    for (int i = 0; i < 5; i++) {
        pack_uint(&bytes, rows[i]);
    }
    pack_text(&bytes, "codes");
    pack_map(&bytes, 1);
    pack_text(&bytes, "E_COLS");
    pack_uint(&bytes, 1);
    pack_text(&bytes, "errors");
    pack_array(&bytes, 1);
    pack_array(&bytes, 3);
    pack_uint(&bytes, 2);
    pack_text(&bytes, "E_COLS");
    pack_text(&bytes, field);
    err_t err = decode_exact(bytes.data, bytes.n);
    buffer_free(&bytes);
    return err;
}

START_TEST(test_a_field_name_that_no_report_could_show_is_refused)
{
    ck_assert_int_eq(decode_fault_in("na\xc3\xafve"), ERR_OK);
    ck_assert_int_eq(decode_fault_in("na\xefve"), ERR_CORRUPT);
}
END_TEST

START_TEST(test_packed_numbers_keep_every_bit)
{
    static const int64_t ints[] = {0,         127,       128,       255,       256,   65535,
                                   65536,     -1,        -32,       -33,       -128,  -129,
                                   INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX, -70000};
    buffer_t bytes = {0};
    size_t n = sizeof ints / sizeof *ints;
    for (size_t i = 0; i < n; i++) {
        pack_int(&bytes, ints[i]);
        pack_wide(&bytes, (__int128)ints[i] * 1000003);
        pack_varint(&bytes, (uint64_t)ints[i]);
    }
    pack_uint(&bytes, UINT64_MAX);
    unpack_t in = {bytes.data, bytes.data + bytes.n, false};
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(unpack_int(&in), ints[i]);
        ck_assert(unpack_wide(&in) == (__int128)ints[i] * 1000003);
        ck_assert_uint_eq(unpack_varint(&in), (uint64_t)ints[i]);
    }
    ck_assert_uint_eq(unpack_uint(&in), UINT64_MAX);
    ck_assert(!in.failed && in.at == in.end);
    unpack_uint(&in);
    ck_assert(in.failed);
    buffer_free(&bytes);
}
END_TEST

/* The report over partial results [0, n), merged in the given order, each `times` times. */
static buffer_t report_of(const buffer_t *parts, const uint32_t *order, uint32_t n, int times)
{
    const task_code_t *code = task_code_find("finalize_transactions");
    task_finalize_t job = {.params = PARAMS, .items_total = ROWS, .batches_n = n};
    task_result_t result = {0};
    void *state = NULL;
    ck_assert_int_eq(code->finalize_open(&state, &job), ERR_OK);
    for (int time = 0; time < times; time++) {
        for (uint32_t i = 0; i < n; i++) {
            const buffer_t *part = &parts[order[i]];
            ck_assert_int_eq(code->finalize_merge(state, order[i], part->data, part->n), ERR_OK);
        }
    }
    ck_assert_int_eq(code->finalize_close(&state, &result), ERR_OK);
    ck_assert_ptr_null(state);
    ck_assert_str_eq(result.job_error, "E_TOO_MANY_BAD");
    ck_assert_ptr_nonnull(strstr(result.job_error_text, "120 of 600 rows"));
    return result.result;
}

static void same_report(buffer_t *report, const buffer_t *expected)
{
    ck_assert_uint_eq(report->n, expected->n);
    ck_assert_int_eq(memcmp(report->data, expected->data, expected->n), 0);
    buffer_free(report);
}

START_TEST(test_report_does_not_depend_on_batches_order_or_repeats)
{
    random_state = (uint64_t)time(NULL);
    printf("test_report_does_not_depend_on_batches: seed %llu\n", (unsigned long long)random_state);
    char *rows[ROWS];
    for (int i = 0; i < ROWS; i++) {
        rows[i] = make_row(i);
    }
    uint32_t order[ROWS] = {0};
    buffer_t whole = run_batch(rows, 0, ROWS), parts[ROWS];
    buffer_t expected = report_of(&whole, order, 1, 1);
    static const int sizes[] = {1, 7, 100, 137};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint32_t n = 0;
        for (int from = 0; from < ROWS; from += sizes[s], n++) {
            int to = from + sizes[s] < ROWS ? from + sizes[s] : ROWS;
            parts[n] = run_batch(rows, from, to);
            order[n] = n;
        }
        for (uint32_t i = n; i > 1; i--) {
            uint32_t j = (uint32_t)(next_random() % i), swap = order[j];
            order[j] = order[i - 1];
            order[i - 1] = swap;
        }
        buffer_t once = report_of(parts, order, n, 1), twice = report_of(parts, order, n, 2);
        same_report(&once, &expected);
        same_report(&twice, &expected);
        for (uint32_t i = 0; i < n; i++) {
            buffer_free(&parts[i]);
        }
    }
    for (int i = 0; i < ROWS; i++) {
        free(rows[i]);
    }
    buffer_free(&whole);
    buffer_free(&expected);
}
END_TEST

START_TEST(test_damaged_partial_leaves_the_merge_as_it_was)
{
    const task_code_t *code = task_code_find("finalize_transactions");
    buffer_t part = sample(ROWS);
    uint32_t order[] = {0};
    buffer_t expected = report_of(&part, order, 1, 1);
    task_finalize_t job = {.params = PARAMS, .items_total = ROWS, .batches_n = 1};
    task_result_t result = {0};
    void *state = NULL;
    ck_assert_int_eq(code->finalize_open(&state, &job), ERR_OK);
    ck_assert_int_eq(code->finalize_merge(state, 0, part.data, part.n - 1), ERR_CORRUPT);
    ck_assert_int_eq(code->finalize_merge(state, 0, part.data, part.n), ERR_OK);
    ck_assert_int_eq(code->finalize_merge(state, UINT32_MAX, part.data, part.n), ERR_CORRUPT);
    ck_assert_int_eq(code->finalize_close(&state, &result), ERR_OK);
    same_report(&result.result, &expected);
    ck_assert_int_eq(code->finalize_close(&state, &result), ERR_OK); /* NULL-safe */
    buffer_free(&part);
    buffer_free(&expected);
}
END_TEST

START_TEST(test_no_verdict_travels_in_a_partial)
{
    static const char *const verdicts[] = {"mad", "nonconformity", "acceptable", "chi2",
                                           "suspects"};
    buffer_t part = sample(ROWS);
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        ck_assert_ptr_null(memmem(part.data, part.n, verdicts[i], strlen(verdicts[i])));
    }
    buffer_free(&part);
}
END_TEST

START_TEST(test_batch_that_contradicts_itself_is_refused_for_good)
{
    task_batch_t batch = {.params = PARAMS, .header = HEADER, .first_line = 2};
    const task_code_t *code = task_code_find("process_transaction_batch");
    static const struct {
        const char *items;
        uint32_t items_n;
        err_t err;
    } cases[] = {{"", 0, ERR_OK},         {"", 1, ERR_OK},      {"\n", 2, ERR_OK},
                 {"a", 0, ERR_CORRUPT},   {"", 2, ERR_CORRUPT}, {"a\nb", 1, ERR_CORRUPT},
                 {"a\nb", 3, ERR_CORRUPT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        task_result_t result = {0};
        batch.items = (const uint8_t *)cases[i].items;
        batch.items_bytes = strlen(cases[i].items);
        batch.items_n = cases[i].items_n;
        ck_assert_int_eq(code->run(&batch, &result), cases[i].err);
        ck_assert_int_eq(result.permanent, cases[i].err != ERR_OK);
        buffer_free(&result.result);
    }
    task_result_t result = {0};
    batch.items_n = 0;
    batch.items_bytes = 0;
    batch.header = "nothing";
    ck_assert_int_eq(code->run(&batch, &result), ERR_INVALID);
    batch.header = HEADER;
    batch.params = "{\"benford\":1}";
    ck_assert_int_eq(code->run(&batch, &result), ERR_INVALID);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("partial");
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    tcase_add_test(rules, test_decoding_gives_back_what_was_encoded);
    tcase_add_test(rules, test_bytes_cut_anywhere_are_refused);
    tcase_add_test(rules, test_changed_bytes_never_do_harm);
    tcase_add_test(rules, test_another_version_is_refused_and_unknown_sections_are_stepped_over);
    tcase_add_test(rules, test_packed_numbers_keep_every_bit);
    tcase_add_test(rules, test_a_field_name_that_no_report_could_show_is_refused);
    tcase_add_test(rules, test_report_does_not_depend_on_batches_order_or_repeats);
    tcase_add_test(rules, test_damaged_partial_leaves_the_merge_as_it_was);
    tcase_add_test(rules, test_no_verdict_travels_in_a_partial);
    tcase_add_test(rules, test_batch_that_contradicts_itself_is_refused_for_good);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

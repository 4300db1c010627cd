/* The transaction task from bytes to report. First two bytes: format, parameters, where to cut;
 * then header and rows. The report of one batch and that of two, merged the other way round and one
 * of them twice, must be the same (G11). */
#include <jansson.h>

#include "common/buffer.h"
#include "tests/fuzz/fuzz.h"
#include "worker/tasks/partial.h"
#include "worker/tasks/task.h"

static const char *const all_params[] = {
    "",
    "{\"profile\":\"transfer\",\"thresholds_minor\":[250000,50000]}",
    "{\"profile\":\"ap\",\"benford_min_minor\":1}",
    "{\"profile\":\"transfer\",\"credit_kinds\":[\"CASH_IN\"]}",
};

/* The partial, empty if the header is refused. */
static buffer_t run(const task_batch_t *batch)
{
    task_result_t result = {0};
    err_t err = task_code_find("process_transaction_batch")->run(batch, &result);
    FUZZ_CHECK(err == ERR_OK || (err == ERR_INVALID && result.result.n == 0), "%s", err_text());
    FUZZ_CHECK(result.items_failed <= batch->items_n, "more items failed than there are");
    return result.result;
}

static void check_partial(const buffer_t *partial)
{
    statistics_t *statistics = calloc(1, sizeof *statistics);
    buffer_t again = {0};
    FUZZ_CHECK(partial_decode(statistics, partial->data, partial->n) == ERR_OK,
               "a partial is not read: %s", err_text());
    FUZZ_CHECK(statistics->lines == statistics->accepted + statistics->rejected + statistics->blank,
               "lines are missing");
    partial_encode(statistics, &again);
    FUZZ_CHECK(again.n == partial->n && memcmp(again.data, partial->data, again.n) == 0,
               "a partial changed on its way");
    /* Nothing is lost in a merge. */
    statistics_t *total = calloc(1, sizeof *total);
    statistics_merge(total, statistics);
    buffer_clear(&again);
    partial_encode(total, &again);
    FUZZ_CHECK(again.n == partial->n && memcmp(again.data, partial->data, again.n) == 0,
               "a partial merged with nothing is another");
    statistics_clear(total);
    free(total);
    statistics_clear(statistics);
    free(statistics);
    buffer_free(&again);
}

static buffer_t report(const buffer_t *const *partials, const uint32_t *numbers, int n,
                       const char *params, uint64_t items)
{
    const task_code_t *task = task_code_find("finalize_transactions");
    task_finalize_t job = {.params = params, .items_total = items, .batches_n = 2};
    void *state = NULL;
    task_result_t result = {0};
    FUZZ_CHECK(task->finalize_open(&state, &job) == ERR_OK, "%s", err_text());
    for (int i = 0; i < n; i++) {
        FUZZ_CHECK(task->finalize_merge(state, numbers[i], partials[i]->data, partials[i]->n) ==
                       ERR_OK,
                   "%s", err_text());
    }
    FUZZ_CHECK(task->finalize_close(&state, &result) == ERR_OK && !state, "%s", err_text());
    json_t *document = json_loadb((const char *)result.result.data, result.result.n, 0, NULL);
    FUZZ_CHECK(json_is_object(document), "the report is no JSON");
    json_decref(document);
    return result.result;
}

void fuzz_batch(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    uint32_t how = feed_byte(&feed), cut = feed_byte(&feed);
    bool json = how & 1;
    const char *params = all_params[how >> 1 & 3];
    char *header = json ? strdup("") : feed_text(&feed, '\n');
    uint8_t *items = fuzz_exact(feed.at, feed_left(&feed));
    size_t items_bytes = feed_left(&feed), first_bytes = 0;
    uint32_t items_n = 1;
    for (size_t i = 0; i < items_bytes; i++) {
        items_n += items[i] == '\n';
        first_bytes = items[i] == '\n' && items_n == 2 + cut ? i : first_bytes;
    }
    bool two = items_n >= 2 + cut;
    uint32_t first_n = two ? 1 + cut : 0;
    task_batch_t whole = {.format = json ? TASK_FORMAT_NDJSON : TASK_FORMAT_CSV,
                          .params = params,
                          .header = header,
                          .first_line = 2,
                          .items_n = items_n,
                          .items = items,
                          .items_bytes = items_bytes};
    buffer_t one = run(&whole);
    if (one.n) {
        check_partial(&one);
        uint32_t zero[] = {0, 0}, swapped[] = {1, 0, 1};
        const buffer_t *alone[] = {&one, &one};
        buffer_t text = report(alone, zero, 2, params, items_n); /* the copy is passed over */
        if (two) {
            task_batch_t part = whole;
            part.items_n = first_n;
            part.items_bytes = first_bytes;
            buffer_t a = run(&part);
            part.batch_no = 1;
            part.first_line += first_n;
            part.items_n = items_n - first_n;
            part.items += first_bytes + 1;
            part.items_bytes = items_bytes - first_bytes - 1;
            buffer_t b = run(&part);
            const buffer_t *both[] = {&b, &a, &b};
            buffer_t other = report(both, swapped, 3, params, items_n);
            FUZZ_CHECK(text.n == other.n && memcmp(text.data, other.data, text.n) == 0,
                       "one batch says %.*s, two say %.*s", (int)text.n, (const char *)text.data,
                       (int)other.n, (const char *)other.data);
            buffer_free(&a);
            buffer_free(&b);
            buffer_free(&other);
        }
        buffer_free(&text);
        whole.items_n++; /* the count is checked */
        task_result_t result = {0};
        FUZZ_CHECK(task_code_find("process_transaction_batch")->run(&whole, &result) == ERR_CORRUPT,
                   "a batch of %u lines was taken for %u", items_n, items_n + 1);
        buffer_free(&result.result);
    }
    buffer_free(&one);
    free(items);
    free(header);
}

/* A partial result from a broken or hostile worker: refused, or as good as one of our own. The
 * first byte chooses what becomes of it; the rest is the partial. */
#include <jansson.h>

#include "common/buffer.h"
#include "tests/fuzz/fuzz.h"
#include "worker/tasks/pack.h"
#include "worker/tasks/partial.h"
#include "worker/tasks/report.h"

static void check_empty(const statistics_t *statistics)
{
    for (int i = 0; i < CURRENCIES_N; i++) {
        FUZZ_CHECK(!statistics->blocks[i], "a refused partial left a block");
    }
    FUZZ_CHECK(statistics->lines == 0 && statistics->errors_n == 0, "a refused partial left rows");
}

static void write_report(statistics_t *statistics)
{
    transaction_config_t config = {0};
    FUZZ_CHECK(transaction_config_open(&config, "{\"thresholds_minor\":[250000,50000]}") == ERR_OK,
               "%s", err_text());
    buffer_t out = {0};
    report_verdict_t verdict;
    report_write(statistics, &config, 0, &out, &verdict);
    json_error_t where;
    json_t *document = json_loadb((const char *)out.data, out.n, 0, &where);
    FUZZ_CHECK(json_is_object(document) || strstr(where.text, "too big"),
               "the report is no JSON: %s", where.text);
    json_decref(document);
    buffer_free(&out);
    transaction_config_close(&config);
}

/* The reader alone, over anything. */
static void skip_all(const uint8_t *data, size_t n)
{
    unpack_t reader = {.at = data, .end = data + n};
    while (!reader.failed && reader.at < reader.end) {
        const uint8_t *before = reader.at;
        unpack_skip(&reader);
        FUZZ_CHECK(reader.failed || reader.at > before, "a value of no bytes");
        FUZZ_CHECK(reader.at <= reader.end, "read beyond the end");
    }
}

void fuzz_partial(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    uint32_t how = feed_byte(&feed);
    size_t length = feed_left(&feed);
    uint8_t *exact = fuzz_exact(feed.at, length);
    skip_all(exact, length);
    statistics_t *one = calloc(1, sizeof *one), *two = calloc(1, sizeof *two);
    err_t err = partial_decode(one, exact, length);
    if (err) {
        FUZZ_CHECK(err == ERR_CORRUPT || err == ERR_UNSUPPORTED, "error %s", err_code(err));
        check_empty(one);
    } else {
        buffer_t once = {0}, twice = {0};
        partial_encode(one, &once);
        FUZZ_CHECK(partial_decode(two, once.data, once.n) == ERR_OK, "not read again: %s",
                   err_text());
        partial_encode(two, &twice);
        FUZZ_CHECK(once.n == twice.n && memcmp(once.data, twice.data, once.n) == 0,
                   "written twice, not the same");
        for (uint32_t i = 0; i < (how & 3); i++) {
            statistics_merge(two, one);
        }
        write_report(two);
        buffer_free(&once);
        buffer_free(&twice);
    }
    statistics_clear(one);
    statistics_clear(two);
    free(one);
    free(two);
    free(exact);
}

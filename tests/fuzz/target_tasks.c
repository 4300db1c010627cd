/* Parameters and headers: what the api lets in, the worker must be able to use. First byte: which,
 * and the task; then the JSON of the parameters, or a header. */
#include <jansson.h>

#include "common/task_table.h"
#include "tests/fuzz/fuzz.h"
#include "worker/tasks/transaction_config.h"
#include "worker/tasks/transaction_row.h"

static void check_params(const task_spec_t *spec, const uint8_t *data, size_t n)
{
    json_t *params = json_loadb((const char *)data, n, JSON_REJECT_DUPLICATES, NULL);
    if (!params) {
        return;
    }
    err_t err = task_check_params(spec, params);
    FUZZ_CHECK(!err || (err == ERR_INVALID && err_text()[0]), "error %s", err_code(err));
    FUZZ_CHECK(err || json_is_object(params), "parameters that are no object");
    if (spec->id == TASK_ID_TRANSACTION) {
        char *text = json_dumps(params, JSON_COMPACT);
        transaction_config_t config = {0};
        err_t opened = transaction_config_open(&config, text);
        FUZZ_CHECK((err == ERR_OK) == (opened == ERR_OK), "the api says %s, the worker %s: %s",
                   err_code(err), err_code(opened), text);
        for (int i = 0; !opened && i < config.thresholds_n; i++) {
            FUZZ_CHECK(config.below_from[i] <= config.thresholds[i] &&
                           config.above_to[i] >= config.thresholds[i],
                       "bounds of a threshold");
        }
        transaction_config_close(&config);
        free(text);
    }
    json_decref(params);
}

static void check_header(const task_spec_t *spec, const uint8_t *data, size_t n)
{
    char *exact = (char *)fuzz_exact(data, n), *text = strndup(exact, n);
    err_t err = task_check_header(spec, exact, n);
    FUZZ_CHECK(!err || err == ERR_INVALID, "error %s", err_code(err));
    if (spec->id == TASK_ID_TRANSACTION && strlen(text) == n) {
        row_parser_t *parser = NULL;
        err_t opened = row_parser_open(&parser, TASK_FORMAT_CSV, text);
        FUZZ_CHECK((err == ERR_OK) == (opened == ERR_OK), "the api says %s, the worker %s",
                   err_code(err), err_code(opened));
        row_parser_destroy(&parser);
    }
    free(text);
    free(exact);
}

void fuzz_tasks(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    uint32_t how = feed_byte(&feed);
    const task_spec_t *spec = how & 2 ? task_spec_find("process_transaction_batch")
                                      : task_spec_at((int)(how >> 2) % TASK_IDS_N);
    if (how & 1) {
        check_header(spec, feed.at, feed_left(&feed));
    } else {
        check_params(spec, feed.at, feed_left(&feed));
    }
    char *word = feed_text(&feed, '\n');
    static const char *const names[] = {"profile", "thresholds_minor", "benford_min_minor"};
    const char *near = nearest_name(word, names, 3);
    FUZZ_CHECK(!near || near == names[0] || near == names[1] || near == names[2], "another name");
    free(word);
}

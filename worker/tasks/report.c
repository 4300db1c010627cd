#include "worker/tasks/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_out.h"
#include "worker/tasks/report_block.h"

/* By rows descending, then code: the table is in code order. */
static int order_currencies(const statistics_t *statistics, int order[CURRENCIES_N])
{
    int n = 0;
    for (int i = 0; i < CURRENCIES_N; i++) {
        if (!statistics->blocks[i]) {
            continue;
        }
        int at = n++;
        for (; at > 0 && statistics->blocks[order[at - 1]]->rows < statistics->blocks[i]->rows;
             at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    return n;
}

/* A currency beyond the limit becomes rejected rows. */
static void leave_out(statistics_t *statistics, int currency)
{
    block_t *block = statistics->blocks[currency];
    statistics->accepted -= block->rows;
    statistics->rejected += block->rows;
    statistics->codes[ROW_CCY] += block->rows;
    for (uint32_t i = 0; i < block->first_lines_n; i++) {
        row_error_t error = {.line = block->first_lines[i], .code = ROW_CCY, .field = "ccy"};
        statistics_note(statistics, &error);
    }
    free(block);
    statistics->blocks[currency] = NULL;
}

static void write_kinds(json_out_t *json, const transaction_config_t *config, const char *name)
{
    const json_t *list = json_object_get(config->params, name);
    if (list) {
        json_out_array(json, name);
        for (size_t i = 0; i < json_array_size(list); i++) {
            json_out_text(json, NULL, json_string_value(json_array_get(list, i)));
        }
        json_out_end_array(json);
    }
}

static void write_config(json_out_t *json, const transaction_config_t *config)
{
    json_out_object(json, "config");
    json_out_text(json, "profile", config->profile);
    json_out_int(json, "benford_min_minor", config->benford_min_minor);
    json_out_array(json, "thresholds_minor");
    for (int i = 0; i < config->thresholds_n; i++) {
        json_out_int(json, NULL, config->thresholds[i]);
    }
    json_out_end_array(json);
    write_kinds(json, config, "credit_kinds");
    write_kinds(json, config, "empty_kinds");
    json_out_end_object(json);
}

static void write_input(json_out_t *json, const statistics_t *statistics, uint64_t items_total)
{
    static const char *const formats[] = {
        [TASK_FORMAT_CSV] = "csv", [TASK_FORMAT_NDJSON] = "ndjson", [TASK_FORMAT_JSON] = "json"};
    json_out_object(json, "input");
    json_out_int(json, "rows", statistics->accepted + statistics->rejected);
    json_out_int(json, "accepted", statistics->accepted);
    json_out_int(json, "rejected", statistics->rejected);
    json_out_int(json, "blank", statistics->blank);
    uint64_t missing = items_total > statistics->lines ? items_total - statistics->lines : 0;
    json_out_int(json, "missing", missing);
    const char *format = NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        format = statistics->formats == 1u << i ? formats[i] : format;
    }
    if (format) {
        json_out_text(json, "format", format);
    } else {
        json_out_null(json, "format");
    }
    json_out_end_object(json);
}

static void write_errors(json_out_t *json, const statistics_t *statistics)
{
    json_out_object(json, "row_errors");
    json_out_object(json, "by_code");
    for (int i = 0; i < ROW_CODES_N; i++) {
        if (statistics->codes[i]) {
            json_out_int(json, row_code_name((row_code_t)i), statistics->codes[i]);
        }
    }
    json_out_end_object(json);
    json_out_array(json, "first");
    for (uint32_t i = 0; i < statistics->errors_n; i++) {
        const row_error_t *error = &statistics->errors[i];
        json_out_object(json, NULL);
        json_out_int(json, "line", error->line);
        json_out_text(json, "code", row_code_name(error->code));
        if (error->field[0]) {
            json_out_text(json, "field", error->field);
        } else {
            json_out_null(json, "field");
        }
        json_out_end_object(json);
    }
    json_out_end_array(json);
    json_out_end_object(json);
}

static void judge(const statistics_t *statistics, report_verdict_t *out)
{
    *out = (report_verdict_t){.rows = statistics->accepted + statistics->rejected,
                              .rejected = statistics->rejected};
    out->too_many_bad = out->rejected > 20 && (__int128)out->rejected * 20 > out->rows;
    if (out->too_many_bad) {
        const row_error_t *first = &statistics->errors[0];
        snprintf(out->text, sizeof out->text,
                 "%llu of %llu rows were rejected, more than 5 %% and more than 20; the first is "
                 "line %llu: %s%s%s",
                 (unsigned long long)out->rejected, (unsigned long long)out->rows,
                 (unsigned long long)first->line, row_code_name(first->code),
                 first->field[0] ? " in " : "", first->field);
    }
}

void report_write(statistics_t *statistics, const transaction_config_t *config,
                  uint64_t items_total, buffer_t *out, report_verdict_t *verdict)
{
    int order[CURRENCIES_N];
    int n = order_currencies(statistics, order);
    for (; n > REPORT_CURRENCIES_MAX; n--) {
        leave_out(statistics, order[n - 1]);
    }
    judge(statistics, verdict);
    json_out_t json = {.out = out};
    json_out_object(&json, NULL);
    write_config(&json, config);
    write_input(&json, statistics, items_total);
    write_errors(&json, statistics);
    if (n > 0) {
        json_out_text(&json, "currency", currency_code(order[0]));
        report_block(&json, statistics->blocks[order[0]], order[0], config);
    } else {
        /* No row was accepted: the report has its usual members, all empty. */
        statistics_t empty = {0};
        json_out_null(&json, "currency");
        report_block(&json, statistics_block(&empty, 0), 0, config);
        statistics_clear(&empty);
    }
    json_out_object(&json, "by_currency");
    for (int i = 1; i < n; i++) {
        json_out_object(&json, currency_code(order[i]));
        report_block(&json, statistics->blocks[order[i]], order[i], config);
        json_out_end_object(&json);
    }
    json_out_end_object(&json);
    json_out_end_object(&json);
}

#include "worker/tasks/transactions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/tasks/partial.h"
#include "worker/tasks/report.h"

enum { PROGRESS_EVERY = 64, BATCHES_MAX = 1 << 28 };

static void take_line(statistics_t *statistics, const transaction_config_t *config,
                      row_parser_t *parser, slice_t line, uint64_t number)
{
    transaction_t row;
    row_fault_t fault;
    row_code_t code = row_parse(parser, line, &row, &fault);
    if (code == ROW_OK) {
        statistics_add(statistics, config, &row, number);
    } else if (code == ROW_BLANK) {
        statistics->lines++;
        statistics->blank++;
    } else {
        statistics_reject(statistics, &fault, number);
    }
}

/* Every line of the batch; ERR_CORRUPT if there are more or fewer than it says. */
static err_t take_lines(statistics_t *statistics, const transaction_config_t *config,
                        row_parser_t *parser, const task_batch_t *batch)
{
    const char *items = batch->items_bytes ? (const char *)batch->items : "";
    size_t n = batch->items_bytes, at = 0;
    for (uint32_t k = 0; k < batch->items_n; k++) {
        /* at = n + 1: the last line, which has no newline, has been taken. */
        if (at > n) {
            return err_set(ERR_CORRUPT, "the batch has %u lines, not %u", k, batch->items_n);
        }
        const char *newline = memchr(items + at, '\n', n - at);
        size_t stop = newline ? (size_t)(newline - items) : n;
        take_line(statistics, config, parser, (slice_t){items + at, stop - at},
                  batch->first_line + k);
        if (batch->progress && (k + 1) % PROGRESS_EVERY == 0) {
            batch->progress(batch->progress_context, k + 1);
        }
        at = stop + 1;
    }
    return at == (batch->items_n ? n + 1 : n)
               ? ERR_OK
               : err_set(ERR_CORRUPT, "the batch has more than %u lines", batch->items_n);
}

err_t transactions_run(const task_batch_t *batch, task_result_t *out)
{
    transaction_config_t config = {0};
    row_parser_t *parser = NULL;
    statistics_t *statistics = mem_zero(sizeof *statistics);
    err_t err = transaction_config_open(&config, batch->params);
    if (!err) {
        err = row_parser_open(&parser, batch->format, batch->header);
    }
    if (!err) {
        statistics->formats = 1u << batch->format;
        err = take_lines(statistics, &config, parser, batch);
    }
    if (!err) {
        partial_encode(statistics, &out->result);
        out->items_failed = (uint32_t)statistics->rejected;
    }
    /* Nothing here depends on anything but the batch: what failed once will fail again. */
    out->permanent = err != ERR_OK;
    statistics_clear(statistics);
    free(statistics);
    row_parser_destroy(&parser);
    transaction_config_close(&config);
    return err;
}

typedef struct {
    transaction_config_t config;
    uint64_t items_total;
    statistics_t total, one;
    /* A bit for each merged batch: sums are not idempotent, deliveries may be repeated. */
    uint8_t *merged;
    size_t merged_bytes;
} finalize_t;

static void finalize_destroy(finalize_t **state)
{
    finalize_t *self = *state;
    if (self) {
        transaction_config_close(&self->config);
        statistics_clear(&self->total);
        statistics_clear(&self->one);
        free(self->merged);
        free(self);
    }
    *state = NULL;
}

err_t transactions_finalize_open(void **state, const task_finalize_t *job)
{
    finalize_t *self = mem_zero(sizeof *self);
    self->items_total = job->items_total;
    err_t err = transaction_config_open(&self->config, job->params);
    if (err) {
        finalize_destroy(&self);
        return err;
    }
    *state = self;
    return ERR_OK;
}

static void grow_bitmap(finalize_t *self, size_t bytes)
{
    if (bytes > self->merged_bytes) {
        size_t wanted = bytes < 128 ? 128 : bytes * 2;
        self->merged = mem_grow(self->merged, wanted);
        memset(self->merged + self->merged_bytes, 0, wanted - self->merged_bytes);
        self->merged_bytes = wanted;
    }
}

err_t transactions_finalize_merge(void *state, uint32_t batch_no, const uint8_t *partial, size_t n)
{
    finalize_t *self = state;
    if (batch_no >= BATCHES_MAX) {
        return err_set(ERR_CORRUPT, "batch number %u is over %d", batch_no, BATCHES_MAX - 1);
    }
    grow_bitmap(self, batch_no / 8 + 1);
    uint8_t bit = (uint8_t)(1u << batch_no % 8);
    if (self->merged[batch_no / 8] & bit) {
        return ERR_OK;
    }
    err_t err = partial_decode(&self->one, partial, n);
    if (err) {
        return err_context(err, "batch %u", batch_no);
    }
    statistics_merge(&self->total, &self->one);
    statistics_clear(&self->one);
    self->merged[batch_no / 8] |= bit;
    return ERR_OK;
}

err_t transactions_finalize_close(void **state, task_result_t *out)
{
    finalize_t *self = *state;
    if (!self) {
        return ERR_OK;
    }
    report_verdict_t verdict;
    report_write(&self->total, &self->config, self->items_total, &out->result, &verdict);
    if (verdict.too_many_bad) {
        snprintf(out->job_error, sizeof out->job_error, "E_TOO_MANY_BAD");
        snprintf(out->job_error_text, sizeof out->job_error_text, "%s", verdict.text);
    }
    finalize_destroy(&self);
    *state = NULL;
    return ERR_OK;
}

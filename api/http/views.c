#include "api/http/views.h"

#include "api/feeder.h"
#include "api/json_stream.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

static const char *const NOT_UTF8 = "(not UTF-8)";

json_t *view_time(int64_t wall_at)
{
    char text[CLOCK_ISO_N];
    if (wall_at == 0) {
        return json_null();
    }
    clock_iso(wall_at, text);
    return json_string(text);
}

json_t *view_id(uint64_t id)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, id);
    return json_string(text);
}

json_t *view_text(const char *text)
{
    json_t *out = json_string(text ? text : "");
    return out ? out : json_string(NOT_UTF8);
}

json_t *view_rounded(double value)
{
    return json_real(round(value * 10) / 10);
}

static uint64_t items_over(const job_row_t *row)
{
    uint64_t over = row->items_done + row->items_failed;
    return over < row->items_total ? over : row->items_total;
}

/* Rounded down, so that 100 means all of them. */
static double percent(const job_row_t *row)
{
    if (row->items_total == 0) {
        return row->state == JOB_COMPLETED || row->state == JOB_FAILED ? 100 : 0;
    }
    return (double)(items_over(row) * 1000 / row->items_total) / 10;
}

static uint64_t batches_estimated(const job_row_t *row)
{
    if (job_state_terminal(row->state) || row->items_cut >= row->items_total) {
        return row->items_total == 0 && row->batches_n == 0 && !job_state_terminal(row->state);
    }
    return feeder_estimate(row->items_total - row->items_cut, row->items_cut, row->batches_n,
                           row->batch_items);
}

static double rate_of(const job_row_t *row, double rate)
{
    if (!job_state_terminal(row->state)) {
        return rate;
    }
    int64_t ms = row->finished_at - row->started_at;
    uint64_t items = row->items_done + row->items_failed;
    return row->started_at && ms > 0 ? (double)items * 1000 / (double)ms : 0;
}

static void put_time(json_out_t *out, const char *key, int64_t wall_at)
{
    char text[CLOCK_ISO_N];
    if (wall_at == 0) {
        json_out_null(out, key);
        return;
    }
    clock_iso(wall_at, text);
    json_out_text(out, key, text);
}

static void put_text(json_out_t *out, const char *key, const char *text)
{
    const char *given = text ? text : "";
    json_out_text(out, key, utf8_valid(given, strlen(given)) ? given : NOT_UTF8);
}

static void put_tenths(json_out_t *out, const char *key, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.1f", value);
    json_out_raw(out, key, text);
}

static void put_eta(json_out_t *out, const job_row_t *row, double rate)
{
    if (job_state_terminal(row->state) || rate <= 0) {
        json_out_null(out, "eta_seconds");
    } else {
        put_tenths(out, "eta_seconds", (double)(row->items_total - items_over(row)) / rate);
    }
}

static void put_error(json_out_t *out, const job_row_t *row)
{
    if (!row->error_code || !row->error_code[0]) {
        json_out_null(out, "error");
        return;
    }
    json_out_object(out, "error");
    put_text(out, "code", row->error_code);
    put_text(out, "detail", row->error_text);
    json_out_end_object(out);
}

static void put_report(json_out_t *out, const job_row_t *row)
{
    char path[64];
    if (!row->has_report) {
        json_out_null(out, "report");
        return;
    }
    snprintf(path, sizeof path, "/api/v1/batch-jobs/%" PRIu64 "/report", row->id);
    json_out_text(out, "report", path);
}

void view_job(json_out_t *out, const job_row_t *row, double live_rate)
{
    double rate = rate_of(row, live_rate);
    char id[24];
    snprintf(id, sizeof id, "%" PRIu64, row->id);
    json_out_object(out, NULL);
    json_out_text(out, "job_id", id);
    put_text(out, "task", row->task);
    json_out_text(out, "status", job_state_name(row->state));
    json_out_int(out, "priority", row->priority);
    json_out_int(out, "items_total", row->items_total);
    json_out_int(out, "items_done", row->items_done);
    json_out_int(out, "items_failed", row->items_failed);
    put_tenths(out, "percent", percent(row));
    json_out_int(out, "batches", row->batches_n);
    json_out_int(out, "batches_done", row->batches_done);
    json_out_int(out, "batches_dead", row->batches_dead);
    json_out_int(out, "batches_estimated", batches_estimated(row));
    put_tenths(out, "rate", rate);
    put_eta(out, row, rate);
    json_out_int(out, "attempts", row->attempts_n);
    json_out_int(out, "failures", row->failures_n);
    json_out_int(out, "lost", row->lost_n);
    put_time(out, "created_at", row->created_at);
    put_time(out, "started_at", row->started_at);
    put_time(out, "finished_at", row->finished_at);
    put_error(out, row);
    json_out_raw(out, "params", row->params ? row->params : "{}"); /* as they were checked */
    put_report(out, row);
    json_out_end_object(out);
}

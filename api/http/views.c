#include "api/http/views.h"

#include "api/feeder.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "common/clock.h"

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
    return out ? out : json_string("(not UTF-8)");
}

json_t *view_rounded(double value)
{
    return json_real(round(value * 10) / 10);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
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

static json_t *eta(const job_row_t *row, double rate)
{
    if (job_state_terminal(row->state) || rate <= 0) {
        return json_null();
    }
    return view_rounded((double)(row->items_total - items_over(row)) / rate);
}

static json_t *error_of(const job_row_t *row)
{
    if (!row->error_code || !row->error_code[0]) {
        return json_null();
    }
    json_t *out = json_object();
    json_object_set_new(out, "code", view_text(row->error_code));
    json_object_set_new(out, "detail", view_text(row->error_text));
    return out;
}

static json_t *report_of(const job_row_t *row)
{
    char path[64];
    if (!row->has_report) {
        return json_null();
    }
    snprintf(path, sizeof path, "/api/v1/batch-jobs/%" PRIu64 "/report", row->id);
    return json_string(path);
}

json_t *view_job(const job_row_t *row, double live_rate)
{
    double rate = rate_of(row, live_rate);
    json_t *out = json_object();
    json_object_set_new(out, "job_id", view_id(row->id));
    json_object_set_new(out, "task", view_text(row->task));
    json_object_set_new(out, "status", json_string(job_state_name(row->state)));
    json_object_set_new(out, "priority", json_integer(row->priority));
    json_object_set_new(out, "items_total", number(row->items_total));
    json_object_set_new(out, "items_done", number(row->items_done));
    json_object_set_new(out, "items_failed", number(row->items_failed));
    json_object_set_new(out, "percent", json_real(percent(row)));
    json_object_set_new(out, "batches", number(row->batches_n));
    json_object_set_new(out, "batches_done", number(row->batches_done));
    json_object_set_new(out, "batches_dead", number(row->batches_dead));
    json_object_set_new(out, "batches_estimated", number(batches_estimated(row)));
    json_object_set_new(out, "rate", view_rounded(rate));
    json_object_set_new(out, "eta_seconds", eta(row, rate));
    json_object_set_new(out, "attempts", number(row->attempts_n));
    json_object_set_new(out, "failures", number(row->failures_n));
    json_object_set_new(out, "lost", number(row->lost_n));
    json_object_set_new(out, "created_at", view_time(row->created_at));
    json_object_set_new(out, "started_at", view_time(row->started_at));
    json_object_set_new(out, "finished_at", view_time(row->finished_at));
    json_object_set_new(out, "error", error_of(row));
    json_t *params = json_loads(row->params ? row->params : "{}", 0, NULL);
    json_object_set_new(out, "params", params ? params : json_object());
    json_object_set_new(out, "report", report_of(row));
    return out;
}

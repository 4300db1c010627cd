#include "api/cli/job_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api/cli/chart.h"
#include "api/cli/cli.h"
#include "api/cli/reading.h"

enum { LABEL_COLUMNS = 12 };

static void add_label(buffer_t *out, style_t style, const char *label)
{
    buffer_printf(out, "  %s%s%s", text_tone(style, TONE_DIM), label, text_tone(style, TONE_PLAIN));
    text_pad(out, LABEL_COLUMNS - (int)strlen(label));
}

static tone_t tone_of(const char *status)
{
    return strcmp(status, "completed") == 0   ? TONE_GREEN
           : strcmp(status, "failed") == 0    ? TONE_RED
           : strcmp(status, "cancelled") == 0 ? TONE_YELLOW
                                              : TONE_CYAN;
}

static void add_status(buffer_t *out, style_t style, const json_t *job)
{
    const char *status = read_text(job, "status");
    buffer_add_text(out, text_tone(style, tone_of(status)));
    add_text(out, status);
    buffer_add_text(out, text_tone(style, TONE_PLAIN));
}

bool job_is_over(const json_t *job)
{
    const char *status = read_text(job, "status");
    return !strcmp(status, "completed") || !strcmp(status, "failed") ||
           !strcmp(status, "cancelled");
}

int job_exit_code(const json_t *job)
{
    const char *status = read_text(job, "status");
    return strcmp(status, "completed") == 0   ? EXIT_JOB_COMPLETED
           : strcmp(status, "cancelled") == 0 ? EXIT_JOB_CANCELLED
                                              : EXIT_JOB_FAILED;
}

static bool parse_time(const char *text, double *out)
{
    struct tm when = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &when);
    double fraction = 0;
    if (!rest || (*rest != '.' && *rest != 'Z')) {
        return false;
    }
    if (*rest == '.' && sscanf(rest, "%lf", &fraction) != 1) {
        return false;
    }
    *out = (double)timegm(&when) + fraction;
    return true;
}

double job_seconds(const char *from, const char *to)
{
    double start = 0, end = 0;
    return parse_time(from, &start) && parse_time(to, &end) && end >= start ? end - start : -1;
}

/* -- progress
 * ----------------------------------------------------------------------------------------- */

static void add_progress(buffer_t *out, const json_t *job)
{
    int64_t failed = read_integer(job, "items_failed");
    text_number(out, read_integer(job, "items_done") + failed);
    buffer_add_text(out, " of ");
    text_count(out, read_integer(job, "items_total"), "item", "items");
    if (failed) {
        buffer_add_text(out, ", ");
        text_number(out, failed);
        buffer_add_text(out, " rejected");
    }
    double rate = read_number(job, "rate");
    if (rate > 0 && !job_is_over(job)) {
        buffer_add_text(out, ", ");
        text_number(out, (int64_t)(rate + 0.5));
        buffer_add_text(out, "/s");
    }
    if (json_is_number(json_object_get(job, "eta_seconds")) && !job_is_over(job)) {
        buffer_add_text(out, ", ");
        text_duration(out, read_number(job, "eta_seconds"));
        buffer_add_text(out, " left");
    }
}

void job_line(buffer_t *out, const json_t *job)
{
    add_text(out, read_text(job, "status"));
    buffer_printf(out, " %.1f %%, ", read_number(job, "percent"));
    add_progress(out, job);
}

void job_bar(buffer_t *out, style_t style, const json_t *job)
{
    buffer_t rest = {0};
    double percent = read_number(job, "percent");
    buffer_printf(&rest, " %5.1f %%  ", percent);
    add_progress(&rest, job);
    const char *status = read_text(job, "status");
    int left = style.width - 1 - text_columns((const char *)rest.data, rest.n) - 13;
    if (left < -2) { /* a line that wraps could not be drawn over: the share alone */
        buffer_clear(&rest);
        buffer_printf(&rest, " %5.1f %%", percent);
        left = 0;
    }
    add_status(out, style, job);
    text_pad(out, 11 - text_columns(status, strlen(status)));
    if (left >= 10) {
        chart_progress(out, style, percent / 100, left > 40 ? 40 : left - 2);
    }
    buffer_add(out, rest.data, rest.n);
    buffer_free(&rest);
}

void job_outcome(buffer_t *out, style_t style, const json_t *job)
{
    buffer_add_text(out, "Job ");
    add_text(out, read_text(job, "job_id"));
    buffer_add_text(out, " ");
    add_status(out, style, job);
    double seconds = job_seconds(read_text(job, "created_at"), read_text(job, "finished_at"));
    if (seconds >= 0) {
        buffer_add_text(out, " in ");
        text_duration(out, seconds);
    }
    buffer_add_text(out, ": ");
    add_progress(out, job);
    buffer_add_text(out, ", ");
    text_count(out, read_integer(job, "batches"), "batch", "batches");
    const json_t *error = json_object_get(job, "error");
    if (json_is_object(error)) {
        buffer_printf(out, "\n%s", text_tone(style, TONE_RED));
        add_text(out, read_text(error, "code"));
        buffer_add_text(out, ": ");
        add_text(out, read_text(error, "detail"));
        buffer_add_text(out, text_tone(style, TONE_PLAIN));
    }
    buffer_add_text(out, "\n");
}

/* -- one job
 * ------------------------------------------------------------------------------------------ */

static void add_batches(buffer_t *out, style_t style, const json_t *job)
{
    add_label(out, style, "batches");
    text_number(out, read_integer(job, "batches_done"));
    buffer_add_text(out, " done of ");
    text_number(out, read_integer(job, "batches"));
    buffer_add_text(out, " cut");
    int64_t dead = read_integer(job, "batches_dead");
    int64_t estimated = read_integer(job, "batches_estimated");
    if (dead) {
        buffer_printf(out, ", %s", text_tone(style, TONE_RED));
        text_number(out, dead);
        buffer_printf(out, " dead%s", text_tone(style, TONE_PLAIN));
    }
    if (estimated) {
        buffer_add_text(out, ", about ");
        text_number(out, estimated);
        buffer_add_text(out, " to come");
    }
    buffer_add_text(out, "\n");
    add_label(out, style, "attempts");
    text_number(out, read_integer(job, "attempts"));
    buffer_add_text(out, ", ");
    text_number(out, read_integer(job, "failures"));
    buffer_add_text(out, " failed, ");
    text_number(out, read_integer(job, "lost"));
    buffer_add_text(out, " lost\n");
}

static void add_times(buffer_t *out, style_t style, const json_t *job)
{
    static const char *const keys[] = {"created_at", "started_at", "finished_at"};
    static const char *const labels[] = {"created", "started", "finished"};
    for (int i = 0; i < 3; i++) {
        const char *when = read_text(job, keys[i]);
        if (*when) {
            add_label(out, style, labels[i]);
            add_text(out, when);
            double seconds = i ? job_seconds(read_text(job, keys[i - 1]), when) : -1;
            if (seconds >= 0) {
                buffer_add_text(out, "  (after ");
                text_duration(out, seconds);
                buffer_add_text(out, ")");
            }
            buffer_add_text(out, "\n");
        }
    }
}

void job_text(buffer_t *out, style_t style, const json_t *job)
{
    buffer_printf(out, "%sJob ", text_tone(style, TONE_BOLD));
    add_text(out, read_text(job, "job_id"));
    buffer_printf(out, "%s  ", text_tone(style, TONE_PLAIN));
    add_text(out, read_text(job, "task"));
    buffer_add_text(out, "\n");
    add_label(out, style, "status");
    add_status(out, style, job);
    buffer_printf(out, ", %.1f %%\n", read_number(job, "percent"));
    add_label(out, style, "items");
    add_progress(out, job);
    buffer_add_text(out, "\n");
    add_batches(out, style, job);
    if (read_integer(job, "priority")) {
        add_label(out, style, "priority");
        buffer_printf(out, "%" PRId64 "\n", read_integer(job, "priority"));
    }
    const json_t *params = json_object_get(job, "params");
    if (json_object_size(params)) {
        add_label(out, style, "params");
        char *text = json_dumps(params, JSON_COMPACT);
        add_text(out, text ? text : "");
        free(text);
        buffer_add_text(out, "\n");
    }
    add_times(out, style, job);
    const json_t *error = json_object_get(job, "error");
    if (json_is_object(error)) {
        add_label(out, style, "error");
        add_text(out, read_text(error, "code"));
        buffer_add_text(out, ": ");
        add_text(out, read_text(error, "detail"));
        buffer_add_text(out, "\n");
    }
    if (*read_text(job, "report")) {
        add_label(out, style, "report");
        buffer_add_text(out, "stint report ");
        add_text(out, read_text(job, "job_id"));
        buffer_add_text(out, "\n");
    }
}

/* -- lists
 * -------------------------------------------------------------------------------------------- */

/* Text in a column: escaped, then padded by what can be seen of it. */
static void add_column(buffer_t *out, const char *text, int columns)
{
    size_t before = out->n;
    add_text(out, text);
    text_pad(out, columns - text_columns((const char *)out->data + before, out->n - before) + 1);
}

static void add_number_column(buffer_t *out, int64_t number, int columns)
{
    buffer_t digits = {0};
    text_number(&digits, number);
    text_pad(out, columns - (int)digits.n);
    buffer_add(out, digits.data, digits.n);
    buffer_free(&digits);
}

void list_text(buffer_t *out, style_t style, const json_t *answer)
{
    const json_t *jobs = json_object_get(answer, "jobs");
    if (json_array_size(jobs) == 0) {
        buffer_add_text(out, "No jobs.\n");
        return;
    }
    buffer_printf(out, "%s%-20s %-27s %-11s %7s %13s  %s%s\n", text_tone(style, TONE_BOLD), "JOB",
                  "TASK", "STATUS", "DONE", "ITEMS", "CREATED", text_tone(style, TONE_PLAIN));
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);
        const char *status = read_text(job, "status");
        add_column(out, read_text(job, "job_id"), 20);
        add_column(out, read_text(job, "task"), 27);
        buffer_add_text(out, text_tone(style, tone_of(status)));
        add_column(out, status, 11);
        buffer_printf(out, "%s%5.1f %%", text_tone(style, TONE_PLAIN), read_number(job, "percent"));
        add_number_column(out, read_integer(job, "items_total"), 14);
        buffer_add_text(out, "  ");
        add_text(out, read_text(job, "created_at"));
        buffer_add_text(out, "\n");
    }
    if (json_is_string(json_object_get(answer, "next_cursor"))) {
        buffer_add_text(out, "There are more: --limit N shows up to 1000.\n");
    }
}

static void add_span(buffer_t *out, style_t style, const char *label, const json_t *span)
{
    add_label(out, style, label);
    text_count(out, read_integer(span, "items_done"), "item", "items");
    buffer_add_text(out, " done, ");
    text_number(out, read_integer(span, "items_failed"));
    buffer_printf(out, " rejected, %.1f/s, error rate %.2f %%\n",
                  read_number(span, "items_per_second"), 100 * read_number(span, "error_rate"));
}

void stats_text(buffer_t *out, style_t style, const json_t *answer)
{
    const char *state;
    json_t *count;
    buffer_printf(out, "%sJobs%s\n", text_tone(style, TONE_BOLD), text_tone(style, TONE_PLAIN));
    json_object_foreach(json_object_get(answer, "jobs"), state, count)
    {
        buffer_printf(out, "  %s", text_tone(style, tone_of(state)));
        add_column(out, state, LABEL_COLUMNS - 1);
        buffer_add_text(out, text_tone(style, TONE_PLAIN));
        add_number_column(out, (int64_t)json_integer_value(count), 12);
        buffer_add_text(out, "\n");
    }
    buffer_printf(out, "%sWork%s\n", text_tone(style, TONE_BOLD), text_tone(style, TONE_PLAIN));
    add_span(out, style, "last minute", json_object_get(answer, "minute"));
    add_span(out, style, "last hour", json_object_get(answer, "hour"));
    add_label(out, style, "batches");
    text_number(out, read_integer(answer, "waiting_batches"));
    buffer_add_text(out, " waiting, ");
    text_number(out, read_integer(answer, "leased_batches"));
    buffer_add_text(out, " with workers, ");
    text_number(out, read_integer(answer, "retrying_batches"));
    buffer_add_text(out, " to be tried again");
    if (json_is_number(json_object_get(answer, "oldest_waiting_seconds")) &&
        read_number(answer, "oldest_waiting_seconds") > 0) {
        buffer_add_text(out, "; the oldest waits for ");
        text_duration(out, read_number(answer, "oldest_waiting_seconds"));
    }
    buffer_add_text(out, "\n");
    add_label(out, style, "workers");
    text_number(out, read_integer(answer, "workers"));
    buffer_add_text(out, " with ");
    text_count(out, read_integer(answer, "slots"), "slot", "slots");
    buffer_add_text(out, "\n");
}

static void add_worker(buffer_t *out, const json_t *worker)
{
    char slots[32];
    snprintf(slots, sizeof slots, "%" PRId64 "/%" PRId64, read_integer(worker, "busy"),
             read_integer(worker, "slots"));
    add_column(out, read_text(worker, "name"), 12);
    add_column(out, read_text(worker, "host"), 16);
    add_column(out, slots, 6);
    add_number_column(out, read_integer(worker, "done"), 9);
    add_number_column(out, read_integer(worker, "failed"), 8);
    buffer_printf(out, "%6.0f %%  ", read_number(worker, "cpu_percent"));
    buffer_t memory = {0};
    text_bytes(&memory, read_integer(worker, "memory_available"));
    buffer_add(&memory, "", 1);
    buffer_printf(out, "%10s  %6" PRId64 "  ", (const char *)memory.data,
                  read_integer(worker, "batch_items"));
    buffer_free(&memory);
    const json_t *limits = json_object_get(worker, "limits");
    for (size_t i = 0; i < json_array_size(limits); i++) {
        const json_t *limit = json_array_get(limits, i);
        buffer_printf(out, "%s%" PRId64 " of %" PRId64 " in ", i ? ", " : "",
                      read_integer(limit, "used"), read_integer(limit, "limit"));
        text_duration(out, (double)read_integer(limit, "window_ms") / 1000);
    }
    buffer_add_text(out, json_is_true(json_object_get(worker, "draining")) ? "  draining\n" : "\n");
}

void workers_text(buffer_t *out, style_t style, const json_t *answer)
{
    const json_t *workers = json_object_get(answer, "workers");
    if (json_array_size(workers) == 0) {
        buffer_add_text(out, "No workers.\n");
        return;
    }
    buffer_printf(out, "%s%-12s %-16s %-6s %9s %7s %8s  %10s  %6s  %s%s\n",
                  text_tone(style, TONE_BOLD), "WORKER", "HOST", "BUSY", "DONE", "FAILED", "CPU",
                  "FREE", "BATCH", "STARTS", text_tone(style, TONE_PLAIN));
    for (size_t i = 0; i < json_array_size(workers); i++) {
        add_worker(out, json_array_get(workers, i));
    }
}

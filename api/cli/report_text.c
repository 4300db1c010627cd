#include "api/cli/report_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/cli/chart.h"
#include "api/cli/job_text.h"
#include "api/cli/reading.h"

enum { LABEL_COLUMNS = 13, FIRST_ERRORS_SHOWN = 8 };

void page_heading(const page_t *page, const char *text)
{
    buffer_printf(page->out, "\n%s%s%s\n", text_tone(page->style, TONE_BOLD), text,
                  text_tone(page->style, TONE_PLAIN));
}

void page_label(const page_t *page, const char *label)
{
    buffer_printf(page->out, "  %s", text_tone(page->style, TONE_DIM));
    add_text(page->out, label);
    buffer_add_text(page->out, text_tone(page->style, TONE_PLAIN));
    text_pad(page->out, LABEL_COLUMNS - text_columns(label, strlen(label)));
}

static void add_right(const page_t *page, buffer_t *text, int columns)
{
    text_pad(page->out, columns - (int)text->n);
    buffer_add(page->out, text->data, text->n);
    buffer_free(text);
}

void page_number(const page_t *page, int64_t number, int columns)
{
    buffer_t text = {0};
    text_number(&text, number);
    add_right(page, &text, columns);
}

void page_money(const page_t *page, int64_t minor, int columns)
{
    buffer_t text = {0};
    text_money(&text, minor, page->currency);
    add_right(page, &text, columns);
}

/* -- totals
 * ------------------------------------------------------------------------------------------ */

static void add_span(const page_t *page, const json_t *totals)
{
    const char *first = read_text(totals, "first_day"), *last = read_text(totals, "last_day");
    if (!*first || !*last) {
        return;
    }
    page_label(page, "period");
    add_text(page->out, first);
    buffer_add_text(page->out, " to ");
    add_text(page->out, last);
    buffer_add_text(page->out, "\n");
}

static void add_quantiles(const page_t *page, const json_t *block)
{
    static const struct {
        const char *key, *label;
    } wanted[] = {{"p50", "half under"}, {"p90", "90 %"}, {"p99", "99 %"}};
    const json_t *sketch = json_object_get(json_object_get(block, "quantiles"), "sketch_minor");
    bool any = false;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (json_is_integer(json_object_get(sketch, wanted[i].key))) {
            if (!any) {
                page_label(page, "amounts");
            }
            buffer_printf(page->out, "%s%s ", any ? ", " : "", wanted[i].label);
            text_money(page->out, read_integer(sketch, wanted[i].key), page->currency);
            any = true;
        }
    }
    buffer_add_text(page->out, any ? "\n" : "");
}

static void add_distinct(const page_t *page, const json_t *block)
{
    static const char *const keys[] = {"src", "dst", "pair_src_0x1f_dst"};
    static const char *const labels[] = {" payers, ", " payees, ", " pairs"};
    const json_t *sketches = json_object_get(block, "hll_p12");
    if (!sketches) {
        return;
    }
    page_label(page, "about");
    for (int i = 0; i < 3; i++) {
        double estimate = read_number(json_object_get(sketches, keys[i]), "estimate");
        text_number(page->out, estimate > 0 && estimate < 9e18 ? (int64_t)(estimate + 0.5) : 0);
        buffer_add_text(page->out, labels[i]);
    }
    buffer_add_text(page->out, "\n");
}

static void add_totals(const page_t *page, const json_t *block)
{
    const json_t *totals = json_object_get(block, "totals");
    if (!totals) {
        return;
    }
    page_label(page, "rows");
    text_number(page->out, read_integer(totals, "rows"));
    buffer_add_text(page->out, ": ");
    text_number(page->out, read_integer(totals, "positive"));
    buffer_add_text(page->out, " payments, ");
    text_number(page->out, read_integer(totals, "negative"));
    buffer_add_text(page->out, " refunds, ");
    text_number(page->out, read_integer(totals, "zero"));
    buffer_add_text(page->out, " of zero\n");
    page_label(page, "sum");
    buffer_add_text(page->out, text_tone(page->style, TONE_BOLD));
    text_money(page->out, read_integer(totals, "sum_minor"), page->currency);
    buffer_add_text(page->out, " ");
    add_text(page->out, page->currency);
    buffer_printf(page->out, "%s\n", text_tone(page->style, TONE_PLAIN));
    if (json_is_integer(json_object_get(totals, "max_minor"))) {
        page_label(page, "range");
        text_money(page->out, read_integer(totals, "min_minor"), page->currency);
        buffer_add_text(page->out, " to ");
        text_money(page->out, read_integer(totals, "max_minor"), page->currency);
        buffer_add_text(page->out, "\n");
    }
    add_span(page, totals);
    add_quantiles(page, block);
    add_distinct(page, block);
}

/* -- signals
 * ----------------------------------------------------------------------------------------- */

static void add_round(const page_t *page, const json_t *block)
{
    const json_t *found = json_object_get(block, "round");
    int64_t unit = 100;
    if (!found) {
        return;
    }
    page_heading(page, "Round numbers");
    page_label(page, "multiples");
    text_number(page->out, read_integer(found, "divisible_1000"));
    buffer_add_text(page->out, " of ");
    text_money(page->out, 1000 * unit, page->currency);
    buffer_add_text(page->out, ", ");
    text_number(page->out, read_integer(found, "divisible_100_not_1000"));
    buffer_add_text(page->out, " more of ");
    text_money(page->out, 100 * unit, page->currency);
    buffer_printf(page->out, ": %.2f %% (chance 0.01 %%)\n", 100 * read_number(found, "share_100"));
}

static void add_just_below(const page_t *page, const json_t *block)
{
    const json_t *rows = json_object_get(block, "just_below");
    if (json_array_size(rows) == 0) {
        return;
    }
    page_heading(page, "Just below a limit");
    buffer_printf(page->out, "  %s           limit  90-100 %% of it  100-110 %%         z%s\n",
                  text_tone(page->style, TONE_DIM), text_tone(page->style, TONE_PLAIN));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        page_money(page, read_integer(row, "threshold_minor"), 18);
        page_number(page, read_integer(row, "below_90_100"), 16);
        page_number(page, read_integer(row, "above_100_110"), 11);
        if (json_is_number(json_object_get(row, "z"))) {
            double z = read_number(row, "z");
            buffer_printf(page->out, " %9.1f", z);
            if (z > 2.576) {
                buffer_printf(page->out, "  %smore than chance%s",
                              text_tone(page->style, TONE_YELLOW),
                              text_tone(page->style, TONE_PLAIN));
            }
        } else {
            buffer_add_text(page->out, "         -");
        }
        buffer_add_text(page->out, "\n");
    }
}

static void add_weekdays(const page_t *page, const json_t *time)
{
    static const char *const names[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    const json_t *days = json_object_get(time, "dow_mon0");
    double most = 0;
    if (json_array_size(days) != 7) {
        return;
    }
    for (size_t i = 0; i < 7; i++) {
        double count = json_number_value(json_array_get(days, i));
        most = count > most ? count : most;
    }
    for (size_t i = 0; i < 7; i++) {
        double count = json_number_value(json_array_get(days, i));
        page_label(page, names[i]);
        page_number(page, (int64_t)count, 11);
        buffer_printf(page->out, "  %s", text_tone(page->style, TONE_CYAN));
        chart_bar(page->out, page->style, count, most, 30);
        buffer_printf(page->out, "%s\n", text_tone(page->style, TONE_PLAIN));
    }
}

static void add_spark(const page_t *page, const char *label, const json_t *rows, const char *key)
{
    size_t n = json_array_size(rows);
    double *values = mem_zero((n ? n : 1) * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(rows, i);
        values[i] = key ? read_number(row, key) : json_number_value(row);
    }
    page_label(page, label);
    buffer_add_text(page->out, text_tone(page->style, TONE_CYAN));
    int room = page->style.width - LABEL_COLUMNS - 26;
    chart_spark(page->out, page->style, values, n, room > 60 ? 60 : room);
    buffer_add_text(page->out, text_tone(page->style, TONE_PLAIN));
    free(values);
}

static void add_months(const page_t *page, const json_t *months)
{
    size_t n = json_array_size(months), busiest = 0;
    if (n == 0) {
        return;
    }
    for (size_t i = 1; i < n; i++) {
        if (read_integer(json_array_get(months, i), "rows") >
            read_integer(json_array_get(months, busiest), "rows")) {
            busiest = i;
        }
    }
    add_spark(page, "months", months, "rows");
    buffer_add_text(page->out, "  ");
    add_text(page->out, read_text(json_array_get(months, 0), "month"));
    buffer_add_text(page->out, " to ");
    add_text(page->out, read_text(json_array_get(months, n - 1), "month"));
    buffer_add_text(page->out, "\n");
    page_label(page, "busiest");
    const json_t *top = json_array_get(months, busiest);
    add_text(page->out, read_text(top, "month"));
    buffer_add_text(page->out, " with ");
    text_count(page->out, read_integer(top, "rows"), "row", "rows");
    buffer_add_text(page->out, " and ");
    text_money(page->out, read_integer(top, "sum_minor"), page->currency);
    buffer_add_text(page->out, "\n");
}

static void add_calendar(const page_t *page, const json_t *block)
{
    const json_t *time = json_object_get(block, "time");
    const json_t *months = json_object_get(block, "monthly");
    if (!time && !months) {
        return;
    }
    page_heading(page, "Calendar");
    add_weekdays(page, time);
    const json_t *hours = json_object_get(time, "hours");
    double known = 0;
    for (size_t i = 0; i < json_array_size(hours); i++) {
        known += json_number_value(json_array_get(hours, i));
    }
    /* Most ledgers carry dates only: 24 empty hours are no news. */
    if (known > 0) {
        add_spark(page, "hours 0-23", hours, NULL);
        buffer_add_text(page->out, "  ");
        text_number(page->out, read_integer(time, "after_hours"));
        buffer_add_text(page->out, " after hours\n");
    }
    add_months(page, months);
}

static void add_rules(const page_t *page, const json_t *block)
{
    const json_t *rules = json_object_get(block, "item_rules");
    const char *name;
    json_t *count;
    if (json_object_size(rules) == 0) {
        return;
    }
    page_heading(page, "Rows for review, by rule");
    json_object_foreach((json_t *)(uintptr_t)rules, name, count)
    {
        page_label(page, name);
        page_number(page, (int64_t)json_number_value(count), 13);
        buffer_add_text(page->out, "\n");
    }
    const json_t *bands = json_object_get(json_object_get(block, "score_provisional"), "bands");
    if (bands) {
        page_label(page, "score so far");
        text_number(page->out, read_integer(bands, "low_0_24"));
        buffer_add_text(page->out, " low, ");
        text_number(page->out, read_integer(bands, "medium_25_49"));
        buffer_add_text(page->out, " medium, ");
        text_number(page->out, read_integer(bands, "high_50_74"));
        buffer_add_text(page->out, " high, ");
        text_number(page->out, read_integer(bands, "critical_75_100"));
        buffer_add_text(page->out, " critical\n");
    }
}

/* -- rows that were not taken, and how the job went
 * --------------------------------------------- */

typedef struct {
    const char *code;
    int64_t n;
} code_count_t;

static int by_count(const void *a, const void *b)
{
    const code_count_t *one = a, *other = b;
    return one->n != other->n ? (one->n < other->n ? 1 : -1) : strcmp(one->code, other->code);
}

static void add_codes(const page_t *page, const json_t *by_code)
{
    size_t n = 0;
    code_count_t *codes = mem_zero((json_object_size(by_code) + 1) * sizeof *codes);
    const char *code;
    json_t *count;
    json_object_foreach((json_t *)(uintptr_t)by_code, code, count)
    {
        codes[n++] = (code_count_t){code, (int64_t)json_number_value(count)};
    }
    qsort(codes, n, sizeof *codes, by_count);
    for (size_t i = 0; i < n; i++) {
        buffer_add_text(page->out, "  ");
        size_t before = page->out->n;
        add_text(page->out, codes[i].code);
        text_pad(page->out, 17 - (int)(page->out->n - before));
        page_number(page, codes[i].n, 9);
        buffer_add_text(page->out, "\n");
    }
    free(codes);
}

static void add_errors(const page_t *page, const json_t *report)
{
    const json_t *errors = json_object_get(report, "row_errors");
    const json_t *first = json_object_get(errors, "first");
    const json_t *by_code = json_object_get(errors, "by_code");
    if (!errors) {
        return;
    }
    page_heading(page, "Rows not taken");
    if (json_object_size(by_code) == 0) {
        buffer_printf(page->out, "  %snone%s\n", text_tone(page->style, TONE_GREEN),
                      text_tone(page->style, TONE_PLAIN));
        return;
    }
    add_codes(page, by_code);
    for (size_t i = 0; i < json_array_size(first) && i < FIRST_ERRORS_SHOWN; i++) {
        const json_t *error = json_array_get(first, i);
        buffer_printf(page->out, "  line %" PRId64 ": ", read_integer(error, "line"));
        add_text(page->out, read_text(error, "code"));
        if (*read_text(error, "field")) {
            buffer_add_text(page->out, " in ");
            add_text(page->out, read_text(error, "field"));
        }
        buffer_add_text(page->out, "\n");
    }
}

static void add_currency(const page_t *page, const json_t *block)
{
    buffer_t title = {0};
    buffer_add_text(&title, "Also in ");
    add_text(&title, page->currency);
    buffer_add(&title, "", 1);
    page_heading(page, (const char *)title.data);
    buffer_free(&title);
    add_totals(page, block);
    report_benford(page, block);
    add_round(page, block);
    add_just_below(page, block);
    add_rules(page, block);
}

static void add_job(const page_t *page, const json_t *job)
{
    if (!job) {
        return;
    }
    int64_t batches = read_integer(job, "batches"), items = read_integer(job, "items_total");
    page_heading(page, "How it ran");
    page_label(page, "batches");
    text_count(page->out, batches, "batch", "batches");
    if (batches > 0) {
        buffer_add_text(page->out, " of ");
        text_number(page->out, (items + batches / 2) / batches);
        buffer_add_text(page->out, " items on average");
    }
    buffer_add_text(page->out, "\n");
    page_label(page, "attempts");
    text_number(page->out, read_integer(job, "attempts"));
    buffer_add_text(page->out, " with the final merge: ");
    text_number(page->out, read_integer(job, "failures"));
    buffer_add_text(page->out, " failed, ");
    text_number(page->out, read_integer(job, "lost"));
    buffer_add_text(page->out, " lost\n");
    double seconds = job_seconds(read_text(job, "created_at"), read_text(job, "finished_at"));
    if (seconds >= 0) {
        page_label(page, "time");
        text_duration(page->out, seconds);
        if (seconds > 0.001) {
            buffer_add_text(page->out, ", ");
            text_number(page->out, (int64_t)((double)items / seconds + 0.5));
            buffer_add_text(page->out, " items/s");
        }
        buffer_add_text(page->out, "\n");
    }
}

/* -- the page
 * ---------------------------------------------------------------------------------------- */

static void add_title(const page_t *page, const json_t *report, const json_t *job)
{
    const json_t *config = json_object_get(report, "config");
    const json_t *input = json_object_get(report, "input");
    size_t before = page->out->n;
    buffer_add_text(page->out, text_tone(page->style, TONE_BOLD));
    buffer_add_text(page->out, "Forensic report");
    if (job) {
        buffer_add_text(page->out, " of job ");
        add_text(page->out, read_text(job, "job_id"));
    }
    if (*read_text(config, "profile")) {
        buffer_add_text(page->out, ", profile ");
        add_text(page->out, read_text(config, "profile"));
    }
    int columns = text_columns((const char *)page->out->data + before, page->out->n - before) -
                  (int)strlen(text_tone(page->style, TONE_BOLD));
    buffer_printf(page->out, "%s\n", text_tone(page->style, TONE_PLAIN));
    for (int i = 0; i < columns; i++) {
        buffer_add_text(page->out, page->style.unicode ? "═" : "=");
    }
    buffer_add_text(page->out, "\n");
    if (json_is_object(input)) {
        page_label(page, "input");
        text_count(page->out, read_integer(input, "rows"), "row", "rows");
        buffer_add_text(page->out, ", ");
        text_number(page->out, read_integer(input, "rejected"));
        buffer_add_text(page->out, " rejected");
        if (read_integer(input, "blank")) {
            buffer_add_text(page->out, ", ");
            text_count(page->out, read_integer(input, "blank"), "blank line", "blank lines");
        }
        if (read_integer(input, "missing")) {
            buffer_printf(page->out, ", %s", text_tone(page->style, TONE_RED));
            text_number(page->out, read_integer(input, "missing"));
            buffer_printf(page->out, " never processed%s", text_tone(page->style, TONE_PLAIN));
        }
        buffer_add_text(page->out, "\n");
    }
}

static void add_plain(buffer_t *out, const json_t *report)
{
    char *text = json_dumps(report, JSON_INDENT(2) | JSON_ENCODE_ANY);
    for (const char *at = text ? text : ""; *at;) {
        size_t n = strcspn(at, "\n");
        text_escape(out, at, n);
        buffer_add_text(out, "\n");
        at += n + (at[n] == '\n');
    }
    free(text);
}

void report_text(buffer_t *out, style_t style, const json_t *report, const json_t *job)
{
    page_t page = {.out = out, .style = style, .currency = read_text(report, "currency")};
    const char *currency;
    json_t *block;
    if (!json_object_get(report, "totals")) {
        add_plain(out, report);
        return;
    }
    add_title(&page, report, job);
    add_totals(&page, report);
    report_benford(&page, report);
    add_round(&page, report);
    add_just_below(&page, report);
    add_calendar(&page, report);
    add_rules(&page, report);
    json_object_foreach(json_object_get(report, "by_currency"), currency, block)
    {
        page_t other = page;
        other.currency = currency;
        add_currency(&other, block);
    }
    add_errors(&page, report);
    add_job(&page, job);
    buffer_printf(out, "\n%sThese are signals for review, not findings.%s\n",
                  text_tone(style, TONE_DIM), text_tone(style, TONE_PLAIN));
}

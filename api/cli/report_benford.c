/* The digits of a report: the table of first digits with its chart, the verdicts, the suspects. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "api/cli/chart.h"
#include "api/cli/reading.h"
#include "api/cli/report_text.h"

/* Benford's law: the share of numbers that begin with `digits` (1..9 or 10..99). */
static double expected_share(int digits)
{
    return log10(1 + 1.0 / digits);
}

static double count_at(const json_t *counts, size_t i)
{
    return json_number_value(json_array_get(counts, i));
}

static double total_of(const json_t *counts)
{
    double sum = 0;
    for (size_t i = 0; i < json_array_size(counts); i++) {
        sum += count_at(counts, i);
    }
    return sum;
}

static void add_first_digits(const page_t *page, const json_t *counts)
{
    double n = total_of(counts), most = expected_share(1);
    if (json_array_size(counts) != 9 || !(n > 0)) {
        return;
    }
    for (size_t i = 0; i < 9; i++) {
        double share = count_at(counts, i) / n;
        most = share > most ? share : most;
    }
    int width = page->style.width - 42 > 50 ? 50 : page->style.width - 42;
    buffer_printf(page->out, "  %sdigit       rows  observed  expected%s\n",
                  text_tone(page->style, TONE_DIM), text_tone(page->style, TONE_PLAIN));
    for (size_t i = 0; i < 9; i++) {
        double share = count_at(counts, i) / n, expected = expected_share((int)i + 1);
        /* The colour only points: the verdict below judges. */
        tone_t tone = fabs(share - expected) > 0.02 ? TONE_YELLOW : TONE_CYAN;
        buffer_printf(page->out, "    %zu ", i + 1);
        page_number(page, (int64_t)count_at(counts, i), 12);
        buffer_printf(page->out, "   %5.1f %%   %5.1f %%  ", 100 * share, 100 * expected);
        if (width >= 8) {
            chart_marked(page->out, page->style,
                         &(chart_marked_t){.value = share,
                                           .expected = expected,
                                           .most = most * 1.02,
                                           .width = width,
                                           .tone = tone});
        }
        buffer_add_text(page->out, "\n");
    }
    buffer_printf(page->out, "  %sbar: observed, %s: expected by Benford's law%s\n",
                  text_tone(page->style, TONE_DIM), page->style.unicode ? "┃" : "|",
                  text_tone(page->style, TONE_PLAIN));
}

/* A reason why the test says nothing here, NULL if it does: {"applicable", "why"} or a text. */
static const char *not_applicable(const json_t *benford, const char *test)
{
    const json_t *all = json_object_get(benford, "applicability");
    const json_t *one = json_is_object(all) ? json_object_get(all, test) : all;
    if (json_is_string(one)) {
        const char *text = json_string_value(one);
        return strncmp(text, "not applicable", 14) == 0 ? text : NULL;
    }
    if (!json_is_false(json_object_get(one, "applicable"))) {
        return NULL;
    }
    const char *why = read_text(one, "why");
    return *why ? why : "not applicable";
}

static void add_verdict(const page_t *page, const json_t *benford, const char *test,
                        const char *label)
{
    const json_t *fit = json_object_get(benford, test);
    const char *why = not_applicable(benford, test), *level = read_text(fit, "mad_level");
    if (!fit && !why) {
        return;
    }
    page_label(page, label);
    if (why) {
        buffer_add_text(page->out, text_tone(page->style, TONE_DIM));
        /* The sentence says so itself, or is made to. */
        buffer_add_text(page->out,
                        strncmp(why, "not applicable", 14) == 0 ? "" : "not applicable: ");
        add_text(page->out, why);
        buffer_printf(page->out, "%s\n", text_tone(page->style, TONE_PLAIN));
        return;
    }
    if (*level) {
        tone_t tone = strcmp(level, "nonconformity") == 0 ? TONE_YELLOW
                      : strcmp(level, "marginal") == 0    ? TONE_YELLOW
                                                          : TONE_GREEN;
        buffer_add_text(page->out, text_tone(page->style, tone));
        add_text(page->out, level);
        buffer_printf(page->out, "%s, ", text_tone(page->style, TONE_PLAIN));
    }
    buffer_printf(page->out, "MAD %.5f", read_number(fit, "mad"));
    if (json_is_number(json_object_get(fit, "expected_mad"))) {
        buffer_printf(page->out, " (%.5f would be chance)", read_number(fit, "expected_mad"));
    }
    buffer_add_text(page->out, "\n");
}

static void add_suspects(const page_t *page, const json_t *benford)
{
    const json_t *suspects = json_object_get(benford, "suspects");
    const json_t *counts = json_object_get(json_object_get(benford, "first_two"), "counts");
    double n = total_of(counts);
    if (json_array_size(suspects) == 0) {
        return;
    }
    for (size_t i = 0; i < json_array_size(suspects); i++) {
        int64_t digits = (int64_t)json_integer_value(json_array_get(suspects, i));
        page_label(page, i ? "" : "suspects");
        buffer_printf(page->out, "begins with %" PRId64, digits);
        if (digits >= 10 && digits <= 99 && json_array_size(counts) == 90 && n > 0) {
            double count = count_at(counts, (size_t)digits - 10);
            buffer_add_text(page->out, ": ");
            text_number(page->out, (int64_t)count);
            buffer_add_text(page->out, " rows, ");
            text_number(page->out, (int64_t)(count - n * expected_share((int)digits) + 0.5));
            buffer_add_text(page->out, " more than expected");
        }
        buffer_add_text(page->out, "\n");
    }
}

void report_benford(const page_t *page, const json_t *block)
{
    const json_t *benford = json_object_get(block, "benford");
    const json_t *first = json_object_get(benford, "first");
    if (!benford) {
        return;
    }
    page_heading(page, "First digits and Benford's law");
    page_label(page, "tested");
    text_count(page->out, read_integer(first, "n"), "amount", "amounts");
    buffer_add_text(page->out, " of ");
    text_money(page->out, read_integer(benford, "min_minor"), page->currency);
    buffer_add_text(page->out, " and more\n");
    add_first_digits(page, json_object_get(first, "counts"));
    add_verdict(page, benford, "first", "first");
    add_verdict(page, benford, "second", "second");
    add_verdict(page, benford, "first_two", "first two");
    add_suspects(page, benford);
}

#include "worker/tasks/report_block.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/sha256.h"
#include "worker/tasks/benford.h"

static void day(json_out_t *json, const char *key, int32_t value)
{
    char text[48];
    civil_t date = civil_from_day(value);
    snprintf(text, sizeof text, "%04d-%02d-%02d", date.year, date.month, date.day);
    json_out_text(json, key, text);
}

static void totals(json_out_t *json, const block_t *block)
{
    json_out_object(json, "totals");
    json_out_int(json, "rows", block->rows);
    json_out_int(json, "positive", block->positive);
    json_out_int(json, "negative", block->negative);
    json_out_int(json, "zero", block->zero);
    json_out_int(json, "sum_minor", block->sum);
    if (block->rows) {
        json_out_int(json, "min_minor", block->min);
        json_out_int(json, "max_minor", block->max);
        day(json, "first_day", block->day_min);
        day(json, "last_day", block->day_max);
    } else {
        json_out_null(json, "min_minor");
        json_out_null(json, "max_minor");
        json_out_null(json, "first_day");
        json_out_null(json, "last_day");
    }
    json_out_end_object(json);
}

static void deviations(json_out_t *json, const benford_fit_t *fit)
{
    json_out_array(json, "top_z");
    for (int i = 0; i < BENFORD_TOP_N; i++) {
        json_out_object(json, NULL);
        json_out_int(json, "digits", fit->top[i].digits);
        json_out_int(json, "count", fit->top[i].count);
        json_out_real(json, "z", fit->top[i].z);
        json_out_bool(json, "over", fit->top[i].over);
        json_out_end_object(json);
    }
    json_out_end_array(json);
}

static void judged_fit(json_out_t *json, const char *key, benford_test_t test,
                       const uint64_t *counts)
{
    benford_fit_t fit;
    benford_fit(&fit, test, counts);
    json_out_object(json, key);
    json_out_int(json, "n", fit.n);
    json_out_counts(json, "counts", counts, benford_groups(test));
    if (fit.n) {
        json_out_real(json, "mad", fit.mad);
        json_out_real(json, "expected_mad", fit.expected_mad);
        json_out_real(json, "excess_mad", fit.mad - fit.expected_mad);
        json_out_real(json, "chi2", fit.chi2);
        json_out_int(json, "df", fit.df);
        json_out_real(json, "chi2_p", fit.chi2_p);
        json_out_real(json, "ks_d", fit.ks_d);
        json_out_real(json, "ks_crit_5pct", fit.ks_limit);
        json_out_int(json, "z_over_1_96", fit.z_over);
        deviations(json, &fit);
        if (fit.level) {
            json_out_text(json, "mad_level", fit.level);
        }
    }
    json_out_end_object(json);
}

typedef struct {
    int group;
    int128_t sum;
} money_t;

static int by_money(const void *left, const void *right)
{
    const money_t *a = left, *b = right;
    if (a->sum != b->sum) {
        return a->sum < b->sum ? 1 : -1;
    }
    return a->group - b->group;
}

static void summation(json_out_t *json, const block_t *block)
{
    money_t groups[90];
    int128_t total = 0;
    double mad = 0;
    json_out_object(json, "summation");
    json_out_array(json, "sums_minor");
    for (int i = 0; i < 90; i++) {
        groups[i] = (money_t){i, block->first_two_sums[i]};
        total += groups[i].sum;
        json_out_int(json, NULL, groups[i].sum);
    }
    json_out_end_array(json);
    for (int i = 0; i < 90; i++) {
        mad += fabs((double)groups[i].sum / (double)total - 1.0 / 90);
    }
    json_out_real(json, "mad_vs_1_90", mad / 90);
    qsort(groups, 90, sizeof *groups, by_money);
    json_out_array(json, "top");
    for (int i = 0; i < 5; i++) {
        json_out_object(json, NULL);
        json_out_int(json, "digits", groups[i].group + 10);
        json_out_int(json, "sum_minor", groups[i].sum);
        json_out_real(json, "share", (double)groups[i].sum / (double)total);
        json_out_end_object(json);
    }
    json_out_end_array(json);
    json_out_end_object(json);
}

static void applicability(json_out_t *json, const char *key, benford_test_t test, uint64_t n,
                          const population_t *population)
{
    applicability_t verdict;
    benford_applicability(&verdict, test, n, population);
    json_out_object(json, key);
    json_out_bool(json, "applicable", verdict.applicable);
    json_out_text(json, "why", verdict.why);
    json_out_end_object(json);
}

static uint64_t total_of(const uint64_t *counts, int n)
{
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        sum += counts[i];
    }
    return sum;
}

/* The levels beside it are computed whatever the population is like, because they are comparable
 * numbers; this says which of them mean something. */
static void applicabilities(json_out_t *json, const block_t *block, int currency, int64_t low)
{
    population_t tested, all;
    uint64_t n = total_of(block->first_two, 90);
    population_of(&tested, block, currency, low);
    population_of(&all, block, currency, 1);
    json_out_object(json, "applicability");
    applicability(json, "first", BENFORD_FIRST, n, &tested);
    applicability(json, "second", BENFORD_SECOND, n, &tested);
    applicability(json, "first_two", BENFORD_FIRST_TWO, n, &tested);
    applicability(json, "last_two", BENFORD_LAST_TWO, n, &tested);
    applicability(json, "distortion_factor_pct", BENFORD_FIRST_TWO, n, &tested);
    applicability(json, "summation", BENFORD_FIRST_TWO, n, &tested);
    applicability(json, "first_two_all_positive", BENFORD_FIRST_TWO, block->positive, &all);
    json_out_end_object(json);
}

static void benford(json_out_t *json, const block_t *block, int currency, int64_t low)
{
    uint64_t first[9] = {0}, second[10] = {0};
    int suspects[SUSPECTS_MAX];
    for (int i = 0; i < 90; i++) {
        first[i / 10] += block->first_two[i];
        second[i % 10] += block->first_two[i];
    }
    uint64_t n = total_of(first, 9);
    json_out_object(json, "benford");
    json_out_int(json, "min_minor", low);
    judged_fit(json, "first", BENFORD_FIRST, first);
    judged_fit(json, "second", BENFORD_SECOND, second);
    judged_fit(json, "first_two", BENFORD_FIRST_TWO, block->first_two);
    judged_fit(json, "last_two", BENFORD_LAST_TWO, block->last_two);
    if (n) {
        json_out_real(json, "distortion_factor_pct", benford_distortion(block->digit_sums, n));
        summation(json, block);
    }
    judged_fit(json, "first_two_all_positive", BENFORD_FIRST_TWO, block->first_two_all);
    if (n) {
        int found = benford_suspects(block->first_two, suspects);
        json_out_array(json, "suspects");
        for (int i = 0; i < found; i++) {
            json_out_int(json, NULL, suspects[i]);
        }
        json_out_end_array(json);
    }
    applicabilities(json, block, currency, low);
    json_out_end_object(json);
}

static void quantiles(json_out_t *json, const block_t *block)
{
    static const struct {
        const char *name;
        double q;
    } wanted[] = {{"p01", .01}, {"p25", .25}, {"p50", .5},  {"p75", .75},
                  {"p90", .9},  {"p95", .95}, {"p99", .99}, {"p999", .999}};
    int used = 0;
    for (int i = 0; i < HISTOGRAM_N; i++) {
        used += block->histogram[i] != 0;
    }
    json_out_object(json, "quantiles");
    json_out_object(json, "sketch_minor");
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int bucket = histogram_quantile(block->histogram, wanted[i].q);
        if (bucket < 0) {
            json_out_null(json, wanted[i].name);
        } else {
            json_out_int(json, wanted[i].name,
                         histogram_floor(bucket) + (histogram_width(bucket) >> 1));
        }
    }
    json_out_end_object(json);
    json_out_int(json, "buckets", used);
    json_out_end_object(json);
}

static void round_amounts(json_out_t *json, const block_t *block)
{
    double positive = block->positive ? (double)block->positive : 1;
    json_out_object(json, "round");
    json_out_int(json, "divisible_1000", block->round_1000);
    json_out_int(json, "divisible_100_not_1000", block->round_100);
    json_out_real(json, "share_100", (double)(block->round_1000 + block->round_100) / positive);
    json_out_end_object(json);
}

static void just_below(json_out_t *json, const block_t *block, const transaction_config_t *config)
{
    /* The share below t of a log-uniform density on [0.9t, 1.1t). */
    double p = log(1 / 0.9) / (log(1 / 0.9) + log(1.1));
    json_out_array(json, "just_below");
    for (int i = 0; i < config->thresholds_n; i++) {
        double below = (double)block->below[i], n = below + (double)block->above[i];
        json_out_object(json, NULL);
        json_out_int(json, "threshold_minor", config->thresholds[i]);
        json_out_int(json, "below_90_100", block->below[i]);
        json_out_int(json, "above_100_110", block->above[i]);
        if (n > 0) {
            json_out_real(json, "z", (below - n * p) / sqrt(n * p * (1 - p)));
        } else {
            json_out_null(json, "z");
        }
        json_out_end_object(json);
    }
    json_out_end_array(json);
}

static void times(json_out_t *json, const block_t *block)
{
    json_out_object(json, "time");
    json_out_counts(json, "dow_mon0", block->weekdays, 7);
    json_out_int(json, "weekend", block->weekend);
    json_out_counts(json, "hours", block->hours, 24);
    json_out_int(json, "after_hours", block->after_hours);
    json_out_end_object(json);
    json_out_array(json, "monthly");
    for (int i = 0; i < MONTHS_N; i++) {
        if (block->month_rows[i]) {
            char text[32];
            snprintf(text, sizeof text, "%04d-%02d", 1900 + i / 12, i % 12 + 1);
            json_out_object(json, NULL);
            json_out_text(json, "month", text);
            json_out_int(json, "rows", block->month_rows[i]);
            json_out_int(json, "sum_minor", block->month_sums[i]);
            json_out_end_object(json);
        }
    }
    json_out_end_array(json);
}

static void distinct(json_out_t *json, const block_t *block)
{
    static const char *const names[HLL_KINDS_N] = {
        [HLL_SRC] = "src", [HLL_DST] = "dst", [HLL_PAIR] = "pair_src_0x1f_dst"};
    json_out_object(json, "hll_p12");
    for (int k = 0; k < HLL_KINDS_N; k++) {
        char digest[SHA256_HEX];
        sha256_hex(block->registers[k], HLL_N, digest);
        json_out_object(json, names[k]);
        json_out_real(json, "estimate", hll_estimate(block->registers[k]));
        json_out_text(json, "registers_sha256", digest);
        json_out_end_object(json);
    }
    json_out_end_object(json);
}

static void scores(json_out_t *json, const block_t *block)
{
    uint64_t sum = 0;
    json_out_object(json, "item_rules");
    for (int i = 0; i < RULES_N; i++) {
        if (block->rule_rows[i]) {
            json_out_int(json, rule_name((rule_t)i), block->rule_rows[i]);
        }
    }
    json_out_end_object(json);
    json_out_object(json, "score_provisional");
    json_out_text(json, "text",
                  "for review: scores of the item rules alone; the context rules, which are not "
                  "part of this report, can only raise them");
    json_out_counts(json, "histogram", block->scores, SCORES_N);
    json_out_object(json, "bands");
    json_out_int(json, "low_0_24", total_of(block->scores, 25));
    json_out_int(json, "medium_25_49", total_of(block->scores + 25, 25));
    json_out_int(json, "high_50_74", total_of(block->scores + 50, 25));
    json_out_int(json, "critical_75_100", total_of(block->scores + 75, 26));
    json_out_end_object(json);
    for (uint64_t i = 0; i < SCORES_N; i++) {
        sum += i * block->scores[i];
    }
    json_out_int(json, "sum", sum);
    json_out_end_object(json);
}

void report_block(json_out_t *json, const block_t *block, int currency,
                  const transaction_config_t *config)
{
    totals(json, block);
    benford(json, block, currency, config->benford_min_minor);
    quantiles(json, block);
    round_amounts(json, block);
    just_below(json, block, config);
    times(json, block);
    distinct(json, block);
    scores(json, block);
}

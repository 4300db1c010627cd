#include "worker/tasks/benford.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Upper bounds of close, acceptable, marginal: Nigrini 2012. All 0: no published limits. */
static const struct {
    int groups, low;
    double limits[3];
} tests[BENFORD_TESTS_N] = {
    [BENFORD_FIRST] = {9, 1, {0.006, 0.012, 0.015}},
    [BENFORD_SECOND] = {10, 0, {0.008, 0.010, 0.012}},
    [BENFORD_FIRST_TWO] = {90, 10, {0.0012, 0.0018, 0.0022}},
    [BENFORD_LAST_TWO] = {100, 0, {0, 0, 0}},
};

int benford_groups(benford_test_t test)
{
    return tests[test].groups;
}

double benford_expected(benford_test_t test, int i)
{
    if (test == BENFORD_LAST_TWO) {
        return 0.01;
    }
    if (test != BENFORD_SECOND) {
        return log10(1 + 1.0 / (i + tests[test].low));
    }
    double share = 0;
    for (int k = 1; k <= 9; k++) {
        share += log10(1 + 1.0 / (10 * k + i));
    }
    return share;
}

/* Power series for small x, Lentz's continued fraction for large x (Numerical Recipes, 6.2). */
double upper_gamma(double s, double x)
{
    if (x <= 0) {
        return 1;
    }
    double scale = exp(-x + s * log(x) - lgamma(s));
    if (x < s + 1) {
        double term = 1 / s, sum = term;
        for (int n = 1; n <= 10000 && term >= sum * 1e-16; n++) {
            term *= x / (s + n);
            sum += term;
        }
        return fmax(0, 1 - sum * scale);
    }
    double b = x + 1 - s, c = 1e300, d = 1 / b, h = d;
    for (int i = 1; i < 10000; i++) {
        double a = -i * (i - s);
        b += 2;
        d = a * d + b;
        d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
        c = b + a / c;
        c = fabs(c) < 1e-300 ? 1e-300 : c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-15) {
            break;
        }
    }
    return scale * h;
}

/* The 1/(2n) continuity correction applies only where it is smaller than the difference. */
static double z_of(double share, double expected, double n)
{
    double difference = fabs(share - expected), correction = 1 / (2 * n);
    if (correction < difference) {
        difference -= correction;
    }
    return difference / sqrt(expected * (1 - expected) / n);
}

static int by_z(const void *left, const void *right)
{
    const benford_deviation_t *a = left, *b = right;
    if (a->z != b->z) {
        return a->z < b->z ? 1 : -1;
    }
    return a->digits - b->digits;
}

static const char *level_of(benford_test_t test, double mad)
{
    static const char *const levels[] = {"close", "acceptable", "marginal", "nonconformity"};
    if (test == BENFORD_LAST_TWO) {
        return NULL;
    }
    int level = 0;
    while (level < 3 && mad >= tests[test].limits[level]) {
        level++;
    }
    return levels[level];
}

void benford_fit(benford_fit_t *out, benford_test_t test, const uint64_t *counts)
{
    *out = (benford_fit_t){0};
    int k = tests[test].groups;
    for (int i = 0; i < k; i++) {
        out->n += counts[i];
    }
    if (out->n == 0) {
        return;
    }
    double n = (double)out->n, seen = 0, due = 0;
    benford_deviation_t all[BENFORD_GROUPS_MAX] = {{0}};
    for (int i = 0; i < k; i++) {
        double count = (double)counts[i], expected = benford_expected(test, i), share = count / n;
        out->mad += fabs(share - expected);
        out->chi2 += (count - n * expected) * (count - n * expected) / (n * expected);
        out->expected_mad += sqrt(2 * expected * (1 - expected) / (M_PI * n));
        seen += share;
        due += expected;
        out->ks_d = fmax(out->ks_d, fabs(seen - due));
        all[i] = (benford_deviation_t){.digits = i + tests[test].low,
                                       .count = counts[i],
                                       .z = z_of(share, expected, n),
                                       .over = share > expected};
        out->z_over += all[i].z > 1.96;
    }
    out->mad /= k;
    out->expected_mad /= k;
    out->df = k - 1;
    out->chi2_p = upper_gamma((k - 1) / 2.0, out->chi2 / 2);
    out->ks_limit = 1.36 / sqrt(n);
    out->level = level_of(test, out->mad);
    qsort(all, (size_t)k, sizeof *all, by_z);
    for (int i = 0; i < BENFORD_TOP_N; i++) {
        out->top[i] = all[i];
    }
}

double benford_distortion(const int128_t digit_sums[DIGITS_N], uint64_t n)
{
    double count = (double)n, actual = 0, power = 1;
    for (int k = 2; k < DIGITS_N; k++, power *= 10) {
        actual += (double)digit_sums[k] / power;
    }
    actual /= count;
    double expected = 90 / (count * (pow(10, 1 / count) - 1));
    return (actual - expected) / expected * 100;
}

static int by_number(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

int benford_suspects(const uint64_t first_two[90], int out[SUSPECTS_MAX])
{
    uint64_t total = 0;
    for (int i = 0; i < 90; i++) {
        total += first_two[i];
    }
    double n = (double)total, excess[SUSPECTS_MAX];
    int found = 0;
    for (int i = 0; i < 90 && total > 0; i++) {
        double expected = benford_expected(BENFORD_FIRST_TWO, i);
        double share = (double)first_two[i] / n, more = (double)first_two[i] - n * expected;
        if (share <= expected || z_of(share, expected, n) <= 2.576) {
            continue;
        }
        int at = found;
        while (at > 0 && excess[at - 1] < more) {
            at--;
        }
        if (at == SUSPECTS_MAX) {
            continue;
        }
        found += found < SUSPECTS_MAX;
        for (int j = found - 1; j > at; j--) {
            excess[j] = excess[j - 1];
            out[j] = out[j - 1];
        }
        excess[at] = more;
        out[at] = i + 10;
    }
    qsort(out, (size_t)found, sizeof *out, by_number);
    return found;
}

static uint64_t rows_between(const uint64_t *histogram, int from, int to)
{
    uint64_t n = 0;
    for (int i = from; i < to && i < HISTOGRAM_N; i++) {
        n += histogram[i];
    }
    return n;
}

/* 0 if no edge is steep enough. A steep octave says that there is one; the largest step between
 * octaves says where. Buckets below 128 are no octaves: edges start above. */
static int64_t find_edge(const uint64_t *histogram, int64_t tested_from)
{
    int start = histogram_bucket(tested_from < (INT64_C(1) << 59) ? tested_from : INT64_C(1) << 59);
    uint64_t tested = rows_between(histogram, start, HISTOGRAM_N), largest = 0;
    int from = start + 16 > 128 ? start + 16 : 128, edge = 0;
    bool steep = false;
    for (int b = from; b < HISTOGRAM_N; b++) {
        uint64_t above = rows_between(histogram, b, b + 64);
        uint64_t below = rows_between(histogram, b - 64, b);
        if (above > below && above - below > largest) {
            largest = above - below;
            edge = b;
        }
        steep = steep || (above * 20 >= tested && above > 8 * (below + 1));
    }
    return steep ? histogram_floor(edge) : 0;
}

static int64_t middle(int bucket)
{
    return bucket < 0 ? 0 : histogram_floor(bucket) + histogram_width(bucket) / 2;
}

void population_of(population_t *out, const block_t *block, int currency, int64_t tested_from)
{
    out->p01 = middle(histogram_quantile(block->histogram, 0.01));
    out->p99 = middle(histogram_quantile(block->histogram, 0.99));
    out->truncated_at = find_edge(block->histogram, tested_from);
    out->exponent = currency_exponent(currency);
}

void benford_applicability(applicability_t *out, benford_test_t test, uint64_t n,
                           const population_t *population)
{
    uint64_t needed = test == BENFORD_FIRST ? 1000 : 5000;
    *out = (applicability_t){.applicable = false};
    if (n < needed) {
        snprintf(out->why, sizeof out->why,
                 "not applicable: %llu amounts, at least %llu are needed", (unsigned long long)n,
                 (unsigned long long)needed);
    } else if (test == BENFORD_LAST_TWO) {
        out->applicable = population->exponent == 2;
        snprintf(out->why, sizeof out->why, "%s",
                 out->applicable ? "" : "not applicable: the currency does not have two decimals");
    } else if (population->p01 < 1 || population->p99 / 100 < population->p01) {
        snprintf(
            out->why, sizeof out->why,
            "not applicable: p99/p01 is %.1f, at least 100 (two orders of magnitude) is needed",
            population->p01 < 1 ? 0.0 : (double)population->p99 / (double)population->p01);
    } else if (population->truncated_at > 0) {
        snprintf(out->why, sizeof out->why,
                 "not applicable: amounts below about %lld minor units are missing, inside the "
                 "tested range",
                 (long long)population->truncated_at);
    } else {
        out->applicable = true;
    }
}

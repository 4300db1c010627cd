/* benford: the digit tests of a whole population, and when they may be judged.
 *
 * Lives here: expected shares, goodness of fit, the summation test, the distortion factor,
 * suspects, applicability. Formulas: Nigrini, Benford's Law (Wiley 2012). Only a finalize calls
 * this: never for one batch. Pure; floats. */
#ifndef STINT_WORKER_BENFORD_H
#define STINT_WORKER_BENFORD_H

#include "worker/tasks/statistics.h"

typedef enum {
    BENFORD_FIRST,
    BENFORD_SECOND,
    BENFORD_FIRST_TWO,
    BENFORD_LAST_TWO,
    BENFORD_TESTS_N
} benford_test_t;

enum { BENFORD_TOP_N = 5, SUSPECTS_MAX = 5, BENFORD_GROUPS_MAX = 100 };

typedef struct {
    int digits; /* 1..9, 0..9, 10..99 or 0..99 */
    uint64_t count;
    double z;
    bool over; /* more than expected */
} benford_deviation_t;

typedef struct {
    uint64_t n; /* 0: nothing else is set */
    double mad, expected_mad, chi2, chi2_p, ks_d, ks_limit;
    int df, z_over;                         /* z_over: groups with Z > 1.96 */
    benford_deviation_t top[BENFORD_TOP_N]; /* by Z descending, then digits */
    const char *level;                      /* of the MAD, NULL for the last-two test */
} benford_fit_t;

/* Groups of a test: 9, 10, 90, 100. */
int benford_groups(benford_test_t test);
/* Expected share of group i (0-based). */
double benford_expected(benford_test_t test, int i);
void benford_fit(benford_fit_t *out, benford_test_t test, const uint64_t *counts);

/* Regularised upper incomplete gamma function Q(s, x); the chi-square p-value is Q(df/2, chi2/2).
 */
double upper_gamma(double s, double x);

/* (AM - EM) / EM in per cent, of n > 0 amounts. digit_sums[k] = sum of the amounts of k digits. */
double benford_distortion(const int128_t digit_sums[DIGITS_N], uint64_t n);

/* First-two groups over-represented with Z > 2.576, at most SUSPECTS_MAX by excess count;
 * ascending. Returns how many. */
int benford_suspects(const uint64_t first_two[90], int out[SUSPECTS_MAX]);

/* What must be known of a population before a test on it may be judged. */
typedef struct {
    int64_t p01, p99;     /* of the positive amounts, 0 = none */
    int64_t truncated_at; /* amounts below this seem to be missing, 0 = no such edge */
    int exponent;         /* of the currency */
} population_t;

/* `tested_from`: the smallest amount that takes part in the tests. The population counts as
 * truncated inside the tested range if somewhere above tested_from + 25 % an octave [t, 2t) that
 * holds at least 5 % of the tested amounts has over 8 times the rows of the octave below it. A
 * smooth population spread enough to be tested (log-normal with sigma >= 1) stays under 5 between
 * p01 and p99. */
void population_of(population_t *out, const block_t *block, int currency, int64_t tested_from);

typedef struct {
    bool applicable;
    char why[160]; /* "not applicable: ..."; "" if applicable */
} applicability_t;

/* FORENSICS' rules: n >= 1,000 (first) or 5,000 (all others), p99/p01 >= 100, not truncated;
 * last-two needs two decimals but neither spread nor an untruncated population. */
void benford_applicability(applicability_t *out, benford_test_t test, uint64_t n,
                           const population_t *population);

#endif

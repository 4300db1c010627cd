#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "worker/tasks/benford.h"
#include "worker/tasks/sketch.h"

static void near(double got, double want)
{
    ck_assert_msg(fabs(got - want) <= 1e-9 * fabs(want), "%.15g, not %.15g", got, want);
}

START_TEST(test_buckets_meet_without_gap_and_hold_their_values)
{
    int64_t edge = 0;
    for (int b = 0; b < HISTOGRAM_N && edge < (INT64_C(1) << 60); b++) {
        ck_assert_int_eq(histogram_floor(b), edge);
        ck_assert_int_eq(histogram_bucket(edge), b);
        edge += histogram_width(b);
        ck_assert_int_eq(histogram_bucket(edge - 1), b);
        ck_assert(b < 128 || histogram_width(b) * 64 <= histogram_floor(b));
    }
    ck_assert_int_eq(edge, INT64_C(1) << 60);
    ck_assert_int_lt(histogram_bucket(INT64_C(999999999999999999)), HISTOGRAM_N);
}
END_TEST

START_TEST(test_quantile_is_the_bucket_of_its_rank)
{
    uint64_t *counts = mem_zero(HISTOGRAM_N * sizeof *counts);
    ck_assert_int_eq(histogram_quantile(counts, 0.5), -1);
    counts[7] = 1;
    counts[9] = 98;
    counts[500] = 1;
    ck_assert_int_eq(histogram_quantile(counts, 0), 7);
    ck_assert_int_eq(histogram_quantile(counts, 0.01), 7);
    ck_assert_int_eq(histogram_quantile(counts, 0.02), 9);
    ck_assert_int_eq(histogram_quantile(counts, 0.99), 9);
    ck_assert_int_eq(histogram_quantile(counts, 1), 500);
    free(counts);
}
END_TEST

START_TEST(test_hash_and_registers_are_the_published_ones)
{
    /* FNV-1a 64 of "a" and "foobar", from the authors' test vectors. */
    ck_assert_uint_eq(hash_add(HASH_START, "a", 1), UINT64_C(0xaf63dc4c8601ec8c));
    ck_assert_uint_eq(hash_add(hash_add(HASH_START, "foo", 3), "bar", 3),
                      UINT64_C(0x85944171f73967e8));
    ck_assert_uint_eq(hash_finish(0), 0);
    uint8_t registers[HLL_N] = {0};
    hll_add(registers, UINT64_C(0xfff8000000000000));
    ck_assert_int_eq(registers[4095], 1);
    hll_add(registers, UINT64_C(0xfff0000000000001));
    ck_assert_int_eq(registers[4095], 52);
    hll_add(registers, UINT64_C(0xfff0000000000000));
    ck_assert_int_eq(registers[4095], HLL_RANK_MAX);
    hll_add(registers, UINT64_C(0xfff8000000000000));
    ck_assert_int_eq(registers[4095], HLL_RANK_MAX);
}
END_TEST

START_TEST(test_distinct_estimate_is_within_five_sigma)
{
    static const int sizes[] = {0, 1, 100, 4000, 100000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint8_t registers[HLL_N] = {0};
        for (int i = 0; i < sizes[s]; i++) {
            char text[20];
            int n = snprintf(text, sizeof text, "S%d", i);
            hll_add(registers, hash_finish(hash_add(HASH_START, text, (size_t)n)));
        }
        ck_assert_double_le(fabs(hll_estimate(registers) - sizes[s]), 0.08 * sizes[s]);
    }
}
END_TEST

START_TEST(test_upper_gamma_equals_closed_forms)
{
    /* Q(1, x) = exp(-x); Q(1/2, x) = erfc(sqrt x); Q(4, x) = exp(-x)(1 + x + x^2/2 + x^3/6): both
     * branches. */
    for (double x = 0.125; x < 40; x *= 2) {
        near(upper_gamma(1, x), exp(-x));
        near(upper_gamma(4, x), exp(-x) * (1 + x + x * x / 2 + x * x * x / 6));
        near(upper_gamma(0.5, x), erfc(sqrt(x)));
    }
    ck_assert_double_eq(upper_gamma(4, 0), 1);
    /* The 5 % points of chi-square with 8 and 89 degrees of freedom, from printed tables. */
    ck_assert_double_le(fabs(upper_gamma(4, 15.507 / 2) - 0.05), 1e-5);
    ck_assert_double_le(fabs(upper_gamma(44.5, 112.022 / 2) - 0.05), 1e-5);
}
END_TEST

START_TEST(test_expected_shares_add_up_to_one)
{
    for (int t = 0; t < BENFORD_TESTS_N; t++) {
        double sum = 0;
        for (int i = 0; i < benford_groups((benford_test_t)t); i++) {
            sum += benford_expected((benford_test_t)t, i);
        }
        near(sum, 1);
    }
    ck_assert_double_le(fabs(benford_expected(BENFORD_FIRST, 0) - 0.30103), 1e-6);
    ck_assert_double_le(fabs(benford_expected(BENFORD_SECOND, 0) - 0.11968), 1e-5);
}
END_TEST

START_TEST(test_fit_of_known_first_digits)
{
    /* The first digits of the Devon set, with the reference's results. */
    static const uint64_t counts[] = {325970, 134373, 70937, 42680, 28944,
                                      22002,  17143,  14547, 12920};
    benford_fit_t fit;
    benford_fit(&fit, BENFORD_FIRST, counts);
    ck_assert_uint_eq(fit.n, 669516);
    near(fit.mad, 0.04676767696);
    near(fit.expected_mad, 0.000287015123);
    near(fit.chi2, 144880.1284);
    near(fit.ks_d, 0.2104545463);
    near(fit.ks_limit, 0.001662104894);
    ck_assert_int_eq(fit.df, 8);
    ck_assert_int_eq(fit.z_over, 9);
    ck_assert_int_eq(fit.top[1].digits, 7);
    near(fit.top[1].z, 113.3779149);
    ck_assert(fit.top[0].over && !fit.top[1].over);
    ck_assert_str_eq(fit.level, "nonconformity");
    static const uint64_t none[9];
    benford_fit(&fit, BENFORD_FIRST, none);
    ck_assert_uint_eq(fit.n, 0);
}
END_TEST

START_TEST(test_first_two_digits_of_edges)
{
    static const int64_t in[] = {1,   9,    10,    99,     100,
                                 999, 1000, 99999, 100000, INT64_C(987654321098765432)};
    static const int out[] = {10, 90, 10, 99, 10, 99, 10, 99, 10, 98};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        ck_assert_int_eq(first_two_digits(in[i]), out[i]);
    }
}
END_TEST

START_TEST(test_suspects_are_the_five_largest_excesses_ascending)
{
    uint64_t counts[90];
    int found[SUSPECTS_MAX];
    for (int i = 0; i < 90; i++) {
        counts[i] = (uint64_t)llround(100000 * benford_expected(BENFORD_FIRST_TWO, i));
    }
    ck_assert_int_eq(benford_suspects(counts, found), 0);
    static const int raised[] = {80, 3, 40, 60, 10, 25};
    for (uint64_t i = 0; i < 6; i++) {
        counts[raised[i]] += 600 + 300 * i;
    }
    ck_assert_int_eq(benford_suspects(counts, found), 5);
    static const int expected[] = {13, 20, 35, 50, 70}; /* 90 has the smallest excess */
    ck_assert_int_eq(memcmp(found, expected, sizeof expected), 0);
    static const uint64_t none[90];
    ck_assert_int_eq(benford_suspects(none, found), 0);
}
END_TEST

START_TEST(test_distortion_is_zero_for_evenly_spread_logarithms)
{
    int128_t sums[DIGITS_N] = {0};
    uint64_t n = 100000;
    for (uint64_t i = 0; i < n; i++) {
        double m = pow(10, 3 + 3 * ((double)i + 0.5) / (double)n);
        sums[(int)log10(m) + 1] += (int128_t)m;
    }
    ck_assert_double_le(fabs(benford_distortion(sums, n)), 0.1);
}
END_TEST

START_TEST(test_applicability_has_all_four_conditions)
{
    applicability_t out;
    population_t good = {.p01 = 1000, .p99 = 100000, .exponent = 2}, bad;
    benford_applicability(&out, BENFORD_FIRST_TWO, 5000, &good);
    ck_assert(out.applicable && out.why[0] == 0);
    benford_applicability(&out, BENFORD_FIRST_TWO, 4999, &good);
    ck_assert(!out.applicable && strstr(out.why, "at least 5000"));
    benford_applicability(&out, BENFORD_FIRST, 1000, &good);
    ck_assert(out.applicable);
    benford_applicability(&out, BENFORD_FIRST, 999, &good);
    ck_assert(!out.applicable);
    bad = good;
    bad.p01 = 1001;
    benford_applicability(&out, BENFORD_FIRST, 9999, &bad);
    ck_assert(!out.applicable && strstr(out.why, "p99/p01"));
    benford_applicability(&out, BENFORD_LAST_TWO, 9999, &bad);
    ck_assert(out.applicable);
    bad = good;
    bad.truncated_at = 50000;
    benford_applicability(&out, BENFORD_SECOND, 9999, &bad);
    ck_assert(!out.applicable && strstr(out.why, "below about 50000"));
    bad = good;
    bad.exponent = 0;
    benford_applicability(&out, BENFORD_LAST_TWO, 9999, &bad);
    ck_assert(!out.applicable);
    benford_applicability(&out, BENFORD_FIRST, 0, &(population_t){0});
    ck_assert(!out.applicable && strstr(out.why, "0 amounts"));
}
END_TEST

START_TEST(test_truncation_is_an_edge_inside_the_tested_range)
{
    block_t *block = mem_zero(sizeof *block);
    population_t out;
    for (int i = 0; i < 20000; i++) {
        block->histogram[histogram_bucket((int64_t)pow(10, 4.7 + 3 * i / 20000.0))]++;
    }
    population_of(&out, block, 0, 1000);
    ck_assert_int_ge(out.truncated_at, 49000);
    ck_assert_int_le(out.truncated_at, 51000);
    population_of(&out, block, 0, 100000); /* the edge lies below the tested range */
    ck_assert_int_eq(out.truncated_at, 0);
    memset(block, 0, sizeof *block);
    for (int i = 1; i < 20000; i++) { /* log-normal, sigma 1: smooth */
        double u = i / 20000.0, v = sqrt(-2 * log(u < 0.5 ? u : 1 - u));
        double z = v - (2.515517 + 0.802853 * v + 0.010328 * v * v) /
                           (1 + 1.432788 * v + 0.189269 * v * v + 0.001308 * v * v * v);
        block->histogram[histogram_bucket((int64_t)exp(12 + (u < 0.5 ? -z : z)))]++;
    }
    population_of(&out, block, 0, 1000);
    ck_assert_int_eq(out.truncated_at, 0);
    free(block);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("benford");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_buckets_meet_without_gap_and_hold_their_values);
    tcase_add_test(rules, test_quantile_is_the_bucket_of_its_rank);
    tcase_add_test(rules, test_hash_and_registers_are_the_published_ones);
    tcase_add_test(rules, test_distinct_estimate_is_within_five_sigma);
    tcase_add_test(rules, test_upper_gamma_equals_closed_forms);
    tcase_add_test(rules, test_expected_shares_add_up_to_one);
    tcase_add_test(rules, test_fit_of_known_first_digits);
    tcase_add_test(rules, test_first_two_digits_of_edges);
    tcase_add_test(rules, test_suspects_are_the_five_largest_excesses_ascending);
    tcase_add_test(rules, test_distortion_is_zero_for_evenly_spread_logarithms);
    tcase_add_test(rules, test_applicability_has_all_four_conditions);
    tcase_add_test(rules, test_truncation_is_an_edge_inside_the_tested_range);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

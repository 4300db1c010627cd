/* sketch: the two constant-size, order-free summaries: a log-linear histogram and HyperLogLog.
 *
 * Lives here: bucket arithmetic, quantiles, the hash, registers. Merging is addition (histogram) or
 * the maximum (registers), so neither order nor batch borders can change a result. Pure. */
#ifndef STINT_WORKER_SKETCH_H
#define STINT_WORKER_SKETCH_H

#include <stddef.h>
#include <stdint.h>

enum {
    /* Amounts are below 10^18 < 2^60, whose last bucket is 64 * 53 + 127. */
    HISTOGRAM_N = 64 * 53 + 128,
    HLL_BITS = 12,
    HLL_N = 1 << HLL_BITS,
    /* 64 - 12 bits of rest, and one: the rank of an all-zero rest. */
    HLL_RANK_MAX = 64 - HLL_BITS + 1,
};

/* 64 buckets an octave: b(m) = m below 128, else e = bitlen(m) - 7, b = 64 e + (m >> e). m in
 * 0..2^60-1. */
int histogram_bucket(int64_t m);
/* Lower edge and width of a bucket. */
int64_t histogram_floor(int bucket);
int64_t histogram_width(int bucket);
/* The bucket that holds rank ceil(q n) of the n values, counted from 1; -1 if n is 0. */
int histogram_quantile(const uint64_t counts[HISTOGRAM_N], double q);

/* FNV-1a 64, in steps: start with HASH_START, add bytes, then finish (murmur3's fmix64). */
#define HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t hash_add(uint64_t state, const void *data, size_t n);
uint64_t hash_finish(uint64_t state);

/* Index = top 12 bits, rank = leading zeros of the rest + 1. */
void hll_add(uint8_t registers[HLL_N], uint64_t hash);
/* Flajolet 2007 with linear counting up to 2.5 * 4096. */
double hll_estimate(const uint8_t registers[HLL_N]);

#endif

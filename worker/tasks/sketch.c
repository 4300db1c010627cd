#include "worker/tasks/sketch.h"

#include <math.h>

int histogram_bucket(int64_t m)
{
    if (m < 128) {
        return (int)m;
    }
    int e = 64 - __builtin_clzll((unsigned long long)m) - 7;
    return 64 * e + (int)(m >> e);
}

int64_t histogram_floor(int bucket)
{
    if (bucket < 128) {
        return bucket;
    }
    int e = bucket / 64 - 1;
    return (int64_t)(bucket - 64 * e) << e;
}

int64_t histogram_width(int bucket)
{
    return bucket < 128 ? 1 : INT64_C(1) << (bucket / 64 - 1);
}

int histogram_quantile(const uint64_t counts[HISTOGRAM_N], double q)
{
    uint64_t n = 0;
    for (int i = 0; i < HISTOGRAM_N; i++) {
        n += counts[i];
    }
    if (n == 0) {
        return -1;
    }
    double wanted = ceil(q * (double)n);
    uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted, passed = 0;
    for (int i = 0; i < HISTOGRAM_N; i++) {
        passed += counts[i];
        if (passed >= rank) {
            return i;
        }
    }
    return HISTOGRAM_N - 1;
}

uint64_t hash_add(uint64_t state, const void *data, size_t n)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < n; i++) {
        state = (state ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return state;
}

uint64_t hash_finish(uint64_t state)
{
    state ^= state >> 33;
    state *= UINT64_C(0xff51afd7ed558ccd);
    state ^= state >> 33;
    state *= UINT64_C(0xc4ceb9fe1a85ec53);
    return state ^ state >> 33;
}

void hll_add(uint8_t registers[HLL_N], uint64_t hash)
{
    uint64_t rest = hash << HLL_BITS;
    int rank = rest ? __builtin_clzll(rest) + 1 : HLL_RANK_MAX;
    uint8_t *at = &registers[hash >> (64 - HLL_BITS)];
    if (rank > *at) {
        *at = (uint8_t)rank;
    }
}

double hll_estimate(const uint8_t registers[HLL_N])
{
    double sum = 0;
    int zeros = 0;
    for (int i = 0; i < HLL_N; i++) {
        sum += ldexp(1, -registers[i]);
        zeros += registers[i] == 0;
    }
    double m = HLL_N, estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    if (estimate <= 2.5 * m && zeros > 0) {
        estimate = m * log(m / zeros);
    }
    return estimate;
}

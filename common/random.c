#include "common/random.h"

uint64_t random_u64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t n)
{
    /* The lowest 2^64 mod n values would make small results likelier: draw again. */
    uint64_t skip = (0 - n) % n;
    uint64_t drawn = random_u64(state);
    while (drawn < skip) {
        drawn = random_u64(state);
    }
    return drawn % n;
}

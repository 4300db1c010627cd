/* random: numbers for jitter and for tests, not for secrets.
 *
 * Lives here: splitmix64 (Steele, Lea, Flood 2014), one word of state that the caller owns, so that
 * the same seed gives the same run. Not here: where a seed comes from (getrandom, in the glue). */
#ifndef STINT_COMMON_RANDOM_H
#define STINT_COMMON_RANDOM_H

#include <stdint.h>

/* Any state is a good one, also 0. */
uint64_t random_u64(uint64_t *state);
/* Uniform in 0..n-1; n must not be 0. */
uint64_t random_below(uint64_t *state, uint64_t n);

#endif

/* backoff: how long to wait before trying again.
 *
 * Exponential with full jitter: uniform in 0..min(cap, base * 2^(attempt - 1)), so that what failed
 * together does not return together. Pure: the caller owns the random state (common/random.h). */
#ifndef STINT_COMMON_BACKOFF_H
#define STINT_COMMON_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_BASE_MS = 1000, BACKOFF_CAP_MS = 60000 };

/* `attempt` counts the failures so far, 1 for the first; 0 is taken as 1. */
int64_t backoff_ms(uint32_t attempt, uint64_t *random_state);
/* The upper end of that range. */
int64_t backoff_ceiling_ms(uint32_t attempt);

#endif

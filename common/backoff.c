#include "common/backoff.h"

#include "common/random.h"

int64_t backoff_ceiling_ms(uint32_t attempt)
{
    int64_t ceiling = BACKOFF_BASE_MS;
    for (uint32_t i = 1; i < attempt && ceiling < BACKOFF_CAP_MS; i++) {
        ceiling *= 2;
    }
    return ceiling < BACKOFF_CAP_MS ? ceiling : BACKOFF_CAP_MS;
}

int64_t backoff_ms(uint32_t attempt, uint64_t *random_state)
{
    return (int64_t)random_below(random_state, (uint64_t)backoff_ceiling_ms(attempt) + 1);
}

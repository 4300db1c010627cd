#include "worker/guard.h"

guard_t guard_new(int64_t from_ms, int64_t lease_ms)
{
    if (lease_ms <= 0) {
        lease_ms = GUARD_LEASE_DEFAULT_MS;
    }
    if (lease_ms > GUARD_LEASE_MAX_MS) {
        lease_ms = GUARD_LEASE_MAX_MS;
    }
    return (guard_t){.kill_at = from_ms + lease_ms * 2 / 3, .child_at = from_ms + lease_ms * 3 / 4};
}

bool guard_extend(guard_t *self, int64_t from_ms, int64_t lease_ms)
{
    guard_t next = guard_new(from_ms, lease_ms);
    if (next.kill_at <= self->kill_at) {
        return false;
    }
    *self = next;
    return true;
}

bool guard_over(const guard_t *self, int64_t now_ms)
{
    return now_ms >= self->kill_at;
}

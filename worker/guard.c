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
    self->kill_at = next.kill_at;
    /* A shorter lease moves the two by different spans. */
    self->child_at = next.child_at > self->child_at ? next.child_at : self->child_at;
    return true;
}

bool guard_over(const guard_t *self, int64_t now_ms)
{
    return now_ms >= self->kill_at;
}

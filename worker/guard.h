/* guard: when a worker must give up a batch because its lease may end.
 *
 * Pure (PROTOCOL.md P25, P27). The store's lease lasts `lease_ms` from a moment that is never
 * before `from_ms` here: the sending of ACCEPTED, or of the heartbeat that was answered. The parent
 * kills at 2/3 of it, the child at 3/4 in case the parent is stopped; both before the store gives
 * the batch to another. */
#ifndef STINT_WORKER_GUARD_H
#define STINT_WORKER_GUARD_H

#include <stdbool.h>
#include <stdint.h>

enum { GUARD_LEASE_DEFAULT_MS = 30000, GUARD_LEASE_MAX_MS = 86400000 };

typedef struct {
    int64_t kill_at;  /* the parent's moment */
    int64_t child_at; /* the child's own, later than kill_at */
} guard_t;

/* lease_ms from the wire: 0 or less is the default, at most a day counts. */
guard_t guard_new(int64_t from_ms, int64_t lease_ms);
/* A lease confirmed from `from_ms` on; true if that moves the moments on. They never go back: an
 * answer that comes late proves no less than a newer one that came before it. */
bool guard_extend(guard_t *self, int64_t from_ms, int64_t lease_ms);
bool guard_over(const guard_t *self, int64_t now_ms);

#endif

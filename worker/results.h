/* results: outcomes that the store has not yet acknowledged (PROTOCOL.md P23).
 *
 * Pure. Lives here: RESULT and FAILURE messages, each until RECORDED or DISCARDED, and when to send
 * it again. Not here: through which broker. */
#ifndef STINT_WORKER_RESULTS_H
#define STINT_WORKER_RESULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"

enum { RESULTS_AGAIN_MS = 2000 };

typedef struct results results_t;
results_t *results_new(void);
void results_destroy(results_t **self);

/* Keep an outcome; it is due at once. Takes the frames. */
void results_add(results_t *self, wire_lease_ref_t attempt, frames_t *frames);
/* RECORDED or DISCARDED; false if nothing of that attempt is kept. */
bool results_forget(results_t *self, wire_lease_ref_t attempt);
/* The next outcome that is due, as new references that the caller sends; it is due again after
 * RESULTS_AGAIN_MS. */
bool results_due(results_t *self, int64_t now_ms, frames_t *out);
/* When results_due next gives something, INT64_MAX if nothing is kept. */
int64_t results_next_at(const results_t *self);
uint64_t results_bytes(const results_t *self);
uint32_t results_n(const results_t *self);

#endif

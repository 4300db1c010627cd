/* window: "n starts in any window of that many milliseconds", exactly.
 *
 * Lives here: the pure limiter: a ring of the last n start times (boot clock). Not here: where it
 * is kept over a restart (worker/start_log). In no window [t, t + window) lie more than n starts,
 * wherever t is. */
#ifndef STINT_COMMON_WINDOW_H
#define STINT_COMMON_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum { WINDOW_MAX = 10000 };

typedef struct window window_t;

/* n 1..WINDOW_MAX; window_ms > 0. */
window_t *window_new(uint32_t n, int64_t window_ms);
void window_destroy(window_t **self);
/* Change the limit, keeping the newest starts that still count. */
void window_set(window_t *self, uint32_t n, int64_t window_ms);
/* How many more starts are allowed at `now`. */
uint32_t window_free(const window_t *self, int64_t now);
/* Starts that count at `now`. */
uint32_t window_used(const window_t *self, int64_t now);
/* The earliest time at which window_free() is at least 1; `now` if it is. */
int64_t window_free_at(const window_t *self, int64_t now);
/* Note a start; also one that is over the limit (it counts all the same). Times may not go back: an
 * earlier one is taken as the newest already there. */
void window_start(window_t *self, int64_t now);
/* Nothing is known of the past: count as if all n starts had been made at `now`. */
void window_fill(window_t *self, int64_t now);

#endif

/* rates: what a worker knows of each task it offers: limit, starts in the window, how long a batch
 * takes.
 *
 * Pure. Lives here: the own limit and the store's override of it, and the mean duration that
 * lookahead follows. Not here: tickets (tickets.h). Times are the core's now_ms; see core.h for how
 * they outlive the process. */
#ifndef STINT_WORKER_RATES_H
#define STINT_WORKER_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/task_table.h"
#include "common/window.h"
#include "common/wire.h"

enum {
    RATES_MAX = 64, /* tasks of a HELLO: bits of a ticket */
    /* Between the core's now and the child's first instruction lie a log line, a pipe and the
     * system's scheduler, each time another delay. The window is kept that much longer, so that
     * also true starts keep the limit. */
    RATES_SLACK_MS = 20,
    RATES_SHORT_US = 5000, /* a task under that is worth lookahead */
    RATES_AHEAD_MAX = 256, /* batches a slot, at most */
};

typedef struct {
    const task_spec_t *spec;
    uint32_t own_n, rate_n; /* this worker's limit, and the one in force; 0 = unlimited */
    int64_t own_window_ms, rate_window_ms;
    window_t *window;   /* NULL = unlimited */
    double mean_us;     /* of a batch, 0 = not measured */
    uint32_t waiting_n; /* accepted, not started: each has a token reserved */
} rate_t;

typedef struct {
    rate_t tasks[RATES_MAX];
    int n;
} rates_t;

/* "10/m", "5/10s", "3/200ms" or "off" (n 0): the setting `rate`. ERR_CONFIG says what was expected.
 */
CHECKED err_t rates_parse(const char *text, uint32_t *n, int64_t *window_ms);

/* Append a task; n 0 = unlimited. At most RATES_MAX. */
void rates_add(rates_t *self, const task_spec_t *spec, uint32_t n, int64_t window_ms);
void rates_free(rates_t *self);
/* Index of a task, or -1. */
int rates_find(const rates_t *self, str_t task);
/* The overrides of a HEARTBEAT_OK: tasks not in it fall back to the worker's own limit. A limit
 * over WINDOW_MAX is taken as that; one without a window is ignored. A task that was unlimited has
 * no past: it begins with a full window. */
void rates_override(rates_t *self, const wire_limit_t *limits, uint32_t n, int64_t now_ms);

/* Starts that may still be promised: free places minus batches that wait; UINT32_MAX if unlimited.
 */
uint32_t rates_tokens(const rate_t *self, int64_t now_ms);
/* May it start now? */
bool rates_may_start(const rate_t *self, int64_t now_ms);
/* When rates_tokens can next be over 0; now_ms if it is, INT64_MAX if a batch that waits must start
 * first. */
int64_t rates_token_at(const rate_t *self, int64_t now_ms);

void rates_measure(rate_t *self, int64_t duration_us);
/* How many batches beyond its running one a slot may hold: none for a limited, long or never
 * measured task. */
uint32_t rates_ahead(const rate_t *self);

#endif

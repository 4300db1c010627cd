/* planner: which ticks are due, and which of them the store has answered.
 *
 * Lives here: the snapshot of the schedules, a heap of what is next, catch-up of missed ticks,
 * repetition of unanswered ones.  Not here: the network and the ledger.  The store is the ledger:
 * it makes one job per (schedule, nominal time), so any number of planners may emit the same tick.
 * Pure: every `now_ms` is the store's wall clock as the glue estimates it.
 *
 * A schedule has at most one tick in the air; ticks of one schedule are emitted in order. */
#ifndef STINT_SCHEDULER_PLANNER_H
#define STINT_SCHEDULER_PLANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "scheduler/zone.h"

enum {
    PLANNER_SCHEDULES_MAX = 100000,
    PLANNER_TEXT_N = 128,          /* bytes of a name or an expression */
    PLANNER_LATE_MS = 60 * 1000,   /* a tick older than this at first sight was missed */
    PLANNER_RETRY_MS = 2000,       /* first repetition of an unanswered tick; doubles up to ... */
    PLANNER_RETRY_MAX_MS = 16000,  /* ... this, which is also the pause after a refusal */
    PLANNER_CATCH_UP_N = 100,      /* PLANNER_ALL: the newest so many ... */
    PLANNER_HORIZON_MS = 86400000, /* ... of this long */
    PLANNER_TURN_N = 1000,         /* ticks of one planner_due */
};

/* What becomes of missed ticks: nothing, the newest one fires, all fire within the limits above. */
typedef enum { PLANNER_NONE, PLANNER_LAST, PLANNER_ALL } planner_catch_up_t;

/* One schedule as the store has it; texts are borrowed during planner_snapshot. */
typedef struct {
    const char *name, *expression, *zone;
    planner_catch_up_t catch_up;
    int64_t last_tick_at; /* nominal time of its newest tick in the ledger; 0 = none */
    int64_t
        since_at; /* created, edited or resumed: nothing before counts as missed; 0 = not known */
    int64_t revision;
    bool paused;
} planner_schedule_t;

/* A tick to send; `schedule` is valid until the next snapshot. */
typedef struct {
    const char *schedule;
    int64_t revision;
    int64_t nominal_at;
    bool caught_up; /* it was missed and its policy fires it now */
} planner_tick_t;

/* duplicate: it exists already, another scheduler was first.  refused: the store would not have it
 * (another revision, its clock is behind ...); it is offered again later unless a new snapshot
 * settles it. */
typedef enum { PLANNER_ACCEPTED, PLANNER_DUPLICATE, PLANNER_REFUSED } planner_answer_t;

/* May call planner_answer of the same planner, not planner_snapshot. */
typedef void planner_emit_t(void *context, const planner_tick_t *tick);

typedef struct planner planner_t;

/* `zones` is borrowed and outlives the planner. */
planner_t *planner_new(zones_t *zones);
void planner_destroy(planner_t **self);

/* Replace all schedules. A tick in the air is kept if its schedule has the same name and revision
 * and the ledger is not beyond it. Schedules that cannot be understood are left out and counted
 * (planner_broken_n); ERR_LIMIT and ERR_INVALID (a name twice or none) change nothing. */
CHECKED err_t planner_snapshot(planner_t *self, const planner_schedule_t *rows, size_t n,
                               int64_t now_ms);

/* Emit what is due, oldest wake-up first, at most PLANNER_TURN_N ticks (planner_next_at then says
 * `now`). */
void planner_due(planner_t *self, int64_t now_ms, planner_emit_t *emit, void *context);

/* The store's answer. False if nobody waits for it (a late or repeated answer). */
bool planner_answer(planner_t *self, const char *schedule, int64_t nominal_at,
                    planner_answer_t answer);

/* When to call planner_due again; INT64_MAX if nothing is ever due. */
int64_t planner_next_at(const planner_t *self);

/* Schedules left out of the last snapshot, and the sentence about the first of them ("" if none).
 */
size_t planner_broken_n(const planner_t *self);
const char *planner_broken_text(const planner_t *self);

#endif

/* cron: when a schedule's rule fires, on the calendar and in a zone.
 *
 * Lives here: the grammar of expressions, the jump to the next match, and the meaning of daylight
 * saving for it. Not here: zones themselves (zone.h), what to do about a missed tick (planner.h).
 * Pure: no clock, no I/O.
 *
 * Expressions, at most CRON_TEXT_N bytes:
 *   minute hour day-of-month month day-of-week   as crontab(5) of Vixie cron: `*`, 5, 1-5, 1-59/2,
 * lists of those with commas, names jan..dec and sun..sat in any case, 7 = Sunday. If neither day
 * field begins with `*` a day that matches either of them fires.
 *   @hourly @daily @midnight @weekly @monthly @yearly @annually
 *   every 90s | 5m | 2h | 1d [from HH:MM]        a fixed interval, counted from 1970-01-01 00:00
 * UTC, or from HH:MM of that day by the zone's winter time: no drift, never moved by daylight
 * saving. Calendar rules and daylight saving: a local time that the clock skips fires once, at the
 * first instant after the gap; one that the clock shows twice fires the first time only. */
#ifndef STINT_SCHEDULER_CRON_H
#define STINT_SCHEDULER_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "scheduler/zone.h"

enum { CRON_TEXT_N = 128 };
#define SCHEDULE_NEVER INT64_MAX

/* A parsed expression: a plain value, made by cron_parse only. Bit v of a set stands for the value
 * v. */
typedef struct {
    int64_t interval_ms; /* over 0: a fixed interval, the sets below mean nothing */
    int64_t from_ms;  /* of an interval: time of day it counts from; -1 = counted from the epoch */
    uint64_t minutes; /* 0..59 */
    uint32_t hours;   /* 0..23 */
    uint32_t days;    /* 1..31 */
    uint16_t months;  /* 1..12 */
    uint8_t weekdays; /* 0..6, 0 = Sunday */
    bool either_day;  /* day of month OR day of week; otherwise both must match */
} cron_t;

/* ERR_INVALID names the field, the value and what was expected; an expression that can never fire
 * is refused too. */
CHECKED err_t cron_parse(cron_t *out, const char *text);

/* The first match of a calendar expression strictly after `after_local_ms`; both are local civil
 * time written as ms since 1970-01-01 00:00 of that same local clock. False for an interval and
 * when there is none up to the year 9999. */
bool cron_next_local(const cron_t *self, int64_t after_local_ms, int64_t *out_local_ms);

/* The first nominal instant (ms UTC, whole seconds) strictly after `after_wall_ms`; SCHEDULE_NEVER
 * if there is none. */
int64_t schedule_next(const cron_t *cron, const zone_t *zone, int64_t after_wall_ms);

/* The newest nominal instant in (after_wall_ms, until_wall_ms]; SCHEDULE_NEVER if there is none. */
int64_t schedule_newest(const cron_t *cron, const zone_t *zone, int64_t after_wall_ms,
                        int64_t until_wall_ms);

#endif

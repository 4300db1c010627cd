/* clock: the only room that reads a clock.
 *
 * Deadlines, leases, heartbeats and rates use the monotonic clock; wall time is for rows, ticks and
 * people. Pure cores never call this: they take now as an argument. */
#ifndef STINT_COMMON_CLOCK_H
#define STINT_COMMON_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t clock_now_ms(void);
/* Microseconds of CLOCK_MONOTONIC, for measured durations. */
int64_t clock_now_us(void);
/* Milliseconds of CLOCK_BOOTTIME (counts suspend): the rate window's clock, comparable across
 * processes of one boot. */
int64_t clock_boot_ms(void);
/* Wall clock, milliseconds since 1970-01-01T00:00:00Z. */
int64_t clock_wall_ms(void);

/* "2026-11-23T19:18:00.123Z" and its NUL. */
enum { CLOCK_ISO_N = 32 };
void clock_iso(int64_t wall_ms, char out[CLOCK_ISO_N]);

#endif

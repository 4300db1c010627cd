/* zone: time zones of the system's tz database, and the civil calendar.
 *
 * Lives here: the reader of TZif files (RFC 8536, version 2 and later, with the POSIX TZ rule of
 * the footer), the conversion between UTC and local civil time, the days-to-date formulas, and a
 * cache of zones by name. Not here: expressions (cron.h).  Reads files, never a clock or the
 * environment.
 *
 * "local ms" is what the local clock shows, written as ms since 1970-01-01 00:00 of that same
 * clock. */
#ifndef STINT_SCHEDULER_ZONE_H
#define STINT_SCHEDULER_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define ZONE_DIRECTORY "/usr/share/zoneinfo"
enum { ZONE_NAME_N = 64, ZONE_FILE_N = 1 << 20 };

typedef struct zone zone_t;

/* Decode the content of a TZif file. ERR_CORRUPT says what is wrong with it; files that count leap
 * seconds are refused. */
CHECKED err_t zone_parse(zone_t **out, const char *name, const uint8_t *data, size_t n);
/* Read `directory`/`name`. "UTC" needs no file. ERR_INVALID for a name that is none (a leading '/',
 * "..", other bytes than letters, digits, '_', '+', '-', '/'), ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT.
 */
CHECKED err_t zone_open(zone_t **out, const char *directory, const char *name);
void zone_destroy(zone_t **self);

const char *zone_name(const zone_t *self);
/* Local minus UTC at that instant, in ms. */
int64_t zone_offset_ms(const zone_t *self, int64_t utc_ms);
/* The winter offset (the smaller one) of the zone's rule for the future. */
int64_t zone_base_offset_ms(const zone_t *self);
/* What the local clock shows. */
int64_t zone_to_local(const zone_t *self, int64_t utc_ms);
/* The first instant at which the local clock shows this time or a later one: the first of two for a
 * repeated time, the end of the gap for a skipped one. Never decreases when local_ms grows. */
int64_t zone_from_local(const zone_t *self, int64_t local_ms);
/* The latest time the local clock has shown up to and including that instant (it differs from
 * zone_to_local only while the clock repeats an hour). */
int64_t zone_local_reached(const zone_t *self, int64_t utc_ms);

/* Zones by name, each read once. A zone lives as long as the cache. */
typedef struct zones zones_t;
/* `directory` is copied; NULL = ZONE_DIRECTORY. */
zones_t *zones_new(const char *directory);
void zones_destroy(zones_t **self);
/* Errors as zone_open. A failure is not remembered: a package may be installed meanwhile. */
CHECKED err_t zones_find(zones_t *self, const char *name, const zone_t **out);

/* The proleptic Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
 */
typedef struct {
    int64_t year;
    int month, day;           /* 1..12, 1..31 */
    int hour, minute, second; /* 0..23, 0..59, 0..59 */
    int ms;                   /* 0..999 */
    int weekday;              /* 0..6, 0 = Sunday; not read by civil_to_ms */
} civil_t;

/* Days from 1970-01-01 to that date; negative before. */
int64_t civil_day(int64_t year, int month, int day);
/* 28..31. */
int civil_month_days(int64_t year, int month);
/* 0..6, 0 = Sunday. */
int civil_weekday(int64_t day);
civil_t civil_from_ms(int64_t ms);
int64_t civil_to_ms(const civil_t *civil);
/* a / b rounded towards minus infinity; b > 0. */
int64_t floor_div(int64_t a, int64_t b);

#endif

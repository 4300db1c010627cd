/* zone_file: the TZif file format (RFC 8536), decoded into one table of changes.
 *
 * Lives here: the bytes of a file and the POSIX TZ rule of its footer, which is unrolled over one
 * cycle of the calendar so that conversion knows nothing but the table.  Called by zone.c only.
 * Pure: bytes in, table out. */
#ifndef STINT_SCHEDULER_ZONE_FILE_H
#define STINT_SCHEDULER_ZONE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* 400 Gregorian years are 146,097 days, a whole number of weeks. */
#define ZONE_CYCLE_MS (INT64_C(146097) * 24 * 60 * 60 * 1000)

/* From `at` on the local clock is UTC + offset. */
typedef struct {
    int64_t at, offset; /* ms */
} zone_change_t;

typedef struct {
    zone_change_t *changes; /* strictly ascending; malloc, owned by whoever holds the table */
    size_t changes_n;
    int64_t first_offset; /* before the first change */
    int64_t base_offset;  /* the smaller offset of the rule for the future */
    int64_t repeats_from; /* from here on the table is that of one cycle earlier; INT64_MAX =
                             constant */
} zone_table_t;

/* ERR_CORRUPT says what is wrong; *out is then untouched and nothing is allocated. */
CHECKED err_t zone_table_parse(zone_table_t *out, const uint8_t *data, size_t n);

#endif

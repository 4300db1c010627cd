/* csv: one line of RFC 4180 cut into fields.
 *
 * Lives here: the cutting, with the house's one restriction: a record is one line, so a quoted
 * field may hold commas and doubled quotes but no newline. Not here: what a field means. Called by
 * task_table (headers) and the transaction task. */
#ifndef STINT_COMMON_CSV_H
#define STINT_COMMON_CSV_H

#include <stddef.h>
#include <stdint.h>

/* Bytes borrowed from somewhere; not NUL-terminated. */
typedef struct {
    const char *data;
    size_t n;
} slice_t;

/* Cut `line` (without its newline). The first `max` fields are stored; the return value counts all
 * of them, or is -1 for a quote that is stray or never closed. A field points into `line`, or, if
 * it held doubled quotes, into `scratch`, which must have room for as many bytes as the line. An
 * empty line is one empty field. */
int csv_split(slice_t line, slice_t *fields, int max, char *scratch);

#endif

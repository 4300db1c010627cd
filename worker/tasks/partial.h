/* partial: the bytes a batch returns and a finalize merges.
 *
 *   ["stint.transactions", 1, {
 *      "rows":   [lines, accepted, rejected, blank, formats],
 *      "codes":  {code: rows},
 *      "errors": [[line, code, field] ...],
 *      "ccy":    {currency: {section: ...}}}]
 *
 * A section is an array of counters or exact sums, or bytes for the sparse ones (see partial.c). A
 * reader steps over sections it does not know, in either map: that is how the keyed tests will
 * travel. The version changes only when a known section changes its meaning; another version is
 * refused. No verdict is ever in here. Pure. */
#ifndef STINT_WORKER_PARTIAL_H
#define STINT_WORKER_PARTIAL_H

#include "worker/tasks/statistics.h"

enum { PARTIAL_VERSION = 1 };

void partial_encode(const statistics_t *statistics, buffer_t *out);

/* *out must be empty (all zero). ERR_CORRUPT for bytes that are cut, out of bounds or whose
 * counters contradict each other, ERR_UNSUPPORTED for another version; *out is then empty again. */
CHECKED err_t partial_decode(statistics_t *out, const uint8_t *bytes, size_t n);

#endif

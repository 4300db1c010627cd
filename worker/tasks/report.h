/* report: the merged statistics of a job as the JSON document a person or the api reads.
 *
 * Lives here: the names, order and units of the report's members, and which currency stands at the
 * top. Not here: the formulas (benford, sketch). The keyed tests (duplicates, accounts, flows ...)
 * are absent until they exist. Pure. */
#ifndef STINT_WORKER_REPORT_H
#define STINT_WORKER_REPORT_H

#include "common/buffer.h"
#include "worker/tasks/statistics.h"

enum { REPORT_CURRENCIES_MAX = 16 };

typedef struct {
    uint64_t rows, rejected; /* without blank lines; rejected as the report counts them */
    bool too_many_bad;       /* over 5 % and over 20 rows */
    char text[512];          /* the sentence for it, else "" */
} report_verdict_t;

/* Writes the whole report. At most REPORT_CURRENCIES_MAX currencies: those with most rows (tie:
 * code ascending); the rows of the others count as rejected with E_CCY. That is decided here, over
 * all rows, so that neither row order nor batch borders can change it; `statistics` is changed
 * accordingly. `items_total` 0 = not known. */
void report_write(statistics_t *statistics, const transaction_config_t *config,
                  uint64_t items_total, buffer_t *out, report_verdict_t *verdict);

#endif

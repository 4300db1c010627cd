/* report_block: the members of a report that exist once per currency. Called by report only. Pure.
 */
#ifndef STINT_WORKER_REPORT_BLOCK_H
#define STINT_WORKER_REPORT_BLOCK_H

#include "common/json_out.h"
#include "worker/tasks/statistics.h"

/* Writes the members into the object that is open; a block without rows is allowed. */
void report_block(json_out_t *json, const block_t *block, int currency,
                  const transaction_config_t *config);

#endif

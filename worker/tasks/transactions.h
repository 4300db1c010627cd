/* transactions: process_transaction_batch and finalize_transactions behind the vtable of task.h.
 *
 * Lives here: cutting a batch into lines, and merging each partial result once. Called through
 * task_code_find. */
#ifndef STINT_WORKER_TRANSACTIONS_H
#define STINT_WORKER_TRANSACTIONS_H

#include "worker/tasks/task.h"

CHECKED err_t transactions_run(const task_batch_t *batch, task_result_t *out);
CHECKED err_t transactions_finalize_open(void **state, const task_finalize_t *job);
CHECKED err_t transactions_finalize_merge(void *state, uint32_t batch_no, const uint8_t *partial,
                                          size_t n);
CHECKED err_t transactions_finalize_close(void **state, task_result_t *out);

#endif

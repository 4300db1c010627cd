/* journal: a test task that says what it does where no part of the fleet can change it.
 *
 * Lives here: "journal" and its finalize. Each execution appends a line when it begins and one when
 * it ends to the file that STINT_JOURNAL names (O_APPEND, one write a line), for tests/chaos, which
 * judges the fleet by it:
 *
 *   start JOB BATCH ATTEMPT FIRST_LINE ITEMS PID MS
 *   end JOB BATCH ATTEMPT FIRST_LINE ITEMS SUM SQUARES PID MS
 *   fault JOB BATCH ATTEMPT crash|hang|fail PID MS     (as the parameters ask; no end follows)
 *   merge JOB PID MS
 *   merged JOB BATCHES ITEMS SUM SQUARES PID MS
 *
 * MS is CLOCK_MONOTONIC. Items are JSON numbers; SUM and SQUARES (of their values, modulo 2^64)
 * tell which ones they were. The report has the same figures. */
#ifndef STINT_WORKER_JOURNAL_H
#define STINT_WORKER_JOURNAL_H

#include "worker/tasks/task.h"

CHECKED err_t journal_run(const task_batch_t *batch, task_result_t *out);
CHECKED err_t journal_finalize_open(void **state, const task_finalize_t *job);
CHECKED err_t journal_finalize_merge(void *state, uint32_t batch_no, const uint8_t *partial,
                                     size_t n);
CHECKED err_t journal_finalize_close(void **state, task_result_t *out);

#endif

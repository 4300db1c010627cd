/* probes: tasks that do nothing useful, or something terrible, on purpose.
 *
 * Lives here: noop (any speed, fails on request) and the four of --test-tasks that prove the limits
 * of a child. */
#ifndef STINT_WORKER_PROBES_H
#define STINT_WORKER_PROBES_H

#include "worker/tasks/task.h"

/* Parameters sleep_ms, fail_attempts; the result is empty. */
CHECKED err_t probe_noop(const task_batch_t *batch, task_result_t *out);
/* None of these returns. */
CHECKED err_t probe_crash(const task_batch_t *batch, task_result_t *out);
CHECKED err_t probe_hang(const task_batch_t *batch, task_result_t *out);
CHECKED err_t probe_eat(const task_batch_t *batch, task_result_t *out);
CHECKED err_t probe_flood(const task_batch_t *batch, task_result_t *out);

#endif

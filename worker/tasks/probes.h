/* probes: tasks that do nothing useful, or something terrible, on purpose.
 *
 * Lives here: noop (any speed, fails on request) and those of --test-tasks that prove the limits
 * of a child. */
#ifndef STINT_WORKER_PROBES_H
#define STINT_WORKER_PROBES_H

#include "worker/tasks/task.h"

/* Parameters sleep_ms, fail_attempts; the result is empty. */
CHECKED err_t probe_noop(const task_batch_t *batch, task_result_t *out);
/* An integer or boolean parameter; `standard` if it was not given. */
int64_t probe_number(const task_batch_t *batch, const char *name, int64_t standard);
/* None of these returns. */
CHECKED err_t probe_crash(const task_batch_t *batch, task_result_t *out);
CHECKED err_t probe_hang(const task_batch_t *batch, task_result_t *out);
CHECKED err_t probe_eat(const task_batch_t *batch, task_result_t *out);
/* These may. fork: parameters processes, own_session, stay. fill: parameter megabytes. close: takes
 * its connection to the worker away from itself. */
CHECKED err_t probe_flood(const task_batch_t *batch, task_result_t *out);
CHECKED err_t probe_fork(const task_batch_t *batch, task_result_t *out);
CHECKED err_t probe_fill(const task_batch_t *batch, task_result_t *out);
CHECKED err_t probe_close(const task_batch_t *batch, task_result_t *out);

#endif

/* worker: the process around the core: sockets, children, files, clocks and signals.
 *
 * Lives here: glue. What is decided is decided in core.h. */
#ifndef STINT_WORKER_WORKER_H
#define STINT_WORKER_WORKER_H

#include "common/config.h"
#include "common/err.h"

/* Runs until drained or stopped. Call it before any ZeroMQ context or thread exists: children are
 * forked first. The exit code is 0 after a drain, that of ERR_CANCELLED after a second signal. */
CHECKED err_t worker_run(const config_t *config, int *exit_code);

#endif

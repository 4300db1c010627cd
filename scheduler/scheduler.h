/* scheduler: the glue of stint-scheduler: loop, links to the brokers, core. Called by main. */
#ifndef STINT_SCHEDULER_SCHEDULER_H
#define STINT_SCHEDULER_SCHEDULER_H

#include "common/config.h"
#include "common/err.h"

/* Runs until SIGTERM or SIGINT; ERR_OK after a clean stop. */
CHECKED err_t scheduler_run(const config_t *config);

#endif

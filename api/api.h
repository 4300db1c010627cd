/* api: the glue of stint-api: loop, links to the brokers, HTTP server, store and core.
 *
 * Lives here: who is called when in a turn. Not here: any rule (core), SQL (store), HTTP (http).
 * Called by main. */
#ifndef STINT_API_API_H
#define STINT_API_API_H

#include "common/config.h"
#include "common/err.h"

/* Runs until SIGTERM or SIGINT; ERR_OK after a clean stop. */
CHECKED err_t api_run(const config_t *config);

#endif

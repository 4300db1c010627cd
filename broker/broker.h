/* broker: two ROUTERs around a core.
 *
 * Lives here: sockets, clock, loop. Not here: what a message means (core). */
#ifndef STINT_BROKER_BROKER_H
#define STINT_BROKER_BROKER_H

#include "broker/core.h"
#include "common/err.h"
#include "common/loop.h"

typedef struct broker broker_t;

typedef struct {
    const char *frontend, *backend; /* endpoints to bind */
    const char *keys;               /* directory of the fleet's keys; "" or NULL = plain sockets */
    broker_options_t core;
} broker_settings_t;

/* Binds both and joins the loop, whose turn it takes. ERR_BUSY: a port is in use; ERR_CONFIG: a bad
 * endpoint or bad keys; ERR_INTERNAL: the self-test of the keys failed. */
CHECKED err_t broker_open(broker_t **out, loop_t *loop, const broker_settings_t *settings);
void broker_destroy(broker_t **self);
/* As bound, with real ports. */
const char *broker_endpoint(const broker_t *self, broker_side_t side);
/* One line with all counters. */
void broker_log_counters(const broker_t *self);
/* Reads the keys anew, for file systems that do not tell of changes. */
void broker_reload_keys(broker_t *self);

#endif

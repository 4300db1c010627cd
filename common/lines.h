/* lines: the connections of a process to all its brokers.
 *
 * Lives here: opening them from the configuration, draining them, the refusal to speak plainly
 * beyond loopback. Not here: what is said (the cores). Called by the glue of api, worker and
 * scheduler. */
#ifndef STINT_COMMON_LINES_H
#define STINT_COMMON_LINES_H

#include <stdint.h>

#include "common/config.h"
#include "common/loop.h"
#include "common/wire.h"

enum { LINES_MAX = 16 };

typedef struct lines lines_t;
/* A message from broker number `broker` (its place in the configuration); takes the frames. */
typedef void (*lines_call_t)(void *context, int broker, frames_t *frames);

/* Connects to config->brokers as `role` (WIRE_ROLE_...), with config->key if there is one; says in
 * the log when a broker does not let it in. ERR_CONFIG names what is wrong with an endpoint or the
 * key. */
CHECKED err_t lines_open(lines_t **out, loop_t *loop, uint64_t role, const config_t *config,
                         lines_call_t call, void *context);
/* NULL-safe; before its loop ends. */
void lines_close(lines_t **self);
int lines_n(const lines_t *self);
/* Takes the frames. False: certainly nobody got them. */
bool lines_send(lines_t *self, int broker, frames_t *frames);

#endif

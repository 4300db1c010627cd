/* obituary: the last words about a worker that was killed, said by its fork server.
 *
 * Lives here: GONE to every broker (P34). When it is said the worker and all its children are dead,
 * so the store may end their leases at once, also when the worker does not come back. Called in the
 * fork server, which has no ZeroMQ context before. Not here: knowing of the death (fork_server). */
#ifndef STINT_WORKER_OBITUARY_H
#define STINT_WORKER_OBITUARY_H

#include "common/config.h"
#include "common/wire.h"

typedef struct {
    const config_t *config; /* name, brokers, insecure */
    uint8_t incarnation[WIRE_PEER_N];
} obituary_t;

/* `context` is an obituary_t. Takes at most some seconds, when a broker is away. */
void obituary_say(void *context);

#endif

/* door: a look at the listening sockets once a second.
 *
 * Strangers: what speaks no ZeroMQ is cut off by libzmq in silence; a line says how many there
 * were, because mostly somebody has mixed up two ports.
 *
 * No file descriptor left: libzmq's thread then fails to accept, is told at once that somebody
 * waits, and fails again: it spins at 100 % of a core and says nothing. So both sides stop
 * listening: who is connected notices nothing, who comes is refused and tries again by itself, and
 * connections that say nothing are closed by libzmq after 3 s. When there is room again they listen
 * again. */
#ifndef STINT_BROKER_DOOR_H
#define STINT_BROKER_DOOR_H

#include "common/link.h"
#include "common/loop.h"

typedef struct door door_t;

enum { DOOR_LINKS = 2 };

/* The links are borrowed: they must outlive the door. */
door_t *door_new(loop_t *loop, link_t *const links[DOOR_LINKS]);
void door_destroy(door_t **self);

#endif

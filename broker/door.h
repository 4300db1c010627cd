/* door: what happens at the listening sockets when no file descriptor is left.
 *
 * libzmq's thread then fails to accept, is told at once that somebody waits, and fails again: it
 * spins at 100 % of a core and says nothing. The door looks once a second whether a descriptor is
 * left. When none is, it forks a doorman, a process with an empty table of descriptors but for the
 * listening sockets, that accepts and closes whatever comes: who is turned away connects again by
 * itself, who is connected notices nothing. When there is room again the doorman ends. */
#ifndef STINT_BROKER_DOOR_H
#define STINT_BROKER_DOOR_H

#include "common/loop.h"

typedef struct door door_t;

enum { DOOR_LISTENERS = 2 };

/* `listeners`: descriptors of listening sockets that somebody else accepts from, borrowed; -1 =
 * none. */
door_t *door_new(loop_t *loop, const int listeners[DOOR_LISTENERS]);
void door_destroy(door_t **self);

#endif

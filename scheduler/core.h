/* core: a scheduler's side of PROTOCOL 8: it knows the calendar (planner) and asks the store for
 * the job of each due tick.
 *
 * Pure: time comes as an argument, frames leave by the effect; the simulation runs this code. It
 * keeps nothing: a scheduler that is started anew learns the newest ticks from the store. */
#ifndef STINT_SCHEDULER_CORE_H
#define STINT_SCHEDULER_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"
#include "scheduler/zone.h"

enum { SCHEDULER_BROKERS_MAX = 16 };

typedef struct scheduler_core scheduler_core_t;

typedef struct {
    void *context;
    /* Takes the frames. False: nobody took them. */
    bool (*send)(void *context, int broker, frames_t *frames);
} scheduler_effects_t;

typedef struct {
    const char *name, *host;
    uint64_t pid;
    uint8_t incarnation[WIRE_PEER_N];
    int brokers_n;
    int64_t heartbeat_ms;
} scheduler_options_t;

/* `zones` is borrowed. */
scheduler_core_t *scheduler_core_new(const scheduler_options_t *options, zones_t *zones,
                                     scheduler_effects_t effects);
void scheduler_core_destroy(scheduler_core_t **self);
/* A message from broker number `broker`; takes the frames. now_ms monotonic. */
void scheduler_core_receive(scheduler_core_t *self, int broker, frames_t *frames, int64_t now_ms);
/* Heartbeats and due ticks. */
void scheduler_core_turn(scheduler_core_t *self, int64_t now_ms);
int64_t scheduler_core_next_at(const scheduler_core_t *self);

#endif

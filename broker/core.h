/* core: what a broker does with each message (schema/PROTOCOL.md), without sockets and clocks.
 *
 * Lives here: HELLO, heartbeats, routing, dispatch, CAPACITY. Not here: sockets (broker.c), who is
 * there (roster), tickets (dispatch). Pure and deterministic: the simulation drives it with frames.
 */
#ifndef STINT_BROKER_CORE_H
#define STINT_BROKER_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/roster.h"
#include "common/link.h"
#include "common/wire.h"

typedef struct {
    uint8_t incarnation[WIRE_PEER_N]; /* of this broker; also the seed of its hash tables */
    int64_t heartbeat_ms;
    bool test_duplicate; /* every DISPATCH goes out twice */
} broker_options_t;

typedef struct {
    void *context;
    /* Takes the frames in every case; false: certainly nobody got it. */
    bool (*send)(void *context, broker_side_t side, const link_id_t *to, frames_t *frames);
    /* May the holder of this connection's key speak as this role under this name? NULL: there are
     * no keys. */
    bool (*admit)(void *context, const link_id_t *from, uint64_t role, const char *name);
    /* For the log, and for who looks after connections: "joined"; then what ends it: "left",
     * "silent", "replaced", "cut", "unsupported", "moved" (to another connection). May be NULL. */
    void (*note)(void *context, const char *what, const peer_t *peer);
} broker_effects_t;

typedef struct {
    uint64_t received;
    uint64_t routed; /* passed between a peer and the store */
    uint64_t dispatched;
    uint64_t undeliverable;
    uint64_t strangers;     /* answered RECONNECT */
    uint64_t garbage;       /* no message, or a broken one */
    uint64_t hello_refused; /* broken HELLO, too many peers, or not what its key is for */
    uint64_t unsupported;   /* another major version */
    uint64_t ignored;       /* unknown type, or not for this sender */
    uint64_t no_store;      /* for the store, and there is none */
    uint64_t no_peer;       /* for a peer that is not here */
    uint64_t dropped;       /* not taken by a full or vanished peer */
} broker_counters_t;

typedef struct broker_core broker_core_t;

broker_core_t *broker_core_new(const broker_options_t *options, broker_effects_t effects);
void broker_core_destroy(broker_core_t **self);
/* One message from a connection; takes the frames. */
void broker_core_receive(broker_core_t *self, broker_side_t side, const link_id_t *from,
                         frames_t *frames, int64_t now_ms);
/* Once a turn, after what had arrived was received: expiries, HELLOs the store lacks, changed
 * CAPACITY. */
void broker_core_turn(broker_core_t *self, int64_t now_ms);
/* Whom `admit` does not admit any more is forgotten, with its tickets ("cut"). */
void broker_core_review(broker_core_t *self, int64_t now_ms);
/* When broker_core_turn is due next; INT64_MAX if only a message can change anything. */
int64_t broker_core_next_at(const broker_core_t *self);
const broker_counters_t *broker_core_counters(const broker_core_t *self);
uint32_t broker_core_peers_n(const broker_core_t *self);

#endif

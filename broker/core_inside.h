/* The inside of a broker's core, shared by its rooms: core.c (routing, dispatch, the turn) and
 * core_peers.c (who comes and goes). */
#ifndef STINT_BROKER_CORE_INSIDE_H
#define STINT_BROKER_CORE_INSIDE_H

#include "broker/core.h"

struct broker_core {
    broker_options_t options;
    broker_effects_t effects;
    broker_counters_t counters;
    roster_t *roster;
    dispatch_t *dispatch;
    wire_arena_t *arena;
    peer_t *store;         /* the api that said HELLO last (P3) */
    uint64_t capacity_seq; /* of the newest CAPACITY */
    bool capacity_due;
    uint8_t numbered[WIRE_PEER_N]; /* the api whose DISPATCHes `number` counts */
    uint64_t number;               /* of its newest one */
    int64_t turned_at;             /* the last turn */
    int64_t wake_at;               /* what next_at said after the last turn; 0 = never */
    int64_t asleep_ms;             /* time this process did not run: no peer is silent for that */
};

/* The incarnation of this broker. */
str_t broker_own(const broker_core_t *self);
/* The clock that stands still while this process does. */
int64_t broker_awake_ms(const broker_core_t *self, int64_t now_ms);
/* False: a broken message, which is counted. */
bool broker_decode(broker_core_t *self, const frames_t *frames, msg_t *out);
bool broker_send(broker_core_t *self, const peer_t *to, const msg_t *msg);
void broker_note(broker_core_t *self, const char *what, const peer_t *peer);
/* False: there is no store, or it does not take it. Takes the frames. */
bool broker_pass_to_store(broker_core_t *self, const peer_t *from, frames_t *frames);
/* Its HELLO. */
bool broker_tell_store(broker_core_t *self, peer_t *worker);
/* It is not here any more; `why` is for the log. */
void broker_forget(broker_core_t *self, peer_t *peer, const char *why, int64_t now_ms);

/* core_peers.c */
void broker_receive_hello(broker_core_t *self, broker_side_t side, const link_id_t *from,
                          const frames_t *frames, int64_t now_ms);
void broker_receive_bye(broker_core_t *self, peer_t *peer, frames_t *frames, int64_t now_ms);
void broker_receive_gone(broker_core_t *self, broker_side_t side, const link_id_t *from,
                         frames_t *frames, int64_t now_ms);

#endif

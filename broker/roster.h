/* roster: who is connected to this broker.
 *
 * Lives here: peers by connection, by incarnation and (workers) by name, when they were heard, and
 * the order in which the store learns of workers. Not here: tickets (dispatch), messages (core).
 * Pure. */
#ifndef STINT_BROKER_ROSTER_H
#define STINT_BROKER_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/dispatch.h"
#include "common/heap.h"
#include "common/link.h"

enum { ROSTER_MAX = 10000, ROSTER_NAME_MAX = 64 };

typedef enum { BROKER_FRONTEND, BROKER_BACKEND } broker_side_t;

typedef struct peer peer_t;
struct peer {
    bool known; /* false: forgotten, kept a while for the tickets it used (P14) */
    broker_side_t side;
    link_id_t link;
    uint8_t incarnation[WIRE_PEER_N];
    uint64_t role; /* WIRE_ROLE_... */
    char name[ROSTER_NAME_MAX + 1];
    blob_t *hello;              /* worker: header of its HELLO */
    dispatch_worker_t *tickets; /* worker */
    /* The roster's own: */
    int64_t due_at; /* place in the heap: not later than the time it is forgotten */
    int64_t heard_at;
    heap_slot_t slot;
    uint64_t told; /* number of the store that knows its HELLO */
    peer_t *next_by_link, *next_by_incarnation, *next_by_name;
    peer_t *next, *previous; /* workers, those the store knows behind the others */
};

typedef struct roster roster_t;

/* A peer is forgotten silence_ms after it was heard; `seed` makes the hash tables unpredictable. */
roster_t *roster_new(int64_t silence_ms, uint64_t seed);
void roster_destroy(roster_t **self);
/* NULL for a stranger. */
peer_t *roster_by_link(const roster_t *self, broker_side_t side, const link_id_t *link);
/* Also a forgotten one: see `known`. */
peer_t *roster_by_incarnation(const roster_t *self, const uint8_t incarnation[WIRE_PEER_N]);
/* The known worker of that name. */
peer_t *roster_by_name(const roster_t *self, const char *name);
uint32_t roster_n(const roster_t *self);
/* The first known peer that is wanted, in no order; NULL if none is. Looks at all. */
peer_t *roster_find(const roster_t *self, bool (*wanted)(void *context, const peer_t *peer),
                    void *context);

/* A new peer that stands in no table yet; NULL if there are too many. Fill side, link, role, name
 * and admit it. */
peer_t *roster_add(roster_t *self, const uint8_t incarnation[WIRE_PEER_N]);
/* Enter it as known. */
void roster_admit(roster_t *self, peer_t *peer, int64_t now_ms);
/* Take it out. A worker's used tickets are kept a while; any other peer is freed. */
void roster_forget(roster_t *self, peer_t *peer, int64_t now_ms);
/* A heartbeat came. */
void roster_heard(peer_t *peer, int64_t now_ms);
/* A known peer that has been silent for too long, or NULL; ends the memory of forgotten ones on the
 * way. */
peer_t *roster_silent(roster_t *self, int64_t now_ms);
/* When roster_silent has something to do; INT64_MAX if never. */
int64_t roster_next_at(const roster_t *self);

/* Another store: all workers have to be told again. */
void roster_new_store(roster_t *self);
/* A worker whose HELLO the store does not know, or NULL. */
peer_t *roster_untold(const roster_t *self);
void roster_told(roster_t *self, peer_t *peer);

#endif

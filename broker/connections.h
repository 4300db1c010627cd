/* connections: the open TCP connections of a broker, and which of them nobody has claimed.
 *
 * libzmq has a peer's messages only, not its connection: one that was admitted and says nothing
 * could stay for ever, also after its key was removed, and one that never ends a message could fill
 * the memory. So in a broker with keys a connection must be claimed by a HELLO within some
 * heartbeats, belongs to that peer, and is closed with it. In one without they are only counted
 * (link_arrivals). Not here: who may connect (gate), who is there (roster). */
#ifndef STINT_BROKER_CONNECTIONS_H
#define STINT_BROKER_CONNECTIONS_H

#include "common/link.h"
#include "common/loop.h"

typedef struct connections connections_t;

enum { CONNECTIONS_LINKS = 2 };

/* Before the first peer connects. The links are borrowed: they must outlive it. `claimed`: close
 * what nobody claims. */
connections_t *connections_new(loop_t *loop, link_t *const links[CONNECTIONS_LINKS],
                               int64_t heartbeat_ms, bool claimed);
void connections_destroy(connections_t **self);
/* A HELLO came on it and was admitted. */
void connections_claim(connections_t *self, const link_id_t *id);
/* Its peer is forgotten: it is closed. */
void connections_release(connections_t *self, const link_id_t *id);
/* Close all that have not been claimed: somebody among them may not be admitted any more. */
void connections_cut_unclaimed(connections_t *self);
/* Unclaimed ones that were closed so far. */
uint64_t connections_cut_n(const connections_t *self);

#endif

/* dispatch: tickets of all workers, and which worker gets the next batch (PROTOCOL.md P13 to P16).
 *
 * Lives here: the sets of tickets, their expiry, the choice (fewest batches in flight per slot,
 * then the oldest ticket) and the capacity told to the store. Not here: messages and peers (core,
 * roster). Pure. */
#ifndef STINT_BROKER_DISPATCH_H
#define STINT_BROKER_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"

enum { DISPATCH_TASKS_MAX = 64, DISPATCH_KINDS_MAX = 64, DISPATCH_GROUPS_MAX = 4096 };

typedef struct dispatch dispatch_t;
typedef struct dispatch_worker dispatch_worker_t;

dispatch_t *dispatch_new(void);
/* All workers must be gone. */
void dispatch_destroy(dispatch_t **self);

/* `owner` is given back by dispatch_match. */
dispatch_worker_t *dispatch_worker_new(dispatch_t *self, void *owner);
void dispatch_worker_destroy(dispatch_worker_t **worker);
/* What its HELLO says: slots (at least 1) and at most 64 tasks, whose places are the bits of its
 * grants. Tickets end until the next TICKETS; which ones were used is remembered. `anew`: on
 * another connection than before, where its TICKETS may be numbered from the start. */
void dispatch_worker_hello(dispatch_worker_t *worker, uint64_t slots,
                           const wire_task_offer_t *tasks, uint32_t tasks_n, bool anew);
/* TICKETS: replaces the set. A ticket used before stays used for as long as it is named (P14); a
 * message older than one already seen is ignored. */
void dispatch_worker_tickets(dispatch_worker_t *worker, const msg_tickets_t *tickets,
                             int64_t now_ms);
/* A batch of this worker ended or never began: one less in flight. */
void dispatch_worker_ended(dispatch_worker_t *worker);
/* Its tickets are worth nothing until it names them again. */
void dispatch_worker_suspend(dispatch_worker_t *worker);

/* A ticket that was taken, but certainly nothing went out on it: it may be used when it is named
 * again. */
void dispatch_worker_unsent(dispatch_worker_t *worker, uint64_t ticket);

/* Take a ticket for items_n items of `task`: its worker's owner, or NULL if none is good for the
 * task. One that asks for smaller batches is taken only if there is no other: a batch that was cut
 * once is never cut again (P16). */
void *dispatch_match(dispatch_t *self, str_t task, uint64_t items_n, int64_t now_ms,
                     uint64_t *ticket);
/* End the sets whose time has come. */
void dispatch_expire(dispatch_t *self, int64_t now_ms);
/* When dispatch_expire has something to do; INT64_MAX if never. */
int64_t dispatch_next_at(const dispatch_t *self);
/* Unused tickets by kind, sorted by tasks and size; valid until the next call. At most what fits a
 * CAPACITY. */
uint32_t dispatch_capacity(dispatch_t *self, wire_capacity_t **out);
/* Whether the capacity may have changed since the last call of this function. */
bool dispatch_changed(dispatch_t *self);

#endif

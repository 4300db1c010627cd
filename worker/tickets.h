/* tickets: the starts a worker has promised, to which broker, and what became of each.
 *
 * Pure (PROTOCOL.md P13, P14, P17). A ticket lives until it is used, expires or is withdrawn; none
 * comes back, and no id is used twice. What became of the newest TICKETS_MEMORY tickets and
 * attempts is remembered: a DISPATCH on one that is forgotten is met with silence, because REFUSED
 * would claim to know that nothing started. Not here: the messages (peers.c), what a used ticket
 * starts (runs.c). */
#ifndef STINT_WORKER_TICKETS_H
#define STINT_WORKER_TICKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"

enum { TICKETS_BROKERS = 16, TICKETS_TASKS = 64, TICKETS_LIVE = 2048, TICKETS_MEMORY = 8192 };

typedef struct tickets tickets_t;
/* Ids begin above `base`, whose upper half should be random: no incarnation uses another's. */
tickets_t *tickets_new(uint64_t base);
void tickets_destroy(tickets_t **self);

/* What the worker could take now. */
typedef struct {
    uint32_t full_n;    /* starts for which a slot is free: good for every task with a token */
    uint32_t ahead_n;   /* starts that would wait: good for `ahead` only */
    uint64_t unlimited; /* mask of tasks without a limit */
    uint64_t limited;   /* mask of tasks with one */
    uint32_t tokens[TICKETS_TASKS]; /* of the limited ones: at most so many tickets name the task */
    uint32_t ahead_depth[TICKETS_TASKS]; /* the k-th waiting ticket names the tasks with more than k
                                            here */
    uint64_t max_items;
    uint32_t brokers; /* mask of the brokers that may hold tickets */
} tickets_want_t;

/* Let the overdue expire, then make the live set what is wanted: withdraw the newest if there are
 * too many, mint new ones if there are too few, bring masks up to date (the oldest are the full
 * ones). */
void tickets_plan(tickets_t *self, const tickets_want_t *want, int64_t now_ms);
/* Let the overdue expire: call it before tickets_take. */
void tickets_expire(tickets_t *self, int64_t now_ms);
/* Withdraw all: nothing will start on them. */
void tickets_withdraw(tickets_t *self);
/* True if what the broker was last told is not what it should know. */
bool tickets_changed(const tickets_t *self, int broker);
/* The whole set of a broker, to be sent now; it is good for ttl_ms from now. The list lives until
 * the next call. */
uint32_t tickets_told(tickets_t *self, int broker, int64_t now_ms, int64_t ttl_ms,
                      wire_grant_t **grants);
/* A broker lost what it was told (it restarted): tell it again. */
void tickets_lost(tickets_t *self, int broker);
uint32_t tickets_live_n(const tickets_t *self);
/* The next expiry, INT64_MAX if none. */
int64_t tickets_next_at(const tickets_t *self);

typedef enum {
    TICKET_TAKEN,   /* the attempt may start; the ticket is used */
    TICKET_SILENT,  /* a duplicate, or nothing certain is known: no answer */
    TICKET_REFUSED, /* proof that it did not and will not start */
} ticket_verdict_t;

/* A DISPATCH of (batch, attempt) on ticket `id` for the task with that bit (-1: a task this worker
 * does not have). `why` is set when refused; static text. */
ticket_verdict_t tickets_take(tickets_t *self, uint64_t id, wire_lease_ref_t attempt, int task,
                              const char **why);

#endif

/* Three tables: the live tickets in order of their ids, what became of each recent id, and the
 * recent attempts. */
#include "worker/tickets.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/log.h"

typedef struct {
    uint64_t id, mask, max_items;
    int broker;
    int64_t ends_at; /* INT64_MAX until the broker is told: nobody can use it */
} ticket_t;

typedef enum { FATE_NONE, FATE_LIVE, FATE_USED, FATE_GONE } fate_t;

typedef struct {
    uint64_t id;
    wire_lease_ref_t by; /* FATE_USED */
    fate_t fate;
} memory_t;

struct tickets {
    ticket_t live[TICKETS_LIVE];
    uint32_t live_n;
    uint32_t full_n;                 /* of the live, the first so many are full ones */
    uint64_t base, last_id;          /* ids run from base + 1 */
    memory_t memory[TICKETS_MEMORY]; /* id modulo size: an older id has been overwritten */
    wire_lease_ref_t attempts[TICKETS_MEMORY]; /* hashed: a newer one overwrites */
    bool changed[TICKETS_BROKERS];
    wire_grant_t grants[TICKETS_LIVE];
};

tickets_t *tickets_new(uint64_t base)
{
    tickets_t *self = mem_zero(sizeof *self);
    self->base = self->last_id = base;
    return self;
}

void tickets_destroy(tickets_t **self)
{
    free(*self);
    *self = NULL;
}

static memory_t *memory_of(tickets_t *self, uint64_t id)
{
    return &self->memory[id % TICKETS_MEMORY];
}

static wire_lease_ref_t *attempt_of(tickets_t *self, wire_lease_ref_t attempt)
{
    uint64_t hash = (attempt.batch * 31 + attempt.attempt) * UINT64_C(0x9e3779b97f4a7c15);
    return &self->attempts[hash >> 51];
}
_Static_assert(TICKETS_MEMORY == 1 << 13, "the hash above gives 13 bits");

/* Take ticket i out of the live set; its broker learns it with the next TICKETS. */
static void retire(tickets_t *self, uint32_t i, fate_t fate)
{
    memory_of(self, self->live[i].id)->fate = fate;
    memmove(&self->live[i], &self->live[i + 1], (self->live_n - i - 1) * sizeof *self->live);
    self->live_n--;
    self->full_n -= i < self->full_n;
}

static void withdraw(tickets_t *self, uint32_t i)
{
    self->changed[self->live[i].broker] = true;
    retire(self, i, FATE_GONE);
}

void tickets_withdraw(tickets_t *self)
{
    while (self->live_n > 0) {
        withdraw(self, self->live_n - 1);
    }
}

void tickets_expire(tickets_t *self, int64_t now_ms)
{
    for (uint32_t i = self->live_n; i-- > 0;) {
        if (now_ms >= self->live[i].ends_at) {
            withdraw(self, i);
        }
    }
}

/* -- the plan -- */

/* The tasks of the next ticket in order: the k-th full one, or the k-th that would wait. */
static uint64_t next_mask(const tickets_want_t *want, uint32_t position)
{
    uint64_t mask = 0;
    bool full = position < want->full_n;
    for (uint64_t left = want->limited | want->unlimited; left; left &= left - 1) {
        int task = __builtin_ctzll(left);
        uint64_t bit = UINT64_C(1) << task;
        bool fits = (want->unlimited & bit) != 0;
        if (want->limited & bit) {
            fits = full && position < want->tokens[task];
        } else if (!full) {
            fits = fits && position - want->full_n < want->ahead_depth[task];
        }
        mask |= fits ? bit : 0;
    }
    return mask;
}

static int emptiest(const tickets_t *self, uint32_t brokers)
{
    uint32_t held[TICKETS_BROKERS] = {0};
    for (uint32_t i = 0; i < self->live_n; i++) {
        held[self->live[i].broker]++;
    }
    /* Begin at another broker each time: with one ticket, none of them stays without for long. */
    int best = -1;
    for (uint32_t i = 0; i < TICKETS_BROKERS; i++) {
        int broker = (int)((self->last_id + i) % TICKETS_BROKERS);
        if (brokers >> broker & 1 && (best < 0 || held[broker] < held[best])) {
            best = broker;
        }
    }
    return best;
}

static void mint(tickets_t *self, const tickets_want_t *want)
{
    uint64_t id = ++self->last_id;
    for (uint32_t i = 0; i < self->live_n && memory_of(self, id)->fate == FATE_LIVE; i++) {
        if (self->live[i].id == memory_of(self, id)->id) {
            withdraw(self,
                     i); /* its place in the memory is needed: a live ticket is never forgotten */
            break;
        }
    }
    *memory_of(self, id) = (memory_t){.id = id, .fate = FATE_LIVE};
    self->live[self->live_n++] =
        (ticket_t){.id = id, .broker = emptiest(self, want->brokers), .ends_at = INT64_MAX};
}

static void refresh(tickets_t *self, const tickets_want_t *want)
{
    for (uint32_t i = 0; i < self->live_n; i++) {
        ticket_t *it = &self->live[i];
        uint64_t mask = next_mask(want, i);
        if (it->mask != mask || it->max_items != want->max_items) {
            it->mask = mask;
            it->max_items = want->max_items;
            self->changed[it->broker] = true;
        }
    }
    self->full_n = want->full_n < self->live_n ? want->full_n : self->live_n;
}

void tickets_plan(tickets_t *self, const tickets_want_t *want, int64_t now_ms)
{
    tickets_expire(self, now_ms);
    for (uint32_t i = self->live_n; i-- > 0;) {
        if (!(want->brokers >> self->live[i].broker & 1)) {
            withdraw(self, i);
        }
    }
    uint32_t total = want->brokers ? want->full_n + want->ahead_n : 0;
    total = total < TICKETS_LIVE ? total : TICKETS_LIVE;
    while (total > 0 && next_mask(want, total - 1) == 0) {
        total--; /* a ticket for nothing is none; masks shrink with the position */
    }
    while (self->live_n > total) {
        withdraw(self, self->live_n - 1);
    }
    /* Places in the queue are refilled in lots: one message for many tickets. */
    uint32_t full = want->full_n < total ? want->full_n : total;
    if (self->live_n < full || self->live_n - full < (total - full + 1) / 2) {
        while (self->live_n < total) {
            mint(self, want);
        }
    }
    refresh(self, want);
}

bool tickets_changed(const tickets_t *self, int broker)
{
    return self->changed[broker];
}

void tickets_lost(tickets_t *self, int broker)
{
    self->changed[broker] = true;
}

uint32_t tickets_told(tickets_t *self, int broker, int64_t now_ms, int64_t ttl_ms,
                      wire_grant_t **grants)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < self->live_n; i++) {
        ticket_t *it = &self->live[i];
        if (it->broker == broker) {
            it->ends_at = now_ms + ttl_ms;
            self->grants[n++] =
                (wire_grant_t){.ticket = it->id, .tasks = it->mask, .max_items = it->max_items};
        }
    }
    self->changed[broker] = false;
    *grants = self->grants;
    return n;
}

uint32_t tickets_live_n(const tickets_t *self)
{
    return self->live_n;
}

int64_t tickets_next_at(const tickets_t *self)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < self->live_n; i++) {
        at = self->live[i].ends_at < at ? self->live[i].ends_at : at;
    }
    return at;
}

/* -- a ticket is used -- */

static bool same(wire_lease_ref_t a, wire_lease_ref_t b)
{
    return a.batch == b.batch && a.attempt == b.attempt;
}

static ticket_verdict_t refuse(const char **why, const char *reason)
{
    *why = reason;
    return TICKET_REFUSED;
}

/* A ticket that lives: its broker has given it away (P14), so it is over whatever the verdict. */
static ticket_verdict_t take_live(tickets_t *self, uint32_t i, wire_lease_ref_t attempt, int task,
                                  const char **why)
{
    uint64_t id = self->live[i].id;
    bool fits = task >= 0 && self->live[i].mask >> task & 1;
    retire(self, i, fits ? FATE_USED : FATE_GONE);
    memory_of(self, id)->by = attempt;
    if (!fits) {
        return refuse(why, task < 0 ? "unknown task" : "task not on this ticket");
    }
    *attempt_of(self, attempt) = attempt;
    return TICKET_TAKEN;
}

/* The attempt runs or ran: a refusal would deny that, on whatever ticket it comes a second time. */
static ticket_verdict_t take_again(tickets_t *self, uint64_t id, wire_lease_ref_t attempt)
{
    for (uint32_t i = 0; i < self->live_n; i++) {
        if (self->live[i].id == id) {
            retire(self, i, FATE_USED);
            memory_of(self, id)->by = attempt;
            break;
        }
    }
    return TICKET_SILENT;
}

ticket_verdict_t tickets_take(tickets_t *self, uint64_t id, wire_lease_ref_t attempt, int task,
                              const char **why)
{
    const memory_t *known = memory_of(self, id);
    if (same(*attempt_of(self, attempt), attempt)) {
        return take_again(self, id, attempt);
    }
    if (id <= self->base || id > self->last_id || known->id != id) {
        return TICKET_SILENT; /* another incarnation's, or forgotten: nothing can be proven */
    }
    if (known->fate == FATE_USED) {
        return same(known->by, attempt) ? TICKET_SILENT : refuse(why, "ticket used");
    }
    for (uint32_t i = 0; i < self->live_n && known->fate == FATE_LIVE; i++) {
        if (self->live[i].id == id) {
            return take_live(self, i, attempt, task, why);
        }
    }
    return refuse(why, "ticket expired");
}

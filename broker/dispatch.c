/* Tickets of the same kind (same tasks, same size) form a group; each group keeps its workers in a
 * heap, the best first. A match looks at the best of each group that fits: the number of groups is
 * small, the number of workers does not matter. */
#include "broker/dispatch.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/heap.h"
#include "common/log.h"

enum { SLOTS_MAX = 65536, TTL_MAX_MS = 3600000, CAPACITY_BYTES_MAX = 900000 };

typedef struct {
    heap_t entries;     /* those with unused tickets */
    uint32_t entries_n; /* also the empty ones; 0 = the group ends */
    uint32_t place;     /* in dispatch_t.groups */
    uint64_t max_items;
    uint64_t n;  /* unused tickets */
    char *tasks; /* names, sorted, joined by ',' */
    size_t tasks_n;
} group_t;

/* One worker's tickets of one group. */
typedef struct {
    heap_slot_t slot;
    dispatch_worker_t *worker;
    group_t *group;
    uint32_t n, was_n; /* unused tickets now, before this TICKETS */
    uint32_t first;    /* index of the oldest unused one */
    uint64_t oldest;   /* its order */
} entry_t;

typedef struct {
    uint64_t id, order; /* order: of arrival in this broker, kept over renewals */
    group_t *group;     /* NULL: good for nothing */
    bool used;
} ticket_t;

struct dispatch_worker {
    heap_slot_t slot; /* while its tickets live */
    dispatch_t *dispatch;
    void *owner;
    int64_t ends_at;
    uint64_t slots, in_flight, seq;
    bool heard;        /* seq counts */
    ticket_t *tickets; /* by id */
    uint32_t tickets_n;
    entry_t *entries[DISPATCH_KINDS_MAX];
    uint32_t entries_n;
    char *names[DISPATCH_TASKS_MAX]; /* by bit */
    uint32_t names_n;
    uint8_t sorted[DISPATCH_TASKS_MAX]; /* bits by name, each name once */
    uint32_t sorted_n;
};

struct dispatch {
    group_t **groups;
    uint32_t groups_n;
    heap_t expiries;
    uint64_t order;
    bool changed;
    buffer_t joined; /* scratch */
    wire_capacity_t *capacity;
};

static bool entry_before(const void *a, const void *b)
{
    const entry_t *one = a, *other = b;
    uint64_t load_one = one->worker->in_flight * other->worker->slots;
    uint64_t load_other = other->worker->in_flight * one->worker->slots;
    return load_one != load_other ? load_one < load_other : one->oldest < other->oldest;
}

static bool ends_before(const void *a, const void *b)
{
    const dispatch_worker_t *one = a, *other = b;
    return one->ends_at < other->ends_at;
}

dispatch_t *dispatch_new(void)
{
    dispatch_t *self = mem_zero(sizeof *self);
    heap_init(&self->expiries, offsetof(dispatch_worker_t, slot), ends_before);
    self->groups = mem_alloc(DISPATCH_GROUPS_MAX * sizeof *self->groups);
    self->capacity = mem_alloc(DISPATCH_GROUPS_MAX * sizeof *self->capacity);
    return self;
}

void dispatch_destroy(dispatch_t **self)
{
    dispatch_t *dispatch = *self;
    if (dispatch) {
        INVARIANT(dispatch->groups_n == 0);
        heap_free(&dispatch->expiries);
        buffer_free(&dispatch->joined);
        free(dispatch->groups);
        free(dispatch->capacity);
        free(dispatch);
        *self = NULL;
    }
}

/* -- groups
 * -------------------------------------------------------------------------------------------- */

static void group_leave(dispatch_t *self, group_t *group)
{
    if (--group->entries_n > 0) {
        return;
    }
    self->groups[group->place] = self->groups[--self->groups_n];
    self->groups[group->place]->place = group->place;
    heap_free(&group->entries);
    free(group->tasks);
    free(group);
}

/* The group of a grant; NULL if it is good for nothing or there are too many kinds. */
static group_t *group_of(dispatch_worker_t *worker, uint64_t mask, uint64_t max_items)
{
    dispatch_t *self = worker->dispatch;
    buffer_clear(&self->joined);
    for (uint32_t i = 0; i < worker->sorted_n; i++) {
        if (mask >> worker->sorted[i] & 1) {
            buffer_add(&self->joined, ",", self->joined.n ? 1 : 0);
            buffer_add_text(&self->joined, worker->names[worker->sorted[i]]);
        }
    }
    if (self->joined.n == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < self->groups_n; i++) {
        group_t *group = self->groups[i];
        if (group->max_items == max_items && group->tasks_n == self->joined.n &&
            memcmp(group->tasks, self->joined.data, group->tasks_n) == 0) {
            return group;
        }
    }
    if (self->groups_n == DISPATCH_GROUPS_MAX) {
        return NULL;
    }
    group_t *group = mem_zero(sizeof *group);
    heap_init(&group->entries, offsetof(entry_t, slot), entry_before);
    group->max_items = max_items;
    group->tasks = mem_text_n((const char *)self->joined.data, self->joined.n);
    group->tasks_n = self->joined.n;
    group->place = self->groups_n;
    self->groups[self->groups_n++] = group;
    return group;
}

static bool group_runs(const group_t *group, str_t task)
{
    const char *at = group->tasks, *end = at + group->tasks_n;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t n = (size_t)((comma ? comma : end) - at);
        if (n == task.n && memcmp(at, task.p, n) == 0) {
            return true;
        }
        at += n + 1;
    }
    return false;
}

/* -- workers
 * ------------------------------------------------------------------------------------------- */

dispatch_worker_t *dispatch_worker_new(dispatch_t *self, void *owner)
{
    dispatch_worker_t *worker = mem_zero(sizeof *worker);
    worker->dispatch = self;
    worker->owner = owner;
    worker->slots = 1;
    return worker;
}

static void drop_entry(dispatch_worker_t *worker, uint32_t i)
{
    entry_t *entry = worker->entries[i];
    heap_remove(&entry->group->entries, entry);
    entry->group->n -= entry->n;
    worker->dispatch->changed = worker->dispatch->changed || entry->n > 0;
    group_leave(worker->dispatch, entry->group);
    free(entry);
    worker->entries[i] = worker->entries[--worker->entries_n];
}

void dispatch_worker_suspend(dispatch_worker_t *worker)
{
    while (worker->entries_n > 0) {
        drop_entry(worker, worker->entries_n - 1);
    }
    heap_remove(&worker->dispatch->expiries, worker);
}

static void forget_names(dispatch_worker_t *worker)
{
    for (uint32_t i = 0; i < worker->names_n; i++) {
        free(worker->names[i]);
    }
    worker->names_n = worker->sorted_n = 0;
}

void dispatch_worker_destroy(dispatch_worker_t **worker)
{
    if (*worker) {
        dispatch_worker_suspend(*worker);
        forget_names(*worker);
        free((*worker)->tickets);
        free(*worker);
        *worker = NULL;
    }
}

void dispatch_worker_hello(dispatch_worker_t *worker, uint64_t slots,
                           const wire_task_offer_t *tasks, uint32_t tasks_n, bool anew)
{
    worker->heard = worker->heard && !anew;
    dispatch_worker_suspend(worker);
    forget_names(worker);
    worker->slots = slots < 1 ? 1 : slots > SLOTS_MAX ? SLOTS_MAX : slots;
    INVARIANT(tasks_n <= DISPATCH_TASKS_MAX);
    for (uint32_t i = 0; i < tasks_n; i++) {
        worker->names[i] = mem_text_n(tasks[i].name.p, tasks[i].name.n);
        worker->names_n++;
        uint32_t at = 0;
        while (at < worker->sorted_n &&
               strcmp(worker->names[worker->sorted[at]], worker->names[i]) < 0) {
            at++;
        }
        if (at < worker->sorted_n &&
            strcmp(worker->names[worker->sorted[at]], worker->names[i]) == 0) {
            continue;
        }
        memmove(&worker->sorted[at + 1], &worker->sorted[at], worker->sorted_n - at);
        worker->sorted[at] = (uint8_t)i;
        worker->sorted_n++;
    }
}

static void moved(dispatch_worker_t *worker)
{
    for (uint32_t i = 0; i < worker->entries_n; i++) {
        entry_t *entry = worker->entries[i];
        if (entry->slot.at) {
            heap_moved(&entry->group->entries, entry);
        }
    }
}

void dispatch_worker_ended(dispatch_worker_t *worker)
{
    if (worker->in_flight > 0) {
        worker->in_flight--;
        moved(worker);
    }
}

/* -- TICKETS
 * ------------------------------------------------------------------------------------------- */

static int by_ticket(const void *a, const void *b)
{
    const wire_grant_t *one = a, *other = b;
    return one->ticket < other->ticket ? -1 : one->ticket > other->ticket;
}

static void sort_grants(wire_grant_t *grants, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        if (grants[i].ticket < grants[i - 1].ticket) {
            qsort(grants, n, sizeof *grants, by_ticket);
            return;
        }
    }
}

/* The worker's entry in a group; NULL if it has too many kinds already. */
static entry_t *entry_of(dispatch_worker_t *worker, group_t *group)
{
    for (uint32_t i = 0; i < worker->entries_n; i++) {
        if (worker->entries[i]->group == group) {
            return worker->entries[i];
        }
    }
    group->entries_n++;
    if (worker->entries_n == DISPATCH_KINDS_MAX) {
        group_leave(worker->dispatch, group);
        return NULL;
    }
    entry_t *entry = mem_zero(sizeof *entry);
    entry->worker = worker;
    entry->group = group;
    worker->entries[worker->entries_n++] = entry;
    return entry;
}

/* Give the unused tickets to their groups. */
static uint32_t enter(dispatch_worker_t *worker, const wire_grant_t *grants)
{
    const wire_grant_t *before = NULL;
    entry_t *entry = NULL;
    uint32_t unused = 0, at = 0;
    for (uint32_t i = 0; i < worker->tickets_n; i++) {
        ticket_t *ticket = &worker->tickets[i];
        while (grants[at].ticket != ticket->id) {
            at++;
        }
        const wire_grant_t *grant = &grants[at];
        ticket->group = NULL;
        if (ticket->used) {
            continue;
        }
        if (!before || before->tasks != grant->tasks || before->max_items != grant->max_items) {
            group_t *group = group_of(worker, grant->tasks, grant->max_items);
            entry = group ? entry_of(worker, group) : NULL;
            before = grant;
        }
        if (!entry) {
            continue;
        }
        ticket->group = entry->group;
        if (entry->n++ == 0) {
            entry->first = i;
            entry->oldest = ticket->order;
        }
        entry->group->n++;
        unused++;
    }
    return unused;
}

/* The new set, by id: what was there before keeps its order and its use. */
static void merge(dispatch_worker_t *worker, const wire_grant_t *grants, uint32_t n)
{
    ticket_t *tickets = mem_alloc(n * sizeof *tickets);
    uint32_t count = 0, old = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t id = grants[i].ticket;
        if (count > 0 && tickets[count - 1].id == id) {
            continue;
        }
        while (old < worker->tickets_n && worker->tickets[old].id < id) {
            old++;
        }
        bool known = old < worker->tickets_n && worker->tickets[old].id == id;
        tickets[count++] =
            known ? worker->tickets[old] : (ticket_t){.id = id, .order = worker->dispatch->order++};
    }
    free(worker->tickets);
    worker->tickets = tickets;
    worker->tickets_n = count;
}

void dispatch_worker_tickets(dispatch_worker_t *worker, const msg_tickets_t *tickets,
                             int64_t now_ms)
{
    if (worker->heard && tickets->seq <= worker->seq) {
        return; /* overtaken on an older connection: it may name tickets whose use is forgotten */
    }
    dispatch_t *self = worker->dispatch;
    worker->heard = true;
    worker->seq = tickets->seq;
    sort_grants(tickets->grants, tickets->grants_n);
    for (uint32_t i = 0; i < worker->entries_n; i++) {
        entry_t *entry = worker->entries[i];
        entry->group->n -= entry->n;
        entry->was_n = entry->n;
        entry->n = 0;
    }
    merge(worker, tickets->grants, tickets->grants_n);
    uint32_t unused = enter(worker, tickets->grants);
    worker->in_flight = worker->slots > unused ? worker->slots - unused : 0;
    for (uint32_t i = worker->entries_n; i-- > 0;) {
        entry_t *entry = worker->entries[i];
        self->changed = self->changed || entry->n != entry->was_n;
        if (entry->n == 0) {
            drop_entry(worker, i);
        } else if (entry->slot.at) {
            heap_moved(&entry->group->entries, entry);
        } else {
            heap_add(&entry->group->entries, entry);
        }
    }
    heap_remove(&self->expiries, worker);
    int64_t ttl = tickets->ttl_ms < 0            ? 0
                  : tickets->ttl_ms > TTL_MAX_MS ? TTL_MAX_MS
                                                 : tickets->ttl_ms;
    worker->ends_at = now_ms + ttl;
    if (worker->entries_n > 0) {
        heap_add(&self->expiries, worker);
    }
}

/* -- matching
 * ------------------------------------------------------------------------------------------ */

void dispatch_expire(dispatch_t *self, int64_t now_ms)
{
    for (;;) {
        dispatch_worker_t *worker = heap_top(&self->expiries);
        if (!worker || worker->ends_at > now_ms) {
            return;
        }
        dispatch_worker_suspend(worker);
    }
}

int64_t dispatch_next_at(const dispatch_t *self)
{
    const dispatch_worker_t *worker = heap_top(&self->expiries);
    return worker ? worker->ends_at : INT64_MAX;
}

static uint64_t take(entry_t *entry)
{
    dispatch_worker_t *worker = entry->worker;
    ticket_t *ticket = &worker->tickets[entry->first];
    ticket->used = true;
    entry->group->n--;
    if (--entry->n == 0) {
        heap_remove(&entry->group->entries, entry);
    } else {
        do {
            entry->first++;
        } while (worker->tickets[entry->first].group != entry->group ||
                 worker->tickets[entry->first].used);
        entry->oldest = worker->tickets[entry->first].order;
    }
    worker->in_flight++;
    moved(worker);
    worker->dispatch->changed = true;
    return ticket->id;
}

void dispatch_worker_unsent(dispatch_worker_t *worker, uint64_t ticket)
{
    for (uint32_t i = 0; i < worker->tickets_n; i++) {
        if (worker->tickets[i].id == ticket) {
            worker->tickets[i].used = false;
        }
    }
    dispatch_worker_ended(worker);
}

void *dispatch_match(dispatch_t *self, str_t task, uint64_t items_n, int64_t now_ms,
                     uint64_t *ticket)
{
    dispatch_expire(self, now_ms);
    entry_t *best = NULL;
    bool best_fits = false;
    for (uint32_t i = 0; i < self->groups_n; i++) {
        const group_t *group = self->groups[i];
        entry_t *entry = heap_top(&group->entries);
        bool fits = items_n <= group->max_items;
        if (!entry || !group_runs(group, task) || (best_fits && !fits)) {
            continue;
        }
        if (!best || (fits && !best_fits) || entry_before(entry, best)) {
            best = entry;
            best_fits = fits;
        }
    }
    if (!best) {
        return NULL;
    }
    *ticket = take(best);
    return best->worker->owner;
}

/* -- capacity
 * ------------------------------------------------------------------------------------------ */

static int by_kind(const void *a, const void *b)
{
    const wire_capacity_t *one = a, *other = b;
    uint32_t n = one->tasks.n < other->tasks.n ? one->tasks.n : other->tasks.n;
    int order = memcmp(one->tasks.p, other->tasks.p, n);
    if (order == 0 && one->tasks.n != other->tasks.n) {
        order = one->tasks.n < other->tasks.n ? -1 : 1;
    }
    if (order == 0 && one->max_items != other->max_items) {
        order = one->max_items < other->max_items ? -1 : 1;
    }
    return order;
}

uint32_t dispatch_capacity(dispatch_t *self, wire_capacity_t **out)
{
    uint32_t n = 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < self->groups_n; i++) {
        const group_t *group = self->groups[i];
        bytes += group->n ? group->tasks_n + 32 : 0;
        if (group->n && bytes <= CAPACITY_BYTES_MAX) {
            wire_capacity_t *told = &self->capacity[n++];
            told->tasks = str_bytes(group->tasks, group->tasks_n);
            told->max_items = group->max_items;
            told->n = group->n;
        }
    }
    if (n > 1) {
        qsort(self->capacity, n, sizeof *self->capacity, by_kind);
    }
    *out = self->capacity;
    return n;
}

bool dispatch_changed(dispatch_t *self)
{
    bool changed = self->changed;
    self->changed = false;
    return changed;
}

#include "broker/roster.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/log.h"

enum { BUCKETS_N = 16384, KEPT_SILENCES = 30 };

struct roster {
    int64_t silence_ms;
    uint64_t seed;
    uint32_t known_n, all_n;
    uint64_t store;
    heap_t due;
    peer_t *first, *last; /* workers, the untold first */
    peer_t *by_link[BUCKETS_N], *by_incarnation[BUCKETS_N], *by_name[BUCKETS_N];
};

static bool due_before(const void *a, const void *b)
{
    return ((const peer_t *)a)->due_at < ((const peer_t *)b)->due_at;
}

static size_t bucket(const roster_t *self, const void *data, size_t n)
{
    uint64_t hash = self->seed;
    const uint8_t *at = data;
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3;
    }
    hash ^= hash >> 29;
    hash *= 0xbf58476d1ce4e5b9;
    return (hash >> 40) % BUCKETS_N;
}

roster_t *roster_new(int64_t silence_ms, uint64_t seed)
{
    roster_t *self = mem_zero(sizeof *self);
    self->silence_ms = silence_ms;
    self->seed = seed ^ 0xcbf29ce484222325;
    self->store = 1;
    heap_init(&self->due, offsetof(peer_t, slot), due_before);
    return self;
}

/* -- tables: chains through the peers themselves
 * ------------------------------------------------------- */

static peer_t **link_bucket(const roster_t *self, const link_id_t *link)
{
    return (peer_t **)&self->by_link[bucket(self, link->bytes, link->n)];
}

static peer_t **incarnation_bucket(const roster_t *self, const uint8_t *incarnation)
{
    return (peer_t **)&self->by_incarnation[bucket(self, incarnation, WIRE_PEER_N)];
}

static peer_t **name_bucket(const roster_t *self, const char *name)
{
    return (peer_t **)&self->by_name[bucket(self, name, strlen(name))];
}

/* `offset` says which of the three chains. */
static peer_t **next_of(peer_t *peer, size_t offset)
{
    return (peer_t **)(void *)((char *)peer + offset);
}

static void chain(peer_t **head, peer_t *peer, size_t offset)
{
    *next_of(peer, offset) = *head;
    *head = peer;
}

static void unchain(peer_t **head, peer_t *peer, size_t offset)
{
    while (*head && *head != peer) {
        head = next_of(*head, offset);
    }
    if (*head) {
        *head = *next_of(peer, offset);
    }
}

peer_t *roster_by_link(const roster_t *self, broker_side_t side, const link_id_t *link)
{
    peer_t *peer = *link_bucket(self, link);
    while (peer && !(peer->side == side && link_id_equal(&peer->link, link))) {
        peer = peer->next_by_link;
    }
    return peer;
}

peer_t *roster_by_incarnation(const roster_t *self, const uint8_t incarnation[WIRE_PEER_N])
{
    peer_t *peer = *incarnation_bucket(self, incarnation);
    while (peer && memcmp(peer->incarnation, incarnation, WIRE_PEER_N) != 0) {
        peer = peer->next_by_incarnation;
    }
    return peer;
}

peer_t *roster_by_name(const roster_t *self, const char *name)
{
    peer_t *peer = *name_bucket(self, name);
    while (peer && strcmp(peer->name, name) != 0) {
        peer = peer->next_by_name;
    }
    return peer;
}

peer_t *roster_find(const roster_t *self, bool (*wanted)(void *context, const peer_t *peer),
                    void *context)
{
    for (size_t i = 0; i < BUCKETS_N; i++) {
        for (peer_t *peer = self->by_link[i]; peer; peer = peer->next_by_link) {
            if (wanted(context, peer)) {
                return peer;
            }
        }
    }
    return NULL;
}

uint32_t roster_n(const roster_t *self)
{
    return self->known_n;
}

/* -- the list of workers
 * ------------------------------------------------------------------------------- */

static void unlist(roster_t *self, peer_t *peer)
{
    *(peer->previous ? &peer->previous->next : &self->first) = peer->next;
    *(peer->next ? &peer->next->previous : &self->last) = peer->previous;
    peer->next = peer->previous = NULL;
}

static void list_first(roster_t *self, peer_t *peer)
{
    peer->next = self->first;
    *(self->first ? &self->first->previous : &self->last) = peer;
    self->first = peer;
}

static void list_last(roster_t *self, peer_t *peer)
{
    peer->previous = self->last;
    *(self->last ? &self->last->next : &self->first) = peer;
    self->last = peer;
}

void roster_new_store(roster_t *self)
{
    self->store++;
}

peer_t *roster_untold(const roster_t *self)
{
    return self->first && self->first->told != self->store ? self->first : NULL;
}

void roster_told(roster_t *self, peer_t *peer)
{
    peer->told = self->store;
    unlist(self, peer);
    list_last(self, peer);
}

/* -- coming and going
 * ---------------------------------------------------------------------------------- */

static void put_due(roster_t *self, peer_t *peer, int64_t at)
{
    heap_remove(&self->due, peer);
    peer->due_at = at;
    heap_add(&self->due, peer);
}

peer_t *roster_add(roster_t *self, const uint8_t incarnation[WIRE_PEER_N])
{
    if (self->known_n >= ROSTER_MAX) {
        return NULL;
    }
    peer_t *peer = mem_zero(sizeof *peer);
    memcpy(peer->incarnation, incarnation, WIRE_PEER_N);
    chain(incarnation_bucket(self, incarnation), peer, offsetof(peer_t, next_by_incarnation));
    self->all_n++;
    return peer;
}

void roster_admit(roster_t *self, peer_t *peer, int64_t now_ms)
{
    INVARIANT(!peer->known);
    peer->known = true;
    self->known_n++;
    chain(link_bucket(self, &peer->link), peer, offsetof(peer_t, next_by_link));
    if (peer->role == WIRE_ROLE_WORKER) {
        chain(name_bucket(self, peer->name), peer, offsetof(peer_t, next_by_name));
        peer->told = 0;
        list_first(self, peer);
    }
    peer->heard_at = now_ms;
    put_due(self, peer, now_ms + self->silence_ms);
}

static void leave(roster_t *self, peer_t *peer)
{
    if (!peer->known) {
        return;
    }
    peer->known = false;
    self->known_n--;
    unchain(link_bucket(self, &peer->link), peer, offsetof(peer_t, next_by_link));
    if (peer->role == WIRE_ROLE_WORKER) {
        unchain(name_bucket(self, peer->name), peer, offsetof(peer_t, next_by_name));
        unlist(self, peer);
    }
}

static void destroy_peer(roster_t *self, peer_t *peer)
{
    leave(self, peer);
    heap_remove(&self->due, peer);
    unchain(incarnation_bucket(self, peer->incarnation), peer,
            offsetof(peer_t, next_by_incarnation));
    dispatch_worker_destroy(&peer->tickets);
    blob_unref(&peer->hello);
    free(peer);
    self->all_n--;
}

void roster_forget(roster_t *self, peer_t *peer, int64_t now_ms)
{
    leave(self, peer);
    if (!peer->tickets || self->all_n > 2 * ROSTER_MAX) {
        destroy_peer(self, peer);
        return;
    }
    dispatch_worker_suspend(peer->tickets);
    put_due(self, peer, now_ms + KEPT_SILENCES * self->silence_ms);
}

void roster_destroy(roster_t **self)
{
    if (*self) {
        while (heap_top(&(*self)->due)) {
            destroy_peer(*self, heap_top(&(*self)->due));
        }
        INVARIANT((*self)->all_n == 0);
        heap_free(&(*self)->due);
        free(*self);
        *self = NULL;
    }
}

void roster_heard(peer_t *peer, int64_t now_ms)
{
    peer->heard_at = now_ms; /* its place in the heap is corrected when it comes up */
}

peer_t *roster_silent(roster_t *self, int64_t now_ms)
{
    for (;;) {
        peer_t *peer = heap_top(&self->due);
        if (!peer || peer->due_at > now_ms) {
            return NULL;
        }
        if (!peer->known) {
            destroy_peer(self, peer);
        } else if (peer->heard_at + self->silence_ms > now_ms) {
            put_due(self, peer, peer->heard_at + self->silence_ms);
        } else {
            return peer;
        }
    }
}

int64_t roster_next_at(const roster_t *self)
{
    const peer_t *peer = heap_top(&self->due);
    return peer ? peer->due_at : INT64_MAX;
}

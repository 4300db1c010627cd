#include "api/peers.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/map.h"

struct peers {
    peer_t **items;
    int n, capacity;
    map_t by_key; /* last 8 bytes of the incarnation; they are random */
};

static uint64_t key_of(const uint8_t incarnation[WIRE_PEER_N])
{
    uint64_t key;
    memcpy(&key, incarnation + 8, sizeof key);
    return key ? key : 1;
}

peers_t *peers_new(void)
{
    return mem_zero(sizeof(peers_t));
}

static void free_peer(peer_t *peer)
{
    free(peer->tasks);
    free(peer);
}

void peers_destroy(peers_t **self_ref)
{
    peers_t *self = *self_ref;
    if (self) {
        for (int i = 0; i < self->n; i++) {
            free_peer(self->items[i]);
        }
        free(self->items);
        map_free(&self->by_key);
        free(self);
        *self_ref = NULL;
    }
}

peer_t *peers_find(const peers_t *self, const uint8_t incarnation[WIRE_PEER_N])
{
    peer_t *peer = map_get(&self->by_key, key_of(incarnation));
    return peer && memcmp(peer->incarnation, incarnation, WIRE_PEER_N) == 0 ? peer : NULL;
}

peer_t *peers_put(peers_t *self, const uint8_t incarnation[WIRE_PEER_N])
{
    peer_t *peer = peers_find(self, incarnation);
    if (peer || self->n >= PEERS_MAX || map_get(&self->by_key, key_of(incarnation))) {
        return peer;
    }
    peer = mem_zero(sizeof *peer);
    memcpy(peer->incarnation, incarnation, WIRE_PEER_N);
    if (self->n == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 16;
        self->items = mem_grow(self->items, (size_t)self->capacity * sizeof *self->items);
    }
    self->items[self->n++] = peer;
    map_put(&self->by_key, key_of(incarnation), peer);
    return peer;
}

void peers_remove(peers_t *self, peer_t *peer)
{
    for (int i = 0; i < self->n; i++) {
        if (self->items[i] == peer) {
            self->items[i] = self->items[--self->n];
            break;
        }
    }
    map_remove(&self->by_key, key_of(peer->incarnation));
    free_peer(peer);
}

int peers_n(const peers_t *self)
{
    return self->n;
}

peer_t *peers_at(const peers_t *self, int i)
{
    return self->items[i];
}

void peers_expire(peers_t *self, int64_t seen_before)
{
    for (int i = self->n - 1; i >= 0; i--) {
        if (self->items[i]->seen_at < seen_before) {
            peers_remove(self, self->items[i]);
        }
    }
}

void peer_hello(peer_t *peer, const msg_hello_t *msg)
{
    peer->is_worker = msg->role == WIRE_ROLE_WORKER;
    str_copy(peer->name, sizeof peer->name, msg->name);
    str_copy(peer->host, sizeof peer->host, msg->host);
    str_copy(peer->version, sizeof peer->version, msg->version);
    peer->pid = msg->pid;
    peer->slots = (uint32_t)(msg->slots < 100000 ? msg->slots : 100000);
    buffer_t tasks = {0};
    for (uint32_t i = 0; i < msg->tasks_n; i++) {
        buffer_add(&tasks, ",", i ? 1 : 0);
        buffer_add(&tasks, msg->tasks[i].name.p, msg->tasks[i].name.n);
    }
    free(peer->tasks);
    peer->tasks = mem_text_n((const char *)tasks.data, tasks.n);
    buffer_free(&tasks);
}

void peer_heartbeat(peer_t *peer, const msg_heartbeat_t *msg)
{
    peer->is_worker = true;
    peer->has_sample = true;
    str_copy(peer->name, sizeof peer->name, msg->worker);
    peer->slots = (uint32_t)(msg->slots < 100000 ? msg->slots : 100000);
    peer->busy = (uint32_t)(msg->busy < 100000 ? msg->busy : 100000);
    peer->draining = msg->draining != 0;
    peer->done_n = msg->done_n;
    peer->failed_n = msg->failed_n;
    peer->cpu_permille = msg->cpu_permille;
    peer->memory_total = msg->memory_total;
    peer->memory_available = msg->memory_available;
    peer->load_centi = msg->load_centi;
    peer->disk_read_rate = msg->disk_read_rate;
    peer->disk_write_rate = msg->disk_write_rate;
    peer->batch_items = (uint32_t)(msg->batch_items < 100000 ? msg->batch_items : 100000);
    str_copy(peer->batch_reason, sizeof peer->batch_reason, msg->batch_reason);
    peer->limits_n = 0;
    for (uint32_t i = 0; i < msg->limits_n && peer->limits_n < PEER_LIMITS_MAX; i++) {
        peer_limit_t *limit = &peer->limits[peer->limits_n++];
        str_copy(limit->task, sizeof limit->task, msg->limits[i].task);
        limit->rate_n =
            (uint32_t)(msg->limits[i].rate_n < 1000000 ? msg->limits[i].rate_n : 1000000);
        limit->used_n =
            (uint32_t)(msg->limits[i].used_n < 1000000 ? msg->limits[i].used_n : 1000000);
        limit->window_ms = msg->limits[i].rate_window_ms;
    }
}

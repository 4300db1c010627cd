/* peers: the workers and schedulers the api has heard of, as they last said themselves.
 *
 * Pure memory; silence is judged by the caller's clock. Not here: leases (feeder). */
#ifndef STINT_API_PEERS_H
#define STINT_API_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"

enum { PEERS_MAX = 10000, PEER_LIMITS_MAX = 16 };

typedef struct {
    char task[65];
    uint32_t rate_n, used_n;
    int64_t window_ms;
} peer_limit_t;

typedef struct peer {
    uint8_t incarnation[WIRE_PEER_N];
    bool is_worker;
    char name[65], host[129], version[33];
    uint64_t pid;
    uint32_t slots;
    char *tasks;     /* comma-separated */
    int broker;      /* through which it spoke last */
    int64_t seen_at; /* core clock */
    bool knows_schedules;
    /* from the last HEARTBEAT */
    bool has_sample, draining;
    uint32_t busy, batch_items;
    uint64_t done_n, failed_n, cpu_permille, memory_total, memory_available, load_centi,
        disk_read_rate, disk_write_rate;
    char batch_reason[65];
    peer_limit_t limits[PEER_LIMITS_MAX];
    int limits_n;
} peer_t;

typedef struct peers peers_t;

peers_t *peers_new(void);
void peers_destroy(peers_t **self);
peer_t *peers_find(const peers_t *self, const uint8_t incarnation[WIRE_PEER_N]);
/* Insert or find; NULL when there are too many. */
peer_t *peers_put(peers_t *self, const uint8_t incarnation[WIRE_PEER_N]);
void peers_remove(peers_t *self, peer_t *peer);
int peers_n(const peers_t *self);
peer_t *peers_at(const peers_t *self, int i);
/* Forget everybody silent since before `seen_before`. */
void peers_expire(peers_t *self, int64_t seen_before);
/* Copy what a message says. */
void peer_hello(peer_t *peer, const msg_hello_t *msg);
void peer_heartbeat(peer_t *peer, const msg_heartbeat_t *msg);

#endif

/* pool_frames: what children say, and what becomes of their work.
 *
 * Lives here: the pool's inner shape, shared with pool.c and nobody else; frames into events. Not
 * here: forking, limits, the verbs of the worker (pool). */
#ifndef STINT_WORKER_POOL_FRAMES_H
#define STINT_WORKER_POOL_FRAMES_H

#include "worker/fork_server.h"
#include "worker/outcome.h"
#include "worker/pool.h"
#include "worker/slot.h"

struct pool {
    int epoll;
    pid_t server;
    int server_socket; /* -1 = lost */
    char *shared;
    fork_setup_t setup; /* the server's copy was made by fork; ours gives pool_close the size */
    int slots_n;
    slot_t *slots;
    /* Of the pool_drain that runs. */
    pool_call_t call;
    void *context;
    int64_t now_ms;
};

/* Read what a child has sent and turn it into events. */
void pool_read_socket(const pool_t *self, slot_t *slot);
/* The frames already read. */
void pool_take_frames(const pool_t *self, slot_t *slot);
/* False once a child is condemned or dying: what it says does not count any more. */
bool pool_hears(const slot_t *slot);
/* The slot has no work any more: kill the group and wait for its end. */
void pool_retire(slot_t *slot);
/* Kill the group; if there is work, the failure follows when the process has ended. */
void pool_condemn(slot_t *slot, verdict_t verdict);
/* Fill in sentence, tail and work, and call. */
void pool_emit_failure(const pool_t *self, slot_t *slot, pool_event_t *event, const char *text);

#endif

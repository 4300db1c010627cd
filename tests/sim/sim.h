/* sim: the real cores of all four processes on virtual time, over a network that drops, delays,
 * duplicates and reorders.
 *
 * Lives here: what the rooms of the simulation share. sim_world.c: time, network, faults.
 * sim_api.c, sim_broker.c, sim_worker.c, sim_scheduler.c: one core each with its effects.
 * sim_check.c: the journal of what was promised, and the invariants. The store is the real one on
 * an in-memory database: a crash of the api is a rollback and lost memory. Everything comes from
 * the seed, so that a failing seed can be run again. */
#ifndef STINT_TESTS_SIM_H
#define STINT_TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/link.h"
#include "common/wire.h"

enum {
    SIM_BROKERS = 2,
    SIM_WORKERS = 3,
    SIM_SCHEDULERS = 2,
    SIM_SLOTS = 2,
    SIM_NODES = 1 + SIM_BROKERS + SIM_WORKERS + SIM_SCHEDULERS
};
enum {
    SIM_HEARTBEAT = 1000,
    SIM_LEASE = 9000,
    SIM_ACCEPT = 2000,
    SIM_MAX_STARTS = 10,
    SIM_RATE_N = 10,
    SIM_RATE_MS = 60000
};

typedef enum { NODE_API, NODE_BROKER, NODE_WORKER, NODE_SCHEDULER } node_kind_t;

typedef struct sim sim_t;
typedef struct node {
    sim_t *sim;
    node_kind_t kind;
    int index; /* among its kind */
    int number;
    bool up;
    uint32_t life; /* raised at each start; a message to an older life is lost */
    int64_t paused_until, start_at;
    void *self; /* the room's own */
} node_t;

struct sim {
    uint64_t seed, random;
    int64_t now, wall_base;
    node_t nodes[SIM_NODES];
    bool cut[SIM_NODES][SIM_BROKERS]; /* partitioned */
    int64_t cut_until[SIM_NODES][SIM_BROKERS];
    bool calm; /* faults are over */
    struct event_queue *queue;
    struct journal *journal;
    bool trace;
    bool restored; /* a backup was put in place: executions of the lost time are in no row */
};

/* -- sim_world.c -- */
uint64_t sim_random(sim_t *sim, uint64_t below);
bool sim_chance(sim_t *sim, unsigned per_thousand);
int64_t sim_wall(const sim_t *sim);
node_t *sim_node(sim_t *sim, node_kind_t kind, int index);
void sim_trace(sim_t *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A client's message to a broker, and a broker's to a client; take the frames. */
bool sim_to_broker(node_t *from, int broker, frames_t *frames);
bool sim_to_client(node_t *from, const link_id_t *to, frames_t *frames);
/* Call `call` on the node at that time if it still lives the same life. */
typedef void (*sim_call_t)(node_t *node, uint64_t a, uint64_t b);
void sim_later(node_t *node, int64_t at, sim_call_t call, uint64_t a, uint64_t b);
void sim_run(uint64_t seed);

/* -- one room per core: start (after a crash too), crash, receive, turn, when next -- */
typedef struct {
    void (*start)(node_t *node);
    void (*crash)(node_t *node);
    void (*receive)(node_t *node, int broker, const link_id_t *from, bool backend,
                    frames_t *frames);
    void (*turn)(node_t *node);
    int64_t (*next_at)(node_t *node);
    void (*end)(node_t *node); /* free all, also what a crash leaves */
} room_t;
extern const room_t sim_api_room, sim_broker_room, sim_worker_room, sim_scheduler_room;

/* -- sim_api.c -- */
void sim_api_submit(sim_t *sim);
void sim_api_cancel(sim_t *sim);
void sim_api_disk(sim_t *sim, bool full);
void sim_api_backup(sim_t *sim);
void sim_api_restore(sim_t *sim);
/* Every acknowledged job is terminal. */
bool sim_api_all_ended(sim_t *sim);
void sim_api_watch(sim_t *sim); /* progress and cancelled jobs, now */
void sim_api_count(sim_t *sim); /* at the end: no execution is missing in `starts` */

/* -- sim_worker.c -- */
bool sim_worker_busy(const node_t *node);

/* -- sim_check.c -- */
void journal_open(sim_t *sim);
void journal_close(sim_t *sim);
void journal_acknowledged(sim_t *sim, uint64_t job, uint64_t items);
void journal_cancelled(sim_t *sim, uint64_t job);
/* A child began an attempt; `store` tells databases apart. */
void journal_started(sim_t *sim, const uint8_t store[16], uint64_t batch, uint64_t attempt);
/* The i-th batch that was ever started and how many attempts of it; false at the end. */
bool journal_batch(sim_t *sim, int i, uint64_t *batch, uint32_t *executions);
void journal_rate(sim_t *sim, int worker, int64_t at);
int journal_rate_times(sim_t *sim, int worker, int64_t *out, int n);
void journal_backup(sim_t *sim);
void journal_restore(sim_t *sim); /* what came after the backup is forgotten */
typedef struct {
    uint64_t job, items, seen; /* seen: items ended, as last looked at */
    bool cancelled;
} promise_t;
int journal_n(sim_t *sim);
promise_t *journal_at(sim_t *sim, int i);
/* Fails the test, naming the seed. */
void sim_fail(sim_t *sim, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

#endif

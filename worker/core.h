/* core: what a worker decides, as a pure state machine.
 *
 * Lives here: connections to brokers, tickets, taking and starting batches, heartbeats, leases,
 * outcomes, drain (the worker's side of schema/PROTOCOL.md). Not here: sockets, children, files,
 * clocks: they are effects, and the glue (worker.c) or a simulation provides them. The same inputs
 * give the same effects.
 *
 * Rooms: core.c (life, messages in, the turn), peers.c (brokers, heartbeat), runs.c (batches);
 * core_inside.h is theirs alone. Values of their own: tickets, rates, guard, results.
 *
 * TIME. now_ms is the monotonic clock and never goes back between calls. The rate window counts on
 * it too: it stands still while the machine is suspended, so that a window of it is never shorter
 * than one of real time and the limit holds. What the `started` effect keeps for the next process
 * must be a clock that goes on in suspend: the glue writes its clock_boot_ms() of that very moment,
 * and at start maps kept times back by (clock_now_ms() - clock_boot_ms()). */
#ifndef STINT_WORKER_CORE_H
#define STINT_WORKER_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/task_table.h"
#include "common/wire.h"
#include "worker/pool.h"

enum { WORKER_TASKS_MAX = 64, WORKER_SLOTS_MAX = 256, WORKER_BROKERS_MAX = 16 };

typedef enum { WORKER_RATE_DEFAULT, WORKER_RATE_OFF, WORKER_RATE_SET } worker_rate_kind_t;

typedef struct {
    const char *name, *host; /* copied */
    uint8_t incarnation[WIRE_PEER_N];
    uint64_t pid;
    int slots;   /* 1..WORKER_SLOTS_MAX */
    int brokers; /* 1..WORKER_BROKERS_MAX */
    const task_spec_t *tasks[WORKER_TASKS_MAX];
    int tasks_n;
    worker_rate_kind_t rate; /* replaces the limit of tasks that have one */
    uint32_t rate_n;
    int64_t rate_window_ms;
    int64_t heartbeat_ms, drain_ms, target_duration_ms;
    uint64_t result_space; /* bytes */
    bool lookahead;        /* queue batches of short tasks */
    bool test_duplicate;   /* send every outcome twice */
    uint64_t random_seed;  /* jitter of the backoff */
} worker_options_t;

/* Offer every task of schema/tasks.def that a worker runs; test tasks only if asked. */
void worker_options_offer(worker_options_t *self, bool test_tasks);

/* Newest facts about the host. */
typedef struct {
    uint32_t cpu_permille;
    uint64_t memory_total, memory_available;
    uint64_t load_centi;
    uint64_t disk_read_rate, disk_write_rate;
} worker_sample_t;

typedef struct {
    void *context;
    /* Takes the frames. False: nobody took them (no connection, a full queue), they are lost. */
    bool (*send)(void *context, int broker, frames_t *frames);
    /* Keep the start of a limited task, before its child gets the batch. An error: the batch is
     * handed back. */
    err_t (*started)(void *context, const char *task, int64_t now_ms);
    /* Borrows everything. An error: nothing was started. */
    err_t (*start)(void *context, int slot, const pool_work_t *work);
    void (*page)(void *context, int slot, blob_t *page, uint64_t next_no, bool last);
    void (*extend)(void *context, int slot, int64_t deadline_ms);
    void (*kill)(void *context, int slot);
    /* Something a person may want to know: an event name and logfmt pairs. `degraded` asks for a
     * warning. May be NULL. */
    void (*note)(void *context, bool degraded, const char *event, const char *pairs);
} worker_effects_t;

typedef struct worker_core worker_core_t;

worker_core_t *worker_core_new(const worker_options_t *options, const worker_effects_t *effects);
void worker_core_destroy(worker_core_t **self);

/* The past of a limited task, in rising now_ms (negative ones are fine); and: its past is unknown.
 * Before the first turn. */
void worker_core_window_load(worker_core_t *self, const char *task, const int64_t *times, int n);
void worker_core_window_fill(worker_core_t *self, const char *task, int64_t now_ms);

/* A message from a broker; takes the frames. */
void worker_core_receive(worker_core_t *self, int broker, frames_t *frames, int64_t now_ms);
/* pool_ready() of a slot, told at start, after each pool_drain, and after kill. */
void worker_core_slot_ready(worker_core_t *self, int slot, bool ready);
void worker_core_event(worker_core_t *self, const pool_event_t *event, int64_t now_ms);
void worker_core_sample(worker_core_t *self, const worker_sample_t *sample, int64_t now_ms);
/* Once after all inputs of a loop turn: starts what waits, sends what is due. */
void worker_core_turn(worker_core_t *self, int64_t now_ms);
/* When the next turn is due if no input comes before it. */
int64_t worker_core_next_at(const worker_core_t *self, int64_t now_ms);

/* SIGTERM: grant nothing, hand back what waits, finish what runs. */
void worker_core_drain(worker_core_t *self, int64_t now_ms);
/* BYE has been said: the process may exit. */
bool worker_core_drained(const worker_core_t *self);

typedef struct {
    uint64_t done_n, failed_n, refused_n, handed_back_n, fenced_n, stopped_n, garbage_n;
    uint32_t running_n, waiting_n, results_n, tickets_n, batch_items;
    int brokers_live_n;
    bool draining, quiet;
} worker_facts_t;
worker_facts_t worker_core_facts(const worker_core_t *self);

#endif

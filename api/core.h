/* core: what the api decides, over the store and its memory; the rules of schema/PROTOCOL.md for
 * the store's side.
 *
 * Lives here: the loop turn (verbs, one commit, then everything owed), messages of workers, brokers
 * and schedulers, submissions, cancel, dispatch. Not here: sockets, HTTP, SQL, clocks: time comes
 * in by core_clock and messages leave by the effects, so that the simulation runs the same code.
 * One thread. After a rolled-back turn all memory is rebuilt from the store by the code of a
 * restart. */
#ifndef STINT_API_CORE_H
#define STINT_API_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/feeder.h"
#include "api/meter.h"
#include "api/peers.h"
#include "api/store/store.h"
#include "common/wire.h"

enum { CORE_BROKERS_MAX = 16 };

typedef struct core core_t;

typedef struct {
    void *context;
    /* Takes the frames. False: nobody took the message. */
    bool (*send)(void *context, int broker, frames_t *frames);
} core_effects_t;

typedef struct {
    int brokers_n;
    int64_t heartbeat_ms, lease_ms, accept_lease_ms;
    uint32_t max_starts;
    uint64_t max_waiting_jobs;
    bool test_tasks;
    uint8_t incarnation[WIRE_PEER_N];
    const char *name, *host;
    uint64_t pid;
    int64_t now_ms, wall_at; /* at opening */
} core_options_t;

/* Borrows the store. Loads what is live; leases are re-armed in full. */
CHECKED err_t core_open(core_t **out, store_t *store, const core_options_t *options,
                        core_effects_t effects);
void core_destroy(core_t **self);

/* -- a turn: core_clock, then any verbs, then core_turn
 * ------------------------------------------------- */
/* now_ms monotonic, wall_at wall clock. A gap of over a second between two turns moves every
 * deadline on by it. */
void core_clock(core_t *self, int64_t now_ms, int64_t wall_at);
/* A message from broker number `broker`; takes the frames. */
void core_receive(core_t *self, int broker, frames_t *frames);
/* Expire, dispatch, commit, then send what is owed and run the after-commit calls. ERR_IO or
 * ERR_CORRUPT: end the process. */
CHECKED err_t core_turn(core_t *self);
/* When core_turn wants to run without any event (monotonic); a past time = at once. */
int64_t core_next_at(const core_t *self);
/* Called once: after this turn's commit (ERR_OK), its rollback, or with ERR_CANCELLED by
 * core_destroy. */
/* Before an end: no turn will follow; every waiting call gets ERR_CANCELLED and open submissions
 * are broken off. */
void core_cancel_waiting(core_t *self);
typedef void (*core_after_t)(void *context, err_t err);
void core_after_commit(core_t *self, core_after_t call, void *context);

/* -- submissions
 * --------------------------------------------------------------------------------------- */
typedef struct core_submission core_submission_t;
typedef struct {
    const char *task;
    const json_t *params; /* object or NULL */
    int priority;
    uint32_t chunk_items, batch_items; /* 0 = default */
    uint32_t format;                   /* WIRE_FORMAT_... */
} submit_t;
/* Everything that can be known before the items: task, parameters, bounds, room. Nothing is
 * written. */
CHECKED err_t core_submit_open(core_submission_t **out, core_t *core, const submit_t *what);
task_input_t core_submit_input(const core_submission_t *self);
uint32_t core_submit_chunk_items(const core_submission_t *self);
/* The CSV header; checked against the task. first_line: line number of the first item. */
CHECKED err_t core_submit_header(core_submission_t *self, const char *line, size_t n,
                                 uint64_t first_line);
/* The next chunk: zstd bytes of `items_n` items, each ending in '\n', raw_bytes in all. Takes the
 * data. */
CHECKED err_t core_submit_chunk(core_submission_t *self, uint32_t items_n, uint64_t raw_bytes,
                                blob_t *data);
/* All chunks are there. The job is accepted when the turn's commit succeeded (core_after_commit);
 * *job is how it will stand then, until the next call. Frees. ERR_INVALID: no items. */
CHECKED err_t core_submit_close(core_submission_t **self, const job_row_t **job);
/* Forget it; rows already written are removed in steps. NULL-safe. */
void core_submit_abort(core_submission_t **self);

/* ERR_NOT_FOUND; ERR_CONFLICT if completed or failed; fine if cancelled already. */
CHECKED err_t core_cancel(core_t *self, uint64_t job);

/* -- for readers
 * --------------------------------------------------------------------------------------- */
store_t *core_store(const core_t *self);
feeder_t *core_feeder(const core_t *self);
peers_t *core_peers(const core_t *self);
int64_t core_now(const core_t *self);  /* the core's clock: monotonic less the gaps */
int64_t core_wall(const core_t *self); /* of this turn */
meter_sum_t core_minute(const core_t *self);
meter_sum_t core_hour(const core_t *self);
/* Items a second of a live job over the last minute; 0 if unknown. */
double core_job_rate(const core_t *self, uint64_t job);
bool core_broker_up(const core_t *self, int broker);
/* The disk under the store is full: submissions are refused until there is room. */
bool core_full(const core_t *self);
typedef struct {
    int64_t at; /* 0 = never */
    uint64_t job;
    char unhealthy[512]; /* names, comma-separated; "" = all well */
} core_health_t;
const core_health_t *core_last_health(const core_t *self);
typedef struct {
    uint64_t garbage_n, dispatched_n, recorded_n, discarded_n, lost_n, commits_n, rolled_back_n;
} core_counters_t;
const core_counters_t *core_counters(const core_t *self);

#endif

/* feeder: what there is to dispatch, in which order, and every deadline of a lease or backoff.
 *
 * Lives here: the memory of live jobs and of their batches that are not terminal, the order of work
 * (priority, then age), the heap of deadlines. Pure: time comes as an argument, nothing is stored
 * or sent. Not here: the rules of an outcome (core_outcome), SQL. Called by the core's rooms only.
 * All of it can be rebuilt from the store. */
#ifndef STINT_API_FEEDER_H
#define STINT_API_FEEDER_H

#include <stdbool.h>
#include <stdint.h>

#include "api/store/store.h"
#include "common/heap.h"
#include "common/map.h"
#include "common/wire.h"

typedef struct live_job live_job_t;

/* A task as the api knows it; lives as long as the feeder. */
typedef struct {
    task_row_t row;
    uint32_t flags; /* TASK_USER, ... of a built-in; TASK_USER for one announced by a worker */
    int64_t soft_ms, hard_ms;
    int64_t memory_bytes;
    heap_t jobs;              /* live_job_t with a batch to dispatch, best first */
    heap_t finalizing;        /* live_job_t with a finalize to dispatch: another kind of ticket */
    uint64_t items_waiting;   /* not yet cut, over all its jobs */
    uint64_t batches_waiting; /* an estimate of the batches they will be cut into */
} live_task_t;

typedef struct live_batch {
    batch_row_t row; /* state as in the store */
    live_job_t *job;
    int64_t deadline;              /* leased: lease ends; retrying: may start; core time */
    heap_slot_t slot;              /* in the heap of deadlines */
    struct live_batch *next_ready; /* list of the job's batches that may start now */
    bool ready;                    /* it is in that list */
    bool accepted;
    bool local;                /* leased to the api itself */
    uint8_t peer[WIRE_PEER_N]; /* the worker that holds it, once known */
    char worker[65];
} live_batch_t;

struct live_job {
    uint64_t id;
    live_task_t *task;
    job_state_t state;
    int32_t priority;
    uint32_t chunks_n, chunks_cut;
    uint32_t batches_n;    /* cut */
    uint32_t batches_live; /* of them not terminal, and a finalize */
    uint32_t batches_dead;
    uint64_t items_total, items_cut;
    uint32_t batch_items;      /* its largest batch */
    uint64_t batches_estimate; /* its part of task->batches_waiting */
    int64_t created_at;        /* wall clock */
    live_batch_t *ready_first, *ready_last;
    heap_slot_t slot;  /* in task->jobs or task->finalizing */
    job_row_t *row;    /* parameters, header and the like: kept, or loaded at the first dispatch */
    blob_t *input;     /* the only chunk, kept; NULL: the store has it */
    uint64_t rate[12]; /* items finished in each of the last 12 spans of 5 s */
    int64_t rate_span, rate_since;
};

typedef struct feeder feeder_t;

feeder_t *feeder_new(void);
void feeder_destroy(feeder_t **self);

live_task_t *feeder_task_put(feeder_t *self, const task_row_t *row); /* insert or refresh */
live_task_t *feeder_task(const feeder_t *self, const char *name, size_t n);
live_task_t *feeder_task_by_id(const feeder_t *self, uint64_t id);

/* A job that is new or was loaded at start. */
live_job_t *feeder_job_add(feeder_t *self, const job_row_t *row);
/* Keep what the DISPATCH of a new job will say, so that one that is dispatched soon is not read
 * back from the store: takes the row, and a reference of `input` (may be NULL). Room is for some
 * thousand; the oldest that still wait are dropped again. */
void feeder_job_keep(feeder_t *self, live_job_t *job, job_row_t *row, blob_t *input);
live_job_t *feeder_job(const feeder_t *self, uint64_t id);
/* Forget the job and all its batches (it became terminal or was removed). */
void feeder_job_remove(feeder_t *self, live_job_t *job);
uint64_t feeder_jobs_n(const feeder_t *self);
/* True while chunks are left that no batch has. A job without items has one batch of nothing. */
bool feeder_uncut(const live_job_t *job);
/* Count the batch that was just cut. */
void feeder_cut(feeder_t *self, live_job_t *job, const batch_row_t *row);

live_batch_t *feeder_batch_add(feeder_t *self, live_job_t *job, const batch_row_t *row);
live_batch_t *feeder_batch(const feeder_t *self, uint64_t id);
/* It became terminal. */
void feeder_batch_remove(feeder_t *self, live_batch_t *batch);
/* It may be dispatched now. */
void feeder_batch_ready(feeder_t *self, live_batch_t *batch);
/* It is out until `deadline` (or waits for its backoff until then). */
void feeder_batch_until(feeder_t *self, live_batch_t *batch, int64_t deadline);
/* The oldest batch of the job that may start now; NULL if none. It stays there until
 * feeder_batch_until. */
live_batch_t *feeder_ready(const live_job_t *job);

/* Items of the job finished now; and a second, over the last minute or since the first ones. */
void feeder_job_items(live_job_t *job, int64_t now, uint64_t items_n);
double feeder_job_rate(const live_job_t *job, int64_t now);

/* The best job of the task with a batch to dispatch, with a finalize; NULL if there is none. */
live_job_t *feeder_best(const live_task_t *task);
live_job_t *feeder_best_finalize(const live_task_t *task);
bool feeder_job_before(const live_job_t *a, const live_job_t *b);

/* The batch whose deadline is first; NULL if none. */
live_batch_t *feeder_due(const feeder_t *self);
/* Walk all live batches: *at = 0 first. */
live_batch_t *feeder_next_batch(const feeder_t *self, size_t *at);
live_task_t *feeder_next_task(const feeder_t *self, size_t *at);

/* Into how many batches `items` will be cut, going by those cut before (items_cut in batches_n) or
 * the largest allowed. */
uint64_t feeder_estimate(uint64_t items, uint64_t items_cut, uint32_t batches_n,
                         uint32_t batch_items);
/* created_at of the oldest job that has something to dispatch; 0 = none. Walks all live jobs. */
int64_t feeder_oldest_waiting(const feeder_t *self);

/* Numbers for people. */
typedef struct {
    uint64_t ready, leased, retrying;
} feeder_counts_t;
feeder_counts_t feeder_counts(const feeder_t *self);

#endif

/* pool: the child processes of a worker, one batch each at a time.
 *
 * Lives here: the fork server (forked before any ZeroMQ context exists, single-threaded, itself
 * forks the slots' children), the socketpairs to them, resource limits, the shared deadline that a
 * child guards itself with, killing and reaping. Not here: which batch runs where and what an
 * outcome means (worker/core). */
#ifndef STINT_WORKER_POOL_H
#define STINT_WORKER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"
#include "common/wire.h"
#include "worker/tasks/task.h"

typedef struct pool pool_t;

/* What a child is to do. Everything is copied or referenced; the caller keeps its own references.
 */
typedef struct {
    uint32_t kind; /* WIRE_KIND_... */
    uint64_t job, batch, attempt;
    uint32_t batch_no, items_n, format, batches_n;
    uint64_t first_line, items_total, raw_bytes;
    const char *task, *params, *header; /* NUL-terminated */
    blob_t *items;                      /* zstd frames; NULL for a finalize */
    int64_t soft_ms, hard_ms;
    int64_t memory_bytes;
    int64_t deadline_ms; /* monotonic: the child kills itself then, unless pool_extend moves it */
} pool_work_t;

typedef enum {
    POOL_PROGRESS, /* items_done */
    POOL_PAGE,     /* a finalize wants partials from from_no on */
    POOL_RESULT,   /* result (blob, maybe zstd of raw_bytes), items_failed, job_error.. */
    POOL_FAILURE,  /* failure_class, permanent, retry_after_ms (-1 = none), text, stderr_tail */
} pool_event_type_t;

typedef struct {
    pool_event_type_t type;
    int slot;
    uint64_t batch, attempt; /* of the work the event belongs to */
    uint32_t items_done;
    uint64_t from_no;
    blob_t *result; /* borrowed: take a reference to keep it */
    uint64_t raw_bytes;
    uint32_t items_failed;
    int64_t duration_us;
    const char *job_error, *job_error_text;
    uint32_t failure_class;
    bool permanent;
    int64_t retry_after_ms;
    const char *text, *stderr_tail;
} pool_event_t;

typedef void (*pool_call_t)(void *context, const pool_event_t *event);

/* Before pool_open, if at all. Where children look for the code of a task; task_code_find unless
 * told otherwise. */
void pool_use_tasks(const task_code_t *(*find)(const char *name));
/* Before pool_open, if at all. A descriptor (the lock of the state directory) that stays open until
 * the last child is dead, so that whoever gets the lock knows that nothing of this worker runs any
 * more. */
void pool_keep_fd(int fd);

/* Before pool_open, if at all. Called in the fork server when this process was killed and none of
 * its children is left; it has no ZeroMQ context then. */
void pool_last_words(void (*call)(void *context), void *context);

/* Must run before any ZeroMQ context or thread exists. Forks the fork server and `slots` children.
 */
CHECKED err_t pool_open(pool_t **out, int slots);
/* Kills what runs. NULL-safe. */
void pool_close(pool_t **self);

/* One descriptor (epoll) that is readable when pool_drain has something to do. */
int pool_fd(const pool_t *self);
/* Handle everything that waits; calls back for each event. Every started work ends in exactly one
 * POOL_RESULT or POOL_FAILURE, unless pool_kill was called for it: then in none. The call may use
 * every function of this room but pool_drain and pool_close. Also enforces soft and hard limits:
 * call it at least when pool_next_at says. */
void pool_drain(pool_t *self, int64_t now_ms, pool_call_t call, void *context);
/* The next time pool_drain has a limit to enforce, INT64_MAX if none. */
int64_t pool_next_at(const pool_t *self);

/* True if the slot's child is alive, greeted and without work. */
bool pool_ready(const pool_t *self, int slot);
/* The fork server died: running work has failed, no slot will be ready again. End the process to be
 * started anew. */
bool pool_lost(const pool_t *self);
/* Give work to a ready slot. ERR_UNAVAILABLE: the slot is not ready (nothing was started). */
CHECKED err_t pool_start(pool_t *self, int slot, const pool_work_t *work, int64_t now_ms);
/* A page of partials for the finalize in that slot (PARTIALS body, see PROTOCOL.md P30); last = no
 * more pages. */
void pool_page(pool_t *self, int slot, blob_t *page, uint64_t next_no, bool last);
/* Move the deadline of the running child on. */
void pool_extend(pool_t *self, int slot, int64_t deadline_ms);
/* SIGKILL the child and its process group at once; the fork server makes a new one. */
void pool_kill(pool_t *self, int slot);

#endif

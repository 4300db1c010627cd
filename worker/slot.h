/* slot: one child process as the pool holds it.
 *
 * Lives here: its descriptors, bytes on the way to it and from it, the tail of what it printed. Not
 * here: what a frame means and when to end a child (pool). All input and output is non-blocking. */
#ifndef STINT_WORKER_SLOT_H
#define STINT_WORKER_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buffer.h"
#include "worker/child.h"
#include "worker/outcome.h"

enum { SLOT_TAIL = 2048, SLOT_READ = 64 << 10 };

typedef enum {
    SLOT_EMPTY,    /* a child is asked for, or will be at retry_at */
    SLOT_GREETING, /* forked, not heard of yet */
    SLOT_IDLE,
    SLOT_BUSY,
    SLOT_DYING, /* no work; its end is awaited */
} slot_state_t;

typedef struct {
    slot_state_t state;
    pid_t pid;        /* 0 = none */
    int socket, pipe; /* -1 = none */
    int epoll;        /* of the pool, borrowed */
    uint64_t key;     /* what epoll gives back; the pipe's has bit 0 set */
    child_shared_t *shared;
    int64_t retry_at; /* SLOT_EMPTY: when to ask again; INT64_MAX = asked */

    buffer_t in;  /* bytes from the child, not yet a whole frame */
    buffer_t out; /* what must go before out_blob */
    blob_t *out_blob;
    size_t out_at; /* bytes of both already sent */
    bool watching_out;
    char tail[SLOT_TAIL];
    size_t tail_n;

    uint32_t works_n;
    int64_t baseline; /* resident bytes before its first work */

    /* The running work. */
    uint64_t batch, attempt;
    int64_t started_us;
    int64_t soft_ms, hard_ms, memory_bytes;
    int64_t soft_at, hard_at, look_at; /* INT64_MAX = never */
    bool soft_sent;
    verdict_t verdict;
} slot_t;

/* Take the descriptors (socket, pipe) of a new child and watch them. */
void slot_open(slot_t *self, pid_t pid, const int fds[2]);
/* Kill the group, close and forget everything but the shared page. */
void slot_close(slot_t *self);
/* SIGKILL the group. The process still stands as a zombie if it has ended, so the id names nobody
 * else. */
void slot_kill(const slot_t *self);

/* Send head and body (a reference is taken; may be NULL); what the socket does not take now goes
 * with slot_flush, when epoll says so. False: the child is gone and got nothing of it. */
bool slot_send(slot_t *self, frame_type_t type, const buffer_t *head, blob_t *body);
void slot_flush(slot_t *self);
/* Read some of what waits. False: nothing came. */
bool slot_read(slot_t *self);
/* Read what the child printed, keeping the last SLOT_TAIL bytes; at most SLOT_READ bytes. False:
 * nothing came. */
bool slot_read_pipe(slot_t *self);

typedef enum { SLOT_FRAME, SLOT_FRAME_PART, SLOT_FRAME_BAD, SLOT_FRAME_HUGE } slot_frame_t;
/* The first frame in `in`, if whole. Its payload stands behind the head in self->in.data until
 * slot_skip. */
slot_frame_t slot_peek(const slot_t *self, frame_head_t *head);
void slot_skip(slot_t *self, const frame_head_t *head);

#endif

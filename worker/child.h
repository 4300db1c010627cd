/* child: what runs inside a slot's process.
 *
 * Lives here: the frames between the pool and its children, the page they share, and the child's
 * main function: limits, guard, unpacking a batch, calling the task, packing its result. Not here:
 * forking (fork_server), what an outcome means. Both sides are one program image, so frames are
 * plain structs in host order; the pool still checks every length, because a crashing task may
 * write anything. Called by fork_server (child_main) and pool (the shapes). */
#ifndef STINT_WORKER_CHILD_H
#define STINT_WORKER_CHILD_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "worker/tasks/task.h"

/* Descriptors of a child: 0 is /dev/null, 1 and 2 are the pipe to the pool. */
enum { CHILD_SOCKET = 3, CHILD_KEPT = 4 };

/* Exit codes with a meaning; any other is a crash. */
enum {
    CHILD_EXIT_MEMORY = 71, /* an allocation was refused */
    CHILD_EXIT_SOFT = 72,   /* took the notice of the soft limit and ended */
    CHILD_EXIT_LOST = 73,   /* the pool's end of the socket is gone, or what came is no frame */
};

enum {
    CHILD_RESULT_MAX = 8 << 20, /* bytes of a result before compression */
    CHILD_FRAME_MAX = CHILD_RESULT_MAX + (64 << 10),
    CHILD_RAW_MAX = 64 << 20, /* bytes of a batch after decompression: more is damage, not data */
    CHILD_PROGRESS_MS = 200,
    CHILD_TEXT_MAX = 1024,
    CHILD_FAMILY_MAX = 64, /* processes that a task may have below its own */
};

/* Why the guard ended the group, in child_shared_t.guard. */
enum { CHILD_GUARD_QUIET = 0, CHILD_GUARD_DEADLINE = 1, CHILD_GUARD_LOST = 2 };

/* One page a slot, shared by pool and child: the child's guard reads it even when the pool is
 * stopped. */
typedef struct {
    _Atomic int64_t deadline_ms; /* CLOCK_MONOTONIC; 0 = none */
    _Atomic uint32_t guard;
} child_shared_t;

typedef enum {
    FRAME_START = 1, /* pool -> child: frame_start_t, task, params, header, items */
    FRAME_PAGE,      /* pool -> child: frame_page_t, records of P30 */
    FRAME_HELLO,     /* child -> pool: nothing; ready for work */
    FRAME_PROGRESS,  /* child -> pool: u32 items done */
    FRAME_WANT,      /* child -> pool: u64 first batch_no wanted */
    FRAME_RESULT,    /* child -> pool: frame_result_t, body */
    FRAME_FAILURE,   /* child -> pool: frame_failure_t */
} frame_type_t;

typedef struct {
    uint32_t type, n; /* n bytes follow */
} frame_head_t;

typedef struct {
    uint64_t job, batch, attempt;
    uint64_t first_line, items_total, raw_bytes;
    int64_t memory_bytes;
    uint32_t kind, batch_no, items_n, format, batches_n;
    uint32_t task_n, params_n, header_n; /* bytes of the texts, each with its NUL */
} frame_start_t;

typedef struct {
    uint64_t next_no;
    uint32_t last, unused;
} frame_page_t;

typedef struct {
    uint64_t raw_bytes;
    int64_t duration_us;
    uint32_t items_failed;
    uint32_t leftovers; /* the task left processes behind: replace this child */
    char job_error[64];
    char job_error_text[512];
} frame_result_t;

typedef struct {
    int64_t retry_after_ms, duration_us;
    uint32_t failure_class, permanent, leftovers, unused;
    char text[CHILD_TEXT_MAX];
} frame_failure_t;

typedef struct {
    pid_t parent; /* the fork server: gone already means end at once */
    pid_t pool;   /* the worker: a SIGTERM of anybody else is not meant for the child */
    child_shared_t *shared;
    const task_code_t *(*find)(const char *name);
} child_setup_t;

/* Serves frames on CHILD_SOCKET until the pool closes it. The descriptors above must be in place;
 * never returns. */
void child_main(const child_setup_t *setup) __attribute__((noreturn));

/* Private writable memory and resident memory of a process (0 = this one), bytes; false if it
 * cannot be read. */
bool child_memory(pid_t pid, int64_t *data, int64_t *resident);

#endif

#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/wire.h"
#include "worker/child_unpack.h"

#if defined(__SANITIZE_ADDRESS__)
/* The shadow memory of a sanitized build dwarfs every limit, and its allocator ends the process
 * with an exit code of its own instead of returning NULL: the pool's look at the resident memory is
 * the only fence there. */
enum { LIMIT_DATA = 0 };
#else
enum { LIMIT_DATA = 1 };
#endif
enum { GUARD_MS = 100, GUARD_STACK = 256 << 10, KEEP_BUFFER = 1 << 20 };

typedef struct {
    const child_setup_t *setup;
    buffer_t in;             /* the frame being read */
    buffer_t items, partial; /* unpacked; kept between works while they are small */
    frame_start_t work;
    int64_t baseline;    /* private writable bytes before the first work */
    int64_t limit;       /* memory limit in force */
    int64_t started_us;  /* of the work */
    int64_t progress_at; /* ms, of the last progress frame */
    char *text;          /* of the failure */
} child_t;

static volatile sig_atomic_t pool_pid;

/* ---- signals, limits, guard
 * ------------------------------------------------------------------------------------- */

/* The soft limit is the pool's SIGTERM. A task that wants to end in its own way sets its own
 * handler. A SIGTERM from elsewhere (a service manager that signals every process) is not for us:
 * the pool drains and decides. */
static void on_soft_limit(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_pid == (pid_t)pool_pid) {
        _exit(CHILD_EXIT_SOFT);
    }
}

/* mem_alloc aborts when it is refused memory. errno tells that abort from every other: a task
 * starts with errno 0. */
static void on_abort(int number)
{
    if (errno == ENOMEM) {
        _exit(CHILD_EXIT_MEMORY);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void set_signals(void)
{
    struct sigaction soft = {.sa_sigaction = on_soft_limit, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction refused = {.sa_handler = on_abort};
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(SIGTERM, &soft, NULL);
    sigaction(SIGABRT, &refused, NULL);
    sigaction(SIGINT, &ignored, NULL);
    sigaction(SIGHUP, &ignored, NULL);
    sigaction(SIGPIPE, &ignored, NULL);
    sigaction(SIGXFSZ, &ignored, NULL);
    sigaction(SIGCHLD, &standard, NULL);
    sigaction(SIGALRM, &standard, NULL);
}

bool child_memory(pid_t pid, int64_t *data, int64_t *resident)
{
    char path[64] = "/proc/self/statm", text[256];
    if (pid) {
        snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return false;
    }
    text[n] = 0;
    long long pages, rss, shared, code, library, writable;
    if (sscanf(text, "%lld %lld %lld %lld %lld %lld", &pages, &rss, &shared, &code, &library,
               &writable) != 6) {
        return false;
    }
    *data = writable * sysconf(_SC_PAGESIZE);
    *resident = rss * sysconf(_SC_PAGESIZE);
    return true;
}

/* RLIMIT_DATA counts private writable memory: unlike RLIMIT_AS it does not count what malloc only
 * reserves. The soft limit is set, so that the next work may have more. */
static void limit_memory(child_t *self, int64_t bytes)
{
    if (!LIMIT_DATA || bytes == self->limit) {
        return;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_DATA, &limit);
    limit.rlim_cur = bytes > 0 ? (rlim_t)(self->baseline + bytes) : limit.rlim_max;
    if (limit.rlim_cur > limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
    }
    setrlimit(RLIMIT_DATA, &limit);
    self->limit = bytes;
}

/* Ends the whole group when the lease's deadline has passed, also while the pool is stopped or
 * gone. A thread and not a timer: a signal would interrupt the task's system calls. */
static void *guard(void *argument)
{
    child_shared_t *shared = argument;
    for (;;) {
        struct pollfd end = {.fd = CHILD_SOCKET};
        if (poll(&end, 1, GUARD_MS) > 0) {
            atomic_store(&shared->guard, CHILD_GUARD_LOST);
            kill(0, SIGKILL);
        }
        int64_t deadline = atomic_load(&shared->deadline_ms);
        if (deadline && clock_now_ms() >= deadline) {
            atomic_store(&shared->guard, CHILD_GUARD_DEADLINE);
            kill(0, SIGKILL);
        }
    }
    return NULL;
}

static void start_guard(child_shared_t *shared)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, GUARD_STACK);
    if (pthread_create(&thread, &attributes, guard, shared)) {
        _exit(CHILD_EXIT_LOST); /* never run unguarded */
    }
    pthread_attr_destroy(&attributes);
    sigemptyset(&before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- frames
 * -----------------------------------------------------------------------------------------------------
 */

typedef struct {
    const void *data;
    size_t n;
} part_t;

static void send_frame(frame_type_t type, part_t fixed, part_t body)
{
    frame_head_t head = {type, (uint32_t)(fixed.n + body.n)};
    struct iovec parts[3] = {{&head, sizeof head},
                             {(void *)(uintptr_t)fixed.data, fixed.n},
                             {(void *)(uintptr_t)body.data, body.n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    size_t left = sizeof head + fixed.n + body.n;
    while (left) {
        ssize_t n = sendmsg(CHILD_SOCKET, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(CHILD_EXIT_LOST);
        }
        left -= (size_t)n;
        while (message.msg_iovlen && (size_t)n >= message.msg_iov->iov_len) {
            n -= (ssize_t)message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen) {
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + n;
            message.msg_iov->iov_len -= (size_t)n;
        }
    }
}

static void receive_until(buffer_t *in, size_t n)
{
    while (in->n < n) {
        buffer_reserve(in, n - in->n);
        ssize_t got = recv(CHILD_SOCKET, in->data + in->n, in->capacity - in->n, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            _exit(got ? CHILD_EXIT_LOST : 0);
        }
        in->n += (size_t)got;
    }
}

/* The next frame, which must be of that type; its payload (behind the head) is in self->in. The
 * pool never sends two frames without hearing of us in between, so nothing is read ahead. */
static size_t receive_frame(child_t *self, frame_type_t type)
{
    buffer_t *in = &self->in;
    frame_head_t head;
    buffer_clear(in);
    if (in->capacity > KEEP_BUFFER) {
        buffer_free(in);
    }
    buffer_reserve(in, 16 << 10);
    receive_until(in, sizeof head);
    memcpy(&head, in->data, sizeof head);
    if (head.type != (uint32_t)type) {
        _exit(CHILD_EXIT_LOST);
    }
    receive_until(in, sizeof head + head.n);
    return head.n;
}

/* ---- one work
 * ---------------------------------------------------------------------------------------------------
 */

static void progress(void *context, uint32_t items_done)
{
    child_t *self = context;
    int64_t now = clock_now_ms();
    if (now - self->progress_at >= CHILD_PROGRESS_MS) {
        self->progress_at = now;
        send_frame(FRAME_PROGRESS, (part_t){&items_done, sizeof items_done}, (part_t){0});
    }
}

/* Reap what the task left; true if something still runs. As subreaper this process also inherits
 * orphans. */
static uint32_t leftovers(void)
{
    pid_t pid;
    do {
        pid = waitpid(-1, NULL, WNOHANG | __WALL);
    } while (pid > 0);
    return pid == 0;
}

static void send_failure(child_t *self, failure_class_t failure_class, bool permanent,
                         int64_t retry_after_ms)
{
    frame_failure_t frame = {.retry_after_ms = retry_after_ms,
                             .duration_us = clock_now_us() - self->started_us,
                             .failure_class = failure_class,
                             .permanent = permanent,
                             .leftovers = leftovers()};
    snprintf(frame.text, sizeof frame.text, "%s", self->text);
    send_frame(FRAME_FAILURE, (part_t){&frame, sizeof frame}, (part_t){0});
}

static void keep_text(child_t *self, err_t err)
{
    free(self->text);
    self->text = mem_text(err_text()[0] ? err_text() : err_title(err));
}

static void send_result(child_t *self, task_result_t *out)
{
    if (out->result.n > CHILD_RESULT_MAX) {
        keep_text(self, err_set(ERR_TOO_LARGE, "the result of %zu bytes is over the limit of %d",
                                out->result.n, CHILD_RESULT_MAX));
        send_failure(self, FAILURE_OUTPUT_LIMIT, false, -1);
        return;
    }
    frame_result_t frame = {.items_failed = out->items_failed};
    if (self->work.kind == WIRE_KIND_BATCH) {
        frame.raw_bytes = pack_result(&out->result);
    }
    memcpy(frame.job_error, out->job_error, sizeof frame.job_error);
    memcpy(frame.job_error_text, out->job_error_text, sizeof frame.job_error_text);
    frame.leftovers = leftovers();
    frame.duration_us = clock_now_us() - self->started_us;
    send_frame(FRAME_RESULT, (part_t){&frame, sizeof frame},
               (part_t){out->result.data, out->result.n});
}

/* The texts and bytes behind frame_start_t, borrowed from self->in: which the finalize overwrites
 * with its pages. */
typedef struct {
    const char *task, *params, *header;
    const uint8_t *items;
    size_t items_n;
} start_parts_t;

static start_parts_t split_start(child_t *self, size_t n)
{
    size_t at = sizeof(frame_head_t);
    const uint8_t *data = self->in.data;
    memcpy(&self->work, data + at, sizeof self->work);
    at += sizeof self->work;
    start_parts_t out = {.task = (const char *)data + at};
    at += self->work.task_n;
    out.params = (const char *)data + at;
    at += self->work.params_n;
    out.header = (const char *)data + at;
    at += self->work.header_n;
    out.items = data + at;
    out.items_n = sizeof(frame_head_t) + n - at;
    return out;
}

static err_t run_batch(child_t *self, const task_code_t *code, const start_parts_t *parts,
                       task_result_t *out)
{
    const frame_start_t *work = &self->work;
    err_t err = unpack_frames(&self->items, parts->items, parts->items_n, work->raw_bytes);
    if (err) {
        out->permanent = true;
        return err_context(err, "batch %llu", (unsigned long long)work->batch);
    }
    size_t n = self->items.n;
    if (n && self->items.data[n - 1] == '\n') {
        self->items.data[--n] = 0;
    }
    task_batch_t batch = {.job_id = work->job,
                          .batch_no = work->batch_no,
                          .attempt = (uint32_t)work->attempt,
                          .format = (task_format_t)work->format,
                          .params = parts->params,
                          .header = parts->header,
                          .first_line = work->first_line,
                          .items_n = work->items_n,
                          .items = self->items.data,
                          .items_bytes = n,
                          .progress = progress,
                          .progress_context = self};
    errno = 0;
    return code->run(&batch, out);
}

static err_t merge_page(child_t *self, const task_code_t *code, void *state, size_t n)
{
    size_t at = sizeof(frame_head_t) + sizeof(frame_page_t);
    size_t end = sizeof(frame_head_t) + n;
    err_t err = ERR_OK;
    while (!err && at < end) {
        unpack_record_t record;
        err = unpack_record(self->in.data, end, &at, &record);
        if (err) {
            break;
        }
        const uint8_t *partial = record.data;
        size_t bytes = record.n;
        if (record.raw_bytes) {
            err = unpack_frames(&self->partial, record.data, record.n, record.raw_bytes);
            partial = self->partial.data;
            bytes = self->partial.n;
        }
        if (!err) {
            err = code->finalize_merge(state, record.batch_no, partial, bytes);
        }
        if (err) {
            err = err_context(err, "the partial of batch number %u", record.batch_no);
        }
    }
    return err;
}

static err_t merge_all(child_t *self, const task_code_t *code, void *state)
{
    frame_page_t page = {0};
    while (!page.last) {
        uint64_t from_no = page.next_no;
        send_frame(FRAME_WANT, (part_t){&from_no, sizeof from_no}, (part_t){0});
        size_t n = receive_frame(self, FRAME_PAGE);
        memcpy(&page, self->in.data + sizeof(frame_head_t), sizeof page);
        err_t err = merge_page(self, code, state, n);
        if (err) {
            return err;
        }
    }
    return ERR_OK;
}

static err_t run_finalize(child_t *self, const task_code_t *code, const start_parts_t *parts,
                          task_result_t *out)
{
    void *state = NULL;
    char *params = mem_text(parts->params);
    task_finalize_t job = {.job_id = self->work.job,
                           .params = params,
                           .items_total = self->work.items_total,
                           .batches_n = self->work.batches_n};
    errno = 0;
    err_t err = code->finalize_open(&state, &job);
    if (!err) {
        err = merge_all(self, code, state);
        if (err) {
            /* close frees the state; its own outcome must not replace the reason why it was called.
             */
            keep_text(self, err);
            task_result_t unused = {.retry_after_ms = -1};
            (void)!code->finalize_close(&state, &unused);
            buffer_free(&unused.result);
            err = err_set(err, "%s", self->text);
        } else {
            err = code->finalize_close(&state, out);
        }
    }
    free(params);
    return err;
}

static void run_work(child_t *self)
{
    size_t n = receive_frame(self, FRAME_START);
    self->started_us = clock_now_us();
    self->progress_at = self->started_us / 1000;
    start_parts_t parts = split_start(self, n);
    limit_memory(self, self->work.memory_bytes);
    const task_code_t *code = self->setup->find(parts.task);
    bool finalize = self->work.kind == WIRE_KIND_FINALIZE;
    task_result_t out = {.retry_after_ms = -1};
    err_t err;
    err_set(ERR_OK, "%s", "");
    if (!code || (finalize ? !code->finalize_open : !code->run)) {
        out.permanent = true;
        err = err_set(ERR_NOT_FOUND, "this worker has no code for %s \"%s\"",
                      finalize ? "the finalize task" : "the task", parts.task);
    } else if (finalize) {
        err = run_finalize(self, code, &parts, &out);
    } else {
        err = run_batch(self, code, &parts, &out);
    }
    fflush(stdout);
    set_signals(); /* a task may have set its own */
    if (err) {
        keep_text(self, err);
        send_failure(self, FAILURE_TASK_ERROR, out.permanent, out.retry_after_ms);
    } else {
        send_result(self, &out);
    }
    buffer_free(&out.result);
    if (self->items.capacity > KEEP_BUFFER) {
        buffer_free(&self->items);
    }
    if (self->partial.capacity > KEEP_BUFFER) {
        buffer_free(&self->partial);
    }
}

void child_main(const child_setup_t *setup)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != setup->parent || getpgrp() != getpid()) {
        _exit(CHILD_EXIT_LOST);
    }
    prctl(PR_SET_NAME, "stint-child");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    pool_pid = (sig_atomic_t)setup->pool;
    set_signals();
    setvbuf(stdout, NULL, _IOLBF, 0); /* what a task printed before it crashed is worth reading */
    start_guard(setup->shared);
    child_t self = {.setup = setup, .limit = -1};
    int64_t resident;
    if (!child_memory(0, &self.baseline, &resident)) {
        self.baseline = INT64_MAX / 2; /* unknown: limits nothing here, the pool still looks */
    }
    send_frame(FRAME_HELLO, (part_t){0}, (part_t){0});
    for (;;) {
        run_work(&self);
    }
}

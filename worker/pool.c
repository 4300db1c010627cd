#include "worker/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/family.h"
#include "worker/fork_server.h"
#include "worker/pool_frames.h"

enum {
    EVENTS = 64,
    ROUNDS = 16,        /* of EVENTS a pool_drain: a child that floods must not hold the loop */
    LOOK_PACE_MS = 250, /* between two looks at what a child at work has of memory and processes */
    MEMORY_SLACK =
        8 << 20,         /* pages of code and libraries count as resident but are not the task's */
    ASK_AGAIN_MS = 1000, /* after a fork that failed */
    FAMILIES_END_MS = 1000,
};
#define KEY_SERVER UINT64_MAX
#define NEVER      INT64_MAX

static const task_code_t *(*tasks)(const char *name) = task_code_find;
static int kept_fd = -1;
static void (*last_words)(void *context);
static void *last_words_context;

void pool_use_tasks(const task_code_t *(*find)(const char *name))
{
    tasks = find;
}

void pool_keep_fd(int fd)
{
    kept_fd = fd;
}

void pool_last_words(void (*call)(void *context), void *context)
{
    last_words = call;
    last_words_context = context;
}

/* ---- life
 * -------------------------------------------------------------------------------------------------------
 */

static void ask(pool_t *self, slot_t *slot, int64_t now_ms)
{
    slot->retry_at = NEVER;
    if (self->server_socket >= 0 &&
        fork_server_ask(self->server_socket, (int)(slot - self->slots)) != ERR_OK) {
        slot->retry_at = now_ms + ASK_AGAIN_MS;
    }
}

static void open_slots(pool_t *self, int slots)
{
    self->slots_n = slots;
    self->slots = mem_zero((size_t)slots * sizeof *self->slots);
    for (int i = 0; i < slots; i++) {
        slot_t *slot = &self->slots[i];
        slot->socket = slot->pipe = -1;
        slot->epoll = self->epoll;
        slot->key = (uint64_t)i * 2;
        slot->shared = (child_shared_t *)(void *)(self->shared + (size_t)i * FORK_PAGE);
        ask(self, slot, clock_now_ms());
    }
}

err_t pool_open(pool_t **out, int slots)
{
    INVARIANT(slots > 0);
    pool_t *self = mem_zero(sizeof *self);
    self->epoll = self->server_socket = -1;
    err_t err = ERR_OK;
    void *shared = mmap(NULL, (size_t)slots * FORK_PAGE, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        err = err_set(ERR_INTERNAL, "no shared memory for %d slots: %s", slots, strerror(errno));
        goto failed;
    }
    self->shared = shared;
    self->setup =
        (fork_setup_t){slots, kept_fd, self->shared, tasks, last_words, last_words_context};
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    /* Before any other descriptor of the pool exists, so that the server holds none. */
    err = fork_server_open(&self->server, &self->server_socket, &self->setup);
    if (err) {
        goto failed;
    }
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {EPOLLIN, {.u64 = KEY_SERVER}};
    if (self->epoll < 0 || epoll_ctl(self->epoll, EPOLL_CTL_ADD, self->server_socket, &event)) {
        err = err_set(ERR_INTERNAL, "no epoll for the pool: %s", strerror(errno));
        goto failed;
    }
    open_slots(self, slots);
    *out = self;
    return ERR_OK;
failed:
    pool_close(&self);
    return err;
}

void pool_close(pool_t **self)
{
    pool_t *pool = *self;
    *self = NULL;
    if (!pool) {
        return;
    }
    for (int i = 0; i < pool->slots_n; i++) {
        slot_close(&pool->slots[i]);
    }
    if (pool->server_socket >= 0) {
        fork_server_bye(pool->server_socket);
        close(pool->server_socket); /* the server takes that for its end */
    }
    if (pool->server > 0) {
        while (waitpid(pool->server, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (pool->epoll >= 0) {
        close(pool->epoll);
    }
    if (pool->shared) {
        munmap(pool->shared, (size_t)pool->setup.slots * FORK_PAGE);
    }
    free(pool->slots);
    free(pool);
}

int pool_fd(const pool_t *self)
{
    return self->epoll;
}

bool pool_lost(const pool_t *self)
{
    return self->server_socket < 0;
}

/* ---- reports of the fork server
 * ----------------------------------------------------------------------------------- */

/* The slot's process is dead: what it still said counts, and if that was no outcome its end is one.
 */
static void on_end(pool_t *self, slot_t *slot, int status)
{
    while (pool_hears(slot) && slot_read(slot)) {
        pool_take_frames(self, slot);
    }
    if (slot->state == SLOT_BUSY) {
        char text[CHILD_TEXT_MAX];
        outcome_facts_t facts = {.verdict = slot->verdict,
                                 .guard = atomic_load(&slot->shared->guard),
                                 .status = status,
                                 .soft_ms = slot->soft_ms,
                                 .hard_ms = slot->hard_ms,
                                 .memory_bytes = slot->memory_bytes};
        bool ended_by_notice = WIFSIGNALED(status) ? WTERMSIG(status) == SIGTERM
                                                   : WEXITSTATUS(status) == CHILD_EXIT_SOFT;
        if (slot->soft_sent && facts.verdict == VERDICT_NONE && ended_by_notice) {
            facts.verdict = VERDICT_SOFT;
        }
        pool_event_t event = {.retry_after_ms = -1,
                              .duration_us = clock_now_us() - slot->started_us};
        event.failure_class = outcome_of(&facts, text, sizeof text);
        pool_retire(slot);
        pool_emit_failure(self, slot, &event, text);
    }
    slot_close(slot);
    ask(self, slot, self->now_ms);
}

/* The children die with the fork server; what they had forked comes to us then. */
static void end_families(const pool_t *self)
{
    int64_t end = clock_now_ms() + FAMILIES_END_MS;
    bool gone = false;
    while (!gone && clock_now_ms() < end) {
        gone = family_end_orphans(NULL, 0);
        for (int i = 0; i < self->slots_n; i++) {
            gone = gone && (self->slots[i].pid == 0 || kill(self->slots[i].pid, 0));
        }
    }
}

static void on_lost(pool_t *self)
{
    log_error("pool.fork_server_lost", "pid=%d", (int)self->server);
    close(self->server_socket);
    self->server_socket = -1;
    end_families(self);
    for (int i = 0; i < self->slots_n; i++) {
        slot_t *slot = &self->slots[i];
        slot_kill(slot);
        if (slot->state == SLOT_BUSY && slot->verdict == VERDICT_NONE) {
            slot->verdict = VERDICT_LOST;
        }
        on_end(self, slot, 0);
    }
}

static void read_reports(pool_t *self)
{
    fork_report_t report;
    while (self->server_socket >= 0) {
        err_t err = fork_server_report(self->server_socket, &report);
        if (err == ERR_NOT_FOUND) {
            return;
        }
        if (err) {
            on_lost(self);
            return;
        }
        slot_t *slot = &self->slots[report.slot];
        if (report.type == FORK_MADE) {
            slot_open(slot, report.pid, (const int[2]){report.socket, report.pipe});
        } else if (report.type == FORK_ENDED) {
            on_end(self, slot, report.status);
        } else {
            log_warn("pool.fork_failed", "slot=%d error=\"%s\"", report.slot,
                     strerror(report.status));
            slot->retry_at = self->now_ms + ASK_AGAIN_MS;
        }
    }
}

/* ---- limits
 * -------------------------------------------------------------------------------------------------------
 */

static int64_t after(int64_t now_ms, int64_t duration_ms)
{
    return duration_ms > 0 && duration_ms < NEVER - now_ms ? now_ms + duration_ms : NEVER;
}

static int64_t deadline_of(const slot_t *slot)
{
    int64_t deadline = atomic_load(&slot->shared->deadline_ms);
    return deadline ? deadline : NEVER;
}

static void look_at(const pool_t *self, slot_t *slot)
{
    int64_t data, resident;
    slot->look_at = self->now_ms + LOOK_PACE_MS;
    if (slot->memory_bytes > 0 && child_memory(slot->pid, &data, &resident) &&
        resident > slot->baseline + slot->memory_bytes + MEMORY_SLACK) {
        pool_condemn(slot, VERDICT_MEMORY);
    } else if (family_count(slot->pid, CHILD_FAMILY_MAX) > CHILD_FAMILY_MAX) {
        pool_condemn(slot, VERDICT_FAMILY);
    }
}

static void enforce(pool_t *self, slot_t *slot)
{
    int64_t now = self->now_ms;
    if (slot->state == SLOT_EMPTY && slot->retry_at <= now) {
        ask(self, slot, now);
    }
    if (slot->state != SLOT_BUSY || slot->verdict != VERDICT_NONE) {
        return;
    }
    if (slot->hard_at <= now) {
        pool_condemn(slot, VERDICT_HARD);
    } else if (deadline_of(slot) <= now) {
        pool_condemn(slot, VERDICT_DEADLINE);
    } else if (slot->soft_at <= now && !slot->soft_sent) {
        slot->soft_sent = true;
        kill(slot->pid, SIGTERM);
    }
    if (slot->look_at <= now && slot->verdict == VERDICT_NONE) {
        look_at(self, slot);
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t pool_next_at(const pool_t *self)
{
    int64_t next = NEVER;
    for (int i = 0; i < self->slots_n; i++) {
        const slot_t *slot = &self->slots[i];
        if (slot->state == SLOT_EMPTY) {
            next = earlier(next, slot->retry_at);
        }
        if (slot->state != SLOT_BUSY || slot->verdict != VERDICT_NONE) {
            continue;
        }
        next = earlier(next, earlier(slot->hard_at, slot->look_at));
        next = earlier(next, deadline_of(slot));
        if (!slot->soft_sent) {
            next = earlier(next, slot->soft_at);
        }
    }
    return next;
}

/* ---- the pool's verbs
 * --------------------------------------------------------------------------------------------- */

static void on_slot_event(pool_t *self, const struct epoll_event *event)
{
    slot_t *slot = &self->slots[event->data.u64 / 2];
    if (event->data.u64 & 1) {
        slot_read_pipe(slot);
        return;
    }
    if (event->events & EPOLLOUT) {
        slot_flush(slot);
    }
    if (event->events & ~(uint32_t)EPOLLOUT) {
        pool_read_socket(self, slot);
    }
}

void pool_drain(pool_t *self, int64_t now_ms, pool_call_t call, void *context)
{
    self->call = call;
    self->context = context;
    self->now_ms = now_ms;
    struct epoll_event events[EVENTS];
    for (int round = 0; round < ROUNDS; round++) {
        int n = epoll_wait(self->epoll, events, EVENTS, 0);
        bool reports = false;
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == KEY_SERVER) {
                reports = true;
            } else {
                on_slot_event(self, &events[i]);
            }
        }
        /* Last, because it closes descriptors that other events of this round may name. */
        if (reports) {
            read_reports(self);
        }
        if (n < EVENTS && !reports) {
            break;
        }
    }
    /* After the reading: a result that came in time counts although this process was late to look.
     */
    for (int i = 0; i < self->slots_n; i++) {
        enforce(self, &self->slots[i]);
    }
}

bool pool_ready(const pool_t *self, int slot)
{
    return slot >= 0 && slot < self->slots_n && self->slots[slot].state == SLOT_IDLE;
}

static void encode_start(buffer_t *out, const pool_work_t *work)
{
    const char *task = work->task ? work->task : "", *params = work->params ? work->params : "{}",
               *header = work->header ? work->header : "";
    frame_start_t start = {.job = work->job,
                           .batch = work->batch,
                           .attempt = work->attempt,
                           .first_line = work->first_line,
                           .items_total = work->items_total,
                           .raw_bytes = work->raw_bytes,
                           .memory_bytes = work->memory_bytes,
                           .kind = work->kind,
                           .batch_no = work->batch_no,
                           .items_n = work->items_n,
                           .format = work->format,
                           .batches_n = work->batches_n,
                           .task_n = (uint32_t)strlen(task) + 1,
                           .params_n = (uint32_t)strlen(params) + 1,
                           .header_n = (uint32_t)strlen(header) + 1};
    buffer_add(out, &start, sizeof start);
    buffer_add(out, task, start.task_n);
    buffer_add(out, params, start.params_n);
    buffer_add(out, header, start.header_n);
}

err_t pool_start(pool_t *self, int number, const pool_work_t *work, int64_t now_ms)
{
    if (!pool_ready(self, number)) {
        return err_set(ERR_UNAVAILABLE, "slot %d is not ready", number);
    }
    slot_t *slot = &self->slots[number];
    while (slot_read_pipe(slot)) {
        /* What an earlier work printed. */
    }
    slot->tail_n = 0;
    slot->batch = work->batch;
    slot->attempt = work->attempt;
    slot->soft_ms = work->soft_ms;
    slot->hard_ms = work->hard_ms;
    slot->memory_bytes = work->memory_bytes;
    slot->soft_at = after(now_ms, work->soft_ms);
    slot->hard_at = after(now_ms, work->hard_ms);
    slot->look_at = now_ms + LOOK_PACE_MS;
    slot->soft_sent = false;
    slot->verdict = VERDICT_NONE;
    slot->started_us = clock_now_us();
    atomic_store(&slot->shared->deadline_ms, work->deadline_ms);
    buffer_t head = {0};
    encode_start(&head, work);
    bool taken = slot_send(slot, FRAME_START, &head, work->items);
    buffer_free(&head);
    if (!taken) {
        pool_retire(slot);
        return err_set(ERR_UNAVAILABLE, "the child of slot %d has just ended", number);
    }
    slot->state = SLOT_BUSY;
    return ERR_OK;
}

/* A busy slot that is not yet condemned, or NULL. */
static slot_t *working(const pool_t *self, int number)
{
    if (number < 0 || number >= self->slots_n || self->slots[number].state != SLOT_BUSY ||
        self->slots[number].verdict != VERDICT_NONE) {
        return NULL;
    }
    return &self->slots[number];
}

void pool_page(pool_t *self, int number, blob_t *page, uint64_t next_no, bool last)
{
    slot_t *slot = working(self, number);
    if (slot) {
        frame_page_t frame = {next_no, last, 0};
        buffer_t head = {(uint8_t *)&frame, sizeof frame, sizeof frame};
        /* If the child is gone its end is an outcome of its own. */
        (void)!slot_send(slot, FRAME_PAGE, &head, page);
    }
}

void pool_extend(pool_t *self, int number, int64_t deadline_ms)
{
    slot_t *slot = working(self, number);
    if (slot) {
        atomic_store(&slot->shared->deadline_ms, deadline_ms);
    }
}

void pool_kill(pool_t *self, int number)
{
    if (number >= 0 && number < self->slots_n && self->slots[number].pid) {
        pool_retire(&self->slots[number]);
    }
}

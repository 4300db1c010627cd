/* A worker core with children that are events: each start ends after a while in a result or a
 * failure, as chance has it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "tests/sim/sim.h"
#include "worker/core.h"

typedef struct {
    bool busy;
    uint64_t batch, attempt, serial;
    uint32_t kind, items_n, batches_n;
    bool *seen; /* finalize: batches merged */
    uint32_t seen_n;
    int64_t deadline;
} child_t;

typedef struct {
    worker_core_t *core;
    child_t children[SIM_SLOTS];
    uint64_t serial;
    bool draining;
    uint8_t incarnation[WIRE_PEER_N];
} worker_t;

static worker_t *of(node_t *node)
{
    return node->self;
}

static bool send_frames(void *context, int broker, frames_t *frames)
{
    return sim_to_broker(context, broker, frames);
}

static err_t started(void *context, const char *task, int64_t now_ms)
{
    node_t *node = context;
    if (strcmp(task, "process_transaction_batch") == 0) {
        journal_rate(node->sim, node->index, now_ms);
    }
    return ERR_OK;
}

static void free_child(child_t *child)
{
    free(child->seen);
    *child = (child_t){0};
}

/* -- a child's life
 * ------------------------------------------------------------------------------------- */

static void tell(node_t *node, int slot, pool_event_t *event)
{
    child_t *child = &of(node)->children[slot];
    event->slot = slot;
    event->batch = child->batch;
    event->attempt = child->attempt;
    bool ends = event->type == POOL_RESULT || event->type == POOL_FAILURE;
    if (ends) {
        free_child(child);
    }
    worker_core_event(of(node)->core, event, node->sim->now);
    if (ends) {
        worker_core_slot_ready(of(node)->core, slot, true);
    }
}

static void child_ends(node_t *node, uint64_t slot, uint64_t serial)
{
    sim_t *sim = node->sim;
    child_t *child = &of(node)->children[slot];
    if (!child->busy || child->serial != serial) {
        return;
    }
    pool_event_t event = {
        .retry_after_ms = -1, .text = "", .stderr_tail = "", .job_error = "", .job_error_text = ""};
    if (sim_chance(sim, sim->calm ? 20 : 120)) {
        event.type = POOL_FAILURE;
        event.failure_class = 1 + (uint32_t)sim_random(sim, FAILURE_CLASSES_N - 1);
        event.permanent = sim_chance(sim, 50);
        event.text = "as chance has it";
        tell(node, (int)slot, &event);
        return;
    }
    if (child->kind == WIRE_KIND_FINALIZE) {
        event.type = POOL_PAGE;
        event.from_no = 0;
        tell(node, (int)slot, &event);
        return;
    }
    blob_t *result = blob_new("result", 6);
    event.type = POOL_RESULT;
    event.result = result;
    event.items_failed = (uint32_t)sim_random(sim, 3) % (child->items_n + 1);
    event.duration_us = 1000;
    tell(node, (int)slot, &event);
    blob_unref(&result);
}

static err_t start_child(void *context, int slot, const pool_work_t *work)
{
    node_t *node = context;
    sim_t *sim = node->sim;
    child_t *child = &of(node)->children[slot];
    if (child->busy) {
        sim_fail(sim, "worker %d started slot %d twice", node->index, slot);
    }
    if (of(node)->draining) {
        sim_fail(sim, "worker %d started a batch while draining", node->index);
    }
    /* Ids of batches are unique over restores of the store in time order, the store id is not
     * needed to tell them apart. */
    static const uint8_t any_store[16];
    journal_started(sim, any_store, work->batch, work->attempt);
    *child = (child_t){.busy = true,
                       .batch = work->batch,
                       .attempt = work->attempt,
                       .serial = ++of(node)->serial,
                       .kind = work->kind,
                       .items_n = work->items_n,
                       .batches_n = work->batches_n,
                       .deadline = work->deadline_ms};
    if (work->kind == WIRE_KIND_FINALIZE) {
        child->seen = mem_zero(work->batches_n + 1);
    }
    int64_t duration =
        sim_chance(sim, 100) ? (int64_t)sim_random(sim, 20000) : (int64_t)sim_random(sim, 300);
    sim_later(node, sim->now + duration, child_ends, (uint64_t)slot, child->serial);
    return ERR_OK;
}

static void page(void *context, int slot, blob_t *bytes, uint64_t next_no, bool last)
{
    node_t *node = context;
    child_t *child = &of(node)->children[slot];
    const uint8_t *at = blob_data(bytes);
    size_t n = blob_n(bytes);
    while (n >= 12) {
        uint32_t no =
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        uint32_t size = (uint32_t)at[8] | (uint32_t)at[9] << 8 | (uint32_t)at[10] << 16 |
                        (uint32_t)at[11] << 24;
        if (no >= child->batches_n || child->seen[no] || size > n - 12) {
            sim_fail(node->sim, "the finalize got partial %u twice or out of range", no);
        }
        child->seen[no] = true;
        child->seen_n++;
        at += 12 + size;
        n -= 12 + size;
    }
    if (!last) {
        pool_event_t event = {.type = POOL_PAGE, .from_no = next_no};
        tell(node, slot, &event);
        return;
    }
    if (child->seen_n != child->batches_n) {
        sim_fail(node->sim, "the finalize got %u of %u partials", child->seen_n, child->batches_n);
    }
    blob_t *report = blob_new("{}", 2);
    pool_event_t event = {.type = POOL_RESULT,
                          .result = report,
                          .retry_after_ms = -1,
                          .job_error = "",
                          .job_error_text = "",
                          .text = "",
                          .stderr_tail = ""};
    tell(node, slot, &event);
    blob_unref(&report);
}

static void extend(void *context, int slot, int64_t deadline_ms)
{
    of(context)->children[slot].deadline = deadline_ms;
}

static void kill_child(void *context, int slot)
{
    free_child(&of(context)->children[slot]);
    worker_core_slot_ready(of(context)->core, slot, true);
}

/* -- the room
 * ------------------------------------------------------------------------------------------- */

static void start(node_t *node)
{
    worker_t *self = mem_zero(sizeof *self);
    node->self = self;
    char name[32];
    snprintf(name, sizeof name, "w%d", node->index);
    worker_options_t options = {.name = name,
                                .host = "sim",
                                .pid = node->life,
                                .slots = SIM_SLOTS,
                                .brokers = SIM_BROKERS,
                                .rate = WORKER_RATE_SET,
                                .rate_n = SIM_RATE_N,
                                .rate_window_ms = SIM_RATE_MS,
                                .heartbeat_ms = SIM_HEARTBEAT,
                                .drain_ms = 10000,
                                .target_duration_ms = 5000,
                                .result_space = 1 << 20,
                                .lookahead = true,
                                .test_duplicate = sim_chance(node->sim, 200),
                                .random_seed = sim_random(node->sim, UINT64_MAX)};
    options.incarnation[7] = (uint8_t)node->life;
    options.incarnation[6] = (uint8_t)(node->life >> 8);
    for (int i = 8; i < 16; i++) {
        options.incarnation[i] = (uint8_t)sim_random(node->sim, 256);
    }
    memcpy(self->incarnation, options.incarnation, WIRE_PEER_N);
    worker_options_offer(&options, false);
    worker_effects_t effects = {.context = node,
                                .send = send_frames,
                                .started = started,
                                .start = start_child,
                                .page = page,
                                .extend = extend,
                                .kill = kill_child};
    self->core = worker_core_new(&options, &effects);
    int64_t times[SIM_RATE_N];
    int n = journal_rate_times(node->sim, node->index, times, SIM_RATE_N);
    worker_core_window_load(self->core, "process_transaction_batch", times, n);
    for (int i = 0; i < SIM_SLOTS; i++) {
        worker_core_slot_ready(self->core, i, true);
    }
}

/* P34: what the fork server says when nothing of the worker is left; it may be killed too. */
static void say_gone(node_t *node)
{
    const worker_t *self = node->self;
    for (int i = 0; i < SIM_BROKERS && !sim_chance(node->sim, 300); i++) {
        msg_t msg = {.type = MSG_GONE,
                     .gone = {.incarnation = str_bytes(self->incarnation, WIRE_PEER_N),
                              .name = str_of("gone")}};
        frames_t frames = frames_of(&msg, NULL);
        sim_to_broker(node, i, &frames);
    }
}

static void crash(node_t *node)
{
    worker_t *self = node->self;
    say_gone(node);
    worker_core_destroy(&self->core);
    for (int i = 0; i < SIM_SLOTS; i++) {
        free_child(&self->children[i]);
    }
    free(self);
    node->self = NULL;
}

static void receive(node_t *node, int broker, const link_id_t *from, bool backend, frames_t *frames)
{
    (void)from;
    (void)backend;
    worker_core_receive(of(node)->core, broker, frames, node->sim->now);
}

static void turn(node_t *node)
{
    worker_core_turn(of(node)->core, node->sim->now);
}

static int64_t next_at(node_t *node)
{
    return worker_core_next_at(of(node)->core, node->sim->now);
}

bool sim_worker_busy(const node_t *node)
{
    const worker_t *self = node->self;
    for (int i = 0; i < SIM_SLOTS; i++) {
        if (self->children[i].busy) {
            return true;
        }
    }
    return false;
}

static void end(node_t *node)
{
    (void)node;
}

const room_t sim_worker_room = {start, crash, receive, turn, next_at, end};

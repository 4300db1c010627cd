/* Batches: taken, waiting, running, given up. What a child reports is in reports.c. */
#include <stdlib.h>
#include <string.h>

#include "worker/core_inside.h"

static void held_free(held_t **self)
{
    free((*self)->params);
    free((*self)->header);
    blob_unref(&(*self)->items);
    free(*self);
    *self = NULL;
}

rate_t *runs_rate(worker_core_t *self, const held_t *it)
{
    return &self->rates.tasks[it->task];
}

/* -- the queue -- */

static void enqueue(worker_core_t *self, held_t *it)
{
    *self->queue_end = it;
    self->queue_end = &it->next;
    self->waiting_n++;
    runs_rate(self, it)->waiting_n++;
}

/* Take out the batch that *at points to. */
static held_t *dequeue(worker_core_t *self, held_t **at)
{
    held_t *it = *at;
    *at = it->next;
    if (!it->next) {
        self->queue_end = at;
    }
    it->next = NULL;
    self->waiting_n--;
    runs_rate(self, it)->waiting_n--;
    return it;
}

static void hand_back(worker_core_t *self, held_t *it, const char *reason)
{
    msg_t msg = {.type = MSG_HANDED_BACK,
                 .handed_back = {.batch = it->lease.batch,
                                 .attempt = it->lease.attempt,
                                 .worker = str_of(self->name),
                                 .reason = str_of(reason)}};
    int broker = it->broker;
    held_free(&it); /* dropped first: what is handed back never starts (P18) */
    self->facts.handed_back_n++;
    peers_to_store(self, broker, &msg, NULL);
}

void runs_hand_back_all(worker_core_t *self, const char *reason)
{
    while (self->queue) {
        hand_back(self, dequeue(self, &self->queue), reason);
    }
}

/* Somebody runs longer than was thought: the measure learns it now, not when that batch ends, so
 * that no more batches are called here only to be sent back. */
static void measure_running(worker_core_t *self, int64_t now_ms)
{
    for (int i = 0; i < self->options.slots; i++) {
        const held_t *it = self->slots[i].held;
        if (it && now_ms - it->started_at >= LATE_MS) {
            rates_measure(runs_rate(self, it), (now_ms - it->started_at) * 1000);
        }
    }
}

static void hand_back_late(worker_core_t *self, int64_t now_ms)
{
    bool late = false;
    for (held_t **at = &self->queue; *at;) {
        held_t *it = *at;
        if (now_ms > it->expected_at + LATE_MS || guard_over(&it->guard, now_ms)) {
            hand_back(self, dequeue(self, at), "late");
            late = true;
        } else {
            at = &it->next;
        }
    }
    if (late) {
        measure_running(self, now_ms);
    }
}

/* -- DISPATCH -- */

static bool fits(const msg_dispatch_t *msg)
{
    return msg->kind <= WIRE_KIND_FINALIZE && msg->format <= WIRE_FORMAT_JSON &&
           msg->items_n <= UINT32_MAX && msg->batch_no <= UINT32_MAX &&
           msg->batches_n <= UINT32_MAX && msg->store_id.n <= WIRE_PEER_N &&
           msg->memory_bytes <= INT64_MAX;
}

static held_t *held_of(const worker_core_t *self, const msg_dispatch_t *msg, int task)
{
    const task_spec_t *spec = self->rates.tasks[task].spec;
    held_t *it = mem_zero(sizeof *it);
    it->lease = (wire_lease_ref_t){.batch = msg->batch, .attempt = msg->attempt};
    it->task = task;
    it->job = msg->job;
    it->kind = (uint32_t)msg->kind;
    it->first_line = msg->first_line;
    it->items_total = msg->items_total;
    it->raw_bytes = msg->raw_bytes;
    it->batch_no = (uint32_t)msg->batch_no;
    it->items_n = (uint32_t)msg->items_n;
    it->format = (uint32_t)msg->format;
    it->batches_n = (uint32_t)msg->batches_n;
    it->failures = msg->failures < UINT32_MAX ? (uint32_t)msg->failures : UINT32_MAX - 1;
    if (msg->store_id.n) {
        memcpy(it->store_id, msg->store_id.p, msg->store_id.n);
    }
    it->store_id_n = msg->store_id.n;
    it->params = mem_text_n(msg->params.n ? msg->params.p : "", msg->params.n);
    it->header = mem_text_n(msg->header.n ? msg->header.p : "", msg->header.n);
    it->soft_ms = msg->soft_ms > 0 ? msg->soft_ms : spec->soft_ms;
    it->hard_ms = msg->hard_ms > 0 ? msg->hard_ms : spec->hard_ms;
    it->memory_bytes = msg->memory_bytes ? (int64_t)msg->memory_bytes : spec->memory_bytes;
    it->lease_ms = msg->lease_ms;
    return it;
}

static void refuse(worker_core_t *self, int broker, const msg_dispatch_t *msg, const char *reason)
{
    self->facts.refused_n++;
    msg_t answer = {.type = MSG_REFUSED,
                    .refused = {.batch = msg->batch,
                                .attempt = msg->attempt,
                                .worker = str_of(self->name),
                                .reason = str_of(reason)}};
    peers_to_store(self, broker, &answer, NULL);
}

void runs_dispatch(worker_core_t *self, int broker, const msg_dispatch_t *msg, frames_t *frames,
                   int64_t now_ms)
{
    if (frames->route_n != 8) {
        self->facts.garbage_n++;
        return;
    }
    int task = fits(msg) ? rates_find(&self->rates, msg->task) : -1;
    wire_lease_ref_t lease = {.batch = msg->batch, .attempt = msg->attempt};
    const char *why = NULL;
    tickets_expire(self->tickets, now_ms);
    switch (tickets_take(self->tickets, wire_ticket_get(frames->route), lease, task, &why)) {
    case TICKET_SILENT:
        return;
    case TICKET_REFUSED:
        refuse(self, broker, msg, self->draining ? "draining" : why);
        return;
    case TICKET_TAKEN:
        break;
    }
    held_t *it = held_of(self, msg, task);
    it->broker = broker;
    it->items = blob_ref(frames->body);
    it->guard = guard_new(now_ms, it->lease_ms);
    it->first_seq = self->seq + 1;
    double ahead_us = self->rates.tasks[task].mean_us * (self->waiting_n + 1) / self->options.slots;
    bool at_once = runs_free_slots(self) > self->waiting_n;
    it->expected_at = now_ms + (at_once ? 0 : (int64_t)(ahead_us / 1000));
    enqueue(self, it);
    msg_t answer = {
        .type = MSG_ACCEPTED,
        .accepted = {.batch = lease.batch, .attempt = lease.attempt, .worker = str_of(self->name)}};
    peers_to_store(self, broker, &answer, NULL);
}

/* -- start -- */

static bool slot_free(const slot_t *slot)
{
    return slot->ready && !slot->held;
}

uint32_t runs_free_slots(const worker_core_t *self)
{
    uint32_t n = 0;
    for (int i = 0; i < self->options.slots; i++) {
        n += slot_free(&self->slots[i]);
    }
    return n;
}

/* Why it cannot start, or NULL. Spends the token. */
static const char *spend(worker_core_t *self, const held_t *it, int64_t now_ms)
{
    rate_t *rate = runs_rate(self, it);
    if (!rates_may_start(rate, now_ms)) {
        return "rate"; /* the limit was lowered after the ticket was granted */
    }
    if (rate->window) {
        window_start(rate->window, now_ms);
        if (self->effects.started(self->effects.context, rate->spec->name, now_ms)) {
            core_note(self, true, "worker.start_log", "error=\"%s\"", err_text());
            return "start log"; /* the token stays spent: what was written is not known */
        }
    }
    return NULL;
}

static void start(worker_core_t *self, int slot, held_t *it, int64_t now_ms)
{
    const char *obstacle = spend(self, it, now_ms);
    if (obstacle) {
        hand_back(self, it, obstacle);
        return;
    }
    pool_work_t work = {.kind = it->kind,
                        .job = it->job,
                        .batch = it->lease.batch,
                        .attempt = it->lease.attempt,
                        .batch_no = it->batch_no,
                        .items_n = it->items_n,
                        .format = it->format,
                        .batches_n = it->batches_n,
                        .first_line = it->first_line,
                        .items_total = it->items_total,
                        .raw_bytes = it->raw_bytes,
                        .task = runs_rate(self, it)->spec->name,
                        .params = it->params,
                        .header = it->header,
                        .items = it->items,
                        .soft_ms = it->soft_ms,
                        .hard_ms = it->hard_ms,
                        .memory_bytes = it->memory_bytes,
                        .deadline_ms = it->guard.child_at};
    self->slots[slot].ready = false;
    if (self->effects.start(self->effects.context, slot, &work)) {
        hand_back(self, it, "no child");
        return;
    }
    blob_unref(&it->items); /* the pool has it now */
    it->started_at = now_ms;
    self->slots[slot].held = it;
    self->running_n++;
}

static void start_waiting(worker_core_t *self, int64_t now_ms)
{
    for (int slot = 0; slot < self->options.slots; slot++) {
        while (self->queue && slot_free(&self->slots[slot])) {
            start(self, slot, dequeue(self, &self->queue), now_ms);
        }
    }
}

/* -- the end of a batch -- */

void runs_release(worker_core_t *self, int slot)
{
    held_free(&self->slots[slot].held);
    self->running_n--;
}

static void kill_slot(worker_core_t *self, int slot)
{
    self->slots[slot].ready = false;
    self->effects.kill(self->effects.context, slot);
    runs_release(self, slot);
}

void runs_drop_all(worker_core_t *self, bool kill)
{
    while (self->queue) {
        held_t *it = dequeue(self, &self->queue);
        held_free(&it);
    }
    for (int i = 0; i < self->options.slots; i++) {
        if (self->slots[i].held && kill) {
            kill_slot(self, i);
        } else if (self->slots[i].held) {
            runs_release(self, i);
        }
    }
}

bool runs_is(const held_t *it, uint64_t batch, uint64_t attempt)
{
    return it->lease.batch == batch && it->lease.attempt == attempt;
}

void runs_stop(worker_core_t *self, wire_lease_ref_t lease)
{
    for (held_t **at = &self->queue; *at; at = &(*at)->next) {
        if (runs_is(*at, lease.batch, lease.attempt)) {
            held_t *it = dequeue(self, at);
            held_free(&it);
            self->facts.stopped_n++;
            return;
        }
    }
    for (int i = 0; i < self->options.slots; i++) {
        if (self->slots[i].held && runs_is(self->slots[i].held, lease.batch, lease.attempt)) {
            kill_slot(self, i);
            self->facts.stopped_n++;
        }
    }
}

void runs_extend(worker_core_t *self, uint64_t seq, int64_t lease_ms)
{
    int64_t sent_at = self->sent_at[seq % SENT_MEMORY];
    for (held_t *it = self->queue; it; it = it->next) {
        if (it->first_seq <= seq) {
            guard_extend(&it->guard, sent_at, lease_ms);
        }
    }
    for (int i = 0; i < self->options.slots; i++) {
        held_t *it = self->slots[i].held;
        if (it && it->first_seq <= seq && guard_extend(&it->guard, sent_at, lease_ms)) {
            self->effects.extend(self->effects.context, i, it->guard.child_at);
        }
    }
}

static void fence(worker_core_t *self, int64_t now_ms)
{
    for (int i = 0; i < self->options.slots; i++) {
        held_t *it = self->slots[i].held;
        if (it && guard_over(&it->guard, now_ms)) {
            core_note(self, true, "worker.fenced", "batch=%llu attempt=%llu",
                      (unsigned long long)it->lease.batch, (unsigned long long)it->lease.attempt);
            self->facts.fenced_n++;
            kill_slot(self, i);
        }
    }
}

/* -- the turn -- */

void runs_turn(worker_core_t *self, int64_t now_ms)
{
    fence(self, now_ms);
    hand_back_late(self, now_ms);
    start_waiting(self, now_ms);
}

int64_t runs_next_at(const worker_core_t *self)
{
    int64_t at = INT64_MAX;
    for (const held_t *it = self->queue; it; it = it->next) {
        int64_t late = it->expected_at + LATE_MS + 1;
        late = it->guard.kill_at < late ? it->guard.kill_at : late;
        at = late < at ? late : at;
    }
    for (int i = 0; i < self->options.slots; i++) {
        const held_t *it = self->slots[i].held;
        if (it) {
            at = it->guard.kill_at < at ? it->guard.kill_at : at;
            at = it->wants_page && it->ask_at < at ? it->ask_at : at;
        }
    }
    return at;
}

uint32_t runs_list(const worker_core_t *self, wire_running_t *out)
{
    uint32_t n = 0;
    for (int i = 0; i < self->options.slots; i++) {
        const held_t *it = self->slots[i].held;
        if (it) {
            out[n++] = (wire_running_t){it->lease.batch, it->lease.attempt, it->items_done};
        }
    }
    for (const held_t *it = self->queue; it && n < WIRE_LIST_MAX; it = it->next) {
        out[n++] = (wire_running_t){it->lease.batch, it->lease.attempt, 0};
    }
    return n;
}

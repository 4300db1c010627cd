/* Brokers: who is live, HELLO, heartbeats, and the tickets each is told of. */
#include <stdlib.h>
#include <string.h>

#include "worker/core_inside.h"

enum { HEARTBEAT_MIN_MS = 10, RESULT_SIZE_MIN = 1024 };

static bool say(worker_core_t *self, int broker, const msg_t *msg, blob_t *body)
{
    frames_t frames = frames_of(msg, body);
    return self->effects.send(self->effects.context, broker, &frames);
}

bool peers_live(const worker_core_t *self, int broker)
{
    return self->peers[broker].known;
}

static bool reaches_store(const worker_core_t *self, int broker)
{
    return peers_live(self, broker) && self->peers[broker].store_silent_n < PEER_SILENT_N;
}

int peers_next(worker_core_t *self)
{
    int live = -1, n = self->options.brokers;
    for (int i = 1; i <= n; i++) {
        int broker = (self->turn_broker + i) % n;
        if (reaches_store(self, broker)) {
            self->turn_broker = broker;
            return broker;
        }
        if (live < 0 && peers_live(self, broker)) {
            live = broker;
        }
    }
    if (live >= 0) {
        self->turn_broker = live;
    }
    return live;
}

void peers_to_store(worker_core_t *self, int first, const msg_t *msg, blob_t *body)
{
    int broker = first >= 0 && peers_live(self, first) ? first : peers_next(self);
    if (broker >= 0) {
        say(self, broker, msg, body);
    } else {
        blob_unref(&body); /* nobody is there: the rules make every loss harmless (P7) */
    }
}

/* -- words from a broker -- */

void peers_heard(worker_core_t *self, int broker, bool from_store)
{
    self->peers[broker].unanswered_n = 0;
    if (from_store) {
        self->peers[broker].store_silent_n = 0;
    }
}

void peers_hello_ok(worker_core_t *self, int broker, const msg_hello_ok_t *msg)
{
    peer_t *peer = &self->peers[broker];
    uint8_t incarnation[WIRE_PEER_N] = {0};
    if (msg->incarnation.n == WIRE_PEER_N) {
        memcpy(incarnation, msg->incarnation.p, WIRE_PEER_N);
    }
    if (!peer->known) {
        core_note(self, false, "worker.broker_up", "broker=%d", broker);
    }
    if (!peer->known || memcmp(incarnation, peer->incarnation, WIRE_PEER_N) != 0) {
        tickets_lost(self->tickets, broker);
    }
    memcpy(peer->incarnation, incarnation, WIRE_PEER_N);
    peer->known = true;
    peer->hello_at = INT64_MAX;
    peer->store_silent_n = 0;
    peer->heartbeat_ms = msg->heartbeat_ms;
    /* The most impatient broker sets the pace for all: one rhythm is simpler than several. */
    self->heartbeat_ms = self->options.heartbeat_ms;
    for (int i = 0; i < self->options.brokers; i++) {
        int64_t wanted = self->peers[i].heartbeat_ms;
        if (wanted >= HEARTBEAT_MIN_MS && wanted < self->heartbeat_ms) {
            self->heartbeat_ms = wanted;
        }
    }
}

void peers_reconnect(worker_core_t *self, int broker)
{
    peer_t *peer = &self->peers[broker];
    if (peer->known) { /* else a HELLO is under way: one answer to each of many messages is enough
                        */
        core_note(self, true, "worker.broker_down", "broker=%d reason=reconnect", broker);
        peer->known = false;
        peer->hello_at = INT64_MIN;
    }
}

void peers_unsupported(worker_core_t *self, int broker)
{
    /* Once a heartbeat: two versions that answer each other would never end. */
    if (!self->peers[broker].refused_version) {
        self->peers[broker].refused_version = true;
        say(self, broker, &(msg_t){.type = MSG_UNSUPPORTED, .unsupported = {.major = WIRE_MAJOR}},
            NULL);
    }
}

void peers_heartbeat_ok(worker_core_t *self, int broker, const msg_heartbeat_ok_t *msg,
                        int64_t now_ms)
{
    (void)broker;
    if (msg->seq == 0 || msg->seq > self->seq || self->seq - msg->seq >= SENT_MEMORY) {
        return;
    }
    for (uint32_t i = 0; i < msg->stop_n; i++) {
        runs_stop(self, (wire_lease_ref_t){msg->stop[i].batch, msg->stop[i].attempt});
    }
    runs_extend(self, msg->seq, msg->lease_ms);
    if (msg->seq <= self->answered_seq) {
        return; /* an older answer knows nothing new of wishes and limits */
    }
    self->answered_seq = msg->seq;
    self->quiet = msg->quiet != 0;
    rates_override(&self->rates, msg->limits, msg->limits_n, now_ms);
    if (msg->drain) {
        worker_core_drain(self, now_ms);
    }
}

/* -- hello and heartbeat -- */

static void send_hello(worker_core_t *self, int broker, int64_t now_ms)
{
    wire_task_offer_t offers[WORKER_TASKS_MAX];
    for (int i = 0; i < self->rates.n; i++) {
        const rate_t *task = &self->rates.tasks[i];
        offers[i] = (wire_task_offer_t){.name = str_of(task->spec->name),
                                        .input = task->spec->input,
                                        .finalize = str_of(task->spec->finalize),
                                        .rate_n = task->own_n,
                                        .rate_window_ms = task->own_window_ms,
                                        .max_attempts = task->spec->max_attempts};
    }
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.role = WIRE_ROLE_WORKER,
                           .name = str_of(self->name),
                           .incarnation = str_bytes(self->options.incarnation, WIRE_PEER_N),
                           .store_id = str_of(""),
                           .host = str_of(self->host),
                           .pid = self->options.pid,
                           .version = str_of(STINT_VERSION),
                           .slots = (uint64_t)self->options.slots,
                           .tasks = offers,
                           .tasks_n = (uint32_t)self->rates.n}};
    bool taken = say(self, broker, &msg, NULL);
    self->peers[broker].hello_at = taken ? INT64_MAX : now_ms + HELLO_AGAIN_MS;
}

static uint32_t fill_limits(const worker_core_t *self, wire_limit_t *out, int64_t now_ms)
{
    uint32_t n = 0;
    for (int i = 0; i < self->rates.n; i++) {
        const rate_t *task = &self->rates.tasks[i];
        if (task->window) {
            out[n++] = (wire_limit_t){.task = str_of(task->spec->name),
                                      .rate_n = task->rate_n,
                                      .rate_window_ms = task->rate_window_ms,
                                      .used_n = window_used(task->window, now_ms)};
        }
    }
    return n;
}

static void send_heartbeat(worker_core_t *self, int64_t now_ms)
{
    self->seq++;
    self->sent_at[self->seq % SENT_MEMORY] = now_ms;
    wire_running_t *running = mem_alloc((self->running_n + self->waiting_n + 1) * sizeof *running);
    wire_limit_t limits[WORKER_TASKS_MAX];
    const worker_sample_t *sample = &self->sample;
    msg_heartbeat_t it = {.seq = self->seq,
                          .worker = str_of(self->name),
                          .slots = (uint64_t)self->options.slots,
                          .busy = self->running_n,
                          .draining = self->draining,
                          .done_n = self->facts.done_n,
                          .failed_n = self->facts.failed_n,
                          .batches = running,
                          .batches_n = runs_list(self, running),
                          .limits = limits,
                          .limits_n = fill_limits(self, limits, now_ms),
                          .cpu_permille = sample->cpu_permille,
                          .memory_total = sample->memory_total,
                          .memory_available = sample->memory_available,
                          .load_centi = sample->load_centi,
                          .disk_read_rate = sample->disk_read_rate,
                          .disk_write_rate = sample->disk_write_rate,
                          .batch_items = optimizer_size(&self->optimizer),
                          .batch_reason = str_of(self->optimizer.reason)};
    msg_t msg = {.type = MSG_HEARTBEAT, .heartbeat = it};
    /* All live brokers in turn, so that each proves now and then whether it reaches the store;
     * through one that seems not to, the heartbeat is only a probe and goes a second way too. */
    int n = self->options.brokers, probe = -1;
    for (int i = 0; i < n && probe < 0; i++) {
        int broker = (int)((self->seq + (uint64_t)i) % (uint64_t)n);
        probe = peers_live(self, broker) ? broker : -1;
    }
    if (probe >= 0) {
        int sound = reaches_store(self, probe) ? probe : peers_next(self);
        self->peers[probe].store_silent_n++;
        say(self, probe, &msg, NULL);
        if (sound >= 0 && sound != probe) {
            say(self, sound, &msg, NULL);
        }
    }
    free(running);
}

/* -- tickets -- */

/* How many more batches there is room for results of. */
static uint32_t result_room(const worker_core_t *self)
{
    uint64_t used = results_bytes(self->results), space = self->options.result_space;
    uint32_t busy = self->running_n + self->waiting_n;
    double size = self->mean_result > RESULT_SIZE_MIN ? self->mean_result : RESULT_SIZE_MIN;
    double room = used < space ? (double)(space - used) / size - busy : 0;
    if (room < 1) {
        return used == 0 && busy == 0; /* a result larger than the whole space must not stop all */
    }
    return room < TICKETS_LIVE ? (uint32_t)room : TICKETS_LIVE;
}

static tickets_want_t wanted(worker_core_t *self, int64_t now_ms)
{
    tickets_want_t want = {.max_items = optimizer_size(&self->optimizer)};
    uint32_t slots = (uint32_t)self->options.slots, waiting = self->waiting_n, deepest = 0;
    for (int i = 0; i < self->rates.n; i++) {
        const rate_t *task = &self->rates.tasks[i];
        *(task->window ? &want.limited : &want.unlimited) |= UINT64_C(1) << i;
        want.tokens[i] = rates_tokens(task, now_ms);
        uint32_t depth = self->options.lookahead ? rates_ahead(task) * slots : 0;
        depth = depth < TICKETS_LIVE ? depth : TICKETS_LIVE;
        want.ahead_depth[i] = depth > waiting ? depth - waiting : 0;
        deepest = want.ahead_depth[i] > deepest ? want.ahead_depth[i] : deepest;
    }
    uint32_t room = result_room(self), slots_free = runs_free_slots(self);
    want.full_n = slots_free > waiting ? slots_free - waiting : 0;
    want.full_n = want.full_n < room ? want.full_n : room;
    want.ahead_n = deepest < room - want.full_n ? deepest : room - want.full_n;
    uint32_t live = 0;
    for (int i = 0; i < self->options.brokers; i++) {
        live |= (uint32_t)peers_live(self, i) << i;
        want.brokers |= (uint32_t)reaches_store(self, i) << i;
    }
    want.brokers = want.brokers ? want.brokers : live;
    return want;
}

static void send_tickets(worker_core_t *self, int broker, int64_t now_ms)
{
    msg_t msg = {
        .type = MSG_TICKETS,
        .tickets = {.seq = ++self->tickets_seq, .ttl_ms = PEER_SILENT_N * self->heartbeat_ms}};
    msg.tickets.grants_n =
        tickets_told(self->tickets, broker, now_ms, msg.tickets.ttl_ms, &msg.tickets.grants);
    say(self, broker, &msg, NULL);
}

static void plan_tickets(worker_core_t *self, int64_t now_ms)
{
    if (self->quiet || self->draining) {
        tickets_withdraw(self->tickets);
    } else {
        tickets_want_t want = wanted(self, now_ms);
        tickets_plan(self->tickets, &want, now_ms);
    }
}

static void judge(worker_core_t *self, int broker)
{
    peer_t *peer = &self->peers[broker];
    peer->refused_version = false;
    if (peer->known && peer->unanswered_n >= PEER_SILENT_N) {
        core_note(self, true, "worker.broker_down", "broker=%d reason=silent", broker);
        peer->known = false;
    }
    if (peer->known) {
        peer->beats_n = UINT32_MAX; /* reached once: silence has words of its own */
    } else if (peer->beats_n != UINT32_MAX && ++peer->beats_n == PEER_SILENT_N + 1) {
        core_note(self, true, "worker.broker_unreached",
                  "broker=%d detail=\"no answer yet; see --brokers\"", broker);
    }
    peer->hello_at = peer->known ? INT64_MAX : INT64_MIN;
}

void peers_turn(worker_core_t *self, int64_t now_ms)
{
    bool beat = now_ms >= self->heartbeat_at;
    for (int i = 0; i < self->options.brokers; i++) {
        if (beat) {
            judge(self, i);
        }
        if (now_ms >= self->peers[i].hello_at) {
            send_hello(self, i, now_ms);
        }
    }
    plan_tickets(self, now_ms);
    for (int i = 0; i < self->options.brokers; i++) {
        if (peers_live(self, i) && (beat || tickets_changed(self->tickets, i))) {
            send_tickets(self, i, now_ms);
            self->peers[i].unanswered_n += beat;
        }
    }
    if (beat) {
        send_heartbeat(self, now_ms);
        self->heartbeat_at = now_ms + self->heartbeat_ms;
    }
}

void peers_bye(worker_core_t *self)
{
    for (int i = 0; i < self->options.brokers; i++) {
        if (peers_live(self, i)) {
            say(self, i, &(msg_t){.type = MSG_BYE, .bye = {.reason = str_of("drained")}}, NULL);
        }
    }
}

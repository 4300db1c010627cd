/* Life of the core, messages in, the turn. */
#include "worker/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "worker/core_inside.h"

void core_note(const worker_core_t *self, bool degraded, const char *event, const char *format, ...)
{
    if (!self->effects.note) {
        return;
    }
    char pairs[512];
    va_list args;
    va_start(args, format);
    vsnprintf(pairs, sizeof pairs, format, args);
    va_end(args);
    self->effects.note(self->effects.context, degraded, event, pairs);
}

/* -- life -- */

void worker_options_offer(worker_options_t *self, bool test_tasks)
{
    for (int i = 0; i < TASK_IDS_N; i++) {
        const task_spec_t *spec = task_spec_at(i);
        bool ours = !(spec->flags & TASK_STORE) && (test_tasks || !(spec->flags & TASK_TEST));
        if (ours && self->tasks_n < WORKER_TASKS_MAX) {
            self->tasks[self->tasks_n++] = spec;
        }
    }
}

static void add_task(worker_core_t *self, const task_spec_t *spec)
{
    const worker_options_t *options = &self->options;
    uint32_t n = spec->rate_n;
    int64_t window_ms = spec->rate_window_ms;
    if (n && options->rate == WORKER_RATE_OFF) {
        n = 0;
    } else if (n && options->rate == WORKER_RATE_SET) {
        n = options->rate_n;
        window_ms = options->rate_window_ms;
    }
    rates_add(&self->rates, spec, n, window_ms);
}

worker_core_t *worker_core_new(const worker_options_t *options, const worker_effects_t *effects)
{
    INVARIANT(options->slots >= 1 && options->slots <= WORKER_SLOTS_MAX);
    INVARIANT(options->brokers >= 1 && options->brokers <= WORKER_BROKERS_MAX);
    worker_core_t *self = mem_zero(sizeof *self);
    self->options = *options;
    self->effects = *effects;
    self->name = mem_text(options->name);
    self->host = mem_text(options->host);
    self->arena = wire_arena_new();
    uint32_t upper = 0;
    memcpy(&upper, options->incarnation + 8, sizeof upper);
    self->tickets = tickets_new((uint64_t)upper << 32);
    self->results = results_new();
    self->queue_end = &self->queue;
    self->measured_task = -1;
    self->optimizer.reason = "start";
    self->random = options->random_seed;
    self->heartbeat_ms = options->heartbeat_ms;
    self->heartbeat_at = INT64_MIN;
    for (int i = 0; i < options->tasks_n; i++) {
        add_task(self, options->tasks[i]);
    }
    for (int i = 0; i < options->brokers; i++) {
        self->peers[i].hello_at = INT64_MIN;
    }
    return self;
}

void worker_core_destroy(worker_core_t **self)
{
    worker_core_t *core = *self;
    if (!core) {
        return;
    }
    runs_drop_all(core, false);
    rates_free(&core->rates);
    tickets_destroy(&core->tickets);
    results_destroy(&core->results);
    wire_arena_destroy(&core->arena);
    free(core->name);
    free(core->host);
    free(core);
    *self = NULL;
}

void worker_core_window_load(worker_core_t *self, const char *task, const int64_t *times, int n)
{
    int i = rates_find(&self->rates, str_of(task));
    for (int k = 0; k < n && i >= 0 && self->rates.tasks[i].window; k++) {
        window_start(self->rates.tasks[i].window, times[k]);
    }
}

void worker_core_window_fill(worker_core_t *self, const char *task, int64_t now_ms)
{
    int i = rates_find(&self->rates, str_of(task));
    if (i >= 0 && self->rates.tasks[i].window) {
        window_fill(self->rates.tasks[i].window, now_ms);
    }
}

/* -- messages in -- */

static void acknowledged(worker_core_t *self, uint64_t batch, uint64_t attempt)
{
    results_forget(self->results, (wire_lease_ref_t){.batch = batch, .attempt = attempt});
}

static void handle(worker_core_t *self, int broker, const msg_t *msg, frames_t *frames,
                   int64_t now_ms)
{
    switch (msg->type) {
    case MSG_HELLO_OK:
        peers_hello_ok(self, broker, &msg->hello_ok);
        break;
    case MSG_RECONNECT:
        peers_reconnect(self, broker);
        break;
    case MSG_DISPATCH:
        runs_dispatch(self, broker, &msg->dispatch, frames, now_ms);
        break;
    case MSG_RECORDED:
        acknowledged(self, msg->recorded.batch, msg->recorded.attempt);
        break;
    case MSG_DISCARDED:
        acknowledged(self, msg->discarded.batch, msg->discarded.attempt);
        break;
    case MSG_HEARTBEAT_OK:
        peers_heartbeat_ok(self, broker, &msg->heartbeat_ok, now_ms);
        break;
    case MSG_PARTIALS:
        reports_partials(self, &msg->partials, frames->body);
        break;
    case MSG_UNSUPPORTED:
        core_note(self, true, "worker.unsupported", "broker=%d major=%llu", broker,
                  (unsigned long long)msg->unsupported.major);
        break;
    default: /* PONG says only that the broker lives; what is not for workers is ignored (P5) */
        break;
    }
}

static bool from_store(msg_type_t type)
{
    return type == MSG_DISPATCH || type == MSG_RECORDED || type == MSG_DISCARDED ||
           type == MSG_HEARTBEAT_OK || type == MSG_PARTIALS;
}

void worker_core_receive(worker_core_t *self, int broker, frames_t *frames, int64_t now_ms)
{
    INVARIANT(broker >= 0 && broker < self->options.brokers);
    msg_t msg;
    err_t err = frames->head
                    ? wire_decode(self->arena, blob_data(frames->head), blob_n(frames->head), &msg)
                    : ERR_MALFORMED;
    if (err) {
        self->facts.garbage_n++;
        if (err == ERR_UNSUPPORTED) {
            peers_unsupported(self, broker);
        }
    } else {
        peers_heard(self, broker, from_store(msg.type));
        handle(self, broker, &msg, frames, now_ms);
    }
    frames_free(frames);
}

void worker_core_slot_ready(worker_core_t *self, int slot, bool ready)
{
    INVARIANT(slot >= 0 && slot < self->options.slots);
    self->slots[slot].ready = ready;
}

void worker_core_sample(worker_core_t *self, const worker_sample_t *sample, int64_t now_ms)
{
    self->sample = *sample;
    uint32_t before = optimizer_size(&self->optimizer);
    optimizer_host_t host = {.memory_available = sample->memory_available,
                             .cpu_permille = sample->cpu_permille,
                             .target_ms = self->options.target_duration_ms,
                             .now_ms = now_ms};
    optimizer_sample(&self->optimizer, &host);
    if (optimizer_size(&self->optimizer) != before) {
        core_note(self, false, "worker.batch_size", "from=%u to=%u reason=%s", before,
                  optimizer_size(&self->optimizer), self->optimizer.reason);
    }
}

/* -- the turn -- */

static void finish_drain(worker_core_t *self, int64_t now_ms)
{
    if (!self->draining || self->bye_said) {
        return;
    }
    bool over = now_ms >= self->drain_end_at;
    if (over) {
        runs_drop_all(self, true); /* and report nothing: the leases end by themselves */
    }
    if (over || (self->running_n == 0 && results_n(self->results) == 0)) {
        peers_bye(self);
        self->bye_said = true;
        core_note(self, results_n(self->results) > 0, "worker.drained", "unacknowledged=%u",
                  results_n(self->results));
    }
}

void worker_core_turn(worker_core_t *self, int64_t now_ms)
{
    runs_turn(self, now_ms);
    reports_turn(self, now_ms);
    finish_drain(self, now_ms);
    if (!self->bye_said) {
        peers_turn(self, now_ms);
    }
}

static void sooner(int64_t *at, int64_t other)
{
    *at = other < *at ? other : *at;
}

int64_t worker_core_next_at(const worker_core_t *self, int64_t now_ms)
{
    if (self->bye_said) {
        return INT64_MAX;
    }
    int64_t at = self->heartbeat_at;
    sooner(&at, runs_next_at(self));
    sooner(&at, tickets_next_at(self->tickets));
    for (int i = 0; i < self->options.brokers; i++) {
        sooner(&at, self->peers[i].hello_at);
    }
    bool connected = worker_core_facts(self).brokers_live_n > 0;
    if (connected) {
        sooner(&at, reports_next_at(self));
    }
    if (self->draining) {
        sooner(&at, self->drain_end_at);
    } else if (connected && runs_free_slots(self) > 0) {
        for (int i = 0; i < self->rates.n; i++) {
            int64_t token_at = rates_token_at(&self->rates.tasks[i], now_ms);
            if (token_at > now_ms) {
                sooner(&at, token_at);
            }
        }
    }
    return at;
}

/* -- drain -- */

void worker_core_drain(worker_core_t *self, int64_t now_ms)
{
    if (self->draining) {
        return;
    }
    self->draining = true;
    self->drain_end_at = now_ms + self->options.drain_ms;
    core_note(self, false, "worker.drain", "running=%u waiting=%u unacknowledged=%u",
              self->running_n, self->waiting_n, results_n(self->results));
    tickets_withdraw(self->tickets);
    for (int i = 0; i < self->options.brokers; i++) {
        tickets_lost(self->tickets, i); /* say so at once, also where nothing was granted */
    }
    runs_hand_back_all(self, "draining");
}

bool worker_core_drained(const worker_core_t *self)
{
    return self->bye_said;
}

worker_facts_t worker_core_facts(const worker_core_t *self)
{
    worker_facts_t facts = self->facts;
    facts.running_n = self->running_n;
    facts.waiting_n = self->waiting_n;
    facts.results_n = results_n(self->results);
    facts.tickets_n = tickets_live_n(self->tickets);
    facts.batch_items = optimizer_size(&self->optimizer);
    facts.draining = self->draining;
    facts.quiet = self->quiet;
    for (int i = 0; i < self->options.brokers; i++) {
        facts.brokers_live_n += peers_live(self, i);
    }
    return facts;
}

/* What children report: progress, wishes for partials, outcomes, and the messages these become. */
#include <string.h>

#include "common/backoff.h"
#include "worker/core_inside.h"

enum { TEXT_MAX = 8192 }; /* of a failure's sentence and of its stderr */

static str_t clipped(const char *text)
{
    text = text ? text : "";
    size_t n = strlen(text);
    /* Not through the middle of a character. */
    for (n = n < TEXT_MAX ? n : TEXT_MAX; n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80; n--) {
    }
    return str_bytes(text, n);
}

static void keep(worker_core_t *self, const held_t *it, const msg_t *msg, blob_t *body)
{
    frames_t frames = frames_of(msg, body);
    double size = (double)(blob_n(frames.head) + blob_n(frames.body));
    self->mean_result += self->mean_result > 0 ? (size - self->mean_result) / 8 : size;
    results_add(self->results, it->lease, &frames);
}

static void failed(worker_core_t *self, const held_t *it, const pool_event_t *event)
{
    int64_t wait_ms = backoff_ms(it->failures + 1, &self->random);
    if (event->retry_after_ms >= 0) {
        wait_ms = event->retry_after_ms;
    }
    msg_t msg = {.type = MSG_FAILURE,
                 .failure = {.store_id = str_bytes(it->store_id, it->store_id_n),
                             .batch = it->lease.batch,
                             .attempt = it->lease.attempt,
                             .worker = str_of(self->name),
                             .class = event->failure_class,
                             .permanent = event->permanent,
                             .backoff_ms = event->permanent ? 0 : wait_ms,
                             .duration_us = event->duration_us,
                             .text = clipped(event->text),
                             .stderr_tail = clipped(event->stderr_tail)}};
    core_note(self, true, "worker.batch_failed",
              "batch=%llu attempt=%llu task=%s class=%s backoff_ms=%lld",
              (unsigned long long)it->lease.batch, (unsigned long long)it->lease.attempt,
              runs_rate(self, it)->spec->name, failure_class_name(event->failure_class),
              (long long)msg.failure.backoff_ms);
    self->facts.failed_n++;
    keep(self, it, &msg, NULL);
}

static void measure(worker_core_t *self, const held_t *it, int64_t duration_us, int64_t now_ms)
{
    rates_measure(runs_rate(self, it), duration_us);
    if (it->kind != WIRE_KIND_BATCH || it->items_n < OPTIMIZER_MIN) {
        return; /* a small batch tells of the overhead, not of its items */
    }
    if (self->measured_task != it->task) {
        /* The items of another task cost something else: only the size is carried over. */
        self->optimizer.best_us = self->optimizer.recent_us = 0;
        self->measured_task = it->task;
    }
    uint32_t before = optimizer_size(&self->optimizer);
    optimizer_host_t host = {.memory_available = self->sample.memory_available,
                             .cpu_permille = self->sample.cpu_permille,
                             .target_ms = self->options.target_duration_ms,
                             .now_ms = now_ms};
    optimizer_batch(&self->optimizer, it->items_n, duration_us, &host);
    if (optimizer_size(&self->optimizer) != before) {
        core_note(self, false, "worker.batch_size", "from=%u to=%u reason=%s", before,
                  optimizer_size(&self->optimizer), self->optimizer.reason);
    }
}

static void succeeded(worker_core_t *self, const held_t *it, const pool_event_t *event,
                      int64_t now_ms)
{
    if (blob_n(event->result) > WIRE_BODY_MAX) { /* P6: the sender checks */
        pool_event_t over = {.failure_class = FAILURE_OUTPUT_LIMIT,
                             .permanent = true,
                             .duration_us = event->duration_us,
                             .text = "the result is larger than a message may be"};
        failed(self, it, &over);
        return;
    }
    msg_t msg = {.type = MSG_RESULT,
                 .result = {.store_id = str_bytes(it->store_id, it->store_id_n),
                            .batch = it->lease.batch,
                            .attempt = it->lease.attempt,
                            .worker = str_of(self->name),
                            .items_failed = event->items_failed,
                            .raw_bytes = event->raw_bytes,
                            .duration_us = event->duration_us,
                            .job_error = clipped(event->job_error),
                            .job_error_text = clipped(event->job_error_text)}};
    self->facts.done_n++;
    keep(self, it, &msg, event->result ? blob_ref(event->result) : NULL);
    measure(self, it, event->duration_us, now_ms);
}

void worker_core_event(worker_core_t *self, const pool_event_t *event, int64_t now_ms)
{
    if (event->slot < 0 || event->slot >= self->options.slots) {
        return;
    }
    held_t *it = self->slots[event->slot].held;
    if (!it || !runs_is(it, event->batch, event->attempt)) {
        return; /* of a child that was killed meanwhile */
    }
    switch (event->type) {
    case POOL_PROGRESS:
        it->items_done = event->items_done > it->items_done ? event->items_done : it->items_done;
        return;
    case POOL_PAGE:
        it->wants_page = true;
        it->from_no = event->from_no;
        it->ask_at = INT64_MIN;
        return;
    case POOL_RESULT:
        succeeded(self, it, event, now_ms);
        break;
    case POOL_FAILURE:
        if (guard_over(&it->guard, now_ms)) {
            self->facts
                .fenced_n++; /* the child's own guard was faster: no failure of the batch (P27) */
        } else {
            failed(self, it, event);
        }
        break;
    }
    runs_release(self, event->slot);
}

/* -- partials -- */

void reports_partials(worker_core_t *self, const msg_partials_t *msg, blob_t *body)
{
    for (int i = 0; i < self->options.slots; i++) {
        held_t *it = self->slots[i].held;
        if (it && it->wants_page && runs_is(it, msg->batch, msg->attempt) &&
            it->from_no == msg->from_no) {
            it->wants_page = false;
            self->effects.page(self->effects.context, i, body, msg->next_no, msg->last != 0);
        }
    }
}

static void ask_for_pages(worker_core_t *self, int64_t now_ms)
{
    for (int i = 0; i < self->options.slots; i++) {
        held_t *it = self->slots[i].held;
        if (it && it->wants_page && now_ms >= it->ask_at) {
            msg_t msg = {.type = MSG_PARTIALS_GET,
                         .partials_get = {.store_id = str_bytes(it->store_id, it->store_id_n),
                                          .batch = it->lease.batch,
                                          .attempt = it->lease.attempt,
                                          .from_no = it->from_no}};
            peers_to_store(self, -1, &msg, NULL);
            it->ask_at = now_ms + PAGE_AGAIN_MS;
        }
    }
}

static void send_outcomes(worker_core_t *self, int64_t now_ms)
{
    frames_t frames;
    int broker = peers_next(self);
    while (broker >= 0 && results_due(self->results, now_ms, &frames)) {
        if (self->options.test_duplicate) {
            frames_t copy = frames_copy(&frames);
            self->effects.send(self->effects.context, broker, &copy);
        }
        self->effects.send(self->effects.context, broker, &frames);
        broker = peers_next(self);
    }
}

/* While more batches wait here the outcomes of a millisecond go together: a message that goes alone
 * wakes a thread or two in each process on its way. */
int64_t reports_next_at(const worker_core_t *self)
{
    int64_t due = results_next_at(self->results);
    int64_t together = self->waiting_n > 0 ? self->outcomes_at + 1 : INT64_MIN;
    return due > together ? due : together;
}

void reports_turn(worker_core_t *self, int64_t now_ms)
{
    ask_for_pages(self, now_ms);
    if (now_ms >= reports_next_at(self)) {
        send_outcomes(self, now_ms);
        self->outcomes_at = now_ms;
    }
}

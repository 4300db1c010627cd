#include "worker/pool_frames.h"

#include <string.h>

enum {
    READS =
        16, /* of SLOT_READ bytes a slot and round: a child that floods must not hold the loop */
    PIPE_READS = 64,   /* a process that left the group of a dead child could write for ever */
    WORKS_MAX = 10000, /* then a child is replaced */
};

/* ---- what came of a work
 * ------------------------------------------------------------------------------------------ */

static void emit(const pool_t *self, const slot_t *slot, pool_event_t *event)
{
    event->slot = (int)(slot - self->slots);
    event->batch = slot->batch;
    event->attempt = slot->attempt;
    self->call(self->context, event);
}

/* The slot has no work any more; what is left to do is to hear of its end. */
void pool_retire(slot_t *slot)
{
    slot->state = SLOT_DYING;
    atomic_store(&slot->shared->deadline_ms, 0);
    slot_kill(slot);
}

/* Before the event goes out: its receiver may start the next work in this slot at once. */
static void end_work(slot_t *slot, bool replace)
{
    atomic_store(&slot->shared->deadline_ms, 0);
    slot->works_n++;
    /* After a notice the signal may still be on its way, and would hit the next work. */
    if (replace || slot->soft_sent || slot->works_n >= WORKS_MAX || slot->in.n) {
        pool_retire(slot);
    } else {
        slot->state = SLOT_IDLE;
    }
}

void pool_emit_failure(const pool_t *self, slot_t *slot, pool_event_t *event, const char *text)
{
    char clean[CHILD_TEXT_MAX], tail[SLOT_TAIL + 1];
    for (int i = 0; i < PIPE_READS && slot_read_pipe(slot) && slot->state == SLOT_DYING; i++) {
        /* To its end: the process is dead or about to be. */
    }
    outcome_clean(clean, sizeof clean, text, strlen(text));
    outcome_clean(tail, sizeof tail, slot->tail, slot->tail_n);
    event->type = POOL_FAILURE;
    event->text = clean;
    event->stderr_tail = tail;
    emit(self, slot, event);
}

static void on_result(const pool_t *self, slot_t *slot, const frame_head_t *head)
{
    frame_result_t frame;
    const uint8_t *payload = slot->in.data + sizeof *head;
    memcpy(&frame, payload, sizeof frame);
    blob_t *result = blob_new(payload + sizeof frame, head->n - sizeof frame);
    slot_skip(slot, head);
    frame.job_error[sizeof frame.job_error - 1] = 0;
    frame.job_error_text[sizeof frame.job_error_text - 1] = 0;
    end_work(slot, frame.leftovers);
    pool_event_t event = {.type = POOL_RESULT,
                          .result = result,
                          .raw_bytes = frame.raw_bytes,
                          .items_failed = frame.items_failed,
                          .duration_us = frame.duration_us,
                          .retry_after_ms = -1,
                          .job_error = frame.job_error,
                          .job_error_text = frame.job_error_text};
    emit(self, slot, &event);
    blob_unref(&result);
}

static void on_failure(const pool_t *self, slot_t *slot, const frame_head_t *head)
{
    frame_failure_t frame;
    memcpy(&frame, slot->in.data + sizeof *head, sizeof frame);
    slot_skip(slot, head);
    frame.text[sizeof frame.text - 1] = 0;
    pool_event_t event = {.failure_class = frame.failure_class,
                          .permanent = frame.permanent,
                          .retry_after_ms = frame.retry_after_ms,
                          .duration_us = frame.duration_us};
    bool output = frame.failure_class == FAILURE_OUTPUT_LIMIT;
    if (slot->soft_sent) {
        /* A task that gives up because it was told to has not failed by itself. */
        outcome_facts_t facts = {.verdict = VERDICT_SOFT, .soft_ms = slot->soft_ms};
        event.failure_class = outcome_of(&facts, frame.text, sizeof frame.text);
        event.permanent = false;
    } else if (!output) {
        event.failure_class = FAILURE_TASK_ERROR;
    }
    end_work(slot, frame.leftovers || output);
    pool_emit_failure(self, slot, &event, frame.text);
}

/* ---- frames from a child
 * ------------------------------------------------------------------------------------------ */

void pool_condemn(slot_t *slot, verdict_t verdict)
{
    if (slot->state == SLOT_BUSY) {
        slot->verdict =
            verdict; /* the event follows when the process has ended: nothing of it runs then */
        slot_kill(slot);
    } else if (slot->state != SLOT_EMPTY) {
        pool_retire(slot);
    }
}

static void on_frame(const pool_t *self, slot_t *slot, const frame_head_t *head)
{
    pool_event_t event = {.retry_after_ms = -1};
    bool busy = slot->state == SLOT_BUSY;
    if (head->type == FRAME_HELLO && slot->state == SLOT_GREETING) {
        slot->state = SLOT_IDLE;
        slot_skip(slot, head);
    } else if (head->type == FRAME_RESULT && busy) {
        on_result(self, slot, head);
    } else if (head->type == FRAME_FAILURE && busy) {
        on_failure(self, slot, head);
    } else if (head->type == FRAME_PROGRESS && busy) {
        event.type = POOL_PROGRESS;
        memcpy(&event.items_done, slot->in.data + sizeof *head, sizeof event.items_done);
        slot_skip(slot, head);
        emit(self, slot, &event);
    } else if (head->type == FRAME_WANT && busy) {
        event.type = POOL_PAGE;
        memcpy(&event.from_no, slot->in.data + sizeof *head, sizeof event.from_no);
        slot_skip(slot, head);
        emit(self, slot, &event);
    } else {
        pool_condemn(slot, VERDICT_GARBAGE);
    }
}

/* The states in which a child is listened to. */
bool pool_hears(const slot_t *slot)
{
    return slot->pid && slot->state != SLOT_DYING && slot->verdict == VERDICT_NONE;
}

void pool_take_frames(const pool_t *self, slot_t *slot)
{
    while (pool_hears(slot)) {
        frame_head_t head;
        switch (slot_peek(slot, &head)) {
        case SLOT_FRAME:
            on_frame(self, slot, &head);
            break;
        case SLOT_FRAME_PART:
            return;
        case SLOT_FRAME_HUGE:
            pool_condemn(slot, VERDICT_OUTPUT);
            return;
        case SLOT_FRAME_BAD:
            pool_condemn(slot, VERDICT_GARBAGE);
            return;
        }
    }
}

void pool_read_socket(const pool_t *self, slot_t *slot)
{
    for (int i = 0; i < READS; i++) {
        size_t before = slot->in.n;
        if (!slot_read(slot)) {
            return;
        }
        /* Less than there was room for: nothing more waits, and asking again would cost a system
         * call. */
        bool emptied = slot->in.n - before < SLOT_READ;
        if (!pool_hears(slot)) {
            buffer_clear(
                &slot->in); /* condemned: read on, so that its end is seen, but keep nothing */
        }
        pool_take_frames(self, slot);
        if (emptied) {
            return;
        }
    }
}

/* A list in the order of due times: new outcomes stand at the head, what was just sent goes to the
 * tail. An acknowledgement mostly names one of the oldest, so the search is short. */
#include "worker/results.h"

#include <stdlib.h>

#include "common/buffer.h"

typedef struct outcome {
    struct outcome *next, *previous;
    wire_lease_ref_t attempt;
    frames_t frames;
    int64_t due_at;
} outcome_t;

struct results {
    outcome_t *head, *tail;
    uint64_t bytes;
    uint32_t n;
};

static void take_out(results_t *self, outcome_t *it)
{
    *(it->previous ? &it->previous->next : &self->head) = it->next;
    *(it->next ? &it->next->previous : &self->tail) = it->previous;
    it->next = it->previous = NULL;
}

static void put_last(results_t *self, outcome_t *it)
{
    it->previous = self->tail;
    *(self->tail ? &self->tail->next : &self->head) = it;
    self->tail = it;
}

static uint64_t size_of(const outcome_t *it)
{
    return blob_n(it->frames.head) + blob_n(it->frames.body) + sizeof *it;
}

results_t *results_new(void)
{
    return mem_zero(sizeof(results_t));
}

static void drop(results_t *self, outcome_t *it)
{
    take_out(self, it);
    self->bytes -= size_of(it);
    self->n--;
    frames_free(&it->frames);
    free(it);
}

void results_destroy(results_t **self)
{
    if (*self) {
        while ((*self)->head) {
            drop(*self, (*self)->head);
        }
        free(*self);
        *self = NULL;
    }
}

void results_add(results_t *self, wire_lease_ref_t attempt, frames_t *frames)
{
    outcome_t *it = mem_zero(sizeof *it);
    it->attempt = attempt;
    it->frames = *frames;
    *frames = (frames_t){0};
    it->due_at = INT64_MIN;
    it->next = self->head;
    *(self->head ? &self->head->previous : &self->tail) = it;
    self->head = it;
    self->bytes += size_of(it);
    self->n++;
}

bool results_forget(results_t *self, wire_lease_ref_t attempt)
{
    for (outcome_t *it = self->head; it; it = it->next) {
        if (it->attempt.batch == attempt.batch && it->attempt.attempt == attempt.attempt) {
            drop(self, it);
            return true;
        }
    }
    return false;
}

bool results_due(results_t *self, int64_t now_ms, frames_t *out)
{
    outcome_t *it = self->head;
    if (!it || it->due_at > now_ms) {
        return false;
    }
    it->due_at = now_ms + RESULTS_AGAIN_MS;
    take_out(self, it);
    put_last(self, it);
    *out = frames_copy(&it->frames);
    return true;
}

int64_t results_next_at(const results_t *self)
{
    return self->head ? self->head->due_at : INT64_MAX;
}

uint64_t results_bytes(const results_t *self)
{
    return self->bytes;
}

uint32_t results_n(const results_t *self)
{
    return self->n;
}

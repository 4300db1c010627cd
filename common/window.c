/* A ring that keeps the newest n starts, oldest first. What left the ring can no longer matter: a
 * start is allowed exactly when the n-th newest has left the window. */
#include "common/window.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/log.h"

struct window {
    uint32_t limit, count, first;
    int64_t window_ms;
    int64_t *starts; /* `limit` places; the k-th oldest stands at (first + k) % limit */
};

static int64_t start_at(const window_t *self, uint32_t k)
{
    return self->starts[(self->first + k) % self->limit];
}

window_t *window_new(uint32_t n, int64_t window_ms)
{
    INVARIANT(n >= 1 && n <= WINDOW_MAX && window_ms > 0);
    window_t *self = mem_zero(sizeof *self);
    self->limit = n;
    self->window_ms = window_ms;
    self->starts = mem_zero(n * sizeof *self->starts);
    return self;
}

void window_destroy(window_t **self)
{
    if (*self) {
        free((*self)->starts);
        free(*self);
        *self = NULL;
    }
}

void window_set(window_t *self, uint32_t n, int64_t window_ms)
{
    window_t *next = window_new(n, window_ms);
    uint32_t skip = self->count > n ? self->count - n : 0;
    for (uint32_t k = skip; k < self->count; k++) {
        window_start(next, start_at(self, k));
    }
    free(self->starts);
    *self = *next;
    free(next);
}

uint32_t window_used(const window_t *self, int64_t now)
{
    /* Starts rise, so those that still count are the tail: find its first by halving. */
    uint32_t low = 0, high = self->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (now - start_at(self, middle) < self->window_ms) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return self->count - low;
}

uint32_t window_free(const window_t *self, int64_t now)
{
    return self->limit - window_used(self, now);
}

int64_t window_free_at(const window_t *self, int64_t now)
{
    return window_free(self, now) > 0 ? now : start_at(self, 0) + self->window_ms;
}

void window_start(window_t *self, int64_t now)
{
    if (self->count > 0 && now < start_at(self, self->count - 1)) {
        now = start_at(self, self->count - 1);
    }
    if (self->count < self->limit) {
        self->count++;
    } else {
        self->first = (self->first + 1) % self->limit;
    }
    self->starts[(self->first + self->count - 1) % self->limit] = now;
}

void window_fill(window_t *self, int64_t now)
{
    for (uint32_t i = 0; i < self->limit; i++) {
        window_start(self, now);
    }
}

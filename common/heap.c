#include "common/heap.h"

#include <stdlib.h>

#include "common/buffer.h"
#include "common/log.h"

static heap_slot_t *slot_of(const heap_t *self, const void *item)
{
    return (heap_slot_t *)((char *)item + self->slot_offset);
}

static void place(heap_t *self, size_t at, void *item)
{
    self->items[at] = item;
    slot_of(self, item)->at = at;
}

static void rise(heap_t *self, size_t at)
{
    void *item = self->items[at];
    while (at > 1 && self->before(item, self->items[at / 2])) {
        place(self, at, self->items[at / 2]);
        at /= 2;
    }
    place(self, at, item);
}

static void sink(heap_t *self, size_t at)
{
    void *item = self->items[at];
    for (;;) {
        size_t child = at * 2;
        if (child > self->n) {
            break;
        }
        if (child < self->n && self->before(self->items[child + 1], self->items[child])) {
            child++;
        }
        if (!self->before(self->items[child], item)) {
            break;
        }
        place(self, at, self->items[child]);
        at = child;
    }
    place(self, at, item);
}

void heap_init(heap_t *self, size_t slot_offset, heap_before_t before)
{
    *self = (heap_t){.slot_offset = slot_offset, .before = before};
}

void heap_free(heap_t *self)
{
    free(self->items);
    self->items = NULL;
    self->n = self->capacity = 0;
}

void heap_add(heap_t *self, void *item)
{
    INVARIANT(slot_of(self, item)->at == 0);
    if (self->n + 1 >= self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 16;
        self->items = mem_grow(self->items, self->capacity * sizeof *self->items);
    }
    self->items[++self->n] = item;
    slot_of(self, item)->at = self->n;
    rise(self, self->n);
}

void heap_remove(heap_t *self, void *item)
{
    size_t at = slot_of(self, item)->at;
    if (at == 0) {
        return;
    }
    INVARIANT(at <= self->n && self->items[at] == item);
    slot_of(self, item)->at = 0;
    void *last = self->items[self->n--];
    if (last != item) {
        place(self, at, last);
        heap_moved(self, last);
    }
}

void heap_moved(heap_t *self, void *item)
{
    size_t at = slot_of(self, item)->at;
    if (at) {
        rise(self, at);
        sink(self, slot_of(self, item)->at);
    }
}

void *heap_top(const heap_t *self)
{
    return self->n ? self->items[1] : NULL;
}

bool heap_has(const heap_t *self, const void *item)
{
    return slot_of(self, item)->at != 0;
}

#include "common/heap.h"

#include <stdlib.h>

#include "common/buffer.h"

static bool before(const heap_node_t *a, const heap_node_t *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void set(heap_t *self, size_t i, heap_node_t *node)
{
    self->nodes[i] = node;
    node->place = i + 1;
}

static size_t up(heap_t *self, size_t i, heap_node_t *node)
{
    while (i > 0 && before(node, self->nodes[(i - 1) / 2])) {
        set(self, i, self->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    set(self, i, node);
    return i;
}

static void down(heap_t *self, size_t i, heap_node_t *node)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= self->n) {
            break;
        }
        if (child + 1 < self->n && before(self->nodes[child + 1], self->nodes[child])) {
            child++;
        }
        if (!before(self->nodes[child], node)) {
            break;
        }
        set(self, i, self->nodes[child]);
        i = child;
    }
    set(self, i, node);
}

void heap_put(heap_t *self, heap_node_t *node, int64_t at)
{
    heap_remove(self, node);
    if (self->n == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 16;
        self->nodes = mem_grow(self->nodes, self->capacity * sizeof(heap_node_t *));
    }
    node->at = at;
    node->order = self->order++;
    self->n++;
    up(self, self->n - 1, node);
}

void heap_remove(heap_t *self, heap_node_t *node)
{
    if (node->place == 0) {
        return;
    }
    size_t i = node->place - 1;
    node->place = 0;
    heap_node_t *last = self->nodes[--self->n];
    if (last != node) {
        down(self, up(self, i, last), last);
    }
}

heap_node_t *heap_first(const heap_t *self)
{
    return self->n ? self->nodes[0] : NULL;
}

void heap_free(heap_t *self)
{
    free(self->nodes);
    *self = (heap_t){0};
}

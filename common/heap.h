/* heap: a binary min-heap of borrowed elements that know their place, so that any of them can be
 * removed or moved.
 *
 * Each element is a struct with a heap_slot_t inside; `before` compares two elements. O(log n) for
 * add, remove, moved. */
#ifndef STINT_COMMON_HEAP_H
#define STINT_COMMON_HEAP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t at; /* 1-based place; 0 = not in a heap */
} heap_slot_t;

typedef bool (*heap_before_t)(const void *a, const void *b);

typedef struct {
    void **items;
    size_t n, capacity;
    size_t slot_offset; /* offsetof (element, its heap_slot_t) */
    heap_before_t before;
} heap_t;

void heap_init(heap_t *self, size_t slot_offset, heap_before_t before);
/* Frees the heap's own memory; the elements stay. */
void heap_free(heap_t *self);
void heap_add(heap_t *self, void *item);
/* No effect if the element is in no heap. */
void heap_remove(heap_t *self, void *item);
/* The element's key changed. */
void heap_moved(heap_t *self, void *item);
/* NULL if empty. */
void *heap_top(const heap_t *self);
bool heap_has(const heap_t *self, const void *item);

#endif

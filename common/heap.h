/* heap: deadlines, the earliest first, each of which can be moved or taken out.
 *
 * Intrusive: the node lives in the thing that waits. Ties keep the order of heap_put. Pure; called
 * by the loop and the cores. */
#ifndef STINT_COMMON_HEAP_H
#define STINT_COMMON_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: not in a heap. `owner` is the caller's; the rest is the heap's. */
typedef struct {
    void *owner;
    int64_t at;
    uint64_t order;
    size_t place; /* position + 1; 0 = not in a heap */
} heap_node_t;

/* All zero: empty. */
typedef struct {
    heap_node_t **nodes;
    size_t n, capacity;
    uint64_t order;
} heap_t;

/* Put the node in, or move it. */
void heap_put(heap_t *self, heap_node_t *node, int64_t at);
/* Does nothing if it is not in. */
void heap_remove(heap_t *self, heap_node_t *node);
/* NULL while empty. */
heap_node_t *heap_first(const heap_t *self);
static inline bool heap_holds(const heap_node_t *node)
{
    return node->place != 0;
}
/* Frees the array, not the nodes. */
void heap_free(heap_t *self);

#endif

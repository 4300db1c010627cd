/* arena: memory that is freed all at once: what one parse or one change needs.
 *
 * Allocation failure aborts with a log line, as everywhere. Nothing is freed before arena_free. */
#ifndef STINT_MIGRATE_ARENA_H
#define STINT_MIGRATE_ARENA_H

#include <stddef.h>

typedef struct arena_block arena_block_t;
typedef struct {
    arena_block_t *blocks; /* {0} is an empty arena */
} arena_t;

/* Zeroed and aligned for anything. */
void *arena_alloc(arena_t *self, size_t n);
/* An array of `n` elements of `size` bytes with room for one more: the same, or a larger copy. */
void *arena_grow(arena_t *self, void *items, int n, size_t size);
char *arena_text(arena_t *self, const char *text, size_t n);
char *arena_printf(arena_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_free(arena_t *self);

#endif

#include "schema/migrate/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/log.h"

enum { BLOCK_BYTES = 16384, ALIGNMENT = 16 };

struct arena_block {
    arena_block_t *next;
    size_t used, size;
    _Alignas(16) uint8_t data[];
};

void *arena_alloc(arena_t *self, size_t n)
{
    size_t need = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    arena_block_t *block = self->blocks;
    if (!block || block->size - block->used < need) {
        size_t size = need > BLOCK_BYTES ? need : BLOCK_BYTES;
        block = mem_zero(sizeof *block + size);
        block->size = size;
        block->next = self->blocks;
        self->blocks = block;
    }
    void *out = block->data + block->used;
    block->used += need;
    return out;
}

/* Capacities are the powers of two: a full one is seen by its count. */
void *arena_grow(arena_t *self, void *items, int n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0)
        return items;
    void *larger = arena_alloc(self, (n ? (size_t)n * 2 : 1) * size);
    if (n > 0)
        memcpy(larger, items, (size_t)n * size);
    return larger;
}

char *arena_text(arena_t *self, const char *text, size_t n)
{
    char *copy = arena_alloc(self, n + 1);
    if (n > 0)
        memcpy(copy, text, n);
    return copy;
}

char *arena_printf(arena_t *self, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    INVARIANT(n >= 0);
    char *text = arena_alloc(self, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

void arena_free(arena_t *self)
{
    while (self->blocks) {
        arena_block_t *next = self->blocks->next;
        free(self->blocks);
        self->blocks = next;
    }
}

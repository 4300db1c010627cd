/* Linear probing with backward-shift deletion: no tombstones, so look-ups stay short. */
#include "common/map.h"

#include <stdlib.h>

#include "common/buffer.h"
#include "common/log.h"

static size_t home(const map_t *self, uint64_t key)
{
    return (size_t)((key * 0x9e3779b97f4a7c15u) >> 20) & (self->capacity - 1);
}

static size_t find(const map_t *self, uint64_t key)
{
    size_t at = home(self, key);
    while (self->keys[at] != 0 && self->keys[at] != key) {
        at = (at + 1) & (self->capacity - 1);
    }
    return at;
}

static void resize(map_t *self, size_t capacity)
{
    map_t old = *self;
    self->capacity = capacity;
    self->keys = mem_zero(capacity * sizeof *self->keys);
    self->values = mem_alloc(capacity * sizeof *self->values);
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.keys[i]) {
            size_t at = find(self, old.keys[i]);
            self->keys[at] = old.keys[i];
            self->values[at] = old.values[i];
        }
    }
    free(old.keys);
    free(old.values);
}

void map_free(map_t *self)
{
    free(self->keys);
    free(self->values);
    *self = (map_t){0};
}

void *map_get(const map_t *self, uint64_t key)
{
    if (self->capacity == 0 || key == 0) {
        return NULL;
    }
    size_t at = find(self, key);
    return self->keys[at] ? self->values[at] : NULL;
}

void map_put(map_t *self, uint64_t key, void *value)
{
    INVARIANT(key != 0);
    if ((self->n + 1) * 4 > self->capacity * 3) {
        resize(self, self->capacity ? self->capacity * 2 : 16);
    }
    size_t at = find(self, key);
    if (self->keys[at] == 0) {
        self->keys[at] = key;
        self->n++;
    }
    self->values[at] = value;
}

void *map_remove(map_t *self, uint64_t key)
{
    if (self->capacity == 0 || key == 0) {
        return NULL;
    }
    size_t at = find(self, key);
    if (self->keys[at] == 0) {
        return NULL;
    }
    void *value = self->values[at];
    size_t hole = at, mask = self->capacity - 1;
    for (size_t next = (hole + 1) & mask; self->keys[next]; next = (next + 1) & mask) {
        size_t want = home(self, self->keys[next]);
        if (((next - want) & mask) >= ((next - hole) & mask)) {
            self->keys[hole] = self->keys[next];
            self->values[hole] = self->values[next];
            hole = next;
        }
    }
    self->keys[hole] = 0;
    self->n--;
    if (self->capacity > 16 && self->n * 8 < self->capacity) {
        resize(self, self->capacity / 2);
    }
    return value;
}

void *map_next(const map_t *self, size_t *at)
{
    while (*at < self->capacity) {
        size_t i = (*at)++;
        if (self->keys[i]) {
            return self->values[i];
        }
    }
    return NULL;
}

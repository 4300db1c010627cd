/* map: from a 64 bit key to a borrowed pointer. Open addressing, grows and shrinks; key 0 is not
 * allowed. */
#ifndef STINT_COMMON_MAP_H
#define STINT_COMMON_MAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t *keys;
    void **values;
    size_t n, capacity;
} map_t;

void map_free(map_t *self);
/* NULL if absent. */
void *map_get(const map_t *self, uint64_t key);
/* Insert or replace. */
void map_put(map_t *self, uint64_t key, void *value);
/* The removed value, NULL if absent. */
void *map_remove(map_t *self, uint64_t key);
/* Walk: start with *at = 0; NULL at the end. The map must not change meanwhile. */
void *map_next(const map_t *self, size_t *at);

#endif

/* envelope: a whole submission in one JSON object, cut into its items (raw bytes) and the rest.
 * Pure; called by submit. */
#ifndef STINT_API_HTTP_ENVELOPE_H
#define STINT_API_HTTP_ENVELOPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

typedef struct {
    json_t *fields; /* owned: everything but the items */
    const char *task;
    const json_t *params; /* object or NULL */
    int priority;
    uint32_t chunk_items, batch_items; /* 0 = default */
    const char *items;                 /* the array as it was sent; NULL: there is none */
    size_t items_n;
    uint64_t items_line; /* of its first byte, from 1 */
} envelope_t;

/* Borrows `data`. ERR_MALFORMED: no strict JSON; ERR_INVALID: names the field; ERR_TOO_LARGE: over
 * 1 MiB besides the items. */
CHECKED err_t envelope_parse(envelope_t *out, const char *data, size_t n);
void envelope_free(envelope_t *self);

#endif

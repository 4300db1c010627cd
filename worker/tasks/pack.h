/* pack: msgpack written into a buffer, and read back without trusting a byte of it.
 *
 * Lives here: the few msgpack types a partial result needs. msgpack-c is not used for reading
 * because it allocates what a header claims before it looks at what is there; this reader never
 * allocates and never reads past the end. Pure. */
#ifndef STINT_WORKER_PACK_H
#define STINT_WORKER_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/csv.h"

void pack_uint(buffer_t *out, uint64_t value);
void pack_int(buffer_t *out, int64_t value);
/* An int if it fits into 64 bit, else 16 bytes of bin, big-endian two's complement. */
void pack_wide(buffer_t *out, __int128 value);
void pack_text(buffer_t *out, const char *text);
void pack_bytes(buffer_t *out, const void *data, size_t n);
void pack_array(buffer_t *out, uint32_t n);
void pack_map(buffer_t *out, uint32_t n);
/* LEB128, for use inside bytes. */
void pack_varint(buffer_t *out, uint64_t value);

/* Reads from `at` to `end`. The first thing that is not what was asked for sets `failed`; from then
 * on every read gives 0 or empty, so a caller may check once at the end. */
typedef struct {
    const uint8_t *at, *end;
    bool failed;
} unpack_t;

uint64_t unpack_uint(unpack_t *self);
int64_t unpack_int(unpack_t *self);
__int128 unpack_wide(unpack_t *self);
slice_t unpack_text(unpack_t *self);
slice_t unpack_bytes(unpack_t *self);
/* The number of elements (of pairs, for a map); never more than the bytes that are left. */
uint32_t unpack_array(unpack_t *self);
uint32_t unpack_map(unpack_t *self);
/* Step over one value of any type. */
void unpack_skip(unpack_t *self);
uint64_t unpack_varint(unpack_t *self);
bool slice_is(slice_t slice, const char *text);

#endif

/* child_unpack: stored bytes into what a task reads, and a result into what is sent.
 *
 * Pure functions of their input: no socket, no clock, no process. Called by child only. */
#ifndef STINT_WORKER_CHILD_UNPACK_H
#define STINT_WORKER_CHILD_UNPACK_H

#include "common/buffer.h"
#include "common/err.h"

/* The content of n bytes of concatenated zstd frames, which must be exactly raw_bytes long (0 and
 * no bytes = empty). Replaces the content of `out`; a NUL stands behind the last byte. ERR_CORRUPT
 * otherwise. */
CHECKED err_t unpack_frames(buffer_t *out, const uint8_t *data, size_t n, uint64_t raw_bytes);

/* A record of a page of partials (PROTOCOL.md P30), and the walk over them. */
typedef struct {
    uint32_t batch_no, raw_bytes, n;
    const uint8_t *data;
} unpack_record_t;
/* The record at *at, which then points behind it. ERR_CORRUPT if it does not fit into the n bytes
 * of the page. */
CHECKED err_t unpack_record(const uint8_t *page, size_t n, size_t *at, unpack_record_t *out);

/* zstd level 1 if that is smaller and there is more than 1 KB of it. Returns the uncompressed size,
 * 0 = left plain. */
uint64_t pack_result(buffer_t *result);

#endif

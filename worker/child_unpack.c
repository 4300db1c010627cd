#include "worker/child_unpack.h"

#include <string.h>
#include <zstd.h>

#include "common/log.h"
#include "worker/child.h"

enum { PACK_ABOVE = 1024 };

/* One context a process, kept: making one costs more than unpacking a small batch. */
static ZSTD_DCtx *unpacker(void)
{
    static ZSTD_DCtx *context;
    if (!context) {
        context = ZSTD_createDCtx();
    }
    return context;
}

err_t unpack_frames(buffer_t *out, const uint8_t *data, size_t n, uint64_t raw_bytes)
{
    buffer_clear(out);
    if (raw_bytes > CHILD_RAW_MAX) {
        return err_set(ERR_CORRUPT, "corrupt: said to hold %llu bytes, over the limit of %d",
                       (unsigned long long)raw_bytes, CHILD_RAW_MAX);
    }
    buffer_reserve(out, (size_t)raw_bytes + 1);
    size_t got = 0;
    if (n) {
        got = ZSTD_decompressDCtx(unpacker(), out->data, (size_t)raw_bytes, data, n);
        if (ZSTD_isError(got)) {
            return err_set(ERR_CORRUPT, "corrupt: %s", ZSTD_getErrorName(got));
        }
    }
    if (got != raw_bytes) {
        return err_set(ERR_CORRUPT, "corrupt: holds %zu bytes, not %llu", got,
                       (unsigned long long)raw_bytes);
    }
    out->n = got;
    out->data[got] = 0;
    return ERR_OK;
}

static uint32_t little_endian(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

err_t unpack_record(const uint8_t *page, size_t n, size_t *at, unpack_record_t *out)
{
    size_t left = n - *at;
    if (left < 12) {
        return err_set(ERR_CORRUPT, "corrupt: a page of partials ends inside a record's head");
    }
    const uint8_t *head = page + *at;
    unpack_record_t record = {little_endian(head), little_endian(head + 4), little_endian(head + 8),
                              head + 12};
    if (record.n > left - 12) {
        return err_set(ERR_CORRUPT, "corrupt: the partial of batch %u ends behind its page",
                       record.batch_no);
    }
    *at += 12 + (size_t)record.n;
    *out = record;
    return ERR_OK;
}

uint64_t pack_result(buffer_t *result)
{
    static ZSTD_CCtx *context;
    if (result->n <= PACK_ABOVE) {
        return 0;
    }
    if (!context) {
        context = ZSTD_createCCtx();
    }
    buffer_t packed = {0};
    /* Room for one byte less than there is: what does not get smaller fails, and stays plain. */
    buffer_reserve(&packed, result->n - 1);
    size_t n = ZSTD_compressCCtx(context, packed.data, result->n - 1, result->data, result->n, 1);
    if (ZSTD_isError(n)) {
        buffer_free(&packed);
        return 0;
    }
    uint64_t raw_bytes = result->n;
    packed.n = n;
    buffer_free(result);
    *result = packed;
    return raw_bytes;
}

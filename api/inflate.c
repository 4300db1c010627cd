#include "api/inflate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "common/buffer.h"
#include "common/log.h"

enum {
    PIECE = 65536,
    WINDOW_LOG_MAX = 23, /* 8 MiB, what RFC 8878 asks every decoder to take */
};

struct inflater {
    encoding_t encoding;
    z_stream stream;
    ZSTD_DCtx *zstd;
    bool inside; /* a member or frame has begun and has not ended */
    bool any;    /* one has ended */
    uint8_t out[PIECE];
};

inflater_t *inflater_new(encoding_t encoding)
{
    if (encoding == ENCODING_PLAIN) {
        return NULL;
    }
    inflater_t *self = mem_zero(sizeof *self);
    self->encoding = encoding;
    if (encoding == ENCODING_ZSTD) {
        self->zstd = ZSTD_createDCtx();
        INVARIANT(self->zstd);
        ZSTD_DCtx_setParameter(self->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    } else {
        int status = inflateInit2(&self->stream, 15 + 16); /* + 16: gzip and nothing else */
        INVARIANT(status == Z_OK);
    }
    return self;
}

void inflater_destroy(inflater_t **self)
{
    if (*self) {
        if ((*self)->encoding == ENCODING_GZIP) {
            inflateEnd(&(*self)->stream);
        }
        ZSTD_freeDCtx((*self)->zstd);
        free(*self);
        *self = NULL;
    }
}

/* -- gzip -------------------------------------------------------------------------------------- */

static err_t step(inflater_t *self)
{
    if (!self->inside) {
        inflateReset(&self->stream);
        self->inside = true;
    }
    int status = inflate(&self->stream, Z_NO_FLUSH);
    switch (status) {
    case Z_STREAM_END:
        self->inside = false;
        self->any = true;
        return ERR_OK;
    case Z_OK:
    case Z_BUF_ERROR: /* nothing to do now */
        return ERR_OK;
    default:
        return err_set(ERR_MALFORMED, "%s: %s",
                       self->any ? "gzip: damaged, or other bytes follow it" : "gzip",
                       self->stream.msg ? self->stream.msg : "damaged");
    }
}

static err_t gzip_step(inflater_t *self, const uint8_t **data, size_t *n, size_t *out_n)
{
    self->stream.next_out = self->out;
    self->stream.avail_out = PIECE;
    while (self->stream.avail_out && (*n || self->inside)) {
        uInt give = *n < (1U << 30) ? (uInt)*n : 1U << 30;
        uInt room = self->stream.avail_out;
        self->stream.next_in = (Bytef *)(uintptr_t)*data; /* zlib's type is not const */
        self->stream.avail_in = give;
        err_t err = step(self);
        if (err) {
            return err;
        }
        uInt taken = give - self->stream.avail_in;
        *data += taken;
        *n -= taken;
        if (taken == 0 && self->stream.avail_out == room && self->inside) {
            break;
        }
    }
    *out_n = PIECE - self->stream.avail_out;
    return ERR_OK;
}

/* -- zstd -------------------------------------------------------------------------------------- */

static err_t zstd_failed(const inflater_t *self, size_t code)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge) {
        return err_set(ERR_MALFORMED,
                       "zstd: its window is over %d MiB; compress without --long and "
                       "--ultra",
                       1 << (WINDOW_LOG_MAX - 20));
    }
    return err_set(ERR_MALFORMED, "%s: %s",
                   self->any ? "zstd: damaged, or other bytes follow it" : "zstd",
                   ZSTD_getErrorName(code));
}

static err_t zstd_step(inflater_t *self, const uint8_t **data, size_t *n, size_t *out_n)
{
    ZSTD_outBuffer out = {self->out, PIECE, 0};
    while (out.pos < PIECE && (*n || self->inside)) {
        ZSTD_inBuffer in = {*data, *n, 0};
        size_t before = out.pos;
        size_t left = ZSTD_decompressStream(self->zstd, &out, &in);
        if (ZSTD_isError(left)) {
            return zstd_failed(self, left);
        }
        *data += in.pos;
        *n -= in.pos;
        self->inside = left != 0;
        self->any = self->any || left == 0;
        if (in.pos == 0 && out.pos == before) {
            break;
        }
    }
    *out_n = out.pos;
    return ERR_OK;
}

/* -- both -------------------------------------------------------------------------------------- */

err_t inflater_step(inflater_t *self, const uint8_t **data, size_t *n, const uint8_t **out,
                    size_t *out_n)
{
    *out = self->out;
    return self->encoding == ENCODING_ZSTD ? zstd_step(self, data, n, out_n)
                                           : gzip_step(self, data, n, out_n);
}

err_t inflater_finish(const inflater_t *self)
{
    return self->any && !self->inside ? ERR_OK
                                      : err_set(ERR_MALFORMED, "%s: ends in the middle",
                                                self->encoding == ENCODING_ZSTD ? "zstd" : "gzip");
}

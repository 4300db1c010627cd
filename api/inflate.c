#include "api/inflate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

#include "common/buffer.h"
#include "common/log.h"

enum { PIECE = 65536 };

struct inflater {
    z_stream stream;
    bool inside; /* a member has begun and has not ended */
    bool any;    /* a member has ended */
    uint8_t out[PIECE];
};

inflater_t *inflater_new(void)
{
    inflater_t *self = mem_zero(sizeof *self);
    int status = inflateInit2(&self->stream, 15 + 16); /* + 16: gzip and nothing else */
    INVARIANT(status == Z_OK);
    return self;
}

void inflater_destroy(inflater_t **self)
{
    if (*self) {
        inflateEnd(&(*self)->stream);
        free(*self);
        *self = NULL;
    }
}

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

err_t inflater_step(inflater_t *self, const uint8_t **data, size_t *n, const uint8_t **out,
                    size_t *out_n)
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
    *out = self->out;
    *out_n = PIECE - self->stream.avail_out;
    return ERR_OK;
}

err_t inflater_finish(const inflater_t *self)
{
    return self->any && !self->inside ? ERR_OK : err_set(ERR_MALFORMED, "gzip: ends in the middle");
}

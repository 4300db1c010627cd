#include "api/intake.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "api/framing.h"
#include "api/inflate.h"
#include "api/json_stream.h"
#include "common/log.h"

enum { CHUNK_BYTES = 7 << 20, CHUNK_ITEMS_MIN = 100, CHUNK_LEVEL = 1 };

struct intake {
    intake_options_t options;
    intake_sink_t sink;
    inflater_t *inflater; /* NULL: plain */
    framing_t framing;
    json_stream_t *json; /* NULL: lines */
    buffer_t chunk, compact;
    uint32_t chunk_n;
    uint64_t bytes, expanded, items, lines;
    bool header_seen;
    bool line_known; /* the error is in line `lines` */
    bool json_failed;
};

/* Each chunk is compressed in one call, so one context serves every upload; making one costs more
 * than a small submission. */
static ZSTD_CCtx *compressor(void)
{
    static ZSTD_CCtx *the_one;
    if (!the_one) {
        the_one = ZSTD_createCCtx();
        INVARIANT(the_one);
    }
    return the_one;
}

/* -- chunks ------------------------------------------------------------------------------------ */

static err_t close_chunk(intake_t *self)
{
    if (self->chunk_n == 0) {
        return ERR_OK;
    }
    buffer_t out = {0};
    buffer_reserve(&out, ZSTD_compressBound(self->chunk.n));
    size_t n = ZSTD_compressCCtx(compressor(), out.data, out.capacity, self->chunk.data,
                                 self->chunk.n, CHUNK_LEVEL);
    INVARIANT(!ZSTD_isError(n));
    blob_t *data = blob_new(out.data, n); /* a copy of the right size: it may be kept for long */
    buffer_free(&out);
    uint32_t items_n = self->chunk_n;
    uint64_t raw_bytes = self->chunk.n;
    self->chunk_n = 0;
    buffer_clear(&self->chunk);
    return self->sink.chunk(self->sink.context, items_n, raw_bytes, data);
}

static err_t add_item(intake_t *self, const char *data, size_t n)
{
    if (self->items >= self->options.max_items) {
        return err_set(ERR_TOO_LARGE, "more than %" PRIu64 " items", self->options.max_items);
    }
    self->items++;
    buffer_add(&self->chunk, data, n);
    buffer_add(&self->chunk, "\n", 1);
    self->chunk_n++;
    bool full = self->chunk_n >= self->options.chunk_items ||
                (self->chunk.n >= CHUNK_BYTES && self->chunk_n >= CHUNK_ITEMS_MIN);
    return full ? close_chunk(self) : ERR_OK;
}

/* -- items ------------------------------------------------------------------------------------- */

static err_t on_header(intake_t *self, const char *line, size_t n)
{
    self->header_seen = true;
    self->line_known = true;
    if (n && line[0] == 0) {
        return err_set(ERR_INVALID, "E_HEADER: the header is over %d bytes", LINE_MAX_BYTES);
    }
    if (!utf8_valid(line, n) || memchr(line, 0, n)) {
        return err_set(ERR_INVALID, "E_HEADER: the header is not valid UTF-8 text");
    }
    err_t err = self->sink.header(self->sink.context, line, n, 2);
    self->line_known = err != ERR_OK;
    return err;
}

static err_t on_strict_line(intake_t *self, const char *line, size_t n)
{
    size_t blank = 0;
    while (blank < n && line[blank] && strchr(FRAMING_NDJSON_BLANKS, line[blank])) {
        blank++;
    }
    if (blank == n) {
        return ERR_OK;
    }
    self->line_known = true;
    if (line[0] == 0) {
        return err_set(ERR_TOO_LARGE, "line %" PRIu64 " is over %d bytes", self->lines,
                       LINE_MAX_BYTES);
    }
    err_t err = json_line_check(line, n);
    if (err) {
        return err_set(err == ERR_MALFORMED ? ERR_INVALID : err, "line %" PRIu64 ": %s",
                       self->lines, err_text());
    }
    self->line_known = false;
    return add_item(self, line, n);
}

static err_t on_line(void *context, const char *line, size_t n)
{
    intake_t *self = context;
    self->lines++;
    if (self->options.kind == INTAKE_CSV && !self->header_seen) {
        return on_header(self, line, n);
    }
    return self->options.strict ? on_strict_line(self, line, n) : add_item(self, line, n);
}

static err_t on_element(void *context, const json_element_t *element)
{
    intake_t *self = context;
    if (self->options.strict) {
        return add_item(self, element->raw, element->raw_n);
    }
    if (element->kind == JSON_KIND_OBJECT) {
        buffer_clear(&self->compact);
        buffer_reserve(&self->compact, element->raw_n);
        char *out = (char *)self->compact.data;
        return add_item(self, out, json_compact(out, element->raw, element->raw_n));
    }
    if (element->kind != JSON_KIND_STRING) {
        return err_set(ERR_INVALID, "an item of this task is an object or a string (one line)");
    }
    if (memchr(element->text, '\n', element->text_n)) {
        return err_set(ERR_INVALID, "an item is one line: no newline in a string");
    }
    return add_item(self, element->text, element->text_n);
}

/* -- bytes ------------------------------------------------------------------------------------- */

intake_t *intake_new(const intake_options_t *options, intake_sink_t sink)
{
    intake_t *self = mem_zero(sizeof *self);
    self->options = *options;
    self->sink = sink;
    self->inflater = inflater_new(options->encoding);
    if (options->kind == INTAKE_JSON) {
        self->json = json_stream_new(on_element, self);
    } else {
        framing_init(&self->framing,
                     options->kind == INTAKE_CSV ? FRAMING_CSV_BLANKS : FRAMING_NDJSON_BLANKS,
                     on_line, self);
    }
    return self;
}

void intake_destroy(intake_t **self_ref)
{
    intake_t *self = *self_ref;
    if (!self) {
        return;
    }
    inflater_destroy(&self->inflater);
    json_stream_destroy(&self->json);
    framing_free(&self->framing);
    buffer_free(&self->chunk);
    buffer_free(&self->compact);
    free(self);
    *self_ref = NULL;
}

static err_t take(intake_t *self, const void *data, size_t n)
{
    if (n > self->options.max_expanded - self->expanded) {
        return err_set(ERR_TOO_LARGE, "the body is over %" PRIu64 " bytes%s",
                       self->options.max_expanded, self->inflater ? " after decompression" : "");
    }
    self->expanded += n;
    err_t err =
        self->json ? json_stream_push(self->json, data, n) : framing_push(&self->framing, data, n);
    self->json_failed = self->json && err;
    return err;
}

static err_t push_packed(intake_t *self, const uint8_t **data, size_t *n, size_t room)
{
    for (;;) {
        const uint8_t *piece = NULL;
        size_t piece_n = 0;
        err_t err = inflater_step(self->inflater, data, n, &piece, &piece_n);
        if (!err && piece_n) {
            err = take(self, piece, piece_n);
        }
        if (err || piece_n == 0 || piece_n >= room) {
            return err;
        }
        room -= piece_n;
    }
}

err_t intake_push(intake_t *self, const void *data, size_t n, size_t room, size_t *used)
{
    if (n > room && !self->inflater) {
        n = room;
    }
    if (n > self->options.max_bytes - self->bytes) {
        return err_set(ERR_TOO_LARGE, "the body is over %" PRIu64 " bytes",
                       self->options.max_bytes);
    }
    const uint8_t *rest = data;
    size_t rest_n = n;
    err_t err;
    if (self->inflater) {
        err = push_packed(self, &rest, &rest_n, room);
    } else {
        err = take(self, data, n);
        rest_n = 0;
    }
    self->bytes += n - rest_n;
    *used = n - rest_n;
    return err;
}

err_t intake_finish(intake_t *self)
{
    err_t err = ERR_OK;
    if (self->inflater) {
        const uint8_t *none = (const uint8_t *)"";
        size_t none_n = 0;
        err = push_packed(self, &none, &none_n, SIZE_MAX);
        if (!err) {
            err = inflater_finish(self->inflater);
        }
    }
    if (!err) {
        err = self->json ? json_stream_finish(self->json) : framing_finish(&self->framing);
        self->json_failed = self->json && err;
    }
    return err ? err : close_chunk(self);
}

intake_place_t intake_place(const intake_t *self)
{
    intake_place_t place = {0};
    if (self->json_failed) {
        place.line =
            json_stream_line(self->json) - 1 + (self->options.line ? self->options.line : 1);
        snprintf(place.pointer, sizeof place.pointer, "%s/%" PRIu64,
                 self->options.pointer ? self->options.pointer : "", json_stream_index(self->json));
    } else if (self->line_known) {
        place.line = self->lines;
    }
    return place;
}

uint64_t intake_items(const intake_t *self)
{
    return self->items;
}

uint64_t intake_expanded(const intake_t *self)
{
    return self->expanded;
}

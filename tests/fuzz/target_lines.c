/* A submission's body on its way into chunks: the first bytes choose kind, gzip, bounds and where
 * the network cuts; the rest is the body. Cut anywhere the same comes out, and of plain lines what
 * a simple reader finds. */
#include <zlib.h>
#include <zstd.h>

#include "api/intake.h"
#include "common/buffer.h"
#include "tests/fuzz/fuzz.h"

typedef struct {
    buffer_t header, items;
    uint64_t first_line, items_n, chunks_n;
    bool headed;
    err_t err;
    intake_place_t place;
    char text[200];
} outcome_t;

static err_t on_header(void *context, const char *line, size_t n, uint64_t first_line)
{
    outcome_t *self = context;
    FUZZ_CHECK(!self->headed && self->chunks_n == 0, "a header comes once, and first");
    self->headed = true;
    self->first_line = first_line;
    buffer_add(&self->header, line, n);
    return ERR_OK;
}

static err_t on_chunk(void *context, uint32_t items_n, uint64_t raw_bytes, blob_t *data)
{
    outcome_t *self = context;
    uint8_t *raw = malloc(raw_bytes ? raw_bytes : 1);
    size_t got = ZSTD_decompress(raw, raw_bytes, blob_data(data), blob_n(data));
    FUZZ_CHECK(got == raw_bytes, "a chunk has %zu bytes, not %llu", got,
               (unsigned long long)raw_bytes);
    uint32_t newlines = 0;
    for (size_t i = 0; i < raw_bytes; i++) {
        newlines += raw[i] == '\n';
    }
    FUZZ_CHECK(newlines == items_n && items_n > 0, "%u items in %u lines", items_n, newlines);
    buffer_add(&self->items, raw, raw_bytes);
    self->items_n += items_n;
    self->chunks_n++;
    free(raw);
    blob_unref(&data);
    return ERR_OK;
}

/* `cuts` chooses the pieces; NULL: in one piece. */
static outcome_t take(const intake_options_t *options, const uint8_t *data, size_t n, feed_t *cuts)
{
    outcome_t out = {0};
    intake_t *intake = intake_new(
        options, (intake_sink_t){.context = &out, .header = on_header, .chunk = on_chunk});
    size_t at = 0;
    uint32_t idle = 0;
    while (at < n && !out.err) {
        size_t piece = n - at, room = 1 << 20, used = 0;
        if (cuts) {
            size_t wanted = 1 + feed_byte(cuts) % 64;
            piece = wanted < piece ? wanted : piece;
            room = 1 + feed_byte(cuts);
        }
        uint8_t *exact = fuzz_exact(data + at, piece);
        out.err = intake_push(intake, exact, piece, room, &used);
        free(exact);
        FUZZ_CHECK(used <= piece, "took more than there was");
        at += used;
        idle = used ? 0 : idle + 1;
        FUZZ_CHECK(idle < 100000, "takes nothing for ever");
    }
    if (!out.err) {
        out.err = intake_finish(intake);
    }
    if (out.err) {
        out.place = intake_place(intake);
        snprintf(out.text, sizeof out.text, "%s", err_text());
    } else {
        FUZZ_CHECK(out.items_n == intake_items(intake), "items are missing");
        FUZZ_CHECK(intake_expanded(intake) <= options->max_expanded, "over the bound");
    }
    FUZZ_CHECK(out.items_n <= options->max_items, "over max_items");
    intake_destroy(&intake);
    return out;
}

static void forget(outcome_t *self)
{
    buffer_free(&self->header);
    buffer_free(&self->items);
}

static bool same_bytes(const buffer_t *a, const buffer_t *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->data, b->data, a->n) == 0);
}

static void check_same(const outcome_t *a, const outcome_t *b, bool gzip, const char *what)
{
    /* A body may be too large, or damaged as gzip, and wrong as well: which is seen first depends
     * on the pieces. */
    bool both = (a->err && b->err) && (gzip || a->err == ERR_TOO_LARGE || b->err == ERR_TOO_LARGE);
    FUZZ_CHECK(both || a->err == b->err, "%s: %s (%s) or %s (%s)", what, err_code(a->err), a->text,
               err_code(b->err), b->text);
    if (!a->err) {
        FUZZ_CHECK(same_bytes(&a->header, &b->header) && same_bytes(&a->items, &b->items) &&
                       a->first_line == b->first_line && a->items_n == b->items_n,
                   "%s: not the same items", what);
    }
}

/* Lines as anybody would read them: a BOM, LF, one CR before it. Short inputs have no line that is
 * too long. */
static buffer_t simple_lines(const uint8_t *data, size_t n)
{
    buffer_t out = {0};
    size_t at = n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < n) {
        const uint8_t *stop = memchr(data + at, '\n', n - at);
        size_t end = stop ? (size_t)(stop - data) : n;
        size_t last = stop && end > at && data[end - 1] == '\r' ? end - 1 : end;
        buffer_add(&out, data + at, last - at);
        buffer_add(&out, "\n", 1);
        at = end + 1;
    }
    return out;
}

static void check_lines(const outcome_t *out, const uint8_t *data, size_t n)
{
    buffer_t lines = simple_lines(data, n), got = {0};
    if (out->headed) {
        buffer_add(&got, out->header.data, out->header.n);
        buffer_add(&got, "\n", 1);
    }
    buffer_add(&got, out->items.data, out->items.n);
    FUZZ_CHECK(same_bytes(&got, &lines), "not the lines of the body");
    buffer_free(&lines);
    buffer_free(&got);
}

static buffer_t zipped_of(const uint8_t *data, size_t n, bool two_members)
{
    buffer_t out = {0};
    size_t half = two_members ? n / 2 : n;
    for (int part = 0; part < (two_members ? 2 : 1); part++) {
        const uint8_t *from = data + (part ? half : 0);
        size_t length = part ? n - half : half;
        z_stream stream = {0};
        FUZZ_CHECK(deflateInit2(&stream, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib");
        size_t bound = deflateBound(&stream, length) + 64;
        buffer_reserve(&out, bound);
        stream.next_in = (Bytef *)(uintptr_t)from;
        stream.avail_in = (uInt)length;
        stream.next_out = out.data + out.n;
        stream.avail_out = (uInt)bound;
        FUZZ_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib");
        out.n += bound - stream.avail_out;
        deflateEnd(&stream);
    }
    return out;
}

void fuzz_lines(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    uint32_t how = feed_byte(&feed), bounds = feed_byte(&feed);
    feed_t cuts = {feed.at, feed.at + (feed_left(&feed) < 8 ? feed_left(&feed) : 8)};
    feed.at = cuts.end;
    intake_options_t options = {.kind = (intake_kind_t)(how % 3),
                                .strict = how >> 2 & 1,
                                .encoding = how >> 3 & 1 ? ENCODING_GZIP : ENCODING_PLAIN,
                                .max_bytes = 1 << 20,
                                .max_expanded = bounds & 1 ? 300 : 1 << 20,
                                .max_items = bounds & 2 ? 5 : 1 << 20,
                                .chunk_items = 1 + (bounds >> 2 & 15),
                                .pointer = ""};
    const uint8_t *body = feed.at;
    size_t length = feed_left(&feed);
    outcome_t one = take(&options, body, length, NULL), many = take(&options, body, length, &cuts);
    check_same(&one, &many, options.encoding, "cut in pieces");
    if (!one.err && !options.encoding && options.kind != INTAKE_JSON && !options.strict) {
        check_lines(&one, body, length);
    }
    if (!options.encoding) {
        buffer_t packed = zipped_of(body, length, how >> 4 & 1);
        intake_options_t zipped = options;
        zipped.encoding = ENCODING_GZIP;
        outcome_t inflated = take(&zipped, packed.data, packed.n, NULL);
        check_same(&one, &inflated, true, "as gzip");
        forget(&inflated);
        if (!one.err && packed.n > 8) { /* a body that breaks off is never whole */
            outcome_t broken = take(&zipped, packed.data, packed.n - 5, NULL);
            FUZZ_CHECK(broken.err != ERR_OK, "a gzip without its end was taken");
            forget(&broken);
        }
        buffer_free(&packed);
    }
    forget(&one);
    forget(&many);
}

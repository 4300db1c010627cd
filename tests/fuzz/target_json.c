/* JSON of strangers. First byte even: the elements of an array, cut anywhere (the next four bytes
 * say where), against jansson. Odd: an envelope. */
#include <jansson.h>

#include "api/http/envelope.h"
#include "api/json_stream.h"
#include "common/buffer.h"
#include "tests/fuzz/fuzz.h"

typedef struct {
    buffer_t raw; /* every element and a newline */
    uint64_t n;
    const json_t *expected; /* jansson's reading; NULL: not known yet */
} elements_t;

static err_t on_element(void *context, const json_element_t *element)
{
    elements_t *self = context;
    FUZZ_CHECK(element->raw_n > 0 && !memchr(element->raw, '\n', element->raw_n), "a raw newline");
    FUZZ_CHECK((element->text != NULL) == (element->kind == JSON_KIND_STRING),
               "a text that is none");
    FUZZ_CHECK((element->kind == JSON_KIND_OBJECT) == (element->raw[0] == '{'), "not its kind");
    char *compact = malloc(element->raw_n + 1);
    size_t length = json_compact(compact, element->raw, element->raw_n);
    FUZZ_CHECK(length <= element->raw_n && json_line_check(compact, length) == ERR_OK,
               "an element alone is refused: %s", err_text());
    free(compact);
    if (self->expected) {
        json_t *mine = json_loadb(element->raw, element->raw_n,
                                  JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        json_t *theirs = json_array_get(self->expected, self->n);
        FUZZ_CHECK(mine && json_equal(mine, theirs), "element %llu is not what jansson reads",
                   (unsigned long long)self->n);
        if (element->text) {
            FUZZ_CHECK(json_string_length(theirs) == element->text_n &&
                           memcmp(json_string_value(theirs), element->text, element->text_n) == 0,
                       "a string is not decoded as jansson does");
        }
        json_decref(mine);
    }
    buffer_add(&self->raw, element->raw, element->raw_n);
    buffer_add(&self->raw, "\n", 1);
    self->n++;
    return ERR_OK;
}

static err_t stream(elements_t *out, const uint8_t *data, size_t n, feed_t *cuts)
{
    json_stream_t *self = json_stream_new(on_element, out);
    err_t err = ERR_OK;
    for (size_t at = 0; at < n && !err;) {
        size_t piece = n - at, wanted = cuts ? 1 + feed_byte(cuts) % 32 : piece;
        piece = wanted < piece ? wanted : piece;
        char *exact = (char *)fuzz_exact(data + at, piece);
        err = json_stream_push(self, exact, piece);
        free(exact);
        at += piece;
    }
    err = err ? err : json_stream_finish(self);
    FUZZ_CHECK(json_stream_line(self) >= 1, "line 0");
    FUZZ_CHECK(err || json_stream_index(self) == out->n, "the elements are counted otherwise");
    json_stream_destroy(&self);
    return err;
}

static bool deep(const uint8_t *data, size_t n)
{
    int depth = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        depth += (data[i] == '[' || data[i] == '{') - (data[i] == ']' || data[i] == '}');
        most = depth > most ? depth : most;
    }
    return most > JSON_ELEMENT_DEPTH;
}

/* Valid JSON that it has no form for. */
static bool jansson_cannot(const json_error_t *where)
{
    return json_error_code(where) == json_error_numeric_overflow ||
           json_error_code(where) == json_error_null_byte_in_key;
}

/* One document alone. */
static void check_line(const uint8_t *data, size_t n)
{
    json_error_t where;
    json_t *document = json_loadb((const char *)data, n,
                                  JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL |
                                      JSON_DECODE_INT_AS_REAL,
                                  &where);
    char *exact = (char *)fuzz_exact(data, n);
    err_t err = json_line_check(exact, n);
    FUZZ_CHECK(err || document || jansson_cannot(&where), "jansson says: %s", where.text);
    /* jansson takes a NUL byte for the end. */
    FUZZ_CHECK(!err || !document || deep(data, n) || memchr(data, 0, n),
               "jansson reads what was refused: %s", err_text());
    free(exact);
    json_decref(document);
}

static void check_stream(const uint8_t *data, size_t n, feed_t cuts)
{
    elements_t one = {0}, many = {0};
    json_error_t where;
    json_t *document =
        json_loadb((const char *)data, n,
                   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &where);
    one.expected = json_is_array(document) ? document : NULL;
    err_t err = stream(&one, data, n, NULL), cut = stream(&many, data, n, &cuts);
    FUZZ_CHECK(err == cut, "in pieces: %s, not %s", err_code(cut), err_code(err));
    FUZZ_CHECK(err || (one.raw.n == many.raw.n &&
                       (one.raw.n == 0 || memcmp(one.raw.data, many.raw.data, one.raw.n) == 0)),
               "in pieces: other elements");
    if (!err) {
        FUZZ_CHECK(one.expected || jansson_cannot(&where), "jansson says: %s", where.text);
        FUZZ_CHECK(!one.expected || one.n == json_array_size(one.expected), "elements are missing");
    } else if (one.expected) {
        FUZZ_CHECK(deep(data, n) || memchr(data, 0, n), "jansson reads what was refused: %s",
                   err_text());
    }
    json_decref(document);
    buffer_free(&one.raw);
    buffer_free(&many.raw);
}

static void check_envelope(const uint8_t *data, size_t n)
{
    envelope_t envelope;
    char *exact = (char *)fuzz_exact(data, n);
    err_t err = envelope_parse(&envelope, exact, n);
    FUZZ_CHECK(!err || err == ERR_MALFORMED || err == ERR_INVALID || err == ERR_TOO_LARGE,
               "error %s", err_code(err));
    FUZZ_CHECK(!err || err_text()[0], "an error without a sentence");
    if (!err) {
        FUZZ_CHECK(envelope.task && (!envelope.params || json_is_object(envelope.params)),
                   "a field is missing");
        FUZZ_CHECK(!envelope.items ||
                       (envelope.items >= exact && envelope.items_n > 0 &&
                        envelope.items + envelope.items_n <= exact + n && envelope.items[0] == '['),
                   "items that are not in the body");
        elements_t items = {0};
        json_error_t where;
        json_t *whole = json_loadb(exact, n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &where);
        bool known = envelope.items && whole;
        items.expected = known ? json_object_get(whole, "items") : NULL;
        FUZZ_CHECK(!known || json_is_array(items.expected), "not the member items");
        if (known && stream(&items, (const uint8_t *)envelope.items, envelope.items_n, NULL) == 0) {
            FUZZ_CHECK(items.n == json_array_size(items.expected), "not all items");
        }
        buffer_free(&items.raw);
        json_decref(whole);
        envelope_free(&envelope);
    }
    free(exact);
}

void fuzz_json(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    bool envelope = feed_byte(&feed) & 1;
    feed_t cuts = {feed.at, feed.at + (feed_left(&feed) < 4 ? feed_left(&feed) : 4)};
    feed.at = cuts.end;
    if (envelope) {
        check_envelope(feed.at, feed_left(&feed));
    } else {
        check_stream(feed.at, feed_left(&feed), cuts);
        check_line(feed.at, feed_left(&feed));
    }
}

/* yajl finds the tokens; the bytes of an element are those between the end of the one before it and
 * its own end, which yajl tells inside its callbacks. What yajl is lenient about (UTF-8,
 * surrogates, keys that come twice) is checked here. */
#include "api/json_stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <yajl/yajl_parse.h>

#include "common/buffer.h"

typedef struct {
    uint64_t hash;
    uint32_t element; /* of which the key is; an older one = free place */
    uint32_t object, at, n;
} json_key_t;

struct json_stream {
    json_stream_call_t call; /* NULL: one document, nobody is told */
    void *context;
    yajl_handle parser;
    int top; /* depth at which elements are: 1, or 0 for one document */
    int depth;
    uint32_t objects[JSON_ELEMENT_DEPTH + 2]; /* numbers of the open ones */
    uint32_t objects_n, element;
    json_key_t *keys;
    size_t keys_n, keys_capacity; /* a power of two */
    buffer_t key_text;
    uint64_t seed;
    buffer_t rest;    /* bytes of the unfinished element */
    const char *data; /* of the running push */
    size_t n, from;   /* from: what of it has been told */
    bool over;        /* the document has ended, */
    size_t over_at;   /* at this place of the running push */
    uint64_t index, line;
    err_t err;
};

/* -- bytes ------------------------------------------------------------------------------------- */

static int utf8_sequence(const unsigned char *at, size_t n)
{
    static const struct {
        unsigned char low, high, second_low, second_high;
        int length;
    } forms[] = {
        {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (at[0] < forms[i].low || at[0] > forms[i].high) {
            continue;
        }
        bool fits = (size_t)forms[i].length <= n;
        for (int k = 1; k < forms[i].length && fits; k++) {
            fits = k == 1 ? at[1] >= forms[i].second_low && at[1] <= forms[i].second_high
                          : at[k] >= 0x80 && at[k] <= 0xBF;
        }
        return fits ? forms[i].length : 0;
    }
    return 0;
}

bool utf8_valid(const char *data, size_t n)
{
    const unsigned char *at = (const unsigned char *)data;
    while (n) {
        int length = *at < 0x80 ? 1 : utf8_sequence(at, n);
        if (length == 0) {
            return false;
        }
        at += length;
        n -= (size_t)length;
    }
    return true;
}

static unsigned hex4(const char *at)
{
    char digits[5] = {at[0], at[1], at[2], at[3], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

/* `raw` has passed yajl: every backslash begins a complete escape. */
static bool surrogates_paired(const char *raw, size_t n)
{
    const char *end = raw + n;
    for (const char *at = raw; (at = memchr(at, '\\', (size_t)(end - at)));) {
        if (at[1] != 'u') {
            at += 2;
            continue;
        }
        unsigned unit = hex4(at + 2);
        at += 6;
        if (unit < 0xD800 || unit > 0xDFFF) {
            continue;
        }
        if (unit > 0xDBFF || end - at < 6 || at[0] != '\\' || at[1] != 'u' ||
            hex4(at + 2) < 0xDC00 || hex4(at + 2) > 0xDFFF) {
            return false;
        }
        at += 6;
    }
    return true;
}

size_t json_compact(char *out, const char *raw, size_t n)
{
    size_t length = 0;
    bool inside = false;
    for (size_t i = 0; i < n; i++) {
        char c = raw[i];
        if (!inside && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            continue;
        }
        out[length++] = c;
        if (inside && c == '\\') {
            out[length++] = raw[++i];
        } else if (c == '"') {
            inside = !inside;
        }
    }
    return length;
}

/* -- keys -------------------------------------------------------------------------------------- */

static json_key_t *key_place(json_stream_t *self, uint64_t hash, const void *name, size_t n)
{
    uint32_t object = self->objects[self->depth];
    size_t mask = self->keys_capacity - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        json_key_t *key = &self->keys[i];
        if (key->element != self->element ||
            (key->hash == hash && key->object == object && key->n == n &&
             (n == 0 || memcmp(self->key_text.data + key->at, name, n) == 0))) {
            return key;
        }
    }
}

static void keys_grow(json_stream_t *self)
{
    json_key_t *old = self->keys;
    size_t old_n = self->keys_capacity;
    self->keys_capacity = old_n ? old_n * 2 : 64;
    self->keys = mem_zero(self->keys_capacity * sizeof *self->keys);
    for (size_t i = 0; i < old_n; i++) {
        if (old[i].element == self->element) {
            size_t mask = self->keys_capacity - 1, to = (size_t)old[i].hash & mask;
            while (self->keys[to].element == self->element) {
                to = (to + 1) & mask;
            }
            self->keys[to] = old[i];
        }
    }
    free(old);
}

/* The seed keeps a stranger from choosing keys that all fall on one place. */
static uint64_t hash_of(const json_stream_t *self, const unsigned char *name, size_t n)
{
    uint64_t hash = self->seed ^ ((uint64_t)self->objects[self->depth] << 32);
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ name[i]) * 0x9E3779B97F4A7C15U;
        hash ^= hash >> 29;
    }
    return hash;
}

static bool refuse(json_stream_t *self, err_t err)
{
    self->err = err;
    return false;
}

static int on_key(void *context, const unsigned char *name, size_t n)
{
    json_stream_t *self = context;
    if (self->keys_n * 2 >= self->keys_capacity) {
        keys_grow(self);
    }
    uint64_t hash = hash_of(self, name, n);
    json_key_t *key = key_place(self, hash, name, n);
    if (key->element == self->element) {
        return refuse(self, err_set(ERR_MALFORMED, "key \"%.*s\" comes twice in an object",
                                    n < 64 ? (int)n : 64, (const char *)name));
    }
    *key = (json_key_t){.hash = hash,
                        .element = self->element,
                        .object = self->objects[self->depth],
                        .at = (uint32_t)self->key_text.n,
                        .n = (uint32_t)n};
    buffer_add(&self->key_text, name, n);
    self->keys_n++;
    return true;
}

/* -- elements ---------------------------------------------------------------------------------- */

static bool between(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',';
}

/* What stands before an element is not of it; its first line is counted when it begins. */
static void keep(json_stream_t *self, size_t to)
{
    size_t from = self->from;
    if (self->rest.n == 0) {
        for (; from < to && between(self->data[from]); from++) {
            self->line += self->data[from] == '\n';
        }
    }
    buffer_add(&self->rest, self->data + from, to - from);
    self->from = to;
}

static void count_lines(json_stream_t *self)
{
    for (size_t i = 0; i < self->rest.n; i++) {
        self->line += self->rest.data[i] == '\n';
    }
}

static err_t check_raw(const char *raw, size_t n)
{
    if (!utf8_valid(raw, n)) {
        return err_set(ERR_MALFORMED, "not valid UTF-8");
    }
    return surrogates_paired(raw, n)
               ? ERR_OK
               : err_set(ERR_MALFORMED, "half of a surrogate pair stands alone");
}

static void on_one_line(char *raw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (raw[i] == '\n' || raw[i] == '\r') {
            raw[i] = ' '; /* JSON has none inside a string */
        }
    }
}

static err_t tell(json_stream_t *self, json_element_t *element)
{
    size_t end = yajl_get_bytes_consumed(self->parser);
    if (self->top == 0) {
        self->over = true;
        self->over_at = end;
        return check_raw(self->data, end); /* what follows has not passed yajl */
    }
    keep(self, end);
    char *raw = (char *)self->rest.data;
    size_t n = self->rest.n;
    if (n > JSON_ELEMENT_BYTES) {
        return err_set(ERR_TOO_LARGE, "an element is over %d bytes", JSON_ELEMENT_BYTES);
    }
    err_t err = check_raw(raw, n);
    if (err) {
        return err;
    }
    uint64_t line = self->line;
    count_lines(self);
    uint64_t after = self->line;
    self->line = line; /* of its beginning, should the call refuse it */
    on_one_line(raw, n);
    element->raw = raw;
    element->raw_n = n;
    err = self->call(self->context, element);
    if (!err) {
        self->line = after;
        self->index++;
        buffer_clear(&self->rest);
        buffer_clear(&self->key_text);
        self->element++;
        self->keys_n = 0;
        self->objects_n = 0;
    }
    return err;
}

static bool ended(json_stream_t *self, json_element_t element)
{
    if (self->depth != self->top) {
        return true;
    }
    err_t err = tell(self, &element);
    return err ? refuse(self, err) : true;
}

static bool scalar(json_stream_t *self, json_element_t element)
{
    if (self->depth < self->top) {
        return refuse(self, err_set(ERR_INVALID, "must be an array"));
    }
    return ended(self, element);
}

static int on_null(void *context)
{
    return scalar(context, (json_element_t){.kind = JSON_KIND_OTHER});
}

static int on_boolean(void *context, int value)
{
    (void)value;
    return on_null(context);
}

static int on_number(void *context, const char *text, size_t n)
{
    (void)text;
    (void)n;
    return on_null(context);
}

static int on_string(void *context, const unsigned char *text, size_t n)
{
    return scalar(context, (json_element_t){
                               .kind = JSON_KIND_STRING, .text = (const char *)text, .text_n = n});
}

static bool enter(json_stream_t *self, bool object)
{
    if (self->depth < self->top) {
        if (object) {
            return refuse(self, err_set(ERR_INVALID, "must be an array"));
        }
        self->from = yajl_get_bytes_consumed(self->parser);
        for (size_t i = 0; i < self->from; i++) {
            self->line += self->data[i] == '\n';
        }
    }
    if (self->depth >= JSON_ELEMENT_DEPTH + self->top) {
        return refuse(self, err_set(ERR_INVALID, "more than %d levels deep", JSON_ELEMENT_DEPTH));
    }
    self->objects[++self->depth] = ++self->objects_n;
    return true;
}

static int on_start_map(void *context)
{
    return enter(context, true);
}

static int on_start_array(void *context)
{
    return enter(context, false);
}

static int on_end_map(void *context)
{
    json_stream_t *self = context;
    self->depth--;
    return ended(self, (json_element_t){.kind = JSON_KIND_OBJECT});
}

static int on_end_array(void *context)
{
    json_stream_t *self = context;
    self->depth--;
    if (self->depth < self->top) {
        self->over = true;
        self->over_at = yajl_get_bytes_consumed(self->parser);
        return true;
    }
    return ended(self, (json_element_t){.kind = JSON_KIND_OTHER});
}

/* -- life -------------------------------------------------------------------------------------- */

/* One for the life of the process: a parser may live for a single line. */
static uint64_t process_seed(void)
{
    static uint64_t seed;
    if (!seed && getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
        seed = (uint64_t)(uintptr_t)&seed;
    }
    return seed;
}

static void open_parser(json_stream_t *self)
{
    static const yajl_callbacks calls = {.yajl_null = on_null,
                                         .yajl_boolean = on_boolean,
                                         .yajl_number = on_number,
                                         .yajl_string = on_string,
                                         .yajl_start_map = on_start_map,
                                         .yajl_map_key = on_key,
                                         .yajl_end_map = on_end_map,
                                         .yajl_start_array = on_start_array,
                                         .yajl_end_array = on_end_array};
    self->parser = yajl_alloc(&calls, NULL, self);
    self->element = 1;
    self->line = 1;
    self->seed = process_seed();
}

static void close_parser(json_stream_t *self)
{
    yajl_free(self->parser);
    buffer_free(&self->rest);
    buffer_free(&self->key_text);
    free(self->keys);
}

json_stream_t *json_stream_new(json_stream_call_t call, void *context)
{
    json_stream_t *self = mem_zero(sizeof *self);
    self->call = call;
    self->context = context;
    self->top = 1;
    open_parser(self);
    return self;
}

void json_stream_destroy(json_stream_t **self)
{
    if (*self) {
        close_parser(*self);
        free(*self);
        *self = NULL;
    }
}

static err_t syntax_error(json_stream_t *self)
{
    unsigned char *text = yajl_get_error(self->parser, 0, NULL, 0);
    size_t n = text ? strcspn((const char *)text, "\n") : 0;
    err_t err = err_set(ERR_MALFORMED, "%.*s", (int)n, text ? (const char *)text : "");
    yajl_free_error(self->parser, text);
    return err;
}

static err_t failed(json_stream_t *self, yajl_status status)
{
    if (status == yajl_status_client_canceled) {
        /* The line of the element's beginning, unless that was counted already. */
        for (size_t i = self->from; self->rest.n == 0 && i < self->n && between(self->data[i]);
             i++) {
            self->line += self->data[i] == '\n';
        }
        return self->err;
    }
    size_t at = yajl_get_bytes_consumed(self->parser);
    for (size_t i = self->from; i < at && i < self->n; i++) {
        self->line += self->data[i] == '\n';
    }
    count_lines(self);
    return syntax_error(self);
}

/* Behind the end yajl passes over the first half of a token: a quote, "tr". */
static err_t check_end(const json_stream_t *self, size_t i)
{
    char c = self->data[i];
    bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    return blank || !self->over || i < self->over_at
               ? ERR_OK
               : err_set(ERR_MALFORMED, "something follows the end of the JSON text");
}

/* yajl takes them for blanks. Inside strings it refuses them, so that they can be looked for first.
 */
static size_t before_odd_blank(const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\v' || data[i] == '\f') {
            return i;
        }
    }
    return n;
}

static err_t odd_blank(char c)
{
    return err_set(ERR_MALFORMED, "the byte 0x%02x is no blank of JSON", (unsigned char)c);
}

static err_t push_plain(json_stream_t *self, const char *data, size_t n)
{
    self->data = data;
    self->n = n;
    self->from = self->over_at = 0;
    yajl_status status = yajl_parse(self->parser, (const unsigned char *)data, n);
    if (status != yajl_status_ok) {
        return failed(self, status);
    }
    if (self->depth >= self->top) {
        keep(self, n);
    } else { /* before or after the array */
        for (; self->from < n; self->from++) {
            err_t err = check_end(self, self->from);
            if (err) {
                return err;
            }
            self->line += data[self->from] == '\n';
        }
    }
    self->data = NULL;
    self->n = self->from = 0;
    return self->rest.n <= JSON_ELEMENT_BYTES
               ? ERR_OK
               : err_set(ERR_TOO_LARGE, "an element is over %d bytes", JSON_ELEMENT_BYTES);
}

err_t json_stream_push(json_stream_t *self, const char *data, size_t n)
{
    size_t plain = before_odd_blank(data, n);
    err_t err = push_plain(self, data, plain);
    return err || plain == n ? err : odd_blank(data[plain]);
}

err_t json_stream_finish(json_stream_t *self)
{
    self->data = "";
    self->n = self->from = 0;
    yajl_status status = yajl_complete_parse(self->parser);
    return status == yajl_status_ok ? ERR_OK : failed(self, status);
}

uint64_t json_stream_index(const json_stream_t *self)
{
    return self->index;
}

uint64_t json_stream_line(const json_stream_t *self)
{
    return self->line;
}

err_t json_line_check(const char *data, size_t n)
{
    size_t plain = before_odd_blank(data, n);
    if (plain < n) {
        return odd_blank(data[plain]);
    }
    json_stream_t self = {.data = data, .n = n};
    open_parser(&self);
    yajl_status status = yajl_parse(self.parser, (const unsigned char *)data, n);
    err_t err = ERR_OK;
    for (size_t i = self.over_at; status == yajl_status_ok && i < n && !err; i++) {
        err = check_end(&self, i);
    }
    if (status == yajl_status_ok && !err) {
        status = yajl_complete_parse(self.parser);
    }
    err = err                                     ? err
          : status == yajl_status_ok              ? ERR_OK
          : status == yajl_status_client_canceled ? self.err
                                                  : syntax_error(&self);
    close_parser(&self);
    return err;
}

#include "worker/tasks/transaction_json.h"

#include <jansson.h>
#include <string.h>

typedef enum { VALUE_STRING, VALUE_WHOLE, VALUE_NULL, VALUE_OTHER, VALUE_NESTED } value_kind_t;

enum {
    /* Distinct unknown keys are compared with each other only to find repeats; so many are refused
       without that. */
    UNKNOWN_MAX = 32,
    /* A longer whole number is a fault of the JSON (Python's limit for text to integer). */
    WHOLE_DIGITS_MAX = 4300,
};

typedef struct {
    const char *at, *end;
    char *write; /* next free byte of scratch: escapes only shrink, so it never outgrows the line */
    value_kind_t kinds[COLUMN_IDS_N];
    bool seen[COLUMN_IDS_N];
    slice_t unknown[UNKNOWN_MAX];
    int unknown_n;
    slice_t first_unknown;
} reader_t;

static void skip_space(reader_t *self)
{
    while (self->at < self->end &&
           (*self->at == ' ' || *self->at == '\t' || *self->at == '\n' || *self->at == '\r')) {
        self->at++;
    }
}

static bool take(reader_t *self, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(self->end - self->at) < n || memcmp(self->at, word, n) != 0) {
        return false;
    }
    self->at += n;
    return true;
}

/* Four hexadecimal digits; -1 if they are not. */
static int32_t hex4(const char *at, const char *end)
{
    if (end - at < 4) {
        return -1;
    }
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* A lone surrogate is written in its three-byte form, which the text check refuses later. */
static char *put_utf8(char *write, int32_t code)
{
    if (code < 0x80) {
        *write++ = (char)code;
        return write;
    }
    int extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const int lead[] = {0, 0xc0, 0xe0, 0xf0};
    *write++ = (char)(lead[extra] | code >> (6 * extra));
    while (extra-- > 0) {
        *write++ = (char)(0x80 | (code >> (6 * extra) & 0x3f));
    }
    return write;
}

/* `at` is behind the backslash's 'u'. */
static bool read_unicode(reader_t *self)
{
    int32_t code = hex4(self->at, self->end);
    if (code < 0) {
        return false;
    }
    self->at += 4;
    if (code >= 0xd800 && code < 0xdc00 && self->end - self->at >= 6 && self->at[0] == '\\' &&
        self->at[1] == 'u') {
        int32_t low = hex4(self->at + 2, self->end);
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            self->at += 6;
        }
    }
    self->write = put_utf8(self->write, code);
    return true;
}

static bool read_escape(reader_t *self)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (self->at >= self->end) {
        return false;
    }
    char c = *self->at++;
    if (c == 'u') {
        return read_unicode(self);
    }
    const char *found = c ? strchr(from, c) : NULL;
    if (!found) {
        return false;
    }
    *self->write++ = to[found - from];
    return true;
}

/* `at` is behind the opening quote. Without escapes the text is borrowed from the line. */
static bool read_string(reader_t *self, slice_t *out)
{
    const char *start = self->at;
    char *copy = NULL;
    while (self->at < self->end) {
        unsigned char c = (unsigned char)*self->at++;
        if (c == '"') {
            *out = copy ? (slice_t){copy, (size_t)(self->write - copy)}
                        : (slice_t){start, (size_t)(self->at - 1 - start)};
            return true;
        }
        if (c < 32) {
            return false;
        }
        if (c == '\\') {
            if (!copy) {
                size_t n = (size_t)(self->at - 1 - start);
                copy = self->write;
                memcpy(copy, start, n);
                self->write += n;
            }
            if (!read_escape(self)) {
                return false;
            }
        } else if (copy) {
            *self->write++ = (char)c;
        }
    }
    return false;
}

static size_t skip_digits(reader_t *self)
{
    const char *start = self->at;
    while (self->at < self->end && *self->at >= '0' && *self->at <= '9') {
        self->at++;
    }
    return (size_t)(self->at - start);
}

static bool read_number(reader_t *self, slice_t *out, value_kind_t *kind)
{
    const char *start = self->at;
    self->at += *self->at == '-';
    const char *digits = self->at;
    size_t n = skip_digits(self);
    if (n == 0 || (n > 1 && *digits == '0')) {
        return false;
    }
    *kind = VALUE_WHOLE;
    if (self->at < self->end && *self->at == '.') {
        *kind = VALUE_OTHER;
        self->at++;
        if (skip_digits(self) == 0) {
            return false;
        }
    }
    if (self->at < self->end && (*self->at == 'e' || *self->at == 'E')) {
        *kind = VALUE_OTHER;
        self->at++;
        if (self->at < self->end && (*self->at == '+' || *self->at == '-')) {
            self->at++;
        }
        if (skip_digits(self) == 0) {
            return false;
        }
    }
    if (*kind == VALUE_WHOLE && n > WHOLE_DIGITS_MAX) {
        return false;
    }
    /* -0 is the whole number 0. */
    *out =
        n == 1 && *digits == '0' ? (slice_t){"0", 1} : (slice_t){start, (size_t)(self->at - start)};
    return true;
}

static bool read_scalar(reader_t *self, slice_t *out, value_kind_t *kind)
{
    if (self->at >= self->end) {
        return false;
    }
    if (take(self, "\"")) {
        *kind = VALUE_STRING;
        return read_string(self, out);
    }
    if (take(self, "null")) {
        *kind = VALUE_NULL;
        return true;
    }
    *kind = VALUE_OTHER;
    /* NaN and Infinity are not JSON, but the normative script reads them: then the fault is the
     * type. */
    if (take(self, "true") || take(self, "false") || take(self, "NaN") || take(self, "Infinity") ||
        take(self, "-Infinity")) {
        return true;
    }
    return read_number(self, out, kind);
}

/* An array or object as a value is a fault of type whatever it holds, unless it is no JSON or
 * repeats a key. It is walked without recursion; jansson then looks for repeats (it stops by itself
 * at a depth of 2,048). */
static bool skip_nested(reader_t *self)
{
    const char *start = self->at;
    char *kept = self->write;
    static _Thread_local bool in_object[ROW_MAX_BYTES + 1];
    size_t depth = 0;
    slice_t ignored;
    value_kind_t kind;
    for (;;) {
        skip_space(self);
        bool opened = false;
        if (take(self, "{")) {
            in_object[++depth] = true;
            opened = true;
        } else if (take(self, "[")) {
            in_object[++depth] = false;
            opened = true;
        } else if (!read_scalar(self, &ignored, &kind)) {
            return false;
        }
        self->write = kept;
        for (skip_space(self); depth > 0 && take(self, in_object[depth] ? "}" : "]");
             skip_space(self)) {
            depth--;
            opened = false;
        }
        if (depth == 0) {
            break;
        }
        if (!opened && !take(self, ",")) {
            return false;
        }
        skip_space(self);
        if (in_object[depth]) {
            if (!take(self, "\"") || !read_string(self, &ignored)) {
                return false;
            }
            skip_space(self);
            if (!take(self, ":")) {
                return false;
            }
        }
        self->write = kept;
    }
    json_error_t error;
    size_t n = (size_t)(self->at - start);
    json_t *value = json_loadb(start, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    bool repeated = !value && json_error_code(&error) == json_error_duplicate_key;
    json_decref(value);
    return !repeated;
}

static bool same(slice_t a, slice_t b)
{
    return a.n == b.n && memcmp(a.data, b.data, a.n) == 0;
}

static int compare(slice_t a, slice_t b)
{
    int order = memcmp(a.data, b.data, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* The key's column, COLUMN_IDS_N for an unknown key, -1 for a repeated one. */
static int note_key(reader_t *self, slice_t key)
{
    int column = column_find(key);
    if (column >= 0) {
        if (self->seen[column]) {
            return -1;
        }
        self->seen[column] = true;
        return column;
    }
    for (int i = 0; i < self->unknown_n; i++) {
        if (same(self->unknown[i], key)) {
            return -1;
        }
    }
    if (self->unknown_n == 0 || compare(key, self->first_unknown) < 0) {
        self->first_unknown = key;
    }
    if (self->unknown_n < UNKNOWN_MAX) {
        self->unknown[self->unknown_n++] = key;
    }
    return COLUMN_IDS_N;
}

static bool read_member(reader_t *self, slice_t values[COLUMN_IDS_N])
{
    slice_t key, value = {"", 0};
    value_kind_t kind = VALUE_NESTED;
    skip_space(self);
    if (!take(self, "\"") || !read_string(self, &key)) {
        return false;
    }
    skip_space(self);
    if (!take(self, ":")) {
        return false;
    }
    skip_space(self);
    int column = note_key(self, key);
    if (column < 0) {
        return false;
    }
    bool nested = self->at < self->end && (*self->at == '{' || *self->at == '[');
    if (nested ? !skip_nested(self) : !read_scalar(self, &value, &kind)) {
        return false;
    }
    if (column < COLUMN_IDS_N) {
        self->kinds[column] = kind;
        values[column] = kind == VALUE_NULL ? (slice_t){"", 0} : value;
    }
    return true;
}

static bool read_object(reader_t *self, slice_t values[COLUMN_IDS_N])
{
    skip_space(self);
    if (!take(self, "{")) {
        return false;
    }
    skip_space(self);
    if (!take(self, "}")) {
        do {
            if (!read_member(self, values)) {
                return false;
            }
            skip_space(self);
        } while (take(self, ","));
        if (!take(self, "}")) {
            return false;
        }
    }
    skip_space(self);
    return self->at == self->end;
}

row_code_t json_row_read(slice_t line, char *scratch, slice_t values[COLUMN_IDS_N],
                         row_fault_t *fault)
{
    static const column_id_t order[] = {COLUMN_TXN_ID,     COLUMN_TS,        COLUMN_SRC,
                                        COLUMN_DST,        COLUMN_CCY,       COLUMN_AMOUNT,
                                        COLUMN_KIND,       COLUMN_DOC_NO,    COLUMN_REF,
                                        COLUMN_BAL_BEFORE, COLUMN_BAL_AFTER, COLUMN_LABEL};
    reader_t self = {.at = line.data, .end = line.data + line.n, .write = scratch};
    if (!read_object(&self, values)) {
        return row_fault_set(fault, ROW_JSON, (slice_t){"", 0});
    }
    if (self.unknown_n > 0) {
        return row_fault_set(fault, ROW_COLS, self.first_unknown);
    }
    for (size_t i = 0; i < COLUMN_IDS_N; i++) {
        column_id_t column = order[i];
        if (!self.seen[column] || self.kinds[column] == VALUE_STRING ||
            self.kinds[column] == VALUE_NULL ||
            (column == COLUMN_LABEL && self.kinds[column] == VALUE_WHOLE)) {
            continue;
        }
        return row_fault_set(fault, ROW_TYPE,
                             (slice_t){column_name(column), strlen(column_name(column))});
    }
    return ROW_OK;
}

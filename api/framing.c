#include "api/framing.h"

#include <stdio.h>
#include <string.h>

const char *const FRAMING_CSV_BLANKS = " \t,";
const char *const FRAMING_NDJSON_BLANKS = " \t\v\f\r";

void framing_init(framing_t *self, const char *blanks, framing_call_t call, void *context)
{
    *self = (framing_t){.call = call, .context = context, .blanks = blanks};
}

void framing_free(framing_t *self)
{
    buffer_free(&self->rest);
}

/* Bytes of a line whose bytes are not kept any more. The CR at the end of what is here belongs to
 * the line only if more follows. */
static void count(framing_t *self, const char *data, size_t n)
{
    if (n == 0) {
        return;
    }
    if (self->held_cr) {
        self->length++;
        self->blank = self->blank && strchr(self->blanks, '\r');
    }
    self->held_cr = data[n - 1] == '\r';
    n -= self->held_cr;
    self->length += n;
    for (size_t i = 0; i < n && self->blank; i++) {
        self->blank = data[i] && strchr(self->blanks, data[i]);
    }
}

static void keep(framing_t *self, const char *data, size_t n)
{
    if (self->length == 0 && self->rest.n + n <= LINE_MAX_BYTES + 1) {
        buffer_add(&self->rest, data, n); /* one more than a line: it may be the CR */
        return;
    }
    if (self->length == 0) {
        self->blank = true;
        self->held_cr = false;
        count(self, (const char *)self->rest.data, self->rest.n);
        buffer_clear(&self->rest);
    }
    count(self, data, n);
}

static err_t emit_long(framing_t *self, uint64_t n, bool blank)
{
    char marker[24];
    marker[0] = 0;
    int digits = snprintf(marker + 1, sizeof marker - 1, "%llu", (unsigned long long)n);
    return self->call(self->context, marker, blank ? 0 : 1 + (size_t)digits);
}

static bool only_blanks(const framing_t *self, const char *line, size_t n)
{
    size_t i = 0;
    while (i < n && line[i] && strchr(self->blanks, line[i])) {
        i++;
    }
    return i == n;
}

/* `ended`: by an LF, so that a CR before it goes. */
static err_t emit(framing_t *self, const char *line, size_t n, bool ended)
{
    n -= ended && n && line[n - 1] == '\r';
    return n <= LINE_MAX_BYTES ? self->call(self->context, line, n)
                               : emit_long(self, n, only_blanks(self, line, n));
}

static err_t emit_rest(framing_t *self, bool ended)
{
    if (self->length) {
        if (self->held_cr && !ended) {
            self->length++;
            self->blank = self->blank && strchr(self->blanks, '\r');
        }
        uint64_t length = self->length;
        self->length = 0;
        return length > LINE_MAX_BYTES ? emit_long(self, length, self->blank)
                                       : err_set(ERR_INTERNAL, "a line was counted as too long");
    }
    err_t err = emit(self, (const char *)self->rest.data, self->rest.n, ended);
    buffer_clear(&self->rest);
    return err;
}

static err_t push_lines(framing_t *self, const char *data, size_t n)
{
    const char *end = data + n;
    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        if (!newline) {
            keep(self, data, (size_t)(end - data));
            return ERR_OK;
        }
        err_t err;
        if (self->rest.n == 0 && self->length == 0) {
            err = emit(self, data, (size_t)(newline - data), true);
        } else {
            keep(self, data, (size_t)(newline - data));
            err = emit_rest(self, true);
        }
        if (err) {
            return err;
        }
        data = newline + 1;
    }
    return ERR_OK;
}

err_t framing_push(framing_t *self, const char *data, size_t n)
{
    static const char mark[] = "\xEF\xBB\xBF";
    while (self->mark >= 0 && n) {
        if (*data == mark[self->mark]) {
            data++;
            n--;
            self->mark = self->mark == 2 ? -1 : self->mark + 1;
            continue;
        }
        int seen = self->mark;
        self->mark = -1;
        keep(self, mark, (size_t)seen);
    }
    return push_lines(self, data, n);
}

err_t framing_finish(framing_t *self)
{
    if (self->mark > 0) {
        keep(self, "\xEF\xBB\xBF", (size_t)self->mark);
        self->mark = -1;
    }
    return self->rest.n || self->length ? emit_rest(self, false) : ERR_OK;
}

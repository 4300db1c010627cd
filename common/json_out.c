#include "common/json_out.h"

#include <math.h>
#include <string.h>

static void put_quoted(buffer_t *out, const char *text)
{
    buffer_add_text(out, "\"");
    const unsigned char *plain = (const unsigned char *)text, *at = plain;
    for (; *at; at++) {
        /* An unpaired surrogate (from an NDJSON key) has no UTF-8 form. */
        bool surrogate = at[0] == 0xed && at[1] >= 0xa0 && at[2];
        if (*at >= 32 && *at != 127 && *at != '"' && *at != '\\' && !surrogate) {
            continue;
        }
        buffer_add(out, plain, (size_t)(at - plain));
        if (*at == '"' || *at == '\\') {
            buffer_printf(out, "\\%c", *at);
        } else if (surrogate) {
            buffer_add_text(out, "?");
            at += 2;
        } else {
            buffer_printf(out, "\\u%04x", *at);
        }
        plain = at + 1;
    }
    buffer_add(out, plain, (size_t)(at - plain));
    buffer_add_text(out, "\"");
}

static void begin(json_out_t *self, const char *key)
{
    if (self->comma) {
        buffer_add_text(self->out, ",");
    }
    self->comma = true;
    if (key) {
        put_quoted(self->out, key);
        buffer_add_text(self->out, ":");
    }
}

static void open_with(json_out_t *self, const char *key, const char *bracket)
{
    begin(self, key);
    buffer_add_text(self->out, bracket);
    self->comma = false;
}

static void close_with(json_out_t *self, const char *bracket)
{
    buffer_add_text(self->out, bracket);
    self->comma = true;
}

void json_out_object(json_out_t *self, const char *key)
{
    open_with(self, key, "{");
}

void json_out_array(json_out_t *self, const char *key)
{
    open_with(self, key, "[");
}

void json_out_end_object(json_out_t *self)
{
    close_with(self, "}");
}

void json_out_end_array(json_out_t *self)
{
    close_with(self, "]");
}

void json_out_text(json_out_t *self, const char *key, const char *text)
{
    begin(self, key);
    put_quoted(self->out, text);
}

void json_out_raw(json_out_t *self, const char *key, const char *json)
{
    begin(self, key);
    buffer_add_text(self->out, json);
}

void json_out_bool(json_out_t *self, const char *key, bool value)
{
    begin(self, key);
    buffer_add_text(self->out, value ? "true" : "false");
}

void json_out_null(json_out_t *self, const char *key)
{
    begin(self, key);
    buffer_add_text(self->out, "null");
}

void json_out_int(json_out_t *self, const char *key, __int128 value)
{
    char digits[41];
    size_t at = sizeof digits;
    unsigned __int128 rest = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    do {
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest);
    if (value < 0) {
        digits[--at] = '-';
    }
    begin(self, key);
    buffer_add(self->out, digits + at, sizeof digits - at);
}

void json_out_real(json_out_t *self, const char *key, double value)
{
    if (!isfinite(value)) {
        json_out_null(self, key);
        return;
    }
    begin(self, key);
    buffer_printf(self->out, "%.10g", value);
}

void json_out_counts(json_out_t *self, const char *key, const uint64_t *counts, int n)
{
    json_out_array(self, key);
    for (int i = 0; i < n; i++) {
        json_out_int(self, NULL, counts[i]);
    }
    json_out_end_array(self);
}

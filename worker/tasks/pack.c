#include "worker/tasks/pack.h"

#include <string.h>

static void put(buffer_t *out, uint8_t type, uint64_t value, size_t bytes)
{
    uint8_t raw[9] = {type};
    for (size_t i = 0; i < bytes; i++) {
        raw[1 + i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    }
    buffer_add(out, raw, 1 + bytes);
}

void pack_uint(buffer_t *out, uint64_t value)
{
    if (value < 128) {
        put(out, (uint8_t)value, 0, 0);
    } else if (value <= UINT8_MAX) {
        put(out, 0xcc, value, 1);
    } else if (value <= UINT16_MAX) {
        put(out, 0xcd, value, 2);
    } else if (value <= UINT32_MAX) {
        put(out, 0xce, value, 4);
    } else {
        put(out, 0xcf, value, 8);
    }
}

void pack_int(buffer_t *out, int64_t value)
{
    if (value >= 0) {
        pack_uint(out, (uint64_t)value);
    } else if (value >= -32) {
        put(out, (uint8_t)value, 0, 0);
    } else if (value >= INT32_MIN) {
        put(out, 0xd2, (uint64_t)value, 4);
    } else {
        put(out, 0xd3, (uint64_t)value, 8);
    }
}

void pack_wide(buffer_t *out, __int128 value)
{
    if (value >= INT64_MIN && value <= INT64_MAX) {
        pack_int(out, (int64_t)value);
        return;
    }
    uint8_t raw[16];
    for (size_t i = 0; i < sizeof raw; i++) {
        raw[i] = (uint8_t)((unsigned __int128)value >> (8 * (15 - i)));
    }
    pack_bytes(out, raw, sizeof raw);
}

void pack_text(buffer_t *out, const char *text)
{
    size_t n = strlen(text);
    if (n < 32) {
        put(out, (uint8_t)(0xa0 | n), 0, 0);
    } else {
        put(out, 0xdb, n, 4);
    }
    buffer_add(out, text, n);
}

void pack_bytes(buffer_t *out, const void *data, size_t n)
{
    if (n <= UINT8_MAX) {
        put(out, 0xc4, n, 1);
    } else {
        put(out, 0xc6, n, 4);
    }
    buffer_add(out, data, n);
}

void pack_array(buffer_t *out, uint32_t n)
{
    if (n < 16) {
        put(out, (uint8_t)(0x90 | n), 0, 0);
    } else {
        put(out, 0xdd, n, 4);
    }
}

void pack_map(buffer_t *out, uint32_t n)
{
    if (n < 16) {
        put(out, (uint8_t)(0x80 | n), 0, 0);
    } else {
        put(out, 0xdf, n, 4);
    }
}

void pack_varint(buffer_t *out, uint64_t value)
{
    uint8_t raw[10];
    size_t n = 0;
    for (; value >= 128; value >>= 7) {
        raw[n++] = (uint8_t)(value | 128);
    }
    raw[n++] = (uint8_t)value;
    buffer_add(out, raw, n);
}

static size_t left(const unpack_t *self)
{
    return (size_t)(self->end - self->at);
}

/* A big-endian number of `bytes` bytes. */
static uint64_t take_number(unpack_t *self, size_t bytes)
{
    if (self->failed || left(self) < bytes) {
        self->failed = true;
        return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | *self->at++;
    }
    return value;
}

static uint8_t peek(unpack_t *self)
{
    if (self->failed || left(self) == 0) {
        self->failed = true;
        return 0xc1; /* the type msgpack never uses */
    }
    return *self->at;
}

uint64_t unpack_uint(unpack_t *self)
{
    uint8_t type = peek(self);
    if (type < 128) {
        return take_number(self, 1);
    }
    if (type < 0xcc || type > 0xcf) {
        self->failed = true;
        return 0;
    }
    self->at++;
    return take_number(self, (size_t)1 << (type - 0xcc));
}

int64_t unpack_int(unpack_t *self)
{
    uint8_t type = peek(self);
    if (type >= 0xe0) {
        return (int8_t)take_number(self, 1);
    }
    if (type >= 0xd0 && type <= 0xd3) {
        self->at++;
        size_t bytes = (size_t)1 << (type - 0xd0);
        uint64_t value = take_number(self, bytes);
        /* Sign-extend: the wire has only as many bytes as it needs. */
        return (int64_t)(value << (64 - 8 * bytes)) >> (64 - 8 * bytes);
    }
    uint64_t value = unpack_uint(self);
    if (value > INT64_MAX) {
        self->failed = true;
        return 0;
    }
    return (int64_t)value;
}

__int128 unpack_wide(unpack_t *self)
{
    if (peek(self) != 0xc4) {
        return unpack_int(self);
    }
    slice_t raw = unpack_bytes(self);
    if (raw.n != 16) {
        self->failed = true;
        return 0;
    }
    unsigned __int128 value = 0;
    for (size_t i = 0; i < raw.n; i++) {
        value = value << 8 | (uint8_t)raw.data[i];
    }
    return (__int128)value;
}

static slice_t take_slice(unpack_t *self, uint64_t n)
{
    if (self->failed || left(self) < n) {
        self->failed = true;
        return (slice_t){"", 0};
    }
    slice_t out = {(const char *)self->at, (size_t)n};
    self->at += n;
    return out;
}

slice_t unpack_text(unpack_t *self)
{
    uint8_t type = peek(self);
    if (type >= 0xa0 && type <= 0xbf) {
        self->at++;
        return take_slice(self, type & 31u);
    }
    if (type < 0xd9 || type > 0xdb) {
        self->failed = true;
        return (slice_t){"", 0};
    }
    self->at++;
    return take_slice(self, take_number(self, (size_t)1 << (type - 0xd9)));
}

slice_t unpack_bytes(unpack_t *self)
{
    uint8_t type = peek(self);
    if (type < 0xc4 || type > 0xc6) {
        self->failed = true;
        return (slice_t){"", 0};
    }
    self->at++;
    return take_slice(self, take_number(self, (size_t)1 << (type - 0xc4)));
}

/* `small` is the type of the 4-bit form, `wide` that of the 16-bit form. */
static uint32_t take_count(unpack_t *self, uint8_t small, uint8_t wide)
{
    uint8_t type = peek(self);
    uint64_t n = 0;
    if ((type & 0xf0) == small) {
        self->at++;
        n = type & 15u;
    } else if (type == wide || type == wide + 1) {
        self->at++;
        n = take_number(self, type == wide ? 2 : 4);
    } else {
        self->failed = true;
    }
    if (n > left(self)) {
        self->failed = true;
    }
    return self->failed ? 0 : (uint32_t)n;
}

uint32_t unpack_array(unpack_t *self)
{
    return take_count(self, 0x90, 0xdc);
}

uint32_t unpack_map(unpack_t *self)
{
    return take_count(self, 0x80, 0xde);
}

/* Steps over one type byte and what belongs to it; returns how many values follow inside. */
static uint64_t skip_head(unpack_t *self)
{
    uint8_t type = peek(self);
    if (type >= 0x80 && type <= 0x8f) {
        return 2 * (uint64_t)unpack_map(self);
    }
    if ((type >= 0x90 && type <= 0x9f) || type == 0xdc || type == 0xdd) {
        return unpack_array(self);
    }
    if (type == 0xde || type == 0xdf) {
        return 2 * (uint64_t)unpack_map(self);
    }
    if ((type >= 0xa0 && type <= 0xbf) || (type >= 0xd9 && type <= 0xdb)) {
        unpack_text(self);
    } else if (type >= 0xc4 && type <= 0xc6) {
        unpack_bytes(self);
    } else if (type < 0x80 || type >= 0xe0 || type == 0xc0 || type == 0xc2 || type == 0xc3) {
        take_number(self, 1);
    } else if (type == 0xca || type == 0xcb) {
        self->at++;
        take_number(self, type == 0xca ? 4 : 8);
    } else if (type >= 0xcc && type <= 0xd3) {
        self->at++;
        take_number(self, (size_t)1 << (type & 3));
    } else {
        self->failed = true;
    }
    return 0;
}

void unpack_skip(unpack_t *self)
{
    /* Counting what is still to come instead of recursing: depth cannot hurt. Each step eats a
     * byte, so this ends. */
    for (uint64_t open = 1; open > 0 && !self->failed; open--) {
        open += skip_head(self);
    }
}

uint64_t unpack_varint(unpack_t *self)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint64_t byte = take_number(self, 1);
        value |= (byte & 127) << shift;
        if (byte < 128) {
            return value;
        }
    }
    self->failed = true;
    return 0;
}

bool slice_is(slice_t slice, const char *text)
{
    return strlen(text) == slice.n && memcmp(slice.data, text, slice.n) == 0;
}

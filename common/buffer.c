#include "common/buffer.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

void mem_exhausted(size_t n)
{
    log_error("memory.exhausted", "bytes=%zu", n);
    abort();
}

void *mem_alloc(size_t n)
{
    void *out = malloc(n ? n : 1);
    if (!out) {
        mem_exhausted(n);
    }
    return out;
}

void *mem_zero(size_t n)
{
    void *out = mem_alloc(n);
    memset(out, 0, n);
    return out;
}

void *mem_grow(void *old, size_t n)
{
    void *out = realloc(old, n ? n : 1);
    if (!out) {
        mem_exhausted(n);
    }
    return out;
}

char *mem_text_n(const char *text, size_t n)
{
    char *out = mem_alloc(n + 1);
    if (n) {
        memcpy(out, text, n);
    }
    out[n] = 0;
    return out;
}

char *mem_text(const char *text)
{
    return mem_text_n(text, strlen(text));
}

void buffer_reserve(buffer_t *self, size_t extra)
{
    size_t need = self->n + extra;
    if (need <= self->capacity) {
        return;
    }
    size_t capacity = self->capacity ? self->capacity : 64;
    while (capacity < need) {
        capacity *= 2;
    }
    self->data = mem_grow(self->data, capacity);
    self->capacity = capacity;
}

void buffer_add(buffer_t *self, const void *data, size_t n)
{
    if (n) {
        buffer_reserve(self, n);
        memcpy(self->data + self->n, data, n);
        self->n += n;
    }
}

void buffer_add_text(buffer_t *self, const char *text)
{
    buffer_add(self, text, strlen(text));
}

void buffer_printf(buffer_t *self, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    INVARIANT(n >= 0);
    buffer_reserve(self, (size_t)n + 1);
    vsnprintf((char *)self->data + self->n, (size_t)n + 1, format, again);
    va_end(again);
    self->n += (size_t)n;
}

void buffer_clear(buffer_t *self)
{
    self->n = 0;
}

void buffer_free(buffer_t *self)
{
    free(self->data);
    *self = (buffer_t){0};
}

struct blob {
    atomic_uint refs;
    size_t n;
    const uint8_t *data; /* of the owner, or the bytes behind this struct */
    void (*release)(void *owner);
    void *owner;
};

static blob_t *new_blob(const void *data, size_t n, size_t behind)
{
    blob_t *self = mem_alloc(sizeof *self + behind);
    atomic_init(&self->refs, 1);
    self->n = n;
    self->data = data;
    self->release = NULL;
    self->owner = NULL;
    return self;
}

blob_t *blob_new(const void *data, size_t n)
{
    blob_t *self = new_blob(NULL, n, n);
    self->data = (const uint8_t *)(self + 1);
    if (n) {
        memcpy(self + 1, data, n);
    }
    return self;
}

blob_t *blob_of(const void *data, size_t n, void (*release)(void *owner), void *owner)
{
    blob_t *self = new_blob(data, n, 0);
    self->release = release;
    self->owner = owner;
    return self;
}

void *blob_owner(const blob_t *self, void (*release)(void *owner))
{
    return self && self->release == release ? self->owner : NULL;
}

blob_t *blob_take(buffer_t *from)
{
    blob_t *self = blob_of(from->data, from->n, free, from->data);
    *from = (buffer_t){0};
    return self;
}

blob_t *blob_ref(blob_t *self)
{
    if (self) {
        atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
    }
    return self;
}

void blob_unref(blob_t **self)
{
    blob_t *blob = *self;
    *self = NULL;
    if (blob && atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1) {
        if (blob->release) {
            blob->release(blob->owner);
        }
        free(blob);
    }
}

const uint8_t *blob_data(const blob_t *self)
{
    return self ? self->data : NULL;
}

size_t blob_n(const blob_t *self)
{
    return self ? self->n : 0;
}

/* buffer: bytes that grow, and bytes that are shared.
 *
 * buffer_t is owned by one place and grows; blob_t is immutable, reference-counted (also across
 * libzmq's I/O thread) and is what travels as a message body. Allocation failure aborts with a log
 * line. */
#ifndef STINT_COMMON_BUFFER_H
#define STINT_COMMON_BUFFER_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *data; /* NULL while empty */
    size_t n, capacity;
} buffer_t;

void buffer_reserve(buffer_t *self, size_t extra);
void buffer_add(buffer_t *self, const void *data, size_t n);
void buffer_add_text(buffer_t *self, const char *text);
void buffer_printf(buffer_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Forget the content, keep the memory. */
void buffer_clear(buffer_t *self);
/* Free the memory; the buffer is empty and usable again. */
void buffer_free(buffer_t *self);

typedef struct blob blob_t;
/* A copy of n bytes (data may be NULL when n is 0), one reference. */
blob_t *blob_new(const void *data, size_t n);
/* Take the content of `from` without copying; `from` is empty afterwards. */
blob_t *blob_take(buffer_t *from);
/* n bytes that `owner` keeps; release (owner) is called with the last reference, in any thread. */
blob_t *blob_of(const void *data, size_t n, void (*release)(void *owner), void *owner);
/* Its owner if `release` frees it, else NULL. */
void *blob_owner(const blob_t *self, void (*release)(void *owner));
blob_t *blob_ref(blob_t *self);
/* Drop one reference; NULL-safe, sets the pointer to NULL. */
void blob_unref(blob_t **self);
const uint8_t *blob_data(const blob_t *self);
/* 0 for NULL. */
size_t blob_n(const blob_t *self);

/* malloc family that aborts with a log line instead of returning NULL. */
void *mem_alloc(size_t n);
void *mem_zero(size_t n);
void *mem_grow(void *old, size_t n);
char *mem_text(const char *text);
char *mem_text_n(const char *text, size_t n);
/* What they do when there is none. */
void mem_exhausted(size_t n) __attribute__((noreturn));

#endif

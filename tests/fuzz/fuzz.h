/* fuzz: what the targets share.
 *
 * A target is one function of bytes. It ends the process when the product does what it must not:
 * by a sanitizer, an INVARIANT, or FUZZ_CHECK with the sentence of the rule. Called by libfuzzer.c
 * (clang, `make fuzz`) and by test_corpus.c (gcc, `make test`). Nothing may stay from one input to
 * the next. */
#ifndef STINT_TESTS_FUZZ_H
#define STINT_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGET(name, max) void fuzz_##name(const uint8_t *data, size_t n);
#include "tests/fuzz/targets.def"
#undef TARGET

/* Which input runs, for the report of a failure; NULL under libFuzzer, which says it itself. */
extern const char *fuzz_input;

#define FUZZ_CHECK(holds, ...) ((holds) ? (void)0 : fuzz_broken(__FILE__, __LINE__, __VA_ARGS__))
void fuzz_broken(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

/* Bytes taken from the front; behind the end everything is 0. */
typedef struct {
    const uint8_t *at, *end;
} feed_t;

static inline feed_t feed_of(const uint8_t *data, size_t n)
{
    return (feed_t){data, data + n};
}

static inline size_t feed_left(const feed_t *self)
{
    return (size_t)(self->end - self->at);
}

static inline uint32_t feed_byte(feed_t *self)
{
    return self->at < self->end ? *self->at++ : 0;
}

/* A number below `below`; two bytes if one is too few. */
static inline uint32_t feed_below(feed_t *self, uint32_t below)
{
    uint32_t n = feed_byte(self);
    if (below > 256) {
        n = n << 8 | feed_byte(self);
    }
    return n % below;
}

/* Any number; a first byte from 250 on stands for one where sums overflow. */
static inline uint64_t feed_u64(feed_t *self)
{
    static const uint64_t edges[] = {
        (uint64_t)INT64_MIN, (uint64_t)INT64_MIN + 1, INT64_MAX, UINT64_MAX, UINT32_MAX, INT32_MAX};
    uint64_t n = feed_byte(self);
    if (n >= 250) {
        return edges[n - 250];
    }
    for (int i = 1; i < 8; i++) {
        n = n << 8 | feed_byte(self);
    }
    return n;
}

/* True in about `of` of 256 cases; false behind the end. */
static inline bool feed_chance(feed_t *self, uint32_t of)
{
    return feed_left(self) > 0 && 255 - feed_byte(self) < of;
}

/* Up to the next `stop`, which is taken too, as a text of its own: to be freed. A NUL ends it. */
static inline char *feed_text(feed_t *self, char stop)
{
    const uint8_t *end = memchr(self->at, stop, feed_left(self));
    size_t n = end ? (size_t)(end - self->at) : feed_left(self);
    char *text = strndup(n ? (const char *)self->at : "", n);
    self->at += n + (end != NULL);
    return text;
}

/* A copy that is exactly as long as it says, so that the sanitizer sees any read beyond. */
static inline uint8_t *fuzz_exact(const void *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (n) {
        memcpy(copy, data, n);
    }
    return copy;
}

#endif

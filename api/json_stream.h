/* json_stream: the elements of a JSON array, one after another, as their raw bytes.
 *
 * Lives here: strict JSON (RFC 8259, valid UTF-8, no lone surrogate, no key twice) cut anywhere, at
 * most 64 deep and 65,536 bytes an element. Numbers are never converted. Not here: what an element
 * means. Constant memory; called by intake. */
#ifndef STINT_API_JSON_STREAM_H
#define STINT_API_JSON_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum { JSON_ELEMENT_BYTES = 65536, JSON_ELEMENT_DEPTH = 64 };

typedef enum { JSON_KIND_OBJECT, JSON_KIND_STRING, JSON_KIND_OTHER } json_kind_t;

typedef struct {
    json_kind_t kind;
    const char *raw; /* on one line: newlines between tokens are spaces */
    size_t raw_n;
    const char *text; /* of a string: decoded; else NULL */
    size_t text_n;
} json_element_t;

typedef err_t (*json_stream_call_t)(void *context, const json_element_t *element);

typedef struct json_stream json_stream_t;

json_stream_t *json_stream_new(json_stream_call_t call, void *context);
void json_stream_destroy(json_stream_t **self);
/* ERR_MALFORMED: no JSON. ERR_INVALID: no array, or over a bound that is not size. ERR_TOO_LARGE:
 * an element. An error of the call is returned. After any error the stream is of no use. */
CHECKED err_t json_stream_push(json_stream_t *self, const char *data, size_t n);
CHECKED err_t json_stream_finish(json_stream_t *self);
/* Where it stands: the element that is being read, from 0, and its line, from 1. */
uint64_t json_stream_index(const json_stream_t *self);
uint64_t json_stream_line(const json_stream_t *self);

/* One strict document alone, by the same rules. */
CHECKED err_t json_line_check(const char *data, size_t n);
/* Valid UTF-8: no overlong form, no surrogate, nothing above U+10FFFF. */
bool utf8_valid(const char *data, size_t n);
/* Copy without the blanks between tokens; `out` has room for n bytes. Returns the length. The input
 * is valid JSON. */
size_t json_compact(char *out, const char *raw, size_t n);

#endif

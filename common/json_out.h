/* json_out: JSON text written member by member into a buffer.
 *
 * Lives here: commas, escaping, numbers. jansson is not used for reports because it has no whole
 * numbers beyond 64 bit, and sums of money here are exact at 128; nor for the answer to each
 * submission, because its tree costs more than the text. Pure. */
#ifndef STINT_COMMON_JSON_OUT_H
#define STINT_COMMON_JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"

typedef struct {
    buffer_t *out; /* borrowed */
    bool comma;    /* a value stands before the next one */
} json_out_t;

/* In all of these `key` is NULL inside an array and at the top. */
void json_out_object(json_out_t *self, const char *key);
void json_out_array(json_out_t *self, const char *key);
void json_out_end_object(json_out_t *self);
void json_out_end_array(json_out_t *self);
/* UTF-8; bytes that are not, or that JSON must not hold, are escaped or become '?'. */
void json_out_text(json_out_t *self, const char *key, const char *text);
/* Text that is JSON already. */
void json_out_raw(json_out_t *self, const char *key, const char *json);
void json_out_bool(json_out_t *self, const char *key, bool value);
void json_out_null(json_out_t *self, const char *key);
/* Exact, however large. */
void json_out_int(json_out_t *self, const char *key, __int128 value);
/* Ten significant digits; null for NaN and infinity. */
void json_out_real(json_out_t *self, const char *key, double value);
void json_out_counts(json_out_t *self, const char *key, const uint64_t *counts, int n);

#endif

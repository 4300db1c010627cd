/* query: the part of a request's target behind '?', strictly.
 *
 * Lives here: percent-decoding, UTF-8, names that come twice or are not known, numbers in bounds.
 * Pure. */
#ifndef STINT_API_HTTP_QUERY_H
#define STINT_API_HTTP_QUERY_H

#include <stdint.h>

#include "common/err.h"

enum { QUERY_PAIRS_MAX = 128 };

typedef struct {
    char *text; /* names and values stand in it */
    struct {
        const char *name, *value;
    } pairs[QUERY_PAIRS_MAX];
    int n;
} query_t;

/* Undo %XX in place. ERR_MALFORMED: a bad escape, %00, or no UTF-8. */
CHECKED err_t percent_decode(char *text);
/* `raw` without '?'; NULL = empty. '+' is a space. ERR_MALFORMED also for a name that comes twice.
 */
CHECKED err_t query_parse(query_t *out, const char *raw);
void query_free(query_t *self);
/* NULL if it is not there. */
const char *query_get(const query_t *self, const char *name);
/* ERR_INVALID for a name that is none of `names` (NULL-terminated; one that ends in '.' stands for
 * all that begin so). */
CHECKED err_t query_only(const query_t *self, const char *const *names);
/* A whole number; *out stays if it is not there. */
CHECKED err_t query_number(const query_t *self, const char *name, int64_t low, int64_t high,
                           int64_t *out);

#endif

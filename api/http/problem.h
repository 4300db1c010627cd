/* problem: what is answered, and errors as RFC 9457 problem+json. Pure. */
#ifndef STINT_API_HTTP_PROBLEM_H
#define STINT_API_HTTP_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"

typedef struct {
    unsigned status; /* 0: there is no reply yet */
    buffer_t body;
    const char *type;  /* of the content */
    const char *allow; /* of 405 and OPTIONS, else NULL */
    char location[64];
    unsigned retry_after; /* seconds; 0 = none */
    bool close;
} reply_t;

void reply_free(reply_t *self);

/* Where the error is, if it can be told. */
typedef struct {
    const char *field, *pointer; /* NULL or "" = none */
    uint64_t line;               /* 0 = none */
} problem_place_t;

/* `detail` in full; place may be NULL: then a field is read off the detail ("params.x: ...",
 * "limit: ...", "task '..."). Details of our own failures (500) stay in the log. */
void problem_write(reply_t *out, err_t err, const char *detail, const problem_place_t *place);

#endif

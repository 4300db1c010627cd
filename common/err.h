/* err: what can go wrong, as one value, and the sentence that explains it.
 *
 * Lives here: the codes of schema/errors.def and a per-thread sentence that callers lengthen on the
 * way up. Not here: logging (log.h), HTTP bodies (api/http).  Called by everybody. */
#ifndef STINT_COMMON_ERR_H
#define STINT_COMMON_ERR_H

#include <stdbool.h>

typedef enum {
    ERR_OK = 0,
#define ERROR(NAME, code, http, exit, retryable, text) ERR_##NAME,
#include "schema/errors.def"
#undef ERROR
    ERR_CODES_N
} err_value_t;

/* A function that returns err_t must be checked. Out-parameters are untouched unless it is ERR_OK.
 */
typedef err_value_t err_t;
#define CHECKED __attribute__((warn_unused_result))

/* Return `code` and replace this thread's sentence. */
err_t err_set(err_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Return `code` unchanged and put "prefix: " before this thread's sentence. */
err_t err_context(err_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The sentence of the last err_set on this thread; never NULL. */
const char *err_text(void);

/* Columns of schema/errors.def. */
const char *err_code(err_t code);
const char *err_title(err_t code);
int err_http(err_t code);
int err_exit(err_t code);
bool err_retryable(err_t code);

#endif

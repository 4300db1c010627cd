#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *code, *title;
    int http, exit;
    bool retryable;
} errors[ERR_CODES_N] = {
    [ERR_OK] = {"ok", "no error", 200, 0, false},
#define ERROR(NAME, code_, http_, exit_, retryable_, text_)                                        \
    [ERR_##NAME] = {code_, text_, http_, exit_, retryable_},
#include "schema/errors.def"
#undef ERROR
};

static _Thread_local char sentence[1024];

err_t err_set(err_t code, const char *format, ...)
{
    /* A caller may pass err_text() itself as an argument: build aside, then copy. */
    char next[sizeof sentence];
    va_list args;
    va_start(args, format);
    vsnprintf(next, sizeof next, format, args);
    va_end(args);
    memcpy(sentence, next, sizeof next);
    return code;
}

err_t err_context(err_t code, const char *format, ...)
{
    char next[sizeof sentence];
    va_list args;
    va_start(args, format);
    vsnprintf(next, sizeof next, format, args);
    va_end(args);
    size_t used = strlen(next);
    /* A sentence too long is cut; only an encoding failure, which "%s" cannot have, would leave it
     * undefined. */
    if (snprintf(next + used, sizeof next - used, ": %s", sentence) < 0) {
        next[used] = 0;
    }
    memcpy(sentence, next, sizeof next);
    return code;
}

const char *err_text(void)
{
    return sentence;
}

static unsigned index_of(err_t code)
{
    return (unsigned)code < ERR_CODES_N ? (unsigned)code : (unsigned)ERR_INTERNAL;
}

const char *err_code(err_t code)
{
    return errors[index_of(code)].code;
}

const char *err_title(err_t code)
{
    return errors[index_of(code)].title;
}

int err_http(err_t code)
{
    return errors[index_of(code)].http;
}

int err_exit(err_t code)
{
    return errors[index_of(code)].exit;
}

bool err_retryable(err_t code)
{
    return errors[index_of(code)].retryable;
}

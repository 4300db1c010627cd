/* reading: values of a server's JSON that may be missing or of another type.
 *
 * Pure, inline, used by the rooms that render. A missing value is 0, "" or NULL, never an error: an
 * older or newer server must not break a page. */
#ifndef STINT_API_CLI_READING_H
#define STINT_API_CLI_READING_H

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "api/cli/text.h"

static inline int64_t read_integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_real(value)) {
        double real = json_real_value(value);
        return real > -9e18 && real < 9e18 ? (int64_t)real : 0;
    }
    return (int64_t)json_integer_value(value);
}

static inline double read_number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static inline const char *read_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* A server's text, made printable. */
static inline void add_text(buffer_t *out, const char *text)
{
    text_escape(out, text, strlen(text));
}

#endif

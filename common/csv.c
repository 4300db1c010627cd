#include "common/csv.h"

#include <stdbool.h>
#include <string.h>

/* A quoted field that starts behind the quote at `at`: returns the position behind the closing
 * quote, or NULL. */
static const char *quoted_field(const char *at, const char *end, slice_t *out, char **scratch)
{
    const char *start = at;
    char *copy = NULL, *write = *scratch;
    for (;;) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        if (!quote) {
            return NULL;
        }
        bool doubled = quote + 1 < end && quote[1] == '"';
        if (doubled || copy) {
            /* Only a field with doubled quotes is copied; the usual one is borrowed as it stands.
             */
            size_t n = (size_t)(quote - at) + (doubled ? 1 : 0);
            copy = *scratch;
            memcpy(write, at, n);
            write += n;
        }
        if (!doubled) {
            *out = copy ? (slice_t){copy, (size_t)(write - copy)}
                        : (slice_t){start, (size_t)(quote - start)};
            *scratch = write;
            return quote + 1;
        }
        at = quote + 2;
    }
}

int csv_split(slice_t line, slice_t *fields, int max, char *scratch)
{
    const char *at = line.data, *end = line.data + line.n;
    int n = 0;
    for (;;) {
        slice_t field;
        if (at < end && *at == '"') {
            at = quoted_field(at + 1, end, &field, &scratch);
            if (!at || (at < end && *at != ',')) {
                return -1;
            }
        } else {
            const char *start = at;
            while (at < end && *at != ',') {
                if (*at++ == '"') {
                    return -1;
                }
            }
            field = (slice_t){start, (size_t)(at - start)};
        }
        if (n < max) {
            fields[n] = field;
        }
        n++;
        if (at >= end) {
            return n;
        }
        at++;
    }
}

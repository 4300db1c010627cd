/* submit: what a file's name and the options say about an upload. Pure; the sending is in submit.c.
 */
#ifndef STINT_API_CLI_SUBMIT_H
#define STINT_API_CLI_SUBMIT_H

#include "common/arguments.h"
#include "common/buffer.h"

/* The media type of a file, by `type` ("csv", "ndjson", "json"; NULL = by the name's extension,
 * ".gz" and ".zst" left aside). ERR_USAGE says what is missing. *media and *encoding are static
 * texts; *encoding is "gzip", "zstd" or NULL, by the name's end. */
CHECKED err_t submit_media(const char *file, const char *type, const char **media,
                           const char **encoding);

/* "/api/v1/batch-jobs/submit?task=..." with the parameters of `arguments`, NUL-terminated. */
CHECKED err_t submit_path(buffer_t *out, const arguments_t *arguments);

#endif

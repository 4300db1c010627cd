/* client: the HTTP API as function calls (docs/api.md), over libcurl.
 *
 * Lives here: every libcurl call of the command, the reading of problem+json, the mapping of what
 * went wrong to err_t. Not here: what is printed. Blocking; one request at a time. */
#ifndef STINT_API_CLI_CLIENT_H
#define STINT_API_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"

typedef struct client client_t;

/* `server` is http://HOST[:PORT] or https://..., with or without a path before /api/v1. ERR_USAGE
 * if it is not. Nothing is sent yet. */
CHECKED err_t client_open(client_t **out, const char *server);
void client_destroy(client_t **self);
/* The address without its last slash. */
const char *client_server(const client_t *self);
/* Longest time of a request that sends no body; 60,000 at first. */
void client_timeout(client_t *self, long timeout_ms);

/* `path` begins with "/api/v1". *out belongs to the caller (json_decref).
 *   ERR_UNAVAILABLE   nobody answers there
 *   ERR_MALFORMED     the answer is not JSON
 *   the problem's own code, with its detail as the sentence, if the server refused */
CHECKED err_t client_get(client_t *self, const char *path, json_t **out);
CHECKED err_t client_post(client_t *self, const char *path, json_t **out);

enum { CLIENT_PEEK_N = 4 }; /* the longest mark of a compression */

typedef struct {
    const char *path;              /* with its query */
    const char *type;              /* media type */
    const char *encoding;          /* "gzip" or "zstd": the bytes are that already; NULL = plain */
    int fd;                        /* read from its position to its end, in constant memory */
    uint8_t peeked[CLIENT_PEEK_N]; /* bytes that were read before, sent first */
    int peeked_n;
    int64_t bytes; /* all bytes, the peeked ones included; -1 = unknown */
} client_upload_t;
/* ERR_IO: the file cannot be read. Else as client_get. */
CHECKED err_t client_upload(client_t *self, const client_upload_t *upload, json_t **out);

/* The last answer's body as it came, NUL-terminated. */
const char *client_body(const client_t *self, size_t *n);
/* After a refusal: the lines of `errors`, one a line, printable ("" = none). */
const char *client_details(const client_t *self);

/* Append `text` percent-encoded for a query. */
void client_encode(buffer_t *out, const char *text);

/* The error of a refusal with this HTTP status and body (may be NULL): sets the sentence, appends
 * the lines of `errors` to `details`. Pure; ERR_OK for a 2xx. */
err_t client_problem(int status, const json_t *body, buffer_t *details);

#endif

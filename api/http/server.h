/* server: the HTTP side of the api, docs/api.md.
 *
 * Lives here: the daemon of libmicrohttpd inside our loop, its limits, who waits for what. Not
 * here: rules (core), SQL (store). Verbs of the core that a request calls join the running turn;
 * the answer leaves after its commit. Called by the glue. */
#ifndef STINT_API_HTTP_SERVER_H
#define STINT_API_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "api/core.h"
#include "common/loop.h"

typedef struct http http_t;

typedef struct {
    const char *listen; /* "127.0.0.1:8000", "[::1]:0", ":8000"; port 0 picks a free one */
    bool insecure;      /* may listen beyond loopback */
    uint64_t max_upload, max_expanded, max_items;
    unsigned max_connections;
    char *const *brokers; /* their endpoints, for /health; borrowed */
    int brokers_n;
} http_options_t;

/* Borrows loop and core. ERR_CONFIG: the address is not one, or not allowed; ERR_BUSY: it is taken.
 */
CHECKED err_t http_open(http_t **out, loop_t *loop, core_t *core, const http_options_t *options);
/* Ends every request. No core_turn may follow; the core must still be there. NULL-safe. */
void http_close(http_t **self);
/* "http://127.0.0.1:8000" */
const char *http_url(const http_t *self);
/* After each core_turn: answers what was committed and lets uploads go on. */
void http_turn(http_t *self);
/* Take no new connection and answer 503. */
void http_drain(http_t *self);

#endif

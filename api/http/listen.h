/* listen: the socket the HTTP server accepts on. Called by server. */
#ifndef STINT_API_HTTP_LISTEN_H
#define STINT_API_HTTP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/* "127.0.0.1:8000", "[::1]:0", ":8000" (every address). ERR_CONFIG: no such address, or beyond
 * loopback and not insecure; ERR_BUSY: the port is taken. */
CHECKED err_t listen_open(const char *text, bool insecure, int *out);
/* "http://127.0.0.1:8000": an address that can be called from here. */
void listen_url(int listener, char *out, size_t n);

#endif

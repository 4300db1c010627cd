/* link: three frames on a ZeroMQ socket, with the safe socket profile (PROTOCOL.md 9).
 *
 * Lives here: every zmq_setsockopt, send and receive of the project. Not here: what the frames
 * mean. All calls are non-blocking. */
#ifndef STINT_COMMON_LINK_H
#define STINT_COMMON_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/wire.h"

/* ZeroMQ's own name of a connection on a ROUTER; new with each reconnect. */
typedef struct {
    uint8_t n;
    uint8_t bytes[15];
} link_id_t;
bool link_id_equal(const link_id_t *a, const link_id_t *b);

typedef struct link link_t;

/* The context of this process (one I/O thread); made at first use. link_shutdown ends it. */
void *link_context(void);
void link_shutdown(void);

/* Connects; the peer need not be there. ERR_CONFIG names a bad endpoint. */
CHECKED err_t link_connect(link_t **out, const char *endpoint);
/* Binds a ROUTER. ERR_BUSY: the port is in use. "tcp://127.0.0.1:*" picks a free port: see
 * link_endpoint. */
CHECKED err_t link_bind(link_t **out, const char *endpoint);
void link_destroy(link_t **self);
void *link_socket(const link_t *self);
/* The endpoint as bound, with the real port. */
const char *link_endpoint(const link_t *self);

/* Takes the frames' references in every case. `to` is NULL on a DEALER. False: nobody took it (full
 * or gone). */
bool link_send(link_t *self, const link_id_t *to, frames_t *frames);
/* One message; false when none waits. What has not exactly three frames, or is over a limit, is
 * counted and skipped. `from` may be NULL on a DEALER. */
bool link_receive(link_t *self, link_id_t *from, frames_t *out);
uint64_t link_garbage_n(const link_t *self);

/* True if the endpoint is on loopback (127.0.0.0/8, ::1, localhost) or ipc/inproc. */
bool link_is_loopback(const char *endpoint);

#endif

/* link: three frames on a ZeroMQ socket, with the safe socket profile (PROTOCOL.md 10).
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

/* A CURVE key as Z85 text (ZeroMQ RFC 32). */
enum { LINK_KEY_N = 40 };

/* What a socket with keys needs: its own pair, and when it connects the server's public key. */
typedef struct {
    char public_key[LINK_KEY_N + 1], secret_key[LINK_KEY_N + 1], server_key[LINK_KEY_N + 1];
} link_curve_t;
/* Overwrites it; libzmq has copies of its own. */
void link_curve_clear(link_curve_t *self);

/* ZeroMQ's own name of a connection on a ROUTER; new with each reconnect. */
typedef struct {
    uint8_t n;
    uint8_t bytes[15];
    int fd;                   /* the connection's descriptor, for link_cut; 0 = not known */
    char key[LINK_KEY_N + 1]; /* the public key it was admitted with; "" on plain sockets */
    bool chosen;              /* its peer gave itself that name, with keys: nobody of ours does */
} link_id_t;
/* The same name under another key is another connection. */
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
/* The same, encrypted and authenticated (`curve` NULL: plain). A peer gets through the handshake
 * only if the binding process's authenticator (ZAP) lets it in, nobody if there is none; it is
 * asked about `domain`. Who connects so must read link_handshake_news. */
CHECKED err_t link_connect_curve(link_t **out, const char *endpoint, const link_curve_t *curve);
CHECKED err_t link_bind_curve(link_t **out, const char *endpoint, const link_curve_t *curve,
                              const char *domain);
/* Gives up the connection, with what waits in it, and begins a new one. libzmq connects again by
 * itself after a loss, but never after a handshake that failed. */
void link_reconnect(link_t *self);
void link_destroy(link_t **self);
void *link_socket(const link_t *self);
/* The endpoint as bound, with the real port. */
const char *link_endpoint(const link_t *self);
/* A bound link listens somewhere else from now on. Errors as of link_bind. */
CHECKED err_t link_move(link_t *self, const char *endpoint);
/* A bound link stops listening; its connections stay. Again: ERR_BUSY if the port was taken
 * meanwhile. Both may be repeated. */
void link_listen_stop(link_t *self);
CHECKED err_t link_listen(link_t *self);

/* Takes the frames' references in every case. `to` is NULL on a DEALER. False: nobody took it (full
 * or gone). */
bool link_send(link_t *self, const link_id_t *to, frames_t *frames);
/* One message; false when none waits. What has not exactly three frames, or is over a limit, is
 * counted and skipped. `from` may be NULL on a DEALER. */
bool link_receive(link_t *self, link_id_t *from, frames_t *out);
uint64_t link_garbage_n(const link_t *self);
/* The connections of a bound link: the socket that is readable when one was opened or closed. To be
 * called before the first peer connects; who calls it must read link_connection_news. */
void *link_watch_connections(link_t *self);
/* One of them, in their order; false when there is no more. */
bool link_connection_news(link_t *self, int *fd, bool *opened);
/* Connections so far, as read: taken, and of them those that have introduced themselves in ZeroMQ's
 * language. The others are on the way (for 3 s at most) or were cut off: another protocol, an old
 * version, a key that is not admitted, silence. */
typedef struct {
    uint64_t taken_n, introduced_n;
} link_arrivals_t;
link_arrivals_t link_arrivals(const link_t *self);
/* Closes a ROUTER's connection under libzmq, which has no call for that. Its peer will connect
 * anew. */
void link_cut(const link_id_t *id);

/* Of a link_connect_curve: the socket that is readable when a handshake has ended. */
void *link_handshakes(const link_t *self);
typedef enum { LINK_NOTHING, LINK_ADMITTED, LINK_REFUSED } link_news_t;
/* How the newest one ended since the last call. */
link_news_t link_handshake_news(link_t *self);

#endif

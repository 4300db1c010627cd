#include "common/link_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

#include "common/buffer.h"
#include "common/log.h"

enum {
    ZAP_ENFORCE_DOMAIN = 93, /* in the library, and in zmq.h among the drafts only */
};

static void *the_context;

bool link_id_equal(const link_id_t *a, const link_id_t *b)
{
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0 && strcmp(a->key, b->key) == 0;
}

void link_curve_clear(link_curve_t *self)
{
    explicit_bzero(self, sizeof *self);
}

void *link_context(void)
{
    if (!the_context) {
        the_context = zmq_ctx_new();
        INVARIANT(the_context);
        zmq_ctx_set(the_context, ZMQ_IO_THREADS, 1);
    }
    return the_context;
}

void link_shutdown(void)
{
    if (the_context) {
        while (zmq_ctx_term(the_context) != 0 && errno == EINTR) {
        }
        the_context = NULL;
    }
}

/* -- the safe profile (PROTOCOL.md 10)
 * ------------------------------------------------------------------ */

static void set_int(void *socket, int option, int value)
{
    int rc = zmq_setsockopt(socket, option, &value, sizeof value);
    INVARIANT(rc == 0);
}

static void set_text(void *socket, int option, const char *value)
{
    int rc = zmq_setsockopt(socket, option, value, strlen(value));
    INVARIANT(rc == 0);
}

static void set_profile(void *socket, bool router)
{
    set_int(socket, ZMQ_LINGER, 0);
    set_int(socket, ZMQ_SNDHWM, 1000);
    /* A full receive queue stops the reading of a connection and with it its pongs: never full. */
    set_int(socket, ZMQ_RCVHWM, 0);
    set_int(socket, ZMQ_SNDTIMEO, 0);
    set_int(socket, ZMQ_RCVTIMEO, 0);
    set_int(socket, ZMQ_HANDSHAKE_IVL, 3000);
    int64_t max = WIRE_MESSAGE_MAX;
    int rc = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof max);
    INVARIANT(rc == 0);
    set_int(socket, ZMQ_BACKLOG, 1024);
    set_int(socket, ZMQ_RECONNECT_IVL, 100);
    set_int(socket, ZMQ_RECONNECT_IVL_MAX, 5000);
    set_int(socket, ZMQ_TCP_KEEPALIVE, 1);
    set_int(socket, ZMQ_HEARTBEAT_IVL, 0);
    if (router) {
        set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
        /* Without keys nobody is asked, but with a domain libzmq refuses ZMTP 1.0 and 2.0, which
         * need no greeting: a request of HTTP would else pass for the name of an old peer and stay
         * connected. */
        set_text(socket, ZMQ_ZAP_DOMAIN, "stint");
    } else {
        set_int(socket, ZMQ_IMMEDIATE, 1);
    }
}

static void set_key(void *socket, int option, const char *key)
{
    int rc = zmq_setsockopt(socket, option, key, LINK_KEY_N + 1);
    INVARIANT(rc == 0);
}

static void set_curve(void *socket, const link_curve_t *curve, const char *domain)
{
    set_key(socket, ZMQ_CURVE_PUBLICKEY, curve->public_key);
    set_key(socket, ZMQ_CURVE_SECRETKEY, curve->secret_key);
    if (!domain) {
        set_key(socket, ZMQ_CURVE_SERVERKEY, curve->server_key);
        return;
    }
    set_int(socket, ZMQ_CURVE_SERVER, 1);
    set_text(socket, ZMQ_ZAP_DOMAIN, domain);
    /* Without this libzmq admits everybody when nobody answers its questions. */
    set_int(socket, ZAP_ENFORCE_DOMAIN, 1);
}

/* -- handshakes
 * ---------------------------------------------------------------------------------------- */

static void watch(link_t *self, int events)
{
    static unsigned made_n;
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "inproc://monitor.%u", made_n++);
    int rc = zmq_socket_monitor(self->socket, endpoint, events);
    INVARIANT(rc == 0);
    self->monitor = zmq_socket(link_context(), ZMQ_PAIR);
    INVARIANT(self->monitor);
    set_int(self->monitor, ZMQ_LINGER, 0);
    set_int(self->monitor, ZMQ_RCVHWM, 0); /* libzmq's thread would wait for room */
    rc = zmq_connect(self->monitor, endpoint);
    INVARIANT(rc == 0);
}

/* Kind, u16, and value, u32; then a frame with the endpoint. */
static bool read_event(link_t *self, uint16_t *kind, uint32_t *value)
{
    enum { EVENT_N = 6 };
    uint8_t event[16], endpoint[1];
    if (zmq_recv(self->monitor, event, sizeof event, ZMQ_DONTWAIT) != EVENT_N) {
        return false;
    }
    memcpy(kind, event, sizeof *kind);
    memcpy(value, event + sizeof *kind, sizeof *value);
    zmq_recv(self->monitor, endpoint, sizeof endpoint, ZMQ_DONTWAIT);
    return true;
}

void *link_watch_connections(link_t *self)
{
    watch(self, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED);
    return self->monitor;
}

bool link_connection_news(link_t *self, int *fd, bool *opened)
{
    uint16_t kind;
    uint32_t value;
    while (read_event(self, &kind, &value)) {
        *fd = (int)value;
        *opened = kind == ZMQ_EVENT_ACCEPTED;
        self->arrivals.taken_n += *opened;
        if (kind != ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            return true;
        }
        self->arrivals.introduced_n++; /* which one it was is not told */
    }
    return false;
}

link_arrivals_t link_arrivals(const link_t *self)
{
    return self->arrivals;
}

void *link_handshakes(const link_t *self)
{
    return self->monitor;
}

/* What ends without an answer (too late, or the connection broke) is no news: libzmq tries again.
 */
link_news_t link_handshake_news(link_t *self)
{
    link_news_t news = LINK_NOTHING;
    uint16_t kind;
    uint32_t value;
    while (read_event(self, &kind, &value)) {
        news = kind == ZMQ_EVENT_HANDSHAKE_SUCCEEDED ? LINK_ADMITTED : LINK_REFUSED;
    }
    return news;
}

/* -- opening
 * -------------------------------------------------------------------------------------------- */

/* Only where it is asked for: with it "localhost" may be another address than one thinks. */
static void set_ipv6(void *socket, const char *endpoint)
{
    set_int(socket, ZMQ_IPV6, strchr(endpoint, '[') != NULL);
}

/* `domain` only of a ROUTER. */
static link_t *open_socket(bool router, const char *endpoint, const link_curve_t *curve,
                           const char *domain)
{
    link_t *self = mem_zero(sizeof *self);
    self->router = router;
    self->curve = curve != NULL;
    self->socket = zmq_socket(link_context(), router ? ZMQ_ROUTER : ZMQ_DEALER);
    INVARIANT(self->socket);
    set_profile(self->socket, router);
    set_ipv6(self->socket, endpoint);
    if (curve) {
        set_curve(self->socket, curve, domain);
    }
    return self;
}

static err_t connect_to(link_t **out, link_t *self, const char *endpoint)
{
    if (zmq_connect(self->socket, endpoint) != 0) {
        int problem = errno;
        link_destroy(&self);
        return err_set(ERR_CONFIG, "cannot connect to \"%s\": %s", endpoint, zmq_strerror(problem));
    }
    strncpy(self->endpoint, endpoint, sizeof self->endpoint - 1);
    *out = self;
    return ERR_OK;
}

err_t link_connect(link_t **out, const char *endpoint)
{
    return connect_to(out, open_socket(false, endpoint, NULL, NULL), endpoint);
}

err_t link_connect_curve(link_t **out, const char *endpoint, const link_curve_t *curve)
{
    link_t *self = open_socket(false, endpoint, curve, NULL);
    watch(self, ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                    ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    return connect_to(out, self, endpoint);
}

err_t link_bind(link_t **out, const char *endpoint)
{
    return link_bind_curve(out, endpoint, NULL, NULL);
}

static err_t listen_at(link_t *self, const char *endpoint)
{
    if (zmq_bind(self->socket, endpoint) != 0) {
        if (errno == EADDRINUSE) {
            return err_set(ERR_BUSY, "cannot bind \"%s\": another process uses this port",
                           endpoint);
        }
        return err_set(ERR_CONFIG, "cannot bind \"%s\": %s", endpoint, zmq_strerror(errno));
    }
    size_t n = sizeof self->endpoint;
    int rc = zmq_getsockopt(self->socket, ZMQ_LAST_ENDPOINT, self->endpoint, &n);
    INVARIANT(rc == 0);
    self->listens = true;
    return ERR_OK;
}

err_t link_bind_curve(link_t **out, const char *endpoint, const link_curve_t *curve,
                      const char *domain)
{
    link_t *self = open_socket(true, endpoint, curve, domain);
    err_t err = listen_at(self, endpoint);
    if (err) {
        link_destroy(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

err_t link_move(link_t *self, const char *endpoint)
{
    link_listen_stop(self);
    set_ipv6(self->socket, endpoint);
    return listen_at(self, endpoint);
}

void link_listen_stop(link_t *self)
{
    if (self->listens) {
        zmq_unbind(self->socket, self->endpoint);
        self->listens = false;
    }
}

err_t link_listen(link_t *self)
{
    char endpoint[ENDPOINT_MAX];
    memcpy(endpoint, self->endpoint, sizeof endpoint);
    return self->listens ? ERR_OK : listen_at(self, endpoint);
}

void link_reconnect(link_t *self)
{
    INVARIANT(!self->router);
    zmq_disconnect(self->socket, self->endpoint);
    int rc = zmq_connect(self->socket, self->endpoint);
    INVARIANT(rc == 0); /* it was a good endpoint before */
}

void link_destroy(link_t **self)
{
    if (*self) {
        if ((*self)->monitor) {
            zmq_socket_monitor((*self)->socket, NULL, 0);
            zmq_close((*self)->monitor);
        }
        zmq_close((*self)->socket);
        free(*self);
        *self = NULL;
    }
}

void *link_socket(const link_t *self)
{
    return self->socket;
}

const char *link_endpoint(const link_t *self)
{
    return self->endpoint;
}

void link_cut(const link_id_t *id)
{
    if (id->fd > 0) {
        /* At worst the number is another connection's by now, which then connects anew. */
        shutdown(id->fd, SHUT_RDWR);
    }
}

/* The places of an HTTP server: which connections are open, how long each may take, and who has to
 * go when all places are taken. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "api/http/request.h"
#include "common/log.h"

enum {
    SWEEP_MS = 1000,
    HEAD_MS = 60000,        /* from idle to a complete head */
    CROWDED_HEAD_MS = 1000, /* the same when others wait for a place */
    CROWDED_SPARE = 8,      /* places that are left then */
    CROWDED_SAY_MS = 10000,
    SLOW_GRACE_MS = 30000, /* a body has that long, */
    SLOW_BYTES_MS = 1,     /* and then must average so many bytes a millisecond */
};

void places_notify(void *context, struct MHD_Connection *connection, void **line,
                   enum MHD_ConnectionNotificationCode code)
{
    http_t *http = context;
    http_line_t *self = *line;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        self = mem_zero(sizeof *self);
        self->fd = info ? info->connect_fd : -1;
        self->since = loop_now_ms(http->loop);
        self->next = http->lines;
        if (self->next) {
            self->next->previous = self;
        }
        http->lines = self;
        http->lines_n++;
        *line = self;
        int on = 1;
        setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    } else if (self) {
        http->lines_n--;
        *(self->previous ? &self->previous->next : &http->lines) = self->next;
        if (self->next) {
            self->next->previous = self->previous;
        }
        free(self);
        *line = NULL;
    }
}

static bool in_body(const http_line_t *line)
{
    const request_t *request = line->request;
    return request && request->begun && request->received < request->length && !request->waits;
}

static bool crowded(const http_t *self)
{
    return self->lines_n + CROWDED_SPARE > self->options.max_connections;
}

static bool too_slow(const http_line_t *line, int64_t now, bool in_a_crowd)
{
    int64_t ms = now - line->since;
    if (!line->request || !line->request->begun) {
        return ms > (in_a_crowd ? CROWDED_HEAD_MS : HEAD_MS);
    }
    return in_body(line) && ms > SLOW_GRACE_MS &&
           line->request->received < (uint64_t)(ms - SLOW_GRACE_MS) * SLOW_BYTES_MS;
}

/* libmicrohttpd takes a short read for an empty socket; an end that arrived with the last bytes
 * raises no further edge, and it would be noticed only when the connection has idled for long. */
static bool has_ended(const http_line_t *line)
{
    char byte;
    return in_body(line) && recv(line->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* A client that sends a byte now and then never idles: those below a pace are cut off. */
static void on_sweep(void *context)
{
    http_t *self = context;
    int64_t now = loop_now_ms(self->loop);
    bool in_a_crowd = crowded(self);
    if (in_a_crowd && now >= self->crowded_said_at + CROWDED_SAY_MS) {
        self->crowded_said_at = now;
        log_warn(
            "http.crowded",
            "connections=%u limit=%u detail=\"all places are taken: those that ask nothing for "
            "a second are closed\"",
            self->lines_n, self->options.max_connections);
    }
    for (http_line_t *line = self->lines; line; line = line->next) {
        bool slow = too_slow(line, now, in_a_crowd);
        if (slow && !in_a_crowd) {
            log_info("http.slow", "seconds=%lld", (long long)(now - line->since) / 1000);
        }
        if (slow || has_ended(line)) {
            shutdown(line->fd, SHUT_RDWR);
        }
    }
    loop_timer_arm(self->sweep, now + SWEEP_MS);
}

void places_open(http_t *self)
{
    self->crowded_said_at = self->opened_at - CROWDED_SAY_MS;
    self->sweep = loop_timer_new(self->loop, on_sweep, self);
    loop_timer_arm(self->sweep, self->opened_at + SWEEP_MS);
}

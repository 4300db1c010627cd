#include "api/http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/http/listen.h"
#include "api/http/request.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    IDLE_S = 30,
    POOL_BYTES = 64 << 10,
    DISCARD_MAX = 1 << 20,  /* of a body whose answer is known */
    LINGER_MAX = 256 << 20, /* of one whose answer was sent early */
};

/* -- running libmicrohttpd --------------------------------------------------------------------- */

static void arm(http_t *self)
{
    MHD_UNSIGNED_LONG_LONG wait = 0;
    if (MHD_get_timeout(self->daemon, &wait) == MHD_YES) {
        int64_t ms = wait > 60000 ? 60000 : (int64_t)wait;
        loop_timer_arm(self->timer, loop_now_ms(self->loop) + ms);
    } else {
        loop_timer_disarm(self->timer);
    }
}

static void run(http_t *self)
{
    self->resumed = false;
    unsigned before;
    do { /* after a full house the library listens again at the beginning of its next run only */
        before = self->lines_n;
        MHD_run(self->daemon);
    } while (before >= self->options.max_connections && self->lines_n < before);
    arm(self);
}

static void on_ready(void *context)
{
    http_t *self = context;
    core_clock(self->core, loop_now_ms(self->loop), clock_wall_ms());
    run(self);
}

/* -- waiting ----------------------------------------------------------------------------------- */

static void suspend(request_t *self)
{
    http_t *http = self->http;
    self->turn_is_mine = false;
    if (self->waits) {
        return; /* called by end_waiting: it has been since its body ended */
    }
    self->waits = true;
    self->next = NULL;
    self->previous = http->suspended_last;
    *(self->previous ? &self->previous->next : &http->suspended) = self;
    http->suspended_last = self;
    MHD_suspend_connection(self->connection);
}

static void resume(request_t *self)
{
    http_t *http = self->http;
    *(self->previous ? &self->previous->next : &http->suspended) = self->next;
    *(self->next ? &self->next->previous : &http->suspended_last) = self->previous;
    http->uploads_waiting -= self->for_commit || self->for_end ? 0 : 1;
    self->waits = self->for_commit = self->for_end = false;
    http->resumed = true;
    MHD_resume_connection(self->connection);
}

void wait_for_turn(request_t *self)
{
    suspend(self);
    self->http->uploads_waiting++;
}

bool may_end(request_t *self)
{
    if (self->http->turn_submits < TURN_SUBMITS) {
        self->http->turn_submits++;
        return true;
    }
    suspend(self);
    self->for_end = true;
    return false;
}

/* Those that came when a turn had ended its share, the oldest first. They stay suspended: most wait
 * for the commit next. */
static void end_waiting(http_t *self)
{
    request_t *next = NULL;
    for (request_t *at = self->suspended; at && self->turn_submits < TURN_SUBMITS; at = next) {
        next = at->next;
        if (at->for_end) {
            at->for_end = false;
            at->handle(at);
            if (at->reply.status) {
                at->for_end = true; /* it waits for nothing any more */
                resume(at);
            }
        }
    }
}

static void on_committed(void *context, err_t err)
{
    request_t *self = context;
    self->committed(self, err);
    resume(self);
}

void wait_for_commit(request_t *self, void (*committed)(request_t *self, err_t err))
{
    self->committed = committed;
    suspend(self);
    self->for_commit = true;
    core_after_commit(self->http->core, on_committed, self);
}

/* One budget for all: many uploads at a time must not make a turn longer than one does. Who waits
 * goes first. */
size_t turn_room(request_t *self)
{
    const http_t *http = self->http;
    if (http->turn_used >= TURN_UPLOAD_BYTES || (http->uploads_waiting && !self->turn_is_mine)) {
        return 0;
    }
    return TURN_UPLOAD_BYTES - http->turn_used;
}

void http_turn(http_t *self)
{
    self->turn_used = 0;
    self->turn_submits = 0;
    end_waiting(self);
    request_t *first = self->suspended;
    while (first && (first->for_commit || first->for_end)) {
        first = first->next;
    }
    if (first) {
        resume(first);
        first->turn_is_mine = true;
    }
    if (self->resumed) {
        run(self); /* at once: it would else wait for its own pipe */
        loop_again(self->loop);
    }
}

/* -- answering --------------------------------------------------------------------------------- */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (value && MHD_add_response_header(response, name, value) != MHD_YES) {
        log_warn("http.header", "name=%s", name);
    }
}

static void count(request_t *self)
{
    unsigned class = self->reply.status / 100;
    self->http->answered[class <= 5 ? class : 0]++;
}

static enum MHD_Result answer(request_t *self)
{
    reply_t *reply = &self->reply;
    count(self);
    size_t n = reply->body.n;
    void *body = reply->body.data;
    reply->body = (buffer_t){0};
    struct MHD_Response *response = MHD_create_response_from_buffer(
        n, n ? body : (void *)"", n ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (n == 0) {
        free(body);
    }
    if (!response) {
        return MHD_NO;
    }
    char retry[16];
    snprintf(retry, sizeof retry, "%u", reply->retry_after);
    add_header(response, "Content-Type", reply->type);
    add_header(response, "Cache-Control", "no-store");
    add_header(response, "X-Content-Type-Options", "nosniff");
    add_header(response, "Allow", reply->allow);
    add_header(response, "Location", reply->location[0] ? reply->location : NULL);
    add_header(response, "Retry-After", reply->retry_after ? retry : NULL);
    add_header(response, "Connection", reply->close || self->http->draining ? "close" : NULL);
    enum MHD_Result result = MHD_queue_response(self->connection, reply->status, response);
    MHD_destroy_response(response);
    return result;
}

/* In the middle of a body libmicrohttpd takes no answer. One that cannot wait for the end of the
 * body is written to the socket here (nothing of this request was sent yet), and the rest is read
 * away for a while: a close with unread bytes would reset the connection and the client might never
 * see the answer. */
static void answer_early(request_t *self)
{
    self->answered_early = true;
    count(self);
    const reply_t *reply = &self->reply;
    buffer_t out = {0};
    buffer_printf(&out,
                  "HTTP/1.1 %u Refused\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                  "Cache-Control: no-store\r\nConnection: close\r\n",
                  reply->status, reply->type, reply->body.n);
    if (reply->retry_after) {
        buffer_printf(&out, "Retry-After: %u\r\n", reply->retry_after);
    }
    buffer_add_text(&out, "\r\n");
    buffer_add(&out, reply->body.data, reply->body.n);
    ssize_t sent = send(self->line->fd, out.data, out.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent != (ssize_t)out.n) {
        log_debug("http.early_answer_lost", "status=%u", reply->status);
    }
    shutdown(self->line->fd, SHUT_WR);
    buffer_free(&out);
}

static enum MHD_Result discard(request_t *self, size_t *n)
{
    self->discarded += *n;
    self->received += *n;
    *n = 0;
    if (!self->reply.status) {
        return self->discarded <= DISCARD_MAX ? MHD_YES : MHD_NO; /* a body nobody asked for */
    }
    bool much_left =
        self->length != UINT64_MAX && self->length - self->received > DISCARD_MAX - self->discarded;
    if (!self->answered_early && (self->discarded > DISCARD_MAX || much_left)) {
        answer_early(self);
    }
    return self->discarded <= LINGER_MAX ? MHD_YES : MHD_NO;
}

/* -- a request --------------------------------------------------------------------------------- */

static enum MHD_Result begin(request_t *self, const char *method)
{
    self->begun = true;
    err_t err = guard(self);
    if (err) {
        refuse(self, err);
        self->reply.status = err == ERR_TOO_LARGE ? 431 : self->reply.status;
        self->reply.close = true;
        return answer(self);
    }
    if (self->http->draining) {
        refuse(self, err_set(ERR_UNAVAILABLE, "the api is shutting down"));
        self->reply.close = true;
        return answer(self);
    }
    route(self, method);
    const char *expect = MHD_lookup_connection_value(self->connection, MHD_HEADER_KIND, "Expect");
    if (self->reply.status && self->length && expect) {
        self->reply.close = true; /* the body was not sent yet, and need not be */
        return answer(self);
    }
    return MHD_YES;
}

static enum MHD_Result on_body(request_t *self, const char *data, size_t *n)
{
    if (self->reply.status || self->handle != submit_end) {
        return discard(self, n);
    }
    size_t used = submit_body(self, data, *n);
    self->received += used;
    *n -= used;
    return self->reply.status && *n ? discard(self, n) : MHD_YES;
}

static enum MHD_Result end(request_t *self)
{
    if (self->answered_early) {
        return MHD_NO; /* close it */
    }
    if (!self->reply.status) {
        self->handle(self);
    }
    if (self->reply.status) {
        return answer(self);
    }
    INVARIANT(self->waits);
    return MHD_YES;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **request)
{
    (void)context;
    (void)url;
    (void)version;
    request_t *self = *request;
    if (!self) {
        return MHD_NO;
    }
    self->connection = connection;
    if (self->waits) {
        return MHD_YES;
    }
    if (!self->begun) {
        return begin(self, method);
    }
    return *n ? on_body(self, data, n) : end(self);
}

static http_line_t *line_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* The request line was read; `target` as it was sent. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    http_t *http = context;
    request_t *self = mem_zero(sizeof *self);
    self->http = http;
    self->line = line_of(connection);
    self->connection = connection;
    self->target = mem_text(target);
    if (self->line) {
        self->line->request = self;
        self->line->since = loop_now_ms(http->loop);
    }
    return self;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode code)
{
    (void)connection;
    (void)code;
    http_t *http = context;
    request_t *self = *request;
    if (!self) {
        return;
    }
    submit_drop(self);
    if (self->line) {
        self->line->request = NULL;
        self->line->since = loop_now_ms(http->loop);
    }
    query_free(&self->query);
    reply_free(&self->reply);
    free(self->target);
    free(self);
    *request = NULL;
}

static void on_mhd_log(void *context, const char *format, va_list args)
{
    (void)context;
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = 0;
    log_debug("http.library", "detail=\"%s\"", text);
}

static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

/* -- opening ---------------------------------------------------------------------------------- */

static err_t start_daemon(http_t *self)
{
    self->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
        self, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        self->listener, MHD_OPTION_CONNECTION_LIMIT, self->options.max_connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, on_target,
        self, MHD_OPTION_NOTIFY_COMPLETED, on_completed, self, MHD_OPTION_NOTIFY_CONNECTION,
        places_notify, self, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    return self->daemon ? ERR_OK : err_set(ERR_INTERNAL, "libmicrohttpd did not start");
}

err_t http_open(http_t **out, loop_t *loop, core_t *core, const http_options_t *options)
{
    http_t *self = mem_zero(sizeof *self);
    self->loop = loop;
    self->core = core;
    self->options = *options;
    self->listener = -1;
    self->opened_at = loop_now_ms(loop);
    err_t err = listen_open(options->listen, options->insecure, &self->listener);
    if (!err) {
        listen_url(self->listener, self->url, sizeof self->url);
        err = start_daemon(self);
    }
    if (err) {
        http_close(&self);
        return err;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    INVARIANT(info);
    self->watch = loop_watch_fd(loop, info->epoll_fd, on_ready, self);
    self->timer = loop_timer_new(loop, on_ready, self);
    places_open(self);
    arm(self);
    *out = self;
    return ERR_OK;
}

void http_drain(http_t *self)
{
    if (self->draining) {
        return;
    }
    self->draining = true;
    MHD_quiesce_daemon(self->daemon);
    close(self->listener);
    self->listener = -1;
}

void http_close(http_t **self_ref)
{
    http_t *self = *self_ref;
    if (!self) {
        return;
    }
    while (self->suspended) {
        resume(self->suspended); /* the library will not stop with one suspended */
    }
    if (self->daemon) {
        MHD_stop_daemon(self->daemon); /* closes the listener unless it was given up */
        self->listener = -1;
    }
    if (self->listener >= 0) {
        close(self->listener);
    }
    loop_unwatch(self->loop, &self->watch);
    loop_timer_destroy(&self->timer);
    loop_timer_destroy(&self->sweep);
    free(self);
    *self_ref = NULL;
}

const char *http_url(const http_t *self)
{
    return self->url;
}

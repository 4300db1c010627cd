#include "api/api.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "api/core.h"
#include "api/http/server.h"
#include "common/clock.h"
#include "common/descriptors.h"
#include "common/lines.h"
#include "common/link.h"
#include "common/log.h"
#include "common/loop.h"

enum {
    DRAIN_MS = 200,
    DESCRIPTORS_MIN = 64, /* store, sockets to 16 brokers, ZeroMQ's own */
};

typedef struct api api_t;
struct api {
    loop_t *loop;
    store_t *store;
    core_t *core;
    http_t *http;
    loop_timer_t *timer, *stop_timer;
    lines_t *lines;
    err_t err; /* why the loop was stopped */
    char reason[256];
};

static bool send_frames(void *context, int broker, frames_t *frames)
{
    api_t *self = context;
    return lines_send(self->lines, broker, frames);
}

/* The core's clock stands still inside a turn; this sets it at the first event of one. */
static void tick(api_t *self)
{
    core_clock(self->core, loop_now_ms(self->loop), clock_wall_ms());
}

static void on_message(void *context, int broker, frames_t *frames)
{
    api_t *self = context;
    tick(self);
    core_receive(self->core, broker, frames);
}

static void on_timer(void *context)
{
    tick(context);
}

static void on_turn(void *context)
{
    api_t *self = context;
    tick(self);
    err_t err = core_turn(self->core);
    if (err) {
        /* What stands on the disk is not known any more: only a new process may look (rule 11). */
        self->err = err;
        snprintf(self->reason, sizeof self->reason, "%s", err_text());
        loop_stop(self->loop, err_exit(err));
        return;
    }
    http_turn(self->http);
    int64_t next = core_next_at(self->core);
    if (next <= loop_now_ms(self->loop)) {
        loop_again(self->loop);
    } else {
        loop_timer_arm(self->timer, next);
    }
}

static void on_stop(void *context)
{
    loop_stop(((api_t *)context)->loop, 0);
}

/* What has been committed is still answered; who comes now gets 503. */
static void on_signal(void *context, int number)
{
    api_t *self = context;
    if (number == SIGTERM || number == SIGINT) {
        log_info("api.stopping", "signal=\"%s\"", strsignal(number));
        http_drain(self->http);
        loop_timer_arm(self->stop_timer, loop_now_ms(self->loop) + DRAIN_MS);
    }
}

static err_t open_core(api_t *self, const config_t *config)
{
    char host[129] = "";
    gethostname(host, sizeof host - 1);
    core_options_t options = {
        .brokers_n = config->brokers.n,
        .heartbeat_ms = config->heartbeat,
        .lease_ms = config->lease,
        .accept_lease_ms = config->accept_lease,
        .max_starts = (uint32_t)config->max_starts,
        .max_waiting_jobs = (uint64_t)config->max_waiting_jobs,
        .test_tasks = config->test_tasks,
        .name = config->name,
        .host = host,
        .pid = (uint64_t)getpid(),
        .now_ms = clock_now_ms(),
        .wall_at = clock_wall_ms(),
    };
    if (getrandom(options.incarnation, sizeof options.incarnation, 0) !=
        sizeof options.incarnation) {
        return err_set(ERR_INTERNAL, "getrandom: %s", strerror(errno));
    }
    core_effects_t effects = {.context = self, .send = send_frames};
    return core_open(&self->core, self->store, &options, effects);
}

/* libmicrohttpd takes connections as long as there are descriptors; the store and the brokers need
 * theirs. */
static unsigned connections_of(const config_t *config)
{
    uint64_t room = descriptors_limit() - DESCRIPTORS_MIN;
    if ((uint64_t)config->max_connections <= room) {
        return (unsigned)config->max_connections;
    }
    log_warn(
        "api.descriptors",
        "limit=%llu detail=\"max_connections is %llu instead of %llu: this process may have no "
        "more file descriptors (ulimit -n)\"",
        (unsigned long long)descriptors_limit(), (unsigned long long)room,
        (unsigned long long)config->max_connections);
    return (unsigned)room;
}

static err_t open_http(api_t *self, const config_t *config)
{
    http_options_t options = {
        .listen = config->listen,
        .insecure = config->insecure,
        .max_upload = (uint64_t)config->max_upload,
        .max_expanded = (uint64_t)config->max_expanded,
        .max_items = (uint64_t)config->max_items,
        .max_connections = connections_of(config),
        .brokers = config->brokers.items,
        .brokers_n = config->brokers.n,
    };
    return http_open(&self->http, self->loop, self->core, &options);
}

static err_t set_up(api_t *self, const config_t *config)
{
    store_options_t store = {.directory = config->data,
                             .reserve_bytes = (uint64_t)config->reserve,
                             .wall_at = clock_wall_ms(),
                             .auto_migrate = config->auto_migrate,
                             .backup = config->migrate_backup};
    self->loop = loop_new();
    self->timer = loop_timer_new(self->loop, on_timer, self);
    self->stop_timer = loop_timer_new(self->loop, on_stop, self);
    err_t err = descriptors_raise(DESCRIPTORS_MIN + 1);
    if (!err) {
        err = store_open(&self->store, &store);
    }
    if (!err) {
        err = open_core(self, config);
    }
    if (!err) {
        err = lines_open(&self->lines, self->loop, WIRE_ROLE_API, config, on_message, self);
    }
    if (!err) {
        err = open_http(self, config);
    }
    return err;
}

static void tear_down(api_t *self)
{
    if (self->core) {
        core_cancel_waiting(self->core); /* while the requests that wait are still there */
    }
    http_close(&self->http);
    lines_close(&self->lines);
    core_destroy(&self->core);
    store_close(&self->store);
    loop_timer_destroy(&self->stop_timer);
    loop_timer_destroy(&self->timer);
    loop_destroy(&self->loop);
    link_shutdown();
}

err_t api_run(const config_t *config)
{
    api_t self = {0};
    err_t err = set_up(&self, config);
    if (!err) {
        loop_on_turn(self.loop, on_turn, &self);
        loop_on_signal(self.loop, on_signal, &self);
        log_info("api.ready", "url=%s store=\"%s\" schema=%d brokers=%d", http_url(self.http),
                 config->data, store_schema_version(self.store), lines_n(self.lines));
        loop_run(self.loop);
        err = self.err ? err_set(self.err, "%s", self.reason) : ERR_OK;
        if (!err) {
            log_info("api.stopped", "");
        }
    }
    tear_down(&self);
    return err;
}

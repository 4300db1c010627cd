#include "common/lines.h"

#include <stdlib.h>

#include "common/endpoint.h"
#include "common/keys.h"
#include "common/link.h"
#include "common/log.h"

enum {
    MESSAGES_A_TURN = 128, /* 64 of a kind: each batch has an ACCEPTED and a RESULT */
    SILENT_N = 5,          /* heartbeats without a word: the connection is made anew */
};

typedef struct {
    lines_t *lines;
    int number;
    link_t *link;
    loop_watch_t *watch, *handshakes;
    bool refused; /* has been said */
    bool heard;   /* since the timer looked */
} line_t;

struct lines {
    loop_t *loop;
    lines_call_t call;
    void *context;
    bool has_key;
    loop_timer_t *timer;
    int64_t silence_ms;
    line_t items[LINES_MAX];
    int n;
};

static void on_messages(void *context)
{
    line_t *line = context;
    lines_t *self = line->lines;
    frames_t frames = {0};
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        if (!link_receive(line->link, NULL, &frames)) {
            return;
        }
        line->heard = true;
        self->call(self->context, line->number, &frames);
    }
    loop_again(self->loop);
}

/* libzmq tries for ever; why it fails is worth one line. */
static void on_handshakes(void *context)
{
    line_t *line = context;
    link_news_t news = link_handshake_news(line->link);
    if (news == LINK_REFUSED && !line->refused) {
        log_warn("broker.refuses_us", "broker=%d detail=\"%s\"", line->number,
                 line->lines->has_key
                     ? "it does not admit this key, or has keys of another fleet or none; see "
                       "stint keys list where it runs"
                     : "it wants a key: --key FILE, made by stint keys add where it runs");
    } else if (news == LINK_ADMITTED && line->refused) {
        log_info("broker.admits_us", "broker=%d", line->number);
    }
    line->refused = news == LINK_NOTHING ? line->refused : news == LINK_REFUSED;
}

/* Every broker answers every heartbeat. One that does not may be gone, and then this does no harm;
 * or the connection is dead in a way that TCP or libzmq would take long to see, or never. */
static void on_timer(void *context)
{
    lines_t *self = context;
    for (int i = 0; i < self->n; i++) {
        if (!self->items[i].heard) {
            link_reconnect(self->items[i].link);
        }
        self->items[i].heard = false;
    }
    loop_timer_arm(self->timer, loop_now_ms(self->loop) + self->silence_ms);
}

static err_t connect_line(lines_t *self, const char *endpoint, const link_curve_t *curve)
{
    line_t *line = &self->items[self->n];
    *line = (line_t){.lines = self, .number = self->n};
    err_t err = link_connect_curve(&line->link, endpoint, curve);
    if (!err) {
        self->n++;
        line->watch = loop_watch_socket(self->loop, link_socket(line->link), on_messages, line);
        line->handshakes =
            loop_watch_socket(self->loop, link_handshakes(line->link), on_handshakes, line);
    }
    return err;
}

static err_t check_endpoints(const config_t *config)
{
    for (int i = 0; i < config->brokers.n; i++) {
        if (!endpoint_is_one(config->brokers.items[i])) {
            return err_set(ERR_CONFIG,
                           "brokers: \"%s\" is no endpoint: it must be like tcp://127.0.0.1:7601",
                           config->brokers.items[i]);
        }
    }
    return ERR_OK;
}

static err_t check_reach(const config_t *config)
{
    for (int i = 0; i < config->brokers.n && !config->insecure; i++) {
        if (!endpoint_is_loopback(config->brokers.items[i])) {
            return err_set(
                ERR_CONFIG,
                "brokers: %s is beyond loopback and this process has no key: give the file that "
                "`stint keys add` made with --key, or, in a network you trust, add --insecure true",
                config->brokers.items[i]);
        }
    }
    return ERR_OK;
}

static err_t connect_all(lines_t *self, uint64_t role, const config_t *config)
{
    link_curve_t curve;
    self->has_key = *config->key;
    err_t err = check_endpoints(config);
    if (!err) {
        err = self->has_key ? keys_load_peer(&curve, config->key, role, config->name)
                            : check_reach(config);
    }
    for (int i = 0; i < config->brokers.n && !err; i++) {
        err = connect_line(self, config->brokers.items[i], self->has_key ? &curve : NULL);
    }
    link_curve_clear(&curve);
    return err;
}

err_t lines_open(lines_t **out, loop_t *loop, uint64_t role, const config_t *config,
                 lines_call_t call, void *context)
{
    if (config->brokers.n == 0 || config->brokers.n > LINES_MAX) {
        return err_set(ERR_CONFIG, "brokers: name 1 to %d endpoints of brokers, not %d", LINES_MAX,
                       config->brokers.n);
    }
    lines_t *self = mem_zero(sizeof *self);
    self->loop = loop;
    self->call = call;
    self->context = context;
    err_t err = connect_all(self, role, config);
    if (err) {
        lines_close(&self);
        return err;
    }
    self->silence_ms = SILENT_N * config->heartbeat;
    self->timer = loop_timer_new(loop, on_timer, self);
    loop_timer_arm(self->timer, loop_now_ms(loop) + self->silence_ms);
    *out = self;
    return ERR_OK;
}

void lines_close(lines_t **self_ref)
{
    lines_t *self = *self_ref;
    if (self) {
        for (int i = 0; i < self->n; i++) {
            loop_unwatch(self->loop, &self->items[i].watch);
            loop_unwatch(self->loop, &self->items[i].handshakes);
            link_destroy(&self->items[i].link);
        }
        loop_timer_destroy(&self->timer);
        free(self);
        *self_ref = NULL;
    }
}

int lines_n(const lines_t *self)
{
    return self->n;
}

bool lines_send(lines_t *self, int broker, frames_t *frames)
{
    return link_send(self->items[broker].link, NULL, frames);
}

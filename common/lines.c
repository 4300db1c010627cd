#include "common/lines.h"

#include <stdlib.h>

#include "common/link.h"

enum { MESSAGES_A_TURN = 64 };

typedef struct {
    lines_t *lines;
    int number;
    link_t *link;
    loop_watch_t *watch;
} line_t;

struct lines {
    loop_t *loop;
    lines_call_t call;
    void *context;
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
        self->call(self->context, line->number, &frames);
    }
    loop_again(self->loop);
}

static err_t connect_line(lines_t *self, const char *endpoint, bool insecure)
{
    if (!link_is_loopback(endpoint) && !insecure) {
        return err_set(
            ERR_CONFIG,
            "brokers: %s is beyond loopback and there are no keys; add --insecure true if the "
            "network is private",
            endpoint);
    }
    line_t *line = &self->items[self->n];
    *line = (line_t){.lines = self, .number = self->n};
    err_t err = link_connect(&line->link, endpoint);
    if (!err) {
        self->n++;
        line->watch = loop_watch_socket(self->loop, link_socket(line->link), on_messages, line);
    }
    return err;
}

err_t lines_open(lines_t **out, loop_t *loop, const config_t *config, lines_call_t call,
                 void *context)
{
    if (config->brokers.n == 0 || config->brokers.n > LINES_MAX) {
        return err_set(ERR_CONFIG, "brokers: name 1 to %d endpoints of brokers, not %d", LINES_MAX,
                       config->brokers.n);
    }
    lines_t *self = mem_zero(sizeof *self);
    self->loop = loop;
    self->call = call;
    self->context = context;
    err_t err = ERR_OK;
    for (int i = 0; i < config->brokers.n && !err; i++) {
        err = connect_line(self, config->brokers.items[i], config->insecure);
    }
    if (err) {
        lines_close(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

void lines_close(lines_t **self_ref)
{
    lines_t *self = *self_ref;
    if (self) {
        for (int i = 0; i < self->n; i++) {
            loop_unwatch(self->loop, &self->items[i].watch);
            link_destroy(&self->items[i].link);
        }
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

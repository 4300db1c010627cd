#include "scheduler/scheduler.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/link.h"
#include "common/log.h"
#include "common/loop.h"
#include "scheduler/core.h"

enum { MESSAGES_A_TURN = 64 };

typedef struct glue glue_t;
typedef struct {
    glue_t *glue;
    int number;
    link_t *link;
    loop_watch_t *watch;
} line_t;

struct glue {
    loop_t *loop;
    loop_timer_t *timer;
    zones_t *zones;
    scheduler_core_t *core;
    line_t lines[SCHEDULER_BROKERS_MAX];
    int lines_n;
};

static bool send_frames(void *context, int broker, frames_t *frames)
{
    glue_t *self = context;
    return link_send(self->lines[broker].link, NULL, frames);
}

static void on_messages(void *context)
{
    line_t *line = context;
    frames_t frames = {0};
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        if (!link_receive(line->link, NULL, &frames)) {
            return;
        }
        scheduler_core_receive(line->glue->core, line->number, &frames,
                               loop_now_ms(line->glue->loop));
    }
    loop_again(line->glue->loop);
}

static void on_timer(void *context)
{
    (void)context; /* it only wakes the loop: on_turn does the work */
}

static void on_turn(void *context)
{
    glue_t *self = context;
    scheduler_core_turn(self->core, loop_now_ms(self->loop));
    loop_timer_arm(self->timer, scheduler_core_next_at(self->core));
}

static void on_signal(void *context, int number)
{
    glue_t *self = context;
    if (number == SIGTERM || number == SIGINT) {
        log_info("scheduler.stopping", "signal=%s", strsignal(number));
        loop_stop(self->loop, 0);
    }
}

static err_t connect_brokers(glue_t *self, const config_t *config)
{
    if (config->brokers.n == 0 || config->brokers.n > SCHEDULER_BROKERS_MAX) {
        return err_set(ERR_CONFIG, "brokers: name 1 to %d frontends of brokers, not %d",
                       SCHEDULER_BROKERS_MAX, config->brokers.n);
    }
    for (int i = 0; i < config->brokers.n; i++) {
        const char *endpoint = config->brokers.items[i];
        if (!link_is_loopback(endpoint) && !config->insecure) {
            return err_set(
                ERR_CONFIG,
                "brokers: %s is beyond loopback and there are no keys; add --insecure if the "
                "network is private",
                endpoint);
        }
        self->lines[i] = (line_t){.glue = self, .number = i};
        err_t err = link_connect(&self->lines[i].link, endpoint);
        if (err) {
            return err;
        }
        self->lines_n = i + 1;
        self->lines[i].watch = loop_watch_socket(self->loop, link_socket(self->lines[i].link),
                                                 on_messages, &self->lines[i]);
    }
    return ERR_OK;
}

static err_t open_core(glue_t *self, const config_t *config)
{
    char name[65], host[129] = "";
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "scheduler-%d", (int)getpid());
    scheduler_options_t options = {.name = config->name[0] ? config->name : name,
                                   .host = host,
                                   .pid = (uint64_t)getpid(),
                                   .brokers_n = config->brokers.n,
                                   .heartbeat_ms = config->heartbeat};
    if (getrandom(options.incarnation, sizeof options.incarnation, 0) !=
        sizeof options.incarnation) {
        return err_set(ERR_INTERNAL, "getrandom: %s", strerror(errno));
    }
    scheduler_effects_t effects = {.context = self, .send = send_frames};
    self->zones = zones_new(NULL);
    self->core = scheduler_core_new(&options, self->zones, effects);
    return ERR_OK;
}

err_t scheduler_run(const config_t *config)
{
    glue_t self = {0};
    self.loop = loop_new();
    self.timer = loop_timer_new(self.loop, on_timer, &self);
    err_t err = connect_brokers(&self, config);
    if (!err) {
        err = open_core(&self, config);
    }
    if (!err) {
        loop_on_turn(self.loop, on_turn, &self);
        loop_on_signal(self.loop, on_signal, &self);
        log_info("scheduler.ready", "brokers=%d", self.lines_n);
        loop_run(self.loop);
        log_info("scheduler.stopped", "");
    }
    scheduler_core_destroy(&self.core);
    zones_destroy(&self.zones);
    for (int i = 0; i < self.lines_n; i++) {
        loop_unwatch(self.loop, &self.lines[i].watch);
        link_destroy(&self.lines[i].link);
    }
    loop_timer_destroy(&self.timer);
    loop_destroy(&self.loop);
    link_shutdown();
    return err;
}

#include "scheduler/scheduler.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "common/lines.h"
#include "common/link.h"
#include "common/log.h"
#include "common/loop.h"
#include "scheduler/core.h"

enum { DESCRIPTORS_MIN = 48 }; /* sockets to 16 brokers, ZeroMQ's own, files of zones */

typedef struct glue glue_t;
struct glue {
    loop_t *loop;
    loop_timer_t *timer;
    zones_t *zones;
    scheduler_core_t *core;
    lines_t *lines;
};

static bool send_frames(void *context, int broker, frames_t *frames)
{
    glue_t *self = context;
    return lines_send(self->lines, broker, frames);
}

static void on_message(void *context, int broker, frames_t *frames)
{
    glue_t *self = context;
    scheduler_core_receive(self->core, broker, frames, loop_now_ms(self->loop));
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

static err_t open_core(glue_t *self, const config_t *config)
{
    char host[129] = "";
    gethostname(host, sizeof host - 1);
    scheduler_options_t options = {.name = config->name,
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
    err_t err = descriptors_raise(DESCRIPTORS_MIN);
    if (!err) {
        err = lines_open(&self.lines, self.loop, WIRE_ROLE_SCHEDULER, config, on_message, &self);
    }
    if (!err) {
        err = open_core(&self, config);
    }
    if (!err) {
        loop_on_turn(self.loop, on_turn, &self);
        loop_on_signal(self.loop, on_signal, &self);
        log_info("scheduler.ready", "brokers=%d", lines_n(self.lines));
        loop_run(self.loop);
        log_info("scheduler.stopped", "");
    }
    scheduler_core_destroy(&self.core);
    zones_destroy(&self.zones);
    lines_close(&self.lines);
    loop_timer_destroy(&self.timer);
    loop_destroy(&self.loop);
    link_shutdown();
    return err;
}

#include "scheduler/core.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "scheduler/planner.h"

struct scheduler_core {
    scheduler_options_t options;
    char name[65], host[129];
    scheduler_effects_t effects;
    wire_arena_t *arena;
    planner_t *planner;
    struct {
        bool up, missed; /* missed: that it never answered has been said */
        int64_t heard_at;
    } brokers[SCHEDULER_BROKERS_MAX];
    int64_t beat_at;
    int64_t wall_offset; /* the store's wall clock less our monotonic one */
    uint64_t seq, revision;
    uint32_t schedules_n;
    int64_t now, opened_at; /* opened_at: of the first turn, 0 before it */
};

enum { START_MS = 3000, HELLO_AGAIN_MS = 20 };
static const int64_t wall_last = INT64_C(253402300799999); /* the year 9999 ends */

scheduler_core_t *scheduler_core_new(const scheduler_options_t *options, zones_t *zones,
                                     scheduler_effects_t effects)
{
    scheduler_core_t *self = mem_zero(sizeof *self);
    self->options = *options;
    str_copy(self->name, sizeof self->name, str_of(options->name));
    str_copy(self->host, sizeof self->host, str_of(options->host));
    self->effects = effects;
    self->arena = wire_arena_new();
    self->planner = planner_new(zones);
    return self;
}

void scheduler_core_destroy(scheduler_core_t **self_ref)
{
    scheduler_core_t *self = *self_ref;
    if (self) {
        planner_destroy(&self->planner);
        wire_arena_destroy(&self->arena);
        free(self);
        *self_ref = NULL;
    }
}

static bool say(scheduler_core_t *self, int broker, const msg_t *msg)
{
    frames_t frames = frames_of(msg, NULL);
    return self->effects.send(self->effects.context, broker, &frames);
}

static void hello(scheduler_core_t *self, int broker)
{
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.role = WIRE_ROLE_SCHEDULER,
                           .name = str_of(self->name),
                           .incarnation = str_bytes(self->options.incarnation, WIRE_PEER_N),
                           .store_id = str_of(""),
                           .host = str_of(self->host),
                           .pid = self->options.pid,
                           .version = str_of(STINT_VERSION)}};
    self->brokers[broker].up = false;
    bool young = self->now - self->opened_at < START_MS;
    if (!say(self, broker, &msg) && young) {
        self->beat_at = self->now + HELLO_AGAIN_MS; /* the connection is being made */
    }
}

static int live_broker(const scheduler_core_t *self)
{
    for (int i = 0; i < self->options.brokers_n; i++) {
        if (self->brokers[i].up) {
            return i;
        }
    }
    return -1;
}

static void ask(scheduler_core_t *self)
{
    int broker = live_broker(self);
    if (broker >= 0) {
        msg_t msg = {
            .type = MSG_SCHEDULES_GET,
            .schedules_get = {.scheduler = str_of(self->name), .revision = self->revision}};
        say(self, broker, &msg);
    }
}

/* -- messages
 * ------------------------------------------------------------------------------------------- */

static void on_schedules(scheduler_core_t *self, const msg_schedules_t *msg)
{
    if (msg->wall_at < 0 || msg->wall_at > wall_last) {
        log_warn("scheduler.clock_refused", "store_wall_at=%lld", (long long)msg->wall_at);
        return;
    }
    self->wall_offset = msg->wall_at - self->now;
    if (msg->revision == self->revision) {
        return;
    }
    planner_schedule_t *rows = mem_alloc(msg->schedules_n * sizeof *rows);
    char **texts = mem_alloc(msg->schedules_n * 3 * sizeof *texts);
    for (uint32_t i = 0; i < msg->schedules_n; i++) {
        const wire_schedule_t *from = &msg->schedules[i];
        char **of = texts + (size_t)i * 3;
        of[0] = mem_text_n(from->name.p, from->name.n);
        of[1] = mem_text_n(from->expression.p, from->expression.n);
        of[2] = mem_text_n(from->zone.p, from->zone.n);
        rows[i] = (planner_schedule_t){
            .name = of[0],
            .expression = of[1],
            .zone = of[2],
            .catch_up =
                from->catch_up <= PLANNER_ALL ? (planner_catch_up_t)from->catch_up : PLANNER_LAST,
            .last_tick_at = from->last_at,
            .revision = (int64_t)msg->revision,
            .paused = from->paused != 0,
        };
    }
    err_t err = planner_snapshot(self->planner, rows, msg->schedules_n, msg->wall_at);
    if (err) {
        log_error("scheduler.snapshot_refused", "error=%s detail=\"%s\"", err_code(err),
                  err_text());
    } else {
        self->revision = msg->revision;
        self->schedules_n = msg->schedules_n;
        log_info("scheduler.schedules", "revision=%llu n=%u broken=%zu",
                 (unsigned long long)msg->revision, msg->schedules_n,
                 planner_broken_n(self->planner));
        if (planner_broken_n(self->planner)) {
            log_warn("scheduler.schedule_not_understood", "detail=\"%s\"",
                     planner_broken_text(self->planner));
        }
    }
    for (uint32_t i = 0; i < msg->schedules_n * 3; i++) {
        free(texts[i]);
    }
    free(texts);
    free(rows);
}

static void on_tick_ok(scheduler_core_t *self, const msg_tick_ok_t *msg)
{
    char name[129], text[129];
    str_copy(name, sizeof name, msg->schedule);
    str_copy(text, sizeof text, msg->text);
    switch (msg->outcome) {
    case TICK_FIRED:
        planner_answer(self->planner, name, msg->nominal_at, PLANNER_ACCEPTED);
        log_info("scheduler.fired", "schedule=%s job=%llu", name, (unsigned long long)msg->job);
        break;
    case TICK_DUPLICATE:
        planner_answer(self->planner, name, msg->nominal_at, PLANNER_DUPLICATE);
        break;
    case TICK_STALE_REVISION:
        planner_answer(self->planner, name, msg->nominal_at, PLANNER_REFUSED);
        self->revision = 0;
        ask(self);
        break;
    default:
        if (planner_answer(self->planner, name, msg->nominal_at, PLANNER_REFUSED)) {
            log_info("scheduler.refused", "schedule=%s why=\"%s\"", name, text);
            self->revision = 0; /* what we know of it is not what the store has */
        }
        break;
    }
}

void scheduler_core_receive(scheduler_core_t *self, int broker, frames_t *frames, int64_t now_ms)
{
    self->now = now_ms;
    msg_t msg;
    err_t err = wire_decode(self->arena, blob_data(frames->head), blob_n(frames->head), &msg);
    if (!err) {
        self->brokers[broker].heard_at = now_ms;
        if (msg.type == MSG_HELLO_OK && !self->brokers[broker].up) {
            self->brokers[broker].up = true;
            ask(self);
        } else if (msg.type == MSG_RECONNECT) {
            hello(self, broker);
        } else if (msg.type == MSG_SCHEDULES) {
            on_schedules(self, &msg.schedules);
        } else if (msg.type == MSG_TICK_OK) {
            on_tick_ok(self, &msg.tick_ok);
        } else if (msg.type == MSG_SCHEDULES_CHANGED &&
                   msg.schedules_changed.revision != self->revision) {
            ask(self);
        }
    }
    frames_free(frames);
}

/* -- the turn
 * ------------------------------------------------------------------------------------------- */

static void emit(void *context, const planner_tick_t *tick)
{
    scheduler_core_t *self = context;
    int broker = live_broker(self);
    if (broker < 0) {
        return; /* offered again */
    }
    msg_t msg = {.type = MSG_TICK,
                 .tick = {.scheduler = str_of(self->name),
                          .revision = (uint64_t)tick->revision,
                          .schedule = str_of(tick->schedule),
                          .nominal_at = tick->nominal_at}};
    say(self, broker, &msg);
}

static void beat(scheduler_core_t *self)
{
    self->beat_at = self->now + self->options.heartbeat_ms;
    self->seq++;
    for (int i = 0; i < self->options.brokers_n; i++) {
        if (self->brokers[i].up &&
            self->now - self->brokers[i].heard_at > 3 * self->options.heartbeat_ms) {
            log_warn("scheduler.broker_silent", "broker=%d", i);
            self->brokers[i].up = false;
        }
        if (!self->brokers[i].heard_at && !self->brokers[i].missed && self->opened_at &&
            self->now - self->opened_at > 3 * self->options.heartbeat_ms) {
            self->brokers[i].missed = true;
            log_warn("scheduler.broker_unreached",
                     "broker=%d detail=\"no answer yet; see --brokers\"", i);
        }
        if (self->brokers[i].up) {
            msg_t ping = {.type = MSG_PING, .ping = {.seq = self->seq}};
            say(self, i, &ping);
        } else {
            hello(self, i);
        }
    }
    ask(self);
}

void scheduler_core_turn(scheduler_core_t *self, int64_t now_ms)
{
    self->now = now_ms;
    self->opened_at = self->opened_at ? self->opened_at : now_ms;
    if (now_ms >= self->beat_at) {
        beat(self);
    }
    if (self->schedules_n > 0) {
        planner_due(self->planner, now_ms + self->wall_offset, emit, self);
    }
}

int64_t scheduler_core_next_at(const scheduler_core_t *self)
{
    int64_t due = self->schedules_n ? planner_next_at(self->planner) : INT64_MAX;
    if (due != INT64_MAX) {
        due -= self->wall_offset;
    }
    return due < self->beat_at ? due : self->beat_at;
}

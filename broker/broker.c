#include "broker/broker.h"

#include <stdlib.h>
#include <string.h>

#include "broker/connections.h"
#include "broker/door.h"
#include "broker/gate.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/keys.h"
#include "common/link.h"
#include "common/log.h"

enum {
    DRAIN_MAX = 64 /* messages of a socket in one turn: enough to pay for the poll, fair to the
                      other side */
};

struct broker {
    loop_t *loop;
    broker_core_t *core;
    gate_t *gate; /* NULL: plain sockets */
    connections_t *connections;
    log_quota_t hello_refused;
    link_t *links[2]; /* by side */
    uint64_t cut_n;   /* messages of who may not be here */
    loop_watch_t *watches[2];
    loop_timer_t *timer;
    door_t *door;
};

static bool send_effect(void *context, broker_side_t side, const link_id_t *to, frames_t *frames)
{
    broker_t *self = context;
    return link_send(self->links[side], to, frames);
}

static void note_effect(void *context, const char *what, const peer_t *peer)
{
    const broker_t *self = context;
    log_info("broker.peer", "what=%s role=%s name=\"%s\"", what, keys_role_name(peer->role),
             peer->name);
    if (strcmp(what, "joined") == 0) {
        connections_claim(self->connections, &peer->link);
    } else {
        connections_release(self->connections, &peer->link);
    }
}

static bool admit_effect(void *context, const link_id_t *from, uint64_t role, const char *name)
{
    broker_t *self = context;
    bool admitted = gate_admits(self->gate, from->key, role, name);
    if (!admitted && gate_knows(self->gate, from->key) &&
        log_quota(&self->hello_refused, "broker.hello_refused", loop_now_ms(self->loop))) {
        log_warn("broker.hello_refused",
                 "role=%s name=\"%s\" key_of=\"%s\" detail=\"the key is not "
                 "for this\"",
                 keys_role_name(role), name, gate_name(self->gate, from->key));
    }
    return admitted;
}

static void on_keys_changed(void *context)
{
    broker_t *self = context;
    if (self->core) {
        broker_core_review(self->core, loop_now_ms(self->loop));
        connections_cut_unclaimed(self->connections);
    }
}

void broker_reload_keys(broker_t *self)
{
    if (self->gate) {
        gate_reload(self->gate);
    }
}

static void drain(broker_t *self, broker_side_t side)
{
    link_id_t from;
    frames_t frames;
    int n = 0;
    while (n < DRAIN_MAX && link_receive(self->links[side], &from, &frames)) {
        n++;
        if (self->gate && (from.chosen || !gate_knows(self->gate, from.key))) {
            self->cut_n++;
            frames_free(&frames);
            link_cut(&from);
            continue;
        }
        broker_core_receive(self->core, side, &from, &frames, loop_now_ms(self->loop));
    }
    if (n == DRAIN_MAX) {
        loop_again(self->loop);
    }
}

static void drain_frontend(void *context)
{
    drain(context, BROKER_FRONTEND);
}

static void drain_backend(void *context)
{
    drain(context, BROKER_BACKEND);
}

static void wake(void *context)
{
    (void)context; /* the turn does it */
}

static void turn(void *context)
{
    broker_t *self = context;
    broker_core_turn(self->core, loop_now_ms(self->loop));
    int64_t next = broker_core_next_at(self->core);
    if (next == INT64_MAX) {
        loop_timer_disarm(self->timer);
    } else {
        loop_timer_arm(self->timer, next);
    }
}

static err_t bind_tested(broker_t *self, broker_side_t side)
{
    static const char *const domains[] = {GATE_FRONTEND, GATE_BACKEND};
    err_t err = link_bind_curve(&self->links[side], "tcp://127.0.0.1:*", gate_curve(self->gate),
                                domains[side]);
    return err ? err : gate_test(self->gate, link_endpoint(self->links[side]));
}

/* First where nobody comes: with keys they are tested, and connections are watched from the first
 * one on. Then they move to their places. */
static err_t bind_all(broker_t *self, const broker_settings_t *settings)
{
    const char *const endpoints[] = {settings->frontend, settings->backend};
    static const char *const names[] = {"frontend", "backend"};
    err_t err = ERR_OK;
    for (int side = 0; side < 2 && !err; side++) {
        err = self->gate ? bind_tested(self, (broker_side_t)side)
                         : link_bind(&self->links[side], "tcp://127.0.0.1:*");
    }
    if (!err) {
        self->connections = connections_new(self->loop, self->links, settings->core.heartbeat_ms,
                                            self->gate != NULL);
    }
    for (int side = 0; side < 2 && !err; side++) {
        err = link_move(self->links[side], endpoints[side]);
        err = err ? err_context(err, "%s", names[side]) : ERR_OK;
    }
    return err;
}

err_t broker_open(broker_t **out, loop_t *loop, const broker_settings_t *settings)
{
    broker_t *self = mem_zero(sizeof *self);
    self->loop = loop;
    err_t err = ERR_OK;
    if (settings->keys && *settings->keys) {
        err = gate_open(&self->gate, loop, settings->keys, on_keys_changed, self);
    }
    if (!err) {
        err = bind_all(self, settings);
    }
    if (err) {
        goto failed;
    }
    self->core = broker_core_new(&settings->core,
                                 (broker_effects_t){.context = self,
                                                    .send = send_effect,
                                                    .admit = self->gate ? admit_effect : NULL,
                                                    .note = note_effect});
    self->watches[0] =
        loop_watch_socket(loop, link_socket(self->links[BROKER_FRONTEND]), drain_frontend, self);
    self->watches[1] =
        loop_watch_socket(loop, link_socket(self->links[BROKER_BACKEND]), drain_backend, self);
    self->timer = loop_timer_new(loop, wake, self);
    self->door = door_new(loop, self->links);
    loop_on_turn(loop, turn, self);
    *out = self;
    return ERR_OK;
failed:
    broker_destroy(&self);
    return err;
}

void broker_destroy(broker_t **self)
{
    broker_t *broker = *self;
    if (!broker) {
        return;
    }
    if (broker->core) {
        loop_on_turn(broker->loop, NULL, NULL);
    }
    door_destroy(&broker->door);
    connections_destroy(&broker->connections);
    loop_timer_destroy(&broker->timer);
    for (int side = 0; side < 2; side++) {
        loop_unwatch(broker->loop, &broker->watches[side]);
        link_destroy(&broker->links[side]);
    }
    gate_close(&broker->gate);
    broker_core_destroy(&broker->core);
    free(broker);
    *self = NULL;
}

const char *broker_endpoint(const broker_t *self, broker_side_t side)
{
    return link_endpoint(self->links[side]);
}

void broker_log_counters(const broker_t *self)
{
    const broker_counters_t *c = broker_core_counters(self->core);
    unsigned long long garbage =
        c->garbage + link_garbage_n(self->links[0]) + link_garbage_n(self->links[1]);
    log_info("broker.counters",
             "peers=%u received=%llu routed=%llu dispatched=%llu undeliverable=%llu strangers=%llu "
             "garbage=%llu hello_refused=%llu unsupported=%llu ignored=%llu no_store=%llu "
             "no_peer=%llu dropped=%llu cut=%llu",
             broker_core_peers_n(self->core), (unsigned long long)c->received,
             (unsigned long long)c->routed, (unsigned long long)c->dispatched,
             (unsigned long long)c->undeliverable, (unsigned long long)c->strangers, garbage,
             (unsigned long long)c->hello_refused, (unsigned long long)c->unsupported,
             (unsigned long long)c->ignored, (unsigned long long)c->no_store,
             (unsigned long long)c->no_peer, (unsigned long long)c->dropped,
             (unsigned long long)(self->cut_n + connections_cut_n(self->connections)));
}

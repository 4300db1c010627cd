/* A scheduler core in the simulated network. It keeps nothing, so a crash is the end of it. */
#include <stdio.h>
#include <stdlib.h>

#include "common/buffer.h"
#include "scheduler/core.h"
#include "tests/sim/sim.h"

typedef struct {
    zones_t *zones;
    scheduler_core_t *core;
} scheduler_t;

static bool send_frames(void *context, int broker, frames_t *frames)
{
    return sim_to_broker(context, broker, frames);
}

static void start(node_t *node)
{
    scheduler_t *self = mem_zero(sizeof *self);
    char name[32];
    snprintf(name, sizeof name, "s%d", node->index);
    scheduler_options_t options = {
        .name = name, .host = "sim", .brokers_n = SIM_BROKERS, .heartbeat_ms = SIM_HEARTBEAT};
    for (size_t i = 0; i < sizeof options.incarnation; i++) {
        options.incarnation[i] = (uint8_t)sim_random(node->sim, 256);
    }
    scheduler_effects_t effects = {.context = node, .send = send_frames};
    self->zones = zones_new(NULL);
    self->core = scheduler_core_new(&options, self->zones, effects);
    node->self = self;
}

static void crash(node_t *node)
{
    scheduler_t *self = node->self;
    scheduler_core_destroy(&self->core);
    zones_destroy(&self->zones);
    free(self);
    node->self = NULL;
}

static void receive(node_t *node, int broker, const link_id_t *from, bool backend, frames_t *frames)
{
    (void)from;
    (void)backend;
    scheduler_core_receive(((scheduler_t *)node->self)->core, broker, frames, node->sim->now);
}

static void turn(node_t *node)
{
    scheduler_core_turn(((scheduler_t *)node->self)->core, node->sim->now);
}

static int64_t next_at(node_t *node)
{
    return scheduler_core_next_at(((scheduler_t *)node->self)->core);
}

static void end(node_t *node)
{
    (void)node;
}

const room_t sim_scheduler_room = {start, crash, receive, turn, next_at, end};

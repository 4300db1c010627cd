/* A broker core in the simulated network. It keeps nothing, so a crash is the end of it. */
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "tests/sim/sim.h"

static bool send_frames(void *context, broker_side_t side, const link_id_t *to, frames_t *frames)
{
    (void)side;
    return sim_to_client(context, to, frames);
}

static void start(node_t *node)
{
    broker_options_t options = {.heartbeat_ms = SIM_HEARTBEAT,
                                .test_duplicate = sim_chance(node->sim, 100)};
    for (size_t i = 0; i < sizeof options.incarnation; i++) {
        options.incarnation[i] = (uint8_t)sim_random(node->sim, 256);
    }
    broker_effects_t effects = {.context = node, .send = send_frames};
    node->self = broker_core_new(&options, effects);
}

static void crash(node_t *node)
{
    broker_core_t *core = node->self;
    broker_core_destroy(&core);
    node->self = NULL;
}

static void receive(node_t *node, int broker, const link_id_t *from, bool backend, frames_t *frames)
{
    (void)broker;
    broker_core_receive(node->self, backend ? BROKER_BACKEND : BROKER_FRONTEND, from, frames,
                        node->sim->now);
}

static void turn(node_t *node)
{
    broker_core_turn(node->self, node->sim->now);
}

static int64_t next_at(node_t *node)
{
    return broker_core_next_at(node->self);
}

static void end(node_t *node)
{
    (void)node;
}

const room_t sim_broker_room = {start, crash, receive, turn, next_at, end};

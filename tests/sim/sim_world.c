/* Time, network and faults. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/heap.h"
#include "common/random.h"
#include "tests/sim/sim.h"

typedef struct {
    int64_t at;
    uint64_t order; /* first in, first out at the same instant */
    heap_slot_t slot;
    node_t *to;
    uint32_t life;
    sim_call_t call; /* NULL: frames */
    uint64_t a, b;
    frames_t frames;
    int broker; /* the broker it came through */
    bool backend;
    link_id_t from;
} event_t;

struct event_queue {
    heap_t heap;
    uint64_t order;
};

uint64_t sim_random(sim_t *sim, uint64_t below)
{
    return random_below(&sim->random, below);
}

bool sim_chance(sim_t *sim, unsigned per_thousand)
{
    return sim_random(sim, 1000) < per_thousand;
}

int64_t sim_wall(const sim_t *sim)
{
    return sim->wall_base + sim->now;
}

node_t *sim_node(sim_t *sim, node_kind_t kind, int index)
{
    for (int i = 0; i < SIM_NODES; i++) {
        if (sim->nodes[i].kind == kind && sim->nodes[i].index == index) {
            return &sim->nodes[i];
        }
    }
    sim_fail(sim, "no node %d of kind %d", index, (int)kind);
}

void sim_trace(sim_t *sim, const char *format, ...)
{
    if (sim->trace) {
        va_list args;
        va_start(args, format);
        fprintf(stderr, "%8lld ", (long long)sim->now);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
    }
}

/* -- events
 * --------------------------------------------------------------------------------------------- */

static bool before(const void *a, const void *b)
{
    const event_t *x = a, *y = b;
    return x->at != y->at ? x->at < y->at : x->order < y->order;
}

static event_t *post(sim_t *sim, node_t *to, int64_t at)
{
    event_t *event = mem_zero(sizeof *event);
    event->at = at;
    event->order = sim->queue->order++;
    event->to = to;
    event->life = to->life;
    return event;
}

void sim_later(node_t *node, int64_t at, sim_call_t call, uint64_t a, uint64_t b)
{
    event_t *event = post(node->sim, node, at);
    event->call = call;
    event->a = a;
    event->b = b;
    heap_add(&node->sim->queue->heap, event);
}

static int64_t delay(sim_t *sim)
{
    if (sim->calm) {
        return 1;
    }
    return sim_chance(sim, 20) ? (int64_t)sim_random(sim, 3000) : 1 + (int64_t)sim_random(sim, 4);
}

/* One message over the line between a client and a broker; late, twice, or never. */
static void fly(node_t *from, node_t *to, const event_t *like, frames_t *frames)
{
    sim_t *sim = from->sim;
    int client = from->kind == NODE_BROKER ? to->number : from->number;
    int broker = from->kind == NODE_BROKER ? from->index : to->index;
    bool lost = sim->cut[client][broker] || !to->up || (!sim->calm && sim_chance(sim, 15));
    int copies = lost ? 0 : !sim->calm && sim_chance(sim, 15) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        event_t *event = post(sim, to, sim->now + delay(sim));
        event->frames = frames_copy(frames);
        event->broker = broker;
        event->backend = like->backend;
        event->from = like->from;
        heap_add(&sim->queue->heap, event);
    }
    frames_free(frames);
}

bool sim_to_broker(node_t *from, int broker, frames_t *frames)
{
    node_t *to = sim_node(from->sim, NODE_BROKER, broker);
    event_t like = {.backend = from->kind == NODE_WORKER};
    /* A connection is named by its client and the lives of both ends. */
    like.from.n = 12;
    memcpy(like.from.bytes, &from->number, 4);
    memcpy(like.from.bytes + 4, &from->life, 4);
    memcpy(like.from.bytes + 8, &to->life, 4);
    if (!to->up) {
        frames_free(frames);
        return false; /* IMMEDIATE: nobody is connected */
    }
    fly(from, to, &like, frames);
    return true;
}

bool sim_to_client(node_t *from, const link_id_t *to_id, frames_t *frames)
{
    sim_t *sim = from->sim;
    int number;
    uint32_t life, own;
    memcpy(&number, to_id->bytes, 4);
    memcpy(&life, to_id->bytes + 4, 4);
    memcpy(&own, to_id->bytes + 8, 4);
    node_t *to = &sim->nodes[number];
    if (!to->up || to->life != life || own != from->life) {
        frames_free(frames);
        return false; /* ROUTER_MANDATORY: no such connection */
    }
    event_t like = {0};
    fly(from, to, &like, frames);
    return true;
}

/* -- nodes
 * ---------------------------------------------------------------------------------------------- */

static const room_t *room_of(const node_t *node)
{
    static const room_t *const rooms[] = {&sim_api_room, &sim_broker_room, &sim_worker_room,
                                          &sim_scheduler_room};
    return rooms[node->kind];
}

static void start(node_t *node)
{
    node->up = true;
    node->life++;
    node->paused_until = 0;
    sim_trace(node->sim, "START kind %d #%d", (int)node->kind, node->index);
    room_of(node)->start(node);
}

static void crash(node_t *node)
{
    if (node->up) {
        sim_trace(node->sim, "KILL kind %d #%d", (int)node->kind, node->index);
        room_of(node)->crash(node);
        node->up = false;
        node->start_at = node->sim->now + 20 + (int64_t)sim_random(node->sim, 3000);
    }
}

static void deliver(sim_t *sim, event_t *event)
{
    node_t *to = event->to;
    if (!to->up || to->life != event->life) {
        frames_free(&event->frames);
        free(event);
        return;
    }
    if (to->paused_until > sim->now) {
        event->at = to->paused_until;
        heap_add(&sim->queue->heap, event);
        return;
    }
    if (event->call) {
        event->call(to, event->a, event->b);
    } else {
        room_of(to)->receive(to, event->broker, &event->from, event->backend, &event->frames);
    }
    room_of(to)->turn(to);
    free(event);
}

/* The next thing that happens: an event, a node's own wish, or the end of a pause. */
static int64_t next_time(sim_t *sim)
{
    const event_t *event = heap_top(&sim->queue->heap);
    int64_t next = event ? event->at : INT64_MAX;
    for (int i = 0; i < SIM_NODES; i++) {
        node_t *node = &sim->nodes[i];
        int64_t at = node->up ? room_of(node)->next_at(node) : node->start_at;
        at = node->up && at < node->paused_until ? node->paused_until : at;
        next = at < next ? at : next;
    }
    return next;
}

static void run_until(sim_t *sim, int64_t end, bool stop_when_done)
{
    int same = 0;
    int64_t watch_at = sim->now;
    for (;;) {
        int64_t next = next_time(sim);
        if (next > end) {
            sim->now = end;
            return;
        }
        same = next <= sim->now ? same + 1 : 0;
        if (same > 200000) {
            sim_fail(sim, "busy loop at %lld", (long long)sim->now);
        }
        sim->now = next > sim->now ? next : sim->now;
        for (event_t *event; (event = heap_top(&sim->queue->heap)) && event->at <= sim->now;) {
            heap_remove(&sim->queue->heap, event);
            deliver(sim, event);
        }
        for (int i = 0; i < SIM_NODES; i++) {
            node_t *node = &sim->nodes[i];
            if (!node->up && node->start_at <= sim->now) {
                start(node);
            } else if (node->up && node->paused_until <= sim->now &&
                       room_of(node)->next_at(node) <= sim->now) {
                room_of(node)->turn(node);
            }
        }
        if (sim->now >= watch_at) {
            watch_at = sim->now + 200;
            sim_api_watch(sim);
            if (stop_when_done && sim_api_all_ended(sim)) {
                return;
            }
        }
    }
}

/* -- faults
 * --------------------------------------------------------------------------------------------- */

static void one_fault(sim_t *sim)
{
    node_t *victim = &sim->nodes[sim_random(sim, SIM_NODES)];
    int broker = (int)sim_random(sim, SIM_BROKERS);
    switch (sim_random(sim, 10)) {
    case 0:
    case 1:
    case 2:
        crash(victim);
        break;
    case 3:
    case 4:
        if (victim->up) {
            victim->paused_until = sim->now + 100 + (int64_t)sim_random(sim, 15000);
            sim_trace(sim, "STOP kind %d #%d", (int)victim->kind, victim->index);
        }
        break;
    case 5:
    case 6:
        if (victim->kind != NODE_BROKER) {
            sim->cut[victim->number][broker] = true;
            sim_trace(sim, "CUT kind %d #%d from broker %d", (int)victim->kind, victim->index,
                      broker);
        }
        break;
    case 7:
        sim_api_disk(sim, true);
        break;
    case 8:
        sim_api_cancel(sim);
        break;
    default:
        if (sim_chance(sim, 300)) {
            sim_api_restore(sim);
        } else {
            sim_api_backup(sim);
        }
        break;
    }
    for (int i = 0; i < SIM_NODES; i++) {
        for (int b = 0; b < SIM_BROKERS; b++) {
            sim->cut[i][b] = sim->cut[i][b] && !sim_chance(sim, 300);
        }
    }
    if (sim_chance(sim, 500)) {
        sim_api_disk(sim, false);
    }
}

static void all_well(sim_t *sim)
{
    sim->calm = true;
    memset(sim->cut, 0, sizeof sim->cut);
    sim_api_disk(sim, false);
    for (int i = 0; i < SIM_NODES; i++) {
        sim->nodes[i].paused_until = 0;
    }
    sim_trace(sim, "CALM");
}

static void set_up(sim_t *sim, uint64_t seed)
{
    sim->seed = sim->random = seed;
    sim->wall_base = 1767225590000; /* ten seconds before a multiple of five minutes */
    sim->trace = getenv("STINT_SIM_TRACE") != NULL;
    sim->queue = mem_zero(sizeof *sim->queue);
    heap_init(&sim->queue->heap, offsetof(event_t, slot), before);
    journal_open(sim);
    static const int counts[] = {1, SIM_BROKERS, SIM_WORKERS, SIM_SCHEDULERS};
    int number = 0;
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < counts[kind]; i++, number++) {
            sim->nodes[number] =
                (node_t){.sim = sim, .kind = (node_kind_t)kind, .index = i, .number = number};
            start(&sim->nodes[number]);
        }
    }
}

static void tear_down(sim_t *sim)
{
    for (int i = 0; i < SIM_NODES; i++) {
        if (sim->nodes[i].up) {
            room_of(&sim->nodes[i])->crash(&sim->nodes[i]);
        }
        room_of(&sim->nodes[i])->end(&sim->nodes[i]);
    }
    for (event_t *event; (event = heap_top(&sim->queue->heap));) {
        heap_remove(&sim->queue->heap, event);
        frames_free(&event->frames);
        free(event);
    }
    heap_free(&sim->queue->heap);
    free(sim->queue);
    journal_close(sim);
}

void sim_run(uint64_t seed)
{
    sim_t *sim = mem_zero(sizeof *sim);
    set_up(sim, seed);
    int64_t end = 20000 + (int64_t)sim_random(sim, 40000);
    while (sim->now < end) {
        if (sim_chance(sim, 400)) {
            sim_api_submit(sim);
        }
        if (sim_chance(sim, 500)) {
            one_fault(sim);
        }
        run_until(sim, sim->now + 200 + (int64_t)sim_random(sim, 1500), false);
    }
    all_well(sim);
    /* Everything ends: limited batches may need a few windows of the rate, lost leases their time.
     */
    run_until(sim, sim->now + 900000, true);
    if (!sim_api_all_ended(sim)) {
        sim_fail(sim, "after the faults not every job came to an end");
    }
    /* What was on its way to a stopped process may still arrive, start something stale, and be told
     * to stop. */
    run_until(sim, sim->now + 20000, false);
    sim_api_count(sim);
    for (int i = 0; i < SIM_WORKERS; i++) {
        node_t *worker = sim_node(sim, NODE_WORKER, i);
        if (worker->up && sim_worker_busy(worker)) {
            sim_fail(sim, "worker %d still runs what nobody wants: no STOP came", i);
        }
    }
    tear_down(sim);
    free(sim);
}

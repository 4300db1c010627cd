#include "broker/core_inside.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"

enum {
    SILENT_HEARTBEATS = 3,
    HELLOS_A_TURN = 256, /* passed on to a new store: a burst of all would overflow its queue */
    RETRY_MS = 10,       /* until what a full store did not take is offered again */
};

str_t broker_own(const broker_core_t *self)
{
    return str_bytes(self->options.incarnation, WIRE_PEER_N);
}

broker_core_t *broker_core_new(const broker_options_t *options, broker_effects_t effects)
{
    broker_core_t *self = mem_zero(sizeof *self);
    self->options = *options;
    self->effects = effects;
    uint64_t seed = 0;
    memcpy(&seed, options->incarnation, sizeof seed);
    self->roster = roster_new(SILENT_HEARTBEATS * options->heartbeat_ms, seed);
    self->dispatch = dispatch_new();
    self->arena = wire_arena_new();
    return self;
}

void broker_core_destroy(broker_core_t **self)
{
    if (*self) {
        roster_destroy(&(*self)->roster);
        dispatch_destroy(&(*self)->dispatch);
        wire_arena_destroy(&(*self)->arena);
        free(*self);
        *self = NULL;
    }
}

const broker_counters_t *broker_core_counters(const broker_core_t *self)
{
    return &self->counters;
}

uint32_t broker_core_peers_n(const broker_core_t *self)
{
    return roster_n(self->roster);
}

/* -- sending
 * ------------------------------------------------------------------------------------------- */

static bool send_frames(broker_core_t *self, const peer_t *to, frames_t *frames)
{
    bool sent = self->effects.send(self->effects.context, to->side, &to->link, frames);
    self->counters.dropped += !sent;
    return sent;
}

bool broker_send(broker_core_t *self, const peer_t *to, const msg_t *msg)
{
    frames_t frames = frames_of(msg, NULL);
    return send_frames(self, to, &frames);
}

/* To a connection that may belong to nobody we know. */
static void answer(broker_core_t *self, broker_side_t side, const link_id_t *to, const msg_t *msg)
{
    peer_t stranger = {.side = side, .link = *to};
    broker_send(self, &stranger, msg);
}

void broker_note(broker_core_t *self, const char *what, const peer_t *peer)
{
    if (self->effects.note) {
        self->effects.note(self->effects.context, what, peer);
    }
}

/* The clock that stands still while this process does. */
int64_t broker_awake_ms(const broker_core_t *self, int64_t now_ms)
{
    return now_ms - self->asleep_ms;
}

void broker_forget(broker_core_t *self, peer_t *peer, const char *why, int64_t now_ms)
{
    broker_note(self, why, peer);
    if (self->store == peer) {
        self->store = NULL;
    }
    roster_forget(self->roster, peer, broker_awake_ms(self, now_ms));
}

bool broker_pass_to_store(broker_core_t *self, const peer_t *from, frames_t *frames)
{
    if (!self->store) {
        self->counters.no_store++;
        frames_free(frames);
        return false;
    }
    frames_route(frames, from->incarnation, WIRE_PEER_N);
    self->counters.routed++;
    return send_frames(self, self->store, frames);
}

bool broker_tell_store(broker_core_t *self, peer_t *worker)
{
    frames_t hello = {.head = blob_ref(worker->hello)};
    bool sent = broker_pass_to_store(self, worker, &hello);
    if (sent) {
        roster_told(self->roster, worker);
    }
    return sent;
}

static void send_capacity(broker_core_t *self)
{
    msg_t msg = {.type = MSG_CAPACITY};
    msg.capacity_is.seq = ++self->capacity_seq;
    bool counted = memcmp(self->numbered, self->store->incarnation, WIRE_PEER_N) == 0;
    msg.capacity_is.broker = broker_own(self);
    msg.capacity_is.dispatches_seen = counted ? self->number : 0;
    msg.capacity_is.groups_n = dispatch_capacity(self->dispatch, &msg.capacity_is.groups);
    self->capacity_due = !broker_send(self, self->store, &msg);
}

/* -- messages of peers
 * --------------------------------------------------------------------------------- */

bool broker_decode(broker_core_t *self, const frames_t *frames, msg_t *out)
{
    if (wire_decode(self->arena, blob_data(frames->head), blob_n(frames->head), out)) {
        self->counters.garbage++;
        return false;
    }
    return true;
}

static void reconnect(broker_core_t *self, broker_side_t side, const link_id_t *to,
                      const char *reason)
{
    msg_t msg = {.type = MSG_RECONNECT, .reconnect.reason = str_of(reason)};
    self->counters.strangers++;
    answer(self, side, to, &msg);
}

static void receive_ping(broker_core_t *self, peer_t *peer, const frames_t *frames, int64_t now_ms)
{
    msg_t msg;
    if (!broker_decode(self, frames, &msg)) {
        return;
    }
    if (peer->role == WIRE_ROLE_API && !self->store) {
        /* It was replaced, and the one that did it is gone: it may be the store again, if it says
         * so. */
        reconnect(self, peer->side, &peer->link, "there is no store");
        return;
    }
    roster_heard(peer, broker_awake_ms(self, now_ms));
    msg_t pong = {.type = MSG_PONG, .pong = {.seq = msg.ping.seq, .broker = broker_own(self)}};
    broker_send(self, peer, &pong);
    if (self->store == peer) {
        self->capacity_due = true;
    }
}

static void receive_tickets(broker_core_t *self, peer_t *peer, const frames_t *frames,
                            int64_t now_ms)
{
    msg_t msg;
    if (broker_decode(self, frames, &msg)) {
        roster_heard(peer, broker_awake_ms(self, now_ms));
        dispatch_worker_tickets(peer->tickets, &msg.tickets, now_ms);
        msg_t pong = {.type = MSG_PONG,
                      .pong = {.seq = msg.tickets.seq, .broker = broker_own(self)}};
        broker_send(self, peer, &pong);
    }
}

static bool send_to_worker(broker_core_t *self, peer_t *worker, uint64_t ticket, frames_t *frames)
{
    if (self->options.test_duplicate) {
        frames_t twin = frames_copy(frames);
        send_frames(self, worker, &twin);
    }
    bool sent = send_frames(self, worker, frames);
    if (!sent) {
        /* Full or gone: its other tickets would fare no better until it speaks again. */
        dispatch_worker_suspend(worker->tickets);
        if (!self->options.test_duplicate) {
            dispatch_worker_unsent(worker->tickets, ticket);
        }
    }
    return sent || self->options.test_duplicate;
}

/* P16: what is meant for another life of this broker, or has been here, must not take a (second)
 * ticket, and must not be answered either: UNDELIVERABLE would be a lie about the first copy. */
static bool is_new(broker_core_t *self, const peer_t *api, const msg_dispatch_t *dispatch)
{
    if (!str_equal(dispatch->broker, broker_own(self))) {
        return false;
    }
    if (memcmp(self->numbered, api->incarnation, WIRE_PEER_N) != 0) {
        memcpy(self->numbered, api->incarnation, WIRE_PEER_N);
        self->number = 0;
    }
    if (dispatch->number <= self->number) {
        return false;
    }
    self->number = dispatch->number;
    return true;
}

static void receive_dispatch(broker_core_t *self, peer_t *api, frames_t *frames, int64_t now_ms)
{
    msg_t msg;
    if (!broker_decode(self, frames, &msg)) {
        return;
    }
    const msg_dispatch_t *dispatch = &msg.dispatch;
    if (self->store == api && !is_new(self, api, dispatch)) {
        self->counters.ignored++;
        return;
    }
    uint64_t ticket = 0;
    /* An api that was replaced is not the store: nothing of it may start. */
    peer_t *worker = self->store == api ? dispatch_match(self->dispatch, dispatch->task,
                                                         dispatch->items_n, now_ms, &ticket)
                                        : NULL;
    if (worker) {
        uint8_t route[8];
        wire_ticket_put(route, ticket);
        frames_route(frames, route, sizeof route);
        if (send_to_worker(self, worker, ticket, frames)) {
            self->counters.dispatched++;
            return;
        }
    }
    msg_t refusal = {.type = MSG_UNDELIVERABLE};
    refusal.undeliverable.batch = dispatch->batch;
    refusal.undeliverable.attempt = dispatch->attempt;
    refusal.undeliverable.seq = self->capacity_seq;
    refusal.undeliverable.broker = broker_own(self);
    self->counters.undeliverable++;
    broker_send(self, api, &refusal);
    /* The store waits for a newer CAPACITY now: give it one in this turn. */
    self->capacity_due = true;
}

static void pass_to_peer(broker_core_t *self, frames_t *frames)
{
    const peer_t *peer =
        frames->route_n == WIRE_PEER_N ? roster_by_incarnation(self->roster, frames->route) : NULL;
    if (!peer || !peer->known || peer->role == WIRE_ROLE_API) {
        self->counters.no_peer++;
        return;
    }
    frames->route_n = 0;
    self->counters.routed++;
    send_frames(self, peer, frames);
}

/* -- who may send what
 * --------------------------------------------------------------------------------- */

static void receive_from_worker(broker_core_t *self, peer_t *peer, msg_type_t type,
                                frames_t *frames, int64_t now_ms)
{
    switch ((int)type) {
    case MSG_TICKETS:
        receive_tickets(self, peer, frames, now_ms);
        break;
    case MSG_BYE:
        broker_receive_bye(self, peer, frames, now_ms);
        break;
    case MSG_RESULT:
    case MSG_FAILURE:
    case MSG_REFUSED:
    case MSG_HANDED_BACK:
        dispatch_worker_ended(peer->tickets);
        broker_pass_to_store(self, peer, frames);
        break;
    case MSG_ACCEPTED:
    case MSG_HEARTBEAT:
    case MSG_PARTIALS_GET:
        broker_pass_to_store(self, peer, frames);
        break;
    default:
        self->counters.ignored++;
    }
}

static void receive_from_scheduler(broker_core_t *self, peer_t *peer, msg_type_t type,
                                   frames_t *frames, int64_t now_ms)
{
    switch ((int)type) {
    case MSG_PING:
        receive_ping(self, peer, frames, now_ms);
        break;
    case MSG_BYE:
        broker_receive_bye(self, peer, frames, now_ms);
        break;
    case MSG_SCHEDULES_GET:
    case MSG_TICK:
        broker_pass_to_store(self, peer, frames);
        break;
    default:
        self->counters.ignored++;
    }
}

static void receive_from_api(broker_core_t *self, peer_t *peer, msg_type_t type, frames_t *frames,
                             int64_t now_ms)
{
    switch ((int)type) {
    case MSG_PING:
        receive_ping(self, peer, frames, now_ms);
        break;
    case MSG_BYE:
        broker_receive_bye(self, peer, frames, now_ms);
        break;
    case MSG_DISPATCH:
        receive_dispatch(self, peer, frames, now_ms);
        break;
    case MSG_RECORDED:
    case MSG_DISCARDED:
    case MSG_HEARTBEAT_OK:
    case MSG_PARTIALS:
    case MSG_SCHEDULES:
    case MSG_TICK_OK:
    case MSG_SCHEDULES_CHANGED:
        pass_to_peer(self, frames);
        break;
    default:
        self->counters.ignored++;
    }
}

/* Another major version, or no message at all. */
static void receive_foreign(broker_core_t *self, broker_side_t side, const link_id_t *from,
                            err_t err, int64_t now_ms)
{
    if (err != ERR_UNSUPPORTED) {
        self->counters.garbage++;
        return;
    }
    self->counters.unsupported++;
    msg_t msg = {.type = MSG_UNSUPPORTED, .unsupported.major = WIRE_MAJOR};
    answer(self, side, from, &msg);
    peer_t *peer = roster_by_link(self->roster, side, from);
    if (peer) {
        broker_forget(self, peer, "unsupported", now_ms);
    }
}

void broker_core_receive(broker_core_t *self, broker_side_t side, const link_id_t *from,
                         frames_t *frames, int64_t now_ms)
{
    msg_type_t type = MSG_NONE;
    self->counters.received++;
    err_t err = wire_peek(blob_data(frames->head), blob_n(frames->head), &type);
    peer_t *peer = err ? NULL : roster_by_link(self->roster, side, from);
    if (err) {
        receive_foreign(self, side, from, err, now_ms);
    } else if (type == MSG_HELLO) {
        broker_receive_hello(self, side, from, frames, now_ms);
    } else if (type == MSG_GONE) {
        broker_receive_gone(self, side, from, frames, now_ms);
    } else if (!peer) {
        /* Not to what is itself an answer: two that do not know each other would talk for ever. */
        if (type == MSG_RECONNECT || type == MSG_UNSUPPORTED || type == MSG_HELLO_OK ||
            type == MSG_PONG) {
            self->counters.ignored++;
        } else {
            reconnect(self, side, from, "say HELLO first");
        }
    } else if (peer->role == WIRE_ROLE_WORKER) {
        receive_from_worker(self, peer, type, frames, now_ms);
    } else if (peer->role == WIRE_ROLE_API) {
        receive_from_api(self, peer, type, frames, now_ms);
    } else {
        receive_from_scheduler(self, peer, type, frames, now_ms);
    }
    frames_free(frames);
}

/* -- the turn
 * ------------------------------------------------------------------------------------------ */

void broker_core_turn(broker_core_t *self, int64_t now_ms)
{
    if (self->wake_at && now_ms - self->wake_at > self->options.heartbeat_ms) {
        /* Stopped or starved: the heartbeats of that time still wait in our queue. */
        self->asleep_ms += now_ms - self->turned_at;
    }
    peer_t *peer;
    while ((peer = roster_silent(self->roster, broker_awake_ms(self, now_ms)))) {
        broker_forget(self, peer, "silent", now_ms);
    }
    dispatch_expire(self->dispatch, now_ms);
    for (int i = 0; self->store && i < HELLOS_A_TURN; i++) {
        peer = roster_untold(self->roster);
        if (!peer || !broker_tell_store(self, peer)) {
            break;
        }
    }
    self->capacity_due = dispatch_changed(self->dispatch) || self->capacity_due;
    if (self->store && self->capacity_due) {
        send_capacity(self);
    }
    self->turned_at = now_ms;
    self->wake_at = 0;
    int64_t next = broker_core_next_at(self);
    if (next != INT64_MAX) {
        self->wake_at = next < now_ms ? now_ms : next;
    }
    if (self->store && (self->capacity_due || roster_untold(self->roster))) {
        self->wake_at = now_ms + RETRY_MS;
    }
}

int64_t broker_core_next_at(const broker_core_t *self)
{
    int64_t silent = roster_next_at(self->roster), expiry = dispatch_next_at(self->dispatch);
    silent = silent == INT64_MAX ? silent : silent + self->asleep_ms;
    int64_t next = silent < expiry ? silent : expiry;
    return self->wake_at && self->wake_at < next ? self->wake_at : next;
}

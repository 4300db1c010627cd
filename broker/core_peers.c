/* Who comes to a broker and who goes: HELLO, BYE, GONE, removed keys. */
#include "broker/core_inside.h"

#include <string.h>

#include "common/buffer.h"

/* -- HELLO
 * --------------------------------------------------------------------------------------------- */

static bool is_name(str_t name, uint32_t shortest)
{
    for (uint32_t i = 0; i < name.n; i++) {
        if (name.p[i] < ' ' || name.p[i] > '~' || name.p[i] == ',') {
            return false;
        }
    }
    return name.n >= shortest && name.n <= ROSTER_NAME_MAX;
}

static bool is_hello(const msg_hello_t *hello, broker_side_t side)
{
    bool worker = hello->role == WIRE_ROLE_WORKER, api = hello->role == WIRE_ROLE_API;
    if ((!worker && !api && hello->role != WIRE_ROLE_SCHEDULER) ||
        worker != (side == BROKER_BACKEND) || hello->incarnation.n != WIRE_PEER_N ||
        (api && hello->store_id.n != WIRE_PEER_N) || !is_name(hello->name, api ? 0 : 1) ||
        hello->tasks_n > DISPATCH_TASKS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < hello->tasks_n; i++) {
        if (!is_name(hello->tasks[i].name, 1)) {
            return false;
        }
    }
    return true;
}

/* The peer this HELLO is about, in no table but that of incarnations; NULL if it cannot be
 * admitted. */
static peer_t *make_room(broker_core_t *self, const msg_hello_t *hello, broker_side_t side,
                         const link_id_t *from, int64_t now_ms)
{
    const uint8_t *incarnation = (const uint8_t *)hello->incarnation.p;
    char name[ROSTER_NAME_MAX + 1];
    str_copy(name, sizeof name, hello->name);
    peer_t *same = roster_by_incarnation(self->roster, incarnation);
    if (same && (same->role != hello->role || strcmp(same->link.key, from->key) != 0)) {
        return NULL; /* an incarnation is one process, with one key */
    }
    peer_t *here = roster_by_link(self->roster, side, from);
    if (here && here != same) {
        broker_forget(self, here, "replaced", now_ms);
    }
    peer_t *older = hello->role == WIRE_ROLE_WORKER ? roster_by_name(self->roster, name) : NULL;
    if (older && older != same) {
        broker_forget(self, older, "replaced", now_ms); /* P11: it and its children are dead */
    }
    same = roster_by_incarnation(self->roster, incarnation);
    if (same && same->known) {
        if (self->store == same) {
            self->store = NULL;
        }
        if (!link_id_equal(&same->link, from)) {
            broker_note(self, "moved", same);
        }
        roster_forget(self->roster, same, broker_awake_ms(self, now_ms));
        same = roster_by_incarnation(self->roster, incarnation);
    }
    peer_t *peer = same ? same : roster_add(self->roster, incarnation);
    if (peer) {
        peer->side = side;
        peer->link = *from;
        peer->role = hello->role;
        memcpy(peer->name, name, sizeof name);
    }
    return peer;
}

static bool is_admitted(const broker_core_t *self, const msg_hello_t *hello, const link_id_t *from)
{
    char name[ROSTER_NAME_MAX + 1];
    str_copy(name, sizeof name, hello->name);
    return !self->effects.admit ||
           self->effects.admit(self->effects.context, from, hello->role, name);
}

void broker_receive_hello(broker_core_t *self, broker_side_t side, const link_id_t *from,
                          const frames_t *frames, int64_t now_ms)
{
    msg_t msg;
    err_t err = wire_decode(self->arena, blob_data(frames->head), blob_n(frames->head), &msg);
    const msg_hello_t *hello = &msg.hello;
    const peer_t *before = roster_by_link(self->roster, side, from);
    bool known = before && before->known;
    bool again = !err && before && hello->incarnation.n == WIRE_PEER_N &&
                 memcmp(before->incarnation, hello->incarnation.p, WIRE_PEER_N) == 0;
    peer_t *peer = !err && is_hello(hello, side) && is_admitted(self, hello, from)
                       ? make_room(self, hello, side, from, now_ms)
                       : NULL;
    if (!peer) {
        self->counters.hello_refused++;
        return;
    }
    if (peer->role == WIRE_ROLE_WORKER) {
        if (!peer->tickets) {
            peer->tickets = dispatch_worker_new(self->dispatch, peer);
        }
        dispatch_worker_hello(peer->tickets, hello->slots, hello->tasks, hello->tasks_n, !again);
        blob_unref(&peer->hello);
        peer->hello = blob_ref(frames->head);
    }
    roster_admit(self->roster, peer, broker_awake_ms(self, now_ms));
    if (!again || !known) { /* one that repeats its HELLO has not joined again */
        broker_note(self, "joined", peer);
    }
    msg_t ok = {.type = MSG_HELLO_OK};
    ok.hello_ok.incarnation = broker_own(self);
    ok.hello_ok.heartbeat_ms = self->options.heartbeat_ms;
    broker_send(self, peer, &ok);
    if (peer->role == WIRE_ROLE_WORKER && self->store) {
        broker_tell_store(self, peer);
    } else if (peer->role == WIRE_ROLE_API) {
        self->store = peer;
        roster_new_store(self->roster);
        self->capacity_due = true;
    }
}

/* -- the end of a peer
 * ---------------------------------------------------------------------------------- */

void broker_receive_bye(broker_core_t *self, peer_t *peer, frames_t *frames, int64_t now_ms)
{
    if (peer->role == WIRE_ROLE_WORKER) {
        broker_pass_to_store(self, peer, frames);
    }
    broker_forget(self, peer, "left", now_ms);
}

/* P34: from a connection of its own, that need not be known. The dead worker need not be either: it
 * may have been silent before. */
void broker_receive_gone(broker_core_t *self, broker_side_t side, const link_id_t *from,
                         frames_t *frames, int64_t now_ms)
{
    msg_t msg;
    if (!broker_decode(self, frames, &msg)) {
        return;
    }
    if (side != BROKER_BACKEND || msg.gone.incarnation.n != WIRE_PEER_N) {
        self->counters.ignored++;
        return;
    }
    const uint8_t *incarnation = (const uint8_t *)msg.gone.incarnation.p;
    peer_t *peer = roster_by_incarnation(self->roster, incarnation);
    /* With keys only who has the dead one's may say it: of one that is not known nobody can tell.
     */
    bool foreign = self->effects.admit && (!peer || strcmp(peer->link.key, from->key) != 0);
    if (foreign || (peer && peer->role != WIRE_ROLE_WORKER)) {
        self->counters.ignored++;
        return;
    }
    peer_t dead = {0};
    memcpy(dead.incarnation, incarnation, WIRE_PEER_N);
    broker_pass_to_store(self, &dead, frames);
    if (peer && peer->known) {
        broker_forget(self, peer, "dead", now_ms);
    }
}

static bool is_cut(void *context, const peer_t *peer)
{
    const broker_core_t *self = context;
    return !self->effects.admit(self->effects.context, &peer->link, peer->role, peer->name);
}

void broker_core_review(broker_core_t *self, int64_t now_ms)
{
    peer_t *peer;
    while (self->effects.admit && (peer = roster_find(self->roster, is_cut, self))) {
        broker_forget(self, peer, "cut", now_ms);
    }
}

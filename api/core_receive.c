/* Which room a message goes to. Bytes that are no message are counted and dropped. */
#include <string.h>

#include "api/core_internal.h"
#include "common/log.h"

static void on_store_message(core_t *self, int broker, const uint8_t *peer, const msg_t *msg,
                             blob_t *body)
{
    switch (msg->type) {
    case MSG_HELLO:
        core_on_hello(self, broker, peer, &msg->hello);
        break;
    case MSG_BYE:
        core_on_bye(self, peer);
        break;
    case MSG_GONE:
        core_on_gone(self, peer);
        break;
    case MSG_ACCEPTED:
        core_on_accepted(self, peer, &msg->accepted);
        break;
    case MSG_REFUSED:
        core_on_given_back(self, peer, msg->refused.batch, msg->refused.attempt);
        break;
    case MSG_HANDED_BACK:
        core_on_given_back(self, peer, msg->handed_back.batch, msg->handed_back.attempt);
        break;
    case MSG_RESULT:
        core_on_result(self, broker, peer, &msg->result, body);
        break;
    case MSG_FAILURE:
        core_on_failure(self, broker, peer, &msg->failure);
        break;
    case MSG_HEARTBEAT:
        core_on_heartbeat(self, broker, peer, &msg->heartbeat);
        break;
    case MSG_PARTIALS_GET:
        core_on_partials_get(self, broker, peer, &msg->partials_get);
        break;
    case MSG_SCHEDULES_GET:
        core_on_schedules_get(self, broker, peer, &msg->schedules_get);
        break;
    case MSG_TICK:
        core_on_tick(self, broker, peer, &msg->tick);
        break;
    default:
        self->counters.garbage_n++;
        break;
    }
}

/* What a broker said in an earlier life may arrive after its new greeting: its numbers mean nothing
 * now, and what is sent to that life would be dropped in silence (P16). */
static bool this_life(const broker_t *from, str_t incarnation)
{
    return from->up && str_equal(incarnation, str_bytes(from->incarnation, WIRE_PEER_N));
}

static void on_hello_ok(core_t *self, int broker, const msg_hello_ok_t *msg)
{
    broker_t *from = &self->brokers[broker];
    if (msg->incarnation.n != WIRE_PEER_N) {
        self->counters.garbage_n++;
    } else if (!from->up) {
        from->up = true;
        memcpy(from->incarnation, msg->incarnation.p, WIRE_PEER_N);
        log_info("api.broker_up", "broker=%d", broker);
    } else if (!this_life(from, msg->incarnation)) {
        core_broker_hello(self, broker); /* one of the two is late: ask who is there */
    }
}

static void on_broker_message(core_t *self, int broker, const msg_t *msg)
{
    broker_t *from = &self->brokers[broker];
    from->heard_at = self->now;
    switch (msg->type) {
    case MSG_HELLO_OK:
        on_hello_ok(self, broker, &msg->hello_ok);
        break;
    case MSG_RECONNECT:
        core_broker_hello(self, broker);
        break;
    case MSG_PONG:
        if (from->up && !this_life(from, msg->pong.broker)) {
            core_broker_hello(self, broker);
        }
        break;
    case MSG_CAPACITY:
        if (this_life(from, msg->capacity_is.broker)) {
            core_on_capacity(self, broker, &msg->capacity_is);
        }
        break;
    case MSG_UNDELIVERABLE:
        if (this_life(from, msg->undeliverable.broker)) {
            capacity_undeliverable(&from->capacity, msg->undeliverable.seq);
        }
        core_give_back(self, msg->undeliverable.batch, msg->undeliverable.attempt);
        break;
    default:
        self->counters.garbage_n++;
        break;
    }
}

void core_receive(core_t *self, int broker, frames_t *frames)
{
    msg_t msg;
    err_t err = wire_decode(self->arena, blob_data(frames->head), blob_n(frames->head), &msg);
    if (err || msg.type == MSG_NONE || (frames->route_n != 0 && frames->route_n != WIRE_PEER_N)) {
        self->counters.garbage_n++;
    } else if (frames->route_n == WIRE_PEER_N) {
        on_store_message(self, broker, frames->route, &msg, frames->body);
    } else {
        on_broker_message(self, broker, &msg);
    }
    frames_free(frames);
}

#include "broker/door.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/descriptors.h"
#include "common/log.h"

enum {
    LOOK_MS = 1000,
    SAY_AGAIN_MS = 10000,
    HANDSHAKE_LOOKS = 5, /* more than a handshake may take */
    ROOM = 8,            /* descriptors that must be left before connections are let in again */
};

struct door {
    loop_t *loop;
    loop_timer_t *timer;
    link_t *links[DOOR_LINKS];
    uint64_t strangers_said[DOOR_LINKS];
    int64_t strangers_say_at[DOOR_LINKS];
    uint64_t taken_before[DOOR_LINKS][HANDSHAKE_LOOKS]; /* at the last looks, oldest first */
    bool shut;
    int64_t say_at;
};

/* Who was taken a while ago and has still not introduced himself was cut off; at least so many. */
static uint64_t strangers_n(door_t *self, int i)
{
    link_arrivals_t now = link_arrivals(self->links[i]);
    uint64_t *taken = self->taken_before[i];
    uint64_t n = taken[0] > now.introduced_n ? taken[0] - now.introduced_n : 0;
    memmove(taken, taken + 1, (HANDSHAKE_LOOKS - 1) * sizeof *taken);
    taken[HANDSHAKE_LOOKS - 1] = now.taken_n;
    return n + link_garbage_n(self->links[i]);
}

static void look_for_strangers(door_t *self, int64_t now)
{
    for (int i = 0; i < DOOR_LINKS; i++) {
        uint64_t n = strangers_n(self, i);
        if (n <= self->strangers_said[i] || now < self->strangers_say_at[i]) {
            continue;
        }
        log_warn(
            "broker.strangers",
            "endpoint=%s n=%llu detail=\"something that does not speak Stint's protocol, or is "
            "not admitted, connects here: is it meant for another port?\"",
            link_endpoint(self->links[i]), (unsigned long long)(n - self->strangers_said[i]));
        self->strangers_said[i] = n;
        self->strangers_say_at[i] = now + SAY_AGAIN_MS;
    }
}

static void shut(door_t *self, int64_t now)
{
    for (int i = 0; i < DOOR_LINKS; i++) {
        link_listen_stop(self->links[i]);
    }
    self->shut = true;
    self->say_at = now;
}

/* One side may fail, somebody else having taken the port meanwhile: it is tried again. */
static bool open_again(door_t *self)
{
    bool all = true;
    for (int i = 0; i < DOOR_LINKS; i++) {
        if (link_listen(self->links[i])) {
            log_warn("broker.not_listening", "detail=\"%s\"", err_text());
            all = false;
        }
    }
    return all;
}

static void look(void *context)
{
    door_t *self = context;
    int64_t now = loop_now_ms(self->loop);
    loop_timer_arm(self->timer, now + LOOK_MS);
    look_for_strangers(self, now);
    if (!self->shut && !descriptors_left(1)) {
        shut(self, now);
    } else if (self->shut && descriptors_left(ROOM) && open_again(self)) {
        self->shut = false;
        log_info("broker.descriptors_again", "detail=\"new connections are accepted again\"");
    }
    if (self->shut && now >= self->say_at) {
        self->say_at = now + SAY_AGAIN_MS;
        log_warn("broker.no_descriptors",
                 "limit=%llu detail=\"all file descriptors are taken by connections: new ones are "
                 "refused until some end; raise ulimit -n for a larger fleet\"",
                 (unsigned long long)descriptors_limit());
    }
}

door_t *door_new(loop_t *loop, link_t *const links[DOOR_LINKS])
{
    door_t *self = mem_zero(sizeof *self);
    self->loop = loop;
    memcpy(self->links, links, sizeof self->links);
    self->timer = loop_timer_new(loop, look, self);
    loop_timer_arm(self->timer, loop_now_ms(loop) + LOOK_MS);
    return self;
}

void door_destroy(door_t **self)
{
    if (*self) {
        loop_timer_destroy(&(*self)->timer);
        free(*self);
        *self = NULL;
    }
}

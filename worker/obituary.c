#include "worker/obituary.h"

#include <poll.h>

#include "common/clock.h"
#include "common/lines.h"
#include "common/keys.h"
#include "common/link.h"

enum {
    PATIENCE_MS = 2000, /* for brokers that are away: they, or the lease, learn of it otherwise */
    TRY_MS = 5,
    LAST_WORDS_MS = 100, /* sockets close without lingering */
};

static frames_t gone(const obituary_t *self)
{
    msg_t msg = {.type = MSG_GONE,
                 .gone = {.incarnation = str_bytes(self->incarnation, WIRE_PEER_N),
                          .name = str_of(self->config->name)}};
    return frames_of(&msg, NULL);
}

void obituary_say(void *context)
{
    const obituary_t *self = context;
    link_t *links[LINES_MAX] = {0};
    link_curve_t curve;
    bool has_key = *self->config->key;
    bool said[LINES_MAX] = {0};
    int waiting = 0;
    if (has_key &&
        keys_load_peer(&curve, self->config->key, WIRE_ROLE_WORKER, self->config->name)) {
        return; /* taken away meanwhile: the lease tells */
    }
    for (int i = 0; i < self->config->brokers.n && i < LINES_MAX; i++) {
        waiting += link_connect_curve(&links[i], self->config->brokers.items[i],
                                      has_key ? &curve : NULL) == ERR_OK;
    }
    link_curve_clear(&curve);
    int64_t end = clock_now_ms() + PATIENCE_MS;
    while (waiting && clock_now_ms() < end) {
        poll(NULL, 0, TRY_MS);
        for (int i = 0; i < LINES_MAX; i++) {
            if (!links[i] || said[i]) {
                continue;
            }
            frames_t frames = gone(self);
            said[i] = link_send(links[i], NULL, &frames); /* refused until the connection stands */
            waiting -= said[i];
        }
    }
    poll(NULL, 0, LAST_WORDS_MS);
    for (int i = 0; i < LINES_MAX; i++) {
        link_destroy(&links[i]);
    }
    link_shutdown();
}

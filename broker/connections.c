#include "broker/connections.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/log.h"
#include "common/map.h"

enum { HELLO_MS = 5000, HELLO_HEARTBEATS = 3, LATE_MS = 1000 };

typedef struct {
    int fd;
    bool claimed;
    int64_t until; /* unclaimed: when it is closed */
} connection_t;

struct connections {
    loop_t *loop;
    link_t *links[CONNECTIONS_LINKS];
    loop_watch_t *watches[CONNECTIONS_LINKS];
    loop_timer_t *timer;
    bool must_be_claimed;
    int64_t patience_ms, timer_at;
    map_t open; /* by descriptor + 1 */
    uint64_t cut_n;
};

static connection_t *find(const connections_t *self, int fd)
{
    return fd > 0 ? map_get(&self->open, (uint64_t)fd + 1) : NULL;
}

static void drop(connections_t *self, int fd)
{
    connection_t *connection = find(self, fd);
    if (connection) {
        map_remove(&self->open, (uint64_t)fd + 1);
        free(connection);
    }
}

static void arm(connections_t *self, int64_t at_ms)
{
    if (!self->timer_at || at_ms < self->timer_at) {
        self->timer_at = at_ms;
        loop_timer_arm(self->timer, at_ms);
    }
}

static void add(connections_t *self, int fd)
{
    drop(self, fd); /* its end was not told */
    connection_t *connection = mem_zero(sizeof *connection);
    *connection = (connection_t){.fd = fd, .until = loop_now_ms(self->loop) + self->patience_ms};
    map_put(&self->open, (uint64_t)fd + 1, connection);
    arm(self, connection->until);
}

/* In the order in which libzmq's thread did it: a number that is used again is told as closed
 * first. */
static void listen_to(connections_t *self)
{
    for (int i = 0; i < CONNECTIONS_LINKS; i++) {
        int fd;
        bool opened;
        while (link_connection_news(self->links[i], &fd, &opened)) {
            if (opened && self->must_be_claimed) {
                add(self, fd);
            } else {
                drop(self, fd);
            }
        }
    }
}

static void on_news(void *context)
{
    listen_to(context);
}

static void cut(connections_t *self, connection_t *connection)
{
    link_cut(&(link_id_t){.fd = connection->fd});
    drop(self, connection->fd);
    self->cut_n++;
}

/* The map must not change while it is walked. */
static connection_t *first_unclaimed(const connections_t *self, int64_t before, int64_t *next)
{
    size_t at = 0;
    *next = INT64_MAX;
    for (connection_t *one; (one = map_next(&self->open, &at));) {
        if (!one->claimed && one->until <= before) {
            return one;
        }
        *next = !one->claimed && one->until < *next ? one->until : *next;
    }
    return NULL;
}

static void cut_until(connections_t *self, int64_t before, int64_t *next)
{
    connection_t *one;
    listen_to(self);
    while ((one = first_unclaimed(self, before, next))) {
        cut(self, one);
    }
}

static void on_timer(void *context)
{
    connections_t *self = context;
    int64_t now = loop_now_ms(self->loop), next = INT64_MAX, due = self->timer_at;
    self->timer_at = 0;
    if (now - due > LATE_MS) {
        arm(self, now + self->patience_ms); /* this process did not run: their HELLOs may wait */
        return;
    }
    cut_until(self, now, &next);
    if (next != INT64_MAX) {
        arm(self, next > now ? next : now + 1);
    }
}

void connections_claim(connections_t *self, const link_id_t *id)
{
    listen_to(self);
    connection_t *connection = find(self, id->fd);
    if (connection) {
        connection->claimed = true;
    }
}

void connections_release(connections_t *self, const link_id_t *id)
{
    listen_to(self);
    if (find(self, id->fd)) {
        link_cut(id);
        drop(self, id->fd);
    }
}

void connections_cut_unclaimed(connections_t *self)
{
    int64_t next;
    cut_until(self, INT64_MAX, &next);
}

uint64_t connections_cut_n(const connections_t *self)
{
    return self->cut_n;
}

connections_t *connections_new(loop_t *loop, link_t *const links[CONNECTIONS_LINKS],
                               int64_t heartbeat_ms, bool claimed)
{
    connections_t *self = mem_zero(sizeof *self);
    int64_t beats = HELLO_HEARTBEATS * heartbeat_ms;
    self->loop = loop;
    self->must_be_claimed = claimed;
    self->patience_ms = beats > HELLO_MS ? beats : HELLO_MS;
    memcpy(self->links, links, sizeof self->links);
    self->timer = loop_timer_new(loop, on_timer, self);
    for (int i = 0; i < CONNECTIONS_LINKS; i++) {
        self->watches[i] = loop_watch_socket(loop, link_watch_connections(links[i]), on_news, self);
    }
    return self;
}

void connections_destroy(connections_t **self_ref)
{
    connections_t *self = *self_ref;
    if (!self) {
        return;
    }
    for (int i = 0; i < CONNECTIONS_LINKS; i++) {
        loop_unwatch(self->loop, &self->watches[i]);
    }
    loop_timer_destroy(&self->timer);
    size_t at = 0;
    for (connection_t *one; (one = map_next(&self->open, &at));) {
        free(one);
    }
    map_free(&self->open);
    free(self);
    *self_ref = NULL;
}

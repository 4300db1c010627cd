#include "common/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/buffer.h"
#include "common/clock.h"
#include "common/heap.h"
#include "common/log.h"

struct loop_watch {
    loop_t *loop;
    void *socket; /* NULL: fd counts */
    int fd;
    bool writable;
    bool dead; /* unwatched during a turn: freed before the next poll */
    loop_call_t call;
    void *context;
};

struct loop_timer {
    loop_t *loop;
    heap_slot_t slot;
    int64_t at_ms;
    uint64_t order; /* of arming: ties fire in this order */
    loop_call_t call;
    void *context;
};

struct loop {
    loop_watch_t **watches;
    zmq_pollitem_t *items; /* as long as watches */
    size_t n, capacity;
    bool changed; /* items have to be made again */
    heap_t timers;
    uint64_t armed_n;
    int64_t now_ms;
    int signal_fd;
    sigset_t mask_before;
    loop_signal_t on_signal;
    void *signal_context;
    loop_call_t on_turn;
    void *turn_context;
    bool again, stopped;
    int exit_code;
};

static bool timer_before(const void *a, const void *b)
{
    const loop_timer_t *one = a, *other = b;
    return one->at_ms != other->at_ms ? one->at_ms < other->at_ms : one->order < other->order;
}

/* -- signals
 * ------------------------------------------------------------------------------------------- */

static void read_signals(void *context)
{
    loop_t *self = context;
    struct signalfd_siginfo info;
    while (read(self->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (self->on_signal) {
            self->on_signal(self->signal_context, (int)info.ssi_signo);
        }
    }
}

loop_t *loop_new(void)
{
    loop_t *self = mem_zero(sizeof *self);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &mask, &self->mask_before);
    /* A peer that hangs up and a file over its limit are errors of a call, not the end of a
     * process. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    self->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    INVARIANT(self->signal_fd >= 0);
    self->now_ms = clock_now_ms();
    heap_init(&self->timers, offsetof(loop_timer_t, slot), timer_before);
    loop_watch_fd(self, self->signal_fd, read_signals, self);
    return self;
}

void loop_destroy(loop_t **self)
{
    loop_t *loop = *self;
    if (!loop) {
        return;
    }
    for (size_t i = 0; i < loop->n; i++) {
        free(loop->watches[i]);
    }
    /* Timers left over belong to their owners, who may destroy them after us. */
    while (heap_top(&loop->timers)) {
        heap_remove(&loop->timers, heap_top(&loop->timers));
    }
    close(loop->signal_fd);
    pthread_sigmask(SIG_SETMASK, &loop->mask_before, NULL);
    heap_free(&loop->timers);
    free(loop->watches);
    free(loop->items);
    free(loop);
    *self = NULL;
}

void loop_on_signal(loop_t *self, loop_signal_t call, void *context)
{
    self->on_signal = call;
    self->signal_context = context;
}

/* -- watches
 * ------------------------------------------------------------------------------------------- */

static loop_watch_t *add(loop_t *self, loop_watch_t watch)
{
    if (self->n == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 8;
        self->watches = mem_grow(self->watches, self->capacity * sizeof *self->watches);
        self->items = mem_grow(self->items, self->capacity * sizeof *self->items);
    }
    loop_watch_t *out = mem_alloc(sizeof *out);
    *out = watch;
    self->watches[self->n++] = out;
    self->changed = true;
    return out;
}

loop_watch_t *loop_watch_socket(loop_t *self, void *zmq_socket, loop_call_t call, void *context)
{
    return add(
        self, (loop_watch_t){.loop = self, .socket = zmq_socket, .call = call, .context = context});
}

loop_watch_t *loop_watch_fd(loop_t *self, int fd, loop_call_t call, void *context)
{
    return add(self, (loop_watch_t){.loop = self, .fd = fd, .call = call, .context = context});
}

void loop_watch_writable(loop_watch_t *watch, bool on)
{
    if (watch->writable != on) {
        watch->writable = on;
        watch->loop->changed = true;
    }
}

void loop_unwatch(loop_t *self, loop_watch_t **watch)
{
    if (*watch) {
        (*watch)->dead = true;
        self->changed = true;
        *watch = NULL;
    }
}

static void remake_items(loop_t *self)
{
    size_t n = 0;
    for (size_t i = 0; i < self->n; i++) {
        loop_watch_t *watch = self->watches[i];
        if (watch->dead) {
            free(watch);
            continue;
        }
        self->watches[n] = watch;
        self->items[n++] = (zmq_pollitem_t){
            .socket = watch->socket,
            .fd = watch->fd,
            .events = (short)(watch->writable ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN)};
    }
    self->n = n;
    self->changed = false;
}

/* -- timers
 * -------------------------------------------------------------------------------------------- */

loop_timer_t *loop_timer_new(loop_t *self, loop_call_t call, void *context)
{
    loop_timer_t *timer = mem_zero(sizeof *timer);
    timer->loop = self;
    timer->call = call;
    timer->context = context;
    return timer;
}

void loop_timer_arm(loop_timer_t *timer, int64_t at_ms)
{
    /* A time in the past counts as now: a timer that always re-arms itself at 0 stands behind those
     * already due. */
    loop_t *self = timer->loop;
    loop_timer_disarm(timer);
    timer->at_ms = at_ms < self->now_ms ? self->now_ms : at_ms;
    timer->order = self->armed_n++;
    heap_add(&self->timers, timer);
}

void loop_timer_disarm(loop_timer_t *timer)
{
    if (timer->slot.at) { /* else the loop may be gone already */
        heap_remove(&timer->loop->timers, timer);
    }
}

void loop_timer_destroy(loop_timer_t **timer)
{
    if (*timer) {
        loop_timer_disarm(*timer);
        free(*timer);
        *timer = NULL;
    }
}

static void fire_timers(loop_t *self)
{
    uint64_t end = self->armed_n; /* what is armed from here on waits for the next turn */
    for (;;) {
        loop_timer_t *timer = heap_top(&self->timers);
        if (!timer || timer->at_ms > self->now_ms || timer->order >= end) {
            return;
        }
        heap_remove(&self->timers, timer);
        timer->call(timer->context); /* may destroy the timer */
    }
}

/* -- running
 * ------------------------------------------------------------------------------------------- */

void loop_on_turn(loop_t *self, loop_call_t call, void *context)
{
    self->on_turn = call;
    self->turn_context = context;
}

void loop_again(loop_t *self)
{
    self->again = true;
}

static long sleep_ms(const loop_t *self)
{
    const loop_timer_t *first = heap_top(&self->timers);
    if (self->again) {
        return 0;
    }
    if (!first) {
        return -1;
    }
    int64_t wait = first->at_ms - clock_now_ms();
    return wait <= 0 ? 0 : wait > INT_MAX ? INT_MAX : (long)wait;
}

static void poll_once(loop_t *self)
{
    if (self->changed) {
        remake_items(self);
    }
    long wait = sleep_ms(self);
    self->again = false;
    int ready = zmq_poll(self->items, (int)self->n, wait);
    self->now_ms = clock_now_ms();
    if (ready < 0) {
        /* EINTR is an empty turn. Anything else is a socket closed while watched. */
        INVARIANT(errno == EINTR);
        return;
    }
    size_t n = self->n; /* a callback may append: those have no item yet */
    for (size_t i = 0; ready > 0 && i < n; i++) {
        if (self->items[i].revents) {
            ready--;
            if (!self->watches[i]->dead) {
                self->watches[i]->call(self->watches[i]->context);
            }
        }
    }
}

int loop_run(loop_t *self)
{
    self->stopped = false;
    for (;;) {
        if (self->on_turn) {
            self->on_turn(self->turn_context);
        }
        if (self->stopped) {
            return self->exit_code;
        }
        poll_once(self);
        fire_timers(self);
    }
}

void loop_stop(loop_t *self, int exit_code)
{
    self->stopped = true;
    self->exit_code = exit_code;
}

int64_t loop_now_ms(const loop_t *self)
{
    return self->now_ms;
}

/* loop: the poll, the deadlines and the signals of one process.
 *
 * Lives here: one zmq_poll over sockets and descriptors, a heap of timers,
 * SIGTERM/SIGINT/SIGHUP/SIGCHLD as events. Not here: what the events mean. One thread; callbacks
 * run one after another and must drain what they watch. */
#ifndef STINT_COMMON_LOOP_H
#define STINT_COMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

typedef struct loop loop_t;
typedef struct loop_watch loop_watch_t;
typedef struct loop_timer loop_timer_t;
typedef void (*loop_call_t)(void *context);
typedef void (*loop_signal_t)(void *context, int signal_number);

/* Blocks SIGTERM, SIGINT, SIGHUP, SIGCHLD for delivery through the loop (signalfd) and ignores
 * SIGPIPE and SIGXFSZ. */
loop_t *loop_new(void);
void loop_destroy(loop_t **self);

/* Call `call` whenever the ZeroMQ socket / descriptor is readable (or writable, for descriptors).
 */
loop_watch_t *loop_watch_socket(loop_t *self, void *zmq_socket, loop_call_t call, void *context);
loop_watch_t *loop_watch_fd(loop_t *self, int fd, loop_call_t call, void *context);
void loop_watch_writable(loop_watch_t *watch, bool on);
void loop_unwatch(loop_t *self, loop_watch_t **watch);

/* A timer starts unarmed; it fires once per arming. at_ms is of clock_now_ms(). */
loop_timer_t *loop_timer_new(loop_t *self, loop_call_t call, void *context);
void loop_timer_arm(loop_timer_t *timer, int64_t at_ms);
void loop_timer_disarm(loop_timer_t *timer);
void loop_timer_destroy(loop_timer_t **timer);

void loop_on_signal(loop_t *self, loop_signal_t call, void *context);
/* Called once before each sleep, after all events of the turn: commit and send here. */
void loop_on_turn(loop_t *self, loop_call_t call, void *context);
/* Poll again at once after this turn (more work waits). */
void loop_again(loop_t *self);

/* Runs until loop_stop; returns the code given there. */
int loop_run(loop_t *self);
void loop_stop(loop_t *self, int exit_code);
/* The clock of this turn: clock_now_ms() read once after each poll. */
int64_t loop_now_ms(const loop_t *self);

#endif

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/link.h"
#include "common/loop.h"

static loop_t *loop;
static char trace[256];

static void start(void)
{
    loop = loop_new();
    trace[0] = 0;
}

static void end(void)
{
    loop_destroy(&loop);
    ck_assert_ptr_null(loop);
    loop_destroy(&loop);
}

static void note(void *context)
{
    strcat(trace, context);
}

static void stop(void *context)
{
    loop_stop(loop, *(int *)context);
}

static int code = 7;

START_TEST(test_timers_fire_once_in_the_order_of_their_times_then_of_arming)
{
    const char *names[] = {"a", "b", "c", "d"};
    int64_t now = loop_now_ms(loop);
    int64_t at[] = {now + 4, now + 2, now + 2, now - 100};
    loop_timer_t *timers[4];
    for (int i = 0; i < 4; i++) {
        timers[i] = loop_timer_new(loop, note, (void *)(uintptr_t)names[i]);
        loop_timer_arm(timers[i], at[i]);
    }
    loop_timer_t *last = loop_timer_new(loop, stop, &code);
    loop_timer_arm(last, now + 6);
    ck_assert_int_eq(loop_run(loop), 7);
    ck_assert_str_eq(trace, "dbca");
    ck_assert_int_ge(loop_now_ms(loop), now + 6);
    for (int i = 0; i < 4; i++) {
        loop_timer_destroy(&timers[i]);
    }
    loop_timer_destroy(&last);
}
END_TEST

START_TEST(test_timer_armed_twice_counts_once_and_disarmed_never)
{
    int64_t now = loop_now_ms(loop);
    loop_timer_t *moved = loop_timer_new(loop, note, "m"), *gone = loop_timer_new(loop, note, "g");
    loop_timer_t *last = loop_timer_new(loop, stop, &code);
    loop_timer_arm(moved, now);
    loop_timer_arm(moved, now + 1);
    loop_timer_arm(gone, now);
    loop_timer_disarm(gone);
    loop_timer_disarm(gone);
    loop_timer_arm(last, now + 3);
    loop_run(loop);
    ck_assert_str_eq(trace, "m");
    loop_timer_destroy(&gone);
    loop_timer_destroy(&moved);
    loop_timer_destroy(&last);
}
END_TEST

typedef struct {
    loop_timer_t *timer;
    int n;
} busy_t;

static void rearm_in_the_past(void *context)
{
    busy_t *busy = context;
    busy->n++;
    loop_timer_arm(busy->timer, 0);
}

START_TEST(test_timer_that_rearms_itself_in_the_past_starves_nobody)
{
    busy_t busy = {0};
    busy.timer = loop_timer_new(loop, rearm_in_the_past, &busy);
    loop_timer_arm(busy.timer, 0);
    loop_timer_t *last = loop_timer_new(loop, stop, &code);
    loop_timer_arm(last, loop_now_ms(loop) + 5);
    ck_assert_int_eq(loop_run(loop), 7);
    ck_assert_int_gt(busy.n, 1);
    loop_timer_destroy(&last);
    loop_timer_destroy(&busy.timer);
}
END_TEST

static void destroy_own(void *context)
{
    loop_timer_destroy(context);
    loop_stop(loop, 1);
}

START_TEST(test_timer_may_destroy_itself)
{
    loop_timer_t *timer = NULL;
    timer = loop_timer_new(loop, destroy_own, &timer);
    loop_timer_arm(timer, 0);
    ck_assert_int_eq(loop_run(loop), 1);
    ck_assert_ptr_null(timer);
}
END_TEST

static void on_signal(void *context, int number)
{
    (void)context;
    strcat(trace, number == SIGTERM ? "T" : number == SIGHUP ? "H" : number == SIGINT ? "I" : "C");
    if (number == SIGTERM) {
        loop_stop(loop, 0);
    }
}

START_TEST(test_signals_are_events_and_a_broken_pipe_is_an_error)
{
    loop_on_signal(loop, on_signal, NULL);
    raise(SIGHUP);
    raise(SIGINT);
    raise(SIGCHLD);
    raise(SIGTERM);
    ck_assert_str_eq(trace, "");
    ck_assert_int_eq(loop_run(loop), 0);
    ck_assert_uint_eq(strlen(trace), 4);
    ck_assert(strchr(trace, 'H') && strchr(trace, 'I') && strchr(trace, 'C'));
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    ck_assert_int_eq(write(ends[1], "x", 1), -1);
    ck_assert_int_eq(errno, EPIPE);
    close(ends[1]);
}
END_TEST

static void turn(void *context)
{
    (void)context;
    strcat(trace, "|");
    if (strlen(trace) < 4) {
        loop_again(loop);
    } else {
        loop_stop(loop, 3);
    }
}

START_TEST(test_turn_runs_before_each_sleep_and_again_forbids_the_sleep)
{
    loop_on_turn(loop, turn, NULL);
    ck_assert_int_eq(loop_run(loop), 3); /* no timer, no event: without again it would hang */
    ck_assert_str_eq(trace, "||||");
}
END_TEST

static int ends[2];
static loop_watch_t *reader, *writer;

static void read_byte(void *context)
{
    (void)context;
    char byte = 0;
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    strcat(trace, "r");
    loop_unwatch(loop, &reader); /* inside its own call */
    loop_stop(loop, 0);
}

static void write_byte(void *context)
{
    (void)context;
    strcat(trace, "w");
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    loop_watch_writable(writer, false);
}

START_TEST(test_descriptors_are_watched_for_both_directions_and_unwatched_inside_a_call)
{
    ck_assert_int_eq(pipe(ends), 0);
    reader = loop_watch_fd(loop, ends[0], read_byte, NULL);
    writer = loop_watch_fd(loop, ends[1], write_byte, NULL);
    loop_watch_writable(writer, true);
    loop_run(loop);
    ck_assert_str_eq(trace, "wr");
    ck_assert_ptr_null(reader);
    loop_unwatch(loop, &writer);
    loop_unwatch(loop, &writer);
    close(ends[0]);
    close(ends[1]);
    loop_timer_t *last = loop_timer_new(loop, stop, &code);
    loop_timer_arm(last, 0);
    ck_assert_int_eq(loop_run(loop), 7); /* the closed descriptors are not polled any more */
    loop_timer_destroy(&last);
}
END_TEST

typedef struct {
    link_t *link;
    int n;
} drain_t;

static void take_one(void *context)
{
    drain_t *drain = context;
    frames_t frames;
    link_id_t id;
    /* One a call: the loop must call again although the socket's descriptor gives no new edge. */
    if (link_receive(drain->link, &id, &frames)) {
        frames_free(&frames);
        if (++drain->n == 20) {
            loop_stop(loop, 0);
        }
    }
}

START_TEST(test_socket_with_messages_left_is_called_again_without_a_new_edge)
{
    drain_t drain = {0};
    link_t *dealer = NULL;
    ck_assert_int_eq(link_bind(&drain.link, "tcp://127.0.0.1:*"), ERR_OK);
    ck_assert_int_eq(link_connect(&dealer, link_endpoint(drain.link)), ERR_OK);
    zmq_pollitem_t item = {.socket = link_socket(dealer), .events = ZMQ_POLLOUT};
    ck_assert_int_eq(zmq_poll(&item, 1, 5000), 1);
    for (int i = 0; i < 20; i++) {
        frames_t frames = {.head = blob_new("h", 1)};
        ck_assert(link_send(dealer, NULL, &frames));
    }
    loop_watch_t *watch = loop_watch_socket(loop, link_socket(drain.link), take_one, &drain);
    loop_run(loop);
    ck_assert_int_eq(drain.n, 20);
    loop_unwatch(loop, &watch);
    link_destroy(&dealer);
    link_destroy(&drain.link);
    link_shutdown();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop");
    TCase *tests = tcase_create("loop");
    tcase_add_checked_fixture(tests, start, end);
    tcase_add_test(tests, test_timers_fire_once_in_the_order_of_their_times_then_of_arming);
    tcase_add_test(tests, test_timer_armed_twice_counts_once_and_disarmed_never);
    tcase_add_test(tests, test_timer_that_rearms_itself_in_the_past_starves_nobody);
    tcase_add_test(tests, test_timer_may_destroy_itself);
    tcase_add_test(tests, test_signals_are_events_and_a_broken_pipe_is_an_error);
    tcase_add_test(tests, test_turn_runs_before_each_sleep_and_again_forbids_the_sleep);
    tcase_add_test(tests,
                   test_descriptors_are_watched_for_both_directions_and_unwatched_inside_a_call);
    tcase_add_test(tests, test_socket_with_messages_left_is_called_again_without_a_new_edge);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

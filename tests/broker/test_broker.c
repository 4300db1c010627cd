/* The glue over real sockets: binding, draining, the timer. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "common/link.h"
#include "common/log.h"

enum { PATIENCE_MS = 10000 };

static loop_t *loop;
static broker_t *broker;
static broker_settings_t settings;

static void start(void)
{
    log_open("test", LOG_WARN);
    settings = (broker_settings_t){.frontend = "tcp://127.0.0.1:*",
                                   .backend = "tcp://127.0.0.1:*",
                                   .core = {.incarnation = "b", .heartbeat_ms = 50}};
    loop = loop_new();
    ck_assert_int_eq(broker_open(&broker, loop, &settings), ERR_OK);
}

static void end(void)
{
    broker_destroy(&broker);
    broker_destroy(&broker);
    loop_destroy(&loop);
    link_shutdown();
}

START_TEST(test_port_in_use_names_the_side_and_leaves_nothing_behind)
{
    broker_t *second = NULL;
    settings.frontend = broker_endpoint(broker, BROKER_FRONTEND);
    ck_assert_int_eq(broker_open(&second, loop, &settings), ERR_BUSY);
    ck_assert_ptr_nonnull(strstr(err_text(), "frontend: cannot bind \"tcp://127.0.0.1:"));
    settings.frontend = "tcp://127.0.0.1:*";
    settings.backend = broker_endpoint(broker, BROKER_BACKEND);
    ck_assert_int_eq(broker_open(&second, loop, &settings), ERR_BUSY);
    ck_assert_int_eq(strncmp(err_text(), "backend", 7), 0);
    ck_assert_ptr_null(second);
}
END_TEST

static link_t *peer;
static loop_timer_t *patience;
static msg_type_t heard[4];
static int heard_n;

static void give_up(void *context)
{
    (void)context;
    loop_stop(loop, 1);
}

static loop_timer_t *greeter, *later;

static void greet(void *context)
{
    (void)context;
    msg_t hello = {.type = MSG_HELLO};
    hello.hello.role = WIRE_ROLE_WORKER;
    hello.hello.name = str_of("w");
    hello.hello.incarnation = str_of("0123456789abcdef");
    hello.hello.store_id = hello.hello.host = hello.hello.version = str_of("");
    frames_t frames = frames_of(&hello, NULL);
    if (!link_send(peer, NULL, &frames)) {
        /* Not connected yet (IMMEDIATE): again soon. */
        loop_timer_arm(greeter, loop_now_ms(loop) + 5);
    }
}

static void hear(void *context)
{
    (void)context;
    frames_t frames;
    while (link_receive(peer, NULL, &frames)) {
        ck_assert_int_eq(wire_peek(blob_data(frames.head), blob_n(frames.head), &heard[heard_n]),
                         ERR_OK);
        frames_free(&frames);
        if (heard[heard_n++] == MSG_RECONNECT) {
            loop_stop(loop, 0);
        }
    }
}

static void speak_when_forgotten(void *context)
{
    (void)context;
    msg_t tickets = {.type = MSG_TICKETS};
    frames_t frames = frames_of(&tickets, NULL);
    ck_assert(link_send(peer, NULL, &frames));
}

START_TEST(test_p9_worker_is_greeted_and_after_its_silence_a_stranger)
{
    ck_assert_int_eq(link_connect(&peer, broker_endpoint(broker, BROKER_BACKEND)), ERR_OK);
    loop_watch_t *watch = loop_watch_socket(loop, link_socket(peer), hear, NULL);
    patience = loop_timer_new(loop, give_up, NULL);
    greeter = loop_timer_new(loop, greet, NULL);
    later = loop_timer_new(loop, speak_when_forgotten, NULL);
    loop_timer_arm(patience, loop_now_ms(loop) + PATIENCE_MS);
    loop_timer_arm(greeter, 0);
    loop_timer_arm(later, loop_now_ms(loop) + 1000);
    ck_assert_int_eq(loop_run(loop), 0);
    ck_assert_int_eq(heard_n, 2);
    ck_assert_int_eq(heard[0], MSG_HELLO_OK);
    ck_assert_int_eq(heard[1], MSG_RECONNECT);
    loop_unwatch(loop, &watch);
    link_destroy(&peer);
    loop_timer_destroy(&patience);
    loop_timer_destroy(&greeter);
    loop_timer_destroy(&later);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("broker");
    TCase *tests = tcase_create("broker");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, start, end);
    tcase_add_test(tests, test_port_in_use_names_the_side_and_leaves_nothing_behind);
    tcase_add_test(tests, test_p9_worker_is_greeted_and_after_its_silence_a_stranger);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

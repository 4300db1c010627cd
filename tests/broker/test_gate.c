/* Keys over real sockets: who gets through the handshake, who stays, and that it fails closed. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "broker/broker.h"
#include "broker/gate.h"
#include "common/clock.h"
#include "common/keys.h"
#include "common/link.h"
#include "common/log.h"

enum { PATIENCE_MS = 10000, OLD_PEER_MS = 4000 };

static char folder[64], keys[80];
static loop_t *loop;
static broker_t *broker;
static loop_timer_t *timer;

static const char *in(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", keys, name);
    return path;
}

static void start(void)
{
    log_open("test", LOG_ERROR);
    strcpy(folder, "/tmp/stint-gate-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(keys, sizeof keys, "%s/keys", folder);
    ck_assert_int_eq(keys_init(keys), ERR_OK);
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east"), ERR_OK);
    loop = loop_new();
    broker_settings_t settings = {.frontend = "tcp://127.0.0.1:*",
                                  .backend = "tcp://127.0.0.1:*",
                                  .keys = keys,
                                  .core = {.incarnation = "b", .heartbeat_ms = 1000}};
    ck_assert_msg(broker_open(&broker, loop, &settings) == ERR_OK, "%s", err_text());
}

static void end(void)
{
    char command[128];
    loop_timer_destroy(&timer);
    broker_destroy(&broker);
    loop_destroy(&loop);
    link_shutdown();
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

/* -- the loop runs until a condition holds */

typedef bool (*condition_t)(void *context);
static condition_t wanted;
static void *wanted_context;
static int64_t give_up_at;
static bool held;

static void look(void *context)
{
    (void)context;
    held = wanted(wanted_context);
    if (held || loop_now_ms(loop) > give_up_at) {
        loop_stop(loop, 0);
    } else {
        loop_timer_arm(timer, loop_now_ms(loop) + 5);
    }
}

static bool run_until(condition_t condition, void *context, int64_t patience_ms)
{
    wanted = condition;
    wanted_context = context;
    give_up_at = clock_now_ms() + patience_ms;
    loop_timer_destroy(&timer);
    timer = loop_timer_new(loop, look, NULL);
    loop_timer_arm(timer, 0);
    loop_run(loop);
    return held;
}

/* -- peers */

typedef struct {
    link_t *link;
    link_news_t news;
    uint64_t role;
    const char *name;
    uint8_t incarnation[WIRE_PEER_N];
    int greeted_n;
} peer_under_test_t;

static peer_under_test_t connected(broker_side_t side, const link_curve_t *curve)
{
    static uint8_t made_n;
    peer_under_test_t peer = {.incarnation = {++made_n}};
    ck_assert_int_eq(link_connect_curve(&peer.link, broker_endpoint(broker, side), curve), ERR_OK);
    return peer;
}

static bool has_news(void *context)
{
    peer_under_test_t *peer = context;
    link_news_t news = link_handshake_news(peer->link);
    peer->news = news ? news : peer->news;
    return peer->news != LINK_NOTHING;
}

static link_news_t handshake(broker_side_t side, const link_curve_t *curve)
{
    peer_under_test_t peer = connected(side, curve);
    run_until(has_news, &peer, PATIENCE_MS);
    link_destroy(&peer.link);
    return peer.news;
}

static link_curve_t key_of(const char *file, uint64_t role)
{
    link_curve_t curve;
    ck_assert_msg(keys_load_peer(&curve, in(file), role, "east") == ERR_OK, "%s", err_text());
    return curve;
}

static void hello(peer_under_test_t *peer)
{
    msg_t msg = {.type = MSG_HELLO};
    msg.hello.role = peer->role;
    msg.hello.name = str_of(peer->name);
    msg.hello.incarnation = str_bytes(peer->incarnation, WIRE_PEER_N);
    msg.hello.store_id = str_of("fedcba9876543210");
    msg.hello.host = msg.hello.version = str_of("");
    frames_t frames = frames_of(&msg, NULL);
    link_send(peer->link, NULL, &frames);
}

static void hear(peer_under_test_t *peer)
{
    frames_t frames;
    while (link_receive(peer->link, NULL, &frames)) {
        msg_type_t type = MSG_NONE;
        ck_assert_int_eq(wire_peek(blob_data(frames.head), blob_n(frames.head), &type), ERR_OK);
        peer->greeted_n += type == MSG_HELLO_OK;
        frames_free(&frames);
    }
}

static bool is_greeted(void *context)
{
    peer_under_test_t *peer = context;
    hello(peer);
    hear(peer);
    return peer->greeted_n > 0;
}

/* A worker that holds its key. */
static peer_under_test_t east(void)
{
    link_curve_t curve = key_of("east.key", WIRE_ROLE_WORKER);
    peer_under_test_t peer = connected(BROKER_BACKEND, &curve);
    peer.role = WIRE_ROLE_WORKER;
    peer.name = "east";
    return peer;
}

/* -- tests */

START_TEST(test_only_keys_that_are_there_get_in)
{
    link_curve_t key = key_of("east.key", WIRE_ROLE_WORKER), stranger = key;
    ck_assert_int_eq(handshake(BROKER_BACKEND, &key), LINK_ADMITTED);
    ck_assert_int_eq(zmq_curve_keypair(stranger.public_key, stranger.secret_key), 0);
    ck_assert_int_eq(handshake(BROKER_BACKEND, &stranger), LINK_REFUSED);
    ck_assert_int_eq(handshake(BROKER_FRONTEND, &stranger), LINK_REFUSED);
    ck_assert_int_eq(handshake(BROKER_BACKEND, NULL), LINK_REFUSED);
    ck_assert_int_eq(handshake(BROKER_FRONTEND, NULL), LINK_REFUSED);
}
END_TEST

START_TEST(test_a_role_gets_in_at_its_own_side_only)
{
    link_curve_t key = key_of("east.key", WIRE_ROLE_WORKER);
    link_curve_t api = key_of("api.key", WIRE_ROLE_API);
    link_curve_t scheduler = key_of("scheduler.key", WIRE_ROLE_SCHEDULER);
    ck_assert_int_eq(handshake(BROKER_FRONTEND, &api), LINK_ADMITTED);
    ck_assert_int_eq(handshake(BROKER_FRONTEND, &scheduler), LINK_ADMITTED);
    ck_assert_int_eq(handshake(BROKER_BACKEND, &api), LINK_REFUSED);
    ck_assert_int_eq(handshake(BROKER_BACKEND, &scheduler), LINK_REFUSED);
    ck_assert_int_eq(handshake(BROKER_FRONTEND, &key), LINK_REFUSED);
}
END_TEST

START_TEST(test_a_peer_does_not_speak_to_a_broker_of_another_fleet)
{
    link_curve_t key = key_of("east.key", WIRE_ROLE_WORKER), other;
    ck_assert_int_eq(zmq_curve_keypair(key.server_key, other.secret_key), 0);
    peer_under_test_t peer = connected(BROKER_BACKEND, &key);
    run_until(has_news, &peer, 1000); /* libzmq's server is silent to what it cannot read */
    ck_assert_int_ne(peer.news, LINK_ADMITTED);
    link_destroy(&peer.link);
}
END_TEST

START_TEST(test_a_key_cannot_take_another_role_or_name)
{
    static const struct {
        const char *file, *name;
        uint64_t key_role, role;
        broker_side_t side;
        bool greeted;
    } cases[] = {
        {"east.key", "east", WIRE_ROLE_WORKER, WIRE_ROLE_WORKER, BROKER_BACKEND, true},
        {"east.key", "east-7", WIRE_ROLE_WORKER, WIRE_ROLE_WORKER, BROKER_BACKEND, true},
        {"east.key", "west", WIRE_ROLE_WORKER, WIRE_ROLE_WORKER, BROKER_BACKEND, false},
        {"scheduler.key", "s", WIRE_ROLE_SCHEDULER, WIRE_ROLE_API, BROKER_FRONTEND, false},
        {"scheduler.key", "s", WIRE_ROLE_SCHEDULER, WIRE_ROLE_SCHEDULER, BROKER_FRONTEND, true},
        {"api.key", "a", WIRE_ROLE_API, WIRE_ROLE_SCHEDULER, BROKER_FRONTEND, false},
        {"api.key", "a", WIRE_ROLE_API, WIRE_ROLE_API, BROKER_FRONTEND, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        link_curve_t curve = key_of(cases[i].file, cases[i].key_role);
        peer_under_test_t peer = connected(cases[i].side, &curve);
        peer.role = cases[i].role;
        peer.name = cases[i].name;
        ck_assert(run_until(has_news, &peer, PATIENCE_MS));
        ck_assert_int_eq(peer.news, LINK_ADMITTED);
        bool greeted = run_until(is_greeted, &peer, cases[i].greeted ? PATIENCE_MS : 300);
        ck_assert_msg(greeted == cases[i].greeted, "case %zu", i);
        link_destroy(&peer.link);
    }
}
END_TEST

static bool is_refused(void *context)
{
    peer_under_test_t *peer = context;
    link_news_t news = link_handshake_news(peer->link);
    hear(peer);
    return news == LINK_REFUSED;
}

START_TEST(test_a_removed_key_is_cut_off_while_it_is_connected)
{
    peer_under_test_t peer = east();
    ck_assert(run_until(is_greeted, &peer, PATIENCE_MS));
    ck_assert_int_eq(keys_remove(keys, "east"), ERR_OK);
    /* Not only unheard: its connection is closed, and libzmq's next try is refused. */
    ck_assert(run_until(is_refused, &peer, PATIENCE_MS));
    peer.greeted_n = 0;
    link_reconnect(peer.link);
    ck_assert(run_until(is_refused, &peer, PATIENCE_MS));
    ck_assert_int_eq(peer.greeted_n, 0);
    link_destroy(&peer.link);
}
END_TEST

START_TEST(test_a_removed_key_that_never_said_hello_is_cut_off_too)
{
    peer_under_test_t peer = east();
    ck_assert(run_until(has_news, &peer, PATIENCE_MS));
    ck_assert_int_eq(peer.news, LINK_ADMITTED);
    ck_assert_int_eq(keys_remove(keys, "east"), ERR_OK);
    ck_assert(run_until(is_refused, &peer, PATIENCE_MS)); /* libzmq came again by itself */
    ck_assert_int_eq(peer.greeted_n, 0);
    link_destroy(&peer.link);
}
END_TEST

/* As common/lines does: who came before the broker knew has to try again. */
static bool is_greeted_in_the_end(void *context)
{
    peer_under_test_t *peer = context;
    if (link_handshake_news(peer->link) == LINK_REFUSED) {
        link_reconnect(peer->link);
    }
    return is_greeted(peer);
}

/* A DEALER without our profile: it stays silent, or gives itself a name. */
static void *foreign(const link_curve_t *curve, const char *name)
{
    void *socket = zmq_socket(link_context(), ZMQ_DEALER);
    int never = -1, linger = 0;
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, curve->public_key, LINK_KEY_N + 1);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, curve->secret_key, LINK_KEY_N + 1);
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, curve->server_key, LINK_KEY_N + 1);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    if (name) {
        zmq_setsockopt(socket, ZMQ_ROUTING_ID, name, strlen(name));
    }
    ck_assert_int_eq(zmq_socket_monitor(socket, "inproc://foreign",
                                        ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED),
                     0);
    ck_assert_int_eq(zmq_connect(socket, broker_endpoint(broker, BROKER_BACKEND)), 0);
    return socket;
}

static bool has_event(void *context)
{
    struct {
        void *monitor;
        uint16_t kind;
    } *wanted_event = context;
    uint8_t event[16], endpoint[1];
    while (zmq_recv(wanted_event->monitor, event, sizeof event, ZMQ_DONTWAIT) == 6) {
        uint16_t kind;
        memcpy(&kind, event, sizeof kind);
        zmq_recv(wanted_event->monitor, endpoint, sizeof endpoint, ZMQ_DONTWAIT);
        if (kind == wanted_event->kind) {
            return true;
        }
    }
    return false;
}

START_TEST(test_who_is_admitted_and_says_no_hello_is_cut_off)
{
    link_curve_t key = key_of("east.key", WIRE_ROLE_WORKER);
    void *socket = foreign(&key, NULL), *monitor = zmq_socket(link_context(), ZMQ_PAIR);
    struct {
        void *monitor;
        uint16_t kind;
    } event = {monitor, ZMQ_EVENT_HANDSHAKE_SUCCEEDED};
    ck_assert_int_eq(zmq_connect(monitor, "inproc://foreign"), 0);
    ck_assert(run_until(has_event, &event, PATIENCE_MS));
    /* A message that never ends is no HELLO. */
    ck_assert_int_eq(zmq_send(socket, "x", 1, ZMQ_SNDMORE), 1);
    event.kind = ZMQ_EVENT_DISCONNECTED;
    ck_assert(run_until(has_event, &event, PATIENCE_MS));
    zmq_close(socket);
    zmq_close(monitor);
}
END_TEST

START_TEST(test_who_gives_itself_a_name_is_cut_off_when_it_speaks)
{
    link_curve_t key = key_of("east.key", WIRE_ROLE_WORKER);
    void *socket = foreign(&key, "a-name"), *monitor = zmq_socket(link_context(), ZMQ_PAIR);
    struct {
        void *monitor;
        uint16_t kind;
    } event = {monitor, ZMQ_EVENT_HANDSHAKE_SUCCEEDED};
    ck_assert_int_eq(zmq_connect(monitor, "inproc://foreign"), 0);
    ck_assert(run_until(has_event, &event, PATIENCE_MS));
    int64_t began = clock_now_ms();
    ck_assert_int_eq(zmq_send(socket, "", 0, ZMQ_SNDMORE), 0);
    ck_assert_int_eq(zmq_send(socket, "head", 4, ZMQ_SNDMORE), 4);
    ck_assert_int_eq(zmq_send(socket, "", 0, 0), 0);
    event.kind = ZMQ_EVENT_DISCONNECTED;
    ck_assert(run_until(has_event, &event, PATIENCE_MS));
    ck_assert_int_lt(clock_now_ms() - began, 4500); /* not for want of a HELLO */
    zmq_close(socket);
    zmq_close(monitor);
}
END_TEST

START_TEST(test_one_key_cannot_hold_any_number_of_connections)
{
    enum { MANY = 300 };
    link_curve_t key = key_of("east.key", WIRE_ROLE_WORKER);
    peer_under_test_t peers[MANY];
    int admitted_n = 0, refused_n = 0;
    for (int i = 0; i < MANY; i++) {
        peers[i] = connected(BROKER_BACKEND, &key);
    }
    for (int i = 0; i < MANY; i++) {
        ck_assert(run_until(has_news, &peers[i], PATIENCE_MS));
        admitted_n += peers[i].news == LINK_ADMITTED;
        refused_n += peers[i].news == LINK_REFUSED;
        link_destroy(&peers[i].link);
    }
    ck_assert_int_le(admitted_n, 256);
    ck_assert_int_ge(refused_n, MANY - 256);
}
END_TEST

START_TEST(test_a_directory_that_is_replaced_is_seen)
{
    char aside[100];
    peer_under_test_t peer = east();
    ck_assert(run_until(is_greeted, &peer, PATIENCE_MS));
    snprintf(aside, sizeof aside, "%s.aside", keys);
    log_open("test", LOG_ERROR + 1);
    ck_assert_int_eq(rename(keys, aside), 0);
    ck_assert_int_eq(keys_init(keys), ERR_OK);
    ck_assert(run_until(is_refused, &peer, PATIENCE_MS)); /* other keys are in force */
    link_destroy(&peer.link);
}
END_TEST

START_TEST(test_a_key_that_is_added_is_admitted_without_a_restart)
{
    link_curve_t west;
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "west"), ERR_OK);
    ck_assert_int_eq(keys_load_peer(&west, in("west.key"), WIRE_ROLE_WORKER, "west"), ERR_OK);
    peer_under_test_t peer = connected(BROKER_BACKEND, &west);
    peer.role = WIRE_ROLE_WORKER;
    peer.name = "west";
    ck_assert(run_until(is_greeted_in_the_end, &peer, PATIENCE_MS));
    link_destroy(&peer.link);
}
END_TEST

START_TEST(test_a_table_that_is_lost_admits_nobody)
{
    peer_under_test_t peer = east();
    ck_assert(run_until(is_greeted, &peer, PATIENCE_MS));
    log_open("test", LOG_ERROR + 1);
    chmod(in("authorized"), 0777); /* anybody could have written there */
    ck_assert(run_until(is_refused, &peer, PATIENCE_MS));
    link_destroy(&peer.link);
}
END_TEST

static void on_change(void *context)
{
    (void)context;
}

/* -- without an authenticator: libzmq's default is to let everybody in */

START_TEST(test_without_an_authenticator_nobody_gets_in)
{
    gate_t *gate = NULL;
    link_t *router = NULL;
    broker_destroy(&broker);
    link_curve_t key = key_of("east.key", WIRE_ROLE_WORKER), own;
    ck_assert_int_eq(keys_load_broker(&own, keys), ERR_OK);
    ck_assert_int_eq(link_bind_curve(&router, "tcp://127.0.0.1:*", &own, GATE_BACKEND), ERR_OK);
    for (int there = 1; there >= 0; there--) {
        peer_under_test_t peer = {0};
        if (there) {
            ck_assert_int_eq(gate_open(&gate, loop, keys, on_change, NULL), ERR_OK);
        }
        ck_assert_int_eq(link_connect_curve(&peer.link, link_endpoint(router), &key), ERR_OK);
        run_until(has_news, &peer, there ? PATIENCE_MS : 4000);
        if (there) {
            ck_assert_int_eq(peer.news, LINK_ADMITTED);
        } else {
            ck_assert_int_ne(peer.news, LINK_ADMITTED);
        }
        link_destroy(&peer.link);
        gate_close(&gate); /* the second round is without it */
    }
    link_destroy(&router);
}
END_TEST

START_TEST(test_the_self_test_sees_an_open_door_and_a_shut_one)
{
    gate_t *gate = NULL;
    link_t *shut = NULL;
    char endpoint[64];
    size_t n = sizeof endpoint;
    void *open = zmq_socket(link_context(), ZMQ_ROUTER);
    link_curve_t other;
    broker_destroy(&broker);
    ck_assert_int_eq(gate_open(&gate, loop, keys, on_change, NULL), ERR_OK);
    ck_assert_int_eq(zmq_bind(open, "tcp://127.0.0.1:*"), 0);
    ck_assert_int_eq(zmq_getsockopt(open, ZMQ_LAST_ENDPOINT, endpoint, &n), 0);
    ck_assert_int_eq(gate_test(gate, endpoint), ERR_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err_text(), "a peer without a key was let in"));
    ck_assert_int_eq(zmq_curve_keypair(other.public_key, other.secret_key), 0);
    ck_assert_int_eq(link_bind_curve(&shut, "tcp://127.0.0.1:*", &other, GATE_BACKEND), ERR_OK);
    ck_assert_int_eq(gate_test(gate, link_endpoint(shut)), ERR_INTERNAL);
    zmq_close(open);
    link_destroy(&shut);
    gate_close(&gate);
}
END_TEST

/* -- peers that speak an older ZMTP, which knows no keys */

static int raw(broker_side_t side)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *colon = strrchr(broker_endpoint(broker, side), ':');
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* The other end has closed it. */
static bool is_closed(void *context)
{
    char bytes[256];
    ssize_t n;
    while ((n = read(*(int *)context, bytes, sizeof bytes)) > 0) {
    }
    return n == 0 || (errno != EAGAIN && errno != EINTR);
}

START_TEST(test_an_older_zmtp_has_no_keys_and_is_refused)
{
    static const struct {
        const char *bytes;
        size_t n;
    } greetings[] = {
        {"\x01\x00", 2},                          /* ZMTP 1.0: an anonymous identity */
        {"\x05\x00name", 6},                      /* and one with a name */
        {"\xff\0\0\0\0\0\0\0\1\x7f\0\5\0\0", 14}, /* ZMTP 1.0 of libzmq 3 */
        {"\xff\0\0\0\0\0\0\0\1\x7f\1\5\0\0", 14}, /* ZMTP 2.0, a DEALER */
        {"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
         "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
         64}, /* 3.0, NULL */
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
    };
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        for (int side = 0; side < 2; side++) {
            int fd = raw((broker_side_t)side);
            ck_assert_int_eq(write(fd, greetings[i].bytes, greetings[i].n),
                             (ssize_t)greetings[i].n);
            ck_assert_msg(run_until(is_closed, &fd, OLD_PEER_MS + PATIENCE_MS), "greeting %zu", i);
            close(fd);
        }
    }
    link_curve_t key = key_of("east.key", WIRE_ROLE_WORKER);
    ck_assert_int_eq(handshake(BROKER_BACKEND, &key), LINK_ADMITTED); /* it lives on */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *tests = tcase_create("gate");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, start, end);
    tcase_add_test(tests, test_only_keys_that_are_there_get_in);
    tcase_add_test(tests, test_a_role_gets_in_at_its_own_side_only);
    tcase_add_test(tests, test_a_peer_does_not_speak_to_a_broker_of_another_fleet);
    tcase_add_test(tests, test_a_key_cannot_take_another_role_or_name);
    tcase_add_test(tests, test_a_removed_key_is_cut_off_while_it_is_connected);
    tcase_add_test(tests, test_a_removed_key_that_never_said_hello_is_cut_off_too);
    tcase_add_test(tests, test_who_is_admitted_and_says_no_hello_is_cut_off);
    tcase_add_test(tests, test_who_gives_itself_a_name_is_cut_off_when_it_speaks);
    tcase_add_test(tests, test_one_key_cannot_hold_any_number_of_connections);
    tcase_add_test(tests, test_a_directory_that_is_replaced_is_seen);
    tcase_add_test(tests, test_a_key_that_is_added_is_admitted_without_a_restart);
    tcase_add_test(tests, test_a_table_that_is_lost_admits_nobody);
    tcase_add_test(tests, test_without_an_authenticator_nobody_gets_in);
    tcase_add_test(tests, test_the_self_test_sees_an_open_door_and_a_shut_one);
    tcase_add_test(tests, test_an_older_zmtp_has_no_keys_and_is_refused);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "common/endpoint.h"
#include "common/clock.h"
#include "common/link.h"

enum { PATIENCE_MS = 5000 };

static link_t *router, *dealer;
static link_id_t peer;

static void wait_for(link_t *link, short events)
{
    zmq_pollitem_t item = {.socket = link_socket(link), .events = events};
    ck_assert_int_eq(zmq_poll(&item, 1, PATIENCE_MS), 1);
}

static frames_t frames_with(const char *head, blob_t *body)
{
    return (frames_t){.head = blob_new(head, strlen(head)), .body = body};
}

static bool head_is(const frames_t *frames, const char *head)
{
    return blob_n(frames->head) == strlen(head) &&
           memcmp(blob_data(frames->head), head, strlen(head)) == 0;
}

static void receive(link_t *link, frames_t *out)
{
    int64_t end = clock_now_ms() + PATIENCE_MS;
    while (!link_receive(link, &peer, out)) {
        ck_assert_int_lt(clock_now_ms(), end);
        wait_for(link, ZMQ_POLLIN);
    }
}

static void greet(void)
{
    frames_t frames = frames_with("hello", NULL);
    wait_for(dealer, ZMQ_POLLOUT);
    ck_assert(link_send(dealer, NULL, &frames));
    receive(router, &frames);
    ck_assert(head_is(&frames, "hello"));
    frames_free(&frames);
}

static void start(void)
{
    ck_assert_int_eq(link_bind(&router, "tcp://127.0.0.1:*"), ERR_OK);
    ck_assert_int_eq(link_connect(&dealer, link_endpoint(router)), ERR_OK);
}

static void end(void)
{
    link_destroy(&dealer);
    link_destroy(&router);
    link_destroy(&router);
    link_shutdown();
}

static int option(const link_t *link, int name)
{
    int value = -1;
    size_t n = sizeof value;
    ck_assert_int_eq(zmq_getsockopt(link_socket(link), name, &value, &n), 0);
    return value;
}

START_TEST(test_profile_is_the_one_of_the_protocol)
{
    const link_t *both[] = {router, dealer};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(option(both[i], ZMQ_LINGER), 0);
        ck_assert_int_eq(option(both[i], ZMQ_SNDHWM), 1000);
        ck_assert_int_eq(option(both[i], ZMQ_RCVHWM), 0);
        ck_assert_int_eq(option(both[i], ZMQ_SNDTIMEO), 0);
        ck_assert_int_eq(option(both[i], ZMQ_HANDSHAKE_IVL), 3000);
        ck_assert_int_eq(option(both[i], ZMQ_BACKLOG), 1024);
        ck_assert_int_eq(option(both[i], ZMQ_RECONNECT_IVL), 100);
        ck_assert_int_eq(option(both[i], ZMQ_RECONNECT_IVL_MAX), 5000);
        ck_assert_int_eq(option(both[i], ZMQ_TCP_KEEPALIVE), 1);
        ck_assert_int_eq(option(both[i], ZMQ_HEARTBEAT_IVL), 0);
        int64_t max = 0;
        size_t n = sizeof max;
        ck_assert_int_eq(zmq_getsockopt(link_socket(both[i]), ZMQ_MAXMSGSIZE, &max, &n), 0);
        ck_assert_int_eq(max, 16 << 20);
        char id[255];
        n = sizeof id;
        ck_assert_int_eq(zmq_getsockopt(link_socket(both[i]), ZMQ_ROUTING_ID, id, &n), 0);
        ck_assert_uint_eq(n, 0);
    }
    ck_assert_int_eq(option(dealer, ZMQ_IMMEDIATE), 1);
    char domain[16];
    size_t n = sizeof domain;
    ck_assert_int_eq(zmq_getsockopt(link_socket(router), ZMQ_ZAP_DOMAIN, domain, &n), 0);
    ck_assert_str_eq(domain, "stint");
}
END_TEST

static void hear_connections(link_t *link, uint64_t taken_n, uint64_t introduced_n)
{
    int64_t limit = clock_now_ms() + PATIENCE_MS;
    for (;;) {
        int fd;
        bool opened;
        while (link_connection_news(link, &fd, &opened)) {
            ck_assert_int_gt(fd, 0);
        }
        link_arrivals_t arrivals = link_arrivals(link);
        if (arrivals.taken_n == taken_n && arrivals.introduced_n == introduced_n) {
            return;
        }
        ck_assert_int_lt(clock_now_ms(), limit);
        poll(NULL, 0, 2);
    }
}

START_TEST(test_arrivals_tell_peers_from_strangers)
{
    link_t *own = NULL, *friend = NULL;
    ck_assert_int_eq(link_bind(&own, "tcp://127.0.0.1:*"), ERR_OK);
    ck_assert_ptr_nonnull(link_watch_connections(own));
    ck_assert_int_eq(link_connect(&friend, link_endpoint(own)), ERR_OK);
    hear_connections(own, 1, 1);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port =
                                      htons((uint16_t)atoi(strrchr(link_endpoint(own), ':') + 1))};
    int stranger = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(stranger, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(send(stranger, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    char byte;
    while (recv(stranger, &byte, 1, 0) > 0) {
        /* until it is cut off */
    }
    close(stranger);
    hear_connections(own, 2, 1);
    link_destroy(&friend);
    link_destroy(&own);
}
END_TEST

START_TEST(test_a_link_moves_and_stops_and_listens_again)
{
    link_t *own = NULL, *other = NULL;
    char first[64], second[64];
    ck_assert_int_eq(link_bind(&own, "tcp://127.0.0.1:*"), ERR_OK);
    snprintf(first, sizeof first, "%s", link_endpoint(own));
    ck_assert_int_eq(link_move(own, "tcp://127.0.0.1:*"), ERR_OK);
    snprintf(second, sizeof second, "%s", link_endpoint(own));
    ck_assert_str_ne(first, second);
    ck_assert_int_eq(link_move(own, link_endpoint(router)), ERR_BUSY);
    int64_t limit = clock_now_ms() + PATIENCE_MS;
    while (link_move(own, second) != ERR_OK) {
        ck_assert_int_lt(clock_now_ms(), limit); /* its old place is closed in the background */
    }
    link_listen_stop(own);
    link_listen_stop(own);
    while (link_bind(&other, second) != ERR_OK) {
        ck_assert_int_lt(clock_now_ms(), limit);
    }
    ck_assert_int_eq(link_listen(own), ERR_BUSY);
    link_destroy(&other);
    while (link_listen(own) != ERR_OK) {
        ck_assert_int_lt(clock_now_ms(), limit);
    }
    ck_assert_str_eq(link_endpoint(own), second);
    link_destroy(&own);
}
END_TEST

START_TEST(test_three_frames_travel_both_ways)
{
    frames_t frames = frames_with("head", blob_new("body", 4)), got;
    frames_route(&frames, "0123456789abcdef", 16);
    wait_for(dealer, ZMQ_POLLOUT);
    ck_assert(link_send(dealer, NULL, &frames));
    ck_assert_ptr_null(frames.head);
    ck_assert_ptr_null(frames.body);
    receive(router, &got);
    ck_assert(head_is(&got, "head"));
    ck_assert_uint_eq(got.route_n, 16);
    ck_assert_mem_eq(got.route, "0123456789abcdef", 16);
    ck_assert_uint_eq(blob_n(got.body), 4);
    got.route_n = 0;
    ck_assert(link_send(router, &peer, &got));
    wait_for(dealer, ZMQ_POLLIN);
    ck_assert(link_receive(dealer, NULL, &got));
    ck_assert_uint_eq(got.route_n, 0);
    ck_assert_mem_eq(blob_data(got.body), "body", 4);
    frames_free(&got);
    ck_assert(!link_receive(dealer, NULL, &got));
}
END_TEST

START_TEST(test_large_body_is_shared_and_not_copied)
{
    link_t *near_router = NULL, *near_dealer = NULL;
    ck_assert_int_eq(link_bind(&near_router, "inproc://zero-copy"), ERR_OK);
    ck_assert_int_eq(link_connect(&near_dealer, "inproc://zero-copy"), ERR_OK);
    buffer_t bytes = {0};
    buffer_reserve(&bytes, 1 << 20);
    memset(bytes.data, 'b', 1 << 20);
    bytes.n = 1 << 20;
    blob_t *body = blob_take(&bytes);
    frames_t frames = frames_with("h", blob_ref(body));
    ck_assert(link_send(near_dealer, NULL, &frames));
    /* inproc hands the very message over: its data is the blob's own memory. */
    wait_for(near_router, ZMQ_POLLIN);
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_ge(zmq_msg_recv(&msg, link_socket(near_router), ZMQ_DONTWAIT), 0);
    }
    ck_assert_ptr_eq(zmq_msg_data(&msg), blob_data(body));
    blob_unref(&body); /* the message holds the last reference now: AddressSanitizer watches */
    ck_assert_int_eq(((char *)zmq_msg_data(&msg))[(1 << 20) - 1], 'b');
    zmq_msg_close(&msg);
    link_destroy(&near_dealer);
    link_destroy(&near_router);
}
END_TEST

/* Sizes on both sides of what libzmq keeps inline, in its receive buffer and apart. */
START_TEST(test_what_was_received_is_passed_on_whole_and_may_be_kept)
{
    static const size_t sizes[] = {1, 29, 33, 34, 100, 1024, 8192, 9000, 1 << 20};
    char *bytes = mem_alloc(1 << 20);
    memset(bytes, 'b', 1 << 20);
    greet();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        frames_t frames = frames_with("head", blob_new(bytes, sizes[i])), got;
        ck_assert(link_send(dealer, NULL, &frames));
        receive(router, &got);
        blob_t *kept = blob_ref(got.body);
        ck_assert(link_send(router, &peer, &got)); /* and back as it came */
        link_id_t none;
        int64_t end_ms = clock_now_ms() + PATIENCE_MS;
        while (!link_receive(dealer, &none, &got)) {
            ck_assert_int_lt(clock_now_ms(), end_ms);
            wait_for(dealer, ZMQ_POLLIN);
        }
        ck_assert(head_is(&got, "head"));
        ck_assert_uint_eq(blob_n(got.body), sizes[i]);
        ck_assert_mem_eq(blob_data(got.body), bytes, sizes[i]);
        frames_free(&got);
        ck_assert_mem_eq(blob_data(kept), bytes, sizes[i]);
        blob_unref(&kept);
    }
    free(bytes);
}
END_TEST

START_TEST(test_what_is_over_a_limit_is_not_sent_and_its_references_are_dropped)
{
    greet();
    buffer_t bytes = {0};
    buffer_reserve(&bytes, WIRE_BODY_MAX + 1);
    memset(bytes.data, 0, WIRE_BODY_MAX + 1);
    bytes.n = WIRE_BODY_MAX + 1;
    frames_t frames = frames_with("h", blob_take(&bytes));
    ck_assert(!link_send(dealer, NULL, &frames));
    ck_assert_ptr_null(frames.body);
    buffer_reserve(&bytes, WIRE_HEAD_MAX + 1);
    memset(bytes.data, 0, WIRE_HEAD_MAX + 1);
    bytes.n = WIRE_HEAD_MAX + 1;
    frames = (frames_t){.head = blob_take(&bytes)};
    ck_assert(!link_send(dealer, NULL, &frames));
    greet();
}
END_TEST

static void send_raw(const char *const *parts, const size_t *sizes, int n)
{
    for (int i = 0; i < n; i++) {
        ck_assert_int_ge(zmq_send(link_socket(dealer), parts[i], sizes[i],
                                  i < n - 1 ? ZMQ_SNDMORE | ZMQ_DONTWAIT : ZMQ_DONTWAIT),
                         0);
    }
}

START_TEST(test_p6_what_has_not_three_frames_within_limits_is_counted_and_skipped)
{
    static char large[WIRE_BODY_MAX + 1];
    const char *parts[] = {"", "h", "", "x", "y"};
    size_t sizes[] = {0, 1, 0, 1, 1};
    greet();
    for (int n = 1; n <= 5; n++) {
        if (n != 3) {
            send_raw(parts, sizes, n);
        }
    }
    send_raw((const char *[]){large, "h", ""}, (size_t[]){17, 1, 0}, 3);
    send_raw((const char *[]){"", "", ""}, (size_t[]){0, 0, 0}, 3);
    send_raw((const char *[]){"", large, ""}, (size_t[]){0, WIRE_HEAD_MAX + 1, 0}, 3);
    send_raw((const char *[]){"", "h", large}, (size_t[]){0, 1, WIRE_BODY_MAX + 1}, 3);
    greet(); /* the good message behind all of it */
    ck_assert_uint_eq(link_garbage_n(router), 8);
}
END_TEST

START_TEST(test_stranger_with_a_long_name_of_its_own_is_garbage)
{
    void *stranger = zmq_socket(link_context(), ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(stranger, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(stranger, ZMQ_ROUTING_ID, "a name of more than 15", 22);
    ck_assert_int_eq(zmq_connect(stranger, link_endpoint(router)), 0);
    zmq_send(stranger, "", 0, ZMQ_SNDMORE);
    zmq_send(stranger, "h", 1, ZMQ_SNDMORE);
    zmq_send(stranger, "", 0, 0);
    wait_for(router, ZMQ_POLLIN);
    frames_t frames;
    ck_assert(!link_receive(router, &peer, &frames));
    ck_assert_uint_eq(link_garbage_n(router), 1);
    zmq_close(stranger);
    greet();
}
END_TEST

START_TEST(test_p7_a_gone_or_silent_peer_never_blocks_nor_poisons_the_socket)
{
    link_t *nobody = NULL;
    ck_assert_int_eq(link_connect(&nobody, "tcp://127.0.0.1:1"), ERR_OK);
    frames_t frames = frames_with("h", NULL);
    ck_assert(!link_send(nobody, NULL, &frames));
    link_destroy(&nobody);
    greet();
    /* A peer that does not read: its queue fills, then sends are refused as a whole. */
    static const char filler[4000];
    int sent = 0;
    int64_t began = clock_now_ms();
    for (int i = 0; i < 100000; i++) {
        frames = frames_with("h", blob_new(filler, sizeof filler));
        if (!link_send(router, &peer, &frames)) {
            break;
        }
        sent++;
    }
    ck_assert_int_gt(sent, 0);
    ck_assert_int_lt(sent, 100000);
    ck_assert_int_lt(clock_now_ms() - began, PATIENCE_MS);
    for (int i = 0; i < sent; i++) {
        wait_for(dealer, ZMQ_POLLIN);
        ck_assert(link_receive(dealer, NULL, &frames));
        ck_assert(head_is(&frames, "h"));
        ck_assert_uint_eq(blob_n(frames.body), sizeof filler);
        frames_free(&frames);
    }
    ck_assert_uint_eq(link_garbage_n(dealer), 0);
    /* A peer that is gone: the router says so at once, and goes on with others. */
    link_id_t old = peer;
    link_destroy(&dealer);
    int64_t limit = clock_now_ms() + PATIENCE_MS;
    bool taken = true;
    while (taken) {
        frames = frames_with("h", blob_new(filler, sizeof filler));
        taken = link_send(router, &old, &frames);
        ck_assert_int_lt(clock_now_ms(), limit);
    }
    ck_assert_int_eq(link_connect(&dealer, link_endpoint(router)), ERR_OK);
    greet();
    ck_assert(!link_id_equal(&old, &peer));
    frames = frames_with("again", NULL);
    ck_assert(link_send(router, &peer, &frames));
    wait_for(dealer, ZMQ_POLLIN);
    ck_assert(link_receive(dealer, NULL, &frames));
    ck_assert(head_is(&frames, "again"));
    frames_free(&frames);
}
END_TEST

START_TEST(test_a_handshake_that_failed_is_not_the_end_of_a_connection)
{
    char endpoint[64], secret[LINK_KEY_N + 1];
    link_t *with_keys = NULL;
    link_curve_t curve = {0};
    ck_assert_int_eq(zmq_curve_keypair(curve.public_key, curve.secret_key), 0);
    ck_assert_int_eq(zmq_curve_keypair(curve.server_key, secret), 0);
    ck_assert_int_eq(link_bind_curve(&with_keys, "tcp://127.0.0.1:*", &curve, "d"), ERR_OK);
    snprintf(endpoint, sizeof endpoint, "%s", link_endpoint(with_keys));
    link_destroy(&dealer);
    link_destroy(&router);
    ck_assert_int_eq(link_connect_curve(&dealer, endpoint, NULL), ERR_OK);
    int64_t limit = clock_now_ms() + PATIENCE_MS;
    while (link_handshake_news(dealer) != LINK_REFUSED) {
        ck_assert_int_lt(clock_now_ms(), limit);
        zmq_pollitem_t item = {.socket = link_handshakes(dealer), .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 100);
    }
    /* libzmq has given this connection up for ever, also if a peer without keys comes. */
    link_destroy(&with_keys);
    limit = clock_now_ms() + PATIENCE_MS;
    while (link_bind(&router, endpoint) != ERR_OK) {
        ck_assert_int_lt(clock_now_ms(), limit); /* the old one is closed in the background */
    }
    link_reconnect(dealer);
    greet();
}
END_TEST

START_TEST(test_endpoints_in_use_or_wrong_are_told_in_a_sentence)
{
    link_t *other = NULL;
    ck_assert_int_eq(link_bind(&other, link_endpoint(router)), ERR_BUSY);
    ck_assert_ptr_nonnull(strstr(err_text(), "another process uses this port"));
    ck_assert_int_eq(link_bind(&other, "tcp://127.0.0.1"), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "\"tcp://127.0.0.1\""));
    ck_assert_int_eq(link_connect(&other, "carrier-pigeon://x"), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "carrier-pigeon"));
    ck_assert_ptr_null(other);
}
END_TEST

START_TEST(test_loopback_is_told_from_the_rest)
{
    static const char *const near[] = {"tcp://127.0.0.1:7601", "tcp://127.9.9.9:*",
                                       "tcp://localhost:1",    "tcp://[::1]:1",
                                       "ipc:///tmp/x",         "inproc://x"};
    static const char *const far[] = {"tcp://0.0.0.0:1",
                                      "tcp://*:1",
                                      "tcp://127.evil.example:1",
                                      "tcp://localhost.example:1",
                                      "tcp://[::]:1",
                                      "tcp://1270.0.0.1:1",
                                      "udp://127.0.0.1:1",
                                      ""};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        ck_assert_msg(endpoint_is_loopback(near[i]), "%s", near[i]);
    }
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        ck_assert_msg(!endpoint_is_loopback(far[i]), "%s", far[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link");
    TCase *tests = tcase_create("link");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, start, end);
    tcase_add_test(tests, test_arrivals_tell_peers_from_strangers);
    tcase_add_test(tests, test_a_link_moves_and_stops_and_listens_again);
    tcase_add_test(tests, test_profile_is_the_one_of_the_protocol);
    tcase_add_test(tests, test_three_frames_travel_both_ways);
    tcase_add_test(tests, test_large_body_is_shared_and_not_copied);
    tcase_add_test(tests, test_what_was_received_is_passed_on_whole_and_may_be_kept);
    tcase_add_test(tests, test_what_is_over_a_limit_is_not_sent_and_its_references_are_dropped);
    tcase_add_test(tests, test_p6_what_has_not_three_frames_within_limits_is_counted_and_skipped);
    tcase_add_test(tests, test_stranger_with_a_long_name_of_its_own_is_garbage);
    tcase_add_test(tests, test_p7_a_gone_or_silent_peer_never_blocks_nor_poisons_the_socket);
    tcase_add_test(tests, test_a_handshake_that_failed_is_not_the_end_of_a_connection);
    tcase_add_test(tests, test_endpoints_in_use_or_wrong_are_told_in_a_sentence);
    tcase_add_test(tests, test_loopback_is_told_from_the_rest);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

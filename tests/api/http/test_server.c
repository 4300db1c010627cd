/* server: the whole HTTP side over the real core and a store in memory, in a child process; the
 * test is a client with a raw socket. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "api/http/server.h"
#include "api/store/store_sim.h"
#include "common/clock.h"
#include "common/log.h"

enum { WAIT_MS = 20000, UPLOAD_MAX = 64 << 20 };

static pid_t server;
static int orders = -1; /* a byte to the server: 'd' drain, 'f' disk full, 'r' room again */
static int port;

/* -- the server -------------------------------------------------------------------------------- */

static struct {
    loop_t *loop;
    store_t *store;
    core_t *core;
    http_t *http;
    loop_timer_t *timer;
    int orders;
} child;

static bool nobody(void *context, int broker, frames_t *frames)
{
    (void)context;
    (void)broker;
    frames_free(frames);
    return false;
}

static void on_turn(void *context)
{
    (void)context;
    core_clock(child.core, loop_now_ms(child.loop), clock_wall_ms());
    if (core_turn(child.core)) {
        loop_stop(child.loop, 3);
        return;
    }
    http_turn(child.http);
    loop_timer_arm(child.timer, core_next_at(child.core));
}

static void on_timer(void *context)
{
    (void)context;
}

static void on_signal(void *context, int number)
{
    (void)context;
    if (number == SIGTERM) {
        loop_stop(child.loop, 0);
    }
}

static void on_order(void *context)
{
    (void)context;
    char order = 0;
    if (read(child.orders, &order, 1) != 1) {
        loop_stop(child.loop, 0);
    } else if (order == 'd') {
        http_drain(child.http);
    } else {
        store_sim_full(child.store, order == 'f');
    }
}

static void serve(int report)
{
    static char *brokers[] = {NULL};
    store_options_t in_memory = {.wall_at = clock_wall_ms()};
    core_options_t core = {.heartbeat_ms = 1000,
                           .lease_ms = 30000,
                           .accept_lease_ms = 5000,
                           .max_starts = 10,
                           .max_waiting_jobs = 1000,
                           .name = "api",
                           .host = "test",
                           .now_ms = clock_now_ms(),
                           .wall_at = clock_wall_ms()};
    http_options_t options = {.listen = "127.0.0.1:0",
                              .max_upload = UPLOAD_MAX,
                              .max_expanded = (uint64_t)2 * UPLOAD_MAX,
                              .max_items = 10000000,
                              .max_connections = 256,
                              .brokers = brokers};
    child.loop = loop_new();
    INVARIANT(store_open(&child.store, &in_memory) == ERR_OK);
    INVARIANT(core_open(&child.core, child.store, &core, (core_effects_t){.send = nobody}) ==
              ERR_OK);
    INVARIANT(http_open(&child.http, child.loop, child.core, &options) == ERR_OK);
    child.timer = loop_timer_new(child.loop, on_timer, NULL);
    loop_watch_fd(child.loop, child.orders, on_order, NULL);
    loop_on_turn(child.loop, on_turn, NULL);
    loop_on_signal(child.loop, on_signal, NULL);
    const char *url = http_url(child.http);
    INVARIANT(write(report, url, strlen(url) + 1) > 0);
    int code = loop_run(child.loop);
    core_cancel_waiting(child.core); /* as the api does: while the requests that wait are there */
    http_close(&child.http);
    core_destroy(&child.core);
    store_close(&child.store);
    loop_timer_destroy(&child.timer);
    loop_destroy(&child.loop);
    exit(code);
}

static void start(void)
{
    int report[2], order[2];
    ck_assert_int_eq(pipe(report), 0);
    ck_assert_int_eq(pipe(order), 0);
    server = fork();
    if (server == 0) {
        close(order[1]);
        child.orders = order[0];
        log_open("server", getenv("STINT_TEST_LOG") ? LOG_DEBUG : LOG_ERROR);
        serve(report[1]);
    }
    close(report[1]);
    close(order[0]);
    orders = order[1];
    char url[300] = "";
    ck_assert_int_gt((int)read(report[0], url, sizeof url - 1), 0);
    close(report[0]);
    port = atoi(strrchr(url, ':') + 1);
    ck_assert_int_gt(port, 0);
}

/* The server ends by itself and has leaked nothing (the sanitizer says so by its exit code). */
static void stop(void)
{
    int status = -1;
    ck_assert_int_eq(kill(server, SIGTERM), 0);
    ck_assert_int_eq(waitpid(server, &status, 0), server);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
    close(orders);
}

static void order(char what)
{
    ck_assert_int_eq(write(orders, &what, 1), 1);
}

/* -- the client -------------------------------------------------------------------------------- */

typedef struct {
    int status;
    char head[4096];
    buffer_t body;
    bool closed; /* the server closed the connection after it */
} response_t;

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* -1: the connection is gone. */
static ssize_t read_some(int fd, void *data, size_t n)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ck_assert_msg(poll(&wait, 1, WAIT_MS) == 1, "no answer in time");
    return recv(fd, data, n, 0);
}

static bool write_all(int fd, const void *data, size_t n)
{
    const char *at = data;
    while (n) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent < 0) {
            return false;
        }
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void write_text(int fd, const char *text)
{
    write_all(fd, text, strlen(text));
}

/* One response; `head_only`: it has no body whatever its length says. */
static response_t read_response(int fd, bool head_only)
{
    response_t out = {0};
    size_t n = 0;
    while (n < sizeof out.head - 1 && !strstr(out.head, "\r\n\r\n")) {
        if (read_some(fd, out.head + n, 1) != 1) {
            out.closed = true;
            return out;
        }
        n++;
    }
    out.status = atoi(out.head + 9);
    const char *length = strcasestr(out.head, "Content-Length: ");
    size_t body_n = length && !head_only ? strtoul(length + 16, NULL, 10) : 0;
    while (out.body.n < body_n) {
        char piece[4096];
        size_t left = body_n - out.body.n;
        ssize_t got = read_some(fd, piece, left < sizeof piece ? left : sizeof piece);
        ck_assert_int_gt((int)got, 0);
        buffer_add(&out.body, piece, (size_t)got);
    }
    out.closed = strcasestr(out.head, "Connection: close") != NULL;
    return out;
}

static response_t ask(const char *head, const void *body, size_t n)
{
    int fd = dial();
    ck_assert_int_ge(fd, 0);
    write_text(fd, head);
    write_all(fd, body, n);
    response_t out = read_response(fd, strncmp(head, "HEAD", 4) == 0);
    close(fd);
    return out;
}

static response_t post(const char *target, const char *headers, const void *body, size_t n)
{
    char head[2048];
    snprintf(head, sizeof head,
             "POST /api/v1/batch-jobs/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n%s\r\n",
             target, n, headers);
    return ask(head, body, n);
}

static response_t get(const char *target)
{
    char head[2048];
    snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    return ask(head, "", 0);
}

static json_t *json_of(response_t *response, int status)
{
    ck_assert_msg(response->status == status, "%d: %s%.*s", response->status, response->head,
                  (int)response->body.n, response->body.data ? (char *)response->body.data : "");
    json_t *out = json_loadb((char *)response->body.data, response->body.n, 0, NULL);
    ck_assert_ptr_nonnull(out);
    buffer_free(&response->body);
    return out;
}

static const char *text_of(const json_t *body, const char *key)
{
    const char *out = json_string_value(json_object_get(body, key));
    return out ? out : "(none)";
}

static int number_of(const json_t *body, const char *key)
{
    ck_assert(json_is_integer(json_object_get(body, key)));
    return (int)json_integer_value(json_object_get(body, key));
}

/* The submission is refused with that status; the answer has all of `words`. */
static void refused(const char *target, const char *headers, const char *body, int status,
                    const char *words)
{
    response_t out = post(target, headers, body, strlen(body));
    ck_assert_msg(out.status == status, "%s: %d %.*s", target, out.status, (int)out.body.n,
                  out.body.data ? (char *)out.body.data : "");
    ck_assert_ptr_nonnull(strstr(out.head, "application/problem+json"));
    buffer_add(&out.body, "", 1);
    ck_assert_msg(strstr((char *)out.body.data, words) != NULL, "%s", (char *)out.body.data);
    buffer_free(&out.body);
}

#define CSV    "Content-Type: text/csv\r\n"
#define NDJSON "Content-Type: application/x-ndjson\r\n"
#define JSON   "Content-Type: application/json; charset=utf-8\r\n"
#define HEADER "txn_id,ts,src,dst,amount,ccy\n"

static size_t jobs_n(void)
{
    response_t out = get("/api/v1/batch-jobs/?limit=1000");
    json_t *body = json_of(&out, 200);
    size_t n = json_array_size(json_object_get(body, "jobs"));
    json_decref(body);
    return n;
}

static json_t *submitted(const char *target, const char *headers, const void *data, size_t n)
{
    response_t out = post(target, headers, data, n);
    char location[100];
    json_t *body = json_of(&out, 202);
    snprintf(location, sizeof location, "Location: /api/v1/batch-jobs/%s\r\n",
             text_of(body, "job_id"));
    ck_assert_ptr_nonnull(strstr(out.head, location));
    return body;
}

/* -- the guard --------------------------------------------------------------------------------- */

START_TEST(test_requests_two_programs_may_read_differently_are_refused_and_closed)
{
    static const char *const bad[] = {
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "GET /api/v1/health HTTP/1.1\r\n\r\n",
        "GET /api/v1/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /api/v1/health HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /api/v1/health HTTP/1.1\r\nHost:\r\n\r\n",
        "GET http://x/api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
    };
    start();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd = dial();
        write_text(fd, bad[i]);
        response_t out = read_response(fd, false);
        ck_assert_msg(out.status == 400, "%zu: %d", i, out.status);
        char rest; /* of the library's own answer, for one of them */
        while (read_some(fd, &rest, 1) > 0) {
        }
        buffer_free(&out.body);
        close(fd);
    }
    stop();
}
END_TEST

START_TEST(test_bad_escapes_in_an_address_are_malformed)
{
    static const char *const bad[] = {"/api/v1/health%00", "/api/v1/health?a=%00",
                                      "/api/v1/%zz",       "/api/v1/%c0%af",
                                      "/api/v1/health?%",  "/api/v1/health?a=1&a=1"};
    start();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        response_t out = get(bad[i]);
        ck_assert_msg(out.status == 400, "%s: %d", bad[i], out.status);
        buffer_free(&out.body);
    }
    stop();
}
END_TEST

START_TEST(test_a_head_over_16_kib_is_refused)
{
    start();
    buffer_t head = {0};
    buffer_add_text(&head, "GET /api/v1/health HTTP/1.1\r\nHost: x\r\nX: ");
    for (int i = 0; i < 17000; i++) {
        buffer_add_text(&head, "a");
    }
    buffer_add(&head, "\r\n\r\n", 5);
    response_t out = ask((char *)head.data, "", 0);
    ck_assert_int_eq(out.status, 431);
    buffer_free(&out.body);
    buffer_free(&head);
    stop();
}
END_TEST

/* -- addresses --------------------------------------------------------------------------------- */

START_TEST(test_each_address_has_its_methods)
{
    static const struct {
        const char *request;
        int status;
        const char *has;
    } all[] = {
        {"GET /", 404, "problem+json"},
        {"GET /api/v1/batch-jobs/17", 404, "problem+json"},
        {"GET /api/v1/batch-jobs/017", 404, ""},
        {"GET /api/v1/batch-jobs/x", 404, ""},
        {"GET /api/v1/batch-jobs/17/report", 404, ""},
        {"POST /api/v1/batch-jobs/17/cancel", 404, ""},
        {"GET /api/v1/batch-jobs/submit", 405, "Allow: POST, OPTIONS"},
        {"DELETE /api/v1/batch-jobs/17", 405, "Allow: GET, HEAD, OPTIONS"},
        {"POST /api/v1/health", 405, "Allow: GET"},
        {"OPTIONS /api/v1/health", 204, "Allow: GET"},
        {"HEAD /api/v1/health", 200, "Content-Length: "},
        {"GET /api/v1/health", 200, "Cache-Control: no-store"},
        {"GET /api/v1/workers", 200, "application/json"},
        {"GET /api/v1/batch-jobs/stats/summary", 200, ""},
        {"GET /api/v1/batch-jobs", 200, ""},
        {"GET /api/v1/health?x=1", 422, ""},
        {"GET /api/v1/batch-jobs/?limt=1", 422, ""},
        {"GET /api/v1/batch-jobs/?limit=0", 422, ""},
        {"GET /api/v1/batch-jobs/?limit=1001", 422, ""},
        {"GET /api/v1/batch-jobs/?status=receiving", 422, ""},
        {"GET /api/v1/batch-jobs/?cursor=x", 422, ""},
    };
    start();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char head[200];
        snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: x\r\n\r\n", all[i].request);
        response_t out = ask(head, "", 0);
        ck_assert_msg(out.status == all[i].status, "%s: %d", all[i].request, out.status);
        ck_assert_msg(strstr(out.head, all[i].has) != NULL, "%s: %s", all[i].request, out.head);
        buffer_free(&out.body);
    }
    stop();
}
END_TEST

START_TEST(test_requests_sent_together_are_answered_in_order)
{
    start();
    int fd = dial();
    write_text(fd, "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
                   "GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
                   "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: x\r\n" NDJSON
                   "Content-Length: 5\r\n\r\n1\n2\n3"
                   "GET /api/v1/batch-jobs/ HTTP/1.1\r\nHost: x\r\n\r\n");
    static const int wanted[] = {200, 404, 202, 200};
    for (int i = 0; i < 4; i++) {
        response_t out = read_response(fd, false);
        ck_assert_int_eq(out.status, wanted[i]);
        if (i == 3) {
            buffer_add(&out.body, "", 1);
            ck_assert_ptr_nonnull(strstr((char *)out.body.data, "\"items_total\":3"));
        }
        buffer_free(&out.body);
    }
    close(fd);
    stop();
}
END_TEST

/* -- submissions ------------------------------------------------------------------------------- */

static void check_items(const char *target, const char *headers, const void *data, size_t n,
                        int items)
{
    json_t *job = submitted(target, headers, data, n);
    ck_assert_int_eq(number_of(job, "items_total"), items);
    ck_assert_str_eq(text_of(job, "status"), "pending"); /* as it was accepted */
    json_decref(job);
}

#define ITEMS(target, headers, data, items) check_items(target, headers, data, strlen(data), items)

START_TEST(test_every_form_of_a_body_becomes_a_job)
{
    start();
    ITEMS("submit?task=process_transaction_batch", CSV, HEADER "a\nb\r\n\nc", 4);
    ITEMS("submit?task=process_transaction_batch&param.profile=ap&param.thresholds_minor=%5B100%5D",
          NDJSON, "{}\nbroken\n", 2);
    ITEMS("submit?task=process_transaction_batch", JSON, "[\"line\", {\"a\": 1}]", 2);
    ITEMS("submit?task=noop&priority=-5&chunk_items=137", NDJSON, "1\n\n{\"a\": 2}\n", 2);
    ITEMS("submit?task=noop", JSON, "[1, [2], {\"a\": 3}]", 3);
    ITEMS("submit", JSON, "{\"items\": [1, 2], \"task\": \"noop\", \"params\": {\"sleep_ms\": 1}}",
          2);
    ITEMS("submit", JSON,
          "{\"task\": \"process_transaction_batch\", \"items\": [\"x\", {\"b\": 1}, \"y\"]}", 3);
    ITEMS("submit?task=health_check", "", "", 0);
    ITEMS("submit", JSON, "{\"task\": \"health_check\"}", 0);
    ck_assert_uint_eq(jobs_n(), 9);
    stop();
}
END_TEST

static buffer_t zip(const void *data, size_t n)
{
    buffer_t out = {0};
    z_stream stream = {0};
    ck_assert_int_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    buffer_reserve(&out, deflateBound(&stream, n) + 64);
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)n;
    stream.next_out = out.data;
    stream.avail_out = (uInt)out.capacity;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.n = out.capacity - stream.avail_out;
    deflateEnd(&stream);
    return out;
}

START_TEST(test_gzip_in_both_forms_and_truncated)
{
    start();
    const char *lines = "1\n2\n3\n", *envelope = "{\"task\":\"noop\",\"items\":[1,2]}";
    buffer_t streamed = zip(lines, strlen(lines)), whole = zip(envelope, strlen(envelope));
    check_items("submit?task=noop", NDJSON "Content-Encoding: gzip\r\n", streamed.data, streamed.n,
                3);
    check_items("submit", JSON "Content-Encoding: gzip\r\n", whole.data, whole.n, 2);
    response_t out = post("submit?task=noop", NDJSON "Content-Encoding: gzip\r\n", streamed.data,
                          streamed.n - 1);
    ck_assert_int_eq(out.status, 400);
    buffer_free(&out.body);
    out = post("submit", JSON "Content-Encoding: gzip\r\n", whole.data, whole.n - 1);
    ck_assert_int_eq(out.status, 400);
    buffer_free(&out.body);
    ck_assert_uint_eq(jobs_n(), 2);
    buffer_free(&streamed);
    buffer_free(&whole);
    stop();
}
END_TEST

START_TEST(test_each_reason_to_refuse_has_its_status_and_names_the_place)
{
    start();
    refused("submit?task=nop", NDJSON, "1\n", 422, "did you mean 'noop'");
    refused("submit?task=noop&param.sleep=1", NDJSON, "1\n", 422, "\"field\":\"params.sleep\"");
    refused("submit?task=noop&param.sleep_ms=x", NDJSON, "1\n", 422,
            "\"field\":\"params.sleep_ms\"");
    refused("submit?task=noop&chunk_items=99", NDJSON, "1\n", 422, "\"field\":\"chunk_items\"");
    refused("submit?task=noop&priority=101", NDJSON, "1\n", 422, "\"field\":\"priority\"");
    refused("submit?task=noop&priorty=1", NDJSON, "1\n", 422, "did you mean 'priority'");
    refused("submit?task=noop", CSV, "a\n1\n", 415, "application/x-ndjson");
    refused("submit?task=noop", "Content-Type: text/plain\r\n", "1\n", 415, "text/plain");
    refused("submit?task=noop", "", "1\n", 415, "(none)");
    refused("submit?task=noop", NDJSON "Content-Encoding: br\r\n", "1\n", 415, "br");
    refused("submit?task=noop", "Content-Type: application/json; charset=latin1\r\n", "[1]", 415,
            "UTF-8");
    refused("submit", CSV, "a\n", 422, "\"field\":\"task\"");
    refused("submit?task=noop", NDJSON, "1\n{]\n", 422, "\"line\":2");
    refused("submit?task=noop", JSON, "[1,\n2,\n{\"a\":1,\"a\":2}]", 400,
            "\"pointer\":\"/2\",\"line\":3");
    refused("submit", JSON, "{\"task\":\"noop\",\n\"items\":[1,\nx]}", 400,
            "\"pointer\":\"/items/1\",\"line\":3");
    refused("submit", JSON, "{\"task\":\"noop\",\"item\":[1]}", 422, "did you mean 'items'");
    refused("submit", JSON, "{\"task\":\"noop\"", 400, "not JSON");
    refused("submit?task=noop", NDJSON, "\n\n", 422, "no items");
    refused("submit?task=health_check", NDJSON, "1\n", 422, "takes no items");
    refused("submit?task=process_transaction_batch", CSV, "a,b\n1,2\n", 422, "E_HEADER");
    refused("submit?task=process_transaction_batch", CSV, HEADER, 422, "no items");
    refused("submit?task=process_transaction_batch&param.benford_min=1", CSV, HEADER "1\n", 422,
            "benford_min_minor");
    ck_assert_uint_eq(jobs_n(), 0);
    stop();
}
END_TEST

START_TEST(test_a_chunked_upload_of_many_turns_is_one_job)
{
    start();
    int fd = dial();
    write_text(
        fd,
        "POST /api/v1/batch-jobs/submit?task=process_transaction_batch HTTP/1.1\r\nHost: x\r\n" CSV
        "Transfer-Encoding: chunked\r\n\r\n");
    buffer_t piece = {0};
    for (int i = 0; i < 1000; i++) {
        buffer_printf(&piece, "row %d,with,some,more,fields,and a little text\n", i);
    }
    char size[80];
    snprintf(size, sizeof size, "%zx\r\n" HEADER, strlen(HEADER));
    write_text(fd, size);
    for (int i = 0; i < 200; i++) {
        snprintf(size, sizeof size, "\r\n%zx\r\n", piece.n);
        write_text(fd, size);
        ck_assert(write_all(fd, piece.data, piece.n));
    }
    write_text(fd, "\r\n0\r\n\r\n");
    response_t out = read_response(fd, false);
    json_t *job = json_of(&out, 202);
    ck_assert_int_eq(number_of(job, "items_total"), 200000);
    ck_assert_int_eq(number_of(job, "batches_estimated"), 200);
    json_decref(job);
    buffer_free(&piece);
    close(fd);
    stop();
}
END_TEST

/* More than one turn ends: they wait for their turn in the order they came. */
START_TEST(test_a_crowd_of_submissions_is_shared_over_turns)
{
    enum { CROWD = 200, BAD_EACH = 10 };
    start();
    int fds[CROWD];
    for (int i = 0; i < CROWD; i++) {
        fds[i] = dial();
    }
    kill(server, SIGSTOP);
    for (int i = 0; i < CROWD; i++) {
        write_text(fds[i], i % BAD_EACH
                               ? "POST /api/v1/batch-jobs/submit HTTP/1.1\r\nHost: x\r\n" JSON
                                 "Content-Length: 27\r\n\r\n{\"task\":\"noop\",\"items\":[1]}"
                               : "POST /api/v1/batch-jobs/submit HTTP/1.1\r\nHost: x\r\n" JSON
                                 "Content-Length: 27\r\n\r\n{\"task\":\"nope\",\"items\":[1]}");
    }
    kill(server, SIGCONT);
    for (int i = 0; i < CROWD; i++) {
        response_t out = read_response(fds[i], false);
        ck_assert_int_eq(out.status, i % BAD_EACH ? 202 : 422);
        buffer_free(&out.body);
        close(fds[i]);
    }
    response_t counts = get("/api/v1/batch-jobs/stats/summary");
    json_t *summary = json_of(&counts, 200);
    json_int_t pending = number_of(json_object_get(summary, "jobs"), "pending");
    ck_assert_int_eq(pending, CROWD - CROWD / BAD_EACH);
    json_decref(summary);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = dial();
        write_text(fds[i], "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: x\r\n" NDJSON
                           "Content-Length: 2\r\n\r\n1\n");
    }
    stop(); /* while some wait */
    for (int i = 0; i < CROWD; i++) {
        close(fds[i]);
    }
}
END_TEST

START_TEST(test_a_large_envelope_is_one_job)
{
    start();
    buffer_t body = {0};
    buffer_add_text(&body, "{\"items\": [0");
    for (int i = 1; i < 300000; i++) {
        buffer_printf(&body, ", %d", i);
    }
    buffer_add_text(&body, "], \"task\": \"noop\"}");
    check_items("submit", JSON, body.data, body.n, 300000);
    buffer_free(&body);
    stop();
}
END_TEST

START_TEST(test_a_client_that_goes_away_leaves_nothing)
{
    start();
    buffer_t lines = {0};
    for (int i = 0; i < 100000; i++) {
        buffer_printf(&lines, "%d\n", i);
    }
    for (int i = 0; i < 3; i++) {
        int fd = dial();
        write_text(fd, "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: x\r\n" NDJSON
                       "Content-Length: 1000000\r\n\r\n");
        ck_assert(write_all(fd, lines.data, lines.n));
        shutdown(fd, SHUT_WR); /* the server has read all of it when it closes */
        char end;
        while (read_some(fd, &end, 1) > 0) {
        }
        close(fd);
    }
    ck_assert_uint_eq(jobs_n(), 0);
    buffer_free(&lines);
    stop();
}
END_TEST

START_TEST(test_an_error_in_a_large_body_is_answered_before_its_end)
{
    start();
    int fd = dial();
    write_text(fd, "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: x\r\n" NDJSON
                   "Content-Length: 60000000\r\n\r\n{]\n");
    response_t out = read_response(fd, false);
    ck_assert_int_eq(out.status, 422);
    buffer_add(&out.body, "", 1);
    ck_assert_ptr_nonnull(strstr((char *)out.body.data, "\"line\":1"));
    buffer_free(&out.body);
    close(fd);
    stop();
}
END_TEST

START_TEST(test_an_error_in_a_small_body_keeps_the_connection)
{
    start();
    int fd = dial();
    write_text(fd, "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: x\r\n" NDJSON
                   "Content-Length: 7\r\n\r\n{]\n");
    write_text(fd, "1\n2\n");
    response_t out = read_response(fd, false);
    ck_assert_int_eq(out.status, 422);
    buffer_free(&out.body);
    write_text(fd, "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n");
    out = read_response(fd, false);
    ck_assert_int_eq(out.status, 200);
    buffer_free(&out.body);
    close(fd);
    stop();
}
END_TEST

START_TEST(test_who_expects_to_continue_is_refused_without_a_body)
{
    start();
    int fd = dial();
    write_text(fd, "POST /api/v1/batch-jobs/submit?task=unknown_task HTTP/1.1\r\nHost: x\r\n" NDJSON
                   "Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n");
    response_t out = read_response(fd, false);
    ck_assert_int_eq(out.status, 422);
    buffer_free(&out.body);
    close(fd);
    fd = dial();
    write_text(fd, "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: x\r\n" NDJSON
                   "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    out = read_response(fd, true);
    ck_assert_int_eq(out.status, 100);
    write_text(fd, "1\n");
    out = read_response(fd, false);
    ck_assert_int_eq(out.status, 202);
    buffer_free(&out.body);
    close(fd);
    fd = dial();
    char head[300];
    snprintf(head, sizeof head,
             "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: x\r\n" NDJSON
             "Content-Length: %d\r\nExpect: 100-continue\r\n\r\n",
             UPLOAD_MAX + 1);
    write_text(fd, head);
    out = read_response(fd, false);
    ck_assert_int_eq(out.status, 413);
    buffer_free(&out.body);
    close(fd);
    stop();
}
END_TEST

/* -- jobs -------------------------------------------------------------------------------------- */

START_TEST(test_cancel_is_final_and_may_be_repeated)
{
    start();
    json_t *job = submitted("submit?task=noop", NDJSON, "1\n", 2);
    char target[200];
    snprintf(target, sizeof target, "%s/cancel", text_of(job, "job_id"));
    for (int i = 0; i < 2; i++) {
        response_t out = post(target, "", "", 0);
        json_t *body = json_of(&out, 200);
        ck_assert_str_eq(text_of(body, "status"), "cancelled");
        ck_assert_str_eq(text_of(body, "job_id"), text_of(job, "job_id"));
        json_decref(body);
    }
    snprintf(target, sizeof target, "/api/v1/batch-jobs/%s/report", text_of(job, "job_id"));
    response_t out = get(target);
    json_t *body = json_of(&out, 409);
    ck_assert_ptr_nonnull(strstr(text_of(body, "detail"), "cancelled"));
    json_decref(body);
    json_decref(job);
    stop();
}
END_TEST

START_TEST(test_pages_of_the_list_are_stable_under_inserts)
{
    start();
    char ids[7][32], cursor[64] = "", target[200];
    for (int i = 0; i < 7; i++) {
        json_t *job = submitted("submit?task=noop", NDJSON, "1\n", 2);
        snprintf(ids[i], sizeof ids[i], "%s", text_of(job, "job_id"));
        json_decref(job);
    }
    for (int page = 0, seen = 0; page < 4; page++) {
        snprintf(target, sizeof target, "/api/v1/batch-jobs/?limit=2&status=pending&task=noop%s%s",
                 page ? "&cursor=" : "", cursor);
        response_t out = get(target);
        json_t *body = json_of(&out, 200), *job;
        size_t i;
        json_array_foreach(json_object_get(body, "jobs"), i, job)
        {
            ck_assert_str_eq(text_of(job, "job_id"), ids[6 - seen++]);
        }
        ck_assert_int_eq(seen, page < 3 ? page * 2 + 2 : 7);
        ck_assert(page < 3 ? json_is_string(json_object_get(body, "next_cursor"))
                           : json_is_null(json_object_get(body, "next_cursor")));
        snprintf(cursor, sizeof cursor, "%s", text_of(body, "next_cursor"));
        json_decref(body);
        json_decref(submitted("submit?task=noop", NDJSON, "1\n", 2));
    }
    stop();
}
END_TEST

START_TEST(test_summary_counts_and_health_says_what_is_missing)
{
    start();
    json_decref(submitted("submit?task=noop", NDJSON, "1\n", 2));
    response_t out = get("/api/v1/batch-jobs/stats/summary");
    json_t *body = json_of(&out, 200);
    ck_assert_int_eq(number_of(json_object_get(body, "jobs"), "pending"), 1);
    ck_assert_int_eq(number_of(body, "waiting_batches"), 1);
    ck_assert_int_eq(number_of(body, "workers"), 0);
    json_decref(body);
    out = get("/api/v1/health");
    body = json_of(&out, 200);
    ck_assert_str_eq(text_of(body, "status"), "degraded");
    json_decref(body);
    stop();
}
END_TEST

/* -- bad days ---------------------------------------------------------------------------------- */

START_TEST(test_a_full_disk_is_507_and_nothing_is_acknowledged)
{
    start();
    json_decref(submitted("submit?task=noop", NDJSON, "1\n", 2));
    order('f');
    /* The order is read in a turn of its own: ask until it has been. */
    response_t out;
    size_t before = 0;
    do {
        before = jobs_n();
        out = post("submit?task=noop", NDJSON, "1\n", 2);
        buffer_free(&out.body);
    } while (out.status == 202);
    ck_assert_int_eq(out.status, 507);
    ck_assert_ptr_nonnull(strstr(out.head, "Retry-After: "));
    ck_assert_uint_eq(jobs_n(), before);
    out = post("submit?task=noop", NDJSON, "1\n", 2); /* refused at once now */
    ck_assert_int_eq(out.status, 507);
    buffer_free(&out.body);
    out = get("/api/v1/health");
    json_t *body = json_of(&out, 503);
    ck_assert_str_eq(text_of(body, "status"), "unhealthy");
    json_decref(body);
    stop();
}
END_TEST

START_TEST(test_draining_answers_503_and_takes_no_connection)
{
    start();
    int fd = dial();
    write_text(fd, "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n");
    response_t out = read_response(fd, false);
    ck_assert_int_eq(out.status, 200);
    buffer_free(&out.body);
    order('d');
    for (int more = dial(); more >= 0; more = dial()) {
        close(more);
    }
    write_text(fd, "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n");
    out = read_response(fd, false);
    ck_assert_int_eq(out.status, 503);
    ck_assert(out.closed);
    buffer_free(&out.body);
    close(fd);
    stop();
}
END_TEST

START_TEST(test_stopping_in_the_middle_of_uploads_is_clean)
{
    start();
    int open[8];
    buffer_t lines = {0};
    for (int k = 0; k < 100000; k++) {
        buffer_add_text(&lines, "12345678\n");
    }
    for (int i = 0; i < 8; i++) {
        open[i] = dial();
        write_text(open[i],
                   "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: x\r\n" NDJSON
                   "Content-Length: 60000000\r\n\r\n");
        ck_assert(write_all(open[i], lines.data, lines.n));
    }
    stop();
    for (int i = 0; i < 8; i++) {
        close(open[i]);
    }
    buffer_free(&lines);
}
END_TEST

START_TEST(test_an_address_that_cannot_be_had_is_named)
{
    start();
    http_t *http = NULL;
    char taken[64];
    loop_t *loop = loop_new();
    snprintf(taken, sizeof taken, "127.0.0.1:%d", port);
    http_options_t options = {.listen = taken, .max_connections = 1};
    ck_assert_int_eq(http_open(&http, loop, NULL, &options), ERR_BUSY);
    ck_assert_ptr_nonnull(strstr(err_text(), taken));
    options.listen = "0.0.0.0:0";
    ck_assert_int_eq(http_open(&http, loop, NULL, &options), ERR_CONFIG);
    options.listen = ":0";
    ck_assert_int_eq(http_open(&http, loop, NULL, &options), ERR_CONFIG);
    static const char *const bad[] = {
        "8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "::1:80", "1:70000"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.listen = bad[i];
        ck_assert_msg(http_open(&http, loop, NULL, &options) == ERR_CONFIG, "%s", bad[i]);
    }
    ck_assert_ptr_null(http);
    options = (http_options_t){.listen = ":0", .insecure = true, .max_connections = 1};
    ck_assert_int_eq(http_open(&http, loop, NULL, &options), ERR_OK);
    ck_assert_int_eq(strncmp(http_url(http), "http://127.0.0.1:", 17), 0);
    http_close(&http);
    loop_destroy(&loop);
    stop();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server");
    TCase *test = tcase_create("server");
    tcase_set_timeout(test, 60);
    tcase_add_test(test, test_requests_two_programs_may_read_differently_are_refused_and_closed);
    tcase_add_test(test, test_bad_escapes_in_an_address_are_malformed);
    tcase_add_test(test, test_a_head_over_16_kib_is_refused);
    tcase_add_test(test, test_each_address_has_its_methods);
    tcase_add_test(test, test_requests_sent_together_are_answered_in_order);
    tcase_add_test(test, test_every_form_of_a_body_becomes_a_job);
    tcase_add_test(test, test_gzip_in_both_forms_and_truncated);
    tcase_add_test(test, test_each_reason_to_refuse_has_its_status_and_names_the_place);
    tcase_add_test(test, test_a_chunked_upload_of_many_turns_is_one_job);
    tcase_add_test(test, test_a_crowd_of_submissions_is_shared_over_turns);
    tcase_add_test(test, test_a_large_envelope_is_one_job);
    tcase_add_test(test, test_a_client_that_goes_away_leaves_nothing);
    tcase_add_test(test, test_an_error_in_a_large_body_is_answered_before_its_end);
    tcase_add_test(test, test_an_error_in_a_small_body_keeps_the_connection);
    tcase_add_test(test, test_who_expects_to_continue_is_refused_without_a_body);
    tcase_add_test(test, test_cancel_is_final_and_may_be_repeated);
    tcase_add_test(test, test_pages_of_the_list_are_stable_under_inserts);
    tcase_add_test(test, test_summary_counts_and_health_says_what_is_missing);
    tcase_add_test(test, test_a_full_disk_is_507_and_nothing_is_acknowledged);
    tcase_add_test(test, test_draining_answers_503_and_takes_no_connection);
    tcase_add_test(test, test_stopping_in_the_middle_of_uploads_is_clean);
    tcase_add_test(test, test_an_address_that_cannot_be_had_is_named);
    suite_add_tcase(suite, test);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

/* Routed messages a second through the broker, against a bare ROUTER-ROUTER forwarder with the same
 * frames in the same run, in turn. A worker keeps a window of messages of 1 KB out; the api answers
 * each with another; both legs are counted. Processor time is the router's. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "broker/broker.h"
#include "common/clock.h"
#include "common/link.h"
#include "common/log.h"

enum { ROUND_TRIPS = 150000, WINDOW = 400, BODY_BYTES = 1024, ROUNDS = 3 };

typedef struct {
    double per_second, us;
} figure_t;

static char frontend[64], backend[64];
static const char kilobyte[BODY_BYTES];

/* -- the two routers
 * ----------------------------------------------------------------------------------- */

static void run_broker(void)
{
    loop_t *loop = loop_new();
    broker_t *broker = NULL;
    broker_settings_t settings = {.frontend = frontend,
                                  .backend = backend,
                                  .core = {.incarnation = "bench", .heartbeat_ms = 60000}};
    if (broker_open(&broker, loop, &settings)) {
        fprintf(stderr, "%s\n", err_text());
        exit(1);
    }
    loop_run(loop);
}

/* Learns the one connection of each side from the last message it received there; passes frames on
 * untouched. */
static void forward(link_t *from, link_t *to, link_id_t *from_id, const link_id_t *to_id)
{
    for (int i = 0; i < 64; i++) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, link_socket(from), ZMQ_DONTWAIT) < 0) {
            return;
        }
        from_id->n = (uint8_t)zmq_msg_size(&msg);
        memcpy(from_id->bytes, zmq_msg_data(&msg), from_id->n);
        zmq_msg_close(&msg);
        zmq_send(link_socket(to), to_id->bytes, to_id->n, ZMQ_SNDMORE | ZMQ_DONTWAIT);
        int more = 1;
        while (more) {
            zmq_msg_init(&msg);
            zmq_msg_recv(&msg, link_socket(from), 0);
            more = zmq_msg_more(&msg);
            if (zmq_msg_send(&msg, link_socket(to), more ? ZMQ_SNDMORE : 0) < 0) {
                zmq_msg_close(&msg);
            }
        }
    }
}

static void run_forwarder(void)
{
    link_t *front = NULL, *back = NULL;
    link_id_t api = {0}, worker = {0};
    if (link_bind(&front, frontend) || link_bind(&back, backend)) {
        fprintf(stderr, "%s\n", err_text());
        exit(1);
    }
    zmq_pollitem_t items[] = {{.socket = link_socket(front), .events = ZMQ_POLLIN},
                              {.socket = link_socket(back), .events = ZMQ_POLLIN}};
    for (;;) {
        zmq_poll(items, 2, -1);
        forward(front, back, &api, &worker);
        forward(back, front, &worker, &api);
    }
}

/* -- the two ends
 * -------------------------------------------------------------------------------------- */

static void wait_readable(link_t *link)
{
    zmq_pollitem_t item = {.socket = link_socket(link), .events = ZMQ_POLLIN};
    zmq_poll(&item, 1, 1000);
}

static blob_t *body; /* of every message after the HELLO */

static void say(link_t *link, const msg_t *msg, const frames_t *answered)
{
    frames_t frames = frames_of(msg, body ? blob_ref(body) : NULL);
    if (answered) {
        frames_route(&frames, answered->route, answered->route_n);
    }
    zmq_pollitem_t item = {.socket = link_socket(link), .events = ZMQ_POLLOUT};
    zmq_poll(&item, 1, 5000);
    if (!link_send(link, NULL, &frames)) {
        fprintf(stderr, "bench: a message was not taken\n");
        exit(1);
    }
}

static msg_t hello(uint64_t role, const char *incarnation)
{
    msg_t msg = {.type = MSG_HELLO};
    msg.hello.role = role;
    msg.hello.name = str_of("bench");
    msg.hello.incarnation = str_of(incarnation);
    msg.hello.store_id = str_of(role == WIRE_ROLE_API ? "0123456789abcdef" : "");
    msg.hello.host = msg.hello.version = str_of("");
    msg.hello.slots = 1;
    return msg;
}

static void run_api(void)
{
    link_t *link = NULL;
    if (link_connect(&link, frontend)) {
        exit(1);
    }
    msg_t msg = hello(WIRE_ROLE_API, "api-0123456789ab");
    say(link, &msg, NULL);
    body = blob_new(kilobyte, sizeof kilobyte);
    msg_t recorded = {.type = MSG_RECORDED, .recorded.batch = 7};
    frames_t frames;
    for (;;) {
        wait_readable(link);
        while (link_receive(link, NULL, &frames)) {
            msg_type_t type = MSG_NONE;
            if (!wire_peek(blob_data(frames.head), blob_n(frames.head), &type) &&
                type == MSG_ACCEPTED) {
                say(link, &recorded, &frames);
            }
            frames_free(&frames);
        }
    }
}

static int64_t run_worker(void)
{
    link_t *link = NULL;
    if (link_connect(&link, backend)) {
        exit(1);
    }
    msg_t greeting = hello(WIRE_ROLE_WORKER, "wrk-0123456789ab");
    say(link, &greeting, NULL);
    body = blob_new(kilobyte, sizeof kilobyte);
    msg_t accepted = {.type = MSG_ACCEPTED};
    accepted.accepted.worker =
        str_of("a worker with a name that makes this header one hundred bytes long, like most are");
    int out = 0, back = 0;
    int64_t began = clock_now_us();
    while (back < ROUND_TRIPS) {
        while (out - back < WINDOW && out < ROUND_TRIPS) {
            say(link, &accepted, NULL);
            out++;
        }
        wait_readable(link);
        frames_t frames;
        while (link_receive(link, NULL, &frames)) {
            msg_type_t type = MSG_NONE;
            back += !wire_peek(blob_data(frames.head), blob_n(frames.head), &type) &&
                    type == MSG_RECORDED;
            frames_free(&frames);
        }
        if (clock_now_us() - began > 60000000) {
            fprintf(stderr, "bench: %d of %d came back\n", back, out);
            exit(1);
        }
    }
    int64_t took = clock_now_us() - began;
    link_destroy(&link);
    return took;
}

/* -- one run
 * ------------------------------------------------------------------------------------------- */

static pid_t start(void (*run)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run();
        exit(0);
    }
    return pid;
}

static figure_t measure(const char *name, void (*router)(void))
{
    int back[2];
    if (pipe(back)) {
        exit(1);
    }
    snprintf(frontend, sizeof frontend, "ipc://@stint-bench-%d-%s-f", (int)getpid(), name);
    snprintf(backend, sizeof backend, "ipc://@stint-bench-%d-%s-b", (int)getpid(), name);
    pid_t pids[2] = {start(router), start(run_api)};
    fflush(stdout);
    pid_t worker = fork(); /* a process of its own: the parent never has a context before a fork */
    if (worker == 0) {
        /* The forwarder must know the api before the first message: its HELLO is on the way at
         * once. */
        struct timespec pause = {.tv_nsec = 500000000};
        nanosleep(&pause, NULL);
        int64_t took = run_worker();
        exit(write(back[1], &took, sizeof took) != sizeof took);
    }
    int status = 0;
    struct rusage usage;
    waitpid(worker, &status, 0);
    kill(pids[1], SIGKILL);
    waitpid(pids[1], NULL, 0);
    kill(pids[0], SIGKILL);
    wait4(pids[0], NULL, 0, &usage);
    double used = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    int64_t took = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) ||
        read(back[0], &took, sizeof took) != sizeof took) {
        exit(1);
    }
    close(back[0]);
    close(back[1]);
    figure_t out = {.per_second = 2e6 * ROUND_TRIPS / (double)took,
                    .us = used / (2.0 * ROUND_TRIPS)};
    printf("  %-10s %9.0f routed messages/s  %5.2f us of processor a message\n", name,
           out.per_second, out.us);
    return out;
}

/* -- the table
 * ----------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

/* `median (min-max)`; returns the median. */
static double middle(double *values, const char *format, char *out, size_t size)
{
    char text[3][32];
    qsort(values, ROUNDS, sizeof *values, by_size);
    snprintf(text[0], sizeof text[0], format, values[ROUNDS / 2]);
    snprintf(text[1], sizeof text[1], format, values[0]);
    snprintf(text[2], sizeof text[2], format, values[ROUNDS - 1]);
    snprintf(out, size, "%s (%s-%s)", text[0], text[1], text[2]);
    return values[ROUNDS / 2];
}

int main(void)
{
    double forwarder[ROUNDS], broker[ROUNDS], ratio[ROUNDS], us[ROUNDS], bare_us[ROUNDS];
    char cells[5][128];
    log_open("bench", LOG_WARN);
    for (int i = 0; i < ROUNDS; i++) {
        figure_t bare = measure("forwarder", run_forwarder), ours = measure("broker", run_broker);
        forwarder[i] = bare.per_second;
        broker[i] = ours.per_second;
        ratio[i] = ours.per_second / bare.per_second;
        us[i] = ours.us;
        bare_us[i] = bare.us;
    }
    middle(forwarder, "%.0f", cells[0], sizeof cells[0]);
    middle(broker, "%.0f", cells[1], sizeof cells[1]);
    double judged = middle(ratio, "%.2f", cells[2], sizeof cells[2]);
    middle(us, "%.2f", cells[3], sizeof cells[3]);
    middle(bare_us, "%.2f", cells[4], sizeof cells[4]);
    printf(
        "\nThe broker alone, 1 KB messages (%d rounds)\n"
        "| figure | value (median, min-max) | reference in the same run | ratio | target | "
        "verdict |\n|---|---|---|---|---|---|\n"
        "| routed messages a second | %s | bare forwarder: %s | %s | ratio at least 0.75 | %s |\n"
        "| processor us a message | %s | bare forwarder: %s | - | - | - |\n",
        ROUNDS, cells[1], cells[0], cells[2], judged >= 0.75 ? "met" : "missed", cells[3],
        cells[4]);
    return 0;
}

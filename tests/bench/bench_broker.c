/* Routed messages a second through the broker, against a bare ROUTER-ROUTER forwarder with the same
 * frames in the same run. A worker keeps a window of messages out; the api answers each; both legs
 * are counted. Processor time is the router's. */
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

enum { ROUND_TRIPS = 300000, WINDOW = 400 };

static char frontend[64], backend[64];

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

static void say(link_t *link, const msg_t *msg, const frames_t *answered)
{
    frames_t frames = frames_of(msg, NULL);
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

static void measure(const char *name, void (*router)(void))
{
    snprintf(frontend, sizeof frontend, "ipc:///tmp/stint-bench-%d-%s-f", (int)getpid(), name);
    snprintf(backend, sizeof backend, "ipc:///tmp/stint-bench-%d-%s-b", (int)getpid(), name);
    pid_t pids[2] = {start(router), start(run_api)};
    fflush(stdout);
    pid_t worker = fork(); /* a process of its own: the parent never has a context before a fork */
    if (worker == 0) {
        /* The forwarder must know the api before the first message: its HELLO is on the way at
         * once. */
        struct timespec pause = {.tv_nsec = 500000000};
        nanosleep(&pause, NULL);
        int64_t took = run_worker();
        printf("%-10s %9.0f routed messages/s", name, 2e6 * ROUND_TRIPS / (double)took);
        fflush(stdout);
        exit(0);
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
    printf("  %5.2f us of processor a message\n", used / (2.0 * ROUND_TRIPS));
    unlink(frontend + strlen("ipc://"));
    unlink(backend + strlen("ipc://"));
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        exit(1);
    }
}

int main(void)
{
    log_open("bench", LOG_WARN);
    for (int round = 0; round < 2; round++) {
        measure("forwarder", run_forwarder);
        measure("broker", run_broker);
    }
    return 0;
}

/* crowd: thousands of workers in one process, as a broker and an api see them.
 *
 *   crowd BACKEND WORKERS SECONDS
 *
 * Each has a connection and a name of its own, says HELLO, and at every heartbeat TICKETS (one
 * ticket, good for a task that nobody submits) and HEARTBEAT, spread evenly over the second. It
 * runs nothing. When all have been answered it prints READY, then for SECONDS it beats; at the end
 * one line of JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/link.h"
#include "common/log.h"

enum { BEAT_MS = 1000, SLOTS = 4, READY_MS = 60000 };

typedef struct {
    link_t *link;
    char name[32];
    uint8_t incarnation[WIRE_PEER_N];
    bool known, heard; /* by the broker, by the api */
    uint64_t seq;
} member_t;

static member_t *members;
static size_t members_n;
static uint64_t sent_n, received_n;

static void say(member_t *self, const msg_t *msg)
{
    frames_t frames = frames_of(msg, NULL);
    sent_n += link_send(self->link, NULL, &frames);
}

static void hello(member_t *self)
{
    wire_task_offer_t offer = {
        .name = str_of("crowd"), .finalize = str_of(""), .rate_window_ms = 1000, .max_attempts = 3};
    say(self, &(msg_t){.type = MSG_HELLO,
                       .hello = {.role = WIRE_ROLE_WORKER,
                                 .name = str_of(self->name),
                                 .incarnation = str_bytes(self->incarnation, WIRE_PEER_N),
                                 .store_id = str_of(""),
                                 .host = str_of("crowd"),
                                 .version = str_of("bench"),
                                 .slots = SLOTS,
                                 .tasks = &offer,
                                 .tasks_n = 1}});
}

static void beat(member_t *self)
{
    self->seq++;
    wire_grant_t grant = {.ticket = wire_ticket_get(self->incarnation + 8) << 20 | self->seq,
                          .tasks = 1,
                          .max_items = 1000};
    say(self, &(msg_t){.type = MSG_TICKETS,
                       .tickets = {.seq = self->seq,
                                   .ttl_ms = (int64_t)3 * BEAT_MS,
                                   .grants = &grant,
                                   .grants_n = 1}});
    say(self, &(msg_t){.type = MSG_HEARTBEAT,
                       .heartbeat = {.seq = self->seq,
                                     .worker = str_of(self->name),
                                     .slots = SLOTS,
                                     .cpu_permille = 500,
                                     .memory_total = UINT64_C(16) << 30,
                                     .memory_available = UINT64_C(8) << 30,
                                     .batch_items = 1000,
                                     .batch_reason = str_of("start")}});
}

static void hear(member_t *self)
{
    frames_t frames;
    while (link_receive(self->link, NULL, &frames)) {
        msg_type_t type = MSG_NONE;
        bool sound = !wire_peek(blob_data(frames.head), blob_n(frames.head), &type);
        frames_free(&frames);
        received_n += sound;
        self->known = self->known || type == MSG_HELLO_OK;
        self->heard = self->heard || type == MSG_HEARTBEAT_OK;
        if (type == MSG_RECONNECT) {
            hello(self);
        }
    }
}

/* One beat of all, spread over a heartbeat. */
static void round_of_all(void)
{
    int64_t began = clock_now_ms();
    for (size_t i = 0; i < members_n; i++) {
        int64_t due = began + (int64_t)(i * BEAT_MS / members_n), now = clock_now_ms();
        if (due > now) {
            nanosleep(&(struct timespec){.tv_nsec = (due - now) * 1000000}, NULL);
        }
        hear(&members[i]);
        if (members[i].known) {
            beat(&members[i]);
        }
    }
    int64_t left = began + BEAT_MS - clock_now_ms();
    if (left > 0) {
        nanosleep(&(struct timespec){.tv_nsec = left % BEAT_MS * 1000000}, NULL);
    }
}

static bool all_heard(void)
{
    size_t n = 0;
    for (size_t i = 0; i < members_n; i++) {
        n += members[i].heard;
    }
    return n == members_n;
}

static void open_all(const char *backend)
{
    zmq_ctx_set(link_context(), ZMQ_MAX_SOCKETS, (int)members_n + 10);
    for (size_t i = 0; i < members_n; i++) {
        member_t *self = &members[i];
        snprintf(self->name, sizeof self->name, "crowd-%zu", i);
        self->incarnation[7] = 1;
        uint64_t mine = (uint64_t)getpid() << 24 | i;
        memcpy(self->incarnation + 8, &mine, sizeof mine);
        if (link_connect(&self->link, backend)) {
            fprintf(stderr, "crowd: %s\n", err_text());
            exit(EXIT_FAILURE);
        }
    }
}

int main(int argc, char **argv)
{
    members_n = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    if (members_n == 0) {
        fprintf(stderr, "usage: crowd BACKEND WORKERS SECONDS\n");
        return 64;
    }
    log_open("crowd", LOG_WARN);
    members = mem_zero(members_n * sizeof *members);
    open_all(argv[1]);
    int64_t began = clock_now_ms();
    while (!all_heard()) {
        for (size_t i = 0; i < members_n; i++) {
            if (!members[i].known) {
                hello(&members[i]);
            }
        }
        round_of_all();
        if (clock_now_ms() - began > READY_MS) {
            fprintf(stderr, "crowd: not all were answered within a minute\n");
            return EXIT_FAILURE;
        }
    }
    printf("READY\n");
    fflush(stdout);
    sent_n = received_n = 0;
    began = clock_now_ms();
    while (clock_now_ms() - began < atoi(argv[3]) * (int64_t)1000) {
        round_of_all();
    }
    double seconds = (double)(clock_now_ms() - began) / 1000;
    printf("{\"sent_per_s\": %.0f, \"received_per_s\": %.0f}\n", (double)sent_n / seconds,
           (double)received_n / seconds);
    return EXIT_SUCCESS;
}

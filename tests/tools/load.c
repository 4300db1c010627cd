/* load: an HTTP client fast enough to load the api, for tests/bench.
 *
 *   load post PORT CLIENTS JOBS STORE        single-item noop jobs, CLIENTS at a time, until all
 * are recorded load get  PORT CLIENTS REQUESTS PATH     the same with GET load one  PORT JOBS
 * PAUSE_MS STORE       one job at a time, each to its recorded result, on a fleet that slept before
 *   load start PORT JOBS PAUSE_MS START_LOG  one job at a time of a limited task, each to its start
 * in a worker
 *
 * Lives here: the client and its clock. What it prints is one line of JSON, times in microseconds.
 * A result counts as recorded when another process that reads the file STORE/store.db sees it
 * there: the log's index names a commit only after its fdatasync, and looking costs the api
 * nothing. Not here: starting a fleet, judging figures (tests/bench/bench_fleet.py). */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/clock.h"

enum { REPLY_MAX = 16384, LATE_US = 60000000, LOOK_US = 20, CLIENTS_MAX = 4096 };

static const char *const NOOP =
    "POST /api/v1/batch-jobs/submit?task=noop HTTP/1.1\r\nHost: load\r\n"
    "Content-Type: application/x-ndjson\r\nContent-Length: 2\r\n\r\n1\n";
static const char *const LIMITED =
    "POST /api/v1/batch-jobs/submit?task=process_transaction_batch HTTP/1.1\r\nHost: load\r\n"
    "Content-Type: text/csv\r\nContent-Length: 80\r\n\r\n"
    "txn_id,ts,src,dst,amount,ccy\nt1,2024-01-02,a,b,12.34,"
    "GBP\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n";

static void die(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(EXIT_FAILURE);
}

static void check(bool right, const char *what)
{
    if (!right) {
        die(what);
    }
}

static void pause_us(int64_t us)
{
    nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
}

/* -- a connection
 * ------------------------------------------------------------------------------------- */

typedef struct {
    int fd;
    int64_t sent_at;
    size_t n;
    char reply[REPLY_MAX];
} client_t;

static void client_open(client_t *self, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    self->fd = socket(AF_INET, SOCK_STREAM, 0);
    check(self->fd >= 0 && connect(self->fd, (struct sockaddr *)&at, sizeof at) == 0,
          "no connection");
    setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void client_say(client_t *self, const char *request)
{
    size_t n = strlen(request);
    self->n = 0;
    self->sent_at = clock_now_us();
    check(send(self->fd, request, n, MSG_NOSIGNAL) == (ssize_t)n, "a request was not taken");
}

/* Read what is there. True: the reply is whole, and a 2xx. */
static bool client_hear(client_t *self)
{
    ssize_t got = recv(self->fd, self->reply + self->n, sizeof self->reply - 1 - self->n, 0);
    check(got > 0, "the connection was closed");
    self->n += (size_t)got;
    self->reply[self->n] = 0;
    const char *end = strstr(self->reply, "\r\n\r\n");
    const char *length = end ? strcasestr(self->reply, "\r\nContent-Length:") : NULL;
    if (!length || self->n < (size_t)(end - self->reply) + 4 + strtoul(length + 17, NULL, 10)) {
        check(self->n < sizeof self->reply - 1, "a reply is too long");
        return false;
    }
    if (strncmp(self->reply, "HTTP/1.1 2", 10) != 0) {
        die(self->reply);
    }
    return true;
}

static uint64_t client_job(const client_t *self)
{
    const char *id = strstr(self->reply, "\"job_id\":\"");
    check(id, "a reply without a job_id");
    return strtoull(id + strlen("\"job_id\":\""), NULL, 10);
}

/* -- the store, seen from beside
 * ---------------------------------------------------------------------- */

typedef struct {
    sqlite3 *db;
    sqlite3_stmt *statement;
} view_t;

static void view_open(view_t *self, const char *directory, const char *sql)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/store.db", directory);
    check(sqlite3_open_v2(path, &self->db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(self->db, sql, -1, &self->statement, NULL) == SQLITE_OK,
          "the store cannot be read");
    sqlite3_db_config(self->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

static int64_t view_number(view_t *self, int64_t parameter)
{
    sqlite3_reset(self->statement);
    sqlite3_bind_int64(self->statement, 1, parameter);
    int64_t out =
        sqlite3_step(self->statement) == SQLITE_ROW ? sqlite3_column_int64(self->statement, 0) : 0;
    sqlite3_reset(self->statement);
    return out;
}

static void view_close(view_t *self)
{
    sqlite3_finalize(self->statement);
    sqlite3_close(self->db);
}

/* -- figures
 * ------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static int64_t part(int64_t *sorted, size_t n, double share)
{
    size_t at = (size_t)((double)n * share);
    return sorted[at < n ? at : n - 1];
}

static void print_times(const char *name, int64_t *times, size_t n)
{
    qsort(times, n, sizeof *times, by_size);
    printf("\"%s_p50\": %" PRId64 ", \"%s_p99\": %" PRId64 ", \"%s_max\": %" PRId64, name,
           part(times, n, 0.5), name, part(times, n, 0.99), name, times[n - 1]);
}

/* -- many at a time
 * ----------------------------------------------------------------------------------- */

typedef struct {
    int clients;
    size_t n;
    const char *request;
} crowd_t;

/* Replies of all, in `times`; returns how long it took. */
static int64_t run_crowd(const crowd_t *self, int port, int64_t *times)
{
    client_t *clients = mem_zero((size_t)self->clients * sizeof *clients);
    int epoll = epoll_create1(0);
    size_t sent = 0, back = 0;
    for (int i = 0; i < self->clients; i++) {
        client_open(&clients[i], port);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        check(epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event) == 0, "epoll");
    }
    int64_t began = clock_now_us();
    for (int i = 0; i < self->clients && sent < self->n; i++, sent++) {
        client_say(&clients[i], self->request);
    }
    while (back < self->n) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, LATE_US / 1000);
        check(ready > 0, "no reply for a minute");
        for (int i = 0; i < ready; i++) {
            client_t *client = events[i].data.ptr;
            if (!client_hear(client)) {
                continue;
            }
            times[back++] = clock_now_us() - client->sent_at;
            if (sent < self->n) {
                client_say(client, self->request);
                sent++;
            }
        }
    }
    int64_t took = clock_now_us() - began;
    for (int i = 0; i < self->clients; i++) {
        close(clients[i].fd);
    }
    close(epoll);
    free(clients);
    return took;
}

static void wait_for(view_t *view, int64_t parameter, int64_t wanted, int64_t look_us)
{
    int64_t began = clock_now_us();
    while (view_number(view, parameter) < wanted) {
        check(clock_now_us() - began < LATE_US, "not recorded within a minute");
        pause_us(look_us);
    }
}

static void post(int port, const crowd_t *crowd, const char *store)
{
    view_t view;
    view_open(&view, store,
              "SELECT n FROM task_count WHERE state = 'completed'"
              " AND task_id = (SELECT id FROM task WHERE name = 'noop')");
    int64_t *times = mem_alloc(crowd->n * sizeof *times), before = view_number(&view, 0);
    int64_t began = clock_now_us(), took = run_crowd(crowd, port, times);
    wait_for(&view, 0, before + (int64_t)crowd->n, 1000);
    int64_t recorded = clock_now_us() - began;
    printf("{\"replies_per_s\": %.0f, \"recorded_per_s\": %.0f, ",
           (double)crowd->n * 1e6 / (double)took, (double)crowd->n * 1e6 / (double)recorded);
    print_times("reply_us", times, crowd->n);
    printf("}\n");
    free(times);
    view_close(&view);
}

static void get(int port, const crowd_t *crowd)
{
    int64_t *times = mem_alloc(crowd->n * sizeof *times);
    int64_t took = run_crowd(crowd, port, times);
    printf("{\"replies_per_s\": %.0f, ", (double)crowd->n * 1e6 / (double)took);
    print_times("reply_us", times, crowd->n);
    printf("}\n");
    free(times);
}

/* -- one at a time
 * ------------------------------------------------------------------------------------ */

static client_t lonely;

static int64_t reply_to(const char *request)
{
    client_say(&lonely, request);
    while (!client_hear(&lonely)) {
    }
    return clock_now_us() - lonely.sent_at;
}

static void one(int port, size_t n, int64_t pause_ms, const char *store)
{
    view_t view;
    view_open(&view, store, "SELECT state = 'completed' FROM processing_job WHERE id = ?1");
    int64_t *replies = mem_alloc(n * sizeof *replies), *recorded = mem_alloc(n * sizeof *recorded);
    client_open(&lonely, port);
    for (size_t i = 0; i < n; i++) {
        pause_us(pause_ms * 1000);
        replies[i] = reply_to(NOOP);
        wait_for(&view, (int64_t)client_job(&lonely), 1, LOOK_US);
        recorded[i] = clock_now_us() - lonely.sent_at;
    }
    printf("{");
    print_times("reply_us", replies, n);
    printf(", ");
    print_times("recorded_us", recorded, n);
    printf("}\n");
    free(replies);
    free(recorded);
    view_close(&view);
}

/* The start log is written just before the child gets the batch. */
static off_t size_of(const char *path)
{
    struct stat status;
    check(stat(path, &status) == 0, "no start log there");
    return status.st_size;
}

static void start(int port, size_t n, int64_t pause_ms, const char *log)
{
    int64_t *starts = mem_alloc(n * sizeof *starts);
    client_open(&lonely, port);
    for (size_t i = 0; i < n; i++) {
        pause_us(pause_ms * 1000);
        off_t before = size_of(log);
        client_say(&lonely, LIMITED);
        while (size_of(log) == before) {
            check(clock_now_us() - lonely.sent_at < LATE_US, "not started within a minute");
            pause_us(LOOK_US);
        }
        starts[i] = clock_now_us() - lonely.sent_at;
        while (!client_hear(&lonely)) {
        }
    }
    printf("{");
    print_times("start_us", starts, n);
    printf("}\n");
    free(starts);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        die("usage: load post PORT CLIENTS JOBS STORE | get PORT CLIENTS REQUESTS PATH |"
            " one PORT JOBS PAUSE_MS STORE | start PORT JOBS PAUSE_MS START_LOG");
    }
    prctl(PR_SET_TIMERSLACK, 1000); /* pauses of 20 us are that long */
    int port = atoi(argv[2]);
    size_t first = strtoul(argv[3], NULL, 10), second = strtoul(argv[4], NULL, 10);
    check(port > 0 && first > 0 && second > 0, "numbers must be over 0");
    char request[512];
    crowd_t crowd = {.clients = (int)first, .n = second, .request = NOOP};
    if (strcmp(argv[1], "post") == 0 && first <= CLIENTS_MAX) {
        post(port, &crowd, argv[5]);
    } else if (strcmp(argv[1], "get") == 0 && first <= CLIENTS_MAX) {
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: load\r\n\r\n", argv[5]);
        crowd.request = request;
        get(port, &crowd);
    } else if (strcmp(argv[1], "one") == 0) {
        one(port, first, (int64_t)second, argv[5]);
    } else if (strcmp(argv[1], "start") == 0) {
        start(port, first, (int64_t)second, argv[5]);
    } else {
        die("the first argument must be post, get, one or start");
    }
    return EXIT_SUCCESS;
}

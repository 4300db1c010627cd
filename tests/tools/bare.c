/* bare: what the parts of a fleet cost without a fleet; the references of tests/bench.
 *
 *   bare commits DIRECTORY ROWS N          N transactions of ROWS one-column rows:
 * synchronous=FULL, WAL bare commit  DIRECTORY N PAUSE_MS      one such row at a time, after a
 * pause bare trips   N PAUSE_MS                one message at a time to another process and back
 * through a ROUTER-to-ROUTER forwarder, after a pause: all three asleep
 *
 * What it prints is one line of JSON, times in microseconds. Nothing of Stint's product is in it
 * but the clock. */
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "common/buffer.h"
#include "common/clock.h"

static void check(bool right, const char *what)
{
    if (!right) {
        fprintf(stderr, "bare: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

static void pause_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int by_size(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void print_times(int64_t *times, size_t n)
{
    qsort(times, n, sizeof *times, by_size);
    printf("{\"us_p50\": %lld, \"us_min\": %lld, \"us_max\": %lld}\n", (long long)times[n / 2],
           (long long)times[0], (long long)times[n - 1]);
}

/* -- commits
 * ------------------------------------------------------------------------------------------ */

static sqlite3 *db;
static sqlite3_stmt *insert;

static void sql(const char *text)
{
    check(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
}

static void open_database(const char *directory)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/bare-%d.db", directory, (int)getpid());
    check(sqlite3_open(path, &db) == SQLITE_OK, "cannot open a database");
    sql("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)");
    check(sqlite3_prepare_v2(db, "INSERT INTO bare (text) VALUES ('items')", -1, &insert, NULL) ==
              SQLITE_OK,
          sqlite3_errmsg(db));
}

static void close_database(const char *directory)
{
    char path[4300];
    sqlite3_finalize(insert);
    sqlite3_close(db);
    snprintf(path, sizeof path, "%s/bare-%d.db", directory, (int)getpid());
    unlink(path);
}

static void transaction(size_t rows)
{
    sql("BEGIN IMMEDIATE");
    for (size_t i = 0; i < rows; i++) {
        check(sqlite3_step(insert) == SQLITE_DONE, "a row was refused");
        sqlite3_reset(insert);
    }
    sql("COMMIT");
}

static void commits(const char *directory, size_t rows, size_t n)
{
    open_database(directory);
    int64_t began = clock_now_us();
    for (size_t i = 0; i < n; i++) {
        transaction(rows);
    }
    double seconds = (double)(clock_now_us() - began) / 1e6;
    printf("{\"commits_per_s\": %.0f, \"rows_per_s\": %.0f}\n", (double)n / seconds,
           (double)(n * rows) / seconds);
    close_database(directory);
}

static void commit(const char *directory, size_t n, int64_t ms)
{
    int64_t *times = mem_alloc(n * sizeof *times);
    open_database(directory);
    for (size_t i = 0; i < n; i++) {
        pause_ms(ms);
        int64_t began = clock_now_us();
        transaction(1);
        times[i] = clock_now_us() - began;
    }
    print_times(times, n);
    close_database(directory);
    free(times);
}

/* -- trips
 * -------------------------------------------------------------------------------------------- */

static char front_at[64], back_at[64];

static void *open_socket(void *context, int type, const char *at, const char *name)
{
    void *socket = zmq_socket(context, type);
    zmq_setsockopt(socket, ZMQ_LINGER, &(int){0}, sizeof(int));
    if (name) {
        zmq_setsockopt(socket, ZMQ_ROUTING_ID, name, strlen(name));
    }
    int rc = type == ZMQ_ROUTER ? zmq_bind(socket, at) : zmq_connect(socket, at);
    check(rc == 0, "a socket was refused");
    return socket;
}

/* The first frame names the sender; the message goes on to `to`. */
static void forward(void *from, void *to, const char *name)
{
    zmq_msg_t frame;
    int more = 1;
    for (int i = 0; more; i++) {
        zmq_msg_init(&frame);
        check(zmq_msg_recv(&frame, from, 0) >= 0, "nothing to forward");
        more = zmq_msg_more(&frame);
        if (i == 0) {
            zmq_msg_close(&frame);
            zmq_send(to, name, strlen(name), ZMQ_SNDMORE);
        } else {
            zmq_msg_send(&frame, to, more ? ZMQ_SNDMORE : 0);
        }
    }
}

static void run_forwarder(void)
{
    void *context = zmq_ctx_new();
    void *front = open_socket(context, ZMQ_ROUTER, front_at, NULL);
    void *back = open_socket(context, ZMQ_ROUTER, back_at, NULL);
    zmq_pollitem_t items[] = {{.socket = front, .events = ZMQ_POLLIN},
                              {.socket = back, .events = ZMQ_POLLIN}};
    for (;;) {
        zmq_poll(items, 2, -1);
        if (items[0].revents) {
            forward(front, back, "echo");
        }
        if (items[1].revents) {
            forward(back, front, "first");
        }
    }
}

static void run_echo(void)
{
    void *socket = open_socket(zmq_ctx_new(), ZMQ_DEALER, back_at, "echo");
    char bytes[1024];
    for (;;) {
        int n = zmq_recv(socket, bytes, sizeof bytes, 0);
        check(n >= 0, "the echo heard nothing");
        zmq_send(socket, bytes, (size_t)n, 0);
    }
}

static pid_t start(void (*run)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run();
    }
    return pid;
}

static void trips(size_t n, int64_t ms)
{
    int64_t *times = mem_alloc(n * sizeof *times);
    char bytes[100] = {0};
    snprintf(front_at, sizeof front_at, "ipc://@stint-bare-%d-f", (int)getpid());
    snprintf(back_at, sizeof back_at, "ipc://@stint-bare-%d-b", (int)getpid());
    pid_t pids[] = {start(run_forwarder), start(run_echo)};
    void *socket = open_socket(zmq_ctx_new(), ZMQ_DEALER, front_at, "first");
    pause_ms(500); /* the echo has connected by then: what is sent to nobody is dropped */
    for (size_t i = 0; i < n; i++) {
        pause_ms(ms);
        int64_t began = clock_now_us();
        check(zmq_send(socket, bytes, sizeof bytes, 0) >= 0, "not sent");
        zmq_setsockopt(socket, ZMQ_RCVTIMEO, &(int){5000}, sizeof(int));
        check(zmq_recv(socket, bytes, sizeof bytes, 0) >= 0, "no way back within 5 s");
        times[i] = (clock_now_us() - began) / 2;
    }
    print_times(times, n);
    free(times);
    for (int i = 0; i < 2; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

int main(int argc, char **argv)
{
    size_t n = argc > 4 ? strtoul(argv[4], NULL, 10) : argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (argc == 5 && strcmp(argv[1], "commits") == 0 && n) {
        commits(argv[2], strtoul(argv[3], NULL, 10), n);
    } else if (argc == 5 && strcmp(argv[1], "commit") == 0 && strtoul(argv[3], NULL, 10)) {
        commit(argv[2], strtoul(argv[3], NULL, 10), (int64_t)n);
    } else if (argc == 4 && strcmp(argv[1], "trips") == 0 && n) {
        trips(n, atoi(argv[3]));
    } else {
        check(false, "usage: bare commits DIRECTORY ROWS N | commit DIRECTORY N PAUSE_MS |"
                     " trips N PAUSE_MS");
    }
    return EXIT_SUCCESS;
}

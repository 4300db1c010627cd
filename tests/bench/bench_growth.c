/* bench_growth: what a dispatch and a submission cost when much waits or much is stored, what a
 * waiting job costs in memory, and how long a restart with many leases takes.
 *
 * The api's core over a real store, with a broker that exists only here. Cost is processor time of
 * the whole turn, its commit included. The reference is always the same work with next to nothing
 * there, in the same run. Stores are filled by SQL.
 *
 * Usage: bench_growth [WAITING [CHUNKS [STORED [LEASED]]]]
 * (1,000,000 1,000,000 10,000,000 100,000: about 2 minutes and 2.5 GB in TMPDIR or /var/tmp) */
#include <malloc.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/core.h"
#include "common/clock.h"
#include "common/log.h"

#define WALL INT64_C(1790000000000)
/* Numbers 1 to ?1. */
#define COUNT_TO "WITH RECURSIVE k (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < %llu) "
#define NOOP_ID  "(SELECT id FROM task WHERE name = 'noop')"

enum { TURN_N = 64, TURNS = 30, FEW = 10, ROUNDS = 5 };

typedef unsigned long long big_t;

static char directory[4096];
static store_t *store;
static core_t *core;
static uint64_t capacity_seq, dispatched_n, newest_number;
static int64_t clock_ms = 5000000;
static wire_arena_t *arena;

static void must(err_t err)
{
    if (err) {
        fprintf(stderr, "bench_growth: %s\n", err_text());
        exit(EXIT_FAILURE);
    }
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* -- a store that is filled by SQL
 * ---------------------------------------------------------------------- */

static void open_store(void)
{
    must(store_open(&store, &(store_options_t){.directory = directory, .wall_at = WALL}));
}

static void sql(sqlite3 *db, const char *format, ...)
{
    char text[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "bench_growth: %s in %s\n", sqlite3_errmsg(db), text);
        exit(EXIT_FAILURE);
    }
}

/* Empty of jobs; closed with fill_end. */
static sqlite3 *fill_begin(void)
{
    char path[4200];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/store.db", directory);
    if (sqlite3_open(path, &db) != SQLITE_OK) {
        exit(EXIT_FAILURE);
    }
    sql(db,
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; BEGIN;"
        "DELETE FROM attempt; DELETE FROM batch; DELETE FROM chunk; DELETE FROM processing_job;"
        "DELETE FROM task_count");
    return db;
}

static void fill_end(sqlite3 *db)
{
    sql(db,
        "INSERT INTO task_count SELECT task_id, state, count(*) FROM processing_job GROUP BY 1, 2;"
        "COMMIT");
    sqlite3_close(db);
}

static void fill_jobs(sqlite3 *db, const char *state, uint64_t n)
{
    bool over = strcmp(state, "completed") == 0;
    if (n) {
        sql(db,
            COUNT_TO
            "INSERT INTO processing_job (id, task_id, state, format, input, input_raw, chunks_n,"
            " items_total, items_done, batches_done, attempts_n, created_at, started_at,"
            " finished_at)"
            " SELECT i, " NOOP_ID ", '%s', 1, x'28b52ffd20021100003130', 2, 1, 1, %d, %d, %d,"
            " 1789000000000 + i, %s, %s FROM k",
            (big_t)n, state, over, over, over,
            strcmp(state, "pending") == 0 ? "NULL" : "1789000000000",
            over ? "1789000000000 + i" : "NULL");
    }
}

/* Each of the jobs 1 to n has its batch out. */
static void fill_leased(sqlite3 *db, uint64_t n)
{
    fill_jobs(db, "processing", n);
    sql(db,
        "INSERT INTO batch (id, job_id, no, state, chunk_from, chunks_n, first_item, items_n,"
        " raw_bytes, attempt, starts) SELECT id + %llu, id, 0, 'leased', 0, 1, 0, 1, 2, 1, 1"
        " FROM processing_job WHERE id <= %llu",
        (big_t)n, (big_t)n);
}

/* One job; the first `cut` chunks are done, in batches of ten. */
static void fill_chunks(sqlite3 *db, uint64_t n, uint64_t cut)
{
    sql(db,
        "INSERT INTO processing_job (id, task_id, state, format, chunks_n, items_total, "
        "batch_items,"
        " created_at, started_at) VALUES (1, " NOOP_ID ", 'processing', 1, %llu, %llu, 1000, 1, 1)",
        (big_t)n, (big_t)n * 100);
    sql(db,
        COUNT_TO "INSERT INTO chunk (job_id, seq, first_item, items_n, raw_bytes, data)"
                 " SELECT 1, i - 1, (i - 1) * 100, 100, 200, x'28b52ffd20021100003130' FROM k",
        (big_t)n);
    if (cut >= 10) {
        sql(db,
            "INSERT INTO batch (id, job_id, no, state, chunk_from, chunks_n, first_item, items_n,"
            " raw_bytes, attempt, starts) VALUES (2, 1, %llu, 'done', %llu, 10, %llu, 1000, 2000, "
            "1, 1)",
            (big_t)cut / 10 - 1, (big_t)cut - 10, (big_t)(cut - 10) * 100);
    }
}

/* -- the core and its broker
 * ---------------------------------------------------------------------------- */

static bool on_send(void *context, int broker, frames_t *frames)
{
    (void)context;
    (void)broker;
    msg_t msg;
    must(wire_decode(arena, blob_data(frames->head), blob_n(frames->head), &msg));
    if (msg.type == MSG_DISPATCH) {
        dispatched_n++;
        newest_number = msg.dispatch.number;
    }
    frames_free(frames);
    return true;
}

static void turn(void)
{
    core_clock(core, ++clock_ms, WALL);
    must(core_turn(core));
}

static str_t broker_life(void)
{
    return str_of("the only broker ");
}

static void hear(const msg_t *msg)
{
    frames_t frames = frames_of(msg, NULL);
    core_receive(core, 0, &frames);
}

static void open_core(void)
{
    core_options_t options = {.brokers_n = 1,
                              .heartbeat_ms = 60000,
                              .lease_ms = 3600000,
                              .accept_lease_ms = 600000,
                              .max_starts = 10,
                              .max_waiting_jobs = 100000000,
                              .name = "bench",
                              .host = "bench",
                              .now_ms = clock_ms,
                              .wall_at = WALL};
    must(core_open(&core, store, &options, (core_effects_t){.send = on_send}));
    capacity_seq = newest_number = 0;
    turn();
    hear(&(msg_t){.type = MSG_HELLO_OK,
                  .hello_ok = {.incarnation = broker_life(), .heartbeat_ms = 60000}});
}

static void tickets(uint64_t n)
{
    wire_capacity_t group = {.tasks = str_of("noop"), .max_items = 1000, .n = n};
    hear(&(msg_t){.type = MSG_CAPACITY,
                  .capacity_is = {.seq = ++capacity_seq,
                                  .dispatches_seen = newest_number,
                                  .groups = &group,
                                  .groups_n = 1,
                                  .broker = broker_life()}});
}

static void close_all(void)
{
    core_destroy(&core);
    store_close(&store);
}

/* Processor us of each of TURN_N dispatches in one turn. */
static double dispatch_turn(void)
{
    uint64_t before = dispatched_n;
    double began = cpu_us();
    tickets(TURN_N);
    turn();
    double used = cpu_us() - began;
    INVARIANT(dispatched_n - before == TURN_N);
    return used / TURN_N;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

typedef struct {
    double median, least, most;
} spread_t;

static spread_t spread(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_size);
    return (spread_t){values[n / 2], values[0], values[n - 1]};
}

/* The first turn prepares statements and is not counted. */
static spread_t dispatches(int turns)
{
    double costs[TURNS];
    open_store();
    open_core();
    dispatch_turn();
    for (int i = 0; i < turns; i++) {
        costs[i] = dispatch_turn();
    }
    close_all();
    return spread(costs, turns);
}

static spread_t submissions(void)
{
    double costs[TURNS];
    open_store();
    open_core();
    for (int i = -1; i < TURNS; i++) {
        double began = cpu_us();
        for (int k = 0; k < TURN_N; k++) {
            core_submission_t *submission = NULL;
            const job_row_t *job = NULL;
            must(core_submit_open(&submission, core, &(submit_t){.task = "noop", .format = 1}));
            must(core_submit_chunk(submission, 1, 2, blob_new("123456789012", 12)));
            must(core_submit_close(&submission, &job));
        }
        turn();
        costs[i < 0 ? 0 : i] = (cpu_us() - began) / TURN_N;
    }
    close_all();
    return spread(costs, TURNS);
}

/* ms from opening the store to the first DISPATCH, as a started api would. */
static double restart(void)
{
    int64_t began = clock_now_us();
    open_store();
    open_core();
    tickets(1);
    uint64_t before = dispatched_n;
    turn();
    INVARIANT(dispatched_n == before + 1);
    double took = (double)(clock_now_us() - began) / 1000;
    close_all();
    return took;
}

/* -- the table
 * ------------------------------------------------------------------------------------------ */

static void row(const char *figure, spread_t value, spread_t reference, const char *what,
                double target)
{
    double ratio = value.median / reference.median;
    char verdict[40] = "-", bound[40] = "-";
    if (target > 0) {
        snprintf(bound, sizeof bound, "ratio at most %.1f", target);
        snprintf(verdict, sizeof verdict, ratio <= target ? "met" : "missed by %.0f %%",
                 (ratio / target - 1) * 100);
    }
    printf("| %s | %.1f (%.1f-%.1f) | %s: %.1f (%.1f-%.1f) | %.2f | %s | %s |\n", figure,
           value.median, value.least, value.most, what, reference.median, reference.least,
           reference.most, ratio, bound, verdict);
    fflush(stdout);
}

static spread_t few_waiting(void)
{
    double costs[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        sqlite3 *db = fill_begin();
        fill_jobs(db, "pending", 2 * TURN_N + FEW);
        fill_end(db);
        costs[i] = dispatches(1).median;
    }
    return spread(costs, ROUNDS);
}

static void waiting(uint64_t n)
{
    spread_t few = few_waiting();
    sqlite3 *db = fill_begin();
    fill_jobs(db, "pending", n);
    fill_end(db);
    spread_t many = dispatches(TURNS);
    row("processor us a dispatch, a million jobs waiting", many, few, "ten waiting", 1.2);
    open_store();
    size_t before = mallinfo2().uordblks;
    open_core();
    double bytes = (double)(mallinfo2().uordblks - before) / (double)n;
    close_all();
    printf("| bytes of memory a waiting job | %.0f | - | - | - | - |\n", bytes);
}

static void chunks(uint64_t n)
{
    sqlite3 *db = fill_begin();
    fill_chunks(db, (uint64_t)(TURNS + 2) * TURN_N * 10, 0);
    fill_end(db);
    spread_t small = dispatches(TURNS);
    db = fill_begin();
    fill_chunks(db, n, 0);
    fill_end(db);
    spread_t first = dispatches(TURNS);
    row("processor us a dispatch of ten chunks, first of a million", first, small, "small job",
        1.2);
    db = fill_begin();
    fill_chunks(db, n, n - (uint64_t)(TURNS + 2) * TURN_N * 10);
    fill_end(db);
    spread_t last = dispatches(TURNS);
    row("processor us a dispatch of ten chunks, last of a million", last, small, "small job", 1.2);
}

static void stored(uint64_t n)
{
    sqlite3 *db = fill_begin();
    fill_end(db);
    spread_t none = submissions();
    db = fill_begin();
    fill_jobs(db, "completed", n);
    fill_end(db);
    spread_t many = submissions();
    row("processor us a submission, ten million jobs stored", many, none, "none stored", 1.2);
}

static void leased(uint64_t n)
{
    double times[2][ROUNDS];
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < ROUNDS; i++) {
            sqlite3 *db = fill_begin();
            if (which) {
                fill_leased(db, n);
            }
            sql(db, "INSERT INTO processing_job (id, task_id, state, format, input, input_raw, "
                    "chunks_n,"
                    " items_total, created_at) VALUES (1000000000, " NOOP_ID
                    ", 'pending', 1, x'00', 2, 1, 1, 1)");
            fill_end(db);
            times[which][i] = restart();
        }
    }
    spread_t none = spread(times[0], ROUNDS), many = spread(times[1], ROUNDS);
    row("ms from start to first dispatch, a hundred thousand batches leased", many, none,
        "none leased", 0);
}

int main(int argc, char **argv)
{
    uint64_t sizes[4] = {1000000, 1000000, 10000000, 100000};
    char command[4200];
    for (int i = 1; i < argc && i <= 4; i++) {
        sizes[i - 1] = strtoull(argv[i], NULL, 10);
        if (sizes[i - 1] < (uint64_t)(TURNS + 2) * TURN_N * 10) {
            fprintf(stderr,
                    "usage: bench_growth [WAITING [CHUNKS [STORED [LEASED]]]], each at least %d\n",
                    (TURNS + 2) * TURN_N * 10);
            return 64;
        }
    }
    log_open("bench", LOG_WARN);
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/stint-bench-XXXXXX", parent ? parent : "/var/tmp");
    if (!mkdtemp(directory)) {
        return EXIT_FAILURE;
    }
    arena = wire_arena_new();
    open_store();
    store_close(&store);
    int64_t began = clock_now_ms();
    printf(
        "\nGrowth: %llu jobs waiting, %llu chunks, %llu jobs stored, %llu batches leased\n"
        "| figure | value (median, min-max) | reference in the same run | ratio | target | verdict "
        "|\n|---|---|---|---|---|---|\n",
        (big_t)sizes[0], (big_t)sizes[1], (big_t)sizes[2], (big_t)sizes[3]);
    waiting(sizes[0]);
    chunks(sizes[1]);
    leased(sizes[3]);
    stored(sizes[2]);
    printf("(all of it in %.0f s)\n", (double)(clock_now_ms() - began) / 1000);
    wire_arena_destroy(&arena);
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

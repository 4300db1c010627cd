/* bench_store: what the store costs beside bare SQLite on the same disk, in the same run.
 *
 * The reference is a loop of one-row INSERTs into a table of one index-less row; the store inserts
 * a job and its leased batch, moves the job and keeps the counts. A whole life adds the result, its
 * history and the end of the job. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/store/store.h"
#include "common/clock.h"
#include "common/log.h"

#define WALL INT64_C(1790000000000)

static void must(err_t err)
{
    if (err) {
        fprintf(stderr, "bench_store: %s\n", err_text());
        exit(EXIT_FAILURE);
    }
}

static void sql(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "bench_store: %s\n", sqlite3_errmsg(db));
        exit(EXIT_FAILURE);
    }
}

static double reference(const char *directory, int n, int per_commit)
{
    char path[128];
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    snprintf(path, sizeof path, "%s/reference.db", directory);
    if (sqlite3_open(path, &db) != SQLITE_OK)
        exit(EXIT_FAILURE);
    sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE IF NOT EXISTS bare (id INTEGER PRIMARY KEY, text TEXT)");
    sqlite3_prepare_v2(db, "INSERT INTO bare (text) VALUES ('items')", -1, &insert, NULL);
    int64_t began = clock_now_us();
    for (int i = 0; i < n; i++) {
        if (i % per_commit == 0)
            sql(db, "BEGIN IMMEDIATE");
        INVARIANT(sqlite3_step(insert) == SQLITE_DONE);
        sqlite3_reset(insert);
        if ((i + 1) % per_commit == 0)
            sql(db, "COMMIT");
    }
    double seconds = (double)(clock_now_us() - began) / 1e6;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    return n / seconds;
}

static void submit(store_t *store, const job_new_t *proto, batch_row_t *batch)
{
    job_new_t job = *proto;
    job.id = store_next_id(store, WALL);
    *batch = (batch_row_t){.id = store_next_id(store, WALL),
                           .job = job.id,
                           .state = BATCH_LEASED,
                           .chunks_n = 1,
                           .items_n = 1,
                           .raw_bytes = 5,
                           .attempt = 1,
                           .starts = 1};
    must(store_mark(store));
    must(store_job_insert(store, &job));
    must(store_keep(store));
    must(store_mark(store));
    must(store_batch_insert(store, batch));
    must(store_job_start(store, job.id, job.task_id, WALL));
    must(store_keep(store));
}

static void finish_job(store_t *store, uint64_t task, batch_row_t *batch)
{
    static const attempt_new_t history = {
        .worker = "w1", .failure_class = "", .text = "", .stderr_tail = ""};
    job_end_t end = {.job = batch->job,
                     .task = task,
                     .from = JOB_PROCESSING,
                     .to = JOB_COMPLETED,
                     .wall_at = WALL};
    must(store_mark(store));
    must(store_batch_done(store, batch, &(result_new_t){.attempt = 1}, &history));
    must(store_job_end(store, &end));
    must(store_keep(store));
}

/* Jobs with their batch per second; with `ends`, their whole lives. */
static double jobs(store_t *store, const job_new_t *proto, int n, int per_commit, bool ends)
{
    batch_row_t *batches = mem_alloc((size_t)per_commit * sizeof *batches);
    int64_t began = clock_now_us();
    for (int i = 0; i < n; i += per_commit) {
        must(store_begin(store));
        for (int k = 0; k < per_commit; k++)
            submit(store, proto, &batches[k]);
        must(store_commit(store));
        if (!ends)
            continue;
        must(store_begin(store));
        for (int k = 0; k < per_commit; k++)
            finish_job(store, proto->task_id, &batches[k]);
        must(store_commit(store));
    }
    double seconds = (double)(clock_now_us() - began) / 1e6;
    free(batches);
    return n / seconds;
}

static void first_task(void *context, const task_row_t *row)
{
    if (*(uint64_t *)context == 0)
        *(uint64_t *)context = row->id;
}

int main(void)
{
    char directory[] = "/var/tmp/stint-bench-XXXXXX", command[128];
    if (!mkdtemp(directory))
        return EXIT_FAILURE;
    store_t *store = NULL;
    must(store_open(&store, &(store_options_t){.directory = directory, .wall_at = WALL}));
    blob_t *input = blob_new("items", 5);
    job_new_t proto = {.format = 1,
                       .chunk_items = 100,
                       .batch_items = 1500,
                       .input = input,
                       .input_raw = 5,
                       .items_total = 1,
                       .created_at = WALL};
    must(store_tasks(store, first_task, &proto.task_id));
    static const struct {
        int n, per_commit;
    } runs[] = {{2000, 1}, {50000, 100}};
    for (int i = 0; i < 2; i++) {
        int n = runs[i].n, per_commit = runs[i].per_commit;
        double bare = reference(directory, n, per_commit);
        double inserts = jobs(store, &proto, n, per_commit, false);
        double lives = jobs(store, &proto, n, per_commit, true);
        printf("%3d a commit: bare rows %8.0f/s   job and batch %7.0f/s (%.1f rows)   "
               "whole life %7.0f/s\n",
               per_commit, bare, inserts, bare / inserts, lives);
    }
    blob_unref(&input);
    store_close(&store);
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

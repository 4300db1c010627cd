/* world: what the tests of the store share: a store, jobs in it, and short questions to its tables.
 */
#ifndef STINT_TESTS_API_STORE_WORLD_H
#define STINT_TESTS_API_STORE_WORLD_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/store/internal.h"
#include "api/store/migrate.h"
#include "api/store/store_sim.h"

#define WALL         INT64_C(1790000000000)
#define ck_ok(call)  world_ok((call), __LINE__)
#define ck_err(e, c) ck_assert_msg((c) == (e), "expected %s, got \"%s\"", err_code(e), err_text())

static inline void world_ok(err_t err, int line)
{
    ck_assert_msg(err == ERR_OK, "line %d: %s: %s", line, err ? err_code(err) : "", err_text());
}

static inline store_t *world_open(const char *directory)
{
    store_t *store = NULL;
    ck_ok(store_open(&store, &(store_options_t){.directory = directory, .wall_at = WALL}));
    return store;
}

/* A new directory under /tmp, its name to be freed. */
static inline char *world_directory(void)
{
    char *name = strdup("/tmp/stint-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(name));
    return name;
}

static inline void world_directory_remove(char **directory)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", *directory);
    ck_assert_int_eq(system(command), 0);
    free(*directory);
    *directory = NULL;
}

/* The first column of the first row, as a number. */
static inline int64_t world_ask(store_t *store, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    ck_assert_msg(sqlite3_prepare_v2(store->writer, sql, -1, &statement, NULL) == SQLITE_OK,
                  "%s: %s", sql, sqlite3_errmsg(store->writer));
    ck_assert_msg(sqlite3_step(statement) == SQLITE_ROW, "%s: no row", sql);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static inline uint64_t world_task(store_t *store, const char *name)
{
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT id FROM task WHERE name = '%s'", name);
    return (uint64_t)world_ask(store, sql);
}

static inline uint64_t world_task_of(store_t *store, uint64_t job)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT task_id FROM processing_job WHERE id = %llu",
             (unsigned long long)job);
    return (uint64_t)world_ask(store, sql);
}

/* A job of `items` items in one inline chunk, in the running turn. */
static inline uint64_t world_job(store_t *store, const char *task, uint64_t items)
{
    blob_t *input = blob_new("items", 5);
    job_new_t job = {.id = store_next_id(store, WALL),
                     .task_id = world_task(store, task),
                     .format = 1,
                     .chunk_items = 100,
                     .batch_items = 1500,
                     .first_line = 1,
                     .params = "{}",
                     .header = "",
                     .input = items ? input : NULL,
                     .input_raw = items ? 5 : 0,
                     .items_total = items,
                     .created_at = WALL};
    ck_ok(store_job_insert(store, &job));
    blob_unref(&input);
    return job.id;
}

/* An upload of `items` items in chunks of `chunk_items`, received; every item has item_bytes. */
static inline uint64_t world_upload(store_t *store, uint32_t items, uint32_t chunk_items,
                                    uint64_t item_bytes)
{
    job_new_t job = {.id = store_next_id(store, WALL),
                     .task_id = world_task(store, "noop"),
                     .format = 1,
                     .chunk_items = chunk_items,
                     .batch_items = 1500,
                     .first_line = 1,
                     .created_at = WALL};
    ck_ok(store_job_insert(store, &job));
    uint32_t seq = 0;
    for (uint32_t first = 0; first < items; first += chunk_items, seq++) {
        uint32_t n = items - first < chunk_items ? items - first : chunk_items;
        char text[32];
        int text_n = snprintf(text, sizeof text, "[%u]", seq);
        ck_ok(store_chunk_insert(store, &(chunk_new_t){.job = job.id,
                                                       .seq = seq,
                                                       .first_item = first,
                                                       .items_n = n,
                                                       .raw_bytes = n * item_bytes,
                                                       .data = text,
                                                       .n = (size_t)text_n}));
    }
    ck_ok(store_job_received(store, job.id, seq, items));
    return job.id;
}

/* Cut and lease the next batch of a job; moves it to processing if it was pending. */
static inline batch_row_t world_batch(store_t *store, uint64_t job, uint32_t max_items)
{
    job_row_t row;
    ck_ok(store_job_get(store, job, &row));
    batch_row_t batch = {.id = store_next_id(store, WALL),
                         .job = job,
                         .no = row.batches_n,
                         .state = BATCH_LEASED,
                         .chunk_from = row.chunks_cut,
                         .attempt = 1,
                         .starts = 1};
    ck_ok(store_batch_measure(store, &row, max_items, &batch));
    ck_ok(store_batch_insert(store, &batch));
    if (row.state == JOB_PENDING)
        ck_ok(store_job_start(store, job, row.task_id, WALL + 1));
    job_row_free(&row);
    return batch;
}

static const attempt_new_t world_history = {.worker = "w1",
                                            .failure_class = "",
                                            .duration_us = 5,
                                            .text = "",
                                            .stderr_tail = "",
                                            .wall_at = WALL + 2};

static inline err_t world_done(store_t *store, batch_row_t *batch, uint32_t attempt)
{
    return store_batch_done(store, batch, &(result_new_t){.attempt = attempt}, &world_history);
}

static inline err_t world_end(store_t *store, uint64_t job, job_state_t to)
{
    return store_job_end(store, &(job_end_t){.job = job,
                                             .task = world_task_of(store, job),
                                             .from = JOB_PROCESSING,
                                             .to = to,
                                             .error_code = to == JOB_FAILED ? "batches_dead" : "",
                                             .error_text = "",
                                             .wall_at = WALL + 3});
}

static inline job_row_t world_row(store_t *store, uint64_t job)
{
    job_row_t row;
    ck_ok(store_job_get(store, job, &row));
    return row;
}

typedef struct {
    const char *task;
    job_state_t state;
    uint64_t n;
} world_count_t;

static inline void world_count_visit(void *context, const char *task, job_state_t state, uint64_t n)
{
    world_count_t *count = context;
    if (strcmp(task, count->task) == 0 && state == count->state)
        count->n += n;
}

static inline uint64_t world_count(store_t *store, const char *task, job_state_t state)
{
    world_count_t count = {task, state, 0};
    ck_ok(store_read_counts(store, world_count_visit, &count));
    return count.n;
}

/* The rows of the counts are what a count of the jobs says. */
static inline void world_counts_hold(store_t *store)
{
    ck_assert_int_eq(
        world_ask(store,
                  "SELECT count(*) FROM (SELECT task_id, state, count(*) AS n FROM processing_job"
                  " GROUP BY 1, 2 EXCEPT SELECT task_id, state, n FROM task_count)"),
        0);
    ck_assert_int_eq(
        world_ask(
            store,
            "SELECT coalesce(sum(n), 0) - (SELECT count(*) FROM processing_job) FROM task_count"),
        0);
}

/* What the job says of its executions is what their history says. */
static inline void world_history_holds(store_t *store)
{
    ck_assert_int_eq(
        world_ask(store,
                  "SELECT count(*) FROM processing_job j WHERE (attempts_n, failures_n, lost_n) <>"
                  " (SELECT count(*), coalesce(sum(outcome = 'failed'), 0), coalesce(sum(outcome = "
                  "'lost'), 0)"
                  " FROM attempt a LEFT JOIN batch b ON b.id = a.batch_id LEFT JOIN finalize f ON "
                  "f.id = a.finalize_id"
                  " WHERE coalesce(b.job_id, f.job_id) = j.id)"),
        0);
}

static inline int world_main(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 300); /* of a busy machine */
    for (size_t i = 0; i < n; i++)
        tcase_add_test(rules, tests[i]);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif

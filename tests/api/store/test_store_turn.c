/* Rules of the store about turns, counts, schedules, retention and the price of it all. */
#include "tests/api/store/world.h"

START_TEST(test_undone_verb_leaves_the_turn_usable)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    ck_ok(store_mark(store));
    uint64_t kept = world_job(store, "noop", 3);
    ck_ok(store_keep(store));
    ck_ok(store_mark(store));
    batch_row_t batch = world_batch(store, kept, 1000);
    ck_ok(world_done(store, &batch, 1)); /* its counters are owed when the verb is undone */
    world_job(store, "noop", 3);
    store_undo(store);
    ck_ok(store_mark(store));
    ck_err(
        ERR_CONFLICT,
        store_job_insert(
            store, &(job_new_t){.id = kept, .task_id = 1, .chunk_items = 100, .batch_items = 100}));
    store_undo(store);
    ck_assert(!store_turn_lost(store));
    ck_ok(store_commit(store));
    job_row_t row = world_row(store, kept);
    ck_assert_int_eq((int)row.state, JOB_PENDING);
    ck_assert_uint_eq(row.items_done, 0);
    ck_assert_uint_eq(row.batches_n, 0);
    job_row_free(&row);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM processing_job"), 1);
    world_counts_hold(store);
    store_close(&store);
}
END_TEST

START_TEST(test_rolled_back_turn_leaves_nothing)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    world_job(store, "noop", 3);
    store_rollback(store);
    ck_ok(store_begin(store));
    ck_ok(store_commit(store));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM processing_job"), 0);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM task_count"), 0);
    store_close(&store);
}
END_TEST

START_TEST(test_no_move_that_the_table_does_not_list)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "noop", 3);
    ck_err(ERR_STALE, store_job_received(store, job, 1, 3));
    ck_err(ERR_STALE,
           store_job_finalize(store, job, world_task_of(store, job), store_next_id(store, WALL)));
    ck_err(ERR_STALE, world_end(store, job, JOB_COMPLETED));
    job_end_t end = {.job = job,
                     .task = world_task_of(store, job),
                     .from = JOB_PENDING,
                     .to = JOB_COMPLETED,
                     .wall_at = WALL};
    ck_err(ERR_INTERNAL, store_job_end(store, &end));
    ck_ok(store_job_start(store, job, world_task_of(store, job), WALL));
    ck_err(ERR_STALE, store_job_start(store, job, world_task_of(store, job), WALL));
    end = (job_end_t){.job = job,
                      .task = world_task_of(store, job),
                      .from = JOB_PROCESSING,
                      .to = JOB_CANCELLED,
                      .wall_at = WALL};
    ck_ok(store_job_end(store, &end));
    for (int from = 0; from < JOB_STATES_N; from++)
        for (int to = 0; to < JOB_STATES_N; to++)
            ck_assert(!job_may_move((job_state_t)from, (job_state_t)to) ||
                      !job_state_terminal((job_state_t)from));
    for (int from = 0; from < BATCH_STATES_N; from++)
        for (int to = 0; to < BATCH_STATES_N; to++)
            ck_assert(!batch_may_move((batch_state_t)from, (batch_state_t)to) ||
                      !batch_state_terminal((batch_state_t)from));
    for (int i = 0; i < JOB_STATES_N; i++) {
        job_state_t back = JOB_STATES_N;
        ck_assert(job_state_parse(job_state_name((job_state_t)i), &back) && (int)back == i);
    }
    job_state_t unknown;
    ck_assert(!job_state_parse("sleeping", &unknown));
    store_close(&store);
}
END_TEST

/* What a growing table may not suffer: passed over from end to end. */
static const char *const small[] = {
    "SCAN task",
    "SCAN schedule",
    "SCAN s",
    "SCAN c", /* tasks, schedules and their counts: tens of rows */
    "SCAN j USING INDEX job_live",
    "SCAN j USING COVERING INDEX job_live", /* what a restart reads: the live jobs, all of them,
                                               once */
    "SCAN CONSTANT ROW",
};

static bool allowed(const char *detail)
{
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        if (strcmp(detail, small[i]) == 0)
            return true;
    return false;
}

START_TEST(test_no_statement_scans_a_table_that_grows)
{
    store_t *store = world_open(NULL);
    int scans = 0;
    for (int i = 0; i < STATEMENTS_N; i++) {
        const statement_t *row = sql_statement_at(i);
        char sql[8192];
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", row->sql);
        sqlite3_stmt *statement = NULL;
        ck_assert_msg(sqlite3_prepare_v2(store->writer, sql, -1, &statement, NULL) == SQLITE_OK,
                      "%s: %s", row->name, sqlite3_errmsg(store->writer));
        while (sqlite3_step(statement) == SQLITE_ROW) {
            const char *detail = (const char *)sqlite3_column_text(statement, 3);
            bool scan = strncmp(detail, "SCAN", 4) == 0;
            scans += scan;
            ck_assert_msg(!scan || allowed(detail), "%s: %s", row->name, detail);
            /* but for the few attempts of one batch, nothing is sorted on the way out */
            ck_assert_msg(!strstr(detail, "TEMP B-TREE") || strstr(detail, "FOR count(DISTINCT)"),
                          "%s: %s", row->name, detail);
        }
        sqlite3_finalize(statement);
    }
    ck_assert_int_gt(scans, 0); /* the words looked for are the words SQLite uses */
    store_close(&store);
}
END_TEST

START_TEST(test_a_single_item_job_costs_6_rows_and_2_commits)
{
    enum { JOBS = 100 };
    store_t *store = world_open(NULL);
    batch_row_t batches[JOBS];
    blob_t *data = blob_new("{\"small\":1}", 11);
    int before = sqlite3_total_changes(store->writer);
    ck_ok(store_begin(store));
    for (int i = 0; i < JOBS; i++) {
        ck_ok(store_mark(store));
        uint64_t job = world_job(store, "noop", 1);
        ck_ok(store_keep(store));
        ck_ok(store_mark(store));
        batches[i] = world_batch(store, job, 1000);
        ck_ok(store_keep(store));
    }
    ck_ok(store_commit(store));
    ck_ok(store_begin(store));
    for (int i = 0; i < JOBS; i++) {
        ck_ok(store_mark(store));
        ck_ok(store_batch_done(store, &batches[i], &(result_new_t){.attempt = 1, .data = data},
                               &world_history));
        ck_ok(world_end(store, batches[i].job, JOB_COMPLETED));
        ck_ok(store_keep(store));
    }
    ck_ok(store_commit(store));
    blob_unref(&data);
    int rows = sqlite3_total_changes(store->writer) - before;
    ck_assert_int_eq(rows, 6 * JOBS + 3); /* 3: the counts of the task, once a turn */
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM batch WHERE result IS NOT NULL"), JOBS);
    ck_assert_int_eq(
        world_ask(store, "SELECT sum(items_done) FROM processing_job WHERE state = 'completed'"),
        JOBS);
    ck_assert_uint_eq(world_count(store, "noop", JOB_COMPLETED), JOBS);
    world_counts_hold(store);
    store_close(&store);
}
END_TEST

static uint64_t schedule_make(store_t *store, const char *name)
{
    schedule_row_t row = {
        .task_id = world_task(store, "health_check"), .catch_up = 1, .last_nominal_at = WALL};
    snprintf(row.name, sizeof row.name, "%s", name);
    snprintf(row.expression, sizeof row.expression, "*/5 * * * *");
    snprintf(row.zone, sizeof row.zone, "UTC");
    ck_ok(store_schedule_ensure(store, &row, WALL));
    ck_ok(store_schedule_get(store, name, &row));
    ck_assert_str_eq(row.task, "health_check");
    ck_assert_str_eq(row.params, "{}");
    ck_assert_uint_eq(row.catch_up, 1);
    free(row.params);
    return row.id;
}

static void count_schedules(void *context, const schedule_row_t *row)
{
    ck_assert_str_eq(row->zone, "UTC");
    ++*(int *)context;
}

START_TEST(test_schedules_are_made_once_and_raise_the_revision_then)
{
    store_t *store = world_open(NULL);
    uint64_t revision = 9;
    int n = 0;
    ck_ok(store_begin(store));
    uint64_t id = schedule_make(store, "health");
    ck_assert_uint_eq(schedule_make(store, "health"), id);
    ck_ok(store_schedules(store, &revision, count_schedules, &n));
    ck_assert_uint_eq(revision, 1);
    ck_assert_int_eq(n, 1);
    schedule_make(store, "cleanup");
    ck_ok(store_schedules(store, &revision, count_schedules, &n));
    ck_assert_uint_eq(revision, 2);
    schedule_row_t row;
    ck_err(ERR_NOT_FOUND, store_schedule_get(store, "none", &row));
    store_close(&store);
}
END_TEST

START_TEST(test_a_tick_exists_once_and_with_its_job_in_one_transaction)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t schedule = schedule_make(store, "health"), existing = 0;
    ck_ok(store_commit(store));
    /* the tick first, the job after it, in the same turn */
    ck_ok(store_begin(store));
    tick_new_t tick = {
        .schedule = schedule, .nominal_at = WALL + 300, .wall_at = WALL + 350, .scheduler = "s1"};
    tick.job = store_next_id(store, WALL);
    ck_ok(store_tick_insert(store, &tick, &existing));
    ck_ok(store_job_insert(store, &(job_new_t){.id = tick.job,
                                               .task_id = world_task(store, "health_check"),
                                               .chunk_items = 100,
                                               .batch_items = 100,
                                               .created_at = WALL}));
    ck_ok(store_commit(store));
    ck_ok(store_begin(store));
    tick_new_t again = tick;
    again.job = store_next_id(store, WALL);
    again.scheduler = "s2";
    ck_ok(store_mark(store));
    ck_err(ERR_CONFLICT, store_tick_insert(store, &again, &existing));
    store_undo(store);
    ck_assert_uint_eq(existing, tick.job);
    /* a tick whose job never came is no tick */
    again.nominal_at += 300;
    ck_ok(store_tick_insert(store, &again, &existing));
    ck_err(ERR_CONFLICT, store_commit(store));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM tick"), 1);
    ck_assert_int_eq(world_ask(store, "SELECT late_ms FROM tick"), 50);
    ck_assert_int_eq(world_ask(store, "SELECT last_nominal_at FROM schedule"), WALL + 300);
    /* the ledger outlives the job */
    bool more = true;
    ck_ok(store_begin(store));
    ck_ok(store_job_cancel(store, tick.job, WALL));
    ck_ok(store_job_remove(store, tick.job, 10, &more));
    ck_ok(store_commit(store));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM tick WHERE job_id IS NULL"), 1);
    store_close(&store);
}
END_TEST

static uint64_t ended(store_t *store, job_state_t to, int64_t at)
{
    uint64_t job = world_job(store, "noop", 3);
    if (to == JOB_CANCELLED) {
        ck_ok(store_job_cancel(store, job, at));
        return job;
    }
    batch_row_t batch = world_batch(store, job, 1000);
    ck_ok(to == JOB_FAILED ? store_batch_failed(store, &batch, true, 0, &world_history)
                           : world_done(store, &batch, 1));
    ck_ok(store_job_end(store, &(job_end_t){.job = job,
                                            .task = world_task_of(store, job),
                                            .from = JOB_PROCESSING,
                                            .to = to,
                                            .wall_at = at}));
    return job;
}

START_TEST(test_expired_jobs_come_oldest_first_each_by_its_own_retention)
{
    store_t *store = world_open(NULL);
    uint64_t out = 9;
    ck_ok(store_begin(store));
    uint64_t completed = ended(store, JOB_COMPLETED, WALL + 200),
             failed = ended(store, JOB_FAILED, WALL + 100);
    uint64_t cancelled = ended(store, JOB_CANCELLED, WALL + 300);
    world_job(store, "noop", 3);
    ck_ok(store_expired_job(store, WALL + 200, WALL + 100, &out));
    ck_assert_uint_eq(out, 0);
    ck_ok(store_expired_job(store, WALL + 201, WALL + 100, &out));
    ck_assert_uint_eq(out, completed);
    const uint64_t order[] = {failed, completed, cancelled, 0};
    for (int i = 0; i < 4; i++) {
        bool more = true;
        ck_ok(store_expired_job(store, WALL + 1000, WALL + 1000, &out));
        ck_assert_uint_eq(out, order[i]);
        if (out)
            ck_ok(store_job_remove(store, out, 100, &more));
        ck_assert_int_eq(more, out == 0);
    }
    ck_ok(store_commit(store));
    world_counts_hold(store);
    store_close(&store);
}
END_TEST

START_TEST(test_a_job_is_removed_in_steps_of_the_size_asked_for)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t live = world_upload(store, 300, 100, 10);
    uint64_t job = world_upload(store, 1000, 10, 10);
    blob_t *data = blob_new(NULL, 0);
    blob_unref(&data);
    char big[1000] = "big";
    data = blob_new(big, sizeof big);
    for (int i = 0; i < 10; i++) {
        batch_row_t batch = world_batch(store, job, 100);
        ck_ok(store_batch_done(store, &batch, &(result_new_t){.attempt = 1, .data = data},
                               &world_history));
    }
    blob_unref(&data);
    for (int i = 0; i < 7; i++)
        ck_ok(store_sample_insert(
            store, &(sample_new_t){
                       .job = job, .role = "worker", .name = "w", .at = WALL, .healthy = true}));
    bool more = true;
    ck_err(ERR_STALE, store_job_remove(store, job, 100, &more));
    ck_ok(world_end(store, job, JOB_COMPLETED));
    int steps = 0;
    for (; more; steps++) {
        int before = (int)world_ask(
            store, "SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM batch)");
        ck_ok(store_job_remove(store, job, 7, &more));
        int now = (int)world_ask(
            store, "SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM batch)");
        ck_assert_int_le(before - now, 7);
    }
    ck_assert_int_eq(steps, (100 + 10 + 7) / 7 + 1);
    ck_err(ERR_NOT_FOUND, store_job_remove(store, job, 7, &more));
    ck_err(ERR_STALE, store_job_remove(store, live, 7, &more));
    ck_ok(store_commit(store));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM batch_result"), 0);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM attempt"), 0);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM host_sample"), 0);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM chunk"), 3);
    world_counts_hold(store);
    store_close(&store);
}
END_TEST

START_TEST(test_prune_and_vacuum_work_in_steps)
{
    char *directory = world_directory();
    store_t *store = world_open(directory);
    bool more = true;
    ck_ok(store_begin(store));
    for (int i = 0; i < 2000; i++)
        ck_ok(store_sample_insert(
            store, &(sample_new_t){
                       .role = "worker", .name = "w", .at = WALL + i, .disk_free = UINT64_MAX}));
    ck_ok(store_commit(store));
    int64_t pages = world_ask(store, "PRAGMA page_count");
    ck_ok(store_begin(store));
    int steps = 0;
    for (; more; steps++)
        ck_ok(store_prune(store, WALL + 1900, 100, &more));
    ck_assert_int_eq(steps, 20);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM host_sample"), 100);
    ck_ok(store_commit(store));
    int64_t free_n = world_ask(store, "PRAGMA freelist_count");
    ck_assert_int_gt(free_n, 10);
    ck_ok(store_vacuum_step(store, 10, &more));
    ck_assert(more);
    ck_assert_int_eq(world_ask(store, "PRAGMA freelist_count"), free_n - 10);
    while (more)
        ck_ok(store_vacuum_step(store, 10, &more));
    ck_assert_int_eq(world_ask(store, "PRAGMA page_count"), pages - free_n);
    store_close(&store);
    world_directory_remove(&directory);
}
END_TEST

typedef struct {
    uint64_t ids[64];
    int n;
} list_t;

static void list_visit(void *context, const job_row_t *row)
{
    list_t *list = context;
    list->ids[list->n++] = row->id;
}

static list_t list(store_t *store, job_filter_t filter)
{
    list_t out = {.n = 0};
    filter.limit = filter.limit ? filter.limit : 50;
    ck_ok(store_read_jobs(store, &filter, list_visit, &out));
    for (int i = 1; i < out.n; i++)
        ck_assert_uint_lt(out.ids[i], out.ids[i - 1]);
    return out;
}

START_TEST(test_lists_are_newest_first_by_page_state_and_task)
{
    char *directory = world_directory();
    store_t *store = world_open(directory);
    ck_ok(store_begin(store));
    uint64_t oldest = world_job(store, "noop", 3);
    for (int i = 0; i < 4; i++) {
        ended(store, JOB_COMPLETED, WALL);
        ended(store, JOB_FAILED, WALL);
        world_job(store, "process_transaction_batch", 3);
    }
    job_new_t upload = {.id = store_next_id(store, WALL),
                        .task_id = world_task(store, "noop"),
                        .chunk_items = 100,
                        .batch_items = 100};
    ck_ok(store_job_insert(store, &upload));
    ck_assert_int_eq(list(store, (job_filter_t){0}).n, 0); /* nothing is committed yet */
    ck_ok(store_commit(store));
    list_t all = list(store, (job_filter_t){0});
    ck_assert_int_eq(all.n, 13);
    list_t page = list(store, (job_filter_t){.limit = 5});
    ck_assert_int_eq(page.n, 5);
    page = list(store, (job_filter_t){.limit = 5, .before = page.ids[4]});
    ck_assert_uint_eq(page.ids[0], all.ids[5]);
    ck_assert_int_eq(list(store, (job_filter_t){.has_state = true, .state = JOB_FAILED}).n, 4);
    ck_assert_int_eq(list(store, (job_filter_t){.has_state = true, .state = JOB_COMPLETED}).n, 4);
    ck_assert_int_eq(list(store, (job_filter_t){.has_state = true, .state = JOB_PENDING}).n, 5);
    ck_assert_int_eq(
        list(store, (job_filter_t){.has_state = true, .state = JOB_PENDING, .task = "noop"}).n, 1);
    ck_assert_int_eq(
        list(store, (job_filter_t){.has_state = true, .state = JOB_FAILED, .task = "noop"}).n, 4);
    ck_assert_int_eq(
        list(store, (job_filter_t){.has_state = true, .state = JOB_FAILED, .task = "crash"}).n, 0);
    ck_assert_int_eq(
        list(store, (job_filter_t){.has_state = true, .state = JOB_COMPLETED, .task = "noop"}).n,
        4);
    ck_assert_int_eq(list(store, (job_filter_t){.task = "process_transaction_batch"}).n, 4);
    ck_assert_int_eq(list(store, (job_filter_t){.task = "noop"}).n, 9);
    ck_assert_int_eq(list(store, (job_filter_t){.task = "no such task"}).n, 0);
    ck_assert_int_eq(list(store, (job_filter_t){.has_state = true, .state = JOB_RECEIVING}).n, 0);
    job_row_t row;
    ck_ok(store_read_job(store, oldest, &row));
    ck_assert(row.input_inline && !row.has_report);
    ck_assert_str_eq(row.task, "noop");
    job_row_free(&row);
    ck_err(ERR_NOT_FOUND, store_read_job(store, upload.id, &row));
    ck_err(ERR_NOT_FOUND, store_read_job(store, UINT64_MAX, &row));
    buffer_t text = {0};
    ck_err(ERR_NOT_FOUND, store_read_report(store, oldest, &text));
    list_t live = {.n = 0};
    ck_ok(store_jobs_live(store, list_visit, &live));
    ck_assert_int_eq(live.n, 5);
    ck_assert_uint_eq(live.ids[0], oldest);
    store_close(&store);
    world_directory_remove(&directory);
}
END_TEST

static void find_task(void *context, const task_row_t *row)
{
    task_row_t *wanted = context;
    if (strcmp(row->name, wanted->name) == 0)
        *wanted = *row;
}

START_TEST(test_announced_tasks_are_kept_and_built_in_ones_stay_as_they_are)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    task_row_t own = {.name = "resize_images", .input = TASK_INPUT_JSON, .max_attempts = 5};
    ck_ok(store_task_seen(store, &own, WALL));
    uint64_t id = own.id;
    own.max_attempts = 7;
    ck_ok(store_task_seen(store, &own, WALL + 1));
    ck_assert_uint_eq(own.id, id);
    task_row_t read = {.name = "resize_images"};
    ck_ok(store_tasks(store, find_task, &read));
    ck_assert_uint_eq(read.max_attempts, 7);
    ck_assert_int_eq(read.last_seen_at, WALL + 1);
    task_row_t built_in = {
        .name = "process_transaction_batch", .input = TASK_INPUT_JSON, .max_attempts = 99};
    ck_ok(store_task_seen(store, &built_in, WALL + 2));
    ck_assert_uint_eq(built_in.max_attempts, 3);
    ck_assert_int_eq((int)built_in.input, TASK_INPUT_LINES);
    ck_assert_str_eq(built_in.finalize, "finalize_transactions");
    ck_assert_int_eq(built_in.last_seen_at, WALL + 2);
    worker_new_t worker = {.name = "w1", .slots = 2};
    ck_ok(store_worker_seen(store, &worker, WALL));
    worker.slots = 4;
    ck_ok(store_worker_seen(store, &worker, WALL + 5));
    ck_assert_int_eq(
        world_ask(store, "SELECT slots * 1000 + last_seen_at - first_seen_at FROM worker"), 4005);
    store_close(&store);
}
END_TEST

START_TEST(test_a_chunk_over_8_mib_is_refused)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_upload(store, 100, 100, 10);
    chunk_new_t chunk = {
        .job = job, .seq = 1, .first_item = 100, .items_n = 1, .raw_bytes = (8 << 20) + 1};
    ck_err(ERR_TOO_LARGE, store_chunk_insert(store, &chunk));
    chunk.raw_bytes--;
    ck_ok(store_chunk_insert(store, &chunk));
    store_close(&store);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {test_undone_verb_leaves_the_turn_usable,
                            test_rolled_back_turn_leaves_nothing,
                            test_no_move_that_the_table_does_not_list,
                            test_no_statement_scans_a_table_that_grows,
                            test_a_single_item_job_costs_6_rows_and_2_commits,
                            test_schedules_are_made_once_and_raise_the_revision_then,
                            test_a_tick_exists_once_and_with_its_job_in_one_transaction,
                            test_expired_jobs_come_oldest_first_each_by_its_own_retention,
                            test_a_job_is_removed_in_steps_of_the_size_asked_for,
                            test_prune_and_vacuum_work_in_steps,
                            test_lists_are_newest_first_by_page_state_and_task,
                            test_announced_tasks_are_kept_and_built_in_ones_stay_as_they_are,
                            test_a_chunk_over_8_mib_is_refused};
    return world_main("store_turn", tests, sizeof tests / sizeof *tests);
}

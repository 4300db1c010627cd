/* Rules of the store about batches: 2 to 5 and 8 of the architecture. */
#include "tests/api/store/world.h"

/* Everything a test may change without counting time: rows changed since. */
static int changes(store_t *store)
{
    return sqlite3_total_changes(store->writer);
}

START_TEST(test_stale_attempt_changes_nothing)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "noop", 3);
    batch_row_t batch = world_batch(store, job, 1000);
    batch_row_t old = batch;
    ck_ok(store_batch_give_back(store, &batch));
    ck_ok(store_batch_lease(store, &batch));
    ck_assert_uint_eq(batch.attempt, 2);
    int before = changes(store);
    ck_err(ERR_STALE, store_batch_give_back(store, &old));
    ck_err(ERR_STALE, store_batch_lost(store, &old, false, &world_history));
    ck_err(ERR_STALE, store_batch_failed(store, &old, false, WALL, &world_history));
    ck_err(ERR_STALE, store_batch_lease(store, &old));
    ck_err(ERR_STALE, store_batch_lease(store, &batch));
    ck_err(ERR_STALE, world_done(store, &batch, 3));
    ck_err(ERR_STALE, world_done(store, &batch, 0));
    ck_assert_int_eq(changes(store), before);
    ck_ok(store_commit(store));
    ck_assert_int_eq(
        world_ask(store, "SELECT state = 'leased' AND attempt = 2 AND starts = 1 FROM batch"), 1);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM attempt"), 0);
    store_close(&store);
}
END_TEST

START_TEST(test_first_valid_result_wins_and_the_second_is_refused)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "noop", 3);
    batch_row_t batch = world_batch(store, job, 1000);
    ck_ok(store_batch_lost(store, &batch, false, &world_history));
    ck_ok(store_batch_lease(store, &batch));
    /* the result of the attempt that was taken for lost, while the second one runs */
    blob_t *data = blob_new("first", 5);
    ck_ok(store_batch_done(
        store, &batch,
        &(result_new_t){.attempt = 1, .items_failed = 1, .data = data, .raw_bytes = 9},
        &world_history));
    ck_assert_int_eq((int)batch.state, BATCH_DONE);
    ck_err(ERR_STALE, store_batch_done(store, &batch, &(result_new_t){.attempt = 2, .data = data},
                                       &world_history));
    blob_unref(&data);
    ck_ok(store_commit(store));
    job_row_t row = world_row(store, job);
    ck_assert_uint_eq(row.items_done, 2);
    ck_assert_uint_eq(row.items_failed, 1);
    ck_assert_uint_eq(row.batches_done, 1);
    ck_assert_uint_eq(row.attempts_n, 1);
    ck_assert_uint_eq(row.lost_n, 0);
    job_row_free(&row);
    ck_assert_int_eq(
        world_ask(store, "SELECT count(*) FROM attempt WHERE outcome = 'done' AND attempt = 1"), 1);
    world_history_holds(store);
    store_close(&store);
}
END_TEST

START_TEST(test_given_back_start_is_not_counted_and_attempt_is_not_used_again)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    batch_row_t batch = world_batch(store, world_job(store, "noop", 3), 1000);
    for (uint32_t i = 1; i <= 20; i++) {
        ck_ok(store_batch_give_back(store, &batch));
        ck_assert_uint_eq(batch.starts, 0);
        ck_ok(store_batch_lease(store, &batch));
        ck_assert_uint_eq(batch.starts, 1);
        ck_assert_uint_eq(batch.attempt, i + 1);
    }
    batch_row_t read;
    ck_ok(store_batch_get(store, batch.id, &read));
    ck_assert_uint_eq(read.attempt, 21);
    ck_assert_uint_eq(read.starts, 1);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM attempt"), 0);
    store_close(&store);
}
END_TEST

START_TEST(test_lost_execution_is_no_failure)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "noop", 7);
    batch_row_t batch = world_batch(store, job, 1000);
    ck_ok(store_batch_lost(store, &batch, false, &world_history));
    ck_assert_int_eq((int)batch.state, BATCH_READY);
    ck_ok(store_batch_lease(store, &batch));
    ck_ok(store_batch_failed(store, &batch, false, WALL + 500, &world_history));
    ck_assert_int_eq((int)batch.state, BATCH_RETRYING);
    ck_assert_int_eq(batch.not_before_at, WALL + 500);
    ck_assert_uint_eq(batch.failures, 1);
    ck_ok(store_batch_lease(store, &batch));
    ck_assert_uint_eq(batch.starts, 3);
    ck_ok(store_commit(store));
    job_row_t row = world_row(store, job);
    ck_assert_uint_eq(row.attempts_n, 2);
    ck_assert_uint_eq(row.lost_n, 1);
    ck_assert_uint_eq(row.failures_n, 1);
    ck_assert_uint_eq(row.items_failed, 0);
    job_row_free(&row);
    world_history_holds(store);
    store_close(&store);
}
END_TEST

START_TEST(test_dead_batch_fails_its_items_and_the_job_names_them)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_upload(store, 350, 100, 10);
    batch_row_t batches[4];
    for (int i = 0; i < 4; i++)
        batches[i] = world_batch(store, job, 100);
    attempt_new_t history = world_history;
    history.text = "no such thing";
    ck_ok(store_batch_failed(store, &batches[1], true, WALL, &history));
    history.text = "vanished";
    ck_ok(store_batch_lost(store, &batches[3], true, &history));
    ck_ok(world_done(store, &batches[0], 1));
    ck_ok(world_done(store, &batches[2], 1));
    ck_err(ERR_STALE, world_done(store, &batches[1], 1));
    buffer_t text = {0};
    ck_ok(store_job_missing(store, job, 10, &text));
    buffer_add(&text, "", 1);
    ck_assert_str_eq((char *)text.data,
                     "items 101-200 (batch 1: no such thing); items 301-350 (batch 3: vanished)");
    buffer_clear(&text);
    ck_ok(store_job_missing(store, job, 1, &text));
    buffer_add(&text, "", 1);
    ck_assert_str_eq((char *)text.data, "items 101-200 (batch 1: no such thing); and more");
    buffer_free(&text);
    ck_ok(world_end(store, job, JOB_FAILED));
    ck_ok(store_commit(store));
    job_row_t row = world_row(store, job);
    ck_assert_int_eq((int)row.state, JOB_FAILED);
    ck_assert_int_eq(row.finished_at, WALL + 3);
    ck_assert_uint_eq(row.batches_dead, 2);
    ck_assert_uint_eq(row.batches_done, 2);
    ck_assert_uint_eq(row.items_failed, 150);
    ck_assert_uint_eq(row.items_done, 200);
    ck_assert_str_eq(row.error_code, "batches_dead");
    job_row_free(&row);
    world_history_holds(store);
    world_counts_hold(store);
    store_close(&store);
}
END_TEST

START_TEST(test_one_finalize_an_epoch_and_its_life_is_a_batch)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "process_transaction_batch", 3);
    batch_row_t batch = world_batch(store, job, 1000);
    ck_ok(world_done(store, &batch, 1));
    uint64_t id = store_next_id(store, WALL);
    ck_ok(store_job_finalize(store, job, world_task_of(store, job), id));
    ck_err(ERR_STALE,
           store_job_finalize(store, job, world_task_of(store, job), store_next_id(store, WALL)));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM finalize"), 1);
    batch_row_t finalize;
    ck_ok(store_batch_get(store, id, &finalize));
    ck_assert(finalize.is_finalize);
    ck_assert_int_eq((int)finalize.state, BATCH_READY);
    ck_assert_uint_eq(finalize.attempt, 0);
    ck_ok(store_batch_lease(store, &finalize));
    ck_ok(store_batch_failed(store, &finalize, false, WALL, &world_history));
    ck_ok(store_batch_lease(store, &finalize));
    ck_ok(store_batch_lost(store, &finalize, false, &world_history));
    ck_ok(store_batch_lease(store, &finalize));
    ck_ok(store_batch_give_back(store, &finalize));
    ck_ok(store_batch_lease(store, &finalize));
    ck_assert_uint_eq(finalize.attempt, 4);
    ck_assert_uint_eq(finalize.starts, 3);
    ck_ok(world_done(store, &finalize, 4));
    ck_err(ERR_STALE, world_done(store, &finalize, 4));
    const char *report = "{\"rows\":3}";
    job_end_t end = {.job = job,
                     .task = world_task_of(store, job),
                     .from = JOB_FINALIZING,
                     .to = JOB_COMPLETED,
                     .report = report,
                     .report_n = 10,
                     .wall_at = WALL};
    ck_ok(store_job_end(store, &end));
    ck_err(ERR_STALE, store_job_end(store, &end));
    ck_ok(store_commit(store));
    buffer_t text = {0};
    ck_ok(store_read_report(store, job, &text));
    ck_assert_uint_eq(text.n, 10);
    ck_assert_mem_eq(text.data, report, 10);
    buffer_free(&text);
    job_row_t row = world_row(store, job);
    ck_assert(row.has_report);
    ck_assert_uint_eq(row.attempts_n, 4);
    ck_assert_uint_eq(row.items_done, 3);
    ck_assert_uint_eq(row.batches_done, 1);
    job_row_free(&row);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM batch_result"), 0);
    world_history_holds(store);
    store_close(&store);
}
END_TEST

static void count_batches(void *context, const batch_row_t *row)
{
    int *n = context;
    n[row->is_finalize]++;
}

START_TEST(test_cancel_is_final_and_takes_every_batch_with_it)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_upload(store, 500, 100, 10);
    batch_row_t done = world_batch(store, job, 100), out = world_batch(store, job, 100);
    batch_row_t waits = world_batch(store, job, 100), retries = world_batch(store, job, 100);
    ck_ok(world_done(store, &done, 1));
    ck_ok(store_batch_give_back(store, &waits));
    ck_ok(store_batch_failed(store, &retries, false, WALL, &world_history));
    int n[2] = {0, 0};
    ck_ok(store_batches_live(store, count_batches, n));
    ck_assert_int_eq(n[0], 3);
    ck_ok(store_job_cancel(store, job, WALL + 9));
    ck_err(ERR_STALE, store_job_cancel(store, job, WALL + 10));
    ck_err(ERR_STALE, world_done(store, &out, 1));
    ck_err(ERR_STALE, store_batch_lease(store, &waits));
    ck_err(ERR_STALE, store_batch_failed(store, &out, false, WALL, &world_history));
    ck_err(ERR_STALE, world_end(store, job, JOB_COMPLETED));
    ck_err(ERR_NOT_FOUND, store_job_cancel(store, 12345, WALL));
    ck_ok(store_commit(store));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM batch WHERE state = 'cancelled'"), 3);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM attempt WHERE outcome = 'cancelled'"),
                     1);
    n[0] = 0;
    ck_ok(store_batches_live(store, count_batches, n));
    ck_assert_int_eq(n[0], 0);
    ck_assert_uint_eq(world_count(store, "noop", JOB_CANCELLED), 1);
    world_counts_hold(store);
    world_history_holds(store);
    store_close(&store);
}
END_TEST

START_TEST(test_crashes_of_other_workers_are_told_apart)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    batch_row_t batch = world_batch(store, world_job(store, "noop", 3), 1000);
    const char *workers[] = {"w1", "w1", "w2", "w3"};
    const char *classes[] = {"crash", "crash", "crash", "task_error"};
    for (int i = 0; i < 4; i++) {
        attempt_new_t history = world_history;
        history.worker = workers[i];
        history.failure_class = classes[i];
        ck_ok(store_batch_failed(store, &batch, false, WALL, &history));
        ck_ok(store_batch_lease(store, &batch));
    }
    int n = -1;
    ck_ok(store_batch_crashers(store, &batch, "w1", &n));
    ck_assert_int_eq(n, 1);
    ck_ok(store_batch_crashers(store, &batch, "w9", &n));
    ck_assert_int_eq(n, 2);
    store_close(&store);
}
END_TEST

typedef struct {
    uint32_t chunk_items, max_items;
    uint64_t item_bytes;
    uint32_t items_n, last_n; /* of each batch but the last, of the last */
} cut_t;

START_TEST(test_batches_are_whole_chunks_within_items_and_bytes)
{
    static const cut_t cuts[] = {
        {100, 1000, 10, 1000, 50},  {100, 1049, 10, 1000, 50},   {100, 100, 10, 100, 50},
        {137, 1000, 10, 959, 132},  {137, 137, 10, 137, 132},    {137, 100, 10, 137, 132},
        {137, 4000, 10, 1370, 680}, {100, 1500, 41943, 200, 50}, {100, 1500, 41944, 100, 150},
    };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        const cut_t *cut = &cuts[i];
        store_t *store = world_open(NULL);
        ck_ok(store_begin(store));
        uint64_t job = world_upload(store, 2050, cut->chunk_items, cut->item_bytes);
        uint64_t at = 0;
        batch_row_t batch = {0};
        while (at < 2050) {
            batch = world_batch(store, job, cut->max_items);
            ck_assert_uint_eq(batch.first_item, at);
            ck_assert_uint_eq(batch.first_item, (uint64_t)batch.chunk_from * cut->chunk_items);
            ck_assert_uint_eq(batch.raw_bytes, batch.items_n * cut->item_bytes);
            at += batch.items_n;
            ck_assert_msg(batch.items_n == (at < 2050 ? cut->items_n : cut->last_n), "cut %zu: %u",
                          i, batch.items_n);
        }
        ck_assert_uint_eq(at, 2050);
        blob_t *items = NULL;
        ck_ok(store_batch_items(store, job, &batch, &items));
        char text[16];
        int n = snprintf(text, sizeof text, "[%u]", batch.chunk_from);
        ck_assert_mem_eq(blob_data(items), text, (size_t)n);
        blob_unref(&items);
        job_row_t row = world_row(store, job);
        ck_assert_uint_eq(row.items_cut, 2050);
        ck_assert_uint_eq(row.chunks_cut, row.chunks_n);
        batch.chunk_from = row.chunks_cut;
        ck_err(ERR_NOT_FOUND, store_batch_measure(store, &row, 1000, &batch));
        job_row_free(&row);
        store_close(&store);
    }
}
END_TEST

START_TEST(test_a_job_without_items_is_one_batch_without_items)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "health_check", 0);
    batch_row_t batch = world_batch(store, job, 1000);
    ck_assert_uint_eq(batch.items_n, 0);
    ck_assert_uint_eq(batch.chunks_n, 0);
    blob_t *items = NULL;
    ck_ok(store_batch_items(store, job, &batch, &items));
    ck_assert_uint_eq(blob_n(items), 0);
    blob_unref(&items);
    ck_ok(world_done(store, &batch, 1));
    ck_ok(world_end(store, job, JOB_COMPLETED));
    ck_ok(store_commit(store));
    job_row_t row = world_row(store, job);
    ck_assert_int_eq((int)row.state, JOB_COMPLETED);
    ck_assert_uint_eq(row.batches_n, 1);
    job_row_free(&row);
    store_close(&store);
}
END_TEST

START_TEST(test_an_inline_job_gives_its_input)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "noop", 42);
    batch_row_t batch = world_batch(store, job, 100);
    ck_assert_uint_eq(batch.items_n, 42);
    ck_assert_uint_eq(batch.chunks_n, 1);
    ck_assert_uint_eq(batch.raw_bytes, 5);
    blob_t *items = NULL;
    ck_ok(store_batch_items(store, job, &batch, &items));
    ck_assert_uint_eq(blob_n(items), 5);
    ck_assert_mem_eq(blob_data(items), "items", 5);
    blob_unref(&items);
    batch.chunks_n = 2; /* a store that lost a chunk says so */
    ck_err(ERR_CORRUPT, store_batch_items(store, job, &batch, &items));
    ck_ok(store_commit(store));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM chunk"), 0);
    store_close(&store);
}
END_TEST

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

START_TEST(test_partials_come_in_pages_in_order_each_once)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_upload(store, 1000, 100, 10);
    uint8_t bytes[2000];
    for (uint32_t i = 0; i < 10; i++) {
        batch_row_t batch = world_batch(store, job, 100);
        memset(bytes, (int)i, sizeof bytes);
        size_t n = i == 3 ? 0 : i % 2 ? 2000 : 512; /* both places of a result, and none */
        blob_t *data = blob_new(bytes, n);
        if (i != 5)
            ck_ok(store_batch_done(
                store, &batch,
                &(result_new_t){.attempt = 1, .data = n ? data : NULL, .raw_bytes = i},
                &world_history));
        blob_unref(&data);
    }
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM batch_result"), 3);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM batch WHERE result IS NOT NULL"), 5);
    for (size_t max = 1; max < 20000; max = max * 3 + 500) {
        uint32_t from = 0, pages = 0, seen = 0;
        bool last = false;
        while (!last) {
            buffer_t page = {0};
            uint32_t next = 0;
            ck_ok(store_partials(store, job, from, max, &page, &next, &last));
            ck_assert(last || next > from);
            size_t at = 0, records = 0;
            for (; at < page.n; records++) {
                uint32_t no = u32_at(page.data + at), raw = u32_at(page.data + at + 4),
                         n = u32_at(page.data + at + 8);
                ck_assert_uint_eq(raw, no);
                ck_assert_uint_eq(n, no % 2 ? 2000 : 512);
                ck_assert_uint_eq(page.data[at + 12 + n - 1], no);
                ck_assert_uint_eq(seen & 1U << no, 0);
                ck_assert(no >= from && no < next);
                seen |= 1U << no;
                at += 12 + n;
            }
            ck_assert(page.n <= max || records == 1);
            buffer_free(&page);
            from = next;
            pages++;
        }
        ck_assert_uint_eq(seen, 0x3ff & ~(1U << 3) & ~(1U << 5));
        ck_assert(max < 10000 ? pages > 1 : pages == 1);
    }
    store_close(&store);
}
END_TEST

START_TEST(test_a_worker_cannot_fail_more_items_than_there_are)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    batch_row_t batch = world_batch(store, world_job(store, "noop", 3), 1000);
    int before = changes(store);
    ck_err(ERR_INVALID,
           store_batch_done(store, &batch, &(result_new_t){.attempt = 1, .items_failed = 4},
                            &world_history));
    ck_assert_int_eq(changes(store), before);
    store_close(&store);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {test_stale_attempt_changes_nothing,
                            test_first_valid_result_wins_and_the_second_is_refused,
                            test_given_back_start_is_not_counted_and_attempt_is_not_used_again,
                            test_lost_execution_is_no_failure,
                            test_dead_batch_fails_its_items_and_the_job_names_them,
                            test_one_finalize_an_epoch_and_its_life_is_a_batch,
                            test_cancel_is_final_and_takes_every_batch_with_it,
                            test_crashes_of_other_workers_are_told_apart,
                            test_batches_are_whole_chunks_within_items_and_bytes,
                            test_a_job_without_items_is_one_batch_without_items,
                            test_an_inline_job_gives_its_input,
                            test_partials_come_in_pages_in_order_each_once,
                            test_a_worker_cannot_fail_more_items_than_there_are};
    return world_main("store_batches", tests, sizeof tests / sizeof *tests);
}

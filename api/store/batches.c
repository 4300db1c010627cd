/* batches: cutting, leasing and ending the executions of a job. A finalize has the life of a batch
 * and a table of its own: each statement has a twin for it. */
#include <inttypes.h>
#include <string.h>

#include "api/store/internal.h"
#include "common/log.h"

/* -- cutting
 * ----------------------------------------------------------------------------------------- */

static err_t measure_chunks(store_t *self, const job_row_t *job, uint32_t max_items,
                            batch_row_t *row)
{
    sqlite3_stmt *statement = NULL;
    bool found = true;
    batch_row_t sum = {0};
    err_t err = sql_query(self, STATEMENT_CHUNK_SIZES, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, job->id);
    sql_bind_u64(statement, 2, row->chunk_from);
    while (!err && found) {
        err = sql_next(self, statement, &found);
        if (err || !found)
            break;
        uint32_t items_n = sql_u32(statement, 1);
        uint64_t raw_bytes = sql_u64(statement, 2);
        if (sum.chunks_n > 0 &&
            (sum.items_n + items_n > max_items || sum.raw_bytes + raw_bytes > STORE_BATCH_BYTES))
            break;
        if (sum.chunks_n == 0)
            sum.first_item = sql_u64(statement, 0);
        sum.chunks_n++;
        sum.items_n += items_n;
        sum.raw_bytes += raw_bytes;
    }
    sql_finish(statement);
    if (err)
        return err;
    if (sum.chunks_n == 0)
        return err_set(ERR_CORRUPT, "job %" PRIu64 " has no chunk %" PRIu32, job->id,
                       row->chunk_from);
    row->chunks_n = sum.chunks_n;
    row->first_item = sum.first_item;
    row->items_n = sum.items_n;
    row->raw_bytes = sum.raw_bytes;
    return ERR_OK;
}

err_t store_batch_measure(store_t *self, const job_row_t *job, uint32_t max_items, batch_row_t *row)
{
    if (row->chunk_from >= job->chunks_n && (job->chunks_n > 0 || row->chunk_from > 0))
        return err_set(ERR_NOT_FOUND, "every chunk of job %" PRIu64 " is cut", job->id);
    if (job->chunks_n == 0 || job->input_inline) {
        row->chunks_n = job->chunks_n;
        row->first_item = 0;
        row->items_n = (uint32_t)job->items_total;
        row->raw_bytes = job->input_raw;
        return ERR_OK;
    }
    return measure_chunks(self, job, max_items < job->batch_items ? max_items : job->batch_items,
                          row);
}

err_t store_batch_insert(store_t *self, const batch_row_t *row)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_BATCH_INSERT, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, row->id);
    sql_bind_u64(statement, 2, row->job);
    sql_bind_u64(statement, 3, row->no);
    sql_bind_u64(statement, 4, row->chunk_from);
    sql_bind_u64(statement, 5, row->chunks_n);
    sql_bind_u64(statement, 6, row->first_item);
    sql_bind_u64(statement, 7, row->items_n);
    sql_bind_u64(statement, 8, row->raw_bytes);
    err = sql_run(self, statement);
    return err ? err_context(err, "batch %" PRIu32 " of job %" PRIu64, row->no, row->job) : ERR_OK;
}

/* Append the blobs of a running query; how many is in *n. */
static err_t gather(store_t *self, sqlite3_stmt *statement, buffer_t *bytes, uint32_t *n)
{
    bool found = true;
    err_t err = ERR_OK;
    while (!err && found) {
        err = sql_next(self, statement, &found);
        if (err || !found)
            break;
        buffer_add(bytes, sqlite3_column_blob(statement, 0),
                   (size_t)sqlite3_column_bytes(statement, 0));
        ++*n;
    }
    return err;
}

err_t store_batch_items(store_t *self, uint64_t job, const batch_row_t *row, blob_t **out)
{
    sqlite3_stmt *statement = NULL;
    buffer_t bytes = {0};
    uint32_t n = 0;
    err_t err = sql_query(self, STATEMENT_CHUNK_DATA, &statement);
    if (!err) {
        sql_bind_u64(statement, 1, job);
        sql_bind_u64(statement, 2, row->chunk_from);
        sql_bind_u64(statement, 3, (uint64_t)row->chunk_from + row->chunks_n);
        err = gather(self, statement, &bytes, &n);
    }
    if (!err && n == 0 && row->chunks_n == 1)
        err = sql_query(self, STATEMENT_JOB_INPUT, &statement);
    if (!err && n == 0 && row->chunks_n == 1) {
        sql_bind_u64(statement, 1, job);
        err = gather(self, statement, &bytes, &n);
    }
    if (!err && n != row->chunks_n)
        err =
            err_set(ERR_CORRUPT, "job %" PRIu64 ": %" PRIu32 " of %" PRIu32 " chunks from %" PRIu32,
                    job, n, row->chunks_n, row->chunk_from);
    if (!err)
        *out = blob_take(&bytes);
    buffer_free(&bytes);
    return err;
}

/* -- leases
 * ------------------------------------------------------------------------------------------ */

static err_t guarded(store_t *self, statement_id_t id, const batch_row_t *row)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, sql_twin(id, row), &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, row->id);
    sql_bind_u64(statement, 2, row->attempt);
    return sql_run_guarded(self, statement, "the batch");
}

err_t store_batch_lease(store_t *self, batch_row_t *row)
{
    err_t err = guarded(self, STATEMENT_BATCH_LEASE, row);
    if (err)
        return err;
    row->state = BATCH_LEASED;
    row->attempt++;
    row->starts++;
    row->not_before_at = 0;
    return ERR_OK;
}

err_t store_batch_give_back(store_t *self, batch_row_t *row)
{
    err_t err = guarded(self, STATEMENT_BATCH_GIVE_BACK, row);
    if (err)
        return err;
    row->state = BATCH_READY;
    row->starts--;
    return ERR_OK;
}

/* -- ends of executions
 * ------------------------------------------------------------------------------ */

typedef struct {
    uint32_t attempt;
    const char *outcome;
    const attempt_new_t *history;
} execution_t;

/* A result whose lease had been taken for lost: the row that said so now says done, and nothing is
 * counted twice. */
static err_t history_correct(store_t *self, const batch_row_t *row, const execution_t *execution,
                             owed_t *owed)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = sql_query(self, sql_twin(STATEMENT_BATCH_OUTCOME, row), &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, row->id);
    sql_bind_u64(statement, 2, execution->attempt);
    err = sql_next(self, statement, &found);
    if (err)
        return err;
    if (!found || strcmp(execution->outcome, "done") != 0)
        return err_set(ERR_CONFLICT, "attempt %" PRIu32 " has ended before", execution->attempt);
    uint64_t id = sql_u64(statement, 0);
    owed->attempts_n = 0;
    owed->lost_n = strcmp(sql_text(statement, 1), "lost") == 0 ? -1 : 0;
    owed->failures_n = strcmp(sql_text(statement, 1), "failed") == 0 ? -1 : 0;
    sql_finish(statement);
    err = sql_query(self, STATEMENT_HISTORY_DONE, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, id);
    sql_bind_text(statement, 2, execution->history->worker);
    sql_bind_i64(statement, 3, execution->history->duration_us);
    sql_bind_i64(statement, 4, execution->history->wall_at);
    return sql_run(self, statement);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static err_t history_insert(store_t *self, const batch_row_t *row, const execution_t *execution,
                            owed_t *owed)
{
    const attempt_new_t *history = execution->history;
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_HISTORY_INSERT, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, row->is_finalize ? 2 : 1, row->id);
    sql_bind_u64(statement, 3, execution->attempt);
    sql_bind_text(statement, 4, execution->outcome);
    sql_bind_text(statement, 5, or_empty(history->failure_class));
    sql_bind_text(statement, 6, or_empty(history->worker));
    sql_bind_i64(statement, 7, history->duration_us);
    sql_bind_i64(statement, 8, history->wall_at);
    sql_bind_text(statement, 9, or_empty(history->text));
    sql_bind_text(statement, 10, or_empty(history->stderr_tail));
    err = sql_run(self, statement);
    if (!err && sqlite3_changes(self->writer) == 0)
        err = history_correct(self, row, execution, owed);
    return err ? err_context(err, "history of batch %" PRIu64, row->id) : ERR_OK;
}

typedef struct {
    batch_state_t state;
    int64_t not_before_at;
    uint32_t failures_n;
} ended_t;

/* leased at the current attempt -> ready, retrying or dead. */
static err_t batch_ended(store_t *self, batch_row_t *row, const ended_t *ended,
                         const execution_t *execution)
{
    INVARIANT(batch_may_move(BATCH_LEASED, ended->state));
    bool dead = ended->state == BATCH_DEAD;
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, sql_twin(STATEMENT_BATCH_ENDED, row), &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, row->id);
    sql_bind_u64(statement, 2, row->attempt);
    sql_bind_text(statement, 3, batch_state_name(ended->state));
    sql_bind_i64(statement, 4, ended->not_before_at);
    sql_bind_u64(statement, 5, ended->failures_n);
    sql_bind_text(statement, 6, or_empty(execution->history->text));
    err = sql_run_guarded(self, statement, "the batch");
    owed_t owed = {.job = row->job,
                   .attempts_n = 1,
                   .failures_n = ended->failures_n,
                   .lost_n = 1 - (int64_t)ended->failures_n,
                   .batches_dead = dead && !row->is_finalize,
                   .items_failed = dead && !row->is_finalize ? row->items_n : 0};
    if (!err)
        err = history_insert(self, row, execution, &owed);
    if (err)
        return err;
    self->owed = owed;
    row->state = ended->state;
    row->not_before_at = ended->not_before_at;
    row->failures += ended->failures_n;
    return ERR_OK;
}

err_t store_batch_lost(store_t *self, batch_row_t *row, bool dead, const attempt_new_t *history)
{
    return batch_ended(self, row, &(ended_t){.state = dead ? BATCH_DEAD : BATCH_READY},
                       &(execution_t){row->attempt, "lost", history});
}

err_t store_batch_failed(store_t *self, batch_row_t *row, bool dead, int64_t not_before_at,
                         const attempt_new_t *history)
{
    ended_t ended = {.state = dead ? BATCH_DEAD : BATCH_RETRYING,
                     .not_before_at = dead ? 0 : not_before_at,
                     .failures_n = 1};
    return batch_ended(self, row, &ended, &(execution_t){row->attempt, "failed", history});
}

static err_t result_insert(store_t *self, const batch_row_t *row, const result_new_t *result)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_RESULT_INSERT, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, row->id);
    sql_bind_u64(statement, 2, result->attempt);
    sql_bind_u64(statement, 3, result->raw_bytes);
    sql_bind_bytes(statement, 4, blob_data(result->data), blob_n(result->data));
    return sql_run(self, statement);
}

/* The guarded UPDATE, with a small result in it. */
static err_t batch_finish(store_t *self, const batch_row_t *row, const result_new_t *result)
{
    size_t n = row->is_finalize ? 0 : blob_n(result->data);
    bool small = n > 0 && n <= STORE_INLINE_RESULT;
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, sql_twin(STATEMENT_BATCH_DONE, row), &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, row->id);
    sql_bind_u64(statement, 2, result->attempt);
    if (!row->is_finalize) {
        sql_bind_u64(statement, 3, result->items_failed);
        sql_bind_u64(statement, 4, small ? result->raw_bytes : 0);
        if (small)
            sql_bind_bytes(statement, 5, blob_data(result->data), n);
    }
    err = sql_run_guarded(self, statement, "the batch");
    return err || n == 0 || small ? err : result_insert(self, row, result);
}

err_t store_batch_done(store_t *self, batch_row_t *row, const result_new_t *result,
                       const attempt_new_t *history)
{
    if (result->attempt == 0)
        return err_set(ERR_STALE, "attempt 0 was never leased");
    if (!row->is_finalize && result->items_failed > row->items_n)
        return err_set(ERR_INVALID, "%" PRIu32 " items failed of %" PRIu32, result->items_failed,
                       row->items_n);
    err_t err = batch_finish(self, row, result);
    owed_t owed = {.job = row->job, .attempts_n = 1};
    if (!row->is_finalize) {
        owed.batches_done = 1;
        owed.items_failed = result->items_failed;
        owed.items_done = (int64_t)row->items_n - result->items_failed;
    }
    if (!err)
        err = history_insert(self, row, &(execution_t){result->attempt, "done", history}, &owed);
    if (err)
        return err;
    self->owed = owed;
    row->state = BATCH_DONE;
    row->not_before_at = 0;
    return ERR_OK;
}

/* -- reading
 * ----------------------------------------------------------------------------------------- */

static void batch_row_read(sqlite3_stmt *statement, batch_row_t *out)
{
    *out = (batch_row_t){.id = sql_u64(statement, 0),
                         .job = sql_u64(statement, 1),
                         .is_finalize = sqlite3_column_int(statement, 2) != 0,
                         .no = sql_u32(statement, 3),
                         .chunk_from = sql_u32(statement, 5),
                         .chunks_n = sql_u32(statement, 6),
                         .first_item = sql_u64(statement, 7),
                         .items_n = sql_u32(statement, 8),
                         .raw_bytes = sql_u64(statement, 9),
                         .attempt = sql_u32(statement, 10),
                         .starts = sql_u32(statement, 11),
                         .failures = sql_u32(statement, 12),
                         .not_before_at = sqlite3_column_int64(statement, 13),
                         .failed_at = sqlite3_column_int64(statement, 14)};
    bool known = batch_state_parse(sql_text(statement, 4), &out->state);
    INVARIANT(known); /* a CHECK of the table */
}

err_t store_batch_get(store_t *self, uint64_t batch, batch_row_t *out)
{
    static const statement_id_t tables[] = {STATEMENT_BATCH_GET, STATEMENT_FINALIZE_GET};
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *statement = NULL;
        bool found = false;
        err_t err = sql_query(self, tables[i], &statement);
        if (err)
            return err;
        sql_bind_u64(statement, 1, batch);
        err = sql_next(self, statement, &found);
        if (err)
            return err;
        if (found) {
            batch_row_read(statement, out);
            sql_finish(statement);
            return ERR_OK;
        }
    }
    return err_set(ERR_NOT_FOUND, "there is no batch %" PRIu64, batch);
}

err_t store_batches_live(store_t *self, void (*visit)(void *context, const batch_row_t *row),
                         void *context)
{
    static const statement_id_t tables[] = {STATEMENT_BATCHES_LIVE, STATEMENT_FINALIZES_LIVE};
    err_t err = ERR_OK;
    for (int i = 0; !err && i < 2; i++) {
        sqlite3_stmt *statement = NULL;
        bool found = true;
        err = sql_query(self, tables[i], &statement);
        while (!err && found) {
            err = sql_next(self, statement, &found);
            if (err || !found)
                break;
            batch_row_t row;
            batch_row_read(statement, &row);
            visit(context, &row);
        }
    }
    return err;
}

err_t store_batch_crashers(store_t *self, const batch_row_t *row, const char *but, int *out)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = sql_query(self, sql_twin(STATEMENT_BATCH_CRASHERS, row), &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, row->id);
    sql_bind_text(statement, 2, but);
    err = sql_next(self, statement, &found);
    if (err)
        return err;
    *out = sqlite3_column_int(statement, 0);
    sql_finish(statement);
    return ERR_OK;
}

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

/* One record of P30; false: it does not fit any more. */
static bool partial_add(sqlite3_stmt *statement, size_t room, buffer_t *out, bool first)
{
    size_t n = (size_t)sqlite3_column_bytes(statement, 2);
    if (!first && n + 12 > room)
        return false;
    uint8_t head[12];
    put_u32(head, sql_u32(statement, 0));
    put_u32(head + 4, sql_u32(statement, 1));
    put_u32(head + 8, (uint32_t)n);
    buffer_add(out, head, sizeof head);
    if (n)
        buffer_add(out, sqlite3_column_blob(statement, 2), n);
    return true;
}

err_t store_partials(store_t *self, uint64_t job, uint32_t from_no, size_t max_bytes, buffer_t *out,
                     uint32_t *next_no, bool *last)
{
    sqlite3_stmt *statement = NULL;
    size_t start = out->n;
    bool found = true;
    uint32_t after = from_no;
    err_t err = sql_query(self, STATEMENT_PARTIALS, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, job);
    sql_bind_u64(statement, 2, from_no);
    for (;;) {
        err = sql_next(self, statement, &found);
        if (err)
            return err;
        if (!found)
            break;
        size_t used = out->n - start;
        uint32_t no = sql_u32(statement, 0);
        bool empty = sqlite3_column_type(statement, 2) == SQLITE_NULL;
        if (!empty &&
            !partial_add(statement, max_bytes > used ? max_bytes - used : 0, out, used == 0)) {
            after = no;
            break;
        }
        after = no + 1;
    }
    sql_finish(statement);
    *next_no = after;
    *last = !found;
    return ERR_OK;
}

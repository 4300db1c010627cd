/* jobs: a job from its first row to its end. Each move is one UPDATE guarded by the state it moves
 * from. */
#include <inttypes.h>
#include <string.h>

#include "api/store/internal.h"
#include "common/log.h"

static bool task_without_input(const char *input)
{
    return strcmp(input, "none") == 0;
}

/* A job with neither input nor need of one may start; any other without input is an upload. */
static err_t first_state(store_t *self, const job_new_t *job, job_state_t *out)
{
    *out = JOB_PENDING;
    if (job->input)
        return ERR_OK;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    err_t err = sql_query(self, STATEMENT_TASK_INPUT, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, job->task_id);
    err = sql_next(self, statement, &row);
    if (err)
        return err;
    if (!row)
        return err_set(ERR_NOT_FOUND, "there is no task %" PRIu64, job->task_id);
    if (job->items_total != 0 || !task_without_input(sql_text(statement, 0)))
        *out = JOB_RECEIVING;
    sql_finish(statement);
    return ERR_OK;
}

err_t store_job_insert(store_t *self, const job_new_t *job)
{
    sqlite3_stmt *statement = NULL;
    job_state_t state = JOB_PENDING;
    err_t err = first_state(self, job, &state);
    if (!err)
        err = sql_query(self, STATEMENT_JOB_INSERT, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, job->id);
    sql_bind_u64(statement, 2, job->task_id);
    sql_bind_text(statement, 3, job_state_name(state));
    sql_bind_i64(statement, 4, job->priority);
    sql_bind_u64(statement, 5, job->format);
    sql_bind_u64(statement, 6, job->chunk_items);
    sql_bind_u64(statement, 7, job->batch_items);
    sql_bind_u64(statement, 8, job->first_line);
    sql_bind_text(statement, 9, job->params ? job->params : "{}");
    sql_bind_text(statement, 10, job->header ? job->header : "");
    if (job->input)
        sql_bind_bytes(statement, 11, blob_n(job->input) ? (const void *)blob_data(job->input) : "",
                       blob_n(job->input));
    sql_bind_u64(statement, 12, job->input_raw);
    sql_bind_u64(statement, 13, job->input ? 1 : 0);
    sql_bind_u64(statement, 14, job->items_total);
    sql_bind_i64(statement, 15, job->created_at);
    err = sql_run(self, statement);
    if (err)
        return err_context(err, "job %" PRIu64, job->id);
    store_count_move(self, job->task_id, -1, (int)state);
    return ERR_OK;
}

err_t store_chunk_insert(store_t *self, const chunk_new_t *chunk)
{
    if (chunk->raw_bytes > STORE_BATCH_BYTES)
        return err_set(ERR_TOO_LARGE, "chunk %" PRIu32 " has %" PRIu64 " bytes, the most is %d",
                       chunk->seq, chunk->raw_bytes, STORE_BATCH_BYTES);
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_CHUNK_INSERT, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, chunk->job);
    sql_bind_u64(statement, 2, chunk->seq);
    sql_bind_u64(statement, 3, chunk->first_item);
    sql_bind_u64(statement, 4, chunk->items_n);
    sql_bind_u64(statement, 5, chunk->raw_bytes);
    sql_bind_bytes(statement, 6, chunk->n ? chunk->data : "", chunk->n);
    err = sql_run(self, statement);
    return err ? err_context(err, "chunk %" PRIu32, chunk->seq) : ERR_OK;
}

typedef struct {
    uint64_t job;
    uint64_t task;
    job_state_t from, to;
} move_t;

/* What the job is now, and its task; ERR_NOT_FOUND. */
static err_t job_read(store_t *self, move_t *move)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    err_t err = sql_query(self, STATEMENT_JOB_STATE, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, move->job);
    err = sql_next(self, statement, &row);
    if (err)
        return err;
    if (!row)
        return err_set(ERR_NOT_FOUND, "there is no job %" PRIu64, move->job);
    move->task = sql_u64(statement, 0);
    bool known = job_state_parse(sql_text(statement, 1), &move->from);
    INVARIANT(known); /* a CHECK of the table */
    sql_finish(statement);
    return ERR_OK;
}

/* Take the UPDATE that moves a job, with the job bound as ?1. */
static err_t move_begin(store_t *self, statement_id_t id, const move_t *move, sqlite3_stmt **out)
{
    INVARIANT(job_may_move(move->from, move->to));
    err_t err = sql_query(self, id, out);
    if (!err)
        sql_bind_u64(*out, 1, move->job);
    return err;
}

/* No row: there is no such job, or it is in another state than the one the UPDATE is guarded by. */
static err_t move_end(store_t *self, sqlite3_stmt *statement, const move_t *move)
{
    err_t err = sql_run_guarded(self, statement, "the move");
    if (err)
        return err_context(err, "job %" PRIu64 " from %s to %s", move->job,
                           job_state_name(move->from), job_state_name(move->to));
    store_count_move(self, move->task, (int)move->from, (int)move->to);
    return ERR_OK;
}

err_t store_job_received(store_t *self, uint64_t job, uint32_t chunks_n, uint64_t items_total)
{
    sqlite3_stmt *statement = NULL;
    move_t move = {.job = job, .to = JOB_PENDING};
    err_t err = job_read(self, &move);
    move.from = JOB_RECEIVING; /* the UPDATE is guarded by it */
    if (!err)
        err = move_begin(self, STATEMENT_JOB_RECEIVED, &move, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 2, chunks_n);
    sql_bind_u64(statement, 3, items_total);
    return move_end(self, statement, &move);
}

err_t store_job_start(store_t *self, uint64_t job, uint64_t task, int64_t wall_at)
{
    sqlite3_stmt *statement = NULL;
    move_t move = {.job = job, .task = task, .from = JOB_PENDING, .to = JOB_PROCESSING};
    err_t err = move_begin(self, STATEMENT_JOB_START, &move, &statement);
    if (err)
        return err;
    sql_bind_i64(statement, 2, wall_at);
    return move_end(self, statement, &move);
}

err_t store_job_finalize(store_t *self, uint64_t job, uint64_t task, uint64_t finalize)
{
    sqlite3_stmt *statement = NULL;
    move_t move = {.job = job, .task = task, .from = JOB_PROCESSING, .to = JOB_FINALIZING};
    err_t err = move_begin(self, STATEMENT_JOB_FINALIZE, &move, &statement);
    if (!err)
        err = move_end(self, statement, &move);
    if (!err)
        err = sql_query(self, STATEMENT_FINALIZE_INSERT, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, finalize);
    sql_bind_u64(statement, 2, job);
    err = sql_run(self, statement);
    return err ? err_context(err, "finalize of job %" PRIu64, job) : ERR_OK;
}

/* What this job is owed goes along: the last batch of a job costs one UPDATE of its row, not two.
 */
err_t store_job_end(store_t *self, const job_end_t *end)
{
    owed_t owed = {0};
    if (self->owed.job == end->job) {
        owed = self->owed;
        self->owed.job = 0;
    }
    if (!job_may_move(end->from, end->to) || !job_state_terminal(end->to))
        return err_set(ERR_INTERNAL, "a job cannot end from %s as %s", job_state_name(end->from),
                       job_state_name(end->to));
    sqlite3_stmt *statement = NULL;
    move_t move = {.job = end->job, .task = end->task, .from = end->from, .to = end->to};
    err_t err = move_begin(self, STATEMENT_JOB_END, &move, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 2, job_state_name(end->from));
    sql_bind_text(statement, 3, job_state_name(end->to));
    sql_bind_i64(statement, 4, end->wall_at);
    sql_bind_text(statement, 5, end->error_code ? end->error_code : "");
    sql_bind_text(statement, 6, end->error_text ? end->error_text : "");
    if (end->report && sqlite3_bind_text64(statement, 7, end->report, end->report_n, SQLITE_STATIC,
                                           SQLITE_UTF8) != SQLITE_OK) {
        sql_finish(statement);
        return err_set(ERR_TOO_LARGE, "the report has %zu bytes", end->report_n);
    }
    store_owed_bind(statement, &owed);
    err = move_end(self, statement, &move);
    if (err)
        self->owed = owed;
    return err;
}

/* Run one of the statements that take the job and a time. */
static err_t cancel_step(store_t *self, statement_id_t id, uint64_t job, int64_t wall_at)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, id, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, job);
    if (sqlite3_bind_parameter_count(statement) > 1)
        sql_bind_i64(statement, 2, wall_at);
    return sql_run(self, statement);
}

static err_t cancel_executions(store_t *self, uint64_t job, int64_t wall_at, int *ended)
{
    err_t err = cancel_step(self, STATEMENT_CANCEL_BATCH_HISTORY, job, wall_at);
    if (err)
        return err;
    *ended = sqlite3_changes(self->writer);
    err = cancel_step(self, STATEMENT_CANCEL_FINALIZE_HISTORY, job, wall_at);
    if (err)
        return err;
    *ended += sqlite3_changes(self->writer);
    err = cancel_step(self, STATEMENT_CANCEL_BATCHES, job, wall_at);
    return err ? err : cancel_step(self, STATEMENT_CANCEL_FINALIZES, job, wall_at);
}

err_t store_job_cancel(store_t *self, uint64_t job, int64_t wall_at)
{
    sqlite3_stmt *statement = NULL;
    move_t move = {.job = job, .to = JOB_CANCELLED};
    int ended = 0;
    err_t err = job_read(self, &move);
    if (err)
        return err;
    if (!job_may_move(move.from, JOB_CANCELLED))
        return err_set(ERR_STALE, "job %" PRIu64 " is %s", job, job_state_name(move.from));
    err = cancel_executions(self, job, wall_at, &ended);
    if (!err)
        err = move_begin(self, STATEMENT_JOB_CANCEL, &move, &statement);
    if (err)
        return err_context(err, "job %" PRIu64, job);
    sql_bind_text(statement, 2, job_state_name(move.from));
    sql_bind_i64(statement, 3, wall_at);
    sql_bind_i64(statement, 4, ended);
    return move_end(self, statement, &move);
}

err_t store_job_get(store_t *self, uint64_t job, job_row_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    err_t err = sql_query(self, STATEMENT_JOB_GET, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, job);
    err = sql_next(self, statement, &row);
    if (err)
        return err;
    if (!row)
        return err_set(ERR_NOT_FOUND, "there is no job %" PRIu64, job);
    job_row_read(statement, out);
    sql_finish(statement);
    return ERR_OK;
}

err_t store_jobs_live(store_t *self, void (*visit)(void *context, const job_row_t *row),
                      void *context)
{
    sqlite3_stmt *statement = NULL;
    bool row = true;
    err_t err = sql_query(self, STATEMENT_JOBS_LIVE, &statement);
    while (!err && row) {
        err = sql_next(self, statement, &row);
        if (err || !row)
            break;
        job_row_t job;
        job_row_read(statement, &job);
        visit(context, &job);
        job_row_free(&job);
    }
    return err;
}

/* One more than named is asked for: its presence says that the list goes on. */
err_t store_job_missing(store_t *self, uint64_t job, int n, buffer_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = true;
    err_t err = sql_query(self, STATEMENT_JOB_MISSING, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, job);
    sql_bind_i64(statement, 2, (int64_t)n + 1);
    for (int i = 0; row && !err; i++) {
        err = sql_next(self, statement, &row);
        if (err || !row)
            break;
        if (i == n) {
            buffer_add_text(out, n ? "; and more" : "some");
            continue;
        }
        uint64_t first = sql_u64(statement, 1) + 1;
        const char *text = sql_text(statement, 3);
        buffer_printf(out, "%sitems %" PRIu64 "-%" PRIu64 " (batch %" PRIu32 "%s%s)", i ? "; " : "",
                      first, first + sql_u64(statement, 2) - 1, sql_u32(statement, 0),
                      *text ? ": " : "", text);
    }
    return err;
}

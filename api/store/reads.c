/* reads: what clients ask, on a connection of its own that sees committed rows only. Each read is
 * one short statement. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/store/internal.h"
#include "common/log.h"

/* -- a job's row
 * ------------------------------------------------------------------------------------- */

/* Batches are cut in order, so the last one (columns 29 to 33) tells how far the cutting is. */
static void job_row_cut(sqlite3_stmt *statement, job_row_t *out)
{
    if (sqlite3_column_type(statement, 29) == SQLITE_NULL)
        return;
    out->batches_n = sql_u32(statement, 29) + 1;
    out->items_cut = sql_u64(statement, 30) + sql_u64(statement, 31);
    out->chunks_cut = sql_u32(statement, 32) + sql_u32(statement, 33);
}

void job_row_read(sqlite3_stmt *statement, job_row_t *out)
{
    *out = (job_row_t){.id = sql_u64(statement, 0),
                       .task_id = sql_u64(statement, 1),
                       .priority = sqlite3_column_int(statement, 3),
                       .epoch = sql_u32(statement, 4),
                       .format = sql_u32(statement, 5),
                       .chunk_items = sql_u32(statement, 6),
                       .batch_items = sql_u32(statement, 7),
                       .first_line = sql_u64(statement, 8),
                       .params = mem_text(sql_text(statement, 9)),
                       .header = mem_text(sql_text(statement, 10)),
                       .chunks_n = sql_u32(statement, 11),
                       .items_total = sql_u64(statement, 12),
                       .items_done = sql_u64(statement, 13),
                       .items_failed = sql_u64(statement, 14),
                       .input_raw = sql_u64(statement, 15),
                       .input_inline = sqlite3_column_int(statement, 16) != 0,
                       .batches_done = sql_u32(statement, 17),
                       .batches_dead = sql_u32(statement, 18),
                       .attempts_n = sql_u64(statement, 19),
                       .failures_n = sql_u64(statement, 20),
                       .lost_n = sql_u64(statement, 21),
                       .error_code = mem_text(sql_text(statement, 22)),
                       .error_text = mem_text(sql_text(statement, 23)),
                       .created_at = sqlite3_column_int64(statement, 24),
                       .started_at = sqlite3_column_int64(statement, 25),
                       .finished_at = sqlite3_column_int64(statement, 26),
                       .has_report = sqlite3_column_int(statement, 28) != 0};
    sql_copy(statement, 27, out->task, sizeof out->task);
    job_row_cut(statement, out);
    bool known = job_state_parse(sql_text(statement, 2), &out->state);
    INVARIANT(known); /* a CHECK of the table */
}

void job_row_free(job_row_t *row)
{
    free(row->params);
    free(row->header);
    free(row->error_code);
    free(row->error_text);
    row->params = row->header = row->error_code = row->error_text = NULL;
}

/* The row of a job's id, if there is one: *found. */
static err_t read_by_id(store_t *self, statement_id_t id, uint64_t job, sqlite3_stmt **out,
                        bool *found)
{
    *found = false;
    if (job > INT64_MAX)
        return err_set(ERR_NOT_FOUND, "there is no job %" PRIu64, job);
    err_t err = sql_query(self, id, out);
    if (err)
        return err;
    sql_bind_u64(*out, 1, job);
    return sql_next(self, *out, found);
}

err_t store_read_job(store_t *self, uint64_t job, job_row_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = read_by_id(self, STATEMENT_READ_JOB, job, &statement, &found);
    if (err)
        return err;
    if (!found)
        return err_set(ERR_NOT_FOUND, "there is no job %" PRIu64, job);
    job_row_read(statement, out);
    sql_finish(statement);
    return ERR_OK;
}

err_t store_read_report(store_t *self, uint64_t job, buffer_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = read_by_id(self, STATEMENT_READ_REPORT, job, &statement, &found);
    if (err)
        return err;
    if (!found)
        return err_set(ERR_NOT_FOUND, "job %" PRIu64 " has no report", job);
    const char *text = sql_text(statement, 0);
    buffer_add(out, text, (size_t)sqlite3_column_bytes(statement, 0));
    sql_finish(statement);
    return ERR_OK;
}

/* -- lists
 * ------------------------------------------------------------------------------------------- */

/* 0: there is no such task. */
static err_t read_task_id(store_t *self, const char *name, uint64_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = sql_query(self, STATEMENT_READ_TASK_ID, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, name);
    err = sql_next(self, statement, &found);
    if (err)
        return err;
    *out = found ? sql_u64(statement, 0) : 0;
    sql_finish(statement);
    return ERR_OK;
}

/* The index with the fewest rows to pass by: live jobs are few, failed and cancelled ones rare. */
static statement_id_t list_of(const job_filter_t *filter)
{
    if (filter->has_state && !job_state_terminal(filter->state))
        return STATEMENT_READ_JOBS_LIVE;
    if (filter->has_state && filter->state != JOB_COMPLETED)
        return STATEMENT_READ_JOBS_UNWELL;
    return filter->task ? STATEMENT_READ_JOBS_OF_TASK : STATEMENT_READ_JOBS;
}

err_t store_read_jobs(store_t *self, const job_filter_t *filter,
                      void (*visit)(void *context, const job_row_t *row), void *context)
{
    sqlite3_stmt *statement = NULL;
    uint64_t task = 0;
    bool found = true;
    err_t err = filter->task ? read_task_id(self, filter->task, &task) : ERR_OK;
    if (err || (filter->task && task == 0))
        return err;
    err = sql_query(self, list_of(filter), &statement);
    if (err)
        return err;
    bool bounded = filter->before > 0 && filter->before <= INT64_MAX;
    sql_bind_u64(statement, 1, bounded ? filter->before : INT64_MAX);
    sql_bind_i64(statement, 2, filter->limit < 1 ? 1 : filter->limit > 1000 ? 1000 : filter->limit);
    if (filter->has_state)
        sql_bind_text(statement, 3, job_state_name(filter->state));
    if (task)
        sql_bind_u64(statement, 4, task);
    while (!err && found) {
        err = sql_next(self, statement, &found);
        if (err || !found)
            break;
        job_row_t row;
        job_row_read(statement, &row);
        visit(context, &row);
        job_row_free(&row);
    }
    return err;
}

err_t store_read_counts(store_t *self,
                        void (*visit)(void *context, const char *task, job_state_t state,
                                      uint64_t n),
                        void *context)
{
    sqlite3_stmt *statement = NULL;
    bool found = true;
    err_t err = sql_query(self, STATEMENT_READ_COUNTS, &statement);
    while (!err && found) {
        err = sql_next(self, statement, &found);
        if (err || !found)
            break;
        job_state_t state;
        if (job_state_parse(sql_text(statement, 1), &state))
            visit(context, sql_text(statement, 0), state, sql_u64(statement, 2));
    }
    return err;
}

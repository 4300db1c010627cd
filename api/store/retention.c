/* retention: removing what is over, in steps small enough to stand between two turns. */
#include <inttypes.h>
#include <stdio.h>

#include "api/store/internal.h"
#include "common/log.h"

/* A statement of (job or time, limit); how many rows it removed. */
static err_t remove_some(store_t *self, statement_id_t id, int64_t first, int n, int *removed)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, id, &statement);
    if (err)
        return err;
    sql_bind_i64(statement, 1, first);
    if (sqlite3_bind_parameter_count(statement) > 1)
        sql_bind_i64(statement, 2, n);
    err = sql_run(self, statement);
    if (!err)
        *removed = sqlite3_changes(self->writer);
    return err;
}

/* The one number a statement of (job, limit) selects, into `out`; 0 if there is none. */
static err_t select_number(store_t *self, statement_id_t id, int64_t first, int n, int64_t out[2])
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = sql_query(self, id, &statement);
    if (err)
        return err;
    sql_bind_i64(statement, 1, first);
    if (sqlite3_bind_parameter_count(statement) > 1)
        sql_bind_i64(statement, 2, n);
    err = sql_next(self, statement, &found);
    if (err)
        return err;
    out[0] = found ? sqlite3_column_int64(statement, 0) : 0;
    out[1] = found && sqlite3_column_count(statement) > 1 ? sqlite3_column_int64(statement, 1) : 0;
    sql_finish(statement);
    return ERR_OK;
}

/* -- one job
 * ----------------------------------------------------------------------------------------- */

static err_t removable(store_t *self, uint64_t job, uint64_t *task, job_state_t *state)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = sql_query(self, STATEMENT_JOB_STATE, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, job);
    err = sql_next(self, statement, &found);
    if (err)
        return err;
    if (!found)
        return err_set(ERR_NOT_FOUND, "there is no job %" PRIu64, job);
    *task = sql_u64(statement, 0);
    bool known = job_state_parse(sql_text(statement, 1), state);
    INVARIANT(known);
    sql_finish(statement);
    if (*state != JOB_RECEIVING && !job_state_terminal(*state))
        return err_set(ERR_STALE, "job %" PRIu64 " is %s", job, job_state_name(*state));
    return ERR_OK;
}

static err_t remove_batches(store_t *self, uint64_t job, int n, int *removed)
{
    int64_t highest[2] = {0, 0};
    int ignored = 0;
    err_t err = select_number(self, STATEMENT_REMOVE_HIGHEST, (int64_t)job, n, highest);
    if (!err)
        err = store_floor_keep(self, (uint64_t)highest[0]);
    if (!err)
        err = remove_some(self, STATEMENT_REMOVE_RESULTS, (int64_t)job, n, &ignored);
    if (!err)
        err = remove_some(self, STATEMENT_REMOVE_HISTORY, (int64_t)job, n, &ignored);
    return err ? err : remove_some(self, STATEMENT_REMOVE_BATCHES, (int64_t)job, n, removed);
}

/* The last step: finalizes (one an epoch) and the job itself. */
static err_t remove_rest(store_t *self, uint64_t job)
{
    int64_t highest[2] = {0, 0};
    int ignored = 0;
    err_t err = select_number(self, STATEMENT_REMOVE_FINALIZE_HIGHEST, (int64_t)job, 0, highest);
    if (!err)
        err = store_floor_keep(self, (uint64_t)highest[0] > job ? (uint64_t)highest[0] : job);
    if (!err)
        err = remove_some(self, STATEMENT_REMOVE_FINALIZE_HISTORY, (int64_t)job, 0, &ignored);
    if (!err)
        err = remove_some(self, STATEMENT_REMOVE_FINALIZES, (int64_t)job, 0, &ignored);
    return err ? err : remove_some(self, STATEMENT_REMOVE_JOB, (int64_t)job, 0, &ignored);
}

err_t store_job_remove(store_t *self, uint64_t job, int chunks, bool *more)
{
    static const statement_id_t steps[] = {STATEMENT_REMOVE_CHUNKS, STATEMENT_REMOVE_SAMPLES};
    uint64_t task = 0;
    job_state_t state = JOB_RECEIVING;
    int left = chunks, removed = 0;
    err_t err = removable(self, job, &task, &state);
    if (!err)
        err = remove_batches(self, job, left, &removed);
    left -= removed;
    for (int i = 0; !err && left > 0 && i < 2; i++) {
        err = remove_some(self, steps[i], (int64_t)job, left, &removed);
        left -= removed;
    }
    if (err)
        return err_context(err, "removing job %" PRIu64, job);
    if (left <= 0) {
        *more = true;
        return ERR_OK;
    }
    err = remove_rest(self, job);
    if (err)
        return err_context(err, "removing job %" PRIu64, job);
    store_count_move(self, task, (int)state, -1);
    *more = false;
    return ERR_OK;
}

/* -- retention
 * --------------------------------------------------------------------------------------- */

err_t store_expired_job(store_t *self, int64_t completed_before, int64_t failed_before,
                        uint64_t *out)
{
    int64_t finished[2], failed[2];
    err_t err = select_number(self, STATEMENT_EXPIRED_FINISHED, completed_before, 0, finished);
    if (!err)
        err = select_number(self, STATEMENT_EXPIRED_FAILED, failed_before, 0, failed);
    if (err)
        return err;
    bool take_failed = failed[0] && (!finished[0] || failed[1] < finished[1]);
    *out = (uint64_t)(take_failed ? failed[0] : finished[0]);
    return ERR_OK;
}

err_t store_prune(store_t *self, int64_t before, int n, bool *more)
{
    int samples = 0, keys = 0;
    err_t err = remove_some(self, STATEMENT_PRUNE_SAMPLES, before, n, &samples);
    if (!err && samples < n)
        err = remove_some(self, STATEMENT_PRUNE_KEYS, before, n - samples, &keys);
    if (!err)
        *more = samples + keys == n;
    return err;
}

static int number_of(void *context, int columns, char **values, char **names)
{
    (void)columns, (void)names;
    return sscanf(values[0], "%d", (int *)context) == 1 ? 0 : 1;
}

/* A PRAGMA takes no parameters; the number is our own. */
err_t store_vacuum_step(store_t *self, int pages, bool *more)
{
    INVARIANT(!self->in_turn && pages > 0);
    char sql[64];
    int free_n = 0;
    snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%d)", pages);
    err_t err = sql_execute(self, self->writer, sql);
    if (err)
        return err_context(err, "giving pages back");
    if (sqlite3_exec(self->writer, "PRAGMA freelist_count", number_of, &free_n, NULL) != SQLITE_OK)
        return sql_error(self, self->writer, "free pages");
    *more = free_n > 0;
    return ERR_OK;
}

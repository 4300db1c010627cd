/* tables: tasks, workers, samples, schedules and the ledger of ticks. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/store/internal.h"
#include "common/log.h"

/* -- tasks
 * ------------------------------------------------------------------------------------------- */

static const char *const inputs[] = {
    [TASK_INPUT_LINES] = "lines", [TASK_INPUT_JSON] = "json", [TASK_INPUT_NONE] = "none"};

static task_input_t input_parse(const char *name)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(inputs[i], name) == 0)
            return (task_input_t)i;
    INVARIANT(!"an input kind the table's CHECK does not allow");
    return TASK_INPUT_NONE;
}

static void task_row_read(sqlite3_stmt *statement, task_row_t *out)
{
    *out = (task_row_t){.id = sql_u64(statement, 0),
                        .input = input_parse(sql_text(statement, 2)),
                        .rate_n = sql_u32(statement, 4),
                        .rate_window_ms = sqlite3_column_int64(statement, 5),
                        .max_attempts = sql_u32(statement, 6),
                        .last_seen_at = sqlite3_column_int64(statement, 7)};
    sql_copy(statement, 1, out->name, sizeof out->name);
    sql_copy(statement, 3, out->finalize, sizeof out->finalize);
}

err_t store_tasks(store_t *self, void (*visit)(void *context, const task_row_t *row), void *context)
{
    sqlite3_stmt *statement = NULL;
    bool found = true;
    err_t err = sql_query(self, STATEMENT_TASKS, &statement);
    while (!err && found) {
        err = sql_next(self, statement, &found);
        if (err || !found)
            break;
        task_row_t row;
        task_row_read(statement, &row);
        visit(context, &row);
    }
    return err;
}

static err_t task_refresh(store_t *self, const task_row_t *row, int64_t wall_at, int64_t seen_at)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_TASK_REFRESH, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, row->name);
    sql_bind_text(statement, 2, inputs[row->input]);
    sql_bind_text(statement, 3, row->finalize);
    sql_bind_u64(statement, 4, row->rate_n);
    sql_bind_i64(statement, 5, row->rate_window_ms);
    sql_bind_u64(statement, 6, row->max_attempts);
    sql_bind_i64(statement, 7, wall_at);
    sql_bind_i64(statement, 8, seen_at);
    err = sql_run(self, statement);
    return err ? err_context(err, "task %s", row->name) : ERR_OK;
}

static err_t task_touch(store_t *self, const char *name, int64_t wall_at)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_TASK_TOUCH, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, name);
    sql_bind_i64(statement, 2, wall_at);
    return sql_run(self, statement);
}

/* What a built-in task is, this program knows better than any worker of another version. */
err_t store_task_seen(store_t *self, task_row_t *row, int64_t wall_at)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = task_spec_find(row->name) ? task_touch(self, row->name, wall_at)
                                          : task_refresh(self, row, wall_at, wall_at);
    if (!err)
        err = sql_query(self, STATEMENT_TASK_BY_NAME, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, row->name);
    err = sql_next(self, statement, &found);
    if (err)
        return err;
    INVARIANT(found);
    task_row_read(statement, row);
    sql_finish(statement);
    return ERR_OK;
}

err_t store_tasks_refresh(store_t *self, int64_t wall_at)
{
    err_t err = store_begin(self);
    for (int i = 0; !err && i < TASK_IDS_N; i++) {
        const task_spec_t *spec = task_spec_at(i);
        task_row_t row = {.input = spec->input,
                          .rate_n = spec->rate_n,
                          .rate_window_ms = spec->rate_window_ms,
                          .max_attempts = spec->max_attempts};
        strncpy(row.name, spec->name, sizeof row.name - 1);
        strncpy(row.finalize, spec->finalize, sizeof row.finalize - 1);
        err = task_refresh(self, &row, wall_at, 0);
    }
    if (!err)
        return store_commit(self);
    store_rollback(self);
    return err;
}

/* -- workers and samples
 * ----------------------------------------------------------------------------- */

err_t store_worker_seen(store_t *self, const worker_new_t *worker, int64_t wall_at)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_WORKER_SEEN, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, worker->name);
    sql_bind_bytes(statement, 2, worker->incarnation, sizeof worker->incarnation);
    sql_bind_text(statement, 3, worker->host);
    sql_bind_text(statement, 4, worker->version);
    sql_bind_u64(statement, 5, worker->slots);
    sql_bind_i64(statement, 6, wall_at);
    err = sql_run(self, statement);
    return err ? err_context(err, "worker %s", worker->name) : ERR_OK;
}

/* Figures of a host come off the wire: one beyond what a column holds is cut, not a mistake of
 * ours. */
static void bind_figure(sqlite3_stmt *statement, int i, uint64_t value)
{
    sql_bind_u64(statement, i, value <= INT64_MAX ? value : INT64_MAX);
}

err_t store_sample_insert(store_t *self, const sample_new_t *sample)
{
    const uint64_t figures[] = {sample->cpu_permille,     sample->memory_total,
                                sample->memory_available, sample->load_centi,
                                sample->disk_read_rate,   sample->disk_write_rate,
                                sample->disk_free};
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_SAMPLE_INSERT, &statement);
    if (err)
        return err;
    if (sample->job)
        sql_bind_u64(statement, 1, sample->job);
    sql_bind_text(statement, 2, sample->role);
    sql_bind_text(statement, 3, sample->name);
    sql_bind_i64(statement, 4, sample->at);
    sql_bind_i64(statement, 5, sample->healthy);
    sql_bind_text(statement, 6, sample->reason ? sample->reason : "");
    for (int i = 0; i < 7; i++)
        bind_figure(statement, 7 + i, figures[i]);
    err = sql_run(self, statement);
    return err ? err_context(err, "sample of %s", sample->name) : ERR_OK;
}

/* -- schedules and ticks
 * ----------------------------------------------------------------------------- */

static const char *const catch_ups[] = {"none", "last", "all"};

static void schedule_row_read(sqlite3_stmt *statement, schedule_row_t *out)
{
    *out = (schedule_row_t){.id = sql_u64(statement, 0),
                            .task_id = sql_u64(statement, 1),
                            .paused = sqlite3_column_int(statement, 7) != 0,
                            .last_nominal_at = sqlite3_column_int64(statement, 8)};
    sql_copy(statement, 2, out->name, sizeof out->name);
    sql_copy(statement, 3, out->expression, sizeof out->expression);
    sql_copy(statement, 4, out->zone, sizeof out->zone);
    sql_copy(statement, 5, out->task, sizeof out->task);
    for (uint32_t i = 0; i < 3; i++)
        if (strcmp(catch_ups[i], sql_text(statement, 6)) == 0)
            out->catch_up = i;
    out->params = mem_text(sql_text(statement, 9));
}

err_t store_schedules(store_t *self, uint64_t *revision,
                      void (*visit)(void *context, const schedule_row_t *row), void *context)
{
    sqlite3_stmt *statement = NULL;
    bool found = true;
    err_t err = store_meta_get(self, "schedule_revision", revision);
    if (err || !visit)
        return err;
    err = sql_query(self, STATEMENT_SCHEDULES, &statement);
    while (!err && found) {
        err = sql_next(self, statement, &found);
        if (err || !found)
            break;
        schedule_row_t row;
        schedule_row_read(statement, &row);
        visit(context, &row);
        free(row.params);
    }
    return err;
}

err_t store_schedule_get(store_t *self, const char *name, schedule_row_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = sql_query(self, STATEMENT_SCHEDULE_BY_NAME, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, name);
    err = sql_next(self, statement, &found);
    if (err)
        return err;
    if (found)
        schedule_row_read(statement, out);
    sql_finish(statement);
    return found ? ERR_OK : err_set(ERR_NOT_FOUND, "there is no schedule %s", name);
}

err_t store_schedule_ensure(store_t *self, const schedule_row_t *row, int64_t wall_at)
{
    INVARIANT(row->catch_up < 3);
    sqlite3_stmt *statement = NULL;
    uint64_t revision = 0;
    err_t err = sql_query(self, STATEMENT_SCHEDULE_INSERT, &statement);
    if (err)
        return err;
    sql_bind_text(statement, 1, row->name);
    sql_bind_u64(statement, 2, row->task_id);
    sql_bind_text(statement, 3, row->expression);
    sql_bind_text(statement, 4, row->zone);
    sql_bind_text(statement, 5, catch_ups[row->catch_up]);
    sql_bind_text(statement, 6, row->params ? row->params : "{}");
    sql_bind_i64(statement, 7, row->paused);
    sql_bind_i64(statement, 8, row->last_nominal_at);
    sql_bind_i64(statement, 9, wall_at);
    err = sql_run(self, statement);
    if (err)
        return err_context(err, "schedule %s", row->name);
    if (sqlite3_changes(self->writer) == 0)
        return ERR_OK;
    err = store_meta_get(self, "schedule_revision", &revision);
    return err ? err : store_meta_put(self, "schedule_revision", revision + 1);
}

static err_t tick_job(store_t *self, const tick_new_t *tick, uint64_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool found = false;
    err_t err = sql_query(self, STATEMENT_TICK_JOB, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, tick->schedule);
    sql_bind_i64(statement, 2, tick->nominal_at);
    err = sql_next(self, statement, &found);
    if (err)
        return err;
    *out = sql_u64(statement, 0);
    sql_finish(statement);
    return err_set(ERR_CONFLICT, "the tick exists");
}

static err_t schedule_ticked(store_t *self, const tick_new_t *tick)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_SCHEDULE_TICKED, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, tick->schedule);
    sql_bind_i64(statement, 2, tick->nominal_at);
    return sql_run(self, statement);
}

err_t store_tick_insert(store_t *self, const tick_new_t *tick, uint64_t *existing_job)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_TICK_INSERT, &statement);
    if (err)
        return err;
    sql_bind_u64(statement, 1, tick->schedule);
    sql_bind_i64(statement, 2, tick->nominal_at);
    sql_bind_u64(statement, 3, tick->job);
    sql_bind_text(statement, 4, tick->scheduler);
    sql_bind_i64(statement, 5, tick->wall_at - tick->nominal_at);
    sql_bind_i64(statement, 6, tick->wall_at);
    err = sql_run(self, statement);
    if (err)
        return err_context(err, "tick of schedule %" PRIu64, tick->schedule);
    if (sqlite3_changes(self->writer) == 0)
        return tick_job(self, tick, existing_job);
    return schedule_ticked(self, tick);
}

/* turn: the transaction of a loop turn, its marks, and what is written once a turn.
 *
 * A failed write may make SQLite roll the whole turn back by itself. From then on every statement
 * refuses (`lost`): run after that it would be a commit of its own. */
#include <stdlib.h>

#include "api/store/internal.h"
#include "common/clock.h"
#include "common/log.h"

static err_t control(store_t *self, statement_id_t id)
{
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, id, &statement);
    return err ? err : sql_run(self, statement);
}

static void turn_end(store_t *self, bool kept)
{
    if (!kept)
        self->floor_id = self->start.floor_id;
    self->in_turn = self->lost = false;
    self->owed.job = 0;
    self->changes_n = 0;
    self->marks_n = 0;
}

static mark_t mark_now(const store_t *self)
{
    return (mark_t){.changes_n = self->changes_n, .floor_id = self->floor_id};
}

err_t store_sound(const store_t *self)
{
    return self->checkpoint_error
               ? err_set(ERR_IO, "a checkpoint failed: %s", sqlite3_errstr(self->checkpoint_error))
               : ERR_OK;
}

err_t store_begin(store_t *self)
{
    INVARIANT(!self->in_turn);
    err_t err = store_sound(self);
    if (!err)
        err = control(self, STATEMENT_BEGIN);
    if (err)
        return err_context(err, "cannot begin");
    self->in_turn = true;
    self->start = mark_now(self);
    self->rows_at_start = sqlite3_total_changes(self->writer);
    return ERR_OK;
}

void store_rollback(store_t *self)
{
    if (!self->in_turn)
        return;
    int code = sqlite3_get_autocommit(self->writer)
                   ? SQLITE_OK
                   : sqlite3_exec(self->writer, "ROLLBACK", NULL, NULL, NULL);
    if ((code & 0xff) == SQLITE_NOMEM)
        mem_exhausted(0); /* what the turn wrote is still there, and the next process's to undo */
    INVARIANT(sqlite3_get_autocommit(self->writer));
    turn_end(self, false);
}

bool store_in_turn(const store_t *self)
{
    return self->in_turn;
}

bool store_turn_lost(const store_t *self)
{
    return self->lost;
}

static int change_order(const void *left, const void *right)
{
    const count_change_t *a = left, *b = right;
    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    return a->state - b->state;
}

static err_t count_write(store_t *self, const count_change_t *change)
{
    static const statement_id_t ways[] = {STATEMENT_COUNT_UPDATE, STATEMENT_COUNT_INSERT};
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *statement = NULL;
        err_t err = sql_query(self, ways[i], &statement);
        if (err)
            return err;
        sql_bind_u64(statement, 1, change->task);
        sql_bind_text(statement, 2, job_state_name((job_state_t)change->state));
        sql_bind_i64(statement, 3, change->delta);
        err = sql_run(self, statement);
        if (err || sqlite3_changes(self->writer) == 1)
            return err;
    }
    return ERR_OK;
}

static err_t counts_flush(store_t *self)
{
    if (self->changes_n)
        qsort(self->changes, self->changes_n, sizeof *self->changes, change_order);
    for (size_t i = 0, end; i < self->changes_n; i = end) {
        count_change_t sum = self->changes[i];
        for (end = i + 1; end < self->changes_n && change_order(&sum, &self->changes[end]) == 0;
             end++)
            sum.delta += self->changes[end].delta;
        err_t err = sum.delta ? count_write(self, &sum) : ERR_OK;
        if (err)
            return err_context(err, "counts of jobs");
    }
    return ERR_OK;
}

void store_count_move(store_t *self, uint64_t task, int from, int to)
{
    if (self->changes_n + 2 > self->changes_capacity) {
        self->changes_capacity = self->changes_capacity ? self->changes_capacity * 2 : 64;
        self->changes = mem_grow(self->changes, self->changes_capacity * sizeof *self->changes);
    }
    if (from >= 0)
        self->changes[self->changes_n++] = (count_change_t){task, from, -1};
    if (to >= 0)
        self->changes[self->changes_n++] = (count_change_t){task, to, 1};
}

void store_owed_bind(sqlite3_stmt *statement, const owed_t *owed)
{
    const int64_t values[] = {owed->items_done,   owed->items_failed, owed->batches_done,
                              owed->batches_dead, owed->attempts_n,   owed->failures_n,
                              owed->lost_n};
    for (int i = 0; i < 7; i++)
        sql_bind_i64(statement, 11 + i, values[i]);
}

err_t store_owed_flush(store_t *self)
{
    owed_t owed = self->owed;
    if (!owed.job)
        return ERR_OK;
    sqlite3_stmt *statement = NULL;
    err_t err = sql_query(self, STATEMENT_JOB_COUNT, &statement);
    if (err)
        return err;
    self->owed.job = 0;
    sql_bind_u64(statement, 1, owed.job);
    store_owed_bind(statement, &owed);
    err = sql_run(self, statement);
    return err ? err_context(err, "counters of job %llu", (unsigned long long)owed.job) : ERR_OK;
}

static err_t commit_now(store_t *self)
{
    if (self->lost)
        return err_set(self->lost_code, "the turn was rolled back by a failed write");
    err_t err = store_owed_flush(self);
    if (!err)
        err = counts_flush(self);
    if (!err && self->sim_full && sqlite3_total_changes(self->writer) != self->rows_at_start)
        err = err_set(ERR_FULL, "the disk is full (simulated)");
    return err ? err : control(self, STATEMENT_COMMIT);
}

const int64_t store_commit_bounds_us[STORE_COMMIT_BOUNDS_N] = {500,   1000,   2500,   5000,   10000,
                                                               25000, 100000, 500000, 2500000};

static void note_commit(store_commits_t *commits, int64_t us)
{
    int i = 0;
    while (i < STORE_COMMIT_BOUNDS_N && us > store_commit_bounds_us[i]) {
        i++;
    }
    commits->n++;
    commits->us += us;
    if (i < STORE_COMMIT_BOUNDS_N) {
        commits->within[i]++;
    }
}

const store_commits_t *store_commits(const store_t *self)
{
    return &self->commits;
}

err_t store_commit(store_t *self)
{
    INVARIANT(self->in_turn && self->marks_n == 0);
    int64_t began = clock_now_us();
    err_t err = commit_now(self);
    if (err) {
        store_rollback(self);
        return err_context(err, "nothing of the turn was kept");
    }
    note_commit(&self->commits, clock_now_us() - began);
    turn_end(self, true);
    return ERR_OK;
}

err_t store_mark(store_t *self)
{
    INVARIANT(self->in_turn && self->marks_n < STORE_MARKS_MAX);
    err_t err = control(self, STATEMENT_MARK);
    if (!err)
        self->marks[self->marks_n++] = mark_now(self);
    return err;
}

err_t store_keep(store_t *self)
{
    INVARIANT(self->in_turn && self->marks_n > 0);
    err_t err = control(self, STATEMENT_KEEP);
    if (!err)
        self->marks_n--;
    return err;
}

/* After a statement that SQLite rolled back by itself there is no savepoint left to go back to:
 * that turn is lost. */
void store_undo(store_t *self)
{
    INVARIANT(self->in_turn && self->marks_n > 0);
    mark_t mark = self->marks[--self->marks_n];
    self->owed.job = 0;
    self->changes_n = mark.changes_n;
    self->floor_id = mark.floor_id;
    if (self->lost)
        return;
    err_t err = control(self, STATEMENT_UNDO);
    if (!err)
        err = control(self, STATEMENT_KEEP);
    if (err && !self->lost) {
        self->lost = true;
        self->lost_code = err;
    }
}

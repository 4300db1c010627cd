/* store: the system of record, behind an interface that names no database.
 *
 * Lives here: every row and every transaction. Not here: what a message means or what happens next
 * (api/core), memory of leases and capacity. Called by api/core and api/maintenance (writes) and
 * api/http (reads); one thread.
 *
 * A turn: store_begin, verbs each between store_mark and store_keep or store_undo, store_commit. A
 * failed store_commit has rolled everything back (ERR_FULL: the disk is full; ERR_IO: end the
 * process). Every verb that moves a state is guarded by the state it moves from: ERR_STALE means no
 * row was in it, and nothing changed. Rows come back as plain values; texts in them are owned by
 * the row and freed with its _free. Times *_at are wall ms. */
#ifndef STINT_API_STORE_H
#define STINT_API_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"
#include "common/task_table.h"

typedef enum {
#define JOB_STATE(NAME, name, terminal) JOB_##NAME,
#define JOB_MOVE(FROM, TO)
#define BATCH_STATE(NAME, name, terminal)
#define BATCH_MOVE(FROM, TO)
#include "schema/job_states.def"
    JOB_STATES_N
} job_state_t;
#undef JOB_STATE
#undef BATCH_STATE
typedef enum {
#define JOB_STATE(NAME, name, terminal)
#define BATCH_STATE(NAME, name, terminal) BATCH_##NAME,
#include "schema/job_states.def"
    BATCH_STATES_N
} batch_state_t;
#undef JOB_STATE
#undef JOB_MOVE
#undef BATCH_STATE
#undef BATCH_MOVE

const char *job_state_name(job_state_t state);
bool job_state_parse(const char *name, job_state_t *out);
bool job_state_terminal(job_state_t state);
bool job_may_move(job_state_t from, job_state_t to);
const char *batch_state_name(batch_state_t state);
bool batch_state_terminal(batch_state_t state);
bool batch_may_move(batch_state_t from, batch_state_t to);

typedef struct store store_t;

typedef struct {
    const char *directory;  /* NULL: in memory (simulation) */
    uint64_t reserve_bytes; /* preallocated file freed when the disk is full */
    int64_t wall_at;        /* now, for rows made at opening */
    bool auto_migrate;      /* bring an older schema to this program's; else it is refused */
    bool backup;            /* copy the store before that; the last three copies are kept */
} store_options_t;

/* Opens or creates the store: locks it (ERR_BUSY: another api has it), runs the migrations or
 * refuses an older one (ERR_CONFIG), refuses a newer one (ERR_NEWER) and what is no store
 * (ERR_CORRUPT), removes unfinished uploads, inserts or refreshes the built-in tasks. */
CHECKED err_t store_open(store_t **out, const store_options_t *options);
void store_close(store_t **self);
const uint8_t *store_id(const store_t *self); /* 16 bytes, new at creation and at each restore */
/* Mark this database as restored from a backup: a new store id. */
CHECKED err_t store_renew_id(store_t *self);
int store_schema_version(const store_t *self);
/* A rising id, never used before, near (wall_at - 2020) * 4096 so that it is ordered by time; below
 * 2^53. */
uint64_t store_next_id(store_t *self, int64_t wall_at);
/* Bytes free under the store, and the size of database and log files. In memory: UINT64_MAX and 0.
 */
void store_space(const store_t *self, uint64_t *free_bytes, uint64_t *database_bytes,
                 uint64_t *log_bytes);
/* Give the reserve back to the disk / take it again (only when there is twice that room). */
void store_reserve(store_t *self, bool on);

/* -- a turn
 * -------------------------------------------------------------------------------------------- */
CHECKED err_t store_begin(store_t *self);
/* ERR_IO: after a commit that counts, bringing the log into the database failed; end the process.
 */
CHECKED err_t store_sound(const store_t *self);
CHECKED err_t store_commit(store_t *self);
/* How long the commits that succeeded took, since the start. */
enum { STORE_COMMIT_BOUNDS_N = 9 };
extern const int64_t store_commit_bounds_us[STORE_COMMIT_BOUNDS_N];
typedef struct {
    uint64_t n;
    int64_t us;                             /* all of them together */
    uint64_t within[STORE_COMMIT_BOUNDS_N]; /* over the bound before, not over this one */
} store_commits_t;
const store_commits_t *store_commits(const store_t *self);
void store_rollback(store_t *self);
bool store_in_turn(const store_t *self);
/* A statement of this turn (full disk, I/O) made the database roll the whole of it back, marks and
 * all: every verb and store_commit fail from then on; end it with store_rollback. */
bool store_turn_lost(const store_t *self);
CHECKED err_t store_mark(store_t *self);
CHECKED err_t store_keep(store_t *self);
void store_undo(store_t *self);

/* -- tasks
 * --------------------------------------------------------------------------------------------- */
typedef struct {
    uint64_t id;
    char name[65];
    task_input_t input;
    char finalize[65];
    uint32_t rate_n;
    int64_t rate_window_ms;
    uint32_t max_attempts;
    int64_t last_seen_at;
} task_row_t;
/* Every task the store knows, with `visit`. */
CHECKED err_t store_tasks(store_t *self, void (*visit)(void *context, const task_row_t *row),
                          void *context);
/* Insert or refresh a task announced by a worker; row->id is set. */
CHECKED err_t store_task_seen(store_t *self, task_row_t *row, int64_t wall_at);

/* -- jobs
 * ---------------------------------------------------------------------------------------------- */
typedef struct {
    uint64_t id, task_id;
    job_state_t state;
    int32_t priority;
    uint32_t epoch;
    uint32_t format; /* WIRE_FORMAT_... */
    uint32_t chunk_items, batch_items;
    uint64_t first_line;
    char *params, *header;
    uint32_t chunks_n;
    uint64_t items_total, items_done, items_failed;
    uint64_t input_raw; /* of the inline chunk */
    bool input_inline;
    uint32_t batches_n; /* cut so far */
    uint32_t batches_done, batches_dead;
    uint64_t items_cut;
    uint32_t chunks_cut;
    uint64_t attempts_n, failures_n, lost_n;
    char *error_code, *error_text;
    int64_t created_at, started_at, finished_at; /* 0 = not yet */
    char task[65];
    bool has_report;
} job_row_t;
void job_row_free(job_row_t *row);

typedef struct {
    uint64_t id, task_id;
    int32_t priority;
    uint32_t format, chunk_items, batch_items;
    uint64_t first_line;
    const char *params, *header;
    const blob_t *input; /* the only chunk, zstd, or NULL: chunks follow (state receiving) */
    uint64_t input_raw;
    uint64_t items_total; /* with input */
    int64_t created_at;
} job_new_t;
/* State pending if input is given or items_total is 0 and the task has no input; else receiving. */
CHECKED err_t store_job_insert(store_t *self, const job_new_t *job);
typedef struct {
    uint64_t job;
    uint32_t seq;
    uint64_t first_item;
    uint32_t items_n;
    uint64_t raw_bytes;
    const void *data; /* zstd */
    size_t n;
} chunk_new_t;
CHECKED err_t store_chunk_insert(store_t *self, const chunk_new_t *chunk);
/* receiving -> pending, with the totals. */
CHECKED err_t store_job_received(store_t *self, uint64_t job, uint32_t chunks_n,
                                 uint64_t items_total);
/* Remove an aborted upload or a terminal job, at most `chunks` chunk (or batch) rows a call. *more:
 * call again. Keeps ids from being used again. */
CHECKED err_t store_job_remove(store_t *self, uint64_t job, int chunks, bool *more);
/* pending -> processing at the first dispatch. Like the others below, it is told the job's task for
 * the counts: reading it would cost as much as the move. */
CHECKED err_t store_job_start(store_t *self, uint64_t job, uint64_t task, int64_t wall_at);
/* processing -> finalizing with its one finalize row, state ready; `finalize` is its id. */
CHECKED err_t store_job_finalize(store_t *self, uint64_t job, uint64_t task, uint64_t finalize);
typedef struct {
    uint64_t job, task;
    job_state_t from, to;                /* to: completed or failed */
    const char *error_code, *error_text; /* "" = none */
    const char *report;                  /* JSON text or NULL; report_n bytes */
    size_t report_n;
    int64_t wall_at;
} job_end_t;
CHECKED err_t store_job_end(store_t *self, const job_end_t *end);
/* Any non-terminal state but receiving -> cancelled, with all its non-terminal batches and
 * finalize, in one go. */
CHECKED err_t store_job_cancel(store_t *self, uint64_t job, int64_t wall_at);

/* One job with all its columns, read in the running turn (sees uncommitted rows). ERR_NOT_FOUND. */
CHECKED err_t store_job_get(store_t *self, uint64_t job, job_row_t *out);
/* All live jobs (not receiving), by id, for a start: includes batches_n, items_cut, chunks_cut
 * derived from the batches. */
CHECKED err_t store_jobs_live(store_t *self, void (*visit)(void *context, const job_row_t *row),
                              void *context);
/* "items 1001-2000 (batch 3: text)" of dead batches, at most `n` named, into out. */
CHECKED err_t store_job_missing(store_t *self, uint64_t job, int n, buffer_t *out);

/* -- batches and finalizes
 * ----------------------------------------------------------------------------- */
typedef struct {
    uint64_t id, job;
    bool is_finalize;
    uint32_t no;
    batch_state_t state;
    uint32_t chunk_from, chunks_n;
    uint64_t first_item;
    uint32_t items_n;
    uint64_t raw_bytes;
    uint32_t attempt, starts, failures;
    int64_t not_before_at;
    int64_t failed_at; /* as read: of a retrying one, the wall clock at its failure; else 0 */
} batch_row_t;
/* Whole consecutive chunks from chunk_from on: as many as fit max_items and 8 MiB, at least one.
 * Sets chunks_n, items_n, first_item, raw_bytes of *row; nothing is written. ERR_NOT_FOUND: every
 * chunk is cut. */
CHECKED err_t store_batch_measure(store_t *self, const job_row_t *job, uint32_t max_items,
                                  batch_row_t *row);
/* Insert the batch as leased, attempt 1, starts 1. */
CHECKED err_t store_batch_insert(store_t *self, const batch_row_t *row);
/* The zstd frames of its chunks, one after another, for DISPATCH. Read now, in the turn. */
CHECKED err_t store_batch_items(store_t *self, uint64_t job, const batch_row_t *row, blob_t **out);
/* ready|retrying -> leased, attempt + 1, starts + 1; row->attempt is the old attempt and guards.
 * Updates *row. */
CHECKED err_t store_batch_lease(store_t *self, batch_row_t *row);
/* leased at row->attempt -> ready, starts - 1 (nothing had started). */
CHECKED err_t store_batch_give_back(store_t *self, batch_row_t *row);

typedef struct {
    const char *worker;
    const char *failure_class; /* "" unless failed */
    int64_t duration_us;
    const char *text, *stderr_tail;
    int64_t wall_at;
} attempt_new_t;
/* leased at row->attempt -> ready (or dead if `dead`); history 'lost', job lost_n and attempts_n +
 * 1; dead: batches_dead and items_failed of the job rise by the whole batch. */
CHECKED err_t store_batch_lost(store_t *self, batch_row_t *row, bool dead,
                               const attempt_new_t *history);
/* leased at row->attempt -> retrying (not before) or dead; history 'failed'; counters. */
CHECKED err_t store_batch_failed(store_t *self, batch_row_t *row, bool dead, int64_t not_before_at,
                                 const attempt_new_t *history);
/* Any non-terminal state -> done, whatever `attempt` (<= row->attempt); result row, history 'done',
 * job counters: items_done
 * += items_n - items_failed, items_failed += items_failed. data may be NULL (no result). The
 * history of an attempt that was taken for lost is corrected to 'done' (lost_n - 1). */
typedef struct {
    uint32_t attempt;
    uint32_t items_failed;
    const blob_t *data;
    uint64_t raw_bytes;
} result_new_t;
CHECKED err_t store_batch_done(store_t *self, batch_row_t *row, const result_new_t *result,
                               const attempt_new_t *history);
/* One batch or finalize by id; ERR_NOT_FOUND. */
CHECKED err_t store_batch_get(store_t *self, uint64_t batch, batch_row_t *out);
/* All non-terminal batches, then finalizes, of live jobs, by job and no: for a start. */
CHECKED err_t store_batches_live(store_t *self,
                                 void (*visit)(void *context, const batch_row_t *row),
                                 void *context);
/* How many different workers other than `but` reported a crash of this batch. */
CHECKED err_t store_batch_crashers(store_t *self, const batch_row_t *row, const char *but,
                                   int *out);
/* A page of partials (PROTOCOL P30) of at most max_bytes but at least one record; *next_no, *last
 * as in PARTIALS. */
CHECKED err_t store_partials(store_t *self, uint64_t job, uint32_t from_no, size_t max_bytes,
                             buffer_t *out, uint32_t *next_no, bool *last);

/* -- workers, samples, schedules
 * ----------------------------------------------------------------------- */
typedef struct {
    char name[65], host[129], version[33];
    uint8_t incarnation[16];
    uint32_t slots;
} worker_new_t;
CHECKED err_t store_worker_seen(store_t *self, const worker_new_t *worker, int64_t wall_at);
typedef struct {
    uint64_t job;
    const char *role, *name, *reason;
    int64_t at;
    bool healthy;
    uint64_t cpu_permille, memory_total, memory_available, load_centi, disk_read_rate,
        disk_write_rate, disk_free;
} sample_new_t;
CHECKED err_t store_sample_insert(store_t *self, const sample_new_t *sample);
typedef struct {
    uint64_t id, task_id;
    char name[65], expression[129], zone[65], task[65];
    uint32_t catch_up; /* 0 none, 1 last, 2 all */
    bool paused;
    int64_t last_nominal_at;
    char *params; /* lives as long as the visit */
} schedule_row_t;
/* Their revision, and each of them if `visit` is not NULL. */
CHECKED err_t store_schedules(store_t *self, uint64_t *revision,
                              void (*visit)(void *context, const schedule_row_t *row),
                              void *context);
CHECKED err_t store_schedule_get(store_t *self, const char *name,
                                 schedule_row_t *out); /* free out->params */
/* Insert a built-in schedule if there is none of that name; raises the revision if it did. */
CHECKED err_t store_schedule_ensure(store_t *self, const schedule_row_t *row, int64_t wall_at);
typedef struct {
    uint64_t schedule, job;
    int64_t nominal_at, wall_at;
    const char *scheduler;
} tick_new_t;
/* The ledger row; its job must be inserted in the same turn. ERR_CONFLICT: the tick exists
 * (*existing_job is its job). Moves schedule.last_nominal_at. */
CHECKED err_t store_tick_insert(store_t *self, const tick_new_t *tick, uint64_t *existing_job);

/* -- maintenance
 * --------------------------------------------------------------------------------------- */
/* The oldest terminal job finished before the given times (completed and cancelled / failed); 0 =
 * none. */
CHECKED err_t store_expired_job(store_t *self, int64_t completed_before, int64_t failed_before,
                                uint64_t *out);
/* Remove host samples and idempotency keys older than `before`, at most n rows. *more: call again.
 */
CHECKED err_t store_prune(store_t *self, int64_t before, int n, bool *more);
/* Give at most `pages` free pages back to the file system (between turns, not inside one). */
CHECKED err_t store_vacuum_step(store_t *self, int pages, bool *more);

/* -- reads for clients: committed rows only, from a connection of their own
 * --------------------------------- */
CHECKED err_t store_read_job(store_t *self, uint64_t job, job_row_t *out);
/* The report's text; ERR_NOT_FOUND if the job has none. */
CHECKED err_t store_read_report(store_t *self, uint64_t job, buffer_t *out);
typedef struct {
    uint64_t before; /* only ids below this; 0 = newest */
    int limit;       /* 1..1000 */
    bool has_state;
    job_state_t state;
    const char *task; /* NULL = any */
} job_filter_t;
/* By id, newest first; receiving ones are invisible. */
CHECKED err_t store_read_jobs(store_t *self, const job_filter_t *filter,
                              void (*visit)(void *context, const job_row_t *row), void *context);
/* Counts per task and state. */
CHECKED err_t store_read_counts(store_t *self,
                                void (*visit)(void *context, const char *task, job_state_t state,
                                              uint64_t n),
                                void *context);

#endif

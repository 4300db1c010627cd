/* internal: what the rooms of the store share.
 *
 * Lives here: the struct behind store_t and how a statement is taken, bound and run. Not here:
 * anything a caller of store.h may see. Called by api/store/ and its tests only. */
#ifndef STINT_API_STORE_INTERNAL_H
#define STINT_API_STORE_INTERNAL_H

#include <sqlite3.h>

#include "api/store/store.h"

typedef enum {
#define STATEMENT(ID, SIDE, sql) STATEMENT_##ID,
#define TWICE(ID, SQL)           STATEMENT_BATCH_##ID, STATEMENT_FINALIZE_##ID,
#include "api/store/statements.def"
#undef STATEMENT
#undef TWICE
    STATEMENTS_N
} statement_id_t;

typedef struct {
    const char *name, *sql;
    bool reads; /* on the clients' connection */
} statement_t;
/* id in 0..STATEMENTS_N-1. */
const statement_t *sql_statement_at(int id);

enum { STORE_APPLICATION_ID = 0x53544e54 /* "STNT" */ };
enum { STORE_MARKS_MAX = 8, STORE_INLINE_RESULT = 512, STORE_BATCH_BYTES = 8 << 20 };

/* Counters of one job that its row does not hold yet. One UPDATE brings them there: together with
 * the end of the job if that comes next, else before anything else is asked of the database. */
typedef struct {
    uint64_t job; /* 0 = nothing owed */
    int64_t items_done, items_failed, batches_done, batches_dead, attempts_n, failures_n, lost_n;
} owed_t;

/* One job came into (delta 1) or left (-1) a state; summed up once a turn. */
typedef struct {
    uint64_t task;
    int state;
    int64_t delta;
} count_change_t;

typedef struct {
    size_t changes_n;
    uint64_t floor_id;
} mark_t;

struct store {
    sqlite3 *writer, *reader; /* one and the same in memory */
    sqlite3_stmt *cached[STATEMENTS_N];
    char *directory; /* NULL: in memory */
    int lock_fd;
    bool made; /* a store has been opened in this directory before */
    store_commits_t commits;
    uint64_t reserve_bytes;
    uint8_t id[16];
    int version;
    uint64_t last_id;  /* newest id given out */
    uint64_t floor_id; /* as in store_meta: every id up to it has been used */

    bool in_turn;
    bool lost; /* SQLite rolled the turn back by itself */
    err_t lost_code;
    int checkpoint_pages; /* of the log, that a commit makes it be brought into the database */
    int checkpoint_error; /* SQLite's code of a checkpoint that could not read or write */
    bool broken; /* a read or write failed: the files stay as they are until a new process looks */
    owed_t owed;
    count_change_t *changes;
    size_t changes_n, changes_capacity;
    mark_t marks[STORE_MARKS_MAX];
    int marks_n;
    mark_t start; /* of the turn */
    int rows_at_start;
    bool sim_full;
};

/* -- statement.c
 * ---------------------------------------------------------------------------------------- */
/* The statement, prepared, reset and without bindings. Fails if the turn is lost or what a job is
 * owed cannot be written. */
CHECKED err_t sql_query(store_t *self, statement_id_t id, sqlite3_stmt **out);
/* Step to the end, ignoring rows. */
CHECKED err_t sql_run(store_t *self, sqlite3_stmt *statement);
/* Like run; ERR_STALE saying `what` if it changed no row. */
CHECKED err_t sql_run_guarded(store_t *self, sqlite3_stmt *statement, const char *what);
/* One row more? If not, or on an error, the statement is finished. */
CHECKED err_t sql_next(store_t *self, sqlite3_stmt *statement, bool *row);
/* Forget position and bindings. */
void sql_finish(sqlite3_stmt *statement);
/* The id of the batch's or the finalize's twin of a statement. */
statement_id_t sql_twin(statement_id_t batch_statement, const batch_row_t *row);
/* Run something that is not cached (PRAGMA). */
CHECKED err_t sql_execute(store_t *self, sqlite3 *db, const char *sql);
/* The err_t of the last error on `db`, with SQLite's sentence; notices a turn that SQLite rolled
 * back. */
err_t sql_error(store_t *self, sqlite3 *db, const char *what);

void sql_bind_u64(sqlite3_stmt *statement, int i, uint64_t value);
void sql_bind_i64(sqlite3_stmt *statement, int i, int64_t value);
/* The text must live until the statement is finished; NULL binds NULL. */
void sql_bind_text(sqlite3_stmt *statement, int i, const char *text);
/* NULL data binds NULL; n 0 with data binds an empty blob. */
void sql_bind_bytes(sqlite3_stmt *statement, int i, const void *data, size_t n);
uint64_t sql_u64(sqlite3_stmt *statement, int i);
uint32_t sql_u32(sqlite3_stmt *statement, int i);
/* "" for NULL; lives until the next step. */
const char *sql_text(sqlite3_stmt *statement, int i);
void sql_copy(sqlite3_stmt *statement, int i, char *out, size_t size);

/* -- turn.c
 * --------------------------------------------------------------------------------------------- */
CHECKED err_t store_owed_flush(store_t *self);
/* Bind the seven counters at ?11 to ?17. */
void store_owed_bind(sqlite3_stmt *statement, const owed_t *owed);
/* A job of `task` left `from` and came into `to`; -1 = none. */
void store_count_move(store_t *self, uint64_t task, int from, int to);

/* -- store_open.c
 * ---------------------------------------------------------------------------------------- */
CHECKED err_t store_writer_prepare(store_t *self);
CHECKED err_t store_load(store_t *self);
void store_statements_drop(store_t *self);
/* Note that rows up to `highest` go: their ids stay used. */
CHECKED err_t store_floor_keep(store_t *self, uint64_t highest);
CHECKED err_t store_meta_get(store_t *self, const char *key, uint64_t *out);
CHECKED err_t store_meta_put(store_t *self, const char *key, uint64_t value);

/* -- directory.c
 * ---------------------------------------------------------------------------------------- */
enum { STORE_PATH_N = 4200 };
/* The path of a file of the store. */
void store_path(const store_t *self, const char *name, char out[STORE_PATH_N]);
/* 0 if there is none. */
uint64_t store_file_bytes(const store_t *self, const char *name);
/* Make the directory and lock it. ERR_BUSY: another api has it. */
CHECKED err_t store_directory_take(store_t *self);
/* Write into the lock who has it, and whether a store has been made here. */
void store_lock_write(store_t *self);

/* -- log_renew.c
 * ---------------------------------------------------------------------------------------- */
/* While nobody else may write to it. */
CHECKED err_t store_log_renew(const char *path);

/* -- tables.c, reads.c, states.c
 * -------------------------------------------------------------------------- */
CHECKED err_t store_tasks_refresh(store_t *self, int64_t wall_at);
void job_row_read(sqlite3_stmt *statement, job_row_t *out);
bool batch_state_parse(const char *name, batch_state_t *out);

#endif

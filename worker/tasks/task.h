/* task: what a piece of work looks like to the child process that runs it.
 *
 * Lives here: the vtable of a built-in task. A task is a pure function of its input: it may be run
 * again, for the same batch, by another worker. Called by worker/pool's child; never in the parent.
 */
#ifndef STINT_WORKER_TASK_H
#define STINT_WORKER_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"

typedef enum { TASK_FORMAT_CSV, TASK_FORMAT_NDJSON, TASK_FORMAT_JSON } task_format_t;

/* One batch. All pointers are borrowed for the call.
 *
 * `items` holds items_n lines separated by '\n' (no '\n' after the last; CR and BOM already
 * stripped; a blank line is an item). A line that was over 65,536 bytes arrives as a marker: one
 * NUL byte followed by its length in decimal. A JSON item is one line of compact JSON. Line k
 * (0-based) of the batch is line first_line + k of the submitted input. */
typedef struct {
    uint64_t job_id;
    uint32_t batch_no; /* 0-based within the job */
    uint32_t attempt;  /* 1-based fencing number */
    task_format_t format;
    const char *params; /* JSON object text, NUL-terminated, already checked by the api */
    const char *header; /* CSV header line, NUL-terminated; "" for other formats */
    uint64_t first_line;
    uint32_t items_n;
    const uint8_t *items;
    size_t items_bytes;
    /* Report progress, cheap enough to call per row; may be NULL. */
    void (*progress)(void *context, uint32_t items_done);
    void *progress_context;
} task_batch_t;

/* What came of it. `result` is opaque to everybody but the task and its finalize. */
typedef struct {
    buffer_t result; /* batch: the partial result; finalize: the report, JSON text */
    uint32_t
        items_failed; /* items of the batch that were rejected (counted, located in the result) */
    /* finalize only: the job itself ends as failed although its report is readable (e.g.
     * "E_TOO_MANY_BAD"); "" = ok */
    char job_error[64];
    char job_error_text[512];
    /* failure only: true = retrying cannot help */
    bool permanent;
    /* failure only: the task's own wish for the backoff, -1 = none */
    int64_t retry_after_ms;
} task_result_t;

/* What a finalize knows of its job. */
typedef struct {
    uint64_t job_id;
    const char *params;
    uint64_t items_total;
    uint32_t batches_n;
} task_finalize_t;

typedef struct {
    const char *name; /* as in schema/tasks.def */
    /* A batch. An error's sentence (err_text) becomes the failure's message. NULL for a finalize
     * task. */
    err_t (*run)(const task_batch_t *batch, task_result_t *out);
    /* A finalize: open once, merge each partial (any order; the caller passes each batch_no at most
     * once but the task must tolerate a repeat: it is skipped), close once. close frees the state
     * also after an error. */
    err_t (*finalize_open)(void **state, const task_finalize_t *job);
    err_t (*finalize_merge)(void *state, uint32_t batch_no, const uint8_t *partial, size_t n);
    err_t (*finalize_close)(void **state, task_result_t *out);
} task_code_t;

/* NULL if this worker has no code for it. */
const task_code_t *task_code_find(const char *name);

#endif

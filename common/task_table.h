/* task_table: the built-in tasks of schema/tasks.def, as data both the api and the worker read.
 *
 * Lives here: lookup, and the checks that need no worker: parameters (JSON) and the CSV header.
 * Not here: the code of a task (worker/tasks). */
#ifndef STINT_COMMON_TASK_TABLE_H
#define STINT_COMMON_TASK_TABLE_H

#include <jansson.h>
#include <stdint.h>

#include "common/err.h"

typedef enum { TASK_INPUT_LINES, TASK_INPUT_JSON, TASK_INPUT_NONE } task_input_t;

enum {
    TASK_USER = 1,
    TASK_FINALIZE = 2,
    TASK_STORE = 4,
    TASK_TEST = 8,
    TASK_FINALIZE_ALWAYS = 16,
};

typedef enum {
#define TASK(ID, ...) TASK_ID_##ID,
#define COLUMN(...)
#define PARAM(...)
#include "schema/tasks.def"
#undef TASK
#undef COLUMN
#undef PARAM
    TASK_IDS_N
} task_id_t;

typedef struct {
    task_id_t id;
    const char *name;
    task_input_t input;
    const char *finalize; /* "" = none */
    uint32_t rate_n;      /* 0 = unlimited */
    int64_t rate_window_ms;
    uint32_t max_attempts;
    int64_t soft_ms, hard_ms;
    int64_t memory_bytes;
    uint32_t flags;
    const char *help;
} task_spec_t;

/* i in 0..TASK_IDS_N-1. */
const task_spec_t *task_spec_at(int i);
/* NULL if unknown. */
const task_spec_t *task_spec_find(const char *name);

/* Check a params object against the PARAM rows of the task. ERR_INVALID names the parameter, what
 * was expected and, for an unknown one, the nearest name. `params` may be NULL (= {}). */
CHECKED err_t task_check_params(const task_spec_t *spec, const json_t *params);

/* Check a CSV header line (no newline, no BOM, at most 65,536 bytes) against the COLUMN rows: every
 * required column, no unknown and no repeated one, any order. ERR_INVALID says "E_HEADER: ..." with
 * the column's name. A task without COLUMN rows takes any header. */
CHECKED err_t task_check_header(const task_spec_t *spec, const char *line, size_t n);

/* The closest of `names` (n of them) to `word` by edit distance (at most 1 + length/3), else the
 * first that holds the word (of at least 3 letters), else NULL. */
const char *nearest_name(const char *word, const char *const *names, int n);

#endif

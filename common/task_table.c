#include "common/task_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/csv.h"

static const task_spec_t specs[TASK_IDS_N] = {
#define TASK(ID, name_, input_, finalize_, rate_n_, rate_window_, max_attempts_, soft_, hard_,     \
             memory_, flags_, help_)                                                               \
    [TASK_ID_##ID] = {.id = TASK_ID_##ID,                                                          \
                      .name = name_,                                                               \
                      .input = TASK_INPUT_##input_,                                                \
                      .finalize = finalize_,                                                       \
                      .rate_n = rate_n_,                                                           \
                      .rate_window_ms = rate_window_,                                              \
                      .max_attempts = max_attempts_,                                               \
                      .soft_ms = soft_,                                                            \
                      .hard_ms = hard_,                                                            \
                      .memory_bytes = memory_,                                                     \
                      .flags = flags_,                                                             \
                      .help = help_},
#define COLUMN(...)
#define PARAM(...)
#include "schema/tasks.def"
#undef TASK
#undef COLUMN
#undef PARAM
};

typedef struct {
    task_id_t task;
    const char *name;
    bool required;
} column_t;

static const column_t columns[] = {
#define TASK(...)
#define COLUMN(ID, name_, required_) {TASK_ID_##ID, name_, required_},
#define PARAM(...)
#include "schema/tasks.def"
#undef TASK
#undef COLUMN
#undef PARAM
};

typedef enum { KIND_INT, KIND_BOOL, KIND_INT_LIST, KIND_TEXT_LIST, KIND_CHOICE } kind_t;

typedef struct {
    task_id_t task;
    const char *name;
    kind_t kind;
    int64_t low, high;
    const char *text;
} param_t;

static const param_t params_known[] = {
#define TASK(...)
#define COLUMN(...)
#define PARAM(ID, name_, kind_, low_, high_, text_, help_)                                         \
    {TASK_ID_##ID, name_, KIND_##kind_, low_, high_, text_},
#include "schema/tasks.def"
#undef TASK
#undef COLUMN
#undef PARAM
};

enum {
    COLUMNS_N = sizeof columns / sizeof *columns,
    PARAMS_N = sizeof params_known / sizeof *params_known,
    NEAREST_MAX = 64,
    HEADER_MAX = 65536,
    TEXT_MAX = 64,
};

const task_spec_t *task_spec_at(int i)
{
    return &specs[i];
}

const task_spec_t *task_spec_find(const char *name)
{
    for (int i = 0; i < TASK_IDS_N; i++) {
        if (strcmp(specs[i].name, name) == 0) {
            return &specs[i];
        }
    }
    return NULL;
}

/* Levenshtein; both words are at most NEAREST_MAX bytes. */
static int edit_distance(const char *a, size_t a_n, const char *b, size_t b_n)
{
    int row[NEAREST_MAX + 1];
    for (size_t j = 0; j <= b_n; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= a_n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_n; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            int shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < shorter ? change : shorter;
        }
    }
    return row[b_n];
}

const char *nearest_name(const char *word, const char *const *names, int n)
{
    size_t word_n = strlen(word);
    if (word_n > NEAREST_MAX) {
        return NULL;
    }
    const char *best = NULL;
    int best_distance = 1 + (int)word_n / 3;
    for (int i = 0; i < n; i++) {
        size_t name_n = strlen(names[i]);
        if (name_n > NEAREST_MAX) {
            continue;
        }
        int distance = edit_distance(word, word_n, names[i], name_n);
        if (distance < best_distance || (distance == best_distance && !best)) {
            best = names[i];
            best_distance = distance;
        }
    }
    /* Nothing is near letter by letter: a name that begins with the word, or holds it, was meant.
     */
    for (int i = 0; i < n && !best && word_n >= 3; i++) {
        best = strstr(names[i], word) ? names[i] : NULL;
    }
    return best;
}

/* However far: somebody who guesses is told a name that exists. */
static const char *least_far(const char *word, const char *const *names, int n)
{
    const char *best = NULL;
    int best_distance = 0;
    for (int i = 0; i < n && strlen(word) <= NEAREST_MAX; i++) {
        int distance = edit_distance(word, strlen(word), names[i], strlen(names[i]));
        if (!best || distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

static err_t unknown_param(const task_spec_t *spec, const char *name)
{
    const char *names[PARAMS_N];
    int n = 0;
    for (int i = 0; i < PARAMS_N; i++) {
        if (params_known[i].task == spec->id) {
            names[n++] = params_known[i].name;
        }
    }
    if (n == 0) {
        return err_set(ERR_INVALID, "params.%.80s: the task %s takes no parameters", name,
                       spec->name);
    }
    const char *near = nearest_name(name, names, n);
    near = near ? near : least_far(name, names, n);
    return near ? err_set(ERR_INVALID, "params.%.80s: unknown parameter of %s; nearest is %s", name,
                          spec->name, near)
                : err_set(ERR_INVALID, "params.%.80s: unknown parameter of %s", name, spec->name);
}

static err_t check_int(const param_t *param, const json_t *value)
{
    if (!json_is_integer(value)) {
        return err_set(ERR_INVALID, "params.%s: must be a whole number", param->name);
    }
    long long number = json_integer_value(value);
    if (number < param->low || number > param->high) {
        return err_set(ERR_INVALID, "params.%s: %lld is not in %lld..%lld", param->name, number,
                       (long long)param->low, (long long)param->high);
    }
    return ERR_OK;
}

static err_t check_list(const param_t *param, const json_t *value)
{
    bool text = param->kind == KIND_TEXT_LIST;
    if (!json_is_array(value)) {
        return err_set(ERR_INVALID, "params.%s: must be a list of %s", param->name,
                       text ? "texts" : "whole numbers");
    }
    if ((int64_t)json_array_size(value) > param->high) {
        return err_set(ERR_INVALID, "params.%s: %zu elements, at most %lld", param->name,
                       json_array_size(value), (long long)param->high);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *element = json_array_get(value, i);
        if (text && (!json_is_string(element) || json_string_length(element) == 0 ||
                     json_string_length(element) > TEXT_MAX)) {
            return err_set(ERR_INVALID, "params.%s[%zu]: must be a text of 1 to %d bytes",
                           param->name, i, TEXT_MAX);
        }
        if (!text && (!json_is_integer(element) || json_integer_value(element) < 1)) {
            return err_set(ERR_INVALID, "params.%s[%zu]: must be a whole number in 1..%lld",
                           param->name, i, (long long)INT64_MAX);
        }
    }
    return ERR_OK;
}

static err_t check_choice(const param_t *param, const json_t *value)
{
    const char *word = json_string_value(value);
    size_t word_n = word ? json_string_length(value) : 0;
    for (const char *at = param->text; word_n > 0;) {
        size_t n = strcspn(at, "|");
        if (n == word_n && memcmp(at, word, n) == 0) {
            return ERR_OK;
        }
        if (!at[n]) {
            break;
        }
        at += n + 1;
    }
    return err_set(ERR_INVALID, "params.%s: must be one of %s", param->name, param->text);
}

static err_t check_param(const param_t *param, const json_t *value)
{
    switch (param->kind) {
    case KIND_INT:
        return check_int(param, value);
    case KIND_INT_LIST:
    case KIND_TEXT_LIST:
        return check_list(param, value);
    case KIND_CHOICE:
        return check_choice(param, value);
    case KIND_BOOL:
        break;
    }
    return json_is_boolean(value)
               ? ERR_OK
               : err_set(ERR_INVALID, "params.%s: must be true or false", param->name);
}

err_t task_check_params(const task_spec_t *spec, const json_t *params)
{
    if (!params) {
        return ERR_OK;
    }
    if (!json_is_object(params)) {
        return err_set(ERR_INVALID, "params: must be an object");
    }
    const char *name;
    json_t *value;
    /* jansson's iteration takes a non-const object although it only reads. */
    json_object_foreach((json_t *)(uintptr_t)params, name, value)
    {
        int i = 0;
        while (i < PARAMS_N &&
               (params_known[i].task != spec->id || strcmp(params_known[i].name, name) != 0)) {
            i++;
        }
        err_t err =
            i == PARAMS_N ? unknown_param(spec, name) : check_param(&params_known[i], value);
        if (err) {
            return err;
        }
    }
    return ERR_OK;
}

static err_t unknown_column(const task_spec_t *spec, slice_t field)
{
    char word[NEAREST_MAX + 1];
    size_t n = field.n < NEAREST_MAX ? field.n : NEAREST_MAX;
    for (size_t i = 0; i < n; i++) {
        /* The header is a stranger's: the sentence travels into logs and terminals. */
        unsigned char c = (unsigned char)field.data[i];
        word[i] = c < 32 || c > 126 ? '?' : (char)c;
    }
    word[n] = 0;
    const char *names[COLUMNS_N];
    int names_n = 0;
    for (int i = 0; i < COLUMNS_N; i++) {
        if (columns[i].task == spec->id) {
            names[names_n++] = columns[i].name;
        }
    }
    const char *near = nearest_name(word, names, names_n);
    return near ? err_set(ERR_INVALID, "E_HEADER: unknown column \"%s\"; nearest is \"%s\"", word,
                          near)
                : err_set(ERR_INVALID, "E_HEADER: unknown column \"%s\"", word);
}

static err_t check_fields(const task_spec_t *spec, const slice_t *fields, int n)
{
    bool seen[COLUMNS_N] = {false};
    for (int f = 0; f < n; f++) {
        int i = 0;
        while (i < COLUMNS_N &&
               (columns[i].task != spec->id || strlen(columns[i].name) != fields[f].n ||
                memcmp(columns[i].name, fields[f].data, fields[f].n) != 0)) {
            i++;
        }
        if (i == COLUMNS_N) {
            return unknown_column(spec, fields[f]);
        }
        if (seen[i]) {
            return err_set(ERR_INVALID, "E_HEADER: repeated column \"%s\"", columns[i].name);
        }
        seen[i] = true;
    }
    for (int i = 0; i < COLUMNS_N; i++) {
        if (columns[i].task == spec->id && columns[i].required && !seen[i]) {
            return err_set(ERR_INVALID, "E_HEADER: missing column \"%s\"", columns[i].name);
        }
    }
    return ERR_OK;
}

err_t task_check_header(const task_spec_t *spec, const char *line, size_t n)
{
    bool any = false;
    for (int i = 0; i < COLUMNS_N; i++) {
        any = any || columns[i].task == spec->id;
    }
    if (!any) {
        return ERR_OK;
    }
    if (n > HEADER_MAX) {
        return err_set(ERR_INVALID, "E_HEADER: the header line has %zu bytes, at most %d", n,
                       HEADER_MAX);
    }
    char *scratch = mem_alloc(n);
    slice_t fields[COLUMNS_N + 1];
    int fields_n = csv_split((slice_t){line, n}, fields, COLUMNS_N + 1, scratch);
    err_t err;
    if (fields_n < 0) {
        err = err_set(ERR_INVALID, "E_HEADER: a quote is stray or not closed");
    } else {
        /* One field more than there are columns is certain to be unknown or repeated: the rest need
         * not be read. */
        err = check_fields(spec, fields, fields_n <= COLUMNS_N ? fields_n : COLUMNS_N + 1);
    }
    free(scratch);
    return err;
}

/* A Stint worker whose tasks do what those of the other systems do in this comparison, and leave
 * evidence: noop appends its items, a line each, to the file named by PEERS_LOG;
 * process_transaction_batch counts rows and adds up their third column, and its finalize adds up
 * those. Everything else is the product. */
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/pool.h"
#include "worker/worker.h"

static err_t note(const task_batch_t *batch)
{
    const char *path = getenv("PEERS_LOG");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (!path) {
        return ERR_OK;
    }
    buffer_t line = {0};
    buffer_add(&line, batch->items, batch->items_bytes);
    buffer_add(&line, "\n", 1);
    bool written = file >= 0 && write(file, line.data, line.n) == (ssize_t)line.n;
    buffer_free(&line);
    close(file);
    return written ? ERR_OK : err_set(ERR_IO, "PEERS_LOG cannot be written");
}

static err_t noop(const task_batch_t *batch, task_result_t *out)
{
    err_t err = note(batch);
    return err ? err : task_code_find("noop")->run(batch, out);
}

static err_t count(const task_batch_t *batch, task_result_t *out)
{
    const char *at = (const char *)batch->items, *end = at + batch->items_bytes;
    uint64_t rows = 0, sum = 0;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        const char *first = memchr(at, ',', (size_t)(stop - at));
        const char *second = first ? memchr(first + 1, ',', (size_t)(stop - first - 1)) : NULL;
        sum += second ? strtoull(second + 1, NULL, 10) : 0; /* it ends at the comma behind it */
        rows++;
        at = stop + 1;
    }
    buffer_printf(&out->result, "%" PRIu64 " %" PRIu64, rows, sum);
    return ERR_OK;
}

static err_t merge_open(void **state, const task_finalize_t *job)
{
    (void)job;
    *state = mem_zero(2 * sizeof(uint64_t));
    return ERR_OK;
}

static err_t merge(void *state, uint32_t batch_no, const uint8_t *partial, size_t n)
{
    (void)batch_no;
    uint64_t *total = state, rows = 0, sum = 0;
    char *text = mem_text_n((const char *)partial, n);
    bool read = sscanf(text, "%" SCNu64 " %" SCNu64, &rows, &sum) == 2;
    free(text);
    total[0] += rows;
    total[1] += sum;
    return read ? ERR_OK : err_set(ERR_CORRUPT, "a partial that is none");
}

static err_t merge_close(void **state, task_result_t *out)
{
    uint64_t *total = *state;
    buffer_printf(&out->result, "{\"rows\": %" PRIu64 ", \"sum\": %" PRIu64 "}", total[0],
                  total[1]);
    free(*state);
    *state = NULL;
    return ERR_OK;
}

static const task_code_t *find(const char *name)
{
    static const task_code_t codes[] = {
        {.name = "noop", .run = noop},
        {.name = "process_transaction_batch", .run = count},
        {.name = "finalize_transactions",
         .finalize_open = merge_open,
         .finalize_merge = merge,
         .finalize_close = merge_close},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strcmp(codes[i].name, name) == 0) {
            return &codes[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    config_t config;
    config_next_t next;
    if (config_load(&config, &next, 'W', argc, argv) || next == CONFIG_EXIT) {
        fprintf(stderr, "worker: %s\n", err_text());
        return 1;
    }
    log_open(config.name, config_log_level(&config));
    pool_use_tasks(find);
    int exit_code = 0;
    err_t err = worker_run(&config, &exit_code);
    config_free(&config);
    return err ? 1 : exit_code;
}

/* forensic_run FILE.csv[.gz]|FILE.ndjson[.gz] PARAMS_JSON BATCH_ROWS [SHUFFLE_SEED]
 *
 * The forensic task without a fleet: runs every batch, then the finalize, prints the report. With a
 * seed the rows are shuffled, the partial results merged in a random order and each delivered
 * twice. Figures go to stderr. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "common/csv.h"
#include "worker/tasks/task.h"

typedef struct {
    buffer_t body;
    char *header;
    slice_t *lines;
    size_t lines_n;
    uint64_t first_line;
} input_t;

typedef struct {
    uint32_t no;
    buffer_t bytes;
} part_t;

static uint64_t random_state;

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    fprintf(stderr, "forensic_run: %s\n", what);
    exit(65);
}

static void read_all(const char *path, buffer_t *out)
{
    gzFile file = gzopen(path, "rb");
    if (!file) {
        die("cannot open the input");
    }
    for (;;) {
        buffer_reserve(out, 1 << 20);
        int n = gzread(file, out->data + out->n, 1 << 20);
        if (n < 0) {
            die("cannot read the input");
        }
        if (n == 0) {
            break;
        }
        out->n += (size_t)n;
    }
    gzclose(file);
}

/* What the api does with a body: BOM and CR off, cut at newlines, over-long lines marked. */
static void cut_lines(input_t *in, bool csv)
{
    const char *at = (const char *)in->body.data, *end = at + in->body.n;
    if (in->body.n >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) {
        at += 3;
    }
    size_t room = 0;
    in->first_line = csv ? 2 : 1;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        slice_t line = {at, (size_t)(stop - at)};
        line.n -= line.n > 0 && line.data[line.n - 1] == '\r';
        if (line.n > 65536) {
            /* In place: the marker is shorter than what it stands for. */
            char *marker = (char *)in->body.data + (line.data - (const char *)in->body.data);
            line.n = (size_t)(1 + snprintf(marker + 1, 31, "%zu", line.n));
            marker[0] = 0;
        }
        if (csv && !in->header) {
            in->header = mem_text_n(line.data, line.n);
        } else {
            if (in->lines_n == room) {
                room = room ? 2 * room : 4096;
                in->lines = mem_grow(in->lines, room * sizeof *in->lines);
            }
            in->lines[in->lines_n++] = line;
        }
        at = stop + 1;
    }
}

static double run_batches(const input_t *in, task_batch_t batch, uint32_t rows, part_t *parts)
{
    const task_code_t *code = task_code_find("process_transaction_batch");
    double spent = 0;
    for (size_t from = 0; from < in->lines_n; from += rows) {
        size_t to = from + rows < in->lines_n ? from + rows : in->lines_n;
        buffer_t items = {0};
        for (size_t i = from; i < to; i++) {
            buffer_add(&items, in->lines[i].data, in->lines[i].n);
            if (i + 1 < to) {
                buffer_add(&items, "\n", 1);
            }
        }
        batch.batch_no = (uint32_t)(from / rows);
        batch.first_line = in->first_line + from;
        batch.items_n = (uint32_t)(to - from);
        batch.items = items.data;
        batch.items_bytes = items.n;
        task_result_t result = {0};
        double start = now();
        if (code->run(&batch, &result)) {
            die(err_text());
        }
        spent += now() - start;
        parts[batch.batch_no] = (part_t){batch.batch_no, result.result};
        buffer_free(&items);
    }
    return spent;
}

static void finalize(const char *params, part_t *parts, uint32_t n, uint64_t items, int times)
{
    const task_code_t *code = task_code_find("finalize_transactions");
    task_finalize_t job = {.params = params, .items_total = items, .batches_n = n};
    task_result_t result = {0};
    void *state = NULL;
    if (code->finalize_open(&state, &job)) {
        die(err_text());
    }
    for (int time = 0; time < times; time++) {
        for (uint32_t i = 0; i < n; i++) {
            if (code->finalize_merge(state, parts[i].no, parts[i].bytes.data, parts[i].bytes.n)) {
                die(err_text());
            }
        }
    }
    if (code->finalize_close(&state, &result)) {
        die(err_text());
    }
    if (result.job_error[0]) {
        fprintf(stderr, "job error %s: %s\n", result.job_error, result.job_error_text);
    }
    fwrite(result.result.data, 1, result.result.n, stdout);
    fputc('\n', stdout);
    buffer_free(&result.result);
}

static void shuffle(input_t *in, part_t *parts, uint32_t n)
{
    for (size_t i = in ? in->lines_n : 0; i > 1; i--) {
        size_t j = next_random() % i;
        slice_t line = in->lines[j];
        in->lines[j] = in->lines[i - 1];
        in->lines[i - 1] = line;
    }
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = (uint32_t)(next_random() % i);
        part_t part = parts[j];
        parts[j] = parts[i - 1];
        parts[i - 1] = part;
    }
}

int main(int argc, char **argv)
{
    if (argc < 4 || atoi(argv[3]) < 1) {
        fprintf(stderr, "usage: forensic_run FILE PARAMS_JSON BATCH_ROWS [SHUFFLE_SEED]\n");
        return 64;
    }
    bool csv = !strstr(argv[1], ".ndjson"), shuffled = argc > 4;
    uint32_t rows = (uint32_t)atoi(argv[3]);
    random_state = shuffled ? strtoull(argv[4], NULL, 10) : 0;
    input_t in = {0};
    double start = now();
    read_all(argv[1], &in.body);
    cut_lines(&in, csv);
    if (shuffled) {
        shuffle(&in, NULL, 0);
    }
    uint32_t n = (uint32_t)((in.lines_n + rows - 1) / rows);
    part_t *parts = mem_zero((n + 1) * sizeof *parts);
    task_batch_t batch = {.attempt = 1,
                          .format = csv ? TASK_FORMAT_CSV : TASK_FORMAT_NDJSON,
                          .params = argv[2],
                          .header = in.header ? in.header : ""};
    double spent = run_batches(&in, batch, rows, parts), bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        bytes += (double)parts[i].bytes.n;
    }
    if (shuffled) {
        shuffle(NULL, parts, n);
    }
    double merge_start = now();
    finalize(argv[2], parts, n, in.lines_n, shuffled ? 2 : 1);
    double items = in.lines_n ? (double)in.lines_n : 1;
    fprintf(stderr,
            "rows %zu batches %u: %.0f ns/row, partial %.0f bytes per 1,000 rows, finalize %.3f s, "
            "all %.3f s\n",
            in.lines_n, n, spent / items * 1e9, bytes / items * 1000, now() - merge_start,
            now() - start);
    for (uint32_t i = 0; i < n; i++) {
        buffer_free(&parts[i].bytes);
    }
    free(parts);
    free(in.lines);
    free(in.header);
    buffer_free(&in.body);
    return 0;
}

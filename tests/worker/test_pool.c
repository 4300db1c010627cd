/* Real processes: every test opens a pool, gives it fake tasks and waits for events with a
 * deadline. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include "common/clock.h"
#include "worker/child.h"
#include "worker/outcome.h"
#include "worker/pool.h"

enum { PATIENCE_MS = 20000, MIB = 1 << 20 };
#define FAR (INT64_MAX / 2)

/* ---- fake tasks
 * -------------------------------------------------------------------------------------------------
 */

static err_t echo(const task_batch_t *batch, task_result_t *out)
{
    buffer_printf(&out->result, "%llu/%u/%u/%d/%s/%s/%llu/%u:", (unsigned long long)batch->job_id,
                  batch->batch_no, batch->attempt, (int)batch->format, batch->params, batch->header,
                  (unsigned long long)batch->first_line, batch->items_n);
    buffer_add(&out->result, batch->items, batch->items_bytes);
    out->items_failed = 3;
    return ERR_OK;
}

static err_t wait_for_ever(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    (void)out;
    while (pause() < 0) {
    }
    return ERR_OK;
}

static err_t hang(const task_batch_t *batch, task_result_t *out)
{
    signal(SIGTERM, SIG_IGN);
    return wait_for_ever(batch, out);
}

static volatile sig_atomic_t told;
static void on_notice(int number)
{
    (void)number;
    told = 1;
}

/* Takes the soft limit's notice and gives up by itself. */
static err_t obey(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    sigset_t none, term;
    sigemptyset(&none);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    signal(SIGTERM, on_notice);
    while (!told) {
        sigsuspend(&none);
    }
    out->permanent = true;
    return err_set(ERR_CANCELLED, "gave up");
}

static err_t crash(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    (void)out;
    fprintf(stderr, "about to \xff crash\n");
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return ERR_OK;
}

static err_t leave(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    (void)out;
    _exit(3);
}

static err_t shot(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    (void)out;
    kill(getpid(), SIGKILL);
    return ERR_OK;
}

/* Takes memory without end (and stops at a bound of its own, so that a broken fence fails the test
 * and not the host). */
static err_t eat(const task_batch_t *batch, task_result_t *out)
{
    for (int i = 0; i < 1536; i++) {
        memset(mem_alloc(MIB), 1 + i, MIB); /* NOLINT: never freed on purpose */
    }
    return wait_for_ever(batch, out);
}

static err_t big(const task_batch_t *batch, task_result_t *out)
{
    size_t n = (size_t)atol(batch->params);
    buffer_reserve(&out->result, n);
    memset(out->result.data, 'x', n);
    out->result.n = n;
    return ERR_OK;
}

/* Writes past all rules: a frame that announces 1 GiB. */
static err_t announce(const task_batch_t *batch, task_result_t *out)
{
    frame_head_t head = {FRAME_RESULT, 1U << 30};
    (void)!write(CHILD_SOCKET, &head, sizeof head);
    return wait_for_ever(batch, out);
}

static err_t babble(const task_batch_t *batch, task_result_t *out)
{
    (void)!write(CHILD_SOCKET, "this is no frame", 16);
    return wait_for_ever(batch, out);
}

static err_t chatter(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    for (int i = 0; i < 100000; i++) {
        printf("line %d of what nobody reads\n", i);
    }
    buffer_add_text(&out->result, "done");
    return ERR_OK;
}

static err_t refuse(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    fprintf(stderr, "why: because\n");
    out->retry_after_ms = 1234;
    return err_set(ERR_UNAVAILABLE, "the other side is closed");
}

static err_t refuse_for_ever(const task_batch_t *batch, task_result_t *out)
{
    (void)batch;
    out->permanent = true;
    return err_set(ERR_INVALID, "row %d is wrong", 7);
}

static err_t step(const task_batch_t *batch, task_result_t *out)
{
    (void)out;
    /* Only a report that is sent ends the work: the test kills it then. */
    for (uint32_t i = 1; i; i++) {
        batch->progress(batch->progress_context, i);
    }
    return ERR_OK;
}

/* Leaves a process behind that holds on for ever; params name the file descriptor to tell its id
 * by. */
static err_t beget(const task_batch_t *batch, task_result_t *out)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            pause();
        }
    }
    buffer_printf(&out->result, "%d", (int)pid);
    if (!strcmp(batch->params, "crash")) {
        fprintf(stderr, "%d", (int)pid);
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    if (!strcmp(batch->params, "hang")) {
        fprintf(stderr, "%d", (int)pid);
        for (uint32_t i = 1; i; i++) {
            batch->progress(batch->progress_context, (uint32_t)pid);
        }
    }
    return ERR_OK;
}

static err_t sum_open(void **state, const task_finalize_t *job)
{
    uint64_t *sum = mem_alloc(sizeof *sum);
    *sum = job->items_total + job->batches_n;
    *state = sum;
    return ERR_OK;
}

static err_t sum_merge(void *state, uint32_t batch_no, const uint8_t *partial, size_t n)
{
    char text[32] = "";
    if (n >= sizeof text) {
        return err_set(ERR_CORRUPT, "no number");
    }
    memcpy(text, partial, n);
    *(uint64_t *)state += (uint64_t)atoll(text) * (batch_no + 1);
    return ERR_OK;
}

static err_t sum_close(void **state, task_result_t *out)
{
    buffer_printf(&out->result, "%llu", (unsigned long long)*(uint64_t *)*state);
    snprintf(out->job_error, sizeof out->job_error, "E_TEST");
    snprintf(out->job_error_text, sizeof out->job_error_text, "a sentence");
    free(*state);
    *state = NULL;
    return ERR_OK;
}

static const task_code_t *fakes(const char *name)
{
    static const task_code_t all[] = {
        {"echo", echo, NULL, NULL, NULL},
        {"wait", wait_for_ever, NULL, NULL, NULL},
        {"hang", hang, NULL, NULL, NULL},
        {"obey", obey, NULL, NULL, NULL},
        {"crash", crash, NULL, NULL, NULL},
        {"leave", leave, NULL, NULL, NULL},
        {"shot", shot, NULL, NULL, NULL},
        {"eat", eat, NULL, NULL, NULL},
        {"big", big, NULL, NULL, NULL},
        {"announce", announce, NULL, NULL, NULL},
        {"babble", babble, NULL, NULL, NULL},
        {"chatter", chatter, NULL, NULL, NULL},
        {"refuse", refuse, NULL, NULL, NULL},
        {"refuse_for_ever", refuse_for_ever, NULL, NULL, NULL},
        {"step", step, NULL, NULL, NULL},
        {"beget", beget, NULL, NULL, NULL},
        {"sum", NULL, sum_open, sum_merge, sum_close},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!strcmp(all[i].name, name)) {
            return &all[i];
        }
    }
    return NULL;
}

/* ---- the pool under test
 * ---------------------------------------------------------------------------------------- */

typedef struct {
    int events_n;
    pool_event_t last; /* its texts point into the copies below */
    char result[256], text[CHILD_TEXT_MAX], tail[4096], job_error[64];
    size_t result_n;
    uint64_t froms[8];
    int pages_n;
} seen_t;

static pool_t *pool;
static seen_t seen;

static void on_event(void *context, const pool_event_t *event)
{
    seen_t *into = context;
    into->events_n++;
    into->last = *event;
    if (event->type == POOL_PAGE && into->pages_n < 8) {
        into->froms[into->pages_n++] = event->from_no;
    }
    if (event->type == POOL_RESULT) {
        into->result_n = blob_n(event->result);
        size_t n =
            into->result_n < sizeof into->result - 1 ? into->result_n : sizeof into->result - 1;
        memcpy(into->result, blob_data(event->result), n);
        into->result[n] = 0;
        snprintf(into->job_error, sizeof into->job_error, "%s", event->job_error);
    }
    if (event->type == POOL_FAILURE) {
        snprintf(into->text, sizeof into->text, "%s", event->text);
        snprintf(into->tail, sizeof into->tail, "%s", event->stderr_tail);
    }
}

/* One turn of a loop: sleep until something comes or a limit is due. */
static void turn(int64_t until_ms)
{
    int64_t now = clock_now_ms(), next = pool_next_at(pool);
    next = next < until_ms ? next : until_ms;
    struct pollfd wait = {.fd = pool_fd(pool), .events = POLLIN};
    poll(&wait, 1, next > now ? (int)(next - now) : 0);
    pool_drain(pool, clock_now_ms(), on_event, &seen);
}

#define WAIT(condition)                                                                            \
    do {                                                                                           \
        int64_t until = clock_now_ms() + PATIENCE_MS;                                              \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_now_ms() < until, "never came: %s", #condition);                   \
            turn(until);                                                                           \
        }                                                                                          \
    } while (0)

static void open_pool(int slots)
{
    pool_use_tasks(fakes);
    ck_assert_int_eq(pool_open(&pool, slots), ERR_OK);
    WAIT(pool_ready(pool, slots - 1));
}

static void close_pool(void)
{
    pool_close(&pool);
    ck_assert_ptr_null(pool);
}

static pool_work_t work_of(const char *task, const char *params)
{
    return (pool_work_t){.job = 5,
                         .batch = 77,
                         .attempt = 2,
                         .batch_no = 4,
                         .items_n = 6,
                         .format = WIRE_FORMAT_NDJSON,
                         .first_line = 9,
                         .task = task,
                         .params = params,
                         .header = "h",
                         .soft_ms = 60000,
                         .hard_ms = 120000,
                         .memory_bytes = 1 << 30,
                         .deadline_ms = FAR};
}

static void start(const pool_work_t *work)
{
    WAIT(pool_ready(pool, 0));
    memset(&seen, 0, sizeof seen);
    ck_assert_int_eq(pool_start(pool, 0, work, clock_now_ms()), ERR_OK);
}

static void run(const pool_work_t *work)
{
    start(work);
    WAIT(seen.events_n && (seen.last.type == POOL_RESULT || seen.last.type == POOL_FAILURE));
    ck_assert_int_eq((int)seen.last.batch, (int)work->batch);
    ck_assert_int_eq((int)seen.last.attempt, (int)work->attempt);
}

static void run_task(const char *task, const char *params)
{
    pool_work_t work = work_of(task, params);
    run(&work);
}

static void failed(failure_class_t failure_class, const char *part)
{
    ck_assert_int_eq(seen.last.type, POOL_FAILURE);
    ck_assert_msg(seen.last.failure_class == failure_class, "class %u: %s (%s)",
                  seen.last.failure_class, seen.text, seen.tail);
    ck_assert_msg(strstr(seen.text, part) != NULL, "\"%s\" does not say \"%s\"", seen.text, part);
    ck_assert_int_eq(seen.events_n, 1);
}

/* The slot works again after whatever happened. */
static void still_works(void)
{
    run_task("echo", "{}");
    ck_assert_int_eq(seen.last.type, POOL_RESULT);
}

static void pack_into(buffer_t *out, const char *text)
{
    size_t n = strlen(text), bound = ZSTD_compressBound(n);
    buffer_reserve(out, bound);
    out->n += ZSTD_compress(out->data + out->n, bound, text, n, 1);
}

/* True once no process has that id, or only a zombie. */
static bool is_dead(pid_t pid)
{
    char path[64], text[512], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file) {
        return true;
    }
    if (fgets(text, sizeof text, file)) {
        const char *end = strrchr(text, ')');
        state = end ? end[2] : 'Z';
    }
    fclose(file);
    return state == 'Z' || state == 'X';
}

/* Ends of processes that are not ours send no event: look until it is so, giving way in between. */
static void wait_dead(pid_t pid)
{
    int64_t until = clock_now_ms() + PATIENCE_MS;
    while (!is_dead(pid)) {
        ck_assert_msg(clock_now_ms() < until, "process %d lives on", (int)pid);
        poll(NULL, 0, 1);
    }
}

/* ---- work and its result
 * ---------------------------------------------------------------------------------------- */

START_TEST(test_a_batch_is_unpacked_run_and_answered)
{
    open_pool(1);
    buffer_t items = {0};
    pack_into(&items, "one\n");
    pack_into(&items, "two\n\n");
    pool_work_t work = work_of("echo", "{\"a\":1}");
    work.items = blob_take(&items);
    work.raw_bytes = 9;
    run(&work);
    ck_assert_str_eq(seen.result, "5/4/2/1/{\"a\":1}/h/9/6:one\ntwo\n");
    ck_assert_int_eq((int)seen.last.items_failed, 3);
    ck_assert_int_eq((int)seen.last.raw_bytes, 0);
    ck_assert_int_ge((int)seen.last.duration_us, 0);
    ck_assert_str_eq(seen.job_error, "");
    blob_unref(&work.items);
    close_pool();
}
END_TEST

START_TEST(test_items_that_are_not_what_was_stored_fail_for_ever)
{
    open_pool(1);
    buffer_t items = {0};
    pack_into(&items, "one\n");
    pool_work_t work = work_of("echo", "{}");
    work.items = blob_take(&items);
    const uint64_t wrong[] = {0, 3, 5, UINT64_MAX};
    for (int i = 0; i < 4; i++) {
        work.raw_bytes = wrong[i];
        run(&work);
        failed(FAILURE_TASK_ERROR, "corrupt");
        ck_assert(seen.last.permanent);
    }
    blob_unref(&work.items);
    work.raw_bytes = 4; /* and nothing there at all */
    run(&work);
    failed(FAILURE_TASK_ERROR, "corrupt");
    close_pool();
}
END_TEST

START_TEST(test_a_large_batch_goes_in_pieces)
{
    open_pool(1);
    size_t n = 8 * MIB;
    char *raw = mem_alloc(n);
    uint32_t noise = 1;
    for (size_t i = 0; i < n; i++) {
        noise = noise * 1664525 + 1013904223;
        raw[i] = (char)(noise >> 24);
    }
    raw[n - 1] = 'x';
    buffer_t items = {0};
    buffer_reserve(&items, ZSTD_compressBound(n));
    items.n = ZSTD_compress(items.data, items.capacity, raw, n, 1);
    ck_assert_uint_gt(items.n, n / 2); /* really more than the socket takes at once */
    pool_work_t work = work_of("echo", "{}");
    work.items = blob_take(&items);
    work.raw_bytes = n;
    run(&work);
    /* Noise plus the echo's own head is over the limit of a result by a few bytes. */
    failed(FAILURE_OUTPUT_LIMIT, "over the limit of 8388608");
    ck_assert(!seen.last.permanent);
    blob_unref(&work.items);
    free(raw);
    still_works();
    close_pool();
}
END_TEST

START_TEST(test_a_result_over_1_kb_is_packed_when_that_is_smaller)
{
    open_pool(1);
    run_task("big", "1024");
    ck_assert_int_eq((int)seen.last.raw_bytes, 0);
    ck_assert_int_eq((int)seen.result_n, 1024);
    run_task("big", "1025");
    ck_assert_int_eq((int)seen.last.raw_bytes, 1025);
    ck_assert_uint_lt(seen.result_n, 100);
    char raw[1025];
    ck_assert_uint_eq(ZSTD_decompress(raw, sizeof raw, seen.result, seen.result_n), 1025);
    ck_assert_int_eq(raw[1024], 'x');
    close_pool();
}
END_TEST

START_TEST(test_progress_is_reported_and_names_its_batch)
{
    open_pool(1);
    pool_work_t work = work_of("step", "{}");
    start(&work);
    WAIT(seen.events_n >= 2);
    ck_assert_int_eq(seen.last.type, POOL_PROGRESS);
    ck_assert_int_eq((int)seen.last.batch, 77);
    ck_assert_uint_gt(seen.last.items_done, 1);
    pool_kill(pool, 0);
    int before = seen.events_n;
    WAIT(pool_ready(pool, 0));
    ck_assert_msg(seen.events_n == before, "a killed work must end in no event");
    close_pool();
}
END_TEST

static void add_record(buffer_t *page, uint32_t batch_no, uint32_t raw_bytes, const buffer_t *body)
{
    uint32_t head[3] = {batch_no, raw_bytes,
                        (uint32_t)body->n}; /* the test hosts are little endian */
    buffer_add(page, head, sizeof head);
    buffer_add(page, body->data, body->n);
}

static void answer_page(uint64_t next_no, bool last, const char *plain, const char *packed)
{
    buffer_t page = {0}, body = {0};
    buffer_add_text(&body, plain);
    add_record(&page, (uint32_t)next_no - 2, 0, &body);
    buffer_clear(&body);
    pack_into(&body, packed);
    add_record(&page, (uint32_t)next_no - 1, (uint32_t)strlen(packed), &body);
    buffer_free(&body);
    blob_t *blob = blob_take(&page);
    pool_page(pool, 0, blob, next_no, last);
    blob_unref(&blob);
}

START_TEST(test_a_finalize_asks_for_pages_until_the_last)
{
    open_pool(1);
    pool_work_t work = work_of("sum", "{}");
    work.kind = WIRE_KIND_FINALIZE;
    work.items_total = 1000000;
    work.batches_n = 4;
    start(&work);
    WAIT(seen.pages_n == 1);
    ck_assert_int_eq(seen.last.type, POOL_PAGE);
    answer_page(2, false, "10", "200");
    WAIT(seen.pages_n == 2);
    ck_assert_uint_eq(seen.froms[1], 2);
    answer_page(4, true, "3000", "40000");
    WAIT(seen.last.type == POOL_RESULT);
    ck_assert_uint_eq(seen.froms[0], 0);
    ck_assert_str_eq(seen.result, "1169414"); /* 1000004 + 10 + 2*200 + 3*3000 + 4*40000 */
    ck_assert_str_eq(seen.job_error, "E_TEST");
    ck_assert_int_eq((int)seen.last.raw_bytes, 0);
    close_pool();
}
END_TEST

START_TEST(test_a_cut_page_is_a_failure_at_every_byte)
{
    open_pool(1);
    buffer_t page = {0}, body = {0};
    pack_into(&body, "12345");
    add_record(&page, 0, 5, &body);
    pool_work_t work = work_of("sum", "{}");
    work.kind = WIRE_KIND_FINALIZE;
    for (size_t n = 0; n <= page.n; n++) {
        start(&work);
        WAIT(seen.pages_n == 1);
        blob_t *cut = blob_new(page.data, n);
        pool_page(pool, 0, cut, 1, true);
        blob_unref(&cut);
        WAIT(seen.events_n == 2);
        bool whole = n == 0 || n == page.n;
        ck_assert_int_eq(seen.last.type, whole ? POOL_RESULT : POOL_FAILURE);
        ck_assert(whole || strstr(seen.text, "corrupt"));
    }
    buffer_free(&page);
    buffer_free(&body);
    close_pool();
}
END_TEST

/* ---- failures
 * ---------------------------------------------------------------------------------------------------
 */

START_TEST(test_a_task_error_carries_its_sentence_and_its_wish)
{
    open_pool(1);
    run_task("refuse", "{}");
    failed(FAILURE_TASK_ERROR, "the other side is closed");
    ck_assert(!seen.last.permanent);
    ck_assert_int_eq((int)seen.last.retry_after_ms, 1234);
    ck_assert_str_eq(seen.tail, "why: because\n");
    run_task("refuse_for_ever", "{}");
    failed(FAILURE_TASK_ERROR, "row 7 is wrong");
    ck_assert(seen.last.permanent);
    ck_assert_int_eq((int)seen.last.retry_after_ms, -1);
    ck_assert_str_eq(seen.tail, ""); /* not what an earlier work printed */
    close_pool();
}
END_TEST

START_TEST(test_an_unknown_task_fails_for_ever)
{
    open_pool(1);
    run_task("no_such_task", "{}");
    failed(FAILURE_TASK_ERROR, "no code for the task \"no_such_task\"");
    ck_assert(seen.last.permanent);
    run_task("sum", "{}"); /* a finalize is no batch task */
    failed(FAILURE_TASK_ERROR, "no code");
    close_pool();
}
END_TEST

START_TEST(test_a_crash_names_its_signal_and_shows_stderr)
{
    open_pool(1);
    run_task("crash", "{}");
    failed(FAILURE_CRASH, "ended by SIGSEGV");
    ck_assert_str_eq(seen.tail, "about to ? crash\n");
    run_task("leave", "{}");
    failed(FAILURE_CRASH, "exit code 3");
    run_task("babble", "{}");
    failed(FAILURE_CRASH, "no frame");
    still_works();
    close_pool();
}
END_TEST

START_TEST(test_a_foreign_sigkill_counts_as_out_of_memory)
{
    open_pool(1);
    run_task("shot", "{}");
    failed(FAILURE_MEMORY, "SIGKILL");
    still_works();
    close_pool();
}
END_TEST

START_TEST(test_memory_over_the_limit_is_its_own_class)
{
    open_pool(1);
    pool_work_t work = work_of("eat", "{}");
    work.memory_bytes = 64 * MIB;
    run(&work);
    failed(FAILURE_MEMORY, "memory limit of 64 MiB");
    still_works();
    close_pool();
}
END_TEST

START_TEST(test_the_soft_limit_asks_and_the_hard_limit_kills)
{
    open_pool(1);
    pool_work_t work = work_of("wait", "{}");
    work.soft_ms = 50;
    run(&work);
    failed(FAILURE_TIME_LIMIT, "soft time limit of 50 ms");
    work.task = "obey";
    run(&work);
    failed(FAILURE_TIME_LIMIT, "soft time limit of 50 ms");
    ck_assert(!seen.last.permanent);
    work.task = "hang";
    work.hard_ms = 1500;
    run(&work);
    failed(FAILURE_TIME_LIMIT, "hard time limit of 1.5 s");
    still_works();
    close_pool();
}
END_TEST

START_TEST(test_a_result_over_the_limit_is_refused_by_the_child)
{
    open_pool(1);
    run_task("big", "8388608");
    ck_assert_int_eq(seen.last.type, POOL_RESULT);
    run_task("big", "8388609");
    failed(FAILURE_OUTPUT_LIMIT, "8388609 bytes");
    still_works();
    close_pool();
}
END_TEST

START_TEST(test_a_child_cannot_make_the_parent_read_without_end)
{
    open_pool(1);
    run_task("announce", "{}");
    failed(FAILURE_OUTPUT_LIMIT, "over the limit");
    run_task("chatter", "{}");
    ck_assert_int_eq(seen.last.type, POOL_RESULT);
    still_works();
    close_pool();
}
END_TEST

/* ---- who dies with whom
 * ----------------------------------------------------------------------------------------- */

START_TEST(test_the_deadline_kills_unless_it_is_moved)
{
    open_pool(1);
    pool_work_t work = work_of("wait", "{}");
    work.deadline_ms = clock_now_ms() + 100;
    int64_t moved = clock_now_ms() + 600;
    start(&work);
    pool_extend(pool, 0, moved);
    WAIT(seen.events_n == 1);
    ck_assert_int_ge(clock_now_ms(), moved);
    failed(FAILURE_TIME_LIMIT, "lease");
    still_works();
    close_pool();
}
END_TEST

/* The guard is the child's own: here the parent does not run at all (it only waits for the child's
 * end). */
START_TEST(test_the_child_guards_itself_while_the_parent_is_stopped)
{
    open_pool(1);
    pool_work_t work = work_of("beget", "hang");
    work.deadline_ms = clock_now_ms() + 500;
    start(&work);
    WAIT(seen.events_n == 1);
    ck_assert_int_eq(seen.last.type, POOL_PROGRESS);
    wait_dead((pid_t)seen.last.items_done);
    ck_assert_int_ge(clock_now_ms(), work.deadline_ms);
    WAIT(seen.last.type == POOL_FAILURE);
    seen.events_n = 1; /* reports of progress may have come before */
    failed(FAILURE_TIME_LIMIT, "lease");
    close_pool();
}
END_TEST

START_TEST(test_killing_a_work_kills_its_group)
{
    open_pool(1);
    pool_work_t work = work_of("beget", "hang");
    start(&work);
    WAIT(seen.events_n == 1);
    pid_t grandchild = (pid_t)seen.last.items_done;
    ck_assert(!is_dead(grandchild));
    pool_kill(pool, 0);
    ck_assert(!pool_ready(pool, 0));
    wait_dead(grandchild);
    WAIT(pool_ready(pool, 0));
    close_pool();
}
END_TEST

START_TEST(test_what_a_work_leaves_behind_is_killed)
{
    open_pool(1);
    run_task("beget", "{}");
    ck_assert_int_eq(seen.last.type, POOL_RESULT);
    wait_dead((pid_t)atoi(seen.result));
    run_task("beget", "crash");
    failed(FAILURE_CRASH, "SIGSEGV");
    wait_dead((pid_t)atoi(seen.tail));
    still_works();
    close_pool();
}
END_TEST

/* A worker with one busy slot that tells the grandchild's id through a pipe, then hangs until it is
 * killed. */
static pid_t fork_worker(int *told_by)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t worker = fork();
    if (worker == 0) {
        close(ends[0]);
        open_pool(2);
        pool_work_t work = work_of("beget", "hang");
        start(&work);
        WAIT(seen.events_n == 1);
        pid_t grandchild = (pid_t)seen.last.items_done;
        (void)!write(ends[1], &grandchild, sizeof grandchild);
        for (;;) {
            pause();
        }
    }
    close(ends[1]);
    *told_by = ends[0];
    return worker;
}

START_TEST(test_sigkill_of_the_worker_leaves_no_process)
{
    int told_by;
    pid_t worker = fork_worker(&told_by), grandchild;
    ck_assert_int_eq(read(told_by, &grandchild, sizeof grandchild), sizeof grandchild);
    pid_t child = getpgid(grandchild); /* the child leads its group */
    ck_assert_int_ne(child, getpgrp());
    ck_assert(!is_dead(child) && !is_dead(grandchild));
    kill(worker, SIGKILL);
    ck_assert_int_eq(waitpid(worker, NULL, 0), worker);
    wait_dead(child);
    wait_dead(grandchild);
    /* Nobody holds the pipe any more: the fork server and the idle child are gone too. */
    ck_assert_int_eq(read(told_by, &grandchild, 1), 0);
    close(told_by);
}
END_TEST

START_TEST(test_loss_of_the_fork_server_fails_the_work_and_is_seen)
{
    open_pool(1);
    pool_work_t work = work_of("beget", "hang");
    start(&work);
    WAIT(seen.events_n == 1);
    pid_t grandchild = (pid_t)seen.last.items_done;
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)getpgid(grandchild));
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, file));
    fclose(file);
    pid_t server = (pid_t)atoi(strrchr(text, ')') + 4); /* field 4: the parent */
    ck_assert_int_gt(server, 1);
    ck_assert_int_ne(server, getpid());
    kill(server, SIGKILL);
    WAIT(pool_lost(pool));
    seen.events_n = 1; /* reports of progress may have come before */
    failed(FAILURE_CRASH, "fork server");
    ck_assert(!pool_ready(pool, 0));
    wait_dead(grandchild);
    close_pool();
}
END_TEST

START_TEST(test_a_sigterm_of_a_stranger_is_not_for_the_child)
{
    open_pool(1);
    pool_work_t work = work_of("beget", "hang");
    start(&work);
    WAIT(seen.events_n == 1);
    pid_t child = getpgid((pid_t)seen.last.items_done);
    pid_t stranger = fork();
    if (stranger == 0) {
        kill(child, SIGTERM);
        _exit(0);
    }
    waitpid(stranger, NULL, 0);
    int before = seen.events_n;
    WAIT(seen.events_n > before);
    ck_assert_int_eq(seen.last.type, POOL_PROGRESS);
    close_pool();
    wait_dead(child);
}
END_TEST

/* ---- many
 * -------------------------------------------------------------------------------------------------------
 */

START_TEST(test_a_busy_slot_takes_no_second_work)
{
    open_pool(1);
    pool_work_t work = work_of("wait", "{}");
    start(&work);
    ck_assert_int_eq(pool_start(pool, 0, &work, clock_now_ms()), ERR_UNAVAILABLE);
    ck_assert_int_eq(pool_start(pool, 1, &work, clock_now_ms()), ERR_UNAVAILABLE);
    ck_assert_int_eq(pool_start(pool, -1, &work, clock_now_ms()), ERR_UNAVAILABLE);
    close_pool();
}
END_TEST

typedef struct {
    int left, done, failed_n;
} chain_t;

static void next_in_chain(void *context, const pool_event_t *event)
{
    chain_t *chain = context;
    chain->done++;
    chain->failed_n += event->type != POOL_RESULT;
    if (chain->left && pool_ready(pool, event->slot)) {
        pool_work_t work = work_of("echo", "{}");
        work.batch = (uint64_t)chain->left;
        if (pool_start(pool, event->slot, &work, clock_now_ms()) == ERR_OK) {
            chain->left--;
        }
    }
}

/* More than one child may serve, each replaced after 10,000 works, and none is lost on the way. */
START_TEST(test_a_child_is_replaced_after_10000_works_and_none_is_lost)
{
    enum { WORKS = 21000 };
    open_pool(1);
    chain_t chain = {WORKS, 0, 0};
    int64_t began = clock_now_us(), until = clock_now_ms() + 3 * PATIENCE_MS;
    while (chain.done < WORKS) {
        ck_assert_msg(clock_now_ms() < until, "%d of %d works", chain.done, WORKS);
        if (chain.done + chain.left == WORKS && pool_ready(pool, 0)) {
            pool_work_t work = work_of("echo", "{}");
            ck_assert_int_eq(pool_start(pool, 0, &work, clock_now_ms()), ERR_OK);
            chain.left--;
        }
        struct pollfd wait = {.fd = pool_fd(pool), .events = POLLIN};
        poll(&wait, 1, PATIENCE_MS);
        pool_drain(pool, clock_now_ms(), next_in_chain, &chain);
    }
    double seconds = (double)(clock_now_us() - began) / 1e6;
    ck_assert_int_eq(chain.failed_n, 0);
    printf("pool: %.0f works/s round trip with one slot\n", WORKS / seconds);
    close_pool();
}
END_TEST

START_TEST(test_slots_work_side_by_side)
{
    open_pool(4);
    for (int i = 0; i < 4; i++) {
        WAIT(pool_ready(pool, i));
    }
    memset(&seen, 0, sizeof seen);
    pool_work_t hung = work_of("wait", "{}"), quick = work_of("echo", "{}");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pool_start(pool, i, &hung, clock_now_ms()), ERR_OK);
    }
    ck_assert_int_eq(pool_start(pool, 3, &quick, clock_now_ms()), ERR_OK);
    WAIT(seen.events_n == 1);
    ck_assert_int_eq(seen.last.slot, 3);
    ck_assert_int_eq(seen.last.type, POOL_RESULT);
    close_pool();
}
END_TEST

START_TEST(test_text_of_a_child_is_made_clean_utf8)
{
    char out[32];
    const char *cases[][2] = {
        {"plain\ttext\n", "plain\ttext\n"},
        {"\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
        {"\xa9 cut", "? cut"},
        {"cut \xe2\x82", "cut ??"},
        {"\xc0\xaf\xed\xa0\x80", "?????"},
        {"\x1b[31m\x7f", "?[31m?"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xf5\x80\x80\x80", "????"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        outcome_clean(out, sizeof out, cases[i][0], strlen(cases[i][0]));
        ck_assert_str_eq(out, cases[i][1]);
    }
    outcome_clean(out, 4, "ab\xc3\xa9", 4); /* no room for both bytes */
    ck_assert_str_eq(out, "ab");
    outcome_clean(out, sizeof out, "a\0b", 3);
    ck_assert_str_eq(out, "a?b");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 90);
    tcase_add_test(all, test_a_batch_is_unpacked_run_and_answered);
    tcase_add_test(all, test_items_that_are_not_what_was_stored_fail_for_ever);
    tcase_add_test(all, test_a_large_batch_goes_in_pieces);
    tcase_add_test(all, test_a_result_over_1_kb_is_packed_when_that_is_smaller);
    tcase_add_test(all, test_progress_is_reported_and_names_its_batch);
    tcase_add_test(all, test_a_finalize_asks_for_pages_until_the_last);
    tcase_add_test(all, test_a_cut_page_is_a_failure_at_every_byte);
    tcase_add_test(all, test_a_task_error_carries_its_sentence_and_its_wish);
    tcase_add_test(all, test_an_unknown_task_fails_for_ever);
    tcase_add_test(all, test_a_crash_names_its_signal_and_shows_stderr);
    tcase_add_test(all, test_a_foreign_sigkill_counts_as_out_of_memory);
    tcase_add_test(all, test_memory_over_the_limit_is_its_own_class);
    tcase_add_test(all, test_the_soft_limit_asks_and_the_hard_limit_kills);
    tcase_add_test(all, test_a_result_over_the_limit_is_refused_by_the_child);
    tcase_add_test(all, test_a_child_cannot_make_the_parent_read_without_end);
    tcase_add_test(all, test_the_deadline_kills_unless_it_is_moved);
    tcase_add_test(all, test_the_child_guards_itself_while_the_parent_is_stopped);
    tcase_add_test(all, test_killing_a_work_kills_its_group);
    tcase_add_test(all, test_what_a_work_leaves_behind_is_killed);
    tcase_add_test(all, test_sigkill_of_the_worker_leaves_no_process);
    tcase_add_test(all, test_loss_of_the_fork_server_fails_the_work_and_is_seen);
    tcase_add_test(all, test_a_sigterm_of_a_stranger_is_not_for_the_child);
    tcase_add_test(all, test_a_busy_slot_takes_no_second_work);
    tcase_add_test(all, test_a_child_is_replaced_after_10000_works_and_none_is_lost);
    tcase_add_test(all, test_slots_work_side_by_side);
    tcase_add_test(all, test_text_of_a_child_is_made_clean_utf8);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed_n = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed_n ? EXIT_FAILURE : EXIT_SUCCESS;
}

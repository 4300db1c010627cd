/* The start log and the locked directory it lives in. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "common/buffer.h"
#include "common/clock.h"
#include "common/log.h"
#include "worker/pool.h"
#include "worker/start_log.h"
#include "worker/state_dir.h"

static char dir[64], path[96];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/stint_starts_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/starts", dir);
}

static void remove_dir(void)
{
    static const char *const names[] = {"starts", "starts.new", "lock"};
    char name[128];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        unlink(name);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static buffer_t slurp(void)
{
    buffer_t out = {0};
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    buffer_reserve(&out, 4 << 20);
    out.n = fread(out.data, 1, out.capacity, file);
    fclose(file);
    return out;
}

static void spit(const void *data, size_t n)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, n, file), n);
    fclose(file);
}

static start_log_t *open_log(void)
{
    start_log_t *log = NULL;
    ck_assert_int_eq(start_log_open(&log, dir), ERR_OK);
    return log;
}

static void append(start_log_t *log, const char *task, int64_t boot_ms)
{
    ck_assert_int_eq(start_log_append(log, task, boot_ms), ERR_OK);
}

START_TEST(test_starts_are_known_again_after_a_restart)
{
    make_dir();
    int64_t times[4];
    int n = -1;
    start_log_t *log = open_log();
    ck_assert_int_eq(start_log_load(log, "a", times, 4, &n), ERR_OK);
    ck_assert_int_eq(n, 0);
    for (int i = 1; i <= 6; i++) {
        append(log, i == 5 ? "b" : "a", i * 1000);
    }
    start_log_destroy(&log);
    log = open_log();
    ck_assert_int_eq(start_log_load(log, "a", times, 4, &n), ERR_OK);
    ck_assert_int_eq(n, 4);
    const int64_t newest[] = {2000, 3000, 4000, 6000};
    ck_assert_mem_eq(times, newest, sizeof newest);
    ck_assert_int_eq(start_log_load(log, "b", times, 4, &n), ERR_OK);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq((int)times[0], 5000);
    ck_assert_int_eq(start_log_load(log, "none", times, 4, &n), ERR_OK);
    ck_assert_int_eq(n, 0);
    start_log_destroy(&log);
    remove_dir();
}
END_TEST

/* A file that ends at a line's end has lost that line without a trace, which no cut write can do;
 * every other cut is seen. */
START_TEST(test_a_file_cut_at_any_byte_fills_the_window)
{
    make_dir();
    start_log_t *log = open_log();
    for (int i = 1; i <= 3; i++) {
        append(log, "a", i);
    }
    start_log_destroy(&log);
    buffer_t whole = slurp();
    size_t lines = 0;
    for (size_t cut = 0; cut <= whole.n; cut++) {
        int64_t times[10], before = clock_boot_ms();
        int n = -1;
        spit(whole.data, cut);
        bool at_end = cut && whole.data[cut - 1] == '\n';
        lines += at_end;
        log = open_log();
        err_t err = start_log_load(log, "a", times, 10, &n);
        ck_assert_int_eq(err, at_end ? ERR_OK : ERR_CORRUPT);
        ck_assert_int_eq(n, at_end ? (int)lines - 1 : 10);
        ck_assert(at_end || times[0] >= before);
        start_log_destroy(&log);
        if (!at_end) {
            /* The next process is told the same, although the file is whole again. */
            int64_t again[10];
            log = open_log();
            ck_assert_int_eq(start_log_load(log, "a", again, 10, &n), ERR_OK);
            ck_assert_int_eq(n, 10);
            ck_assert_mem_eq(again, times, sizeof times);
            start_log_destroy(&log);
        }
    }
    ck_assert_uint_eq(lines, 4);
    buffer_free(&whole);
    remove_dir();
}
END_TEST

START_TEST(test_a_changed_byte_anywhere_fills_the_window)
{
    make_dir();
    start_log_t *log = open_log();
    append(log, "a", 1);
    append(log, "a", 2);
    start_log_destroy(&log);
    buffer_t whole = slurp();
    for (size_t i = 0; i < whole.n; i++) {
        int64_t times[3];
        int n = -1;
        whole.data[i] ^= 1;
        spit(whole.data, whole.n);
        whole.data[i] ^= 1;
        log = open_log();
        ck_assert_int_eq(start_log_load(log, "a", times, 3, &n), ERR_CORRUPT);
        ck_assert_int_eq(n, 3);
        start_log_destroy(&log);
    }
    buffer_free(&whole);
    remove_dir();
}
END_TEST

START_TEST(test_starts_of_another_boot_count_as_made_when_this_boot_began)
{
    make_dir();
    const char *line = "stint-starts 1 00000000-0000-0000-0000-000000000000 -1";
    buffer_t text = {0};
    buffer_printf(&text, "%s %08lx\n", line, crc32(0, (const Bytef *)line, (uInt)strlen(line)));
    spit(text.data, text.n);
    buffer_free(&text);
    for (int round = 0; round < 2; round++) { /* the second time from the file of this boot */
        int64_t times[3];
        int n = -1;
        start_log_t *log = open_log();
        ck_assert_int_eq(start_log_load(log, "a", times, 3, &n), ERR_OK);
        ck_assert_int_eq(n, 3);
        const int64_t expected[2][3] = {{0, 0, 0}, {0, 0, 7}};
        ck_assert_mem_eq(times, expected[round], sizeof times);
        if (round == 0) {
            append(log, "a", 7);
        }
        start_log_destroy(&log);
    }
    remove_dir();
}
END_TEST

START_TEST(test_the_file_stays_small_and_keeps_what_counts)
{
    make_dir();
    start_log_t *log = open_log();
    struct stat facts;
    int64_t hour = 3600 * 1000, now = 100 * hour;
    append(log, "rare", 1);
    for (int i = 0; i < 20000; i++) {
        now += 6000; /* 10 a minute */
        append(log, "often", now);
        ck_assert_int_eq(stat(path, &facts), 0);
        ck_assert_int_le((int)facts.st_size, (64 << 10) + 100);
    }
    start_log_destroy(&log);
    log = open_log();
    int64_t times[1000];
    int n;
    ck_assert_int_eq(start_log_load(log, "rare", times, 10, &n), ERR_OK);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(start_log_load(log, "often", times, 600, &n), ERR_OK);
    ck_assert_int_eq(n, 600); /* the whole last hour */
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq((int)((now - times[i]) / 6000), n - 1 - i);
    }
    start_log_destroy(&log);
    remove_dir();
}
END_TEST

START_TEST(test_a_full_disk_is_an_error_and_leaves_no_half_line)
{
    make_dir();
    start_log_t *log = open_log();
    append(log, "a", 1);
    struct stat facts;
    ck_assert_int_eq(stat(path, &facts), 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit, before;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = (rlim_t)facts.st_size + 5; /* room for half a line */
    setrlimit(RLIMIT_FSIZE, &limit);
    ck_assert_int_eq(start_log_append(log, "a", 2), ERR_IO);
    setrlimit(RLIMIT_FSIZE, &before);
    append(log, "a", 3);
    start_log_destroy(&log);
    log = open_log();
    int64_t times[4];
    int n;
    ck_assert_int_eq(start_log_load(log, "a", times, 4, &n), ERR_OK);
    ck_assert_int_eq(n, 2);
    ck_assert_int_eq((int)times[1], 3);
    start_log_destroy(&log);
    remove_dir();
}
END_TEST

START_TEST(test_a_directory_that_is_not_there_is_an_error)
{
    start_log_t *log = NULL;
    ck_assert_int_eq(start_log_open(&log, "/nonexistent/stint"), ERR_IO);
    ck_assert_ptr_null(log);
}
END_TEST

/* ---- the lock
 * ---------------------------------------------------------------------------------------------------
 */

START_TEST(test_a_name_is_locked_and_the_holder_named)
{
    make_dir();
    char deep[128], expected[128];
    snprintf(deep, sizeof deep, "%s/a/b", dir);
    state_dir_t *one = NULL, *two = NULL;
    ck_assert_int_eq(state_dir_open(&one, deep, "w1"), ERR_OK);
    ck_assert_str_eq(state_dir_path(one), deep);
    struct stat facts;
    ck_assert_int_eq(stat(deep, &facts), 0);
    ck_assert_int_eq((int)(facts.st_mode & 0777), 0700);
    ck_assert_int_eq(state_dir_open(&two, deep, "w1"), ERR_BUSY);
    ck_assert_ptr_null(two);
    snprintf(expected, sizeof expected, "another worker named w1 runs, process %d", (int)getpid());
    ck_assert_msg(strstr(err_text(), expected) != NULL, "%s", err_text());
    state_dir_close(&one);
    ck_assert_int_eq(state_dir_open(&two, deep, "w1"), ERR_OK);
    /* Lives rise, also when the wall clock goes back. */
    uint64_t first = 0, second = 0, third = 0;
    ck_assert_int_eq(state_dir_life(two, 1000, &first), ERR_OK);
    ck_assert_uint_eq(first, 1000);
    ck_assert_int_eq(state_dir_life(two, 400, &second), ERR_OK);
    ck_assert_uint_eq(second, 1001);
    ck_assert_int_eq(state_dir_life(two, 5000, &third), ERR_OK);
    ck_assert_uint_eq(third, 5000);
    state_dir_close(&two);
    char name[160];
    snprintf(name, sizeof name, "%s/lock", deep);
    unlink(name);
    snprintf(name, sizeof name, "%s/life", deep);
    unlink(name);
    rmdir(deep);
    snprintf(deep, sizeof deep, "%s/a", dir);
    rmdir(deep);
    remove_dir();
}
END_TEST

static void nothing(void *context, const pool_event_t *event)
{
    (void)context;
    (void)event;
}

static const task_code_t *no_tasks(const char *name)
{
    (void)name;
    return NULL;
}

/* A worker that holds the lock and one child, tells the child's id, then hangs. */
static void be_worker(int tell) __attribute__((noreturn));
static void be_worker(int tell)
{
    state_dir_t *state = NULL;
    pool_t *pool = NULL;
    ck_assert_int_eq(state_dir_open(&state, dir, "w1"), ERR_OK);
    pool_keep_fd(state_dir_fd(state));
    pool_use_tasks(no_tasks);
    ck_assert_int_eq(pool_open(&pool, 1), ERR_OK);
    while (!pool_ready(pool, 0)) {
        struct pollfd wait = {.fd = pool_fd(pool), .events = POLLIN};
        poll(&wait, 1, -1);
        pool_drain(pool, clock_now_ms(), nothing, NULL);
    }
    close(state_dir_fd(state)); /* only its processes hold the lock now */
    (void)!write(tell, "x", 1);
    for (;;) {
        pause();
    }
}

/* The lock is the proof that the last holder's children are dead, and it comes free when they are.
 */
START_TEST(test_the_lock_outlives_the_worker_until_its_children_are_dead)
{
    make_dir();
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t worker = fork();
    if (worker == 0) {
        be_worker(ends[1]);
    }
    char byte;
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    state_dir_t *state = NULL;
    ck_assert_int_eq(state_dir_open(&state, dir, "w1"), ERR_BUSY);
    kill(worker, SIGKILL);
    ck_assert_int_eq(waitpid(worker, NULL, 0), worker);
    ck_assert_int_eq(state_dir_open(&state, dir, "w1"), ERR_OK);
    close(ends[0]);
    close(ends[1]);
    state_dir_close(&state);
    remove_dir();
}
END_TEST

int main(void)
{
    log_open("test", LOG_ERROR); /* the warnings of damaged files would fill the screen */
    Suite *suite = suite_create("start_log");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, test_starts_are_known_again_after_a_restart);
    tcase_add_test(all, test_a_file_cut_at_any_byte_fills_the_window);
    tcase_add_test(all, test_a_changed_byte_anywhere_fills_the_window);
    tcase_add_test(all, test_starts_of_another_boot_count_as_made_when_this_boot_began);
    tcase_add_test(all, test_the_file_stays_small_and_keeps_what_counts);
    tcase_add_test(all, test_a_full_disk_is_an_error_and_leaves_no_half_line);
    tcase_add_test(all, test_a_directory_that_is_not_there_is_an_error);
    tcase_add_test(all, test_a_name_is_locked_and_the_holder_named);
    tcase_add_test(all, test_the_lock_outlives_the_worker_until_its_children_are_dead);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed_n = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed_n ? EXIT_FAILURE : EXIT_SUCCESS;
}

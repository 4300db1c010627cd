/* What SQLite says when the disk is full, on a disk that is: a tmpfs in a mount namespace of its
 * own. */
#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/sqlite_err.h"

enum { PAGE = 4096, FRAME = PAGE + 24, FRAMES_OF_AN_INDEX = 4062 };

static char place[] = "/tmp/stint-test-full-XXXXXX";

static void path_of(char out[256], const char *name)
{
    snprintf(out, 256, "%s/%s", place, name);
}

static int64_t size_of(const char *name)
{
    char path[256];
    struct stat info;
    path_of(path, name);
    return stat(path, &info) ? 0 : (int64_t)info.st_size;
}

/* False: not permitted here. */
static bool own_disk(void)
{
    ck_assert_ptr_nonnull(mkdtemp(place));
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("full", place, "tmpfs", 0, "size=64m")) {
        rmdir(place);
        return false;
    }
    return true;
}

static void leave_free(int pages)
{
    static const char zeros[PAGE];
    char path[256];
    path_of(path, "ballast");
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
    ck_assert_int_ge(fd, 0);
    while (write(fd, zeros, sizeof zeros) == sizeof zeros) {
        /* until it is full */
    }
    ck_assert_int_eq(ftruncate(fd, (off_t)(size_of("ballast") - pages * PAGE)), 0);
    close(fd);
}

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

START_TEST(test_an_index_of_the_log_that_cannot_grow_is_a_full_disk)
{
    if (!own_disk()) {
        printf("SKIP an index that cannot grow: a tmpfs of its own needs root\n");
        return;
    }
    char path[256];
    sqlite3 *db = NULL;
    path_of(path, "a.db");
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_extended_result_codes(db, 1);
    ck_assert_int_eq(run(db, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
                             "CREATE TABLE t (x)"),
                     SQLITE_OK);
    while (size_of("a.db-wal") / FRAME < FRAMES_OF_AN_INDEX - 8) {
        ck_assert_int_eq(run(db, "INSERT INTO t VALUES (zeroblob(100))"), SQLITE_OK);
    }
    leave_free(64); /* room for the 60 pages of the log, not for the 8 of its index */
    ck_assert_int_ne(run(db, "INSERT INTO t VALUES (zeroblob(240000))"), SQLITE_OK);
    ck_assert_int_eq(sqlite3_extended_errcode(db), SQLITE_IOERR_SHMSIZE);
    ck_assert_int_eq(sqlite_err(db), ERR_FULL);
    path_of(path, "ballast");
    unlink(path);
    ck_assert_int_eq(run(db, "INSERT INTO t VALUES (zeroblob(240000))"), SQLITE_OK);
    sqlite3_close(db);
    ck_assert_int_eq(umount2(place, MNT_DETACH), 0);
    rmdir(place);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sqlite_err");
    TCase *tests = tcase_create("full disk");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_an_index_of_the_log_that_cannot_grow_is_a_full_disk);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Rules of the store about its files: lock, identity, versions, restarts, kill -9, full disks. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/store/world.h"

static err_t try_open(const char *directory)
{
    store_t *store = NULL;
    err_t err = store_open(&store, &(store_options_t){.directory = directory, .wall_at = WALL});
    store_close(&store);
    return err;
}

/* Run SQL on the database file of a closed store. */
static void tamper(const char *directory, const char *sql)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/store.db", directory);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* The version this program brings a store to. */
static int newest(void)
{
    arena_t arena = {0};
    migration_files_t files = {0};
    ck_ok(store_migrations(&arena, &files));
    int version = (int)files.items[files.n - 1].version;
    arena_free(&arena);
    return version;
}

static void says(const char *part)
{
    ck_assert_msg(strstr(err_text(), part), "\"%s\" does not say \"%s\"", err_text(), part);
}

START_TEST(test_the_database_has_the_properties_the_rules_need)
{
    char *directory = world_directory();
    store_t *store = world_open(directory);
    ck_assert_int_eq(world_ask(store, "PRAGMA auto_vacuum"), 2);
    ck_assert_int_eq(world_ask(store, "PRAGMA synchronous"), 2);
    ck_assert_int_eq(world_ask(store, "PRAGMA foreign_keys"), 1);
    ck_assert_int_eq(world_ask(store, "PRAGMA secure_delete"), 0);
    ck_assert_int_eq(world_ask(store, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    ck_assert_int_eq(world_ask(store, "PRAGMA application_id"), STORE_APPLICATION_ID);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM schema_migrations"), newest());
    ck_assert_int_eq(store_schema_version(store), newest());
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM task"), TASK_IDS_N);
    uint64_t room = 0, database = 0, log = 0;
    store_space(store, &room, &database, &log);
    ck_assert_uint_gt(room, 0);
    ck_assert_uint_gt(database + log, 4096);
    ck_assert_int_eq(sqlite3_exec(store->reader, "DELETE FROM task", NULL, NULL, NULL),
                     SQLITE_READONLY);
    store_close(&store);
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_every_foreign_key_has_an_index)
{
    store_t *store = world_open(NULL);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM sqlite_schema s, "
                                      "pragma_foreign_key_list(s.name) f WHERE s.type = 'table'"
                                      " AND NOT EXISTS (SELECT 1 FROM pragma_index_list(s.name) i, "
                                      "pragma_index_info(i.name) c"
                                      " WHERE c.seqno = 0 AND c.name = f.\"from\")"
                                      " AND NOT EXISTS (SELECT 1 FROM pragma_table_info(s.name) t "
                                      "WHERE t.name = f.\"from\" AND t.pk = 1)"),
                     0);
    ck_assert_int_gt(
        world_ask(store, "SELECT count(*) FROM sqlite_schema s, pragma_foreign_key_list(s.name) f"),
        15);
    store_close(&store);
}
END_TEST

START_TEST(test_second_opener_is_refused_and_told_who_has_it)
{
    char *directory = world_directory();
    store_t *store = world_open(directory);
    ck_err(ERR_BUSY, try_open(directory));
    char process[32];
    snprintf(process, sizeof process, "process %ld", (long)getpid());
    says(process);
    store_close(&store);
    ck_ok(try_open(directory));
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_store_id_stays_over_restarts_and_is_new_when_renewed)
{
    char *directory = world_directory();
    uint8_t id[16];
    store_t *store = world_open(directory);
    memcpy(id, store_id(store), 16);
    store_close(&store);
    store = world_open(directory);
    ck_assert_mem_eq(store_id(store), id, 16);
    ck_ok(store_renew_id(store));
    ck_assert_mem_ne(store_id(store), id, 16);
    memcpy(id, store_id(store), 16);
    store_close(&store);
    store = world_open(directory);
    ck_assert_mem_eq(store_id(store), id, 16);
    store_close(&store);
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_a_file_that_is_no_database_is_refused_and_left_alone)
{
    char *directory = world_directory(), path[128], back[64] = "";
    static const char text[] = "these are the minutes of the meeting, and no database at all";
    snprintf(path, sizeof path, "%s/store.db", directory);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 100; i++)
        fputs(text, file);
    fclose(file);
    ck_err(ERR_CORRUPT, try_open(directory));
    says("not a Stint store");
    file = fopen(path, "r");
    ck_assert_uint_eq(fread(back, 1, strlen(text), file), strlen(text));
    ck_assert_str_eq(back, text);
    fclose(file);
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_somebody_elses_database_is_refused_and_left_alone)
{
    char *directory = world_directory();
    tamper(directory, "CREATE TABLE minutes (text)");
    ck_err(ERR_CORRUPT, try_open(directory));
    says("not a Stint store");
    tamper(directory, "INSERT INTO minutes SELECT count(*) FROM sqlite_schema HAVING count(*) = 1;"
                      "CREATE TABLE proof AS SELECT 1 / (SELECT count(*) FROM minutes)");
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_newer_schema_is_refused_with_both_numbers)
{
    char *directory = world_directory(), part[64];
    ck_ok(try_open(directory));
    tamper(directory,
           "INSERT INTO schema_migrations VALUES (999, 'from the future', '', 0, 0, '')");
    ck_err(ERR_NEWER, try_open(directory));
    says("999");
    snprintf(part, sizeof part, "up to %d", newest());
    says(part);
    tamper(directory, "DELETE FROM schema_migrations WHERE version = 999");
    ck_ok(try_open(directory));
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_changed_migration_is_refused_by_its_name)
{
    char *directory = world_directory();
    ck_ok(try_open(directory));
    tamper(directory, "UPDATE schema_migrations SET checksum = 'other' WHERE version = 1");
    ck_err(ERR_CORRUPT, try_open(directory));
    says("0001_first_fleet.sql");
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_truncated_file_is_refused)
{
    char *directory = world_directory(), path[128];
    ck_ok(try_open(directory));
    snprintf(path, sizeof path, "%s/store.db", directory);
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    for (off_t n = status.st_size - 4096; n >= 0; n = n ? n / 3 : -1) {
        ck_assert_int_eq(truncate(path, n), 0);
        err_t err = try_open(directory);
        ck_assert_msg(err == ERR_CORRUPT, "%lld bytes: %s", (long long)n,
                      err ? err_text() : "opened");
    }
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_directory_that_cannot_be_used_is_named)
{
    char *directory = world_directory(), path[128];
    snprintf(path, sizeof path, "%s/file", directory);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_err(ERR_IO, try_open(path));
    says(path);
    snprintf(path, sizeof path, "%s/file/below", directory);
    ck_err(ERR_IO, try_open(path));
    says(path);
    if (geteuid() == 0) {
        printf("skipped: a read-only directory does not stop root\n");
    } else {
        ck_assert_int_eq(chmod(directory, 0500), 0);
        ck_err(ERR_IO, try_open(directory));
        says(directory);
        ck_assert_int_eq(chmod(directory, 0700), 0);
    }
    snprintf(path, sizeof path, "%s/new/deep/down", directory);
    ck_ok(try_open(path));
    world_directory_remove(&directory);
}
END_TEST

/* The child: a committed job, then a turn with another one, and a byte when it is open. */
static void child_turns(const char *directory, int ready)
{
    store_t *store = world_open(directory);
    ck_ok(store_begin(store));
    batch_row_t batch = world_batch(store, world_job(store, "noop", 3), 1000);
    ck_ok(store_commit(store));
    ck_ok(store_begin(store));
    ck_ok(store_mark(store));
    ck_ok(world_done(store, &batch, 1));
    ck_ok(world_end(store, batch.job, JOB_COMPLETED));
    for (int i = 0; i < 3000; i++) /* more than the cache holds: uncommitted pages reach the log */
        world_upload(store, 500, 100, 10);
    ck_ok(store_keep(store));
    if (write(ready, "x", 1) != 1)
        abort();
    pause();
}

START_TEST(test_kill_9_in_a_turn_loses_that_turn_only)
{
    char *directory = world_directory(), byte = 0;
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        child_turns(directory, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    ck_assert_int_eq((int)read(ends[0], &byte, 1), 1);
    ck_err(ERR_BUSY, try_open(directory));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    store_t *store = world_open(directory);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM processing_job"), 1);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM batch WHERE state = 'leased'"), 1);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM chunk"), 0);
    ck_assert_int_eq(
        world_ask(store,
                  "SELECT count(*) = 0 FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
        1);
    ck_assert_uint_eq(world_count(store, "noop", JOB_PROCESSING), 1);
    ck_assert_uint_eq(world_count(store, "noop", JOB_COMPLETED), 0);
    world_counts_hold(store);
    store_close(&store);
    close(ends[0]);
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_unfinished_uploads_are_gone_after_a_restart)
{
    char *directory = world_directory();
    store_t *store = world_open(directory);
    ck_ok(store_begin(store));
    uint64_t kept = world_upload(store, 2500, 1, 10);
    world_upload(store, 2500, 1, 10);
    ck_assert_int_eq(
        sqlite3_exec(store->writer,
                     "UPDATE processing_job SET state = 'receiving' WHERE id = (SELECT max(id)"
                     " FROM processing_job)",
                     NULL, NULL, NULL),
        SQLITE_OK);
    store_count_move(store, world_task(store, "noop"), JOB_PENDING, JOB_RECEIVING);
    ck_ok(store_commit(store));
    job_row_t row;
    ck_err(ERR_NOT_FOUND, store_read_job(store, store->last_id, &row)); /* invisible */
    uint64_t used = store->last_id;
    store_close(&store);
    store = world_open(directory);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM processing_job"), 1);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM chunk"), 2500);
    ck_assert_int_eq(world_ask(store, "SELECT min(id) FROM processing_job"), (int64_t)kept);
    ck_assert_uint_gt(store_next_id(store, 0), used);
    world_counts_hold(store);
    store_close(&store);
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_ids_are_never_used_again)
{
    char *directory = world_directory();
    store_t *store = world_open(directory);
    ck_ok(store_begin(store));
    uint64_t first = world_job(store, "noop", 3);
    uint64_t job = world_job(store, "process_transaction_batch", 3);
    batch_row_t batch = world_batch(store, job, 1000);
    ck_ok(world_done(store, &batch, 1));
    uint64_t highest = store_next_id(store, WALL);
    ck_ok(store_job_finalize(store, job, world_task_of(store, job), highest));
    ck_ok(store_job_cancel(store, job, WALL));
    ck_ok(store_commit(store));
    ck_ok(store_begin(store));
    bool more = true;
    ck_ok(store_job_remove(store, job, 100, &more));
    ck_assert(!more);
    ck_ok(store_commit(store));
    ck_assert_int_eq(
        world_ask(store, "SELECT (SELECT count(*) FROM attempt) + (SELECT count(*) FROM batch)"
                         " + (SELECT count(*) FROM finalize)"),
        0);
    store_close(&store);
    store = world_open(directory);
    ck_assert_int_eq(world_ask(store, "SELECT max(id) FROM processing_job"), (int64_t)first);
    ck_assert_uint_gt(store_next_id(store, 0), highest); /* even with the clock gone back to 1970 */
    uint64_t later = store_next_id(store, WALL + 1000);
    ck_assert_uint_gt(later, highest);
    ck_assert_uint_lt(later, UINT64_C(1) << 53);
    ck_assert_uint_eq(store_next_id(store, WALL), later + 1);
    store_close(&store);
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_the_floor_of_ids_is_rolled_back_with_the_removal)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "noop", 3);
    ck_ok(store_job_cancel(store, job, WALL));
    ck_ok(store_commit(store));
    bool more = false;
    ck_ok(store_begin(store));
    ck_ok(store_mark(store));
    ck_ok(store_job_remove(store, job, 100, &more));
    store_undo(store);
    ck_ok(store_mark(store));
    ck_ok(store_job_remove(store, job, 100, &more));
    ck_ok(store_keep(store));
    ck_ok(store_commit(store));
    ck_ok(store_forget(store));
    ck_assert_uint_gt(store_next_id(store, 0), job);
    store_close(&store);
}
END_TEST

START_TEST(test_full_disk_keeps_nothing_of_the_turn_and_recovers)
{
    char *directory = world_directory();
    store_t *store = world_open(directory);
    ck_ok(store_begin(store));
    uint64_t job = world_job(store, "noop", 3);
    ck_ok(store_commit(store));
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %d",
             (int)world_ask(store, "PRAGMA page_count") + 4);
    world_ask(store, sql);
    ck_ok(store_begin(store));
    char big[8192];
    memset(big, 'x', sizeof big);
    err_t err = ERR_OK;
    int marks = 0;
    for (; !err && marks < 100; marks++) {
        ck_ok(store_mark(store));
        job_new_t new = {.id = store_next_id(store, WALL),
                         .task_id = world_task(store, "noop"),
                         .chunk_items = 100,
                         .batch_items = 100,
                         .params = "{}",
                         .header = "",
                         .created_at = WALL};
        err = store_job_insert(store, &new);
        if (!err)
            err = store_chunk_insert(
                store, &(chunk_new_t){.job = new.id, .items_n = 1, .data = big, .n = sizeof big});
        if (!err)
            ck_ok(store_keep(store));
    }
    ck_assert_int_gt(marks, 1);
    ck_err(ERR_FULL, err);
    store_undo(store);
    if (store_turn_lost(store)) {
        ck_err(ERR_FULL, store_mark(store));
        ck_err(ERR_FULL, store_commit(store));
    } else {
        store_rollback(store);
    }
    ck_assert(!store_in_turn(store));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM processing_job"), 1);
    world_counts_hold(store);
    world_ask(store, "PRAGMA max_page_count = 1000000");
    ck_ok(store_begin(store));
    batch_row_t batch = world_batch(store, job, 1000);
    ck_ok(world_done(store, &batch, 1));
    ck_ok(world_end(store, job, JOB_COMPLETED));
    ck_ok(store_commit(store));
    ck_assert_uint_eq(world_count(store, "noop", JOB_COMPLETED), 1);
    store_close(&store);
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_a_turn_the_database_gave_up_takes_no_statement_any_more)
{
    store_t *store = world_open(NULL);
    ck_ok(store_begin(store));
    ck_ok(store_mark(store));
    world_job(store, "noop", 3);
    ck_assert_int_eq(sqlite3_exec(store->writer, "ROLLBACK", NULL, NULL, NULL),
                     SQLITE_OK); /* as SQLite does */
    store_undo(store);
    ck_assert(store_turn_lost(store));
    job_row_t row;
    ck_assert_int_ne(store_job_get(store, 1, &row), ERR_OK);
    ck_assert_int_ne(store_mark(store), ERR_OK);
    ck_assert_int_ne(store_commit(store), ERR_OK);
    ck_assert(!store_turn_lost(store));
    ck_ok(store_begin(store));
    world_job(store, "noop", 3);
    ck_ok(store_commit(store));
    world_counts_hold(store);
    store_close(&store);
}
END_TEST

START_TEST(test_reserve_is_given_back_and_taken_again)
{
    char *directory = world_directory(), path[128];
    store_t *store = NULL;
    struct stat status;
    ck_ok(store_open(
        &store,
        &(store_options_t){.directory = directory, .wall_at = WALL, .reserve_bytes = 1 << 20}));
    snprintf(path, sizeof path, "%s/reserve", directory);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq((int)status.st_size, 1 << 20);
    ck_assert_int_ge((int)status.st_blocks * 512, 1 << 20);
    store_reserve(store, false);
    ck_assert_int_eq(stat(path, &status), -1);
    store_reserve(store, true);
    ck_assert_int_eq(stat(path, &status), 0);
    store_close(&store);
    world_directory_remove(&directory);
}
END_TEST

START_TEST(test_simulated_restart_backup_and_full_disk_are_those_of_a_real_store)
{
    store_t *store = world_open(NULL);
    uint8_t id[16];
    memcpy(id, store_id(store), 16);
    ck_ok(store_begin(store));
    uint64_t kept = world_job(store, "noop", 3);
    ck_ok(store_commit(store));
    void *bytes = NULL;
    size_t n = 0;
    ck_ok(store_sim_backup(store, &bytes, &n));
    ck_ok(store_begin(store));
    uint64_t lost = world_job(store, "noop", 3);
    ck_ok(store_commit(store));
    ck_ok(store_begin(store));
    world_job(store, "noop", 3);
    ck_ok(store_forget(store));
    ck_assert(!store_in_turn(store));
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM processing_job"), 2);
    store_sim_full(store, true);
    ck_ok(store_begin(store));
    ck_ok(store_job_cancel(store, lost, WALL));
    ck_err(ERR_FULL, store_commit(store));
    uint64_t room = 1, database = 0, log = 0;
    store_space(store, &room, &database, &log);
    ck_assert_uint_eq(room, 0);
    store_sim_full(store, false);
    ck_ok(store_begin(store));
    ck_ok(store_job_cancel(store, lost, WALL));
    ck_ok(store_commit(store));
    ck_ok(store_sim_restore(store, bytes, n));
    free(bytes);
    ck_assert_mem_ne(store_id(store), id, 16);
    ck_assert_int_eq(world_ask(store, "SELECT count(*) FROM processing_job"), 1);
    ck_ok(store_begin(store));
    world_upload(store, 1000, 100, 10);
    ck_ok(store_job_cancel(store, kept, WALL));
    ck_ok(store_commit(store));
    world_counts_hold(store);
    store_close(&store);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {test_the_database_has_the_properties_the_rules_need,
                            test_every_foreign_key_has_an_index,
                            test_second_opener_is_refused_and_told_who_has_it,
                            test_store_id_stays_over_restarts_and_is_new_when_renewed,
                            test_a_file_that_is_no_database_is_refused_and_left_alone,
                            test_somebody_elses_database_is_refused_and_left_alone,
                            test_newer_schema_is_refused_with_both_numbers,
                            test_changed_migration_is_refused_by_its_name,
                            test_truncated_file_is_refused,
                            test_directory_that_cannot_be_used_is_named,
                            test_kill_9_in_a_turn_loses_that_turn_only,
                            test_unfinished_uploads_are_gone_after_a_restart,
                            test_ids_are_never_used_again,
                            test_the_floor_of_ids_is_rolled_back_with_the_removal,
                            test_full_disk_keeps_nothing_of_the_turn_and_recovers,
                            test_a_turn_the_database_gave_up_takes_no_statement_any_more,
                            test_reserve_is_given_back_and_taken_again,
                            test_simulated_restart_backup_and_full_disk_are_those_of_a_real_store};
    return world_main("store_open", tests, sizeof tests / sizeof *tests);
}

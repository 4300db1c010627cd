/* The commands against a fake server: what is sent, what is printed, how it ends. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/cli/cli.h"
#include "tests/support/fake_api.h"

static fake_api_t api;
static char out[65536], errors[65536];
static char directory[64];

#define JOB                                                                                        \
    "{\"job_id\":\"868000000001\",\"task\":\"noop\",\"status\":\"%s\",\"items_total\":20000,"      \
    "\"items_done\":%d,\"items_failed\":0,\"percent\":%d,\"batches\":9,\"rate\":4000.0,"           \
    "\"eta_seconds\":3.0,\"attempts\":9,\"failures\":0,\"lost\":0}"
static char pending[512], processing[512], completed[512], failed[512], cancelled[512];
static const char job_path[] = "/api/v1/batch-jobs/868000000001";

static void setup(void)
{
    snprintf(pending, sizeof pending, JOB, "pending", 0, 0);
    snprintf(processing, sizeof processing, JOB, "processing", 8000, 40);
    snprintf(completed, sizeof completed, JOB, "completed", 20000, 100);
    snprintf(failed, sizeof failed, JOB, "failed", 8000, 40);
    snprintf(cancelled, sizeof cancelled, JOB, "cancelled", 8000, 40);
    snprintf(directory, sizeof directory, "/tmp/stint-cli-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    fake_api_start(&api);
}

static void teardown(void)
{
    static const char *const names[] = {"out", "errors", "input"};
    char path[128];
    fake_api_stop(&api);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

static void slurp(const char *name, char *into, size_t size)
{
    FILE *file = fopen(name, "re");
    ck_assert_ptr_nonnull(file);
    into[fread(into, 1, size - 1, file)] = 0;
    fclose(file);
}

static void give_input(const char *bytes, size_t n)
{
    FILE *file = fopen("input", "we");
    ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

/* Run `stint` with words separated by blanks, in this process, both outputs into files. */
static int stint(const char *line)
{
    char copy[1024], *argv[32] = {"stint"}, *rest = NULL;
    int argc = 1, saved_out = dup(1), saved_errors = dup(2);
    snprintf(copy, sizeof copy, "%s", line);
    for (char *at = strtok_r(copy, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = at;
    }
    setenv("STINT_SERVER", api.url, 1);
    fflush(NULL);
    int to_out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int to_errors = open("errors", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(to_out, 1);
    dup2(to_errors, 2);
    int exit_code = cli_main(argc, argv);
    fflush(NULL);
    dup2(saved_out, 1);
    dup2(saved_errors, 2);
    close(to_out), close(to_errors), close(saved_out), close(saved_errors);
    slurp("out", out, sizeof out);
    slurp("errors", errors, sizeof errors);
    return exit_code;
}

static void printed(const char *where, const char *part)
{
    ck_assert_msg(strstr(where, part) != NULL, "\"%s\" does not say \"%s\"", where, part);
}

START_TEST(test_submit_sends_the_file_and_its_query)
{
    give_input("a,b\n1,2\n", 8);
    fake_api_answer(&api, "/api/v1/batch-jobs/submit", 202, pending);
    ck_assert_int_eq(stint("submit input --type csv --task noop --param x=[1,2] --param y=a&b=c "
                           "--priority -5 --chunk-items 137 --batch-items 200"),
                     0);
    ck_assert_str_eq(out, "Job 868000000001 submitted: 20000 items\n");
    ck_assert_str_eq(api.method, "POST");
    ck_assert_str_eq(api.type, "text/csv");
    ck_assert_str_eq(api.encoding, "");
    ck_assert_str_eq((char *)api.query.data, "task=noop&priority=-5&chunk_items=137&"
                                             "batch_items=200&param.x=[1,2]&param.y=a&b=c&");
    ck_assert_uint_eq(api.body.n, 8);
    ck_assert_int_eq(memcmp(api.body.data, "a,b\n1,2\n", 8), 0);
}
END_TEST

START_TEST(test_standard_input_that_is_gzip_travels_untouched)
{
    static const char bytes[] = "\x1f\x8b\x08 not looked into";
    give_input(bytes, sizeof bytes);
    int saved = dup(0), input = open("input", O_RDONLY);
    dup2(input, 0);
    fake_api_answer(&api, "/api/v1/batch-jobs/submit", 202, pending);
    ck_assert_int_eq(stint("submit - --type ndjson --task noop"), 0);
    dup2(saved, 0);
    close(saved), close(input);
    ck_assert_str_eq(api.encoding, "gzip");
    ck_assert_str_eq(api.type, "application/x-ndjson");
    ck_assert_uint_eq(api.body.n, sizeof bytes);
    ck_assert_int_eq(memcmp(api.body.data, bytes, sizeof bytes), 0);
}
END_TEST

START_TEST(test_refusal_prints_detail_and_errors_escaped)
{
    give_input("[]", 2);
    fake_api_answer(
        &api, "/api/v1/batch-jobs/submit", 422,
        "{\"code\":\"invalid\",\"detail\":\"bad \\u001b[31mthing\",\"errors\":[{\"field\":"
        "\"params.x\",\"detail\":\"unknown\"},{\"line\":7,\"detail\":\"broken\"}]}");
    ck_assert_int_eq(stint("submit input --type json --task noop"), 65);
    ck_assert_str_eq(out, "");
    printed(errors, "stint: bad \\x1b[31mthing\n");
    printed(errors, "  params.x: unknown\n");
    printed(errors, "  line 7: broken\n");
    api.answers[0].body = "{\"code\":\"invalid\",\"detail\":\"once\",\"errors\":[{\"field\":\"x\","
                          "\"detail\":\"once\"}]}";
    ck_assert_int_eq(stint("submit input --type json --task noop"), 65);
    ck_assert_str_eq(errors, "stint: once\n");
}
END_TEST

START_TEST(test_nobody_there_says_how_to_start_one)
{
    char line[128];
    fake_api_stop(&api);
    snprintf(line, sizeof line, "--server %s stats", api.url);
    ck_assert_int_eq(stint(line), 69);
    printed(errors, "no Stint server answers at http://127.0.0.1:");
    printed(errors, "start one with: stint up");
    fake_api_start(&api);
}
END_TEST

START_TEST(test_watch_prints_lines_and_ends_as_the_job_does)
{
    fake_api_answer(&api, job_path, 200, processing);
    fake_api_answer(&api, job_path, 200, completed);
    ck_assert_int_eq(stint("watch 868000000001"), 0);
    printed(out, "processing 40.0 %, 8,000 of 20,000 items, 4,000/s, 3.0 s left\n");
    printed(out, "Job 868000000001 completed");
    ck_assert_ptr_null(strchr(out, '\x1b'));
    ck_assert_int_eq(api.requests_n, 2);
}
END_TEST

START_TEST(test_wait_exits_with_the_fate_of_the_job)
{
    fake_api_answer(&api, job_path, 200, failed);
    ck_assert_int_eq(stint("wait 868000000001"), EXIT_JOB_FAILED);
    api.answers[0].body = cancelled;
    ck_assert_int_eq(stint("wait 868000000001"), EXIT_JOB_CANCELLED);
    api.answers[0].body = completed;
    ck_assert_int_eq(stint("wait 868000000001"), EXIT_JOB_COMPLETED);
}
END_TEST

START_TEST(test_watch_survives_an_api_that_is_away)
{
    fake_api_answer(&api, job_path, 200, processing);
    fake_api_answer(&api, job_path, 503, "{\"code\":\"unavailable\",\"detail\":\"restarting\"}");
    fake_api_answer(&api, job_path, 200, completed);
    ck_assert_int_eq(stint("watch 868000000001"), 0);
    printed(errors, "trying again");
    ck_assert_int_eq(api.requests_n, 3);
}
END_TEST

START_TEST(test_json_prints_the_answer_as_it_came)
{
    fake_api_answer(&api, job_path, 200, processing);
    ck_assert_int_eq(stint("show 868000000001 --json"), 0);
    ck_assert_uint_eq(strlen(out), strlen(processing) + 1);
    ck_assert_int_eq(strncmp(out, processing, strlen(processing)), 0);
}
END_TEST

START_TEST(test_cancel_posts_and_list_filters)
{
    fake_api_answer(&api, "/api/v1/batch-jobs/868000000001/cancel", 200, cancelled);
    ck_assert_int_eq(stint("cancel 868000000001"), 0);
    ck_assert_str_eq(api.method, "POST");
    printed(out, "Job 868000000001 cancelled");
    fake_api_answer(&api, "/api/v1/batch-jobs/", 200, "{\"jobs\":[],\"next_cursor\":null}");
    ck_assert_int_eq(stint("list --status failed --limit 10 --task noop"), 0);
    ck_assert_str_eq((char *)api.query.data, "status=failed&task=noop&limit=10&");
    ck_assert_str_eq(out, "No jobs.\n");
}
END_TEST

START_TEST(test_unknown_job_exits_66_and_conflict_75)
{
    ck_assert_int_eq(stint("show 1"), 66);
    fake_api_answer(&api, "/api/v1/batch-jobs/2/cancel", 409,
                    "{\"code\":\"conflict\",\"detail\":\"it completed\"}");
    ck_assert_int_eq(stint("cancel 2"), 75);
    printed(errors, "it completed");
}
END_TEST

START_TEST(test_what_is_not_an_id_is_never_sent)
{
    ck_assert_int_eq(stint("show ../../x"), 64);
    ck_assert_int_eq(stint("cancel 1?x"), 64);
    ck_assert_int_eq(stint("watch 123456789012345678901"), 64);
    ck_assert_int_eq(api.requests_n, 0);
}
END_TEST

START_TEST(test_an_answer_that_is_not_json_is_named)
{
    fake_api_answer(&api, "/api/v1/workers", 200, "<html>");
    ck_assert_int_eq(stint("workers"), 65);
    printed(errors, "is not JSON");
}
END_TEST

START_TEST(test_help_shows_examples_before_options)
{
    ck_assert_int_eq(stint("help submit"), 0);
    ck_assert_ptr_nonnull(strstr(out, "Examples:"));
    ck_assert_ptr_nonnull(strstr(out, "--chunk-items"));
    ck_assert(strstr(out, "Examples:") < strstr(out, "--chunk-items"));
    ck_assert_int_eq(stint("submit --help"), 0);
    ck_assert_ptr_nonnull(strstr(out, "--chunk-items"));
    ck_assert_int_eq(stint("help"), 0);
    printed(out, "Exit codes:");
    ck_assert_int_eq(stint(""), 64);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("commands");
    TCase *cases = tcase_create("against a fake server");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 30);
    tcase_add_test(cases, test_submit_sends_the_file_and_its_query);
    tcase_add_test(cases, test_standard_input_that_is_gzip_travels_untouched);
    tcase_add_test(cases, test_refusal_prints_detail_and_errors_escaped);
    tcase_add_test(cases, test_nobody_there_says_how_to_start_one);
    tcase_add_test(cases, test_watch_prints_lines_and_ends_as_the_job_does);
    tcase_add_test(cases, test_wait_exits_with_the_fate_of_the_job);
    tcase_add_test(cases, test_watch_survives_an_api_that_is_away);
    tcase_add_test(cases, test_json_prints_the_answer_as_it_came);
    tcase_add_test(cases, test_cancel_posts_and_list_filters);
    tcase_add_test(cases, test_unknown_job_exits_66_and_conflict_75);
    tcase_add_test(cases, test_what_is_not_an_id_is_never_sent);
    tcase_add_test(cases, test_an_answer_that_is_not_json_is_named);
    tcase_add_test(cases, test_help_shows_examples_before_options);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures != 0;
}

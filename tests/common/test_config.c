#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/config.h"

static config_t config;
static char path[64];

static void clean(void)
{
    config = (config_t){0};
    unsetenv("STINT_HEARTBEAT");
    unsetenv("STINT_SLOTS");
    snprintf(path, sizeof path, "/tmp/stint-config-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void put_away(void)
{
    config_free(&config);
    unlink(path);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

#define LOAD(role, ...) load(role, (char *[]){"stint", __VA_ARGS__ __VA_OPT__(, ) NULL})

static err_t load(char role, char **argv)
{
    int argc = 0;
    while (argv[argc]) {
        argc++;
    }
    config_next_t next = CONFIG_EXIT;
    config_free(&config);
    err_t err = config_load(&config, &next, role, argc, argv);
    if (!err) {
        ck_assert_int_eq(next, CONFIG_RUN);
    }
    return err;
}

static void refused(err_t err, err_t expected, const char *part)
{
    ck_assert_int_eq(err, expected);
    ck_assert_msg(strstr(err_text(), part), "\"%s\" does not say \"%s\"", err_text(), part);
}

START_TEST(test_defaults_are_the_rows_of_the_table)
{
    ck_assert_int_eq(LOAD('W'), ERR_OK);
    ck_assert_int_eq(config.heartbeat, 1000);
    ck_assert_int_eq(config.slots, 1);
    ck_assert_int_eq(config.brokers.n, 1); /* where a broker of the defaults listens */
    ck_assert_str_eq(config.brokers.items[0], "tcp://127.0.0.1:7602");
    ck_assert(!config.insecure);
    char host[65] = "", state[96];
    ck_assert_int_eq(gethostname(host, sizeof host - 1), 0);
    ck_assert_str_eq(config.name, host); /* a worker's name outlives its process */
    snprintf(state, sizeof state, "stint-worker-%s", host);
    ck_assert_str_eq(config.state, state);
    ck_assert_int_eq(config_log_level(&config), LOG_INFO);
    ck_assert_int_eq(LOAD('A'), ERR_OK);
    ck_assert_int_eq(config.reserve, 8 << 20);
    ck_assert_int_eq(config.max_upload, 4LL << 30);
}
END_TEST

START_TEST(test_flags_take_both_forms_and_dashes)
{
    ck_assert_int_eq(LOAD('W', "--log-level=warn", "--target_duration", "5s", "--insecure",
                          "--brokers", " tcp://a:1, tcp://b:2 ", "--test-tasks", "false"),
                     ERR_OK);
    ck_assert_int_eq(config_log_level(&config), LOG_WARN);
    ck_assert_int_eq(config.target_duration, 5000);
    ck_assert(config.insecure && !config.test_tasks);
    ck_assert_int_eq(config.brokers.n, 2);
    ck_assert_str_eq(config.brokers.items[0], "tcp://a:1");
    ck_assert_str_eq(config.brokers.items[1], "tcp://b:2");
}
END_TEST

START_TEST(test_flag_wins_over_environment_over_file_over_default)
{
    write_file("# a comment\n\n heartbeat = 40 \nslots=3\nrate = 5/10s\nlisten = elsewhere\n");
    setenv("STINT_HEARTBEAT", "2s", 1);
    setenv("STINT_SLOTS", "4", 1);
    ck_assert_int_eq(LOAD('W', "--config", path, "--slots", "5"), ERR_OK);
    ck_assert_int_eq(config.slots, 5);
    ck_assert_int_eq(config.heartbeat, 2000);
    ck_assert_str_eq(config.rate, "5/10s");
    ck_assert_str_eq(config.listen, "127.0.0.1:8000");
}
END_TEST

START_TEST(test_suffixes_of_durations_and_bytes)
{
    ck_assert_int_eq(LOAD('W', "--drain=2m", "--heartbeat", "50ms", "--result-space=8M"), ERR_OK);
    ck_assert_int_eq(config.drain, 120000);
    ck_assert_int_eq(config.heartbeat, 50);
    ck_assert_int_eq(config.result_space, 8 << 20);
    refused(LOAD('W', "--drain=2K"), ERR_CONFIG, "--drain: drain = \"2K\" is not valid: expected");
    refused(LOAD('W', "--result-space=5s"), ERR_CONFIG, "bytes (or 64K");
    refused(LOAD('W', "--slots=1s"), ERR_CONFIG, "a number from 1 to 256");
    refused(LOAD('A', "--max-upload=9223372036854775807G"), ERR_CONFIG, "max_upload");
}
END_TEST

START_TEST(test_what_is_out_of_bounds_names_key_value_source_and_bounds)
{
    refused(LOAD('W', "--slots", "257"), ERR_CONFIG,
            "--slots: slots = \"257\" is not valid: expected a number from 1 to 256");
    setenv("STINT_SLOTS", "many", 1);
    refused(LOAD('W'), ERR_CONFIG, "STINT_SLOTS: slots = \"many\"");
    unsetenv("STINT_SLOTS");
    write_file("drain = 1s\n\nheartbeat = 9\n");
    char expected[128];
    snprintf(expected, sizeof expected, "%s:3: heartbeat = \"9\"", path);
    refused(LOAD('W', "--config", path), ERR_CONFIG, expected);
    refused(LOAD('W', "--slots= 1"), ERR_CONFIG, "\" 1\"");
    refused(LOAD('W', "--slots=+1"), ERR_CONFIG, "\"+1\"");
    refused(LOAD('W', "--slots="), ERR_CONFIG, "\"\"");
    refused(LOAD('W', "--brokers=a,,b"), ERR_CONFIG, "0 to 16 texts");
    refused(LOAD('W', "--insecure=yes"), ERR_CONFIG, "true or false");
    refused(LOAD('W', "--log-level=loud"), ERR_CONFIG, "debug, info, warn, error");
    refused(LOAD('W', "--name=a,b"), ERR_CONFIG, "name = \"a,b\"");
    refused(LOAD('W', "--name=../x"), ERR_CONFIG, "printable ASCII");
    ck_assert_int_eq(err_exit(ERR_CONFIG), 78);
}
END_TEST

START_TEST(test_unknown_names_are_refused_with_the_nearest)
{
    refused(LOAD('W', "--slot", "1"), ERR_CONFIG, "unknown setting \"slot\"; nearest is slots");
    refused(LOAD('W', "--zzzzzzzzzz", "1"), ERR_CONFIG, "--help lists all");
    refused(LOAD('W', "--listen", "x"), ERR_CONFIG, "unknown setting \"listen\"");
    write_file("hartbeat = 1\n");
    refused(LOAD('W', "--config", path), ERR_CONFIG,
            ":1: unknown setting \"hartbeat\"; nearest is "
            "heartbeat");
}
END_TEST

START_TEST(test_broken_command_lines_and_files_are_refused)
{
    refused(LOAD('W', "slots"), ERR_USAGE, "\"slots\" is not a flag");
    refused(LOAD('W', "--"), ERR_USAGE, "not a flag");
    refused(LOAD('W', "--slots"), ERR_USAGE, "--slots needs a value");
    refused(LOAD('W', "--config"), ERR_USAGE, "--config needs a value");
    refused(LOAD('W', "--slots=1", "--slots=2"), ERR_CONFIG, "slots is set twice");
    refused(LOAD('W', "--config", "/nowhere/file"), ERR_CONFIG, "/nowhere/file: No such file");
    write_file("slots 3\n");
    refused(LOAD('W', "--config", path), ERR_CONFIG, ":1: expected \"key = value\"");
    write_file("slots = 1\nslots = 2\n");
    refused(LOAD('W', "--config", path), ERR_CONFIG, ":2: slots is set twice");
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 10000; i++) {
        fputc('a', file);
    }
    fclose(file);
    refused(LOAD('W', "--config", path), ERR_CONFIG, ":1: a line of over");
    /* What a power cut makes of a file: zeros, which must not pass for a file without settings. */
    write_file("slots = 1\n");
    ck_assert_int_eq(truncate(path, 20), 0);
    refused(LOAD('W', "--config", path), ERR_CONFIG, ":2: a zero byte");
    ck_assert_int_eq(err_exit(ERR_USAGE), 64);
}
END_TEST

static size_t printed(char role, const char *flag, char *out, size_t size)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[1]);
    config_next_t next = CONFIG_RUN;
    config_t unused;
    char *argv[] = {"stint", "--no-such", (char *)(uintptr_t)flag, NULL};
    err_t err = config_load(&unused, &next, role, 3, argv);
    dup2(before, STDOUT_FILENO);
    close(before);
    size_t n = 0;
    ssize_t got;
    while ((got = read(ends[0], out + n, size - 1 - n)) > 0) {
        n += (size_t)got;
    }
    close(ends[0]);
    out[n] = 0;
    ck_assert_int_eq(err, ERR_OK);
    ck_assert_int_eq(next, CONFIG_EXIT);
    return n;
}

START_TEST(test_help_names_settings_of_the_role_only)
{
    static char text[60000];
    printed('B', "--help", text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "--frontend (text, default \"tcp://127.0.0.1:7601\""));
    ck_assert_ptr_nonnull(strstr(text, "STINT_FRONTEND"));
    ck_assert_ptr_null(strstr(text, "--listen"));
    printed('B', "--version", text, sizeof text);
    ck_assert_str_eq(text, "stint-broker " STINT_VERSION "\n");
    printed('A', "--help-markdown", text, sizeof text);
    ck_assert_ptr_nonnull(
        strstr(text, "| `--test-duplicate` | `STINT_TEST_DUPLICATE` | broker, worker | flag |"));
    ck_assert_ptr_nonnull(strstr(text, "| `--max-items` |"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tests = tcase_create("config");
    tcase_add_checked_fixture(tests, clean, put_away);
    tcase_add_test(tests, test_defaults_are_the_rows_of_the_table);
    tcase_add_test(tests, test_flags_take_both_forms_and_dashes);
    tcase_add_test(tests, test_flag_wins_over_environment_over_file_over_default);
    tcase_add_test(tests, test_suffixes_of_durations_and_bytes);
    tcase_add_test(tests, test_what_is_out_of_bounds_names_key_value_source_and_bounds);
    tcase_add_test(tests, test_unknown_names_are_refused_with_the_nearest);
    tcase_add_test(tests, test_broken_command_lines_and_files_are_refused);
    tcase_add_test(tests, test_help_names_settings_of_the_role_only);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

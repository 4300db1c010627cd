/* The rules of the supervisor, the command line's table and what a file's name says. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/arguments.h"
#include "api/cli/submit.h"
#include "api/cli/supervise.h"

START_TEST(test_first_death_restarts_at_once_then_backs_off_to_five_seconds)
{
    static const int64_t expected[] = {0, 200, 400, 800, 1600, 3200, 5000, 5000};
    int deaths_n = 0;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_int_eq(supervise_delay(&deaths_n, 50), expected[i]);
    }
    ck_assert_int_eq(supervise_delay(&deaths_n, SUPERVISE_CALM_MS), 0);
    ck_assert_int_eq(supervise_delay(&deaths_n, 50), 200);
}
END_TEST

START_TEST(test_configuration_and_usage_errors_stop_the_fleet)
{
    supervise_end_t end = {.role = ROLE_WORKER, .exit_code = 78, .was_ready = true};
    ck_assert_int_eq(supervise_verdict(&end), 78);
    end.exit_code = 64;
    ck_assert_int_eq(supervise_verdict(&end), 64);
    end.exit_code = 70;
    ck_assert_int_eq(supervise_verdict(&end), 0);
    end.exit_code = -1;
    end.deaths_n = 1000;
    ck_assert_int_eq(supervise_verdict(&end), 0);
}
END_TEST

START_TEST(test_a_fleet_that_never_got_ready_gives_up)
{
    supervise_end_t end = {.role = ROLE_API, .exit_code = 75};
    ck_assert_int_eq(supervise_verdict(&end), 75);
    end.role = ROLE_BROKER;
    ck_assert_int_eq(supervise_verdict(&end), 0);
    end.deaths_n = SUPERVISE_DEATHS_MAX;
    ck_assert_int_eq(supervise_verdict(&end), 70);
}
END_TEST

START_TEST(test_ready_line_gives_the_address)
{
    char url[64] = "old";
    ck_assert(supervise_ready_url(
        "ts=1 level=info proc=\"api\" event=api.ready url=http://127.0.0.1:4242 store=x", url,
        sizeof url));
    ck_assert_str_eq(url, "http://127.0.0.1:4242");
    ck_assert(supervise_ready_url("event=api.ready store=x url=\"http://[::1]:1\"", url, 64));
    ck_assert_str_eq(url, "http://[::1]:1");
    ck_assert(!supervise_ready_url("event=api.readying url=http://x", url, 64));
    ck_assert(!supervise_ready_url("event=api.ready", url, 64));
    ck_assert(!supervise_ready_url("event=api.ready url=http://127.0.0.1:1", url, 8));
    ck_assert_str_eq(url, "http://[::1]:1");
}
END_TEST

static char lines[64][16];
static size_t lengths[64];
static int lines_n;

static void keep(void *context, const char *line, size_t n)
{
    ck_assert_ptr_eq(context, lines);
    ck_assert_uint_eq(strlen(line), n);
    strncpy(lines[lines_n], line, 15);
    lengths[lines_n++] = n;
}

START_TEST(test_lines_are_the_same_wherever_the_stream_is_cut)
{
    static const char stream[] = "one\n\nthree\nfour";
    for (size_t cut = 0; cut < sizeof stream; cut++) {
        buffer_t pending = {0};
        lines_n = 0;
        supervise_lines(&pending, stream, cut, keep, lines);
        supervise_lines(&pending, stream + cut, sizeof stream - 1 - cut, keep, lines);
        ck_assert_int_eq(lines_n, 3);
        ck_assert_str_eq(lines[0], "one");
        ck_assert_str_eq(lines[1], "");
        ck_assert_str_eq(lines[2], "three");
        ck_assert_uint_eq(pending.n, 4);
        buffer_free(&pending);
    }
}
END_TEST

START_TEST(test_endless_line_is_given_in_pieces)
{
    size_t n = 2 * SUPERVISE_LINE_MAX + 100;
    char *stream = malloc(n);
    memset(stream, 'x', n);
    stream[n - 1] = '\n';
    buffer_t pending = {0};
    lines_n = 0;
    supervise_lines(&pending, stream, n, keep, lines);
    ck_assert_int_eq(lines_n, 3);
    ck_assert_uint_eq(lengths[0], SUPERVISE_LINE_MAX);
    ck_assert_uint_eq(lengths[0] + lengths[1] + lengths[2], n - 1);
    buffer_free(&pending);
    free(stream);
}
END_TEST

static void has_pair(const fleet_arguments_t *arguments, const char *name, const char *value)
{
    for (int i = 0; i + 1 < arguments->n; i++) {
        if (strcmp(arguments->items[i], name) == 0) {
            ck_assert_str_eq(arguments->items[i + 1], value);
            return;
        }
    }
    ck_abort_msg("%s is missing", name);
}

START_TEST(test_each_role_gets_its_own_ends_of_the_brokers)
{
    fleet_t fleet = {.data = "d",
                     .listen = "127.0.0.1:0",
                     .rate = "off",
                     .workers = 2,
                     .slots = 3,
                     .frontends = "tcp://a:1,tcp://a:3",
                     .backends = "tcp://0.0.0.0:2,tcp://0.0.0.0:4",
                     .reach = "tcp://a:2,tcp://a:4",
                     .keys = "d/keys",
                     .test_tasks = true};
    fleet_arguments_t made;
    fleet_arguments(&made, &fleet, ROLE_BROKER, 2);
    has_pair(&made, "--frontend", "tcp://a:3");
    has_pair(&made, "--backend", "tcp://0.0.0.0:4");
    has_pair(&made, "--keys", "d/keys");
    fleet_arguments_free(&made);
    fleet_arguments(&made, &fleet, ROLE_WORKER, 2);
    ck_assert_str_eq(made.items[0], "stint-worker");
    has_pair(&made, "--name", "w2");
    has_pair(&made, "--brokers", "tcp://a:2,tcp://a:4");
    has_pair(&made, "--state", "d/workers/w2");
    has_pair(&made, "--rate", "off");
    has_pair(&made, "--slots", "3");
    has_pair(&made, "--key", "d/keys/w2.key");
    has_pair(&made, "--test-tasks", "true");
    fleet_arguments_free(&made);
    fleet_arguments(&made, &fleet, ROLE_API, 1);
    has_pair(&made, "--brokers", "tcp://a:1,tcp://a:3");
    has_pair(&made, "--data", "d/store");
    has_pair(&made, "--key", "d/keys/api.key");
    has_pair(&made, "--listen", "127.0.0.1:0");
    fleet_arguments_free(&made);
}
END_TEST

/* -- the command line
 * ------------------------------------------------------------------------------ */

static const option_t globals[] = {{"server", OPTION_TEXT, 0, 0, "URL", ""},
                                   {"json", OPTION_FLAG, 0, 0, "", ""},
                                   {"help", OPTION_FLAG, 0, 0, "", ""},
                                   {0}};
static const option_t options[] = {{"param", OPTION_PAIR, 0, 0, "NAME=VALUE", ""},
                                   {"task", OPTION_TEXT, 0, 0, "NAME", ""},
                                   {"priority", OPTION_NUMBER, -100, 100, "N", ""},
                                   {0}};
static const command_t commands[] = {
    {"submit", "FILE", 1, 1, "", "", options, NULL}, {"list", "", 0, 0, "", "", NULL, NULL}, {0}};

static err_t parse(arguments_t *out, const char *line)
{
    static char copy[512];
    static char *argv[32];
    char *rest = NULL;
    int argc = 1;
    strncpy(copy, line, sizeof copy - 1);
    argv[0] = (char[]){"stint"};
    for (char *at = strtok_r(copy, " ", &rest); at; at = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = at;
    }
    return arguments_parse(out, commands, globals, argc, argv);
}

static void refused(const char *line, const char *part)
{
    arguments_t arguments;
    ck_assert_int_eq(parse(&arguments, line), ERR_USAGE);
    ck_assert_msg(strstr(err_text(), part) != NULL, "\"%s\" does not say \"%s\"", err_text(), part);
    arguments_free(&arguments);
}

START_TEST(test_options_stand_anywhere_and_take_both_forms)
{
    arguments_t got;
    ck_assert_int_eq(parse(&got, "--server=http://x --json submit --task noop - --priority -7"),
                     ERR_OK);
    ck_assert_str_eq(got.command->name, "submit");
    ck_assert_str_eq(arguments_text(&got, "server"), "http://x");
    ck_assert_str_eq(arguments_text(&got, "task"), "noop");
    ck_assert_str_eq(got.operands[0], "-");
    ck_assert_int_eq(arguments_number(&got, "priority", 0), -7);
    ck_assert(arguments_flag(&got, "json"));
    arguments_free(&got);
    ck_assert_int_eq(parse(&got, "submit -- --odd-name"), ERR_OK);
    ck_assert_str_eq(got.operands[0], "--odd-name");
    arguments_free(&got);
}
END_TEST

START_TEST(test_typing_mistakes_are_named)
{
    refused("sumbit x", "did you mean submit?");
    refused("submit x --tsak noop", "did you mean --task?");
    refused("submit x --priority 101", "-100..100");
    refused("submit x --priority +1", "--priority");
    refused("submit x --priority 1x", "--priority");
    refused("submit x --task", "needs a value");
    refused("submit x --task a --task b", "twice");
    refused("submit x --param novalue", "NAME=VALUE");
    refused("submit x --param =v", "NAME=VALUE");
    refused("submit x y", "does not take \"y\"");
    refused("submit", "needs FILE");
    refused("list --json=1", "takes no value");
    refused("list --task noop", "does not know --task");
    refused("-x list", "does not know -x");
}
END_TEST

START_TEST(test_media_type_follows_the_name_unless_it_is_said)
{
    const char *media = NULL;
    const char *encoding = "x";
    ck_assert_int_eq(submit_media("a.CSV", NULL, &media, &encoding), ERR_OK);
    ck_assert_str_eq(media, "text/csv");
    ck_assert_ptr_null(encoding);
    ck_assert_int_eq(submit_media("a.jsonl.gz", NULL, &media, &encoding), ERR_OK);
    ck_assert_str_eq(media, "application/x-ndjson");
    ck_assert_str_eq(encoding, "gzip");
    ck_assert_int_eq(submit_media("a.csv.zst", NULL, &media, &encoding), ERR_OK);
    ck_assert_str_eq(encoding, "zstd");
    ck_assert_str_eq(media, "text/csv");
    ck_assert_int_eq(submit_media("a.jsonl.gz", NULL, &media, &encoding), ERR_OK);
    ck_assert_int_eq(submit_media("a.csv.gz", "json", &media, &encoding), ERR_OK);
    ck_assert_str_eq(media, "application/json");
    ck_assert_int_eq(submit_media("a.txt", NULL, &media, &encoding), ERR_USAGE);
    ck_assert_int_eq(submit_media("-", NULL, &media, &encoding), ERR_USAGE);
    ck_assert_int_eq(submit_media("a.csv", "xml", &media, &encoding), ERR_USAGE);
    ck_assert_str_eq(media, "application/json");
}
END_TEST

START_TEST(test_query_is_encoded)
{
    arguments_t got;
    buffer_t path = {0};
    ck_assert_int_eq(parse(&got, "submit f --task a&b --param x=[1] --param n=1=2%"), ERR_OK);
    ck_assert_int_eq(submit_path(&path, &got), ERR_OK);
    ck_assert_str_eq((char *)path.data, "/api/v1/batch-jobs/submit?task=a%26b&param.x=%5B1%5D&"
                                        "param.n=1%3D2%25");
    arguments_free(&got);
    buffer_free(&path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("supervise");
    TCase *cases = tcase_create("rules");
    tcase_add_test(cases, test_first_death_restarts_at_once_then_backs_off_to_five_seconds);
    tcase_add_test(cases, test_configuration_and_usage_errors_stop_the_fleet);
    tcase_add_test(cases, test_a_fleet_that_never_got_ready_gives_up);
    tcase_add_test(cases, test_ready_line_gives_the_address);
    tcase_add_test(cases, test_lines_are_the_same_wherever_the_stream_is_cut);
    tcase_add_test(cases, test_endless_line_is_given_in_pieces);
    tcase_add_test(cases, test_each_role_gets_its_own_ends_of_the_brokers);
    tcase_add_test(cases, test_options_stand_anywhere_and_take_both_forms);
    tcase_add_test(cases, test_typing_mistakes_are_named);
    tcase_add_test(cases, test_media_type_follows_the_name_unless_it_is_said);
    tcase_add_test(cases, test_query_is_encoded);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures != 0;
}

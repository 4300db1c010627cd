/* A command line, one argument a line, read by a table like those of stint and stint-migrate. */
#include "common/arguments.h"
#include "tests/fuzz/fuzz.h"

enum { ARGUMENTS_N = 24 };

static const option_t globals[] = {{"server", OPTION_TEXT, 0, 0, "URL", "where"},
                                   {"json", OPTION_FLAG, 0, 0, "", "as JSON"},
                                   {"help", OPTION_FLAG, 0, 0, "", "help"},
                                   {0}};
static const option_t submit[] = {{"task", OPTION_TEXT, 0, 0, "NAME", "the task"},
                                  {"param", OPTION_PAIR, 0, 0, "NAME=VALUE", "a parameter"},
                                  {"priority", OPTION_NUMBER, -100, 100, "N", "priority"},
                                  {"watch", OPTION_FLAG, 0, 0, "", "wait"},
                                  {0}};
static const command_t commands[] = {{"submit", "FILE", 1, 1, "send", "submit f", submit, NULL},
                                     {"diff", "A B", 1, 2, "compare", "diff a b", NULL, NULL},
                                     {"list", "", 0, 0, "all", "list", NULL, NULL},
                                     {0}};

static bool was_given(const char *text, char **argv, int argc)
{
    for (int i = 1; i < argc; i++) {
        size_t n = strlen(argv[i]);
        /* The value stands behind '=' or is an argument of its own: borrowed, never copied. */
        if (text >= argv[i] && text <= argv[i] + n) {
            return true;
        }
    }
    return false;
}

static void check(const arguments_t *arguments, char **argv, int argc)
{
    for (int i = 0; i < arguments->settings_n; i++) {
        const setting_t *setting = &arguments->settings[i];
        const option_t *option = setting->option;
        FUZZ_CHECK(option->kind == OPTION_FLAG || was_given(setting->value, argv, argc),
                   "--%s has a value that nobody gave", option->name);
        FUZZ_CHECK(option->kind != OPTION_PAIR || strchr(setting->value, '='), "--%s %s",
                   option->name, setting->value);
        if (option->kind == OPTION_NUMBER) {
            int64_t number = arguments_number(arguments, option->name, 4711);
            FUZZ_CHECK(number >= option->low && number <= option->high, "--%s %lld", option->name,
                       (long long)number);
        }
        for (int k = 0; k < i; k++) {
            FUZZ_CHECK(arguments->settings[k].option != option || option->kind == OPTION_PAIR ||
                           option->kind == OPTION_FLAG,
                       "--%s twice", option->name);
        }
    }
    const command_t *command = arguments->command;
    if (command && !arguments_flag(arguments, "help")) {
        FUZZ_CHECK(arguments->operands_n >= command->operands_min &&
                       arguments->operands_n <= command->operands_max,
                   "%s has %d operands", command->name, arguments->operands_n);
    }
}

void fuzz_arguments(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    char *argv[ARGUMENTS_N + 1] = {strdup("/usr/bin/stint")};
    int argc = 1;
    while (feed_left(&feed) > 0 && argc < ARGUMENTS_N) {
        argv[argc++] = feed_text(&feed, '\n');
    }
    arguments_t arguments = {0};
    err_t err = arguments_parse(&arguments, commands, globals, argc, argv);
    FUZZ_CHECK(!err || (err == ERR_USAGE && err_text()[0]), "error %s", err_code(err));
    if (!err) {
        check(&arguments, argv, argc);
    }
    FUZZ_CHECK(arguments.operands_n <= ARGUMENTS_OPERANDS_MAX, "too many operands");
    (void)arguments_text(&arguments, "server");
    (void)arguments_flag(&arguments, "json");
    arguments_free(&arguments);
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
}

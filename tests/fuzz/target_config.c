/* Settings from a file, the environment and flags. First byte: the program. Lines: those that
 * begin with '-' are arguments, with '$' variables (NAME=VALUE behind it), the rest is the file.
 * What is taken keeps the bounds of config.def, and the precedence. */
#include "common/config.h"

#include <ctype.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/buffer.h"
#include "tests/fuzz/fuzz.h"

enum { ARGUMENTS_N = 16, VARIABLES_N = 16 };

static void check_text(const char *name, const char *text, int64_t low, int64_t high)
{
    /* Empty: filled in from the process. */
    FUZZ_CHECK(text && (int64_t)strlen(text) >= low &&
                   ((int64_t)strlen(text) <= high || strcmp(name, "state") == 0),
               "%s = \"%s\"", name, text ? text : "NULL");
}

static void check_number(const char *name, int64_t n, int64_t low, int64_t high)
{
    FUZZ_CHECK(n >= low && n <= high, "%s = %lld", name, (long long)n);
}

static void check_list(const char *name, config_list_t list, int64_t low, int64_t high)
{
    FUZZ_CHECK(list.n >= low && list.n <= high, "%s has %d", name, list.n);
    for (int i = 0; i < list.n; i++) {
        FUZZ_CHECK(list.items[i][0] && !strchr(list.items[i], ','), "an element of %s", name);
    }
}

static void check_bounds(const config_t *config, char role)
{
#define KIND_TEXT(name, low, high)   check_text(#name, config->name, low, high);
#define KIND_NUMBER(name, low, high) check_number(#name, config->name, low, high);
#define KIND_MS                      KIND_NUMBER
#define KIND_BYTES                   KIND_NUMBER
#define KIND_FLAG(name, low, high)
#define KIND_LIST(name, low, high) check_list(#name, config->name, low, high);
#define CONFIG(roles, name, KIND, fallback, low, high, help)                                       \
    if (strchr(roles, role)) {                                                                     \
        KIND_##KIND(name, low, high)                                                               \
    }
#include "schema/config.def"
#undef CONFIG
    FUZZ_CHECK(config->name[0] && !strpbrk(config->name, " ,/"), "name = \"%s\"", config->name);
    (void)config_log_level(config);
}

/* One variable with the same name as a flag: the flag wins. */
static void check_precedence(char role, const char *file)
{
    char program[] = "stint", flag[] = "--heartbeat=2s", from[] = "--config", path[64];
    snprintf(path, sizeof path, "%s", file);
    char *argv[] = {program, flag, from, path, NULL};
    config_t config = {0};
    config_next_t next;
    if (!config_load(&config, &next, role, 4, argv)) {
        FUZZ_CHECK(config.heartbeat == 2000, "a flag does not win");
        config_free(&config);
    }
}

void fuzz_config(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    char role = "ABWS"[feed_byte(&feed) & 3];
    char *argv[ARGUMENTS_N + 4] = {strdup("stint")};
    char *variables[VARIABLES_N];
    int argc = 1, variables_n = 0, file = memfd_create("config", 0);
    FUZZ_CHECK(file >= 0, "memfd_create");
    bool print = false;
    while (feed_left(&feed) > 0) {
        const uint8_t *stop = memchr(feed.at, '\n', feed_left(&feed));
        size_t length = stop ? (size_t)(stop - feed.at) : feed_left(&feed);
        char *line = strndup((const char *)feed.at, length);
        char *equals = strchr(line, '=');
        if (line[0] == '-') {
            /* It must not open files of this machine, nor print. */
            print = strcmp(line, "--help") == 0 || strcmp(line, "--help-markdown") == 0 ||
                    strcmp(line, "--version") == 0 || strncmp(line, "--config", 8) == 0;
            if (argc <= ARGUMENTS_N && !print) {
                argv[argc++] = line;
                line = NULL;
            }
        } else if (strncmp(line, "$STINT_", 7) == 0 && equals && variables_n < VARIABLES_N) {
            *equals = 0;
            setenv(line + 1, equals + 1, 1);
            variables[variables_n++] = line;
            line = NULL;
        } else if (write(file, feed.at, length + (stop != NULL)) < 0) {
            FUZZ_CHECK(false, "write");
        }
        free(line);
        feed.at += length + (stop != NULL);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    argv[argc++] = strdup("--config");
    argv[argc++] = strdup(path);
    config_t config = {0};
    config_next_t next = CONFIG_EXIT;
    err_t err = config_load(&config, &next, role, argc, argv);
    if (err) {
        FUZZ_CHECK((err == ERR_CONFIG || err == ERR_USAGE) && err_text()[0], "%s", err_code(err));
        FUZZ_CHECK(!config.name, "an error left something");
    } else {
        FUZZ_CHECK(next == CONFIG_RUN, "it would end");
        check_bounds(&config, role);
        config_free(&config);
    }
    check_precedence(role, path);
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    for (int i = 0; i < variables_n; i++) {
        unsetenv(variables[i] + 1);
        free(variables[i]);
    }
    close(file);
}

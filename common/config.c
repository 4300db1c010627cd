/* One table made of schema/config.def drives flags, environment, file, bounds, --help and the
 * reference. */
#include "common/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/task_table.h"

typedef enum { KIND_TEXT, KIND_NUMBER, KIND_MS, KIND_BYTES, KIND_FLAG, KIND_LIST } kind_t;

typedef struct {
    const char *roles, *name;
    kind_t kind;
    const char *fallback;
    int64_t low, high;
    const char *help;
    size_t offset;
} setting_t;

static const setting_t settings[] = {
#define CONFIG(roles, name, KIND, fallback, low, high, help)                                       \
    {roles, #name, KIND_##KIND, fallback, low, high, help, offsetof(config_t, name)},
#include "schema/config.def"
#undef CONFIG
};
enum { SETTINGS_N = sizeof settings / sizeof settings[0], LINE_MAX_N = 8192 };

static const char *const kind_names[] = {"text", "number", "duration", "bytes", "flag", "list"};

/* Where a value came from decides who wins. */
enum { FROM_FALLBACK, FROM_FILE, FROM_ENVIRONMENT, FROM_FLAG };

typedef struct {
    config_t *out;
    char role;
    uint8_t from[SETTINGS_N];
} loading_t;

static void *value_of(const config_t *config, const setting_t *setting)
{
    return (char *)(uintptr_t)config + setting->offset;
}

static void dashed(char out[64], const char *name)
{
    snprintf(out, 64, "%s", name);
    for (char *at = out; *at; at++) {
        *at = *at == '_' ? '-' : *at;
    }
}

static void shouted(char out[64], const char *name)
{
    snprintf(out, 64, "STINT_%s", name);
    for (char *at = out; *at; at++) {
        *at = (char)toupper((unsigned char)*at);
    }
}

/* -- values
 * -------------------------------------------------------------------------------------------- */

static const struct {
    kind_t kind;
    const char *suffix;
    int64_t factor;
} suffixes[] = {
    {KIND_MS, "ms", 1},         {KIND_MS, "s", 1000},          {KIND_MS, "m", 60000},
    {KIND_MS, "h", 3600000},    {KIND_MS, "d", 86400000},      {KIND_BYTES, "K", 1024},
    {KIND_BYTES, "M", 1048576}, {KIND_BYTES, "G", 1073741824}, {KIND_BYTES, "T", 1099511627776},
};

static bool parse_number(kind_t kind, const char *text, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    /* strtoll skips spaces and takes a plus: neither is a number of ours. */
    if (end == text || errno || !(isdigit((unsigned char)text[0]) || text[0] == '-')) {
        return false;
    }
    int64_t factor = *end ? 0 : 1;
    for (size_t i = 0; *end && i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (suffixes[i].kind == kind && strcmp(suffixes[i].suffix, end) == 0) {
            factor = suffixes[i].factor;
        }
    }
    return factor && !__builtin_mul_overflow((int64_t)number, factor, out);
}

static void free_list(config_list_t *list)
{
    for (int i = 0; i < list->n; i++) {
        free(list->items[i]);
    }
    free(list->items);
    *list = (config_list_t){0};
}

static bool parse_list(const char *text, config_list_t *out)
{
    config_list_t list = {0};
    for (const char *at = text; *text; at++) {
        size_t n = strcspn(at, ",");
        const char *first = at, *last = at + n;
        while (first < last && isspace((unsigned char)*first)) {
            first++;
        }
        while (last > first && isspace((unsigned char)last[-1])) {
            last--;
        }
        if (first == last) {
            free_list(&list);
            return false;
        }
        list.items = mem_grow(list.items, ((size_t)list.n + 1) * sizeof *list.items);
        list.items[list.n++] = mem_text_n(first, (size_t)(last - first));
        at += n;
        if (!*at) {
            break;
        }
    }
    *out = list;
    return true;
}

static err_t refuse(const setting_t *setting, const char *text, const char *source)
{
    static const char *const expected[] = {"a text of %" PRId64 " to %" PRId64 " bytes",
                                           "a number from %" PRId64 " to %" PRId64,
                                           "milliseconds (or 5s, 10m, 2h, 1d) from %" PRId64
                                           " to %" PRId64,
                                           "bytes (or 64K, 8M, 1G) from %" PRId64 " to %" PRId64,
                                           "true or false",
                                           "%" PRId64 " to %" PRId64 " texts with commas between"};
    char bounds[128];
    snprintf(bounds, sizeof bounds, expected[setting->kind], setting->low, setting->high);
    return err_set(ERR_CONFIG, "%s: %s = \"%.200s\" is not valid: expected %s", source,
                   setting->name, text, bounds);
}

static bool in_bounds(const setting_t *setting, int64_t n)
{
    return n >= setting->low && n <= setting->high;
}

/* Parse into the struct, freeing what stood there. */
static err_t set_value(config_t *out, const setting_t *setting, const char *text,
                       const char *source)
{
    void *value = value_of(out, setting);
    int64_t number = 0;
    config_list_t list = {0};
    switch (setting->kind) {
    case KIND_TEXT:
        if (!in_bounds(setting, (int64_t)strlen(text))) {
            return refuse(setting, text, source);
        }
        free(*(char **)value);
        *(char **)value = mem_text(text);
        return ERR_OK;
    case KIND_FLAG:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return refuse(setting, text, source);
        }
        *(bool *)value = text[0] == 't';
        return ERR_OK;
    case KIND_LIST:
        if (!parse_list(text, &list) || !in_bounds(setting, list.n)) {
            free_list(&list);
            return refuse(setting, text, source);
        }
        free_list(value);
        *(config_list_t *)value = list;
        return ERR_OK;
    case KIND_NUMBER:
    case KIND_MS:
    case KIND_BYTES:
    default:
        if (!parse_number(setting->kind, text, &number) || !in_bounds(setting, number)) {
            return refuse(setting, text, source);
        }
        *(int64_t *)value = number;
        return ERR_OK;
    }
}

/* -- names
 * --------------------------------------------------------------------------------------------- */

static bool is_for(const setting_t *setting, char role)
{
    return strchr(setting->roles, role) != NULL;
}

static const setting_t *find(const char *name)
{
    for (int i = 0; i < SETTINGS_N; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

static err_t unknown(const loading_t *loading, const char *name, const char *source)
{
    const char *names[SETTINGS_N];
    int n = 0;
    for (int i = 0; i < SETTINGS_N; i++) {
        if (is_for(&settings[i], loading->role)) {
            names[n++] = settings[i].name;
        }
    }
    const char *near = nearest_name(name, names, n);
    return near ? err_set(ERR_CONFIG, "%s: unknown setting \"%.80s\"; nearest is %s", source, name,
                          near)
                : err_set(ERR_CONFIG, "%s: unknown setting \"%.80s\"; --help lists all", source,
                          name);
}

static err_t assign(loading_t *loading, const setting_t *setting, const char *text, int from,
                    const char *source)
{
    uint8_t *held = &loading->from[setting - settings];
    if (from < *held) {
        return ERR_OK;
    }
    if (from == *held && from != FROM_FALLBACK) {
        return err_set(ERR_CONFIG, "%s: %s is set twice", source, setting->name);
    }
    err_t err = set_value(loading->out, setting, text, source);
    *held = (uint8_t)from;
    return err;
}

/* -- sources
 * ------------------------------------------------------------------------------------------- */

static char *trim(char *text)
{
    while (isspace((unsigned char)*text)) {
        text++;
    }
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1])) {
        text[--n] = 0;
    }
    return text;
}

static err_t take_line(loading_t *loading, char *line, const char *source)
{
    char *key = trim(line);
    if (!*key || *key == '#') {
        return ERR_OK;
    }
    char *equals = strchr(key, '=');
    if (!equals) {
        return err_set(ERR_CONFIG, "%s: expected \"key = value\", found \"%.80s\"", source, key);
    }
    *equals = 0;
    key = trim(key);
    const setting_t *setting = find(key);
    if (!setting) {
        return unknown(loading, key, source);
    }
    /* One file may serve all programs of a host: what belongs to another is its business. */
    return is_for(setting, loading->role)
               ? assign(loading, setting, trim(equals + 1), FROM_FILE, source)
               : ERR_OK;
}

static err_t load_file(loading_t *loading, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return err_set(ERR_CONFIG, "--config %s: %s", path, strerror(errno));
    }
    char source[PATH_MAX + 16];
    err_t err = ERR_OK;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    errno = 0;
    for (int n = 1; !err && (bytes = getline(&line, &capacity, file)) >= 0; n++) {
        snprintf(source, sizeof source, "%s:%d", path, n);
        if (bytes > LINE_MAX_N) {
            err = err_set(ERR_CONFIG, "%s: a line of over %d bytes", source, LINE_MAX_N);
        } else if (strlen(line) != (size_t)bytes) {
            err = err_set(ERR_CONFIG, "%s: a zero byte: this is no text", source);
        } else {
            err = take_line(loading, line, source);
        }
    }
    if (!err && ferror(file)) {
        err = err_set(ERR_CONFIG, "--config %s: %s", path, strerror(errno));
    }
    free(line);
    fclose(file);
    return err;
}

/* Variables no row knows are left alone: container platforms put their own STINT_... beside ours.
 */
static err_t load_environment(loading_t *loading)
{
    for (int i = 0; i < SETTINGS_N; i++) {
        char name[64];
        shouted(name, settings[i].name);
        const char *text = is_for(&settings[i], loading->role) ? getenv(name) : NULL;
        err_t err = text ? assign(loading, &settings[i], text, FROM_ENVIRONMENT, name) : ERR_OK;
        if (err) {
            return err;
        }
    }
    return ERR_OK;
}

typedef struct {
    char name[64]; /* with underscores */
    char source[72];
    const char *text; /* behind '=', or NULL */
} flag_t;

static err_t cut_flag(const char *argument, flag_t *out)
{
    size_t n = strcspn(argument, "=");
    if (strncmp(argument, "--", 2) != 0 || n == 2 || n - 2 >= sizeof out->name) {
        return err_set(ERR_USAGE, "\"%.80s\" is not a flag; --help lists all", argument);
    }
    memcpy(out->name, argument + 2, n - 2);
    out->name[n - 2] = 0;
    snprintf(out->source, sizeof out->source, "--%s", out->name);
    for (char *at = out->name; *at; at++) {
        *at = *at == '-' ? '_' : *at;
    }
    out->text = argument[n] ? argument + n + 1 : NULL;
    return ERR_OK;
}

static bool is_truth(const char *text)
{
    return text && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0);
}

static err_t load_flags(loading_t *loading, int argc, char **argv, const char **file)
{
    for (int i = 1; i < argc; i++) {
        flag_t flag;
        err_t err = cut_flag(argv[i], &flag);
        if (err) {
            return err;
        }
        bool is_file = strcmp(flag.name, "config") == 0;
        const setting_t *setting = find(flag.name);
        if (!is_file && (!setting || !is_for(setting, loading->role))) {
            return unknown(loading, flag.name, flag.source);
        }
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (!flag.text && !is_file && setting->kind == KIND_FLAG && !is_truth(next)) {
            flag.text = "true";
        } else if (!flag.text) {
            if (!next) {
                return err_set(ERR_USAGE, "%s needs a value", flag.source);
            }
            flag.text = next;
            i++;
        }
        if (is_file) {
            *file = flag.text;
        } else if ((err = assign(loading, setting, flag.text, FROM_FLAG, flag.source))) {
            return err;
        }
    }
    return ERR_OK;
}

/* -- what is printed
 * ----------------------------------------------------------------------------------- */

static const char *program_of(char role)
{
    return role == 'A' ? "api" : role == 'B' ? "broker" : role == 'W' ? "worker" : "scheduler";
}

static void bounds_text(char out[64], const setting_t *setting)
{
    if (setting->kind == KIND_FLAG) {
        snprintf(out, 64, "true, false");
    } else {
        snprintf(out, 64, "%" PRId64 "..%" PRId64 "%s", setting->low, setting->high,
                 setting->kind == KIND_TEXT   ? " bytes"
                 : setting->kind == KIND_LIST ? " texts"
                                              : "");
    }
}

static void print_help(char role)
{
    printf(
        "stint-%s %s\n\nUsage: stint-%s [--config FILE] [--setting value]...\n\n"
        "A flag wins over the environment, that over the file (lines `key = value`, # comments),\n"
        "that over the default. --version prints the version, --help-markdown the reference.\n",
        program_of(role), STINT_VERSION, program_of(role));
    for (int i = 0; i < SETTINGS_N; i++) {
        const setting_t *setting = &settings[i];
        if (is_for(setting, role)) {
            char flag[64], variable[64], bounds[64];
            dashed(flag, setting->name);
            shouted(variable, setting->name);
            bounds_text(bounds, setting);
            printf("\n  --%s (%s, default \"%s\", %s, %s)\n      %s\n", flag,
                   kind_names[setting->kind], setting->fallback, bounds, variable, setting->help);
        }
    }
}

static void print_markdown(void)
{
    printf("# Configuration\n\nMade from `schema/config.def` by `make docs`; do not edit.\n\n"
           "A flag wins over the environment, that over the file of `--config FILE` (lines "
           "`key = value`, the key as the flag with underscores, `#` comments), that over the "
           "default. Durations are milliseconds or `5s`, `10m`, `2h`, `1d`; bytes take `64K`, "
           "`8M`, `1G`. What is unknown, unparsable or out of bounds ends the program with exit "
           "code 78 and a sentence naming it.\n\n"
           "| flag | environment | programs | kind | default | bounds | meaning |\n"
           "| --- | --- | --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < SETTINGS_N; i++) {
        const setting_t *setting = &settings[i];
        char flag[64], variable[64], bounds[64], programs[64] = "";
        dashed(flag, setting->name);
        shouted(variable, setting->name);
        bounds_text(bounds, setting);
        for (const char *role = setting->roles; *role; role++) {
            size_t used = strlen(programs);
            snprintf(programs + used, sizeof programs - used, "%s%s", used ? ", " : "",
                     program_of(*role));
        }
        printf("| `--%s` | `%s` | %s | %s | %s%s%s | %s | %s |\n", flag, variable, programs,
               kind_names[setting->kind], setting->fallback[0] ? "`" : "", setting->fallback,
               setting->fallback[0] ? "`" : "", bounds, setting->help);
    }
}

static bool print_instead(char role, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(role);
        } else if (strcmp(argv[i], "--help-markdown") == 0) {
            print_markdown();
        } else if (strcmp(argv[i], "--version") == 0) {
            printf("stint-%s %s\n", program_of(role), STINT_VERSION);
        } else {
            continue;
        }
        fflush(stdout);
        return true;
    }
    return false;
}

/* -- loading
 * ------------------------------------------------------------------------------------------- */

static int level_of(const char *text)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

log_level_t config_log_level(const config_t *self)
{
    return (log_level_t)level_of(self->log_level);
}

/* A worker's name must outlive its process, or its rate limit would not: the host's. Two on one
 * host are told so by the lock. */
static void default_name(config_t *config, char role)
{
    buffer_t name = {0};
    char host[65] = "";
    if (role == 'W' && gethostname(host, sizeof host - 1) == 0 && host[0]) {
        buffer_printf(&name, "%s", host);
    } else {
        buffer_printf(&name, "%s-%d", program_of(role), (int)getpid());
    }
    free(config->name);
    config->name = (char *)name.data;
}

/* Defaults that depend on the process, and checks that bounds cannot say. */
static err_t finish(config_t *config, char role)
{
    if (level_of(config->log_level) < 0) {
        return err_set(ERR_CONFIG, "log_level = \"%s\" is not one of debug, info, warn, error",
                       config->log_level);
    }
    if (!*config->name) {
        default_name(config, role);
    }
    if (config->brokers.n == 0 && role != 'B') {
        config->brokers.items = mem_grow(config->brokers.items, sizeof *config->brokers.items);
        config->brokers.items[0] =
            mem_text(role == 'W' ? "tcp://127.0.0.1:7602" : "tcp://127.0.0.1:7601");
        config->brokers.n = 1;
    }
    for (const char *at = config->name; *at; at++) {
        /* It becomes a part of lists on the wire and of the worker's directory. */
        if (*at <= ' ' || *at > '~' || *at == ',' || *at == '/') {
            return err_set(ERR_CONFIG,
                           "name = \"%s\" must be printable ASCII without space, ',' and '/'",
                           config->name);
        }
    }
    if (role == 'W' && !*config->state) {
        buffer_t state = {0};
        buffer_printf(&state, "stint-worker-%s", config->name);
        free(config->state);
        config->state = (char *)state.data;
    }
    return ERR_OK;
}

err_t config_load(config_t *out, config_next_t *next, char role, int argc, char **argv)
{
    if (print_instead(role, argc, argv)) {
        *out = (config_t){0};
        *next = CONFIG_EXIT;
        return ERR_OK;
    }
    config_t config = {0};
    loading_t loading = {.out = &config, .role = role};
    const char *file = NULL;
    err_t err = ERR_OK;
    for (int i = 0; !err && i < SETTINGS_N; i++) {
        err = set_value(&config, &settings[i], settings[i].fallback, "default");
    }
    err = err ? err : load_flags(&loading, argc, argv, &file);
    err = err ? err : load_environment(&loading);
    err = err || !file ? err : load_file(&loading, file);
    err = err ? err : finish(&config, role);
    if (err) {
        config_free(&config);
        return err;
    }
    *out = config;
    *next = CONFIG_RUN;
    return ERR_OK;
}

void config_free(config_t *self)
{
    for (int i = 0; i < SETTINGS_N; i++) {
        if (settings[i].kind == KIND_TEXT) {
            free(*(char **)value_of(self, &settings[i]));
        } else if (settings[i].kind == KIND_LIST) {
            free_list(value_of(self, &settings[i]));
        }
    }
    *self = (config_t){0};
}

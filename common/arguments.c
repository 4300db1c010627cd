#include "common/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/task_table.h"

enum { NAMES_MAX = 64 };

const command_t *arguments_command(const command_t *commands, const char *name)
{
    for (const command_t *command = commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static const option_t *find_option(const option_t *options, const char *name, size_t n)
{
    for (const option_t *option = options; option && option->name; option++) {
        if (strlen(option->name) == n && memcmp(option->name, name, n) == 0) {
            return option;
        }
    }
    return NULL;
}

static err_t unknown_option(const arguments_t *self, const option_t *globals, const char *argument)
{
    const char *names[NAMES_MAX];
    int n = 0;
    const option_t *lists[] = {globals, self->command ? self->command->options : NULL};
    for (int i = 0; i < 2; i++) {
        for (const option_t *at = lists[i]; at && at->name && n < NAMES_MAX; at++) {
            names[n++] = at->name;
        }
    }
    const char *near = nearest_name(argument + 2, names, n);
    char alone[64];
    snprintf(alone, sizeof alone, "%.40s without a command", self->program);
    const char *where = self->command ? self->command->name : alone;
    return near ? err_set(ERR_USAGE, "%s does not know %.80s; did you mean --%s?", where, argument,
                          near)
                : err_set(ERR_USAGE, "%s does not know %.80s", where, argument);
}

static err_t unknown_command(const arguments_t *self, const command_t *commands, const char *name)
{
    const char *names[NAMES_MAX];
    int n = 0;
    for (const command_t *at = commands; at->name && n < NAMES_MAX; at++) {
        names[n++] = at->name;
    }
    const char *near = nearest_name(name, names, n);
    return near ? err_set(ERR_USAGE, "there is no command \"%.80s\"; did you mean %s?", name, near)
                : err_set(ERR_USAGE, "there is no command \"%.80s\"; `%.40s help` lists all", name,
                          self->program);
}

static bool parse_number(const char *text, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    /* strtoll takes blanks and a plus sign: those are typing mistakes here. */
    if (errno || end == text || *end || !strchr("-0123456789", text[0])) {
        return false;
    }
    *out = number;
    return true;
}

static err_t check_value(const option_t *option, const char *value)
{
    int64_t number = 0;
    if (option->kind == OPTION_NUMBER &&
        (!parse_number(value, &number) || number < option->low || number > option->high)) {
        return err_set(ERR_USAGE,
                       "--%s is \"%.80s\", but must be a number in %" PRId64 "..%" PRId64,
                       option->name, value, option->low, option->high);
    }
    if (option->kind == OPTION_PAIR && (!strchr(value, '=') || value[0] == '=')) {
        return err_set(ERR_USAGE, "--%s is \"%.80s\", but must be NAME=VALUE", option->name, value);
    }
    return ERR_OK;
}

/* Takes "--name", "--name value" or "--name=value"; *i moves on by what was used. */
static err_t take_option(arguments_t *self, const option_t *globals, int argc, char **argv, int *i)
{
    const char *argument = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i];
    const char *equals = strchr(argument, '=');
    size_t n = strncmp(argument, "--", 2) == 0
                   ? (equals ? (size_t)(equals - argument) : strlen(argument)) - 2
                   : 0;
    const option_t *option = n ? find_option(globals, argument + 2, n) : NULL;
    if (n && !option && self->command) {
        option = find_option(self->command->options, argument + 2, n);
    }
    if (!option) {
        return unknown_option(self, globals, argument);
    }
    const char *value = equals ? equals + 1 : "";
    if (option->kind == OPTION_FLAG && equals) {
        return err_set(ERR_USAGE, "--%s takes no value", option->name);
    }
    if (option->kind != OPTION_FLAG && !equals) {
        if (*i + 1 >= argc) {
            return err_set(ERR_USAGE, "--%s needs a value: %s", option->name, option->metavar);
        }
        value = argv[++*i];
    }
    if (option->kind != OPTION_PAIR && option->kind != OPTION_FLAG &&
        arguments_text(self, option->name)) {
        return err_set(ERR_USAGE, "--%s is given twice", option->name);
    }
    err_t err = check_value(option, value);
    if (err) {
        return err;
    }
    self->settings[self->settings_n++] = (setting_t){.option = option, .value = value};
    return ERR_OK;
}

static err_t take_operand(arguments_t *self, const command_t *commands, const char *argument)
{
    if (!self->command) {
        self->command = arguments_command(commands, argument);
        return self->command ? ERR_OK : unknown_command(self, commands, argument);
    }
    if (self->operands_n >= self->command->operands_max ||
        self->operands_n >= ARGUMENTS_OPERANDS_MAX) {
        return err_set(ERR_USAGE, "%s does not take \"%.80s\"", self->command->name, argument);
    }
    self->operands[self->operands_n++] = argument;
    return ERR_OK;
}

err_t arguments_parse(arguments_t *out, const command_t *commands, const option_t *globals,
                      int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    *out = (arguments_t){.program = slash      ? slash + 1
                                    : argc > 0 ? argv[0]
                                               : "",
                         .settings = mem_zero((size_t)(argc + 1) * sizeof(setting_t))};
    bool options_over = false;
    for (int i = 1; i < argc; i++) {
        /* "-1" is a number, "-" standard input. */
        bool is_option =
            !options_over && argv[i][0] == '-' && argv[i][1] && !strchr("0123456789", argv[i][1]);
        err_t err;
        if (is_option && strcmp(argv[i], "--") == 0) {
            options_over = true;
            continue;
        }
        err = is_option ? take_option(out, globals, argc, argv, &i)
                        : take_operand(out, commands, argv[i]);
        if (err) {
            return err;
        }
    }
    if (out->command && out->operands_n < out->command->operands_min &&
        !arguments_flag(out, "help")) {
        return err_set(ERR_USAGE, "%s needs %s", out->command->name, out->command->operands);
    }
    return ERR_OK;
}

void arguments_free(arguments_t *self)
{
    free(self->settings);
    *self = (arguments_t){0};
}

const char *arguments_text(const arguments_t *self, const char *name)
{
    for (int i = 0; i < self->settings_n; i++) {
        if (strcmp(self->settings[i].option->name, name) == 0) {
            return self->settings[i].value;
        }
    }
    return NULL;
}

bool arguments_flag(const arguments_t *self, const char *name)
{
    return arguments_text(self, name) != NULL;
}

int64_t arguments_number(const arguments_t *self, const char *name, int64_t fallback)
{
    const char *value = arguments_text(self, name);
    int64_t number = fallback;
    return value && parse_number(value, &number) ? number : fallback;
}

void arguments_print_options(FILE *to, const option_t *options)
{
    for (const option_t *at = options; at && at->name; at++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", at->name, *at->metavar ? " " : "", at->metavar);
        fprintf(to, "  %-26s %s\n", left, at->help);
    }
}

void arguments_print_commands(FILE *to, const command_t *commands)
{
    int width = 16;
    for (const command_t *at = commands; at->name; at++) {
        int n = (int)(strlen(at->name) + strlen(at->operands)) + 1;
        width = n > width ? n : width;
    }
    for (const command_t *at = commands; at->name; at++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", at->name, at->operands);
        fprintf(to, "  %-*s %s\n", width, left, at->help);
    }
}

void arguments_print_command(FILE *to, const char *program, const command_t *command,
                             const option_t *globals)
{
    /* Examples first: most readers need nothing else. */
    fprintf(to, "%s: %s\n\nExamples:\n  ", command->name, command->help);
    for (const char *at = command->examples; *at; at++) {
        fputs(*at == '\n' ? "\n  " : (char[]){*at, 0}, to);
    }
    fprintf(to, "\n\nUsage: %s %s%s%s [options]\n", program, command->name,
            *command->operands ? " " : "", command->operands);
    arguments_print_options(to, command->options);
    fputs("\nEverywhere:\n", to);
    arguments_print_options(to, globals);
}

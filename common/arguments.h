/* arguments: the command line as a table reads it.
 *
 * Lives here: parsing of options and operands against command_t rows, bounds included, and the help
 * those rows make. Not here: which commands there are (command.c of stint and of stint-migrate),
 * what they do. */
#ifndef STINT_COMMON_ARGUMENTS_H
#define STINT_COMMON_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

typedef enum { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER, OPTION_PAIR } option_kind_t;

/* OPTION_NUMBER is a whole number in low..high. OPTION_PAIR is NAME=VALUE and may be repeated, a
 * flag too (to no effect); any other may be given once. A row without a name ends a list. */
typedef struct {
    const char *name;
    option_kind_t kind;
    int64_t low, high;
    const char *metavar, *help;
} option_t;

/* Each program's own: what its commands are given. */
typedef struct cli cli_t;

typedef struct {
    const char *name, *operands; /* operands as shown: "FILE", "JOB", "" */
    int operands_min, operands_max;
    const char *help, *examples; /* examples: one a line */
    const option_t *options;
    int (*run)(cli_t *cli); /* returns the exit code */
} command_t;

enum { ARGUMENTS_OPERANDS_MAX = 3 };

typedef struct {
    const option_t *option;
    const char *value; /* "" for a flag; borrowed from argv */
} setting_t;

typedef struct {
    const char *program;      /* the last part of argv[0] */
    const command_t *command; /* NULL: none was named */
    const char *operands[ARGUMENTS_OPERANDS_MAX];
    int operands_n;
    setting_t *settings;
    int settings_n;
} arguments_t;

/* Options of `globals` are taken before and after the command's name. "--" ends the options, "-"
 * and "-1" are operands. ERR_USAGE names the argument, and the nearest name where one is unknown.
 * The number of operands is not checked if "--help" was given. On an error the parsed part is still
 * there (for
 * --json, --no-color); arguments_free in every case. */
CHECKED err_t arguments_parse(arguments_t *out, const command_t *commands, const option_t *globals,
                              int argc, char **argv);
void arguments_free(arguments_t *self);

/* Value of an option, NULL if it was not given. */
const char *arguments_text(const arguments_t *self, const char *name);
bool arguments_flag(const arguments_t *self, const char *name);
int64_t arguments_number(const arguments_t *self, const char *name, int64_t fallback);
/* NULL if there is no such command. */
const command_t *arguments_command(const command_t *commands, const char *name);

/* Help: a list of options, the list of commands, one command with its examples first. */
void arguments_print_options(FILE *to, const option_t *options);
void arguments_print_commands(FILE *to, const command_t *commands);
void arguments_print_command(FILE *to, const char *program, const command_t *command,
                             const option_t *globals);

#endif

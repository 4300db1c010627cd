/* config: the only room that reads flags, the environment and the configuration file.
 *
 * Lives here: one struct made of the rows of schema/config.def, its loading, bounds, --help and the
 * generated reference. What is unknown, unparsable or out of range gives ERR_CONFIG (exit 78)
 * naming key, value, source (flag, environment, file:line) and bounds, and for an unknown key the
 * nearest name. */
#ifndef STINT_COMMON_CONFIG_H
#define STINT_COMMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/log.h"

typedef struct {
    char **items;
    int n;
} config_list_t;

#define CONFIG_TYPE_TEXT   char *
#define CONFIG_TYPE_NUMBER int64_t
#define CONFIG_TYPE_MS     int64_t
#define CONFIG_TYPE_BYTES  int64_t
#define CONFIG_TYPE_FLAG   bool
#define CONFIG_TYPE_LIST   config_list_t

typedef struct {
#define CONFIG(roles, name, KIND, fallback, low, high, help) CONFIG_TYPE_##KIND name;
#include "schema/config.def"
#undef CONFIG
} config_t;

typedef enum { CONFIG_RUN, CONFIG_EXIT } config_next_t;

/* `role` is 'A', 'B', 'W' or 'S'. --help, --version and --help-markdown print to stdout and give
 * CONFIG_EXIT. On CONFIG_RUN an empty name is filled in ("worker-4711"), and a worker's empty state
 * directory from it. */
CHECKED err_t config_load(config_t *out, config_next_t *next, char role, int argc, char **argv);
void config_free(config_t *self);
/* The row log_level, for log_open. */
log_level_t config_log_level(const config_t *self);

#endif

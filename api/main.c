/* main of stint-api: configuration, log, the glue; exit status by sysexits. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "common/buffer.h"
#include "common/log.h"

int main(int argc, char **argv)
{
    config_t config;
    config_next_t next;
    json_set_alloc_funcs(mem_alloc, free); /* or what finds no memory would pass for absent */
    err_t err = config_load(&config, &next, 'A', argc, argv);
    if (err) {
        fprintf(stderr, "stint-api: %s\n", err_text());
        return err_exit(err);
    }
    if (next == CONFIG_EXIT) {
        return 0;
    }
    log_open(config.name, config_log_level(&config));
    err = api_run(&config);
    if (err) {
        log_error("api.failed", "error=%s detail=\"%s\"", err_code(err), err_text());
    }
    config_free(&config);
    return err_exit(err);
}

/* stint-worker: reads the configuration, runs until SIGTERM and the end of what runs. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/buffer.h"
#include "common/log.h"
#include "worker/worker.h"

int main(int argc, char **argv)
{
    config_t config;
    config_next_t next;
    json_set_alloc_funcs(mem_alloc, free); /* or what finds no memory would pass for absent */
    err_t err = config_load(&config, &next, 'W', argc, argv);
    if (err) {
        fprintf(stderr, "stint-worker: %s\n", err_text());
        return err_exit(err);
    }
    if (next == CONFIG_EXIT) {
        return 0;
    }
    log_open(config.name, config_log_level(&config));
    int exit_code = 0;
    err = worker_run(&config, &exit_code);
    if (err) {
        log_error("worker.failed", "error=%s detail=\"%s\"", err_code(err), err_text());
        exit_code = err_exit(err);
    }
    config_free(&config);
    return exit_code;
}

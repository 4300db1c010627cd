/* stint-broker: reads the configuration, binds, routes until SIGTERM. It has nothing to save:
 * stopping is instant. SIGHUP writes the counters to the log and reads the keys anew. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "broker/broker.h"
#include "common/endpoint.h"
#include "common/config.h"
#include "common/descriptors.h"
#include "common/log.h"

enum { DESCRIPTORS_MIN = 32 };

typedef struct {
    loop_t *loop;
    broker_t *broker;
} program_t;

static void on_signal(void *context, int number)
{
    program_t *program = context;
    if (number == SIGTERM || number == SIGINT) {
        loop_stop(program->loop, 0);
    } else if (number == SIGHUP) {
        broker_log_counters(program->broker);
        broker_reload_keys(program->broker);
    }
}

static err_t check_reach(const config_t *config)
{
    const char *const endpoints[] = {config->frontend, config->backend};
    for (int i = 0; i < 2; i++) {
        if (!endpoint_is_one(endpoints[i])) {
            return err_set(ERR_CONFIG,
                           "%s = \"%s\" is no endpoint: it must be like tcp://127.0.0.1:7601",
                           i == 0 ? "frontend" : "backend", endpoints[i]);
        }
    }
    for (int i = 0; i < 2 && !config->insecure && !*config->keys; i++) {
        if (!endpoint_is_loopback(endpoints[i])) {
            return err_set(
                ERR_CONFIG,
                "%s = \"%s\" is reachable from other machines, and its messages are "
                "neither encrypted nor authenticated: make keys (`stint keys init`) and "
                "give their directory with --keys, or use tcp://127.0.0.1:PORT, or, in a "
                "network you trust, --insecure true",
                i == 0 ? "frontend" : "backend", endpoints[i]);
        }
    }
    return ERR_OK;
}

static err_t serve(const config_t *config, int *exit_code)
{
    broker_settings_t settings = {
        .frontend = config->frontend,
        .backend = config->backend,
        .keys = config->keys,
        .core = {.heartbeat_ms = config->heartbeat, .test_duplicate = config->test_duplicate}};
    err_t err = check_reach(config);
    if (err) {
        return err;
    }
    if (getrandom(settings.core.incarnation, WIRE_PEER_N, 0) != WIRE_PEER_N) {
        return err_set(ERR_INTERNAL, "the system gives no random bytes");
    }
    err = descriptors_raise(DESCRIPTORS_MIN);
    if (err) {
        return err;
    }
    /* Large blocks go back to the system when they are freed: what strangers make libzmq hold for
     * the three seconds of a handshake is not kept. */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    program_t program = {.loop = loop_new()};
    err = broker_open(&program.broker, program.loop, &settings);
    if (!err) {
        log_info("broker.ready", "frontend=%s backend=%s keys=%s",
                 broker_endpoint(program.broker, BROKER_FRONTEND),
                 broker_endpoint(program.broker, BROKER_BACKEND),
                 *config->keys ? config->keys : "none");
        loop_on_signal(program.loop, on_signal, &program);
        *exit_code = loop_run(program.loop);
        broker_log_counters(program.broker);
        log_info("broker.stopped", "exit=%d", *exit_code);
    }
    broker_destroy(&program.broker);
    loop_destroy(&program.loop);
    link_shutdown();
    return err;
}

int main(int argc, char **argv)
{
    config_t config;
    config_next_t next;
    int exit_code = 0;
    err_t err = config_load(&config, &next, 'B', argc, argv);
    if (!err && next == CONFIG_EXIT) {
        return 0;
    }
    if (!err) {
        log_open(config.name, config_log_level(&config));
        err = serve(&config, &exit_code);
        config_free(&config);
    }
    if (err) {
        fprintf(stderr, "stint-broker: %s\n", err_text());
        return err_exit(err);
    }
    return exit_code;
}

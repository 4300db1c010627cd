/* `stint up`: a whole fleet on this machine, from the first broker to the last goodbye.
 *
 * The phases: brokers are started and listen; api, schedulers and workers follow; the fleet is
 * ready when the api is healthy and has heard of every worker; a signal or a final failure stops
 * it, role by role in the order of role_t. */
#include "api/cli/up.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/cli/process.h"
#include "api/cli/reading.h"
#include "common/clock.h"
#include "common/keys.h"
#include "common/wire.h"

enum { TICK_MS = 50, STOP_MS = 70000, REMIND_MS = 15000, PORT_CONFLICTS_MAX = 5 };

/* -- stopping
 * ---------------------------------------------------------------------------------------- */

static void stop_step(up_t *self)
{
    while (self->stopping < ROLES_N && fleet_running(self, self->stopping) == 0) {
        self->stopping = (role_t)(self->stopping + 1);
        if (self->stopping < ROLES_N) {
            fleet_signal(self, SIGTERM, self->stopping);
        }
    }
    if (self->stopping == ROLES_N) {
        loop_stop(self->loop, self->exit_code);
    }
}

static void begin_stop(up_t *self, int exit_code)
{
    if (self->phase == UP_STOPPING) {
        return;
    }
    self->phase = UP_STOPPING;
    self->exit_code = exit_code;
    self->stopping = (role_t)0;
    self->kill_at_ms = clock_now_ms() + STOP_MS;
    for (int i = 0; i < self->processes_n; i++) {
        loop_timer_disarm(self->processes[i].restart);
    }
    loop_timer_arm(self->tick, self->kill_at_ms);
    fleet_signal(self, SIGTERM, self->stopping);
    stop_step(self);
}

static void on_signal(void *context, int signal_number)
{
    up_t *self = context;
    if (signal_number == SIGCHLD) {
        fleet_reap(self);
    } else if (self->phase == UP_STOPPING) {
        up_say(self, "second signal: killing all");
        fleet_kill(self);
    } else {
        up_say(self, "stopping; once more kills at once");
        begin_stop(self, 0);
    }
}

/* -- brokers and their ports
 * ------------------------------------------------------------------------- */

/* "ADDRESS:PORT" of --backend, for broker 0, 1, ...: as bound, and as reached from here. */
static void open_backend(const up_t *self, int i, char bound[300], char reached[300])
{
    const char *colon = strrchr(self->backend, ':');
    int host_n = (int)(colon - self->backend), port = atoi(colon + 1) + i;
    bool any = strncmp(self->backend, "0.0.0.0", (size_t)host_n) == 0;
    snprintf(bound, 300, "tcp://%.*s:%d", host_n, self->backend, port);
    snprintf(reached, 300, "tcp://%.*s:%d", any ? 9 : host_n, any ? "127.0.0.1" : self->backend,
             port);
}

static void append(char *list, size_t size, const char *endpoint)
{
    size_t n = strlen(list);
    snprintf(list + n, size - n, "%s%s", n ? "," : "", endpoint);
}

static err_t choose_ports(up_t *self)
{
    int n = self->fleet.brokers;
    err_t err = process_free_ports(self->ports, 2 * n);
    self->frontends[0] = self->backends[0] = self->reach[0] = 0;
    for (int i = 0; i < n && !err; i++) {
        char bound[300], reached[300];
        snprintf(bound, sizeof bound, "tcp://127.0.0.1:%d", self->ports[2 * i]);
        append(self->frontends, sizeof self->frontends, bound);
        if (self->backend[0]) {
            open_backend(self, i, bound, reached);
            err = process_check_listen(bound + strlen("tcp://"));
        } else {
            snprintf(bound, sizeof bound, "tcp://127.0.0.1:%d", self->ports[2 * i + 1]);
            memcpy(reached, bound, sizeof reached);
        }
        append(self->backends, sizeof self->backends, bound);
        append(self->reach, sizeof self->reach, reached);
    }
    return err;
}

static err_t start_role(up_t *self, role_t role)
{
    err_t err = ERR_OK;
    for (int i = 0; i < self->processes_n && !err; i++) {
        if (self->processes[i].role == role && !self->processes[i].pid) {
            err = fleet_start(&self->processes[i]);
        }
    }
    return err;
}

/* Somebody took a port between our look and the broker's bind. Nobody else has been told the
 * addresses yet, so all brokers get new ones. */
static void retry_ports(up_t *self, process_t *process)
{
    if (process->deaths_n > PORT_CONFLICTS_MAX) {
        up_say(self, "the brokers find no free ports");
        begin_stop(self, err_exit(ERR_BUSY));
        return;
    }
    process->deaths_n++;
    fleet_signal(self, SIGKILL, ROLE_BROKER);
    if (fleet_running(self, ROLE_BROKER) == 0 &&
        (choose_ports(self) || start_role(self, ROLE_BROKER))) {
        up_say(self, "%s", err_text());
        begin_stop(self, err_exit(ERR_IO));
    }
}

static void on_end(up_t *self, process_t *process, int exit_code)
{
    if (self->phase == UP_STOPPING) {
        stop_step(self);
        return;
    }
    int64_t now = clock_now_ms();
    supervise_end_t end = {.role = process->role,
                           .exit_code = exit_code,
                           .deaths_n = process->deaths_n,
                           .was_ready = self->was_ready};
    int verdict = supervise_verdict(&end);
    if (verdict) {
        const char *detail = strstr(process->last_line, "detail=\"");
        detail = detail ? detail + 8 : process->last_line;
        size_t n = strlen(detail);
        snprintf(self->reason, sizeof self->reason, "%s cannot run: %.*s", process->name,
                 (int)(n && detail[n - 1] == '"' ? n - 1 : n), n ? detail : "see its log");
        up_say(self, "stopping all: %s", self->reason);
        begin_stop(self, verdict);
        return;
    }
    if (self->phase == UP_BROKERS) {
        retry_ports(self, process);
        return;
    }
    int64_t delay = supervise_delay(&process->deaths_n, now - process->started_at_ms);
    up_say(self, "starting %s again in %lld ms", process->name, (long long)delay);
    loop_timer_arm(process->restart, now + delay);
}

/* -- getting ready
 * ----------------------------------------------------------------------------------- */

static void when_brokers_listen(up_t *self)
{
    /* Of a --backend only the broker knows; workers wait for it by themselves. */
    int step = self->backend[0] ? 2 : 1;
    for (int i = 0; i < 2 * self->fleet.brokers; i += step) {
        if (!process_is_listening(self->ports[i])) {
            return;
        }
    }
    err_t err = start_role(self, ROLE_API);
    if (!err) {
        err = start_role(self, ROLE_SCHEDULER);
    }
    if (!err) {
        err = start_role(self, ROLE_WORKER);
    }
    if (err) {
        up_say(self, "%s", err_text());
        begin_stop(self, err_exit(err));
        return;
    }
    self->phase = UP_REST;
}

/* The api answers, and knows all workers by their HELLO. */
static bool is_healthy(up_t *self)
{
    json_t *health = NULL;
    if (!self->url[0] || (!self->client && client_open(&self->client, self->url))) {
        return false;
    }
    client_timeout(self->client, 500);
    if (client_get(self->client, "/api/v1/health", &health)) {
        return false;
    }
    bool is = read_integer(health, "workers") >= self->fleet.workers;
    json_decref(health);
    return is;
}

static void say_ready(up_t *self)
{
    self->phase = UP_READY;
    self->was_ready = true;
    /* Health is not asked again: an idle connection would only hold a place at the server. */
    client_destroy(&self->client);
    if (fleet_record(self)) {
        up_say(self, "%s", err_text());
    }
    if (self->cli->json) {
        printf("{\"url\": \"%s\", \"workers\": %d, \"brokers\": %d}\n", self->url,
               self->fleet.workers, self->fleet.brokers);
    } else {
        printf("Stint is up: %s (%d worker%s, %d broker%s); Ctrl-C stops it.\n", self->url,
               self->fleet.workers, self->fleet.workers == 1 ? "" : "s", self->fleet.brokers,
               self->fleet.brokers == 1 ? "" : "s");
        if (self->keys[0]) {
            printf(
                "Workers of other machines: `stint keys add worker NAME --keys %s`, bring "
                "NAME.key there, and\n  stint-worker --key NAME.key --name NAME --brokers %s%s\n",
                self->keys, self->backends,
                strstr(self->backends, "//0.0.0.0:") ? "   (this machine's address for 0.0.0.0)"
                                                     : "");
        }
    }
    fflush(stdout);
}

static void on_tick(void *context)
{
    up_t *self = context;
    int64_t now = clock_now_ms();
    if (self->phase == UP_STOPPING) {
        up_say(self, "not stopped after %d s: killing what is left", STOP_MS / 1000);
        fleet_kill(self);
        return;
    }
    if (self->phase == UP_BROKERS) {
        when_brokers_listen(self);
    } else if (self->phase == UP_REST && is_healthy(self)) {
        say_ready(self);
    }
    if (self->phase == UP_BROKERS || self->phase == UP_REST) {
        if (now >= self->phase_at_ms + REMIND_MS) {
            up_say(self, "still waiting for %s",
                   self->phase == UP_BROKERS ? "the brokers" : "the api and the workers");
            self->phase_at_ms = now;
        }
        loop_timer_arm(self->tick, now + TICK_MS);
    }
}

/* -- the command
 * ------------------------------------------------------------------------------------- */

static err_t check_programs(const up_t *self)
{
    for (int role = 0; role < ROLES_N; role++) {
        char path[4200];
        snprintf(path, sizeof path, "%s/stint-%s", self->home, role_name((role_t)role));
        if (access(path, X_OK) != 0) {
            return err_set(ERR_CONFIG, "%s is not there: it belongs beside this command", path);
        }
    }
    return ERR_OK;
}

static err_t make_ground(up_t *self)
{
    char path[4096];
    err_t err = process_directory(self->data);
    for (int i = 0; i < 2 && !err; i++) {
        snprintf(path, sizeof path, "%s/%s", self->data, i ? "workers" : "store");
        err = process_directory(path);
    }
    for (int i = 1; i <= self->fleet.workers && !err; i++) {
        snprintf(path, sizeof path, "%s/workers/w%d", self->data, i);
        err = process_directory(path);
    }
    if (!err) {
        snprintf(path, sizeof path, "%s/up.lock", self->data);
        err = process_lock(path, &self->lock);
        err = err ? err_context(err, "%s", self->data) : ERR_OK;
    }
    return err;
}

/* Keys of our own for all that runs here; those that are there are kept. */
static err_t make_keys(up_t *self)
{
    char name[24];
    if (!self->keys[0]) {
        return ERR_OK;
    }
    err_t err = keys_init(self->keys);
    err = err == ERR_CONFLICT ? ERR_OK : err;
    for (int i = 1; i <= self->fleet.workers && !err; i++) {
        snprintf(name, sizeof name, "w%d", i);
        err = keys_ensure(self->keys, WIRE_ROLE_WORKER, name);
    }
    return err;
}

static err_t read_backend(up_t *self, const char *backend)
{
    const char *colon = strrchr(backend, ':');
    int port = colon ? atoi(colon + 1) : 0;
    char host[INET_ADDRSTRLEN] = "";
    struct in_addr address;
    if (colon && colon - backend < (ptrdiff_t)sizeof host) {
        memcpy(host, backend, (size_t)(colon - backend));
    }
    if (inet_pton(AF_INET, host, &address) != 1 || port < 1 || port + self->fleet.brokers > 65536) {
        return err_set(ERR_USAGE,
                       "--backend is \"%.80s\", but must be ADDRESS:PORT, the address of this "
                       "machine in numbers (10.0.0.1:7602; 0.0.0.0:7602 is all it has)",
                       backend);
    }
    snprintf(self->backend, sizeof self->backend, "%s", backend);
    snprintf(self->keys, sizeof self->keys, "%s/keys", self->data);
    self->fleet.keys = self->keys;
    return ERR_OK;
}

static err_t read_options(up_t *self)
{
    const arguments_t *given = &self->cli->arguments;
    const char *data = arguments_text(given, "data"), *listen = arguments_text(given, "listen");
    data = data ? data : "stint-data";
    listen = listen ? listen : "127.0.0.1:8000";
    if (!*data || strlen(data) >= sizeof self->data - 64) {
        return err_set(ERR_USAGE, "--data is not a directory's name");
    }
    if (strlen(listen) >= sizeof self->listen || !strchr(listen, ':')) {
        return err_set(ERR_USAGE, "--listen is \"%.80s\", but must be ADDRESS:PORT", listen);
    }
    snprintf(self->data, sizeof self->data, "%s", data);
    snprintf(self->listen, sizeof self->listen, "%s", listen);
    self->fleet = (fleet_t){.data = self->data,
                            .listen = self->listen,
                            .rate = arguments_text(given, "rate"),
                            .workers = (int)arguments_number(given, "workers", 4),
                            .slots = (int)arguments_number(given, "slots", 1),
                            .brokers = (int)arguments_number(given, "brokers", 1),
                            .schedulers = (int)arguments_number(given, "schedulers", 1),
                            .test_tasks = arguments_flag(given, "test-tasks"),
                            .frontends = self->frontends,
                            .backends = self->backends,
                            .reach = self->reach};
    const char *backend = arguments_text(given, "backend");
    return backend ? read_backend(self, backend) : ERR_OK;
}

static err_t prepare(up_t *self)
{
    err_t err = read_options(self);
    if (!err) {
        err = process_home(self->home, sizeof self->home);
    }
    if (!err) {
        err = check_programs(self);
    }
    if (!err) {
        err = make_ground(self);
    }
    if (!err) {
        err = make_keys(self);
    }
    if (!err) {
        err = process_check_listen(self->listen);
    }
    if (!err) {
        err = choose_ports(self);
    }
    return err;
}

static err_t run(up_t *self, int *exit_code)
{
    /* A setting meant for this command must not confuse the servers. */
    unsetenv("STINT_SERVER");
    self->loop = loop_new();
    self->on_end = on_end;
    self->tick = loop_timer_new(self->loop, on_tick, self);
    loop_on_signal(self->loop, on_signal, self);
    fleet_make(self);
    self->phase_at_ms = clock_now_ms();
    err_t err = start_role(self, ROLE_BROKER);
    if (!err) {
        loop_timer_arm(self->tick, clock_now_ms() + TICK_MS);
        *exit_code = loop_run(self->loop);
    } else {
        fleet_kill(self);
    }
    fleet_free(self);
    loop_timer_destroy(&self->tick);
    loop_destroy(&self->loop);
    client_destroy(&self->client);
    return err;
}

int command_up(cli_t *cli)
{
    up_t *self = mem_zero(sizeof *self);
    int exit_code = 0;
    self->cli = cli;
    self->lock = -1;
    self->style = cli_style(cli, STDERR_FILENO);
    err_t err = prepare(self);
    if (!err) {
        err = run(self, &exit_code);
    }
    if (!err && self->reason[0]) {
        /* Said again as the last word: the logs of the stopping stand behind the first. */
        fprintf(stderr, "stint: %s\n", self->reason);
    }
    if (self->lock >= 0) {
        /* Process ids of the past must not be there for anybody to end. */
        char path[4096];
        snprintf(path, sizeof path, "%s/up.json", self->data);
        unlink(path);
        close(self->lock);
    }
    if (err) {
        exit_code = cli_fail(cli, err);
    }
    free(self);
    return exit_code;
}

#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/descriptors.h"
#include "common/lines.h"
#include "common/link.h"
#include "common/log.h"
#include "common/loop.h"
#include "worker/core.h"
#include "worker/monitor.h"
#include "worker/obituary.h"
#include "worker/rates.h"
#include "worker/start_log.h"
#include "worker/state_dir.h"

enum {
    SAMPLE_MS = 1000,
    SAME_SIGNAL_MS = 1000,
    DESCRIPTORS_MIN = 48,   /* files, sockets to 16 brokers, ZeroMQ's own */
    DESCRIPTORS_A_SLOT = 4, /* two, and two of a child that has just been replaced */
    LAST_WORDS_MS = 100, /* sockets close without lingering: BYE and what was handed back need it */
};

typedef struct worker worker_t;
struct worker {
    loop_t *loop;
    loop_timer_t *timer;
    loop_watch_t *pool_watch;
    pool_t *pool;
    worker_core_t *core;
    monitor_t *monitor;
    state_dir_t *state_dir;
    start_log_t *start_log;
    lines_t *lines;
    obituary_t obituary;
    int slots;
    int64_t sample_at, stop_at, drain_since;
};

/* -- effects -- */

static bool send_frames(void *context, int broker, frames_t *frames)
{
    worker_t *self = context;
    return lines_send(self->lines, broker, frames);
}

/* The boot clock of this moment, not now_ms moved by an offset: the machine may have slept since
 * any offset was taken. */
static err_t log_start(void *context, const char *task, int64_t now_ms)
{
    (void)now_ms;
    worker_t *self = context;
    return start_log_append(self->start_log, task, clock_boot_ms());
}

static err_t start_child(void *context, int slot, const pool_work_t *work)
{
    worker_t *self = context;
    return pool_start(self->pool, slot, work, clock_now_ms());
}

static void give_page(void *context, int slot, blob_t *page, uint64_t next_no, bool last)
{
    worker_t *self = context;
    pool_page(self->pool, slot, page, next_no, last);
}

static void extend_child(void *context, int slot, int64_t deadline_ms)
{
    worker_t *self = context;
    pool_extend(self->pool, slot, deadline_ms);
}

static void kill_child(void *context, int slot)
{
    worker_t *self = context;
    pool_kill(self->pool, slot);
}

static void note(void *context, bool degraded, const char *event, const char *pairs)
{
    (void)context;
    log_line(degraded ? LOG_WARN : LOG_INFO, event, "%s", pairs);
}

/* -- events: each is told the time of its own moment, so that starts are not dated back -- */

static void on_message(void *context, int broker, frames_t *frames)
{
    worker_t *self = context;
    worker_core_receive(self->core, broker, frames, clock_now_ms());
}

static void on_pool_event(void *context, const pool_event_t *event)
{
    worker_t *self = context;
    worker_core_event(self->core, event, clock_now_ms());
}

static void tell_ready(worker_t *self)
{
    for (int i = 0; i < self->slots; i++) {
        worker_core_slot_ready(self->core, i, pool_ready(self->pool, i));
    }
}

static void on_pool(void *context)
{
    worker_t *self = context;
    pool_drain(self->pool, clock_now_ms(), on_pool_event, self);
    tell_ready(self);
    if (pool_lost(self->pool)) {
        log_error("worker.pool_lost", "detail=\"the fork server is dead\"");
        loop_stop(self->loop, err_exit(ERR_INTERNAL));
    }
}

static void on_timer(void *context)
{
    (void)context; /* it only wakes the loop: on_turn does the work */
}

static void sample(worker_t *self, int64_t now_ms)
{
    monitor_sample_t seen;
    monitor_sample(self->monitor, now_ms, &seen);
    worker_sample_t told = {.cpu_permille = seen.cpu_permille,
                            .memory_total = seen.memory_total,
                            .memory_available = seen.memory_available,
                            .load_centi = seen.load_centi,
                            .disk_read_rate = seen.disk_read_rate,
                            .disk_write_rate = seen.disk_write_rate};
    worker_core_sample(self->core, &told, now_ms);
    self->sample_at = now_ms + SAMPLE_MS;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void on_turn(void *context)
{
    worker_t *self = context;
    int64_t now_ms = clock_now_ms();
    if (now_ms >= self->sample_at) {
        sample(self, now_ms);
    }
    if (now_ms >= pool_next_at(self->pool)) {
        on_pool(self);
    }
    now_ms = clock_now_ms();
    worker_core_turn(self->core, now_ms);
    if (worker_core_drained(self->core)) {
        self->stop_at = self->stop_at ? self->stop_at : now_ms + LAST_WORDS_MS;
        if (now_ms >= self->stop_at) {
            loop_stop(self->loop, 0);
            return;
        }
    }
    int64_t at = sooner(worker_core_next_at(self->core, now_ms), pool_next_at(self->pool));
    at = sooner(at, self->sample_at);
    loop_timer_arm(self->timer, self->stop_at ? sooner(at, self->stop_at) : at);
}

static void on_signal(void *context, int number)
{
    worker_t *self = context;
    if (number == SIGHUP) {
        worker_facts_t facts = worker_core_facts(self->core);
        log_info("worker.facts", "done=%llu failed=%llu running=%u waiting=%u unacknowledged=%u",
                 (unsigned long long)facts.done_n, (unsigned long long)facts.failed_n,
                 facts.running_n, facts.waiting_n, facts.results_n);
    }
    if (number != SIGTERM && number != SIGINT) {
        return;
    }
    if (worker_core_facts(self->core).draining) {
        if (clock_now_ms() - self->drain_since < SAME_SIGNAL_MS) {
            return; /* sent to the process and to its group: meant once */
        }
        log_warn("worker.stopped", "reason=\"second signal\"");
        loop_stop(self->loop, err_exit(ERR_CANCELLED));
        return;
    }
    self->drain_since = clock_now_ms();
    worker_core_drain(self->core, clock_now_ms());
}

/* -- opening -- */

static err_t open_files(worker_t *self, const config_t *config)
{
    err_t err = state_dir_open(&self->state_dir, config->state, config->name);
    if (!err) {
        err = start_log_open(&self->start_log, state_dir_path(self->state_dir));
    }
    return err;
}

/* Starts that this name has made before, mapped from the boot clock to the core's. */
static err_t load_starts(worker_t *self, const worker_options_t *options)
{
    for (int i = 0; i < options->tasks_n; i++) {
        const task_spec_t *spec = options->tasks[i];
        int n = options->rate == WORKER_RATE_SET ? (int)options->rate_n : (int)spec->rate_n;
        if (!spec->rate_n || options->rate == WORKER_RATE_OFF) {
            continue;
        }
        int64_t *times = mem_alloc((size_t)n * sizeof *times);
        int count = 0;
        err_t err = start_log_load(self->start_log, spec->name, times, n, &count);
        int64_t boot_to_now = clock_now_ms() - clock_boot_ms();
        for (int k = 0; k < count && !err; k++) {
            times[k] += boot_to_now;
        }
        if (err == ERR_CORRUPT) {
            log_warn("worker.start_log", "task=%s detail=\"%s\"", spec->name, err_text());
            worker_core_window_fill(self->core, spec->name, clock_now_ms());
            err = ERR_OK;
        } else if (!err) {
            worker_core_window_load(self->core, spec->name, times, count);
        }
        free(times);
        if (err) {
            return err;
        }
    }
    return ERR_OK;
}

static err_t options_of(const config_t *config, worker_options_t *out)
{
    *out = (worker_options_t){.name = config->name,
                              .pid = (uint64_t)getpid(),
                              .slots = (int)config->slots,
                              .brokers = config->brokers.n,
                              .heartbeat_ms = config->heartbeat,
                              .drain_ms = config->drain,
                              .target_duration_ms = config->target_duration,
                              .result_space = (uint64_t)config->result_space,
                              .lookahead = true,
                              .test_duplicate = config->test_duplicate};
    worker_options_offer(out, config->test_tasks);
    if (config->rate[0]) {
        err_t err = rates_parse(config->rate, &out->rate_n, &out->rate_window_ms);
        if (err) {
            return err;
        }
        out->rate = out->rate_n ? WORKER_RATE_SET : WORKER_RATE_OFF;
    }
    if (getrandom(out->incarnation + 8, WIRE_PEER_N - 8, 0) != WIRE_PEER_N - 8 ||
        getrandom(&out->random_seed, sizeof out->random_seed, 0) != sizeof out->random_seed) {
        return err_set(ERR_INTERNAL, "getrandom: %s", strerror(errno));
    }
    return ERR_OK;
}

static err_t open_core(worker_t *self, worker_options_t *options)
{
    char host[129] = "";
    gethostname(host, sizeof host - 1);
    options->host = host;
    worker_effects_t effects = {.context = self,
                                .send = send_frames,
                                .started = log_start,
                                .start = start_child,
                                .page = give_page,
                                .extend = extend_child,
                                .kill = kill_child,
                                .note = note};
    self->core = worker_core_new(options, &effects);
    return load_starts(self, options);
}

/* Children first: a process with a ZeroMQ context must not fork (pool.h). */
static err_t worker_open(worker_t *self, const config_t *config)
{
    worker_options_t options;
    err_t err = options_of(config, &options);
    if (!err) {
        err = descriptors_raise(DESCRIPTORS_MIN + DESCRIPTORS_A_SLOT * (uint64_t)options.slots);
    }
    if (!err) {
        err = open_files(self, config);
    }
    uint64_t life = 0;
    if (!err) {
        err = state_dir_life(self->state_dir, clock_wall_ms(), &life);
        wire_ticket_put(options.incarnation, life);
    }
    if (!err) {
        pool_keep_fd(state_dir_fd(self->state_dir));
        self->obituary.config = config;
        memcpy(self->obituary.incarnation, options.incarnation, WIRE_PEER_N);
        pool_last_words(obituary_say, &self->obituary);
        self->slots = options.slots;
        err = pool_open(&self->pool, self->slots);
    }
    if (err) {
        return err;
    }
    self->monitor = monitor_new("");
    self->loop = loop_new();
    self->timer = loop_timer_new(self->loop, on_timer, self);
    err = lines_open(&self->lines, self->loop, WIRE_ROLE_WORKER, config, on_message, self);
    if (!err) {
        err = open_core(self, &options);
    }
    if (!err) {
        self->pool_watch = loop_watch_fd(self->loop, pool_fd(self->pool), on_pool, self);
        loop_on_turn(self->loop, on_turn, self);
        loop_on_signal(self->loop, on_signal, self);
        tell_ready(self);
    }
    return err;
}

static void worker_close(worker_t *self)
{
    if (self->loop) {
        loop_unwatch(self->loop, &self->pool_watch);
        lines_close(&self->lines);
        loop_timer_destroy(&self->timer);
        loop_destroy(&self->loop);
    }
    worker_core_destroy(&self->core);
    pool_close(&self->pool);
    monitor_destroy(&self->monitor);
    start_log_destroy(&self->start_log);
    state_dir_close(&self->state_dir);
    link_shutdown();
}

err_t worker_run(const config_t *config, int *exit_code)
{
    worker_t self = {0};
    err_t err = worker_open(&self, config);
    if (!err) {
        log_info("worker.ready", "slots=%d brokers=%d state=%s", self.slots, lines_n(self.lines),
                 config->state);
        *exit_code = loop_run(self.loop);
        log_info("worker.stopped", "exit=%d", *exit_code);
    }
    worker_close(&self);
    return err;
}

/* For machines that watch: /metrics in Prometheus' text format, /healthz and /readyz.
 *
 * Names are in base units and end as OpenMetrics says; labels have few values (tasks, states,
 * classes of status), never ids or workers. */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/http/request.h"
#include "common/clock.h"
#include "common/descriptors.h"

/* -- writing ----------------------------------------------------------------------------------- */

static void head(buffer_t *out, const char *name, const char *type, const char *help)
{
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(buffer_t *out, const char *name, const char *help, double value)
{
    head(out, name, "gauge", help);
    buffer_printf(out, "%s %.15g\n", name, value);
}

static void counter(buffer_t *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "counter", help);
    buffer_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* A task's name may be any printable text. */
static void label(buffer_t *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            buffer_add_text(out, "\\");
        }
        buffer_add(out, text, 1);
    }
}

/* -- the store --------------------------------------------------------------------------------- */

static void on_count(void *context, const char *task, job_state_t state, uint64_t n)
{
    buffer_t *out = context;
    if (state != JOB_RECEIVING) {
        buffer_add_text(out, "stint_jobs{task=\"");
        label(out, task);
        buffer_printf(out, "\",state=\"%s\"} %llu\n", job_state_name(state), (unsigned long long)n);
    }
}

static err_t write_store(buffer_t *out, const core_t *core)
{
    store_t *store = core_store(core);
    uint64_t free_bytes = 0, database = 0, log = 0;
    head(out, "stint_jobs", "gauge", "Jobs in the store by task and state.");
    err_t err = store_read_counts(store, on_count, out);
    if (err) {
        return err;
    }
    store_space(store, &free_bytes, &database, &log);
    gauge(out, "stint_store_size_bytes", "Size of the store's database file.", (double)database);
    gauge(out, "stint_store_log_bytes", "Size of its write-ahead log.", (double)log);
    gauge(out, "stint_store_free_bytes", "Room on its file system.", (double)free_bytes);
    gauge(out, "stint_store_full", "1 while submissions are refused for want of room.",
          core_full(core));
    const store_commits_t *commits = store_commits(store);
    head(out, "stint_store_commit_seconds", "histogram", "Time of a commit, flushed to the disk.");
    uint64_t n = 0;
    for (int i = 0; i < STORE_COMMIT_BOUNDS_N; i++) {
        n += commits->within[i];
        buffer_printf(out, "stint_store_commit_seconds_bucket{le=\"%g\"} %llu\n",
                      (double)store_commit_bounds_us[i] / 1e6, (unsigned long long)n);
    }
    buffer_printf(out,
                  "stint_store_commit_seconds_bucket{le=\"+Inf\"} %llu\n"
                  "stint_store_commit_seconds_sum %.6f\nstint_store_commit_seconds_count %llu\n",
                  (unsigned long long)commits->n, (double)commits->us / 1e6,
                  (unsigned long long)commits->n);
    return ERR_OK;
}

/* -- work and peers ---------------------------------------------------------------------------- */

static void write_work(buffer_t *out, const core_t *core)
{
    const core_counters_t *counters = core_counters(core);
    feeder_counts_t batches = feeder_counts(core_feeder(core));
    int64_t oldest = feeder_oldest_waiting(core_feeder(core)), wall = core_wall(core);
    head(out, "stint_batches", "gauge", "Batches that were cut and are not terminal, by state.");
    buffer_printf(out,
                  "stint_batches{state=\"ready\"} %llu\nstint_batches{state=\"leased\"} %llu\n"
                  "stint_batches{state=\"retrying\"} %llu\n",
                  (unsigned long long)batches.ready, (unsigned long long)batches.leased,
                  (unsigned long long)batches.retrying);
    gauge(out, "stint_oldest_waiting_seconds", "Age of the oldest job that waits for a worker.",
          oldest && wall > oldest ? (double)(wall - oldest) / 1000 : 0);
    counter(out, "stint_dispatches_total", "Batches sent to a broker.", counters->dispatched_n);
    counter(out, "stint_results_recorded_total", "Results of batches that were recorded.",
            counters->recorded_n);
    counter(out, "stint_results_discarded_total", "Results that came late, twice or for nothing.",
            counters->discarded_n);
    counter(out, "stint_leases_lost_total", "Executions whose worker was lost.", counters->lost_n);
    counter(out, "stint_turns_rolled_back_total", "Turns of which the store kept nothing.",
            counters->rolled_back_n);
    counter(out, "stint_garbage_messages_total", "Messages that were none.", counters->garbage_n);
}

static void write_peers(buffer_t *out, const http_t *http)
{
    fleet_counts_t fleet = fleet_counts(http);
    gauge(out, "stint_workers", "Workers that were heard of lately.", fleet.workers);
    gauge(out, "stint_worker_slots", "Batches they can run at a time.", (double)fleet.slots);
    gauge(out, "stint_worker_slots_busy", "Batches they run now.", (double)fleet.busy);
    gauge(out, "stint_schedulers", "Schedulers that were heard of lately.", fleet.schedulers);
    gauge(out, "stint_brokers", "Brokers of the configuration.", http->options.brokers_n);
    gauge(out, "stint_brokers_up", "Of them, those that answer.", fleet.brokers_up);
}

/* -- this process ------------------------------------------------------------------------------ */

static void write_http(buffer_t *out, const http_t *http)
{
    gauge(out, "stint_http_connections", "Open HTTP connections.", http->lines_n);
    head(out, "stint_http_responses_total", "counter", "Answers by class of their status.");
    for (int i = 1; i <= 5; i++) {
        buffer_printf(out, "stint_http_responses_total{status=\"%dxx\"} %llu\n", i,
                      (unsigned long long)http->answered[i]);
    }
}

static double resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%*s %ld", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int open_descriptors(void)
{
    int n = -3; /* ".", ".." and the directory's own */
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory)) {
        n++;
    }
    if (directory) {
        closedir(directory);
    }
    return n < 0 ? 0 : n;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void write_process(buffer_t *out, const http_t *http)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    head(out, "process_cpu_seconds_total", "counter", "Processor time of this process.");
    buffer_printf(out, "process_cpu_seconds_total %.6f\n",
                  seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    gauge(out, "process_resident_memory_bytes", "Memory of this process.", resident_bytes());
    gauge(out, "process_open_fds", "Open file descriptors.", open_descriptors());
    gauge(out, "process_max_fds", "Most file descriptors it may have.",
          (double)descriptors_limit());
    int64_t up_ms = loop_now_ms(http->loop) - http->opened_at;
    gauge(out, "process_start_time_seconds", "When it began, since the epoch.",
          (double)(clock_wall_ms() - up_ms) / 1000);
    head(out, "stint_build_info", "gauge", "Version of this process and schema of its store.");
    buffer_printf(out, "stint_build_info{version=\"%s\",schema=\"%d\"} 1\n", STINT_VERSION,
                  store_schema_version(core_store(http->core)));
}

void metrics(request_t *self)
{
    buffer_t *out = &self->reply.body;
    if (!takes_only(self, NULL)) {
        return;
    }
    buffer_clear(out);
    err_t err = write_store(out, self->http->core);
    if (err) {
        refuse(self, err);
        return;
    }
    write_work(out, self->http->core);
    write_peers(out, self->http);
    write_http(out, self->http);
    write_process(out, self->http);
    self->reply.type = "text/plain; version=0.0.4; charset=utf-8";
    self->reply.status = 200;
}

/* -- probes ------------------------------------------------------------------------------------ */

void probe_live(request_t *self)
{
    if (takes_only(self, NULL)) {
        buffer_clear(&self->reply.body);
        buffer_add_text(&self->reply.body, "ok\n");
        self->reply.type = "text/plain; charset=utf-8";
        self->reply.status = 200;
    }
}

/* Should work be sent here? Workers may come later: a job waits for them. */
void probe_ready(request_t *self)
{
    static const char *const names[] = {"verbose", NULL};
    const http_t *http = self->http;
    buffer_t *out = &self->reply.body;
    if (!takes_only(self, names)) {
        return;
    }
    int up = fleet_counts(http).brokers_up;
    bool full = core_full(http->core), ready = !full && up > 0 && !http->draining;
    buffer_clear(out);
    if (query_get(&self->query, "verbose")) {
        buffer_printf(out, "[%c] store: %s\n", full ? '-' : '+',
                      full ? "the disk under it is full" : "ok");
        buffer_printf(out, "[%c] brokers: %d of %d answer\n", up ? '+' : '-', up,
                      http->options.brokers_n);
        buffer_printf(out, "[%c] server: %s\n", http->draining ? '-' : '+',
                      http->draining ? "it is stopping" : "ok");
    }
    buffer_add_text(out, ready ? "ready\n" : "not ready\n");
    self->reply.type = "text/plain; charset=utf-8";
    self->reply.status = ready ? 200 : 503;
    self->reply.retry_after = ready ? 0 : 5;
}

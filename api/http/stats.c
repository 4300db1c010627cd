/* Numbers for people: sums, workers, health. */
#include <stdlib.h>
#include <string.h>

#include "api/http/request.h"
#include "api/http/views.h"

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* -- summary ----------------------------------------------------------------------------------- */

static void on_count(void *context, const char *task, job_state_t state, uint64_t n)
{
    (void)task;
    uint64_t *counts = context;
    counts[state] += n;
}

static json_t *view_sum(meter_sum_t sum, int seconds)
{
    uint64_t all = sum.done + sum.failed;
    json_t *out = json_object();
    json_object_set_new(out, "items_done", number(sum.done));
    json_object_set_new(out, "items_failed", number(sum.failed));
    json_object_set_new(out, "items_per_second", view_rounded((double)all / seconds));
    json_object_set_new(out, "error_rate", json_real(all ? (double)sum.failed / (double)all : 0));
    return out;
}

static uint64_t waiting_batches(const feeder_t *feeder)
{
    uint64_t n = feeder_counts(feeder).ready;
    size_t at = 0;
    for (live_task_t *task; (task = feeder_next_task(feeder, &at));) {
        n += task->batches_waiting; /* an estimate: not cut yet */
    }
    return n;
}

fleet_counts_t fleet_counts(const http_t *http)
{
    const peers_t *peers = core_peers(http->core);
    fleet_counts_t out = {0};
    for (int i = 0; i < peers_n(peers); i++) {
        const peer_t *peer = peers_at(peers, i);
        if (peer->is_worker) {
            out.workers++;
            out.slots += peer->slots;
            out.busy += peer->busy;
        } else {
            out.schedulers++;
        }
    }
    for (int i = 0; i < http->options.brokers_n; i++) {
        out.brokers_up += core_broker_up(http->core, i);
    }
    return out;
}

void stats_summary(request_t *self)
{
    core_t *core = self->http->core;
    uint64_t counts[JOB_STATES_N] = {0};
    fleet_counts_t fleet = fleet_counts(self->http);
    if (!takes_only(self, NULL)) {
        return;
    }
    err_t err = store_read_counts(core_store(core), on_count, counts);
    if (err) {
        refuse(self, err);
        return;
    }
    json_t *jobs = json_object();
    for (int i = 0; i < JOB_STATES_N; i++) {
        if (i != JOB_RECEIVING) {
            json_object_set_new(jobs, job_state_name((job_state_t)i), number(counts[i]));
        }
    }
    feeder_counts_t batches = feeder_counts(core_feeder(core));
    int64_t oldest = feeder_oldest_waiting(core_feeder(core));
    int64_t waited = oldest && core_wall(core) > oldest ? core_wall(core) - oldest : 0;
    json_t *body = json_object();
    json_object_set_new(body, "jobs", jobs);
    json_object_set_new(body, "minute", view_sum(core_minute(core), 60));
    json_object_set_new(body, "hour", view_sum(core_hour(core), 3600));
    json_object_set_new(body, "waiting_batches", number(waiting_batches(core_feeder(core))));
    json_object_set_new(body, "leased_batches", number(batches.leased));
    json_object_set_new(body, "retrying_batches", number(batches.retrying));
    json_object_set_new(body, "workers", json_integer(fleet.workers));
    json_object_set_new(body, "slots", number(fleet.slots));
    json_object_set_new(body, "oldest_waiting_seconds", view_rounded((double)waited / 1000));
    reply_json(self, 200, body);
}

/* -- workers ----------------------------------------------------------------------------------- */

/* The pieces of a comma-separated list. */
static json_t *view_names(const char *names)
{
    json_t *out = json_array();
    while (names && *names) {
        size_t n = strcspn(names, ",");
        if (n) {
            char *name = mem_text_n(names, n);
            json_array_append_new(out, view_text(name));
            free(name);
        }
        names += n + (names[n] == ',');
        names += strspn(names, " ");
    }
    return out;
}

static json_t *view_limits(const peer_t *peer)
{
    json_t *out = json_array();
    for (int i = 0; i < peer->limits_n; i++) {
        const peer_limit_t *limit = &peer->limits[i];
        json_t *one = json_object();
        json_object_set_new(one, "task", view_text(limit->task));
        json_object_set_new(one, "limit", number(limit->rate_n));
        json_object_set_new(one, "window_ms", json_integer(limit->window_ms));
        json_object_set_new(one, "used", number(limit->used_n));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *view_worker(const peer_t *peer, int64_t now)
{
    json_t *out = json_object();
    json_object_set_new(out, "name", view_text(peer->name));
    json_object_set_new(out, "host", view_text(peer->host));
    json_object_set_new(out, "pid", number(peer->pid));
    json_object_set_new(out, "version", view_text(peer->version));
    json_object_set_new(out, "slots", number(peer->slots));
    json_object_set_new(out, "busy", number(peer->busy));
    json_object_set_new(out, "draining", json_boolean(peer->draining));
    json_object_set_new(out, "done", number(peer->done_n));
    json_object_set_new(out, "failed", number(peer->failed_n));
    json_object_set_new(out, "cpu_percent", view_rounded((double)peer->cpu_permille / 10));
    json_object_set_new(out, "memory_total", number(peer->memory_total));
    json_object_set_new(out, "memory_available", number(peer->memory_available));
    json_object_set_new(out, "load", json_real((double)peer->load_centi / 100));
    json_object_set_new(out, "disk_read_rate", number(peer->disk_read_rate));
    json_object_set_new(out, "disk_write_rate", number(peer->disk_write_rate));
    json_object_set_new(out, "batch_items", number(peer->batch_items));
    json_object_set_new(out, "batch_reason", view_text(peer->batch_reason));
    json_object_set_new(out, "limits", view_limits(peer));
    json_object_set_new(out, "tasks", view_names(peer->tasks));
    json_object_set_new(out, "last_heartbeat_ms", json_integer(now - peer->seen_at));
    return out;
}

static int by_name(const void *a, const void *b)
{
    const peer_t *const *one = a, *const *other = b;
    return strcmp((*one)->name, (*other)->name);
}

void stats_workers(request_t *self)
{
    if (!takes_only(self, NULL)) {
        return;
    }
    const peers_t *peers = core_peers(self->http->core);
    int n = peers_n(peers);
    const peer_t **sorted = mem_alloc((size_t)n * sizeof *sorted);
    for (int i = 0; i < n; i++) {
        sorted[i] = peers_at(peers, i);
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        if (sorted[i]->is_worker) {
            json_array_append_new(list, view_worker(sorted[i], core_now(self->http->core)));
        }
    }
    free(sorted);
    json_t *body = json_object();
    json_object_set_new(body, "workers", list);
    reply_json(self, 200, body);
}

/* -- health ------------------------------------------------------------------------------------ */

static json_t *view_store(const core_t *core)
{
    uint64_t free_bytes = 0, database = 0, log = 0;
    store_space(core_store(core), &free_bytes, &database, &log);
    json_t *out = json_object();
    json_object_set_new(out, "status", json_string(core_full(core) ? "full" : "healthy"));
    json_object_set_new(out, "size_bytes", number(database));
    json_object_set_new(out, "log_bytes", number(log));
    json_object_set_new(out, "free_bytes", number(free_bytes > INT64_MAX ? INT64_MAX : free_bytes));
    return out;
}

static json_t *view_brokers(const http_t *http)
{
    json_t *out = json_array();
    for (int i = 0; i < http->options.brokers_n; i++) {
        bool is_up = core_broker_up(http->core, i);
        json_t *one = json_object();
        json_object_set_new(one, "endpoint", view_text(http->options.brokers[i]));
        json_object_set_new(one, "status", json_string(is_up ? "healthy" : "unreachable"));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *view_check(const core_health_t *health)
{
    if (health->at == 0) {
        return json_null();
    }
    json_t *out = json_object();
    json_object_set_new(out, "at", view_time(health->at));
    json_object_set_new(out, "job_id", view_id(health->job));
    json_object_set_new(out, "unhealthy", view_names(health->unhealthy));
    return out;
}

void stats_health(request_t *self)
{
    http_t *http = self->http;
    if (!takes_only(self, NULL)) {
        return;
    }
    fleet_counts_t fleet = fleet_counts(http);
    bool full = core_full(http->core);
    bool degraded = fleet.brokers_up == 0 || fleet.brokers_up < http->options.brokers_n ||
                    fleet.workers == 0 || fleet.schedulers == 0;
    json_t *body = json_object();
    json_object_set_new(body, "status",
                        json_string(full       ? "unhealthy"
                                    : degraded ? "degraded"
                                               : "healthy"));
    json_object_set_new(body, "version", json_string(STINT_VERSION));
    json_object_set_new(body, "schema_version",
                        json_integer(store_schema_version(core_store(http->core))));
    json_object_set_new(body, "uptime_seconds",
                        json_integer((loop_now_ms(http->loop) - http->opened_at) / 1000));
    json_object_set_new(body, "store", view_store(http->core));
    json_object_set_new(body, "brokers", view_brokers(http));
    json_object_set_new(body, "workers", json_integer(fleet.workers));
    json_object_set_new(body, "schedulers", json_integer(fleet.schedulers));
    json_object_set_new(body, "last_check", view_check(core_last_health(http->core)));
    reply_json(self, full ? 503 : 200, body);
    self->reply.retry_after = full ? 30 : 0;
}

/* The store's own work: jobs leased to the api itself, done in steps between turns (rule 12),
 * needing no broker or worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/core_internal.h"
#include "common/log.h"

struct maintenance {
    uint64_t batch; /* 0 = nothing runs */
    int64_t completed_before, failed_before;
    uint64_t removing;  /* job being removed, 0 = none */
    uint64_t removed_n; /* jobs */
    bool jobs_done, pruned;
};

enum { STEP_CHUNKS = 100, DAY_MS = 86400000, SAMPLE_DAYS = 30 };

maintenance_t *maintenance_new(void)
{
    return mem_zero(sizeof(maintenance_t));
}

void maintenance_destroy(maintenance_t **self)
{
    free(*self);
    *self = NULL;
}

void maintenance_reset(maintenance_t *self)
{
    *self = (maintenance_t){0};
}

static void finish(maintenance_t *self, core_t *core, const char *report, const char *error)
{
    err_t err = core_record_local(core, self->batch, report, error);
    if (err) {
        log_warn("maintenance.not_recorded", "error=%s detail=\"%s\"", err_code(err), err_text());
    }
    maintenance_reset(self);
}

/* -- health_check
 * --------------------------------------------------------------------------------------- */

static void note(core_t *core, buffer_t *names, const sample_new_t *sample, err_t *err)
{
    if (!sample->healthy) {
        buffer_printf(names, "%s%s %s: %s", names->n ? ", " : "", sample->role, sample->name,
                      sample->reason);
    }
    if (!*err) {
        *err = store_sample_insert(core->store, sample);
    }
}

static const char *judge_worker(const core_t *core, const peer_t *peer)
{
    if (core->now - peer->seen_at > 3 * core->options.heartbeat_ms) {
        return "silent for three heartbeats";
    }
    if (!peer->has_sample) {
        return "no heartbeat yet";
    }
    if (peer->cpu_permille > 950) {
        return "CPU over 95 %";
    }
    return peer->memory_available && peer->memory_available < (uint64_t)1 << 30
               ? "available memory under 1 GiB"
               : "";
}

static err_t sample_all(core_t *core, uint64_t job, buffer_t *names)
{
    err_t err = ERR_OK;
    uint64_t space = 0, database = 0, log = 0;
    store_space(core->store, &space, &database, &log);
    sample_new_t sample = {.job = job, .at = core->wall};
    sample.role = "store";
    sample.name = "store";
    sample.disk_free = space > INT64_MAX ? INT64_MAX : space;
    sample.reason = core->full                   ? "disk full"
                    : space < (uint64_t)64 << 20 ? "under 64 MiB free"
                                                 : "";
    sample.healthy = sample.reason[0] == 0;
    note(core, names, &sample, &err);
    sample.disk_free = 0;
    for (int i = 0; i < core->options.brokers_n; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d", i);
        sample.role = "broker";
        sample.name = name;
        sample.healthy = core->brokers[i].up;
        sample.reason = sample.healthy ? "" : "does not answer";
        note(core, names, &sample, &err);
    }
    int workers = 0, schedulers = 0;
    for (int i = 0; i < peers_n(core->peers); i++) {
        const peer_t *peer = peers_at(core->peers, i);
        workers += peer->is_worker;
        schedulers += !peer->is_worker;
        sample = (sample_new_t){.job = job,
                                .at = core->wall,
                                .role = peer->is_worker ? "worker" : "scheduler",
                                .name = peer->name,
                                .reason = peer->is_worker ? judge_worker(core, peer) : "",
                                .cpu_permille = peer->cpu_permille,
                                .memory_total = peer->memory_total,
                                .memory_available = peer->memory_available,
                                .load_centi = peer->load_centi,
                                .disk_read_rate = peer->disk_read_rate,
                                .disk_write_rate = peer->disk_write_rate};
        sample.healthy = sample.reason[0] == 0;
        note(core, names, &sample, &err);
    }
    sample = (sample_new_t){.job = job, .at = core->wall, .reason = "there is none", .name = "any"};
    if (workers == 0) {
        sample.role = "worker";
        note(core, names, &sample, &err);
    }
    if (schedulers == 0) {
        sample.role = "scheduler";
        note(core, names, &sample, &err);
    }
    return err;
}

static void check_health(maintenance_t *self, core_t *core, uint64_t job)
{
    buffer_t names = {0};
    err_t err = core_verb(core);
    if (!err) {
        err = core_verb_end(core, sample_all(core, job, &names));
    }
    buffer_add(&names, "", 1);
    core->health = (core_health_t){.at = core->wall, .job = job};
    snprintf(core->health.unhealthy, sizeof core->health.unhealthy, "%s", (const char *)names.data);
    if (core->health.unhealthy[0]) {
        log_warn("health.degraded", "unhealthy=\"%s\"", core->health.unhealthy);
    }
    json_t *report = json_pack("{s:b,s:s}", "healthy", core->health.unhealthy[0] == 0, "unhealthy",
                               core->health.unhealthy);
    char *text = report ? json_dumps(report, JSON_COMPACT) : NULL;
    finish(self, core, text, err ? err_text() : NULL);
    free(text);
    json_decref(report);
    buffer_free(&names);
}

/* -- cleanup_old_jobs
 * ------------------------------------------------------------------------------------ */

static int64_t days_of(const char *params, const char *name, int64_t fallback)
{
    json_t *object = json_loads(params, 0, NULL);
    const json_t *value = json_object_get(object, name);
    int64_t days = json_is_integer(value) ? json_integer_value(value) : fallback;
    json_decref(object);
    return days;
}

static err_t cleanup_step(maintenance_t *self, core_t *core, bool *done)
{
    bool more = false;
    if (!self->jobs_done && self->removing == 0) {
        err_t err = store_expired_job(core->store, self->completed_before, self->failed_before,
                                      &self->removing);
        self->jobs_done = !err && self->removing == 0;
        return err;
    }
    if (self->removing) {
        err_t err = store_job_remove(core->store, self->removing, STEP_CHUNKS, &more);
        if (err == ERR_NOT_FOUND) {
            err = ERR_OK;
        }
        if (!err && !more) {
            self->removed_n++;
            self->removing = 0;
        }
        return err;
    }
    if (!self->pruned) {
        err_t err = store_prune(core->store, core->wall - (int64_t)SAMPLE_DAYS * DAY_MS,
                                STEP_CHUNKS, &more);
        self->pruned = !err && !more;
        return err;
    }
    *done = true;
    return ERR_OK;
}

static void clean_up(maintenance_t *self, core_t *core)
{
    bool done = false;
    err_t err = core_verb(core);
    if (!err) {
        err = core_verb_end(core, cleanup_step(self, core, &done));
    }
    if (err || done) {
        core->vacuum = core->vacuum || self->removed_n > 0;
        char report[96];
        snprintf(report, sizeof report, "{\"jobs_removed\":%llu}",
                 (unsigned long long)self->removed_n);
        if (!err && self->removed_n) {
            log_info("cleanup.done", "jobs_removed=%llu", (unsigned long long)self->removed_n);
        }
        finish(self, core, err ? NULL : report, err ? err_text() : NULL);
    }
}

/* -- steps
 * ---------------------------------------------------------------------------------------------- */

/* The oldest waiting job of a task of the store's own, leased to the api. */
static live_batch_t *take(core_t *core)
{
    size_t at = 0;
    for (live_task_t *task; (task = feeder_next_task(core->feeder, &at));) {
        live_job_t *job = task->flags & TASK_STORE ? feeder_best(task) : NULL;
        blob_t *items = NULL;
        if (job) {
            live_batch_t *batch = core_lease(core, job, 1500, &items);
            blob_unref(&items);
            if (batch) {
                batch->local = true;
            }
            return batch;
        }
    }
    return NULL;
}

bool maintenance_step(maintenance_t *self, core_t *core)
{
    live_batch_t *batch = self->batch ? feeder_batch(core->feeder, self->batch) : NULL;
    if (!batch) {
        maintenance_reset(self); /* done, or cancelled in between */
        batch = take(core);
        if (!batch) {
            return false;
        }
        const char *params = batch->job->row->params;
        self->batch = batch->row.id;
        self->completed_before = core->wall - days_of(params, "completed_days", 30) * DAY_MS;
        self->failed_before = core->wall - days_of(params, "failed_days", 90) * DAY_MS;
    }
    /* It cannot be lost while this process lives: its lease moves on with every step. */
    feeder_batch_until(core->feeder, batch, core->now + core->options.lease_ms);
    if (strcmp(batch->job->task->row.name, "health_check") == 0) {
        check_health(self, core, batch->job->id);
    } else {
        clean_up(self, core);
    }
    return !core->lost;
}

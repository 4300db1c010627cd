/* What workers say of themselves, and the pages a finalize asks for. */
#include <string.h>

#include "api/core_internal.h"
#include "common/log.h"

/* The leases of a worker that is proven dead, or said goodbye, end now (P11). */
static void end_leases(core_t *self, const uint8_t *incarnation, const char *why)
{
    size_t at = 0;
    enum { MOST = 4096 };
    live_batch_t *found[MOST];
    size_t n = 0;
    for (live_batch_t *batch; n < MOST && (batch = feeder_next_batch(self->feeder, &at));) {
        if (batch->row.state == BATCH_LEASED && batch->accepted &&
            memcmp(batch->peer, incarnation, WIRE_PEER_N) == 0) {
            found[n++] = batch;
        }
    }
    for (size_t i = 0; i < n && !self->lost; i++) {
        core_lose(self, found[i], why);
    }
}

static bool older(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, 8) < 0;
}

/* A HELLO that was overtaken by that of a newer incarnation. */
static bool late(const core_t *self, const uint8_t *incarnation, str_t name)
{
    for (int i = 0; i < peers_n(self->peers); i++) {
        const peer_t *other = peers_at(self->peers, i);
        if (other->is_worker && str_equal(str_of(other->name), name) &&
            older(incarnation, other->incarnation)) {
            return true;
        }
    }
    return false;
}

static void old_incarnations(core_t *self, const peer_t *peer)
{
    for (int i = peers_n(self->peers) - 1; i >= 0; i--) {
        peer_t *other = peers_at(self->peers, i);
        if (other != peer && other->is_worker && strcmp(other->name, peer->name) == 0 &&
            older(other->incarnation, peer->incarnation)) {
            log_info("worker.new_incarnation", "worker=\"%s\"", peer->name);
            end_leases(self, other->incarnation, "the worker was started anew");
            peers_remove(self->peers, other);
        }
    }
    /* Also one that was silent for so long that it is forgotten. */
    size_t at = 0;
    for (live_batch_t *batch; (batch = feeder_next_batch(self->feeder, &at));) {
        if (batch->row.state == BATCH_LEASED && batch->accepted &&
            strcmp(batch->worker, peer->name) == 0 && older(batch->peer, peer->incarnation)) {
            uint8_t dead[WIRE_PEER_N];
            memcpy(dead, batch->peer, sizeof dead);
            end_leases(self, dead, "the worker was started anew");
            at = 0;
            if (self->lost) {
                return;
            }
        }
    }
}

static err_t announce(core_t *self, const peer_t *peer, const msg_hello_t *msg)
{
    worker_new_t worker = {.slots = peer->slots};
    memcpy(worker.name, peer->name, sizeof worker.name);
    memcpy(worker.host, peer->host, sizeof worker.host);
    memcpy(worker.version, peer->version, sizeof worker.version);
    memcpy(worker.incarnation, peer->incarnation, WIRE_PEER_N);
    err_t err = core_verb(self);
    if (err) {
        return err;
    }
    enum { MOST = 64 };
    task_row_t seen[MOST];
    uint32_t seen_n = 0;
    err = store_worker_seen(self->store, &worker, self->wall);
    for (uint32_t i = 0; i < msg->tasks_n && i < MOST && !err; i++) {
        const wire_task_offer_t *offer = &msg->tasks[i];
        char name[65];
        str_copy(name, sizeof name, offer->name);
        const task_spec_t *spec = task_spec_find(name);
        if (offer->name.n == 0 || offer->name.n > 64 || offer->finalize.n > 64 || spec) {
            continue; /* a built-in is what schema/tasks.def says */
        }
        task_row_t row = {
            .input = (task_input_t)(offer->input <= TASK_INPUT_NONE ? offer->input : 0),
            .rate_n = (uint32_t)offer->rate_n,
            .rate_window_ms = offer->rate_window_ms > 0 ? offer->rate_window_ms : 60000,
            .max_attempts = (uint32_t)offer->max_attempts};
        memcpy(row.name, name, sizeof row.name);
        str_copy(row.finalize, sizeof row.finalize, offer->finalize);
        err = store_task_seen(self->store, &row, self->wall);
        seen[seen_n++] = row;
    }
    err = core_verb_end(self, err);
    for (uint32_t i = 0; i < seen_n && !err; i++) {
        feeder_task_put(self->feeder, &seen[i]);
    }
    return err;
}

void core_on_hello(core_t *self, int broker, const uint8_t *peer_id, const msg_hello_t *msg)
{
    if (msg->role != WIRE_ROLE_WORKER || msg->name.n == 0 || msg->name.n > 64) {
        self->counters.garbage_n++;
        return;
    }
    if (self->full || late(self, peer_id, msg->name)) {
        return; /* a full store cannot note it; brokers are asked again when there is room */
    }
    /* The tasks come with a HELLO; a heartbeat may have made the peer known before. */
    const peer_t *before = peers_find(self->peers, peer_id);
    bool known = before && before->tasks;
    peer_t *peer = peers_put(self->peers, peer_id);
    if (!peer) {
        log_warn("worker.too_many", "limit=%d", PEERS_MAX);
        return;
    }
    peer_hello(peer, msg);
    peer->broker = broker;
    peer->seen_at = self->now;
    if (known) {
        return; /* the same HELLO through another broker */
    }
    log_info("worker.hello", "worker=\"%s\" host=\"%s\" slots=%u version=\"%s\"", peer->name,
             peer->host, peer->slots, peer->version);
    old_incarnations(self, peer);
    err_t err = self->lost ? ERR_OK : announce(self, peer, msg);
    if (err) {
        log_warn("worker.not_stored", "worker=\"%s\" error=%s detail=\"%s\"", peer->name,
                 err_code(err), err_text());
    }
}

static void leaves(core_t *self, const uint8_t *peer_id, const char *event, const char *why)
{
    peer_t *peer = peers_find(self->peers, peer_id);
    if (peer) {
        log_info(event, "worker=\"%s\"", peer->name);
        peers_remove(self->peers, peer);
    }
    end_leases(self, peer_id, why);
}

void core_on_bye(core_t *self, const uint8_t *peer_id)
{
    leaves(self, peer_id, "worker.bye", "the worker stopped");
}

/* P34: said when nothing of it runs any more. */
void core_on_gone(core_t *self, const uint8_t *peer_id)
{
    leaves(self, peer_id, "worker.gone", "the worker was killed");
}

void core_on_heartbeat(core_t *self, int broker, const uint8_t *peer_id, const msg_heartbeat_t *msg)
{
    peer_t *peer = peers_put(self->peers, peer_id);
    if (peer) {
        peer_heartbeat(peer, msg);
        peer->broker = broker;
        peer->seen_at = self->now;
    }
    static wire_lease_ref_t stop[WIRE_LIST_MAX];
    uint32_t stop_n = 0;
    for (uint32_t i = 0; i < msg->batches_n; i++) {
        const wire_running_t *running = &msg->batches[i];
        live_batch_t *batch = feeder_batch(self->feeder, running->batch);
        if (!batch || batch->row.state != BATCH_LEASED || batch->row.attempt != running->attempt ||
            !core_holds(batch, peer_id)) {
            stop[stop_n++] =
                (wire_lease_ref_t){.batch = running->batch, .attempt = running->attempt};
            continue;
        }
        batch->accepted = true;
        memcpy(batch->peer, peer_id, WIRE_PEER_N);
        core_worker_name(self, peer_id, msg->worker, batch->worker);
        feeder_batch_until(self->feeder, batch, self->now + self->options.lease_ms);
    }
    msg_t reply = {
        .type = MSG_HEARTBEAT_OK,
        .heartbeat_ok = {
            .seq = msg->seq, .lease_ms = self->options.lease_ms, .stop = stop, .stop_n = stop_n}};
    core_owe(self, broker, peer_id, &reply, NULL);
}

void core_on_partials_get(core_t *self, int broker, const uint8_t *peer,
                          const msg_partials_get_t *msg)
{
    live_batch_t *batch = feeder_batch(self->feeder, msg->batch);
    bool ours = str_equal(msg->store_id, str_bytes(store_id(self->store), WIRE_PEER_N));
    if (!batch || !batch->row.is_finalize || batch->row.state != BATCH_LEASED ||
        batch->row.attempt != msg->attempt || msg->from_no > UINT32_MAX || !ours ||
        !core_holds(batch, peer)) {
        return;
    }
    buffer_t page = {0};
    uint32_t next = 0;
    bool last = false;
    err_t err = store_partials(self->store, batch->job->id, (uint32_t)msg->from_no, WIRE_PAGE_MAX,
                               &page, &next, &last);
    if (err) {
        log_warn("partials.unreadable", "job=%llu error=%s detail=\"%s\"",
                 (unsigned long long)batch->job->id, err_code(err), err_text());
        buffer_free(&page);
        return;
    }
    msg_t reply = {.type = MSG_PARTIALS,
                   .partials = {.batch = msg->batch,
                                .attempt = msg->attempt,
                                .from_no = msg->from_no,
                                .next_no = next,
                                .last = last}};
    core_owe(self, broker, peer, &reply, blob_take(&page));
}

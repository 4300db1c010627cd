/* The worker's core. Each step is a byte and what it needs: messages of brokers and store with ids
 * from small pools, time, children that end, losses, restarts. The rules are judged from outside:
 * from what it sent and started. */
#include "common/err.h"
#include "tests/fuzz/fuzz.h"
#include "worker/core.h"

enum {
    BROKERS = 2,
    SLOTS = 2,
    TICKETS_N = 4096,
    ATTEMPTS_N = 1024,
    RATE_N = 10,
    RATE_MS = 60000,
    SPINS = 40
};

typedef struct {
    uint64_t id;
    uint32_t life;
    bool granted, used;
} ticket_t;

typedef struct {
    uint64_t batch, attempt;
    uint32_t life;
    bool taken, started, gave_back, ended, stopped;
} attempt_t;

typedef struct {
    bool busy;
    uint64_t batch, attempt;
    int64_t deadline;
} child_t;

static worker_core_t *core;
static wire_arena_t *arena;
static int64_t now;
static uint32_t life;
static ticket_t tickets[TICKETS_N];
static int tickets_n;
static attempt_t attempts[ATTEMPTS_N];
static int attempts_n;
static child_t children[SLOTS];
static int64_t limited[ATTEMPTS_N];
static int limited_n;
static uint64_t seq;       /* of the newest HEARTBEAT */
static uint64_t answered;  /* of the newest one that was answered */
static uint64_t allowed_n; /* starts a window, the store's own limit included */
static bool unconnected, start_refused, log_broken, draining, foreign_limits;

static attempt_t *attempt_of(uint64_t batch, uint64_t attempt)
{
    for (int i = 0; i < attempts_n; i++) {
        if (attempts[i].batch == batch && attempts[i].attempt == attempt &&
            attempts[i].life == life) {
            return &attempts[i];
        }
    }
    FUZZ_CHECK(attempts_n < ATTEMPTS_N, "too many attempts for one input");
    attempts[attempts_n] = (attempt_t){.batch = batch, .attempt = attempt, .life = life};
    return &attempts[attempts_n++];
}

static ticket_t *ticket_of(uint64_t id)
{
    for (int i = 0; i < tickets_n; i++) {
        if (tickets[i].id == id) {
            return &tickets[i];
        }
    }
    return NULL;
}

/* -- what it does
 * -----------------------------------------------------------------------------------------------
 */

static void on_tickets(const msg_tickets_t *msg)
{
    FUZZ_CHECK(!draining || msg->grants_n == 0, "a draining worker grants tickets");
    for (uint32_t i = 0; i < msg->grants_n; i++) {
        ticket_t *ticket = ticket_of(msg->grants[i].ticket);
        FUZZ_CHECK(!ticket || (ticket->life == life && !ticket->used),
                   "ticket %llu is granted again (P13)", (unsigned long long)ticket->id);
        if (!ticket && tickets_n < TICKETS_N) {
            tickets[tickets_n++] =
                (ticket_t){.id = msg->grants[i].ticket, .life = life, .granted = true};
        }
    }
}

static bool on_send(void *context, int broker, frames_t *frames)
{
    (void)context;
    FUZZ_CHECK(broker >= 0 && broker < BROKERS, "broker %d", broker);
    msg_t msg;
    FUZZ_CHECK(wire_decode(arena, blob_data(frames->head), blob_n(frames->head), &msg) == ERR_OK,
               "it sent what is no message: %s", err_text());
    attempt_t *it;
    switch ((int)msg.type) {
    case MSG_TICKETS:
        on_tickets(&msg.tickets);
        break;
    case MSG_HEARTBEAT:
        seq = msg.heartbeat.seq;
        break;
    case MSG_ACCEPTED:
        attempt_of(msg.accepted.batch, msg.accepted.attempt)->taken = true;
        break;
    case MSG_REFUSED:
    case MSG_HANDED_BACK:
        it = msg.type == MSG_REFUSED ? attempt_of(msg.refused.batch, msg.refused.attempt)
                                     : attempt_of(msg.handed_back.batch, msg.handed_back.attempt);
        /* Either is a proof that nothing ran (P19). */
        FUZZ_CHECK(!it->started, "what has started is refused or handed back (P17, P18)");
        it->gave_back = it->gave_back || msg.type == MSG_HANDED_BACK;
        break;
    case MSG_RESULT:
        it = attempt_of(msg.result.batch, msg.result.attempt);
        FUZZ_CHECK(it->started && it->ended, "a result of what did not run");
        break;
    case MSG_FAILURE:
        it = attempt_of(msg.failure.batch, msg.failure.attempt);
        FUZZ_CHECK(it->started && it->ended, "a failure of what did not run");
        break;
    default:
        break;
    }
    frames_free(frames);
    return !unconnected;
}

static err_t on_started(void *context, const char *task, int64_t at)
{
    (void)context;
    FUZZ_CHECK(strcmp(task, "process_transaction_batch") == 0 && at == now, "a start is kept");
    if (limited_n < ATTEMPTS_N) {
        limited[limited_n++] = at;
        /* G9: the newest start and the tenth before it do not lie in one window. */
        FUZZ_CHECK(foreign_limits || limited_n <= RATE_N ||
                       at - limited[limited_n - 1 - RATE_N] >= RATE_MS,
                   "over %d starts within %d ms", RATE_N, RATE_MS);
        uint64_t recent = 0;
        for (int i = limited_n; i-- > 0 && limited[i] > at - RATE_MS;) {
            recent++;
        }
        FUZZ_CHECK(foreign_limits || recent <= allowed_n, "%llu starts, the store allows %llu",
                   (unsigned long long)recent, (unsigned long long)allowed_n);
    }
    return log_broken ? err_set(ERR_IO, "no disk") : ERR_OK;
}

static err_t on_start(void *context, int slot, const pool_work_t *work)
{
    (void)context;
    attempt_t *it = attempt_of(work->batch, work->attempt);
    FUZZ_CHECK(slot >= 0 && slot < SLOTS && !children[slot].busy, "a slot that is taken");
    FUZZ_CHECK(!draining, "a draining worker starts something");
    FUZZ_CHECK(!it->started, "batch %llu attempt %llu is started twice (P24)",
               (unsigned long long)work->batch, (unsigned long long)work->attempt);
    FUZZ_CHECK(!it->gave_back && !it->stopped, "what was given back or stopped is started (P18)");
    FUZZ_CHECK(work->deadline_ms > now, "a start after its guard");
    if (start_refused) {
        return err_set(ERR_UNAVAILABLE, "no child");
    }
    it->started = true;
    children[slot] = (child_t){true, work->batch, work->attempt, work->deadline_ms};
    return ERR_OK;
}

static void on_page(void *context, int slot, blob_t *page, uint64_t next_no, bool last)
{
    (void)context, (void)page, (void)next_no, (void)last;
    FUZZ_CHECK(children[slot].busy, "a page for nobody");
}

static void on_extend(void *context, int slot, int64_t deadline_ms)
{
    (void)context;
    FUZZ_CHECK(children[slot].busy && deadline_ms >= children[slot].deadline,
               "a deadline goes back");
    children[slot].deadline = deadline_ms;
}

static void on_kill(void *context, int slot)
{
    (void)context;
    FUZZ_CHECK(children[slot].busy, "nobody to kill");
    children[slot].busy = false;
}

/* -- life
 * -----------------------------------------------------------------------------------------------
 */

static void start_worker(bool lookahead, bool duplicate)
{
    static const worker_effects_t effects = {.send = on_send,
                                             .started = on_started,
                                             .start = on_start,
                                             .page = on_page,
                                             .extend = on_extend,
                                             .kill = on_kill};
    life++;
    draining = false;
    seq = answered = 0;
    allowed_n = RATE_N;
    worker_options_t options = {.name = "w1",
                                .host = "h",
                                .slots = SLOTS,
                                .brokers = BROKERS,
                                .heartbeat_ms = 1000,
                                .drain_ms = 10000,
                                .target_duration_ms = 5000,
                                .result_space = 1 << 20,
                                .lookahead = lookahead,
                                .test_duplicate = duplicate,
                                .random_seed = 7};
    options.incarnation[7] = (uint8_t)life;
    options.incarnation[8] = (uint8_t)life; /* in the real world random */
    worker_options_offer(&options, false);
    core = worker_core_new(&options, &effects);
    int from = limited_n > RATE_N ? limited_n - RATE_N : 0;
    worker_core_window_load(core, "process_transaction_batch", limited + from, limited_n - from);
    for (int i = 0; i < SLOTS; i++) {
        children[i].busy = false; /* they die with their parent */
        worker_core_slot_ready(core, i, true);
    }
}

static void turn(void)
{
    worker_core_turn(core, now);
    for (int i = 0; i < SPINS && worker_core_next_at(core, now) <= now; i++) {
        FUZZ_CHECK(i + 1 < SPINS, "the loop spins");
        worker_core_turn(core, now);
    }
    for (int i = 0; i < SLOTS; i++) {
        FUZZ_CHECK(!children[i].busy || children[i].deadline > now,
                   "a child lives beyond its guard (P27)");
    }
}

/* -- what happens to it
 * -----------------------------------------------------------------------------------------------
 */

static void hear(int broker, const msg_t *msg, blob_t *body, const uint64_t *ticket)
{
    frames_t frames = frames_of(msg, body);
    if (ticket) {
        uint8_t route[8];
        wire_ticket_put(route, *ticket);
        frames_route(&frames, route, sizeof route);
    }
    worker_core_receive(core, broker, &frames, now);
    FUZZ_CHECK(!frames.head, "frames are left");
}

static void hello_ok(feed_t *feed)
{
    uint8_t incarnation[WIRE_PEER_N] = {(uint8_t)feed_below(feed, 3)};
    msg_t msg = {
        .type = MSG_HELLO_OK,
        .hello_ok = {.incarnation = str_bytes(incarnation, WIRE_PEER_N),
                     .heartbeat_ms = feed_chance(feed, 8) ? (int64_t)feed_u64(feed) : 1000}};
    hear((int)feed_below(feed, BROKERS), &msg, NULL, NULL);
}

static void dispatch(feed_t *feed, bool odd)
{
    static const char *const tasks[] = {"noop", "process_transaction_batch",
                                        "finalize_transactions", "unknown"};
    uint32_t task = feed_below(feed, 8);
    task = task < 3 ? task : task < 7 ? 1 : 3;
    uint64_t id = feed_chance(feed, 16) ? feed_u64(feed)
                  : tickets_n
                      ? tickets[(uint32_t)(tickets_n - 1) -
                                feed_below(feed, (uint32_t)(tickets_n < 12 ? tickets_n : 12))]
                            .id
                      : 0;
    msg_t msg = {.type = MSG_DISPATCH,
                 .dispatch = {.store_id = str_bytes("ABCDEFGHIJKLMNOP", 16),
                              .job = 1,
                              .batch = 1 + feed_below(feed, 12),
                              .attempt = 1 + feed_below(feed, 4),
                              .kind = task == 2 ? WIRE_KIND_FINALIZE : WIRE_KIND_BATCH,
                              .task = str_of(tasks[task]),
                              .items_n = 100,
                              .batches_n = 3,
                              .lease_ms = 30000,
                              .params = str_of("{}")}};
    if (odd) {
        uint64_t *const numbers[] = {&msg.dispatch.kind,
                                     &msg.dispatch.items_n,
                                     &msg.dispatch.raw_bytes,
                                     &msg.dispatch.batch_no,
                                     &msg.dispatch.format,
                                     &msg.dispatch.failures,
                                     &msg.dispatch.batches_n,
                                     &msg.dispatch.memory_bytes,
                                     (uint64_t *)&msg.dispatch.lease_ms,
                                     (uint64_t *)&msg.dispatch.soft_ms,
                                     (uint64_t *)&msg.dispatch.hard_ms};
        *numbers[feed_below(feed, 11)] = feed_u64(feed);
        msg.dispatch.store_id.n = feed_below(feed, 17);
    }
    ticket_t *ticket = ticket_of(id);
    attempt_t *it = attempt_of(msg.dispatch.batch, msg.dispatch.attempt);
    bool before = it->taken;
    hear((int)feed_below(feed, BROKERS), &msg, blob_new("items", 5), &id);
    if (it->taken && !before) { /* ACCEPTED went out just now: on this ticket */
        FUZZ_CHECK(ticket && ticket->life == life, "taken on a ticket it never issued (P17)");
        FUZZ_CHECK(!ticket->used, "ticket %llu is used twice (P17)", (unsigned long long)id);
        FUZZ_CHECK(!it->started && !it->gave_back, "taken after it was answered");
        ticket->used = true;
    }
}

static void heartbeat_ok(feed_t *feed)
{
    wire_lease_ref_t stop[3];
    uint32_t stop_n = feed_below(feed, 4);
    uint32_t how = feed_byte(feed);
    for (uint32_t i = 0; i < stop_n; i++) {
        stop[i] = (wire_lease_ref_t){1 + feed_below(feed, 12), 1 + feed_below(feed, 4)};
    }
    /* Only stricter limits: those of the worker stay judgeable. */
    wire_limit_t limit = {.task = str_of("process_transaction_batch"),
                          .rate_n = 1 + feed_below(feed, RATE_N),
                          .rate_window_ms = RATE_MS + (int64_t)feed_below(feed, 1000)};
    uint32_t back = feed_below(feed, 4);
    msg_t msg = {.type = MSG_HEARTBEAT_OK,
                 .heartbeat_ok = {.seq = seq > back ? seq - back : seq,
                                  .lease_ms = how & 1 ? 30000 : (int64_t)feed_below(feed, 60000),
                                  .stop = stop,
                                  .stop_n = stop_n,
                                  .quiet = (how & 6) == 6,
                                  .drain = how == 255,
                                  .limits = &limit,
                                  .limits_n = (how & 0x18) == 0x18}};
    bool valid = seq > 0;
    if (valid && msg.heartbeat_ok.seq > answered) {
        answered = msg.heartbeat_ok.seq;
        allowed_n = msg.heartbeat_ok.limits_n ? limit.rate_n : RATE_N;
    }
    hear((int)feed_below(feed, BROKERS), &msg, NULL, NULL);
    draining = worker_core_facts(core).draining;
    for (uint32_t i = 0; valid && i < stop_n; i++) {
        for (int slot = 0; slot < SLOTS; slot++) {
            FUZZ_CHECK(!children[slot].busy || children[slot].batch != stop[i].batch ||
                           children[slot].attempt != stop[i].attempt,
                       "what was stopped runs on (P26)");
        }
        attempt_t *it = attempt_of(stop[i].batch, stop[i].attempt);
        it->stopped = it->stopped || it->taken;
    }
}

static void acknowledge(feed_t *feed, bool recorded)
{
    uint64_t batch = 1 + feed_below(feed, 12), attempt = 1 + feed_below(feed, 4);
    msg_t msg = recorded
                    ? (msg_t){.type = MSG_RECORDED, .recorded = {batch, attempt}}
                    : (msg_t){.type = MSG_DISCARDED, .discarded = {batch, attempt, str_of("")}};
    hear(0, &msg, NULL, NULL);
}

static void child_speaks(feed_t *feed, pool_event_type_t type)
{
    int slot = (int)feed_below(feed, SLOTS);
    child_t *child = &children[slot];
    if (!child->busy) {
        return;
    }
    blob_t *result = blob_new("result", 6);
    pool_event_t event = {.type = type,
                          .slot = slot,
                          .batch = child->batch,
                          .attempt = child->attempt,
                          .items_done = feed_byte(feed),
                          .from_no = feed_below(feed, 4),
                          .result = result,
                          .duration_us = (int64_t)feed_below(feed, 60000) * 1000,
                          .job_error = "",
                          .job_error_text = "",
                          .failure_class = 1 + feed_below(feed, FAILURE_CLASSES_N - 1),
                          .permanent = feed_chance(feed, 64),
                          .retry_after_ms = feed_chance(feed, 64) ? 100 : -1,
                          .text = "it broke",
                          .stderr_tail = ""};
    bool ends = type == POOL_RESULT || type == POOL_FAILURE;
    if (ends) {
        child->busy = false;
        attempt_of(child->batch, child->attempt)->ended = true;
    }
    worker_core_event(core, &event, now);
    if (ends) {
        worker_core_slot_ready(core, slot, true);
    }
    blob_unref(&result);
}

static void partials(feed_t *feed)
{
    msg_t msg = {.type = MSG_PARTIALS,
                 .partials = {.batch = 1 + feed_below(feed, 12),
                              .attempt = 1 + feed_below(feed, 4),
                              .from_no = feed_below(feed, 4),
                              .next_no = feed_below(feed, 4),
                              .last = feed_below(feed, 2)}};
    hear(0, &msg, blob_new("page", 4), NULL);
}

/* Bytes as they are, behind a head that is one. */
static void raw(feed_t *feed)
{
    uint8_t head[64] = {0x99, 0xce, 0x53, 0x54, 0x4e, 0x54, 0x01};
    size_t n = 7 + feed_below(feed, 50);
    for (size_t i = 7; i < n; i++) {
        head[i] = (uint8_t)feed_byte(feed);
    }
    head[0] = (uint8_t)(0x90 | (feed_byte(feed) & 15));
    /* It may say anything about limits, stops and ids; what is judged by them is not any more. */
    msg_type_t type = MSG_NONE;
    bool dangerous =
        wire_peek(head, n, &type) == ERR_OK && (type == MSG_HEARTBEAT_OK || type == MSG_DISPATCH);
    foreign_limits = foreign_limits || dangerous;
    frames_t frames = {.head = blob_new(head, n)};
    if (type == MSG_DISPATCH) {
        frames_free(&frames);
        return;
    }
    worker_core_receive(core, (int)feed_below(feed, BROKERS), &frames, now);
    draining = worker_core_facts(core).draining;
}

static void sample(feed_t *feed)
{
    worker_sample_t it = {.cpu_permille = feed_below(feed, 1001),
                          .memory_total = UINT64_C(16) << 30,
                          .memory_available = (uint64_t)feed_byte(feed) << 24};
    worker_core_sample(core, &it, now);
}

static void restart(feed_t *feed)
{
    worker_core_destroy(&core);
    uint32_t how = feed_byte(feed);
    start_worker(!(how & 1), how & 2);
}

static void step(feed_t *feed)
{
    int64_t next;
    switch (feed_byte(feed) % 24) {
    case 0:
    case 1:
        next = worker_core_next_at(core, now);
        now = next != INT64_MAX && next > now && next < now + 100000 ? next : now + 1;
        break;
    case 2:
        now += feed_byte(feed);
        break;
    case 3:
        now += 100 * (int64_t)feed_byte(feed);
        break;
    case 4:
        hello_ok(feed);
        break;
    case 5:
        hear((int)feed_below(feed, BROKERS), &(msg_t){.type = MSG_RECONNECT}, NULL, NULL);
        break;
    case 6:
        hear((int)feed_below(feed, BROKERS), &(msg_t){.type = MSG_PONG}, NULL, NULL);
        break;
    case 7:
    case 8:
    case 9:
        dispatch(feed, false);
        break;
    case 10:
        dispatch(feed, true);
        break;
    case 11:
    case 12:
        heartbeat_ok(feed);
        break;
    case 13:
        acknowledge(feed, true);
        break;
    case 14:
        acknowledge(feed, false);
        break;
    case 15:
    case 16:
        child_speaks(feed, POOL_RESULT);
        break;
    case 17:
        child_speaks(feed, POOL_FAILURE);
        break;
    case 18:
        child_speaks(feed, feed_chance(feed, 128) ? POOL_PAGE : POOL_PROGRESS);
        break;
    case 19:
        partials(feed);
        break;
    case 20:
        sample(feed);
        break;
    case 21:
        raw(feed);
        break;
    case 22: {
        uint32_t how = feed_byte(feed);
        unconnected = (how & 7) == 7;
        start_refused = (how & 0x18) == 0x18;
        log_broken = (how & 0x60) == 0x60;
        for (int i = 0; i < SLOTS; i++) {
            worker_core_slot_ready(core, i, !children[i].busy && !(how & 0x80));
        }
        break;
    }
    default:
        if (feed_chance(feed, 32)) {
            worker_core_drain(core, now);
            draining = true;
        } else {
            restart(feed);
        }
    }
    turn();
}

void fuzz_worker(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    now = 1000000;
    life = 0;
    tickets_n = attempts_n = limited_n = 0;
    unconnected = start_refused = log_broken = draining = foreign_limits = false;
    memset(children, 0, sizeof children);
    arena = wire_arena_new();
    uint32_t how = feed_byte(&feed);
    start_worker(!(how & 1), how & 2);
    turn();
    for (int i = 0; i < BROKERS; i++) {
        msg_t msg = {.type = MSG_HELLO_OK,
                     .hello_ok = {.incarnation = str_bytes("0123456789abcdef", WIRE_PEER_N),
                                  .heartbeat_ms = 1000}};
        hear(i, &msg, NULL, NULL);
    }
    turn();
    for (int steps = 0; steps < 400 && feed_left(&feed) > 0; steps++) {
        step(&feed);
    }
    worker_core_destroy(&core);
    wire_arena_destroy(&arena);
}

/* The state of the worker's core, shared by core.c, peers.c, runs.c and reports.c. Nobody else
 * includes it. */
#ifndef STINT_WORKER_CORE_INSIDE_H
#define STINT_WORKER_CORE_INSIDE_H

#include "common/optimizer.h"
#include "worker/core.h"
#include "worker/guard.h"
#include "worker/rates.h"
#include "worker/results.h"
#include "worker/tickets.h"

enum {
    HELLO_AGAIN_MS = 50,  /* until a connection takes it */
    PEER_SILENT_N = 3,    /* unanswered heartbeats (P9) */
    LATE_MS = 100,        /* beyond the expected start: handed back (P18) */
    PAGE_AGAIN_MS = 1000, /* P29 */
    SENT_MEMORY = 64,     /* heartbeats whose sending time is known */
};

typedef struct {
    bool known;              /* HELLO_OK came and no RECONNECT since */
    int64_t hello_at;        /* when HELLO is due; INT64_MAX while known */
    bool refused_version;    /* said UNSUPPORTED to it since the last heartbeat */
    uint32_t unanswered_n;   /* heartbeats without any word from it */
    uint32_t store_silent_n; /* HEARTBEATs through it without HEARTBEAT_OK */
    int64_t heartbeat_ms;    /* what it asked for, 0 = nothing yet */
    uint8_t incarnation[WIRE_PEER_N];
    uint32_t beats_n; /* heartbeats before its first answer */
} peer_t;

/* A batch this worker accepted: waits in the queue, then runs in a slot. */
typedef struct held {
    struct held *next; /* in the queue */
    wire_lease_ref_t lease;
    uint64_t job, first_line, items_total, raw_bytes;
    uint32_t kind, batch_no, items_n, format, batches_n, failures;
    int task, broker;
    uint8_t store_id[WIRE_PEER_N];
    uint32_t store_id_n;
    char *params, *header;
    blob_t *items;
    int64_t soft_ms, hard_ms, memory_bytes, lease_ms;
    guard_t guard;
    uint64_t first_seq; /* the first heartbeat that names it */
    int64_t expected_at, started_at;
    uint32_t items_done;
    bool wants_page;
    uint64_t from_no;
    int64_t ask_at;
} held_t;

typedef struct {
    bool ready;   /* the child is alive and idle */
    held_t *held; /* NULL = nothing runs */
} slot_t;

struct worker_core {
    worker_options_t options;
    char *name, *host;
    worker_effects_t effects;
    wire_arena_t *arena;
    rates_t rates;
    tickets_t *tickets;
    results_t *results;
    int64_t outcomes_at; /* when outcomes were sent last */
    peer_t peers[WORKER_BROKERS_MAX];
    slot_t slots[WORKER_SLOTS_MAX];
    held_t *queue, **queue_end;
    uint32_t waiting_n, running_n;
    worker_sample_t sample;
    optimizer_t optimizer;
    int measured_task;  /* whose batches the optimizer saw last, -1 = none */
    double mean_result; /* bytes of an outcome, moving average */
    uint64_t random;
    int64_t heartbeat_ms, heartbeat_at;
    uint64_t seq, answered_seq, tickets_seq;
    int64_t sent_at[SENT_MEMORY];
    int turn_broker; /* round robin of heartbeats and repeats */
    bool quiet, draining, bye_said;
    int64_t drain_end_at;
    worker_facts_t facts;
};

/* -- core.c */
void core_note(const worker_core_t *self, bool degraded, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* -- peers.c: brokers */
/* Messages about the connection. */
void peers_hello_ok(worker_core_t *self, int broker, const msg_hello_ok_t *msg);
void peers_reconnect(worker_core_t *self, int broker);
void peers_heartbeat_ok(worker_core_t *self, int broker, const msg_heartbeat_ok_t *msg,
                        int64_t now_ms);
/* Any word from a broker; `from_store`: one that the store said. */
void peers_heard(worker_core_t *self, int broker, bool from_store);
void peers_unsupported(worker_core_t *self, int broker);
/* HELLOs and heartbeats that are due; then tickets to the brokers that should know more than they
 * do. */
void peers_turn(worker_core_t *self, int64_t now_ms);
/* Send to the store through `first` if it is live, else through any live broker. Takes the body. */
void peers_to_store(worker_core_t *self, int first, const msg_t *msg, blob_t *body);
/* A live broker in turn, -1 if none: one that reaches the store if there is such a one. */
int peers_next(worker_core_t *self);
bool peers_live(const worker_core_t *self, int broker);
void peers_bye(worker_core_t *self);

/* -- runs.c: batches */
void runs_dispatch(worker_core_t *self, int broker, const msg_dispatch_t *msg, frames_t *frames,
                   int64_t now_ms);
/* Kill or forget without a word (P26). */
void runs_stop(worker_core_t *self, wire_lease_ref_t lease);
/* Extend what HEARTBEAT seq named. */
void runs_extend(worker_core_t *self, uint64_t seq, int64_t lease_ms);
void runs_hand_back_all(worker_core_t *self, const char *reason);
/* Drop what waits and what runs without a word; `kill` ends the children too. */
void runs_drop_all(worker_core_t *self, bool kill);
/* Fence, hand back what is late, start what can start. */
void runs_turn(worker_core_t *self, int64_t now_ms);
int64_t runs_next_at(const worker_core_t *self);
uint32_t runs_free_slots(const worker_core_t *self);
/* The batches of a HEARTBEAT; at most WIRE_LIST_MAX. */
uint32_t runs_list(const worker_core_t *self, wire_running_t *out);

rate_t *runs_rate(worker_core_t *self, const held_t *it);
bool runs_is(const held_t *it, uint64_t batch, uint64_t attempt);
/* The slot's batch has ended. */
void runs_release(worker_core_t *self, int slot);

/* -- reports.c: what children say */
void reports_partials(worker_core_t *self, const msg_partials_t *msg, blob_t *body);
/* Ask for pages again, send outcomes that are due. */
void reports_turn(worker_core_t *self, int64_t now_ms);
int64_t reports_next_at(const worker_core_t *self);

#endif

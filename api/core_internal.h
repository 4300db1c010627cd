/* What the rooms of the core share; nobody else includes this. */
#ifndef STINT_API_CORE_INTERNAL_H
#define STINT_API_CORE_INTERNAL_H

#include "api/capacity.h"
#include "api/core.h"

enum {
    TURN_DISPATCHES = 64,
    TURN_EXPIRIES = 1000,
    UPLOAD_WAIT_MS = 50,
    UPLOAD_WAIT_BYTES = 4 << 20,
    START_MS = 3000, /* after opening, a HELLO that nobody took is said again soon */
    HELLO_AGAIN_MS = 20,
    VACUUM_PAGES = 50,
};

typedef struct {
    int broker;
    frames_t frames;
    uint64_t batch; /* a DISPATCH: of this attempt; else 0 */
    uint32_t attempt;
} owed_t;

typedef struct {
    capacity_t capacity;
    bool up, missed;                  /* missed: that it never answered has been said */
    uint8_t incarnation[WIRE_PEER_N]; /* from its HELLO_OK */
    int64_t heard_at;                 /* core clock */
} broker_t;

typedef struct maintenance maintenance_t;

struct core {
    store_t *store;
    core_options_t options;
    core_effects_t effects;
    feeder_t *feeder;
    peers_t *peers;
    wire_arena_t *arena;
    broker_t brokers[CORE_BROKERS_MAX];
    int64_t raw_now, shift, now, wall; /* now = raw_now - shift */
    int64_t wake_at;   /* when the next turn was meant to be at the latest, monotonic */
    int64_t opened_at; /* core clock */
    int64_t beat_at;   /* next heartbeat, core clock */
    uint64_t ping_seq;
    owed_t *owed;
    size_t owed_n, owed_capacity;
    owed_t *unsent; /* DISPATCHes nobody took: given back in the next turn */
    size_t unsent_n, unsent_capacity;
    struct {
        core_after_t call;
        void *context;
    } * after;
    size_t after_n, after_capacity;
    bool urgent, more; /* commit now; run again at once */
    err_t lost;        /* why the running turn must be rolled back; ERR_OK = it need not */
    bool full;
    bool vacuum;           /* a cleanup freed pages */
    int64_t upload_since;  /* core clock; when the running turn got its first upload row */
    uint64_t upload_bytes; /* in the running turn */
    core_submission_t *submissions;
    uint64_t *aborted; /* receiving jobs to remove */
    size_t aborted_n, aborted_capacity;
    meter_t meter;
    core_counters_t counters;
    core_health_t health;
    maintenance_t *maintenance;
    char name[65], host[129];
};

/* RECORDED, or DISCARDED if `why` is not NULL. */
typedef struct {
    uint64_t batch, attempt;
    const char *why;
} lease_answer_t;

/* core.c */
/* Open a transaction if there is none and mark; every verb that writes is core_verb ..
 * core_verb_end. */
CHECKED err_t core_verb(core_t *self);
/* Keep what the verb wrote if err is ERR_OK, else undo it; returns err, or what keeping said. */
CHECKED err_t core_verb_end(core_t *self, err_t err);
void core_owe(core_t *self, int broker, const uint8_t *peer, const msg_t *msg, blob_t *body);
void core_owe_dispatch(core_t *self, int broker, frames_t *frames, const batch_row_t *row);
err_t core_load(core_t *self);

/* core_dispatch.c */
void core_feed(core_t *self);
/* The job's next batch, leased under a new attempt (in the store and in memory) until the accept
 * lease ends; NULL: the turn is lost. *items: its zstd frames, NULL if it has none. */
live_batch_t *core_lease(core_t *self, live_job_t *job, uint32_t max_items, blob_t **items);
void core_broker_hello(core_t *self, int broker);
void core_on_capacity(core_t *self, int broker, const msg_capacity_is_t *msg);

/* core_outcome.c */
void core_on_accepted(core_t *self, const uint8_t *peer, const msg_accepted_t *msg);
/* REFUSED, HANDED_BACK, UNDELIVERABLE: the attempt did not and will not run. */
void core_give_back(core_t *self, uint64_t batch, uint64_t attempt);
/* May this worker speak about the lease? Until it is accepted any may, then only who accepted it.
 */
bool core_holds(const live_batch_t *batch, const uint8_t *peer);
void core_on_given_back(core_t *self, const uint8_t *peer, uint64_t batch, uint64_t attempt);
/* The name of a worker: the one it said HELLO with, which its key is for; what the message says
 * counts only while no HELLO of it is known. */
void core_worker_name(const core_t *self, const uint8_t *peer, str_t said, char out[65]);
void core_on_result(core_t *self, int broker, const uint8_t *peer, const msg_result_t *msg,
                    blob_t *body);
void core_on_failure(core_t *self, int broker, const uint8_t *peer, const msg_failure_t *msg);
/* The lease is over; makes the batch ready or dead. */
void core_lose(core_t *self, live_batch_t *batch, const char *why);
void core_expire(core_t *self);
/* Record the result of work the api did itself. */
CHECKED err_t core_record_local(core_t *self, uint64_t batch, const char *report,
                                const char *error);

/* core_peers.c */
void core_on_hello(core_t *self, int broker, const uint8_t *peer, const msg_hello_t *msg);
void core_on_heartbeat(core_t *self, int broker, const uint8_t *peer, const msg_heartbeat_t *msg);
void core_on_bye(core_t *self, const uint8_t *peer);
void core_on_gone(core_t *self, const uint8_t *peer);
void core_on_partials_get(core_t *self, int broker, const uint8_t *peer,
                          const msg_partials_get_t *msg);

/* core_schedule.c */
void core_on_schedules_get(core_t *self, int broker, const uint8_t *peer,
                           const msg_schedules_get_t *msg);
void core_on_tick(core_t *self, int broker, const uint8_t *peer, const msg_tick_t *msg);
CHECKED err_t core_ensure_schedules(core_t *self);

/* core_submit.c */
void core_submissions_break(core_t *self);
void core_remove_aborted(core_t *self);

/* maintenance.c */
maintenance_t *maintenance_new(void);
void maintenance_destroy(maintenance_t **self);
/* Forget what runs (its lease is lost with it). */
void maintenance_reset(maintenance_t *self);
/* Take a waiting job of the store's own and do one step of it. True: there is more to do at once.
 */
bool maintenance_step(maintenance_t *self, core_t *core);

#endif

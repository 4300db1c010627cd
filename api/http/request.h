/* request: one request on its way through the rooms of api/http; nobody else includes this.
 *
 * Life: begun when its head is there (guard, route), then the body piece by piece, then its end,
 * where it is answered or waits for the commit or for its next share of a turn. All of it on the
 * one thread. */
#ifndef STINT_API_HTTP_REQUEST_H
#define STINT_API_HTTP_REQUEST_H

#include <jansson.h>
#include <microhttpd.h>

#include "api/http/problem.h"
#include "api/http/query.h"
#include "api/http/server.h"

enum {
    TURN_UPLOAD_BYTES = 256 << 10, /* of all uploads in one turn, after gunzip */
    TURN_SUBMITS = 64,             /* submissions that end in one turn */
    HEAD_BYTES_MAX = 16 << 10,
};

typedef struct request request_t;
typedef struct upload upload_t;
typedef struct http_line http_line_t;

struct http {
    loop_t *loop;
    core_t *core;
    http_options_t options;
    struct MHD_Daemon *daemon;
    int listener; /* -1 once given up */
    loop_watch_t *watch;
    loop_timer_t *timer, *sweep;
    char url[300];
    http_line_t *lines; /* open connections */
    unsigned lines_n;
    int64_t crowded_said_at; /* when it was last said that there are too many of them */
    request_t *suspended, *suspended_last; /* who waited longest first */
    unsigned uploads_waiting;              /* of them, for their turn */
    size_t turn_used;                      /* bytes of uploads taken in this turn */
    int turn_submits;                      /* submissions ended in this turn */
    uint64_t envelope_bytes;               /* of all envelopes being received */
    uint64_t answered[6];                  /* by the first digit of the status */
    int64_t opened_at;
    bool resumed, draining;
};

/* A connection; requests on it come one after another. */
struct http_line {
    http_line_t *next, *previous;
    int fd;
    int64_t since; /* idle since, or the request's beginning */
    request_t *request;
};

typedef void (*request_call_t)(request_t *self);

struct request {
    http_t *http;
    http_line_t *line;
    struct MHD_Connection *connection;
    char *target; /* as sent */
    query_t query;
    request_call_t handle; /* at the end of the body; sets the reply or waits */
    uint64_t job;          /* of the path */
    reply_t reply;
    uint64_t length, received, discarded; /* of the body; length UINT64_MAX = not known */
    bool begun, answered_early, head_only;
    upload_t *upload;
    /* suspended: */
    request_t *next, *previous;
    bool waits, for_commit, for_end;
    void (*committed)(request_t *self, err_t err);
    bool turn_is_mine; /* it waited longest */
};

/* routes.c */
/* Sets handle, or the reply. */
void route(request_t *self, const char *method);
void reply_json(request_t *self, unsigned status, json_t *take);
/* JSON that stands in reply.body. */
void reply_body(request_t *self, unsigned status);
/* A problem made of err and err_text(). */
void refuse(request_t *self, err_t err);

/* server.c */
/* Continue in the next turn: the handler is called again. */
void wait_for_turn(request_t *self);
/* False: this turn has ended its share of submissions; the handler is called again in a later one.
 */
bool may_end(request_t *self);
/* `committed` is called after the commit and sets the reply. */
void wait_for_commit(request_t *self, void (*committed)(request_t *self, err_t err));
/* How much of this turn's share is left. */
size_t turn_room(request_t *self);

/* True if the query has no parameter but these (NULL: none at all); else the reply is set. */
bool takes_only(request_t *self, const char *const *names);

/* stats.c */
typedef struct {
    int workers, schedulers; /* heard of lately */
    int brokers_up;
    uint64_t slots, busy; /* of the workers */
} fleet_counts_t;
fleet_counts_t fleet_counts(const http_t *http);

/* metrics.c */
void metrics(request_t *self);
/* /healthz: this process answers. /readyz: it can take work; `verbose` says why not. */
void probe_live(request_t *self);
void probe_ready(request_t *self);

/* places.c */
/* Looks after the open connections from now on, once a second. */
void places_open(http_t *self);
/* libmicrohttpd's call when a connection begins and ends. */
void places_notify(void *context, struct MHD_Connection *connection, void **line,
                   enum MHD_ConnectionNotificationCode code);

/* guard.c */
/* What libmicrohttpd takes and we do not: ERR_MALFORMED, or ERR_TOO_LARGE for the head. Sets
 * length. */
CHECKED err_t guard(request_t *self);

/* submit.c */
void submit_begin(request_t *self);
/* Returns how many bytes were taken; less than n: it waits, or the reply is set. */
size_t submit_body(request_t *self, const char *data, size_t n);
void submit_end(request_t *self);
void submit_drop(request_t *self);

/* jobs.c */
void jobs_get(request_t *self);
void jobs_list(request_t *self);
void jobs_cancel(request_t *self);
void jobs_report(request_t *self);

/* stats.c */
void stats_summary(request_t *self);
void stats_workers(request_t *self);
void stats_health(request_t *self);

#endif

/* Which address is answered by whom. */
#include <stdlib.h>
#include <string.h>

#include "api/http/request.h"
#include "common/log.h"

#define JOBS "/api/v1/batch-jobs"

typedef enum { TAKES_GET = 1, TAKES_POST = 2 } takes_t;

static const struct {
    const char *path; /* "*" stands for a job id */
    takes_t takes;
    request_call_t handle;
} routes[] = {
    {JOBS "/submit", TAKES_POST, submit_end},
    {JOBS "/stats/summary", TAKES_GET, stats_summary},
    {JOBS "/*/report", TAKES_GET, jobs_report},
    {JOBS "/*/cancel", TAKES_POST, jobs_cancel},
    {JOBS "/*", TAKES_GET, jobs_get},
    {JOBS "/", TAKES_GET, jobs_list},
    {JOBS, TAKES_GET, jobs_list},
    {"/api/v1/workers", TAKES_GET, stats_workers},
    {"/api/v1/health", TAKES_GET, stats_health},
    {"/metrics", TAKES_GET, metrics},
    {"/healthz", TAKES_GET, probe_live},
    {"/readyz", TAKES_GET, probe_ready},
};

/* A job id as it is written in answers: no zero in front, below 2^53. */
static size_t id_length(const char *text, uint64_t *out)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 16 || text[0] == '0') {
        return 0;
    }
    *out = strtoull(text, NULL, 10);
    return n;
}

static bool matches(const char *pattern, const char *path, uint64_t *job)
{
    const char *star = strchr(pattern, '*');
    if (!star) {
        return strcmp(pattern, path) == 0;
    }
    size_t before = (size_t)(star - pattern);
    if (strncmp(pattern, path, before) != 0) {
        return false;
    }
    size_t n = id_length(path + before, job);
    return n && strcmp(path + before + n, star + 1) == 0;
}

static const char *allow_of(takes_t takes)
{
    return takes == TAKES_GET ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
}

static void route_method(request_t *self, const char *method, size_t i)
{
    takes_t takes = routes[i].takes;
    if (strcmp(method, "OPTIONS") == 0) {
        self->reply.status = 204;
        self->reply.allow = allow_of(takes);
        return;
    }
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (takes == TAKES_GET ? get : strcmp(method, "POST") == 0) {
        self->handle = routes[i].handle;
        if (self->handle == submit_end) {
            submit_begin(self);
        }
        return;
    }
    refuse(self, err_set(ERR_METHOD, "%.20s is not for %s; %s are", method, routes[i].path,
                         allow_of(takes)));
    self->reply.allow = allow_of(takes);
}

void route(request_t *self, const char *method)
{
    char *question = strchr(self->target, '?');
    char *path = mem_text_n(self->target,
                            question ? (size_t)(question - self->target) : strlen(self->target));
    err_t err = percent_decode(path);
    if (!err) {
        err = query_parse(&self->query, question ? question + 1 : NULL);
    }
    if (err) {
        refuse(self, err);
        free(path);
        return;
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (matches(routes[i].path, path, &self->job)) {
            route_method(self, method, i);
            free(path);
            return;
        }
    }
    refuse(self, err_set(ERR_NOT_FOUND, "there is nothing at %.200s", path));
    free(path);
}

void reply_json(request_t *self, unsigned status, json_t *take)
{
    /* 12 digits: enough for a rate, and 33.3 stays 33.3. */
    char *written = json_dumps(take, JSON_COMPACT | JSON_REAL_PRECISION(12));
    INVARIANT(written);
    buffer_clear(&self->reply.body);
    buffer_add_text(&self->reply.body, written);
    free(written);
    json_decref(take);
    reply_body(self, status);
}

void reply_body(request_t *self, unsigned status)
{
    self->reply.type = "application/json";
    self->reply.status = status;
}

void refuse(request_t *self, err_t err)
{
    problem_write(&self->reply, err, err_text(), NULL);
}

bool takes_only(request_t *self, const char *const *names)
{
    static const char *const none[] = {NULL};
    err_t err = query_only(&self->query, names ? names : none);
    if (err) {
        refuse(self, err);
    }
    return !err;
}

/* Jobs as clients see them: committed rows, and the rate the core keeps. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/request.h"
#include "api/http/views.h"

static err_t unknown(uint64_t job)
{
    return err_set(ERR_NOT_FOUND, "there is no job %" PRIu64, job);
}

/* An upload that is not complete is not there yet. */
static err_t read_job(request_t *self, job_row_t *row)
{
    err_t err = store_read_job(core_store(self->http->core), self->job, row);
    if (!err && row->state == JOB_RECEIVING) {
        job_row_free(row);
        err = ERR_NOT_FOUND;
    }
    return err == ERR_NOT_FOUND ? unknown(self->job) : err;
}

static void reply_job(request_t *self)
{
    job_row_t row;
    err_t err = read_job(self, &row);
    if (err) {
        refuse(self, err);
        return;
    }
    view_job(&(json_out_t){.out = &self->reply.body}, &row,
             core_job_rate(self->http->core, row.id));
    job_row_free(&row);
    reply_body(self, 200);
}

void jobs_get(request_t *self)
{
    if (takes_only(self, NULL)) {
        reply_job(self);
    }
}

void jobs_report(request_t *self)
{
    if (!takes_only(self, NULL)) {
        return;
    }
    job_row_t row;
    err_t err = read_job(self, &row);
    if (err) {
        refuse(self, err);
        return;
    }
    err = store_read_report(core_store(self->http->core), self->job, &self->reply.body);
    if (err == ERR_NOT_FOUND) {
        err = err_set(ERR_CONFLICT, "job %" PRIu64 " is %s and has no report%s", self->job,
                      job_state_name(row.state), job_state_terminal(row.state) ? "" : " yet");
    }
    job_row_free(&row);
    if (err) {
        refuse(self, err);
        return;
    }
    reply_body(self, 200);
}

/* -- cancel ------------------------------------------------------------------------------------ */

static void on_cancelled(request_t *self, err_t err)
{
    if (err) {
        refuse(self, err_set(err, "the cancellation was not stored: %s", err_title(err)));
    } else {
        reply_job(self);
    }
}

void jobs_cancel(request_t *self)
{
    if (!takes_only(self, NULL)) {
        return;
    }
    err_t err = core_cancel(self->http->core, self->job);
    if (err) {
        refuse(self, err == ERR_NOT_FOUND ? unknown(self->job) : err);
        return;
    }
    wait_for_commit(self, on_cancelled);
}

/* -- list -------------------------------------------------------------------------------------- */

typedef struct {
    request_t *request;
    json_out_t out;
    int n, limit;
    uint64_t last;
    bool more;
} list_t;

static void on_row(void *context, const job_row_t *row)
{
    list_t *list = context;
    if (list->n == list->limit) {
        list->more = true; /* one more was asked for than is shown */
        return;
    }
    list->n++;
    list->last = row->id;
    double rate = core_job_rate(list->request->http->core, row->id);
    view_job(&list->out, row, rate);
}

static err_t read_status(const query_t *query, job_filter_t *filter)
{
    const char *status = query_get(query, "status");
    if (!status) {
        return ERR_OK;
    }
    filter->has_state = job_state_parse(status, &filter->state) && filter->state != JOB_RECEIVING;
    return filter->has_state
               ? ERR_OK
               : err_set(ERR_INVALID,
                         "status: '%.40s' is none of pending, processing, finalizing, completed, "
                         "failed, cancelled",
                         status);
}

static err_t read_filter(const query_t *query, job_filter_t *filter)
{
    static const char *const names[] = {"status", "task", "limit", "cursor", NULL};
    int64_t limit = 50;
    err_t err = query_only(query, names);
    if (!err) {
        err = query_number(query, "limit", 1, 1000, &limit);
    }
    if (!err) {
        err = read_status(query, filter);
    }
    filter->limit = (int)limit;
    filter->task = query_get(query, "task");
    const char *cursor = query_get(query, "cursor");
    if (!err && cursor) {
        int64_t before = 0;
        err = query_number(query, "cursor", 1, (int64_t)1 << 53, &before);
        filter->before = (uint64_t)before;
        if (err) {
            err = err_set(ERR_INVALID, "cursor: not one of ours");
        }
    }
    return err;
}

void jobs_list(request_t *self)
{
    job_filter_t filter = {0};
    err_t err = read_filter(&self->query, &filter);
    list_t list = {.request = self, .out = {.out = &self->reply.body}, .limit = filter.limit};
    json_out_object(&list.out, NULL);
    json_out_array(&list.out, "jobs");
    for (int part = 0; part < 2 && !err; part++) {
        /* The row behind the page says whether there is a next one; the store gives 1000 at most.
         */
        if (part == 0) {
            filter.limit += filter.limit < 1000;
        } else if (list.limit == 1000 && list.n == 1000) {
            filter.before = list.last;
            filter.limit = 1;
        } else {
            break;
        }
        err = store_read_jobs(core_store(self->http->core), &filter, on_row, &list);
    }
    if (err) {
        refuse(self, err);
        return;
    }
    json_out_end_array(&list.out);
    char cursor[24];
    snprintf(cursor, sizeof cursor, "\"%" PRIu64 "\"", list.last);
    json_out_raw(&list.out, "next_cursor", list.more ? cursor : "null");
    json_out_end_object(&list.out);
    reply_body(self, 200);
}

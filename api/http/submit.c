/* Submissions. Streamed: the body goes through the intake into the core as it comes, at most
 * TURN_UPLOAD_BYTES a turn. Envelope: it is collected (it is small), then goes the same way. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/http/envelope.h"
#include "api/http/request.h"
#include "api/http/views.h"
#include "api/inflate.h"
#include "api/intake.h"
#include "common/log.h"

static const uint64_t ENVELOPE_MAX = (uint64_t)64 << 20, ENVELOPES_MAX = (uint64_t)256 << 20;

struct upload {
    core_submission_t *submission;
    intake_t *intake;
    encoding_t encoding;
    bool csv;
    /* an envelope: */
    bool is_envelope, parsed;
    inflater_t *inflater;
    buffer_t body;
    envelope_t envelope;
    size_t items_at;
    buffer_t accepted; /* the answer, once it is committed */
    uint64_t job;
};

static void free_upload(request_t *self)
{
    upload_t *upload = self->upload;
    core_submit_abort(&upload->submission);
    intake_destroy(&upload->intake);
    inflater_destroy(&upload->inflater);
    envelope_free(&upload->envelope);
    buffer_free(&upload->accepted);
    self->http->envelope_bytes -= upload->body.n;
    buffer_free(&upload->body);
    free(upload);
    self->upload = NULL;
}

void submit_drop(request_t *self)
{
    if (self->upload) {
        free_upload(self);
    }
}

/* The end of this upload: nothing of it stays. */
static void fail(request_t *self, err_t err)
{
    intake_place_t place = {0};
    bool of_body = err == ERR_INVALID || err == ERR_MALFORMED || err == ERR_TOO_LARGE;
    if (self->upload && self->upload->intake && of_body) {
        place = intake_place(self->upload->intake);
    }
    if (place.pointer[0]) {
        err = err_context(err, "%s (line %" PRIu64 ")", place.pointer, place.line);
    }
    problem_place_t at = {.pointer = place.pointer, .line = place.line};
    problem_write(&self->reply, err, err_text(), &at);
    submit_drop(self);
}

/* -- what comes in ----------------------------------------------------------------------------- */

static err_t on_header(void *context, const char *line, size_t n, uint64_t first_line)
{
    upload_t *upload = context;
    return core_submit_header(upload->submission, line, n, first_line);
}

static err_t on_chunk(void *context, uint32_t items_n, uint64_t raw_bytes, blob_t *data)
{
    upload_t *upload = context;
    return core_submit_chunk(upload->submission, items_n, raw_bytes, data);
}

static task_input_t input_of(const request_t *self, const char *task)
{
    const live_task_t *known = feeder_task(core_feeder(self->http->core), task, strlen(task));
    return known ? known->row.input : TASK_INPUT_LINES;
}

static err_t open_submission(request_t *self, submit_t *what, intake_kind_t kind)
{
    upload_t *upload = self->upload;
    const http_options_t *options = &self->http->options;
    bool strict = input_of(self, what->task) == TASK_INPUT_JSON;
    what->format = strict               ? WIRE_FORMAT_JSON
                   : kind == INTAKE_CSV ? WIRE_FORMAT_CSV
                                        : WIRE_FORMAT_NDJSON;
    err_t err = core_submit_open(&upload->submission, self->http->core, what);
    if (err) {
        return err;
    }
    if (strict && kind == INTAKE_CSV) {
        return err_set(ERR_MEDIA_TYPE,
                       "task %.64s takes JSON items: send application/x-ndjson or application/json",
                       what->task);
    }
    intake_options_t intake = {.kind = kind,
                               .strict = strict,
                               .encoding = upload->is_envelope ? ENCODING_PLAIN : upload->encoding,
                               .max_bytes = options->max_upload,
                               .max_expanded = options->max_expanded,
                               .max_items = options->max_items,
                               .chunk_items = core_submit_chunk_items(upload->submission),
                               .pointer = upload->is_envelope ? "/items" : "",
                               .line = upload->envelope.items_line};
    intake_sink_t sink = {.context = upload, .header = on_header, .chunk = on_chunk};
    upload->intake = intake_new(&intake, sink);
    return ERR_OK;
}

/* -- the head ---------------------------------------------------------------------------------- */

static const char *header(const request_t *self, const char *name)
{
    return MHD_lookup_connection_value(self->connection, MHD_HEADER_KIND, name);
}

static err_t read_encoding(const request_t *self, encoding_t *out)
{
    static const struct {
        const char *name;
        encoding_t encoding;
    } known[] = {{"identity", ENCODING_PLAIN},
                 {"gzip", ENCODING_GZIP},
                 {"x-gzip", ENCODING_GZIP},
                 {"zstd", ENCODING_ZSTD}};
    const char *given = header(self, "Content-Encoding");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!given || strcasecmp(given, known[i].name) == 0) {
            *out = known[i].encoding;
            return ERR_OK;
        }
    }
    return err_set(ERR_MEDIA_TYPE, "Content-Encoding %.40s is not taken; gzip and zstd are", given);
}

static bool charset_is_utf8(const char *parameters)
{
    const char *charset = strcasestr(parameters, "charset=");
    if (!charset) {
        return true;
    }
    charset += strlen("charset=");
    charset += *charset == '"';
    size_t n = strcspn(charset, "\"; ");
    return (n == 5 && strncasecmp(charset, "utf-8", n) == 0) ||
           (n == 4 && strncasecmp(charset, "utf8", n) == 0) ||
           (n == 8 && strncasecmp(charset, "us-ascii", n) == 0);
}

static err_t read_type(const request_t *self, intake_kind_t *kind)
{
    static const struct {
        const char *name;
        intake_kind_t kind;
    } types[] = {{"text/csv", INTAKE_CSV},
                 {"application/x-ndjson", INTAKE_NDJSON},
                 {"application/ndjson", INTAKE_NDJSON},
                 {"application/json", INTAKE_JSON}};
    const char *type = header(self, "Content-Type");
    if (!type && self->length == 0) {
        *kind = INTAKE_NDJSON; /* a task without items */
        return ERR_OK;
    }
    size_t n = type ? strcspn(type, "; \t") : 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (n == strlen(types[i].name) && strncasecmp(type, types[i].name, n) == 0) {
            *kind = types[i].kind;
            return charset_is_utf8(type + n) ? ERR_OK
                                             : err_set(ERR_MEDIA_TYPE, "the only charset is UTF-8");
        }
    }
    return err_set(ERR_MEDIA_TYPE,
                   "Content-Type %.60s is not taken; text/csv, application/x-ndjson and "
                   "application/json are",
                   type ? type : "(none)");
}

/* A value is JSON if it parses, else a text. */
static json_t *read_params(const query_t *query)
{
    json_t *params = json_object();
    for (int i = 0; i < query->n; i++) {
        const char *name = query->pairs[i].name, *value = query->pairs[i].value;
        if (strncmp(name, "param.", 6) == 0) {
            json_t *parsed = json_loads(value, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
            json_object_set_new(params, name + 6, parsed ? parsed : json_string(value));
        }
    }
    return params;
}

static err_t begin_streamed(request_t *self, intake_kind_t kind)
{
    const query_t *query = &self->query;
    int64_t priority = 0, chunk_items = 0, batch_items = 0;
    err_t err = query_number(query, "priority", -100, 100, &priority);
    if (!err) {
        err = query_number(query, "chunk_items", 100, 1500, &chunk_items);
    }
    if (!err) {
        err = query_number(query, "batch_items", 100, 1500, &batch_items);
    }
    if (err) {
        return err;
    }
    json_t *params = read_params(query);
    submit_t what = {.task = query_get(query, "task"),
                     .params = params,
                     .priority = (int)priority,
                     .chunk_items = (uint32_t)chunk_items,
                     .batch_items = (uint32_t)batch_items};
    err = open_submission(self, &what, kind);
    json_decref(params);
    return err;
}

static err_t begin_envelope(request_t *self, intake_kind_t kind)
{
    if (kind != INTAKE_JSON || self->query.n) {
        return err_set(ERR_INVALID, "task: the parameter is missing");
    }
    if (self->length != UINT64_MAX && self->length > ENVELOPE_MAX) {
        return err_set(
            ERR_TOO_LARGE,
            "an envelope is at most 64 MiB; give the task in the query and stream the items");
    }
    self->upload->is_envelope = true;
    self->upload->inflater = inflater_new(self->upload->encoding);
    return ERR_OK;
}

static err_t begin(request_t *self)
{
    static const char *const names[] = {"task",        "param.",      "priority",
                                        "chunk_items", "batch_items", NULL};
    intake_kind_t kind = INTAKE_NDJSON;
    err_t err = query_only(&self->query, names);
    if (!err) {
        err = read_type(self, &kind);
    }
    if (!err) {
        err = read_encoding(self, &self->upload->encoding);
    }
    if (!err && self->length != UINT64_MAX && self->length > self->http->options.max_upload) {
        err = err_set(ERR_TOO_LARGE, "the body is over %" PRIu64 " bytes",
                      self->http->options.max_upload);
    }
    if (err) {
        return err;
    }
    return query_get(&self->query, "task") ? begin_streamed(self, kind)
                                           : begin_envelope(self, kind);
}

void submit_begin(request_t *self)
{
    self->upload = mem_zero(sizeof *self->upload);
    err_t err = begin(self);
    if (err) {
        fail(self, err);
    }
}

/* -- the body ---------------------------------------------------------------------------------- */

static err_t collect(request_t *self, const void *data, size_t n)
{
    http_t *http = self->http;
    if (n > ENVELOPE_MAX - self->upload->body.n) {
        return err_set(
            ERR_TOO_LARGE,
            "an envelope is at most 64 MiB; give the task in the query and stream the items");
    }
    if (http->envelope_bytes + n > ENVELOPES_MAX) {
        return err_set(ERR_LIMIT, "too many envelopes at a time; stream the items");
    }
    buffer_add(&self->upload->body, data, n);
    http->envelope_bytes += n;
    self->http->turn_used += n;
    return ERR_OK;
}

static err_t collect_packed(request_t *self, const char *data, size_t n, size_t *used)
{
    const uint8_t *rest = (const uint8_t *)data;
    size_t rest_n = n;
    err_t err = ERR_OK;
    do {
        const uint8_t *piece = NULL;
        size_t piece_n = 0;
        err = inflater_step(self->upload->inflater, &rest, &rest_n, &piece, &piece_n);
        if (err || piece_n == 0) {
            break;
        }
        err = collect(self, piece, piece_n);
    } while (!err && turn_room(self));
    *used = n - rest_n;
    return err;
}

static err_t take(request_t *self, const char *data, size_t n, size_t *used)
{
    upload_t *upload = self->upload;
    size_t room = turn_room(self);
    if (upload->inflater) {
        return collect_packed(self, data, n, used);
    }
    if (upload->is_envelope) {
        *used = n < room ? n : room;
        return collect(self, data, *used);
    }
    uint64_t before = intake_expanded(upload->intake);
    err_t err = intake_push(upload->intake, data, n, room, used);
    self->http->turn_used += (size_t)(intake_expanded(upload->intake) - before);
    return err;
}

size_t submit_body(request_t *self, const char *data, size_t n)
{
    size_t taken = 0;
    while (taken < n && turn_room(self)) {
        size_t used = 0;
        err_t err = take(self, data + taken, n - taken, &used);
        if (err) {
            fail(self, err);
            return taken;
        }
        taken += used;
    }
    if (taken < n) {
        wait_for_turn(self);
    }
    return taken;
}

/* -- the end ----------------------------------------------------------------------------------- */

static void on_committed(request_t *self, err_t err)
{
    if (err) {
        refuse(self, err_set(err, "the submission was not stored: %s", err_title(err)));
        return;
    }
    buffer_free(&self->reply.body);
    self->reply.body = self->upload->accepted;
    self->upload->accepted = (buffer_t){0};
    reply_body(self, 202);
    snprintf(self->reply.location, sizeof self->reply.location, "/api/v1/batch-jobs/%" PRIu64,
             self->upload->job);
}

static err_t finish_envelope_body(request_t *self)
{
    upload_t *upload = self->upload;
    if (!upload->inflater) {
        return ERR_OK;
    }
    size_t used = 0;
    err_t err = collect_packed(self, "", 0, &used);
    if (!err) {
        err = inflater_finish(upload->inflater);
    }
    inflater_destroy(&upload->inflater);
    return err;
}

static err_t open_envelope(request_t *self)
{
    upload_t *upload = self->upload;
    upload->parsed = true;
    err_t err = finish_envelope_body(self);
    if (!err) {
        err = envelope_parse(&upload->envelope, (const char *)upload->body.data, upload->body.n);
    }
    if (err) {
        return err;
    }
    const envelope_t *envelope = &upload->envelope;
    submit_t what = {.task = envelope->task,
                     .params = envelope->params,
                     .priority = envelope->priority,
                     .chunk_items = envelope->chunk_items,
                     .batch_items = envelope->batch_items};
    return open_submission(self, &what, INTAKE_JSON);
}

/* Push what this turn has room for; *all: there is no more. */
static err_t push_items(request_t *self, bool *all)
{
    upload_t *upload = self->upload;
    const envelope_t *envelope = &upload->envelope;
    while (upload->items_at < envelope->items_n && turn_room(self)) {
        size_t used = 0;
        err_t err = intake_push(upload->intake, envelope->items + upload->items_at,
                                envelope->items_n - upload->items_at, turn_room(self), &used);
        if (err) {
            return err;
        }
        upload->items_at += used;
        self->http->turn_used += used;
    }
    *all = upload->items_at == envelope->items_n;
    return ERR_OK;
}

static err_t submit_step(request_t *self, bool *all)
{
    upload_t *upload = self->upload;
    err_t err = ERR_OK;
    if (upload->is_envelope && !upload->parsed) {
        err = open_envelope(self);
    }
    if (!err) {
        err = push_items(self, all);
    }
    if (err || !*all) {
        return err;
    }
    if (!upload->is_envelope || upload->envelope.items) {
        err = intake_finish(upload->intake);
    }
    const job_row_t *job = NULL;
    if (!err) {
        err = core_submit_close(&upload->submission, &job);
    }
    if (!err) {
        upload->job = job->id;
        view_job(&(json_out_t){.out = &upload->accepted}, job, 0);
    }
    return err;
}

void submit_end(request_t *self)
{
    bool all = false;
    if (!may_end(self)) {
        return;
    }
    err_t err = submit_step(self, &all);
    if (err) {
        fail(self, err);
    } else if (all) {
        wait_for_commit(self, on_committed);
    } else {
        wait_for_turn(self);
    }
}

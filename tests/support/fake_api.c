#include "tests/support/fake_api.h"

#include <check.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    buffer_t body;
} request_t;

static enum MHD_Result add_query(void *context, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    fake_api_t *self = context;
    (void)kind;
    buffer_printf(&self->query, "%s=%s&", name, value ? value : "");
    return MHD_YES;
}

static const fake_answer_t *find(fake_api_t *self, const char *path)
{
    static const fake_answer_t nothing = {"", 404, "{\"code\":\"not_found\",\"detail\":\"no\"}"};
    for (int i = 0; i < FAKE_ANSWERS_MAX && self->answers[i].path; i++) {
        if (strcmp(self->answers[i].path, path) == 0) {
            const fake_answer_t *found = &self->answers[i];
            for (int j = i + 1; j < FAKE_ANSWERS_MAX && self->answers[j].path; j++) {
                if (strcmp(self->answers[j].path, path) == 0) {
                    self->answers[i].path = "used up";
                    break;
                }
            }
            return found;
        }
    }
    return &nothing;
}

static void remember(fake_api_t *self, struct MHD_Connection *connection, const char *path,
                     const char *method)
{
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    const char *encoding =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Encoding");
    self->requests_n++;
    snprintf(self->path, sizeof self->path, "%s", path);
    snprintf(self->method, sizeof self->method, "%s", method);
    snprintf(self->type, sizeof self->type, "%s", type ? type : "");
    snprintf(self->encoding, sizeof self->encoding, "%s", encoding ? encoding : "");
    buffer_clear(&self->query);
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_query, self);
    buffer_add(&self->query, "", 1);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *data,
                              size_t *data_n, void **state)
{
    fake_api_t *self = context;
    (void)version;
    request_t *request = *state;
    if (!request) {
        *state = mem_zero(sizeof(request_t));
        return MHD_YES;
    }
    if (*data_n) {
        buffer_add(&request->body, data, *data_n);
        *data_n = 0;
        return MHD_YES;
    }
    remember(self, connection, path, method);
    if (request->body.n) {
        buffer_free(&self->body);
        self->body = request->body;
        request->body = (buffer_t){0};
    }
    const fake_answer_t *answer = find(self, path);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(answer->body), (void *)(uintptr_t)answer->body, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result queued = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return queued;
}

static void done(void *context, struct MHD_Connection *connection, void **state,
                 enum MHD_RequestTerminationCode how)
{
    (void)context, (void)connection, (void)how;
    request_t *request = *state;
    if (request) {
        buffer_free(&request->body);
        free(request);
    }
}

void fake_api_start(fake_api_t *self)
{
    memset(self, 0, sizeof *self);
    self->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handle, self,
                                    MHD_OPTION_NOTIFY_COMPLETED, done, NULL, MHD_OPTION_END);
    ck_assert_ptr_nonnull(self->daemon);
    self->port = MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    snprintf(self->url, sizeof self->url, "http://127.0.0.1:%d", self->port);
}

void fake_api_answer(fake_api_t *self, const char *path, int status, const char *body)
{
    for (int i = 0; i < FAKE_ANSWERS_MAX; i++) {
        if (!self->answers[i].path) {
            self->answers[i] = (fake_answer_t){path, status, body};
            return;
        }
    }
    ck_abort_msg("more than %d answers", FAKE_ANSWERS_MAX);
}

void fake_api_stop(fake_api_t *self)
{
    MHD_stop_daemon(self->daemon);
    buffer_free(&self->query);
    buffer_free(&self->body);
}

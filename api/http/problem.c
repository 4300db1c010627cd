#include "api/http/problem.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { FIELD_MAX = 100 };

void reply_free(reply_t *self)
{
    buffer_free(&self->body);
    *self = (reply_t){0};
}

/* The sentences of the core and of the query begin with what they are about. */
static bool field_of(const char *detail, char out[FIELD_MAX])
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    static const char *const words[] = {"task", "priority", "chunk_items", "batch_items", "items"};
    if (strncmp(detail, "E_HEADER:", 9) == 0) {
        memcpy(out, "header", sizeof "header");
        return true;
    }
    size_t n = strspn(detail, letters);
    if (n == 0 || n >= FIELD_MAX) {
        return false;
    }
    memcpy(out, detail, n);
    out[n] = 0;
    if (detail[n] == ':' && detail[n + 1] == ' ') {
        return true;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(out, words[i]) == 0 && (detail[n + 1] == '\'' || strstr(detail, "must be"))) {
            return true;
        }
    }
    return false;
}

static json_t *text(const char *value)
{
    json_t *out = json_string(value);
    return out ? out : json_string("(text that is not UTF-8)");
}

static void add_errors(json_t *body, err_t err, const char *detail, const problem_place_t *place)
{
    char field[FIELD_MAX];
    json_t *one = json_object();
    if (place && place->pointer && place->pointer[0]) {
        json_object_set_new(one, "pointer", text(place->pointer));
    }
    if (place && place->line) {
        json_object_set_new(one, "line", json_integer((json_int_t)place->line));
    }
    if (place && place->field) {
        json_object_set_new(one, "field", text(place->field));
    }
    if ((err == ERR_INVALID || err == ERR_MALFORMED) && !json_object_get(one, "pointer") &&
        !json_object_get(one, "line") && !json_object_get(one, "field") &&
        field_of(detail, field)) {
        json_object_set_new(one, "field", text(field));
    }
    if (json_object_size(one) == 0) {
        json_decref(one);
        return;
    }
    json_object_set_new(one, "detail", text(detail));
    json_t *list = json_array();
    json_array_append_new(list, one);
    json_object_set_new(body, "errors", list);
}

void problem_write(reply_t *out, err_t err, const char *detail, const problem_place_t *place)
{
    int http = err_http(err);
    if (http == 0) {
        http = 500;
    }
    if (http == 500) {
        log_error("http.failed", "error=%s detail=\"%s\"", err_code(err), detail);
        detail = "the log of the api says more";
    }
    json_t *body = json_object();
    json_object_set_new(body, "type", json_string("about:blank"));
    json_object_set_new(body, "title", json_string(err_title(err)));
    json_object_set_new(body, "status", json_integer(http));
    json_object_set_new(body, "code", json_string(err_code(err)));
    json_object_set_new(body, "detail", text(detail));
    add_errors(body, err, detail, place);
    reply_free(out);
    char *written = json_dumps(body, JSON_COMPACT);
    INVARIANT(written);
    buffer_add_text(&out->body, written);
    free(written);
    json_decref(body);
    out->status = (unsigned)http;
    out->type = "application/problem+json";
    out->retry_after = http == 429 ? 2 : http == 503 ? 5 : http == 507 ? 30 : 0;
}

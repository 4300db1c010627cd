#include "api/cli/client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/cli/text.h"
#include "common/log.h"

/* A report is some hundred KB; an answer over this is not ours. */
enum { ANSWER_MAX = 256 << 20, STALLED_SECONDS = 120 };

struct client {
    CURL *curl;
    char *server;
    long timeout_ms;
    buffer_t body, details;
    bool too_large;
    const client_upload_t *upload;
    int peeked_sent, read_errno;
};

err_t client_open(client_t **out, const char *server)
{
    const char *host = strncmp(server, "http://", 7) == 0    ? server + 7
                       : strncmp(server, "https://", 8) == 0 ? server + 8
                                                             : NULL;
    if (!host || !*host || *host == '/' || strpbrk(server, "?# \t\r\n")) {
        return err_set(ERR_USAGE,
                       "\"%.200s\" is not a server's address such as http://127.0.0.1:8000",
                       server);
    }
    static bool prepared;
    if (!prepared) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        prepared = true;
    }
    client_t *self = mem_zero(sizeof *self);
    self->curl = curl_easy_init();
    INVARIANT(self->curl);
    self->server = mem_text(server);
    for (size_t n = strlen(self->server); n && self->server[n - 1] == '/'; n--) {
        self->server[n - 1] = 0;
    }
    self->timeout_ms = 60000;
    *out = self;
    return ERR_OK;
}

void client_destroy(client_t **self)
{
    client_t *client = *self;
    if (!client) {
        return;
    }
    curl_easy_cleanup(client->curl);
    buffer_free(&client->body);
    buffer_free(&client->details);
    free(client->server);
    free(client);
    *self = NULL;
}

const char *client_server(const client_t *self)
{
    return self->server;
}

void client_timeout(client_t *self, long timeout_ms)
{
    self->timeout_ms = timeout_ms;
}

const char *client_body(const client_t *self, size_t *n)
{
    *n = self->body.n;
    return self->body.data ? (const char *)self->body.data : "";
}

const char *client_details(const client_t *self)
{
    return self->details.data ? (const char *)self->details.data : "";
}

void client_encode(buffer_t *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (isalnum(*at) || strchr("-._~", *at)) {
            buffer_add(out, at, 1);
        } else {
            buffer_printf(out, "%%%02X", *at);
        }
    }
}

/* -- answers
 * ------------------------------------------------------------------------------------------ */

static err_t err_of(int status, const char *code)
{
    for (int i = 1; code && i < ERR_CODES_N; i++) {
        if (strcmp(err_code((err_t)i), code) == 0) {
            return (err_t)i;
        }
    }
    /* A proxy, or a newer server with a code of its own: the status says enough. */
    for (int i = 1; i < ERR_CODES_N; i++) {
        if (err_http((err_t)i) == status) {
            return (err_t)i;
        }
    }
    return status >= 500 ? ERR_UNAVAILABLE : ERR_INVALID;
}

static void add_detail(buffer_t *out, const json_t *error)
{
    const char *detail = json_string_value(json_object_get(error, "detail"));
    const json_t *line = json_object_get(error, "line");
    const char *field = json_string_value(json_object_get(error, "field"));
    const char *pointer = json_string_value(json_object_get(error, "pointer"));
    buffer_add_text(out, "  ");
    if (json_is_integer(line)) {
        buffer_printf(out, "line %" JSON_INTEGER_FORMAT ": ", json_integer_value(line));
    }
    const char *place = field ? field : pointer;
    if (place) {
        text_escape(out, place, strlen(place));
        buffer_add_text(out, ": ");
    }
    text_escape(out, detail ? detail : "", detail ? strlen(detail) : 0);
    buffer_add_text(out, "\n");
}

err_t client_problem(int status, const json_t *body, buffer_t *details)
{
    if (status >= 200 && status < 300) {
        return ERR_OK;
    }
    const char *code = json_string_value(json_object_get(body, "code"));
    const char *detail = json_string_value(json_object_get(body, "detail"));
    const char *title = json_string_value(json_object_get(body, "title"));
    const char *sentence = detail ? detail : title;
    err_t err = err_of(status, code);
    if (sentence) {
        buffer_t shown = {0};
        text_escape(&shown, sentence, strlen(sentence));
        buffer_add(&shown, "", 1);
        err = err_set(err, "%s", (const char *)shown.data);
        buffer_free(&shown);
    } else {
        err = err_set(err, "the server answered with status %d and no reason", status);
    }
    const json_t *errors = json_object_get(body, "errors");
    for (size_t i = 0; i < json_array_size(errors); i++) {
        const char *same = json_string_value(json_object_get(json_array_get(errors, i), "detail"));
        /* A single error is often said twice; a person reads it once. */
        if (!(same && sentence && strcmp(same, sentence) == 0)) {
            add_detail(details, json_array_get(errors, i));
        }
    }
    return err;
}

/* -- one request
 * -------------------------------------------------------------------------------------- */

static size_t take_body(char *data, size_t size, size_t n, void *context)
{
    client_t *self = context;
    if (self->body.n + size * n > ANSWER_MAX) {
        self->too_large = true;
        return 0;
    }
    buffer_add(&self->body, data, size * n);
    return size * n;
}

static size_t give_body(char *out, size_t size, size_t n, void *context)
{
    client_t *self = context;
    const client_upload_t *upload = self->upload;
    size_t room = size * n, given = 0;
    while (self->peeked_sent < upload->peeked_n && given < room) {
        out[given++] = (char)upload->peeked[self->peeked_sent++];
    }
    while (given == 0) {
        ssize_t got = read(upload->fd, out, room);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            self->read_errno = errno;
            return CURL_READFUNC_ABORT;
        }
        return (size_t)got;
    }
    return given;
}

static err_t explain(client_t *self, CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        return err_set(ERR_UNAVAILABLE, "no Stint server answers at %s; start one with: stint up",
                       self->server);
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(ERR_UNAVAILABLE, "no host has the name in %s", self->server);
    case CURLE_URL_MALFORMAT:
        return err_set(ERR_USAGE, "%s is not a server's address", self->server);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(ERR_TIMEOUT, "%s did not answer in time", self->server);
    default:
        break;
    }
    if (self->read_errno) {
        return err_set(ERR_IO, "the input cannot be read: %s", strerror(self->read_errno));
    }
    if (self->too_large) {
        return err_set(ERR_TOO_LARGE, "the answer of %s has no end", self->server);
    }
    return err_set(ERR_UNAVAILABLE, "talking to %s failed: %s", self->server,
                   curl_easy_strerror(code));
}

static err_t perform(client_t *self, const char *path, struct curl_slist *headers, json_t **out)
{
    buffer_t url = {0};
    buffer_printf(&url, "%s%s", self->server, path);
    CURL *curl = self->curl;
    curl_easy_setopt(curl, CURLOPT_URL, (const char *)url.data);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    /* A proxy of the environment is not asked for what is on this machine. */
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "stint/" STINT_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, self);
    buffer_clear(&self->body);
    buffer_clear(&self->details);
    self->too_large = false;
    self->read_errno = 0;
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    buffer_add(&self->body, "", 1);
    self->body.n--;
    buffer_free(&url);
    /* A server that refuses an upload may hang up while we still send: its answer counts. */
    if (code != CURLE_OK && !(status >= 400 && self->body.n && !self->read_errno)) {
        return explain(self, code);
    }
    json_t *json = json_loadb((const char *)self->body.data, self->body.n,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    err_t err = client_problem((int)status, json, &self->details);
    buffer_add(&self->details, "", 1);
    self->details.n--;
    if (!err && !json) {
        err = err_set(ERR_MALFORMED, "the answer of %s is not JSON: is it a Stint server?",
                      self->server);
    }
    if (err) {
        json_decref(json);
    } else {
        *out = json;
    }
    return err;
}

err_t client_get(client_t *self, const char *path, json_t **out)
{
    curl_easy_reset(self->curl);
    curl_easy_setopt(self->curl, CURLOPT_TIMEOUT_MS, self->timeout_ms);
    return perform(self, path, NULL, out);
}

err_t client_post(client_t *self, const char *path, json_t **out)
{
    curl_easy_reset(self->curl);
    curl_easy_setopt(self->curl, CURLOPT_TIMEOUT_MS, self->timeout_ms);
    curl_easy_setopt(self->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(self->curl, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(self->curl, CURLOPT_POSTFIELDSIZE, 0L);
    return perform(self, path, NULL, out);
}

err_t client_upload(client_t *self, const client_upload_t *upload, json_t **out)
{
    char type[128];
    snprintf(type, sizeof type, "Content-Type: %s", upload->type);
    struct curl_slist *headers = curl_slist_append(NULL, type);
    if (upload->encoding) {
        char encoding[64];
        snprintf(encoding, sizeof encoding, "Content-Encoding: %s", upload->encoding);
        headers = curl_slist_append(headers, encoding);
    }
    curl_easy_reset(self->curl);
    curl_easy_setopt(self->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(self->curl, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(self->curl, CURLOPT_READDATA, self);
    curl_easy_setopt(self->curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    if (upload->bytes >= 0) {
        curl_easy_setopt(self->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)upload->bytes);
    } else {
        headers = curl_slist_append(headers, "Transfer-Encoding: chunked");
    }
    /* An upload may take hours; one that does not move for two minutes is dead. */
    curl_easy_setopt(self->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(self->curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_SECONDS);
    self->upload = upload;
    self->peeked_sent = 0;
    err_t err = perform(self, upload->path, headers, out);
    curl_slist_free_all(headers);
    self->upload = NULL;
    return err;
}

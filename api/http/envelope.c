/* The items are not parsed here: they go through the same stream as an upload, so that a number
 * with 20 digits stays what it is, and 64 MiB of them need no tree in memory. */
#include "api/http/envelope.h"

#include <string.h>

#include "common/buffer.h"
#include "common/task_table.h"

enum { REST_MAX = 1 << 20 };

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Behind the string that begins at `at`; n if it does not end. */
static size_t behind_string(const char *data, size_t n, size_t at)
{
    for (at++; at < n && data[at] != '"'; at++) {
        at += data[at] == '\\';
    }
    return at < n ? at + 1 : n;
}

/* Behind the array or object that begins at `at`. */
static size_t behind_value(const char *data, size_t n, size_t at)
{
    int64_t depth = 0;
    while (at < n) {
        char c = data[at];
        if (c == '"') {
            at = behind_string(data, n, at);
            continue;
        }
        depth += (c == '[' || c == '{') - (c == ']' || c == '}');
        at++;
        if (depth == 0) {
            return at;
        }
    }
    return n;
}

static size_t behind_blanks(const char *data, size_t n, size_t at)
{
    while (at < n && blank(data[at])) {
        at++;
    }
    return at;
}

/* The value of the member "items" of the outer object, if it is an array. Whatever is wrong with
 * the text is found by the parsers of the two parts. */
static bool find_items(const char *data, size_t n, size_t *from, size_t *to)
{
    int64_t depth = 0;
    for (size_t at = 0; at < n;) {
        char c = data[at];
        if (c != '"') {
            depth += (c == '[' || c == '{') - (c == ']' || c == '}');
            at++;
            continue;
        }
        size_t end = behind_string(data, n, at);
        size_t colon = behind_blanks(data, n, end);
        bool is_items = depth == 1 && end - at == 7 && memcmp(data + at, "\"items\"", 7) == 0 &&
                        colon < n && data[colon] == ':';
        at = end;
        if (is_items) {
            at = behind_blanks(data, n, colon + 1);
            if (at < n && data[at] == '[') {
                *from = at;
                *to = behind_value(data, n, at);
                return true;
            }
        }
    }
    return false;
}

static err_t read_count(const json_t *fields, const char *name, uint32_t *out)
{
    const json_t *value = json_object_get(fields, name);
    json_int_t number = json_integer_value(value);
    if (value && (!json_is_integer(value) || number < 100 || number > 1500)) {
        return err_set(ERR_INVALID, "%s: must be a whole number from 100 to 1500", name);
    }
    *out = (uint32_t)number;
    return ERR_OK;
}

static err_t read_fields(envelope_t *self)
{
    static const char *const names[] = {"task",        "params",      "items", "priority",
                                        "chunk_items", "batch_items", NULL};
    const char *name;
    json_t *value;
    json_object_foreach(self->fields, name, value)
    {
        int i = 0;
        while (names[i] && strcmp(names[i], name) != 0) {
            i++;
        }
        if (!names[i]) {
            const char *near = nearest_name(name, names, i);
            return near ? err_set(ERR_INVALID, "%.80s: unknown field; did you mean '%s'?", name,
                                  near)
                        : err_set(ERR_INVALID, "%.80s: unknown field", name);
        }
    }
    self->task = json_string_value(json_object_get(self->fields, "task"));
    self->params = json_object_get(self->fields, "params");
    const json_t *priority = json_object_get(self->fields, "priority");
    json_int_t number = json_integer_value(priority);
    if (!self->task) {
        return err_set(ERR_INVALID, "task: the name of a task is needed");
    }
    if (self->params && !json_is_object(self->params)) {
        return err_set(ERR_INVALID, "params: must be an object");
    }
    if (priority && (!json_is_integer(priority) || number < -100 || number > 100)) {
        return err_set(ERR_INVALID, "priority: must be a whole number from -100 to 100");
    }
    self->priority = (int)number;
    err_t err = read_count(self->fields, "chunk_items", &self->chunk_items);
    return err ? err : read_count(self->fields, "batch_items", &self->batch_items);
}

static err_t parse_rest(envelope_t *self, const buffer_t *rest)
{
    json_error_t error;
    self->fields = json_loadb((const char *)rest->data, rest->n, JSON_REJECT_DUPLICATES, &error);
    if (!self->fields) {
        return err_set(ERR_MALFORMED, "the body is not JSON: %s", error.text);
    }
    if (!json_is_object(self->fields)) {
        return err_set(ERR_INVALID, "the body must be an object, or give the task in the query");
    }
    if (!self->items && json_object_get(self->fields, "items")) {
        return err_set(ERR_INVALID, "items: must be an array");
    }
    return read_fields(self);
}

err_t envelope_parse(envelope_t *out, const char *data, size_t n)
{
    envelope_t self = {0};
    size_t from = n, to = n;
    if (find_items(data, n, &from, &to)) {
        self.items = data + from;
        self.items_n = to - from;
        self.items_line = 1;
        for (size_t i = 0; i < from; i++) {
            self.items_line += data[i] == '\n';
        }
    }
    if (n - self.items_n > REST_MAX) {
        return err_set(ERR_TOO_LARGE, "the body is over 1 MiB besides its items");
    }
    buffer_t rest = {0};
    buffer_add(&rest, data, from);
    if (self.items) {
        buffer_add_text(&rest, "null");
    }
    buffer_add(&rest, data + to, n - to);
    err_t err = rest.n ? parse_rest(&self, &rest) : err_set(ERR_MALFORMED, "the body is empty");
    buffer_free(&rest);
    if (err) {
        envelope_free(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

void envelope_free(envelope_t *self)
{
    json_decref(self->fields);
    *self = (envelope_t){0};
}

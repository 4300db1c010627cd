#include "api/cli/supervise.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"

const char *role_name(role_t role)
{
    static const char *const names[] = {"scheduler", "worker", "broker", "api"};
    return names[role];
}

int64_t supervise_delay(int *deaths_n, int64_t lived_ms)
{
    if (lived_ms >= SUPERVISE_CALM_MS) {
        *deaths_n = 0;
    }
    int before = (*deaths_n)++;
    if (before == 0) {
        return 0;
    }
    int64_t delay = SUPERVISE_FIRST_MS;
    for (int i = 1; i < before && delay < SUPERVISE_MOST_MS; i++) {
        delay *= 2;
    }
    return delay < SUPERVISE_MOST_MS ? delay : SUPERVISE_MOST_MS;
}

int supervise_verdict(const supervise_end_t *end)
{
    if (end->exit_code == err_exit(ERR_USAGE) || end->exit_code == err_exit(ERR_CONFIG)) {
        return end->exit_code;
    }
    if (end->was_ready) {
        return 0;
    }
    if (end->role == ROLE_API && end->exit_code == err_exit(ERR_BUSY)) {
        return end->exit_code;
    }
    return end->deaths_n >= SUPERVISE_DEATHS_MAX ? err_exit(ERR_INTERNAL) : 0;
}

bool supervise_ready_url(const char *line, char *out, size_t size)
{
    const char *event = strstr(line, "event=api.ready");
    const char *url = event ? strstr(event, " url=") : NULL;
    if (!url || (event[15] != ' ' && event[15] != 0)) {
        return false;
    }
    url += 5;
    url += *url == '"';
    size_t n = strcspn(url, " \"");
    if (n == 0 || n >= size) {
        return false;
    }
    memcpy(out, url, n);
    out[n] = 0;
    return true;
}

static void give_line(buffer_t *pending, supervise_line_t call, void *context)
{
    buffer_add(pending, "", 1);
    call(context, (const char *)pending->data, pending->n - 1);
    buffer_clear(pending);
}

void supervise_lines(buffer_t *pending, const char *data, size_t n, supervise_line_t call,
                     void *context)
{
    while (n) {
        const char *newline = memchr(data, '\n', n);
        size_t piece = newline ? (size_t)(newline - data) : n;
        size_t room = SUPERVISE_LINE_MAX - pending->n;
        bool is_cut = piece > room;
        piece = is_cut ? room : piece;
        buffer_add(pending, data, piece);
        size_t used = piece + (newline && !is_cut ? 1 : 0);
        if (is_cut || newline) {
            give_line(pending, call, context);
        }
        data += used;
        n -= used;
    }
}

/* -- arguments
 * ---------------------------------------------------------------------------------------- */

static void add(fleet_arguments_t *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add(fleet_arguments_t *self, const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    INVARIANT(self->n < FLEET_ARGUMENTS_MAX);
    self->items[self->n++] = mem_text(text);
    self->items[self->n] = NULL;
}

static void add_pair(fleet_arguments_t *self, const char *name, const char *value)
{
    add(self, "--%s", name);
    add(self, "%s", value);
}

char *fleet_endpoint(const char *list, int i)
{
    for (; i > 0 && list; i--) {
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return list ? mem_text_n(list, strcspn(list, ",")) : NULL;
}

static void add_endpoint(fleet_arguments_t *self, const char *name, const char *list, int number)
{
    char *endpoint = fleet_endpoint(list, number - 1);
    INVARIANT(endpoint);
    add_pair(self, name, endpoint);
    free(endpoint);
}

static void add_worker(fleet_arguments_t *self, const fleet_t *fleet, int number)
{
    add_pair(self, "brokers", fleet->reach);
    add(self, "--state");
    add(self, "%s/workers/w%d", fleet->data, number);
    add(self, "--slots");
    add(self, "%d", fleet->slots);
    if (fleet->rate) {
        add_pair(self, "rate", fleet->rate);
    }
}

static void add_key(fleet_arguments_t *self, const fleet_t *fleet, role_t role, int number)
{
    if (role == ROLE_BROKER) {
        add_pair(self, "keys", fleet->keys);
        return;
    }
    add(self, "--key");
    if (role == ROLE_WORKER) {
        add(self, "%s/w%d.key", fleet->keys, number);
    } else {
        add(self, "%s/%s.key", fleet->keys, role_name(role));
    }
}

void fleet_arguments(fleet_arguments_t *out, const fleet_t *fleet, role_t role, int number)
{
    *out = (fleet_arguments_t){0};
    add(out, "stint-%s", role_name(role));
    add(out, "--name");
    if (role == ROLE_API) {
        add(out, "api");
    } else {
        add(out, "%c%d", role_name(role)[0], number);
    }
    switch (role) {
    case ROLE_BROKER:
        add_endpoint(out, "frontend", fleet->frontends, number);
        add_endpoint(out, "backend", fleet->backends, number);
        break;
    case ROLE_API:
        add_pair(out, "listen", fleet->listen);
        add(out, "--data");
        add(out, "%s/store", fleet->data);
        add_pair(out, "brokers", fleet->frontends);
        break;
    case ROLE_SCHEDULER:
        add_pair(out, "brokers", fleet->frontends);
        break;
    default:
        add_worker(out, fleet, number);
        break;
    }
    if (fleet->test_tasks && (role == ROLE_API || role == ROLE_WORKER)) {
        add_pair(out, "test-tasks", "true");
    }
    if (fleet->keys) {
        add_key(out, fleet, role, number);
    }
}

void fleet_arguments_free(fleet_arguments_t *self)
{
    for (int i = 0; i < self->n; i++) {
        free(self->items[i]);
    }
    *self = (fleet_arguments_t){0};
}

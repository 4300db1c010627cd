#include "common/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

static char process_name[64] = "stint";
static log_level_t lowest = LOG_INFO;

void log_open(const char *process, log_level_t level)
{
    snprintf(process_name, sizeof process_name, "%s", process);
    lowest = level;
}

/* A quote ends a value only where the next key or the end follows; one inside is text. */
static bool closes(const char *quote)
{
    const char *at = quote + 1;
    if (*at == 0) {
        return true;
    }
    if (*at++ != ' ') {
        return false;
    }
    const char *key = at;
    while ((*at >= 'a' && *at <= 'z') || *at == '_') {
        at++;
    }
    return at > key && *at == '=';
}

/* Copy the pairs so that a line stays one line of logfmt whatever the values hold. */
static size_t write_pairs(const char *raw, char *out, size_t size)
{
    size_t used = 0;
    bool quoted = false;
    for (const char *at = raw; *at && used + 5 < size; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte < 0x20 || byte == 0x7f) {
            used += (size_t)snprintf(out + used, 5, "\\x%02x", byte);
            continue;
        }
        if (byte == '"' && !quoted && at > raw && at[-1] == '=') {
            quoted = true;
        } else if (byte == '"' && quoted && closes(at)) {
            quoted = false;
        } else if (byte == '"' && quoted) {
            out[used++] = '\\';
        }
        out[used++] = *at;
    }
    return used;
}

void log_line(log_level_t level, const char *event, const char *pairs, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level < lowest) {
        return;
    }
    char stamp[CLOCK_ISO_N], raw[2048], line[3 * sizeof raw];
    va_list args;
    va_start(args, pairs);
    vsnprintf(raw, sizeof raw, pairs, args);
    va_end(args);
    clock_iso(clock_wall_ms(), stamp);
    size_t used = (size_t)snprintf(line, 256, "ts=%s level=%s proc=\"%s\" event=%s%s", stamp,
                                   names[level], process_name, event, raw[0] ? " " : "");
    used += write_pairs(raw, line + used, sizeof line - used - 8);
    line[used++] = '\n';
    /* One write a line, so that lines of several processes do not mix on a shared terminal. */
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written;
}

void log_assert_failed(const char *expression, const char *file, int line)
{
    log_error("invariant.broken", "expression=\"%s\" at=%s:%d", expression, file, line);
    abort();
}

int log_quota(log_quota_t *self, const char *event, long long now_ms)
{
    enum { SPAN_MS = 10000, LINES_MAX = 10 };
    if (!self->since_ms || now_ms - self->since_ms >= SPAN_MS) {
        if (self->left_out_n) {
            log_warn("log.left_out", "of=%s n=%llu", event, self->left_out_n);
        }
        *self = (log_quota_t){.since_ms = now_ms};
    }
    if (self->written_n == LINES_MAX) {
        self->left_out_n++;
        return 0;
    }
    self->written_n++;
    return 1;
}

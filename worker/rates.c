#include "worker/rates.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* Reads digits; false if there are none or they are over `most`. */
static bool read_number(const char **at, int64_t most, int64_t *out)
{
    if (!isdigit((unsigned char)**at)) {
        return false;
    }
    char *end;
    errno = 0;
    long long value = strtoll(*at, &end, 10);
    if (errno || value < 1 || value > most) {
        return false;
    }
    *at = end;
    *out = value;
    return true;
}

err_t rates_parse(const char *text, uint32_t *n, int64_t *window_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    if (strcmp(text, "off") == 0) {
        *n = 0;
        *window_ms = 0;
        return ERR_OK;
    }
    const char *at = text;
    int64_t count = 0, times = 1;
    bool sound = read_number(&at, WINDOW_MAX, &count) && *at++ == '/' &&
                 (!isdigit((unsigned char)*at) || read_number(&at, 1000000, &times));
    for (size_t i = 0; sound && i < sizeof units / sizeof *units; i++) {
        if (strcmp(at, units[i].name) == 0) {
            *n = (uint32_t)count;
            *window_ms = times * units[i].ms;
            return ERR_OK;
        }
    }
    return err_set(
        ERR_CONFIG,
        "rate = \"%s\": expected off or N/WINDOW, N 1 to %d, WINDOW like m, 10s or 200ms", text,
        WINDOW_MAX);
}

static void limit_to(rate_t *self, uint32_t n, int64_t window_ms, int64_t now_ms)
{
    if (n == self->rate_n && window_ms == self->rate_window_ms) {
        return;
    }
    bool past = self->rate_n > 0;
    self->rate_n = n;
    self->rate_window_ms = window_ms;
    if (n == 0) {
        window_destroy(&self->window);
    } else if (past) {
        window_set(self->window, n, window_ms + RATES_SLACK_MS);
    } else {
        self->window = window_new(n, window_ms + RATES_SLACK_MS);
        window_fill(self->window, now_ms);
    }
}

void rates_add(rates_t *self, const task_spec_t *spec, uint32_t n, int64_t window_ms)
{
    INVARIANT(self->n < RATES_MAX && n <= WINDOW_MAX && (n == 0 || window_ms > 0));
    rate_t *task = &self->tasks[self->n++];
    *task = (rate_t){.spec = spec, .own_n = n, .rate_n = n};
    if (n) {
        task->own_window_ms = task->rate_window_ms = window_ms;
        task->window = window_new(n, window_ms + RATES_SLACK_MS);
    }
}

void rates_free(rates_t *self)
{
    for (int i = 0; i < self->n; i++) {
        window_destroy(&self->tasks[i].window);
    }
    self->n = 0;
}

int rates_find(const rates_t *self, str_t task)
{
    for (int i = 0; i < self->n; i++) {
        if (str_equal(task, str_of(self->tasks[i].spec->name))) {
            return i;
        }
    }
    return -1;
}

void rates_override(rates_t *self, const wire_limit_t *limits, uint32_t n, int64_t now_ms)
{
    for (int i = 0; i < self->n; i++) {
        rate_t *task = &self->tasks[i];
        uint32_t rate_n = task->own_n;
        int64_t window_ms = task->own_window_ms;
        for (uint32_t k = 0; k < n; k++) {
            const wire_limit_t *it = &limits[k];
            bool sound =
                it->rate_n == 0 || (it->rate_window_ms > 0 && it->rate_window_ms < INT64_MAX / 4);
            if (sound && str_equal(it->task, str_of(task->spec->name))) {
                rate_n = it->rate_n < WINDOW_MAX ? (uint32_t)it->rate_n : WINDOW_MAX;
                window_ms = rate_n ? it->rate_window_ms : 0;
            }
        }
        limit_to(task, rate_n, window_ms, now_ms);
    }
}

uint32_t rates_tokens(const rate_t *self, int64_t now_ms)
{
    if (!self->window) {
        return UINT32_MAX;
    }
    uint32_t left = window_free(self->window, now_ms);
    return left > self->waiting_n ? left - self->waiting_n : 0;
}

bool rates_may_start(const rate_t *self, int64_t now_ms)
{
    return !self->window || window_free(self->window, now_ms) > 0;
}

int64_t rates_token_at(const rate_t *self, int64_t now_ms)
{
    if (rates_tokens(self, now_ms) > 0) {
        return now_ms;
    }
    int64_t at = window_free_at(self->window, now_ms);
    return at > now_ms ? at : INT64_MAX;
}

void rates_measure(rate_t *self, int64_t duration_us)
{
    double us = duration_us > 1 ? (double)duration_us : 1;
    /* A batch that turns out long ends lookahead at once; trust returns slowly. */
    bool jump = self->mean_us <= 0 || us > 4 * RATES_SHORT_US;
    self->mean_us = jump ? us : self->mean_us + (us - self->mean_us) / 8;
}

uint32_t rates_ahead(const rate_t *self)
{
    if (self->window || self->mean_us <= 0 || self->mean_us >= RATES_SHORT_US) {
        return 0;
    }
    double depth = RATES_SHORT_US / self->mean_us + 1;
    return depth < RATES_AHEAD_MAX ? (uint32_t)depth : RATES_AHEAD_MAX;
}

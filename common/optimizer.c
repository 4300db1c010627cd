#include "common/optimizer.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    MEMORY_LOW = 1 << 30,
    CPU_HIGH_PERMILLE = 850,
    CALM_N = 3,
    TARGET_PARTS = 100,    /* a batch under this part of the target duration is over in a moment */
    HALVE_EVERY_MS = 1000, /* pressure shows with delay: one step, then look again */
};
static const double SLOWER = 1.25;
static const double NEWEST_WEIGHT =
    0.3; /* of the moving average: a trend shows after about three batches */

static uint32_t bounded(double size)
{
    if (size < OPTIMIZER_MIN) {
        return OPTIMIZER_MIN;
    }
    return size > OPTIMIZER_MAX ? OPTIMIZER_MAX : (uint32_t)size;
}

uint32_t optimizer_size(const optimizer_t *self)
{
    return self->size ? self->size : OPTIMIZER_START;
}

static void change(optimizer_t *self, uint32_t size, const char *reason, int64_t now_ms)
{
    if (size != optimizer_size(self)) {
        self->changed_at_ms = now_ms;
    }
    self->size = size;
    self->reason = reason;
    self->calm_n = self->fresh_n = 0;
}

static const char *pressure(const optimizer_t *self, const optimizer_host_t *host)
{
    if (host->memory_available && host->memory_available < MEMORY_LOW) {
        return "memory";
    }
    /* Only batches that ran since the last step can tell that it did not help, and batches that are
     * over in a moment are not what keeps the host busy: smaller ones would only waste starts. */
    double batch_ms = self->recent_us * optimizer_size(self) / 1000;
    bool matters = self->fresh_n > 0 && batch_ms * TARGET_PARTS >= (double)host->target_ms;
    if (host->cpu_permille > CPU_HIGH_PERMILLE && matters && self->best_us > 0 &&
        self->recent_us > SLOWER * self->best_us) {
        return "cpu";
    }
    return NULL;
}

/* True if the host is under pressure; halves unless it just did. */
static bool relieve(optimizer_t *self, const optimizer_host_t *host)
{
    const char *reason = pressure(self, host);
    if (!reason) {
        return false;
    }
    self->calm_n = 0;
    if (!self->changed_at_ms || host->now_ms - self->changed_at_ms >= HALVE_EVERY_MS) {
        change(self, bounded(optimizer_size(self) / 2.0), reason, host->now_ms);
    }
    return true;
}

/* The most items that fit the target duration. */
static uint32_t fitting(const optimizer_t *self, const optimizer_host_t *host)
{
    if (self->recent_us <= 0 || host->target_ms <= 0) {
        return OPTIMIZER_MAX;
    }
    return bounded((double)host->target_ms * 1000 / self->recent_us);
}

void optimizer_sample(optimizer_t *self, const optimizer_host_t *host)
{
    relieve(self, host);
}

void optimizer_batch(optimizer_t *self, uint32_t items_n, int64_t duration_us,
                     const optimizer_host_t *host)
{
    if (items_n == 0) {
        return;
    }
    self->fresh_n++;
    double item_us = (double)(duration_us > 0 ? duration_us : 1) / items_n;
    self->recent_us = self->recent_us > 0
                          ? self->recent_us + NEWEST_WEIGHT * (item_us - self->recent_us)
                          : item_us;
    if (self->best_us <= 0 || item_us < self->best_us) {
        self->best_us = item_us;
    }
    if (relieve(self, host)) {
        return;
    }
    uint32_t size = optimizer_size(self), most = fitting(self, host);
    if (size > most) {
        change(self, most, "duration", host->now_ms);
        return;
    }
    self->calm_n++;
    uint32_t grown = bounded(size * 1.5);
    if (self->calm_n >= CALM_N && size < OPTIMIZER_MAX && size < most) {
        change(self, grown < most ? grown : most, "growth", host->now_ms);
    }
}

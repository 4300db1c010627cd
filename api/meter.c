#include "api/meter.h"

#define ADD(ring, span_, done_, failed_)                                                           \
    do {                                                                                           \
        int64_t at_ = (span_) % 60;                                                                \
        if ((ring)[at_].span != (span_)) {                                                         \
            (ring)[at_].span = (span_);                                                            \
            (ring)[at_].done = (ring)[at_].failed = 0;                                             \
        }                                                                                          \
        (ring)[at_].done += (done_);                                                               \
        (ring)[at_].failed += (failed_);                                                           \
    } while (0)

void meter_add(meter_t *self, int64_t now_ms, uint64_t done, uint64_t failed)
{
    /* Spans are counted from 1 so that a zeroed ring belongs to no span. */
    ADD(self->seconds, now_ms / 1000 + 1, done, failed);
    ADD(self->minutes, now_ms / 60000 + 1, done, failed);
}

meter_sum_t meter_minute(const meter_t *self, int64_t now_ms)
{
    meter_sum_t sum = {0};
    for (int i = 0; i < 60; i++) {
        if (self->seconds[i].span > now_ms / 1000 + 1 - 60) {
            sum.done += self->seconds[i].done;
            sum.failed += self->seconds[i].failed;
        }
    }
    return sum;
}

meter_sum_t meter_hour(const meter_t *self, int64_t now_ms)
{
    meter_sum_t sum = {0};
    for (int i = 0; i < 60; i++) {
        if (self->minutes[i].span > now_ms / 60000 + 1 - 60) {
            sum.done += self->minutes[i].done;
            sum.failed += self->minutes[i].failed;
        }
    }
    return sum;
}

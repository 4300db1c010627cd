/* meter: how many items finished in the last minute and hour. Pure; rings of spans, no allocation.
 */
#ifndef STINT_API_METER_H
#define STINT_API_METER_H

#include <stdint.h>

typedef struct {
    struct {
        int64_t span;
        uint64_t done, failed;
    } seconds[60], minutes[60];
} meter_t;

typedef struct {
    uint64_t done, failed;
} meter_sum_t;

void meter_add(meter_t *self, int64_t now_ms, uint64_t done, uint64_t failed);
meter_sum_t meter_minute(const meter_t *self, int64_t now_ms);
meter_sum_t meter_hour(const meter_t *self, int64_t now_ms);

#endif

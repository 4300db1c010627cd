/* optimizer: how large the next batch of a task should be on this host.
 *
 * Pure: facts in, size and reason out. The rules, in this order (ARCHITECTURE "Batch size"):
 *   memory     available memory (or the cgroup's headroom) under 1 GiB: halve
 *   cpu        CPU over 85 % and the time per item over 1.25 times its best: halve, once for what
 * ran since the last step, and not for batches under 1/100 of the target duration (smaller ones
 * would only waste starts) duration   never more items than fit the target duration at the measured
 * time per item tokens     when rate tokens are scarce and not the host, at least items left /
 * tokens left growth     times 1.5 after 3 calm batches always within 100..1,500. */
#ifndef STINT_COMMON_OPTIMIZER_H
#define STINT_COMMON_OPTIMIZER_H

#include <stdint.h>

enum { OPTIMIZER_MIN = 100, OPTIMIZER_MAX = 1500, OPTIMIZER_START = 1000 };

typedef struct {
    uint32_t size;      /* 0 = OPTIMIZER_START */
    uint32_t calm_n;    /* batches since the last change */
    uint32_t fresh_n;   /* batches that ended since the last change, calm or not */
    double best_us;     /* best time per item seen, 0 = none yet */
    double recent_us;   /* moving average of the time per item */
    const char *reason; /* why the size is what it is; static text */
    int64_t changed_at_ms;
} optimizer_t;

typedef struct {
    uint64_t memory_available; /* bytes; 0 = unknown */
    uint32_t cpu_permille;     /* of all cores */
    int64_t target_ms;
    int64_t now_ms;
} optimizer_host_t;

/* A batch of items_n ended after duration_us. */
void optimizer_batch(optimizer_t *self, uint32_t items_n, int64_t duration_us,
                     const optimizer_host_t *host);
/* A new host sample; halves on pressure, at most once a heartbeat (1 s). */
void optimizer_sample(optimizer_t *self, const optimizer_host_t *host);
/* The size now. */
uint32_t optimizer_size(const optimizer_t *self);

#endif

#include "api/capacity.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"

enum { RING_N = 8192 };

void capacity_init(capacity_t *self)
{
    *self = (capacity_t){.ring_n = RING_N};
    self->ring = mem_zero(RING_N * sizeof *self->ring);
}

static void clear(capacity_t *self)
{
    for (int i = 0; i < self->groups_n; i++) {
        free(self->groups[i].tasks);
    }
    self->groups_n = 0;
}

void capacity_free(capacity_t *self)
{
    clear(self);
    free(self->ring);
    self->ring = NULL;
}

void capacity_reset(capacity_t *self)
{
    clear(self);
    self->seq = self->wait_seq = 0;
    self->ring_from = self->sent;
}

static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261u;
    for (; *text; text++) {
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    }
    return hash;
}

/* What was sent but is not in the broker's count yet is taken off again. */
static void subtract_flying(capacity_t *self)
{
    for (uint64_t i = self->ring_from; i < self->sent; i++) {
        uint32_t hash = self->ring[i % self->ring_n].tasks_hash;
        uint32_t max_items = self->ring[i % self->ring_n].max_items;
        for (int g = 0; g < self->groups_n; g++) {
            capacity_group_t *group = &self->groups[g];
            if (group->n > 0 && group->max_items == max_items && hash_of(group->tasks) == hash) {
                group->n--;
                break;
            }
        }
    }
}

void capacity_told(capacity_t *self, const msg_capacity_is_t *msg)
{
    if (msg->seq <= self->seq) {
        return;
    }
    self->seq = msg->seq;
    clear(self);
    if (msg->dispatches_seen > self->ring_from) {
        self->ring_from = msg->dispatches_seen < self->sent ? msg->dispatches_seen : self->sent;
    }
    if (msg->seq <= self->wait_seq) {
        return;
    }
    for (uint32_t i = 0; i < msg->groups_n && self->groups_n < CAPACITY_GROUPS_MAX; i++) {
        const wire_capacity_t *from = &msg->groups[i];
        self->groups[self->groups_n++] = (capacity_group_t){
            .tasks = mem_text_n(from->tasks.p, from->tasks.n),
            .max_items = from->max_items > 1500 ? 1500 : (uint32_t)from->max_items,
            .n = from->n > 1000000 ? 1000000 : (int64_t)from->n,
        };
    }
    subtract_flying(self);
}

void capacity_undeliverable(capacity_t *self, uint64_t seq)
{
    if (seq >= self->seq) {
        self->wait_seq = seq;
        clear(self);
    }
}

void capacity_used(capacity_t *self, capacity_group_t *group)
{
    group->n--;
    if (self->sent - self->ring_from >= self->ring_n) {
        self->ring_from = self->sent - self->ring_n + 1;
    }
    self->ring[self->sent % self->ring_n].tasks_hash = hash_of(group->tasks);
    self->ring[self->sent % self->ring_n].max_items = group->max_items;
    self->sent++;
}

bool capacity_names(const char *tasks, const char *task)
{
    size_t n = strlen(task);
    for (const char *at = tasks; at;) {
        if (strncmp(at, task, n) == 0 && (at[n] == ',' || at[n] == 0)) {
            return true;
        }
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return false;
}

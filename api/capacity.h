/* capacity: what each broker said its workers have room for, less what was sent since.
 *
 * Pure bookkeeping of PROTOCOL P15, P16, P19. Called by the core's dispatch. */
#ifndef STINT_API_CAPACITY_H
#define STINT_API_CAPACITY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"

enum { CAPACITY_GROUPS_MAX = 256 };

typedef struct {
    char *tasks; /* "noop,process_transaction_batch" */
    uint32_t max_items;
    int64_t n; /* tickets left; never shown below 0 */
} capacity_group_t;

typedef struct {
    capacity_group_t groups[CAPACITY_GROUPS_MAX];
    int groups_n;
    uint64_t seq;       /* of the newest CAPACITY */
    uint64_t wait_seq;  /* after UNDELIVERABLE: only a CAPACITY above this counts */
    uint64_t sent;      /* DISPATCHes since HELLO */
    uint64_t ring_from; /* DISPATCHes up to here are in the broker's count */
    struct {
        uint32_t tasks_hash, max_items;
    } * ring; /* groups of DISPATCH ring_from+1 .. sent, by number modulo ring_n */
    uint32_t ring_n;
} capacity_t;

void capacity_init(capacity_t *self);
void capacity_free(capacity_t *self);
/* HELLO was said: nothing is known, nothing is on its way. */
void capacity_reset(capacity_t *self);
/* The broker's word. Messages that are older than the newest are ignored. */
void capacity_told(capacity_t *self, const msg_capacity_is_t *msg);
/* UNDELIVERABLE: count on nothing until a newer CAPACITY. */
void capacity_undeliverable(capacity_t *self, uint64_t seq);
/* A DISPATCH will be sent on that group; `sent` is its number. */
void capacity_used(capacity_t *self, capacity_group_t *group);
/* True if a comma-separated list names the task. */
bool capacity_names(const char *tasks, const char *task);

#endif

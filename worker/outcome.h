/* outcome: how a child ended, as a failure class and a sentence.
 *
 * Pure: a wait status and what the pool did come in. Called by pool. */
#ifndef STINT_WORKER_OUTCOME_H
#define STINT_WORKER_OUTCOME_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"

/* Why the pool ended a child, if it did. */
typedef enum {
    VERDICT_NONE,
    VERDICT_SOFT,     /* asked to end by the soft limit, and did */
    VERDICT_HARD,     /* over the hard limit */
    VERDICT_MEMORY,   /* resident memory over the limit */
    VERDICT_OUTPUT,   /* announced more bytes than a result may have */
    VERDICT_DEADLINE, /* the lease's deadline passed */
    VERDICT_GARBAGE,  /* sent what is no frame */
    VERDICT_LOST,     /* the fork server died and took it along */
    VERDICT_FAMILY,   /* more processes below it than a task may have */
} verdict_t;

typedef struct {
    verdict_t verdict;
    uint32_t guard; /* CHILD_GUARD_... */
    int status;     /* of waitpid */
    int64_t soft_ms, hard_ms, memory_bytes;
} outcome_facts_t;

/* The class; its sentence is written to text. */
failure_class_t outcome_of(const outcome_facts_t *facts, char *text, size_t size);

/* A copy that is valid UTF-8 without control bytes but newline and tab: what is neither becomes
 * '?'. At most size - 1 bytes, never cut inside a character. */
void outcome_clean(char *out, size_t size, const char *from, size_t n);

#endif

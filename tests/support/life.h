/* life: the api's core over a store on the disk, and a client, a worker and a scheduler that
 * believe every answer.
 *
 * Lives here: the work of a fleet in small random steps (from a seed), the notes of what was
 * promised, and the look whether all of it is true. Not here: what goes wrong meanwhile. Called by
 * tests/api/store/test_power_loss.c and test_sweep.c.
 *
 * The notes are the world outside: they are written where the product would send the answer, and
 * live in memory that a forked process shares, so that they outlast it. */
#ifndef STINT_TESTS_SUPPORT_LIFE_H
#define STINT_TESTS_SUPPORT_LIFE_H

#include "api/core.h"

enum { LIFE_JOBS = 128, LIFE_ATTEMPTS = 4096, LIFE_TICKS = 64 };

typedef struct {
    uint64_t job, items;
    bool cancelled;
} life_job_t;
typedef struct {
    uint64_t batch, job;
    uint32_t attempt;
    bool is_finalize, recorded, failed; /* recorded: as a result, or as a failure */
} life_attempt_t;
typedef struct {
    life_job_t jobs[LIFE_JOBS]; /* acknowledged */
    int jobs_n;
    life_attempt_t attempts[LIFE_ATTEMPTS]; /* each DISPATCH that left */
    int attempts_n;
    uint64_t ticks[LIFE_TICKS]; /* jobs of ticks answered "fired" */
    int ticks_n;
    int64_t now, wall; /* of the next step */
    uint64_t seed;     /* goes on over restarts */
    int recorded_n, cancelled_n, turns_n;
    char broken[256]; /* a promise that did not hold while it ran */
} life_notes_t;

/* Zeroed, shared with processes forked later. */
life_notes_t *life_notes_new(uint64_t seed);
void life_notes_destroy(life_notes_t **self);

typedef struct life life_t;
/* What a start of the api does: store_open, core_open and the first greetings. An error is what the
 * process would end with. */
CHECKED err_t life_open(life_t **out, const char *directory, life_notes_t *notes);
/* One event and one turn. An error: the process would end with it. */
CHECKED err_t life_step(life_t *self);
/* No new work; steps until every acknowledged job has ended. ERR_TIMEOUT: it does not. */
CHECKED err_t life_finish(life_t *self);
void life_close(life_t **self);
store_t *life_store(life_t *self);
core_t *life_core(life_t *self);

/* Everything promised is there, and the rows agree with one another. True: it is not; `out` says
 * what. */
bool life_broken(life_t *self, char *out, size_t size);
/* What the next start finds in the directory: is it broken then, or after all its work was done? As
 * life_broken. */
bool life_left_broken(const char *directory, life_notes_t *notes, char *out, size_t size);

#endif

/* states: names and moves of jobs and batches, from schema/job_states.def. */
#include <string.h>

#include "api/store/internal.h"

static const struct {
    const char *name;
    bool terminal;
} job_states[JOB_STATES_N] = {
#define JOB_STATE(NAME, name_, terminal_) [JOB_##NAME] = {name_, terminal_},
#define JOB_MOVE(FROM, TO)
#define BATCH_STATE(NAME, name_, terminal_)
#define BATCH_MOVE(FROM, TO)
#include "schema/job_states.def"
};
#undef JOB_STATE
#undef BATCH_STATE

static const struct {
    const char *name;
    bool terminal;
} batch_states[BATCH_STATES_N] = {
#define JOB_STATE(NAME, name_, terminal_)
#define BATCH_STATE(NAME, name_, terminal_) [BATCH_##NAME] = {name_, terminal_},
#include "schema/job_states.def"
};
#undef JOB_STATE
#undef BATCH_STATE
#undef JOB_MOVE
#undef BATCH_MOVE

#define JOB_STATE(NAME, name_, terminal_)
#define BATCH_STATE(NAME, name_, terminal_)
static const bool job_moves[JOB_STATES_N][JOB_STATES_N] = {
#define JOB_MOVE(FROM, TO) [JOB_##FROM][JOB_##TO] = true,
#define BATCH_MOVE(FROM, TO)
#include "schema/job_states.def"
};
#undef JOB_MOVE
#undef BATCH_MOVE

static const bool batch_moves[BATCH_STATES_N][BATCH_STATES_N] = {
#define JOB_MOVE(FROM, TO)
#define BATCH_MOVE(FROM, TO) [BATCH_##FROM][BATCH_##TO] = true,
#include "schema/job_states.def"
};

const char *job_state_name(job_state_t state)
{
    return job_states[state].name;
}

bool job_state_parse(const char *name, job_state_t *out)
{
    for (int i = 0; i < JOB_STATES_N; i++)
        if (strcmp(job_states[i].name, name) == 0) {
            *out = (job_state_t)i;
            return true;
        }
    return false;
}

bool job_state_terminal(job_state_t state)
{
    return job_states[state].terminal;
}

bool job_may_move(job_state_t from, job_state_t to)
{
    return job_moves[from][to];
}

const char *batch_state_name(batch_state_t state)
{
    return batch_states[state].name;
}

bool batch_state_parse(const char *name, batch_state_t *out)
{
    for (int i = 0; i < BATCH_STATES_N; i++)
        if (strcmp(batch_states[i].name, name) == 0) {
            *out = (batch_state_t)i;
            return true;
        }
    return false;
}

bool batch_state_terminal(batch_state_t state)
{
    return batch_states[state].terminal;
}

bool batch_may_move(batch_state_t from, batch_state_t to)
{
    return batch_moves[from][to];
}

#include "worker/outcome.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "worker/child.h"

/* "300 s", "1.5 s", "250 ms". */
static const char *spell_ms(int64_t ms, char out[32])
{
    if (ms < 1000) {
        snprintf(out, 32, "%lld ms", (long long)ms);
    } else {
        snprintf(out, 32, "%.10g s", (double)ms / 1000.0);
    }
    return out;
}

static failure_class_t of_verdict(const outcome_facts_t *facts, char *text, size_t size)
{
    char limit[32];
    switch (facts->verdict) {
    case VERDICT_SOFT:
        snprintf(text, size, "over the soft time limit of %s: asked to end, and did",
                 spell_ms(facts->soft_ms, limit));
        return FAILURE_TIME_LIMIT;
    case VERDICT_HARD:
        snprintf(text, size, "over the hard time limit of %s: killed",
                 spell_ms(facts->hard_ms, limit));
        return FAILURE_TIME_LIMIT;
    case VERDICT_DEADLINE:
        snprintf(text, size, "the lease could not be renewed before its deadline: killed");
        return FAILURE_TIME_LIMIT;
    case VERDICT_MEMORY:
        snprintf(text, size, "over the memory limit of %lld MiB: killed",
                 (long long)(facts->memory_bytes >> 20));
        return FAILURE_MEMORY;
    case VERDICT_OUTPUT:
        snprintf(text, size, "the result is over the limit of %d bytes: killed", CHILD_RESULT_MAX);
        return FAILURE_OUTPUT_LIMIT;
    case VERDICT_GARBAGE:
        snprintf(text, size, "sent what is no frame: killed");
        return FAILURE_CRASH;
    case VERDICT_LOST:
        snprintf(text, size, "the fork server ended, and its children with it");
        return FAILURE_CRASH;
    case VERDICT_FAMILY:
        snprintf(text, size, "over the limit of %d processes that a task may have: killed",
                 CHILD_FAMILY_MAX);
        return FAILURE_PROCESS_LIMIT;
    case VERDICT_NONE:
        break;
    }
    return (failure_class_t)0;
}

failure_class_t outcome_of(const outcome_facts_t *facts, char *text, size_t size)
{
    outcome_facts_t aside = *facts;
    if (aside.verdict == VERDICT_NONE && aside.guard == CHILD_GUARD_DEADLINE) {
        aside.verdict = VERDICT_DEADLINE;
    }
    if (aside.verdict != VERDICT_NONE) {
        return of_verdict(&aside, text, size);
    }
    bool closed = WIFEXITED(facts->status) && WEXITSTATUS(facts->status) == CHILD_EXIT_LOST;
    if (closed || facts->guard == CHILD_GUARD_LOST) {
        snprintf(
            text, size,
            "lost its connection to the worker: closed by the task, or broken by what it wrote");
        return FAILURE_CRASH;
    }
    if (WIFSIGNALED(facts->status) && WTERMSIG(facts->status) == SIGKILL) {
        snprintf(text, size,
                 "ended by a SIGKILL that this worker did not send, as the kernel does "
                 "when memory runs out");
        return FAILURE_MEMORY;
    }
    if (WIFSIGNALED(facts->status)) {
        const char *name = sigabbrev_np(WTERMSIG(facts->status));
        snprintf(text, size, "ended by SIG%s", name ? name : "NAL of no name");
        return FAILURE_CRASH;
    }
    if (WEXITSTATUS(facts->status) == CHILD_EXIT_MEMORY) {
        snprintf(text, size, "over the memory limit of %lld MiB: an allocation was refused",
                 (long long)(facts->memory_bytes >> 20));
        return FAILURE_MEMORY;
    }
    snprintf(text, size, "ended with exit code %d before it gave a result",
             WEXITSTATUS(facts->status));
    return FAILURE_CRASH;
}

/* Bytes of the UTF-8 character at `at`, 0 if it is none (overlong, surrogate, cut or over
 * U+10FFFF). */
static size_t character(const unsigned char *at, size_t n)
{
    static const struct {
        unsigned char low, high, second_low, second_high;
        size_t n;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (at[0] < forms[i].low || at[0] > forms[i].high) {
            continue;
        }
        if (forms[i].n > n ||
            (forms[i].n > 1 && (at[1] < forms[i].second_low || at[1] > forms[i].second_high))) {
            return 0;
        }
        for (size_t k = 2; k < forms[i].n; k++) {
            if ((at[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return forms[i].n;
    }
    return 0;
}

void outcome_clean(char *out, size_t size, const char *from, size_t n)
{
    const unsigned char *at = (const unsigned char *)from;
    size_t used = 0;
    while (n) {
        size_t width = character(at, n);
        bool plain = width && ((*at >= 0x20 && *at != 0x7f) || *at == '\n' || *at == '\t');
        size_t step = width ? width : 1;
        if (used + (plain ? width : 1) >= size) {
            break;
        }
        if (plain) {
            memcpy(out + used, at, width);
            used += width;
        } else {
            out[used++] = '?';
        }
        at += step;
        n -= step;
    }
    out[used] = 0;
}

/* transaction_config: a job's parameters in the form the rules use.
 *
 * Lives here: defaults (of schema/tasks.def), profiles, and the item rules with their weights,
 * families and caps. Not here: checking parameters (common/task_table has done it). Pure. */
#ifndef STINT_WORKER_TRANSACTION_CONFIG_H
#define STINT_WORKER_TRANSACTION_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "worker/tasks/transaction_row.h"

/* Rules that need nothing but their own row; the order is that of the score's mask bits.
 *   X (NAME, family, weight) */
#define ITEM_RULES(X)                                                                              \
    X(ROUND_1000, AMOUNT, 6)                                                                       \
    X(ROUND_100, AMOUNT, 3)                                                                        \
    X(JUST_BELOW, AMOUNT, 12)                                                                      \
    X(WEEKEND, TIME, 4)                                                                            \
    X(AFTER_HOURS, TIME, 6)                                                                        \
    X(SELF, PARTY, 15)                                                                             \
    X(ACCOUNT_EMPTIED, BALANCE, 30)                                                                \
    X(BALANCE_GAP, BALANCE, 10)                                                                    \
    X(OVERDRAWN, BALANCE, 10)

typedef enum {
#define ITEM_RULE(NAME, family, weight) RULE_##NAME,
    ITEM_RULES(ITEM_RULE)
#undef ITEM_RULE
        RULES_N
} rule_t;

const char *rule_name(rule_t rule);

enum { THRESHOLDS_MAX = 16 };

typedef struct {
    json_t *params; /* owned; the texts of the kind lists live here */
    const char *profile;
    uint32_t rules; /* bit 1 << RULE_x: on in this profile */
    int64_t benford_min_minor;
    int thresholds_n;
    int64_t thresholds[THRESHOLDS_MAX];
    /* The same as bounds without overflow: below is [below_from, t), above is [t, above_to). */
    int64_t below_from[THRESHOLDS_MAX], above_to[THRESHOLDS_MAX];
} transaction_config_t;

/* `params` is JSON text ("" = {}). No profile means ap, the first of the choices. ERR_INVALID if
 * the text is not an object or fails the table's checks. */
CHECKED err_t transaction_config_open(transaction_config_t *out, const char *params);
void transaction_config_close(transaction_config_t *self);

/* The item rules this row fires, as bits; never one that is off. */
uint32_t rules_fired(const transaction_config_t *self, const transaction_t *row);

/* 0..100: the sum over families of min(cap, weights of the fired rules). */
int rules_score(uint32_t fired);

#endif

#include "worker/tasks/transaction_config.h"

#include <string.h>

#include "common/task_table.h"

typedef enum { FAMILY_AMOUNT, FAMILY_TIME, FAMILY_PARTY, FAMILY_BALANCE, FAMILIES_N } family_t;

static const int caps[FAMILIES_N] = {
    [FAMILY_AMOUNT] = 30, [FAMILY_TIME] = 15, [FAMILY_PARTY] = 25, [FAMILY_BALANCE] = 40};

static const struct {
    const char *name;
    family_t family;
    int weight;
} rules[RULES_N] = {
#define ITEM_RULE(NAME, family_, weight_) [RULE_##NAME] = {#NAME, FAMILY_##family_, weight_},
    ITEM_RULES(ITEM_RULE)
#undef ITEM_RULE
};

#define BIT(NAME) (1u << RULE_##NAME)

static const struct {
    const char *name;
    uint32_t rules;
} profiles[] = {
    {"ap", BIT(ROUND_1000) | BIT(ROUND_100) | BIT(JUST_BELOW) | BIT(WEEKEND) | BIT(SELF)},
    {"pcard", BIT(ROUND_1000) | BIT(ROUND_100) | BIT(JUST_BELOW) | BIT(WEEKEND)},
    {"card", BIT(ROUND_1000) | BIT(ROUND_100)},
    {"transfer", BIT(ROUND_1000) | BIT(ROUND_100) | BIT(JUST_BELOW) | BIT(SELF) |
                     BIT(ACCOUNT_EMPTIED) | BIT(BALANCE_GAP) | BIT(OVERDRAWN)},
};

const char *rule_name(rule_t rule)
{
    return rules[rule].name;
}

static void set_thresholds(transaction_config_t *self)
{
    const json_t *list = json_object_get(self->params, "thresholds_minor");
    self->thresholds_n = (int)json_array_size(list);
    for (int i = 0; i < self->thresholds_n; i++) {
        int64_t t = json_integer_value(json_array_get(list, (size_t)i));
        __int128 above = ((__int128)t * 11 + 9) / 10;
        self->thresholds[i] = t;
        self->below_from[i] = (int64_t)(((__int128)t * 9 + 9) / 10);
        self->above_to[i] = above > INT64_MAX ? INT64_MAX : (int64_t)above;
    }
}

err_t transaction_config_open(transaction_config_t *out, const char *params)
{
    json_error_t error;
    json_t *object = json_loads(params && *params ? params : "{}", JSON_REJECT_DUPLICATES, &error);
    if (!object) {
        return err_set(ERR_INVALID, "params: %s", error.text);
    }
    err_t err = task_check_params(task_spec_at(TASK_ID_TRANSACTION), object);
    if (err) {
        json_decref(object);
        return err;
    }
    *out = (transaction_config_t){.params = object, .benford_min_minor = 1000};
    const char *profile = json_string_value(json_object_get(object, "profile"));
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        if (i == 0 || (profile && strcmp(profiles[i].name, profile) == 0)) {
            out->profile = profiles[i].name;
            out->rules = profiles[i].rules;
        }
    }
    const json_t *low = json_object_get(object, "benford_min_minor");
    if (low) {
        out->benford_min_minor = json_integer_value(low);
    }
    set_thresholds(out);
    return ERR_OK;
}

void transaction_config_close(transaction_config_t *self)
{
    json_decref(self->params);
    self->params = NULL;
}

/* `otherwise` is the default list, separated by commas. */
static bool kind_in(const transaction_config_t *self, const char *param, const char *otherwise,
                    slice_t kind)
{
    const json_t *list = json_object_get(self->params, param);
    if (list) {
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *text = json_array_get(list, i);
            if (json_string_length(text) == kind.n &&
                memcmp(json_string_value(text), kind.data, kind.n) == 0) {
                return true;
            }
        }
        return false;
    }
    for (const char *at = otherwise; kind.n > 0;) {
        size_t n = strcspn(at, ",");
        if (n == kind.n && memcmp(at, kind.data, n) == 0) {
            return true;
        }
        if (!at[n]) {
            break;
        }
        at += n + 1;
    }
    return false;
}

static uint32_t balance_rules(const transaction_config_t *self, const transaction_t *row)
{
    bool credit = kind_in(self, "credit_kinds", "CASH_IN", row->kind);
    uint32_t fired = 0;
    if (row->bal_after != row->bal_before + (credit ? row->amount : -row->amount)) {
        fired |= BIT(BALANCE_GAP);
    }
    if (!credit && row->amount == row->bal_before &&
        kind_in(self, "empty_kinds", "TRANSFER,CASH_OUT", row->kind)) {
        fired |= BIT(ACCOUNT_EMPTIED);
    }
    if (!credit && row->amount > row->bal_before) {
        fired |= BIT(OVERDRAWN);
    }
    return fired;
}

uint32_t rules_fired(const transaction_config_t *self, const transaction_t *row)
{
    uint32_t fired = 0;
    int64_t m = row->amount;
    if (m > 0) {
        if (m % 10000 == 0) {
            fired |= m % 100000 == 0 ? BIT(ROUND_1000) : BIT(ROUND_100);
        }
        if (self->thresholds_n > 0 && m >= self->below_from[0] && m < self->thresholds[0]) {
            fired |= BIT(JUST_BELOW);
        }
        if (row->has_before && row->has_after) {
            fired |= balance_rules(self, row);
        }
    }
    /* 1970-01-01 was a Thursday; years before it have negative days. */
    if (((row->day + 3) % 7 + 7) % 7 >= 5) {
        fired |= BIT(WEEKEND);
    }
    if (row->second >= 0 && (row->second < 6 * 3600 || row->second >= 22 * 3600)) {
        fired |= BIT(AFTER_HOURS);
    }
    if (row->src.n == row->dst.n && memcmp(row->src.data, row->dst.data, row->src.n) == 0) {
        fired |= BIT(SELF);
    }
    return fired & self->rules;
}

int rules_score(uint32_t fired)
{
    int sums[FAMILIES_N] = {0}, score = 0;
    for (int i = 0; i < RULES_N; i++) {
        sums[rules[i].family] += fired >> i & 1 ? rules[i].weight : 0;
    }
    for (int i = 0; i < FAMILIES_N; i++) {
        score += sums[i] < caps[i] ? sums[i] : caps[i];
    }
    return score < 100 ? score : 100;
}

/* tickets: what is promised to whom, and what a DISPATCH on each kind of ticket proves (P13, P14,
 * P17). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/random.h"
#include "worker/tickets.h"

static const uint64_t FREE = 1, LIMITED = 2; /* task 0 and task 1 */

static tickets_want_t want(uint32_t full, uint32_t tokens, uint32_t brokers)
{
    tickets_want_t it = {.full_n = full,
                         .unlimited = FREE,
                         .limited = LIMITED,
                         .max_items = 1000,
                         .brokers = brokers};
    it.tokens[1] = tokens;
    return it;
}

static ticket_verdict_t take(tickets_t *self, uint64_t id, uint64_t batch, int task)
{
    const char *why = NULL;
    wire_lease_ref_t lease = {.batch = batch, .attempt = 1};
    ticket_verdict_t verdict = tickets_take(self, id, lease, task, &why);
    ck_assert((why != NULL) == (verdict == TICKET_REFUSED));
    return verdict;
}

/* What broker is told now: how many grants name the mask. */
static uint32_t told(tickets_t *self, int broker, int64_t now, uint64_t mask)
{
    wire_grant_t *grants;
    uint32_t n = tickets_told(self, broker, now, 3000, &grants), fitting = 0;
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_uint_eq(grants[i].max_items, 1000);
        fitting += (grants[i].tasks & mask) == mask;
    }
    return fitting;
}

START_TEST(test_a_ticket_is_used_once)
{
    tickets_t *self = tickets_new(0);
    tickets_want_t it = want(2, 2, 1);
    tickets_plan(self, &it, 0);
    ck_assert_uint_eq(told(self, 0, 0, FREE), 2);
    ck_assert_int_eq(take(self, 1, 100, 0), TICKET_TAKEN);
    ck_assert_int_eq(take(self, 1, 100, 0), TICKET_SILENT);
    ck_assert_int_eq(take(self, 1, 101, 0), TICKET_REFUSED);
    ck_assert_int_eq(take(self, 2, 100, 0), TICKET_SILENT); /* runs already: P24 */
    ck_assert_int_eq(take(self, 2, 102, 0), TICKET_REFUSED);
    ck_assert_uint_eq(tickets_live_n(self), 0);
    tickets_destroy(&self);
}
END_TEST

START_TEST(test_expired_and_withdrawn_tickets_never_come_back)
{
    tickets_t *self = tickets_new(0);
    tickets_want_t it = want(2, 2, 1);
    tickets_plan(self, &it, 0);
    told(self, 0, 0, FREE);
    tickets_expire(self, 2999);
    ck_assert_uint_eq(tickets_live_n(self), 2);
    ck_assert_int_eq(tickets_next_at(self), 3000);
    tickets_plan(self, &it, 3000);
    ck_assert_int_eq(take(self, 1, 100, 0), TICKET_REFUSED);
    ck_assert_int_eq(take(self, 3, 101, 0), TICKET_TAKEN);
    tickets_withdraw(self);
    ck_assert_int_eq(take(self, 4, 102, 0), TICKET_REFUSED);
    ck_assert(tickets_changed(self, 0));
    /* Of another incarnation, or never given: nothing can be proven. */
    ck_assert_int_eq(take(self, 0, 103, 0), TICKET_SILENT);
    ck_assert_int_eq(take(self, 99, 103, 0), TICKET_SILENT);
    tickets_destroy(&self);
}
END_TEST

START_TEST(test_a_forgotten_ticket_is_met_with_silence)
{
    tickets_t *self = tickets_new(0);
    tickets_want_t it = want(1, 0, 1);
    for (uint64_t id = 1; id <= TICKETS_MEMORY + 5; id++) {
        tickets_plan(self, &it, 0);
        ck_assert_int_eq(take(self, id, 1000 + id, 0), TICKET_TAKEN);
    }
    for (uint64_t id = 1; id <= 5; id++) {
        ck_assert_int_eq(take(self, id, 7, 0), TICKET_SILENT);
    }
    ck_assert_int_eq(take(self, 6, 7, 0), TICKET_REFUSED);
    tickets_destroy(&self);
}
END_TEST

START_TEST(test_only_as_many_tickets_name_a_limited_task_as_there_are_tokens)
{
    tickets_t *self = tickets_new(0);
    for (uint32_t tokens = 0; tokens <= 6; tokens++) {
        tickets_want_t it = want(4, tokens, 1);
        tickets_plan(self, &it, 0);
        ck_assert_uint_eq(told(self, 0, 0, LIMITED), tokens < 4 ? tokens : 4);
        ck_assert_uint_eq(told(self, 0, 0, FREE), 4);
    }
    tickets_want_t none = want(4, 0, 1);
    tickets_plan(self, &none, 0);
    ck_assert(tickets_changed(self, 0));
    ck_assert_int_eq(take(self, 1, 100, 1),
                     TICKET_REFUSED); /* withdrawn from that task meanwhile */
    tickets_destroy(&self);
}
END_TEST

START_TEST(test_waiting_tickets_name_short_tasks_only_and_the_oldest_becomes_full)
{
    tickets_t *self = tickets_new(0);
    tickets_want_t it = want(1, 5, 1);
    it.ahead_n = 8;
    it.ahead_depth[0] = 8;
    tickets_plan(self, &it, 0);
    ck_assert_uint_eq(told(self, 0, 0, FREE), 9);
    ck_assert_uint_eq(told(self, 0, 0, LIMITED), 1);
    ck_assert_int_eq(take(self, 1, 100, 1), TICKET_TAKEN);
    ck_assert_int_eq(take(self, 3, 101, 1), TICKET_REFUSED);
    tickets_plan(self, &it, 0);
    ck_assert_int_eq(take(self, 2, 102, 1), TICKET_TAKEN);
    tickets_destroy(&self);
}
END_TEST

START_TEST(test_no_ticket_is_made_for_nothing)
{
    tickets_t *self = tickets_new(0);
    tickets_want_t it = want(4, 2, 1);
    it.unlimited = 0;
    tickets_plan(self, &it, 0);
    ck_assert_uint_eq(tickets_live_n(self), 2);
    it.brokers = 0;
    tickets_plan(self, &it, 0);
    ck_assert_uint_eq(tickets_live_n(self), 0);
    tickets_destroy(&self);
}
END_TEST

START_TEST(test_tickets_are_spread_and_leave_a_lost_broker)
{
    tickets_t *self = tickets_new(0);
    tickets_want_t it = want(9, 0, 7);
    tickets_plan(self, &it, 0);
    for (int broker = 0; broker < 3; broker++) {
        ck_assert_uint_eq(told(self, broker, 0, FREE), 3);
        ck_assert(!tickets_changed(self, broker));
    }
    it.brokers = 5;
    tickets_plan(self, &it, 10);
    ck_assert_uint_eq(told(self, 0, 10, FREE) + told(self, 2, 10, FREE), 9);
    ck_assert_uint_eq(told(self, 1, 10, FREE), 0);
    tickets_destroy(&self);
}
END_TEST

/* Against a judge: no id twice, no attempt taken twice, never REFUSED for an attempt that was
 * taken, and never more limited starts than tokens. */
START_TEST(test_random_plans_and_dispatches_keep_the_rules)
{
    uint64_t seed = (uint64_t)time(NULL), state = seed;
    printf("tickets seed %llu\n", (unsigned long long)seed);
    tickets_t *self = tickets_new(0);
    enum { ROUNDS = 20000, BATCHES = ROUNDS * 2 };
    static bool taken[BATCHES];
    uint64_t batch = 1, highest = 0;
    for (int64_t now = 0; now < ROUNDS; now++) {
        uint32_t tokens = (uint32_t)random_below(&state, 4), used = 0;
        tickets_want_t it =
            want((uint32_t)random_below(&state, 6), tokens, (uint32_t)random_below(&state, 8));
        it.ahead_n = it.ahead_depth[0] = (uint32_t)random_below(&state, 12);
        tickets_plan(self, &it, now);
        for (int broker = 0; broker < 3; broker++) {
            wire_grant_t *grants;
            uint32_t n = tickets_told(self, broker, now, 5, &grants);
            ck_assert(n == 0 || it.brokers >> broker & 1);
            for (uint32_t i = 0; i < n; i++) {
                used += (grants[i].tasks & LIMITED) != 0;
                highest = grants[i].ticket > highest ? grants[i].ticket : highest;
            }
        }
        ck_assert_msg(used <= tokens, "seed %llu round %lld", (unsigned long long)seed,
                      (long long)now);
        uint64_t id = highest > 10 ? highest - random_below(&state, 10) : highest;
        uint64_t which =
            random_below(&state, 3) || batch < 20 ? batch++ : batch - random_below(&state, 10) - 1;
        ticket_verdict_t verdict = take(self, id, which, (int)random_below(&state, 2));
        ck_assert(!(verdict == TICKET_TAKEN && taken[which]));
        ck_assert(!(verdict == TICKET_REFUSED && taken[which]));
        taken[which] |= verdict == TICKET_TAKEN;
    }
    tickets_destroy(&self);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tickets");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_a_ticket_is_used_once);
    tcase_add_test(rules, test_expired_and_withdrawn_tickets_never_come_back);
    tcase_add_test(rules, test_a_forgotten_ticket_is_met_with_silence);
    tcase_add_test(rules, test_only_as_many_tickets_name_a_limited_task_as_there_are_tokens);
    tcase_add_test(rules, test_waiting_tickets_name_short_tasks_only_and_the_oldest_becomes_full);
    tcase_add_test(rules, test_no_ticket_is_made_for_nothing);
    tcase_add_test(rules, test_tickets_are_spread_and_leave_a_lost_broker);
    tcase_add_test(rules, test_random_plans_and_dispatches_keep_the_rules);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

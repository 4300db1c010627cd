/* The planner under a fake clock, alone and with others on one simulated ledger. */
#include "scheduler/planner.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scheduler/cron.h"

enum { LOG_N = 20000 };
static const int64_t minute = 60000, hour = 3600000, day = 86400000;
/* 2026-11-23 00:00 UTC */
static const int64_t start = 1795392000000;

/* What was emitted, in order. */
typedef struct {
    planner_tick_t ticks[LOG_N];
    char names[LOG_N][16];
    size_t n;
} record_t;

static record_t record;
static zones_t *zones;
static planner_t *planner;

static void setup(void)
{
    zones = zones_new(NULL);
    planner = planner_new(zones);
    record.n = 0;
}

static void teardown(void)
{
    planner_destroy(&planner);
    zones_destroy(&zones);
}

static void keep(void *context, const planner_tick_t *tick)
{
    record_t *into = context;
    ck_assert_uint_lt(into->n, LOG_N);
    snprintf(into->names[into->n], sizeof into->names[0], "%s", tick->schedule);
    into->ticks[into->n++] = *tick;
}

/* How many ticks this call emits; they begin at record.ticks[0]. */
static size_t due(int64_t now_ms)
{
    record.n = 0;
    planner_due(planner, now_ms, keep, &record);
    return record.n;
}

static planner_schedule_t row(const char *name, const char *expression, planner_catch_up_t policy)
{
    return (planner_schedule_t){.name = name,
                                .expression = expression,
                                .zone = "UTC",
                                .catch_up = policy,
                                .last_tick_at = start,
                                .revision = 7};
}

static void load(planner_schedule_t one, int64_t now_ms)
{
    ck_assert_msg(planner_snapshot(planner, &one, 1, now_ms) == ERR_OK, "%s", err_text());
    ck_assert_msg(planner_broken_n(planner) == 0, "%s", planner_broken_text(planner));
}

/* Answer every tick at once; the number of them until the planner has nothing due. */
static size_t drain(int64_t now_ms, int64_t *first, int64_t *last)
{
    size_t n = 0;
    while (due(now_ms) > 0) {
        for (size_t i = 0; i < record.n; i++, n++) {
            if (n == 0)
                *first = record.ticks[i].nominal_at;
            *last = record.ticks[i].nominal_at;
            ck_assert(planner_answer(planner, record.names[i], *last, PLANNER_ACCEPTED));
        }
    }
    return n;
}

START_TEST(test_each_nominal_time_is_emitted_once_when_answered)
{
    load(row("a", "every 5m", PLANNER_NONE), start);
    int64_t expected = start;
    for (int64_t now = start; now < start + day; now += 1000) {
        if (planner_next_at(planner) > now) {
            ck_assert_uint_eq(due(now), 0);
            continue;
        }
        expected += 5 * minute;
        ck_assert_uint_eq(due(now), 1);
        ck_assert_int_eq(record.ticks[0].nominal_at, expected);
        ck_assert_int_eq(record.ticks[0].revision, 7);
        ck_assert(!record.ticks[0].caught_up);
        ck_assert_int_eq(now, expected);
        ck_assert(planner_answer(planner, "a", expected, PLANNER_ACCEPTED));
        ck_assert(!planner_answer(planner, "a", expected, PLANNER_ACCEPTED));
    }
    ck_assert_int_eq(expected, start + day - 5 * minute);
}
END_TEST

START_TEST(test_an_unanswered_tick_is_repeated_with_growing_pauses)
{
    load(row("a", "every 5m", PLANNER_NONE), start);
    static const int64_t pauses[] = {2000, 4000, 8000, 16000, 16000, 16000};
    int64_t now = start + 5 * minute;
    ck_assert_uint_eq(due(now), 1);
    for (size_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
        ck_assert_int_eq(planner_next_at(planner), now + pauses[i]);
        ck_assert_uint_eq(due(now + pauses[i] - 1), 0);
        now += pauses[i];
        ck_assert_uint_eq(due(now), 1);
        ck_assert_int_eq(record.ticks[0].nominal_at, start + 5 * minute);
    }
    /* It was seen in time: however long the answer takes, policy none does not drop it. */
    ck_assert_uint_eq(due(now + 3 * minute), 1);
    ck_assert_int_eq(record.ticks[0].nominal_at, start + 5 * minute);
    ck_assert(planner_answer(planner, "a", start + 5 * minute, PLANNER_DUPLICATE));
    ck_assert_int_eq(planner_next_at(planner), start + 10 * minute);
}
END_TEST

START_TEST(test_a_refused_tick_is_offered_again_later)
{
    load(row("a", "every 5m", PLANNER_NONE), start);
    int64_t now = start + 5 * minute;
    ck_assert_uint_eq(due(now), 1);
    ck_assert(planner_answer(planner, "a", now, PLANNER_REFUSED));
    ck_assert_uint_eq(due(now + PLANNER_RETRY_MAX_MS - 1), 0);
    ck_assert_uint_eq(due(now + PLANNER_RETRY_MAX_MS), 1);
    ck_assert_int_eq(record.ticks[0].nominal_at, now);
    /* The ledger has it after all: the snapshot settles the matter. */
    planner_schedule_t later = row("a", "every 5m", PLANNER_NONE);
    later.last_tick_at = now;
    load(later, now + minute);
    ck_assert_int_eq(planner_next_at(planner), now + 5 * minute);
}
END_TEST

START_TEST(test_policy_none_skips_what_is_over_a_minute_old)
{
    int64_t first = 0, last = 0;
    load(row("a", "every 30s", PLANNER_NONE), start + day + 1);
    ck_assert_uint_eq(drain(start + day + 1, &first, &last), 2);
    ck_assert_int_eq(first, start + day - 30000);
    load(row("a", "0 12 * * *", PLANNER_NONE), start + day);
    ck_assert_uint_eq(due(start + day), 0);
    ck_assert_int_eq(planner_next_at(planner), start + day + 12 * hour);
}
END_TEST

START_TEST(test_a_tick_exactly_a_minute_old_is_not_missed)
{
    load(row("a", "0 12 * * *", PLANNER_NONE), start + 12 * hour + minute);
    ck_assert_uint_eq(due(start + 12 * hour + minute), 1);
    ck_assert_int_eq(record.ticks[0].nominal_at, start + 12 * hour);
}
END_TEST

START_TEST(test_policy_last_fires_the_newest_missed_one_only)
{
    int64_t first = 0, last = 0, now = start + 10 * day + 5 * hour;
    load(row("a", "0 2 * * *", PLANNER_LAST), now);
    ck_assert_uint_eq(due(now), 1);
    ck_assert(record.ticks[0].caught_up);
    ck_assert_uint_eq(drain(now + PLANNER_RETRY_MS, &first, &last), 1);
    ck_assert_int_eq(first, start + 10 * day + 2 * hour);
    ck_assert_int_eq(planner_next_at(planner), start + 11 * day + 2 * hour);
}
END_TEST

START_TEST(test_policy_all_fires_what_was_missed_in_order)
{
    int64_t first = 0, last = 0, now = start + 5 * hour + 10 * minute;
    load(row("a", "@hourly", PLANNER_ALL), now);
    ck_assert_uint_eq(drain(now, &first, &last), 5);
    ck_assert_int_eq(first, start + hour);
    ck_assert_int_eq(last, start + 5 * hour);
    ck_assert_int_eq(planner_next_at(planner), start + 6 * hour);
}
END_TEST

START_TEST(test_policy_all_stays_within_a_day_and_a_hundred)
{
    int64_t first = 0, last = 0, now = start + 10 * day + 30 * minute;
    load(row("a", "@hourly", PLANNER_ALL), now);
    ck_assert_uint_eq(drain(now, &first, &last), 24);
    ck_assert_int_eq(first, start + 9 * day + hour);
    load(row("b", "* * * * *", PLANNER_ALL), now);
    ck_assert_uint_eq(drain(now, &first, &last), PLANNER_CATCH_UP_N);
    ck_assert_int_eq(first, now - 99 * minute);
    ck_assert_int_eq(last, now);
    load(row("c", "every 1s", PLANNER_ALL), now + 500);
    ck_assert_uint_eq(drain(now + 500, &first, &last), PLANNER_CATCH_UP_N);
    ck_assert_int_eq(last, now);
}
END_TEST

START_TEST(test_what_the_policy_has_granted_is_not_taken_back_while_answers_are_slow)
{
    int64_t first = 0, last = 0, now = start + 2 * day + 30 * minute;
    load(row("a", "@hourly", PLANNER_ALL), now);
    ck_assert_uint_eq(due(now), 1);
    int64_t oldest = record.ticks[0].nominal_at;
    ck_assert_int_eq(oldest, start + day + hour);
    ck_assert(planner_answer(planner, "a", oldest, PLANNER_ACCEPTED));
    /* Three hours later the next ones are over the horizon, but they were granted when they were
     * seen. */
    ck_assert_uint_eq(drain(now + 3 * hour, &first, &last), 23 + 3);
    ck_assert_int_eq(first, oldest + hour);
    ck_assert_int_eq(last, start + 2 * day + 3 * hour);
}
END_TEST

START_TEST(test_a_new_schedule_has_missed_nothing)
{
    planner_schedule_t one = row("a", "@hourly", PLANNER_ALL);
    one.last_tick_at = 0;
    load(one, start + 5 * hour + 1);
    ck_assert_int_eq(planner_next_at(planner), start + 6 * hour);
    one.since_at = start + 4 * hour - 1;
    load(one, start + 5 * hour + 1);
    ck_assert_int_eq(planner_next_at(planner), start + 4 * hour);
}
END_TEST

START_TEST(test_a_snapshot_keeps_a_tick_in_the_air_unless_the_rule_changed)
{
    planner_schedule_t one = row("a", "every 5m", PLANNER_NONE);
    load(one, start);
    int64_t now = start + 5 * minute;
    ck_assert_uint_eq(due(now), 1);
    load(one, now + 2 * minute);
    ck_assert_uint_eq(due(now + 2 * minute), 1);
    ck_assert_int_eq(record.ticks[0].nominal_at, now);
    one.revision = 8;
    one.expression = "every 1h";
    load(one, now + 2 * minute);
    ck_assert_uint_eq(due(now + 2 * minute), 0);
    ck_assert(!planner_answer(planner, "a", now, PLANNER_ACCEPTED));
    ck_assert_int_eq(planner_next_at(planner), start + hour);
    one.paused = true;
    load(one, now);
    ck_assert_int_eq(planner_next_at(planner), INT64_MAX);
}
END_TEST

START_TEST(test_a_broken_schedule_does_not_stop_the_others)
{
    char name[PLANNER_TEXT_N + 2];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    planner_schedule_t rows[] = {row("c", "every 5m", PLANNER_NONE),
                                 row("b", "61 * * * *", PLANNER_NONE),
                                 row("a", "@daily", PLANNER_NONE)};
    rows[2].zone = "../etc/passwd";
    ck_assert_int_eq(planner_snapshot(planner, rows, 3, start), ERR_OK);
    ck_assert_uint_eq(planner_broken_n(planner), 2);
    ck_assert_ptr_nonnull(strstr(planner_broken_text(planner), "schedule a: time zone"));
    ck_assert_uint_eq(due(start + 5 * minute), 1);
    rows[1].name = "c";
    ck_assert_int_eq(planner_snapshot(planner, rows, 3, start), ERR_INVALID);
    rows[1].name = name;
    ck_assert_int_eq(planner_snapshot(planner, rows, 3, start), ERR_INVALID);
    ck_assert_int_eq(planner_snapshot(planner, rows, PLANNER_SCHEDULES_MAX + 1, start), ERR_LIMIT);
    ck_assert(planner_answer(planner, "c", start + 5 * minute, PLANNER_ACCEPTED));
}
END_TEST

START_TEST(test_a_clock_set_back_repeats_no_tick_and_delays_no_retry)
{
    load(row("a", "every 5m", PLANNER_NONE), start);
    int64_t now = start + 5 * minute;
    ck_assert_uint_eq(due(now), 1);
    ck_assert_uint_eq(due(now - hour), 0);
    ck_assert_int_le(planner_next_at(planner), now - hour + PLANNER_RETRY_MS);
    ck_assert(planner_answer(planner, "a", now, PLANNER_ACCEPTED));
    for (int64_t again = now - hour; again < now + 5 * minute; again += 1000)
        ck_assert_uint_eq(due(again), 0);
    ck_assert_uint_eq(due(now + 5 * minute), 1);
}
END_TEST

START_TEST(test_a_turn_is_bounded_and_goes_on)
{
    enum { N = 2500 };
    static planner_schedule_t rows[N];
    static char names[N][16];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        rows[i] = row(names[i], "every 5m", PLANNER_NONE);
    }
    int64_t now = start + 5 * minute;
    ck_assert_int_eq(planner_snapshot(planner, rows, N, start), ERR_OK);
    ck_assert_uint_eq(due(now), PLANNER_TURN_N);
    ck_assert_int_le(planner_next_at(planner), now);
    ck_assert_uint_eq(due(now), PLANNER_TURN_N);
    ck_assert_uint_eq(due(now), N - 2 * PLANNER_TURN_N);
    ck_assert_int_gt(planner_next_at(planner), now);
}
END_TEST

/* ---- several planners, one ledger, a network that loses things ---- */

enum { PLANNERS_N = 3, SCHEDULES_N = 6, TICKS_N = 4000 };
static const char *const sim_names[SCHEDULES_N] = {"m", "n", "o", "p", "q", "r"};
static const char *const sim_rules[SCHEDULES_N] = {"* * * * *",  "every 90s", "*/5 * * * *",
                                                   "30 * * * *", "every 7m",  "0 2 * * *"};

typedef struct {
    int64_t jobs[SCHEDULES_N][TICKS_N]; /* nominal times, in the order they were made */
    size_t jobs_n[SCHEDULES_N];
    size_t duplicates;
    unsigned seed;
    planner_t *from;
    bool cut_off;
} ledger_t;

/* The store's rule: unique, and not after a later one of the same schedule. */
static void store_tick(void *context, const planner_tick_t *tick)
{
    ledger_t *ledger = context;
    if (ledger->cut_off || rand_r(&ledger->seed) % 10 < 3)
        return; /* lost on the way there */
    size_t s = (size_t)(tick->schedule[0] - 'm');
    size_t n = ledger->jobs_n[s];
    planner_answer_t answer = PLANNER_ACCEPTED;
    if (n > 0 && ledger->jobs[s][n - 1] >= tick->nominal_at) {
        answer = PLANNER_DUPLICATE;
        ledger->duplicates++;
    } else {
        ck_assert_uint_lt(n, TICKS_N);
        ledger->jobs[s][ledger->jobs_n[s]++] = tick->nominal_at;
    }
    if (rand_r(&ledger->seed) % 10 >= 3) /* else lost on the way back */
        planner_answer(ledger->from, tick->schedule, tick->nominal_at, answer);
}

static void fetch(const ledger_t *ledger, planner_t *into, int64_t now_ms)
{
    planner_schedule_t rows[SCHEDULES_N];
    for (size_t s = 0; s < SCHEDULES_N; s++) {
        rows[s] = row(sim_names[s], sim_rules[s], PLANNER_ALL);
        if (ledger->jobs_n[s] > 0)
            rows[s].last_tick_at = ledger->jobs[s][ledger->jobs_n[s] - 1];
    }
    ck_assert_int_eq(planner_snapshot(into, rows, SCHEDULES_N, now_ms), ERR_OK);
}

START_TEST(test_several_planners_make_exactly_one_job_a_tick)
{
    static ledger_t ledger;
    const char *given = getenv("STINT_SEED");
    ledger.seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("seed %u (STINT_SEED)\n", ledger.seed);
    planner_t *planners[PLANNERS_N];
    for (int i = 0; i < PLANNERS_N; i++) {
        planners[i] = planner_new(zones);
        fetch(&ledger, planners[i], start);
    }
    int64_t end = start + 2 * day;
    for (int64_t now = start; now <= end + 2 * minute; now += 500) {
        for (int i = 0; i < PLANNERS_N; i++) {
            if (rand_r(&ledger.seed) % 5000 == 0) { /* killed and started again */
                planner_destroy(&planners[i]);
                planners[i] = planner_new(zones);
                fetch(&ledger, planners[i], now);
            }
            /* Nobody is reached for ten minutes of every four hours; each estimates the time a
             * little differently. */
            ledger.cut_off = (now - start) % (4 * hour) < 10 * minute && now < end - hour;
            ledger.from = planners[i];
            int64_t believed = now + (int64_t)(rand_r(&ledger.seed) % 400) - 200;
            planner_due(planners[i], believed, store_tick, &ledger);
        }
    }
    size_t jobs = 0;
    for (size_t s = 0; s < SCHEDULES_N; s++) {
        cron_t cron;
        const zone_t *utc = NULL;
        ck_assert_int_eq(cron_parse(&cron, sim_rules[s]), ERR_OK);
        ck_assert_int_eq(zones_find(zones, "UTC", &utc), ERR_OK);
        int64_t nominal = start;
        size_t n = 0;
        while ((nominal = schedule_next(&cron, utc, nominal)) <= end) {
            ck_assert_msg(n < ledger.jobs_n[s] && ledger.jobs[s][n] == nominal,
                          "%s: job %zu is not that of %lld", sim_rules[s], n, (long long)nominal);
            n++;
        }
        jobs += n;
    }
    printf("%zu ticks, each one job; %zu duplicates refused by the ledger\n", jobs,
           ledger.duplicates);
    ck_assert_uint_gt(jobs, 5000);
    ck_assert_uint_gt(ledger.duplicates, 1000);
    for (int i = 0; i < PLANNERS_N; i++)
        planner_destroy(&planners[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("planner");
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    tcase_add_checked_fixture(rules, setup, teardown);
    tcase_add_test(rules, test_each_nominal_time_is_emitted_once_when_answered);
    tcase_add_test(rules, test_an_unanswered_tick_is_repeated_with_growing_pauses);
    tcase_add_test(rules, test_a_refused_tick_is_offered_again_later);
    tcase_add_test(rules, test_policy_none_skips_what_is_over_a_minute_old);
    tcase_add_test(rules, test_a_tick_exactly_a_minute_old_is_not_missed);
    tcase_add_test(rules, test_policy_last_fires_the_newest_missed_one_only);
    tcase_add_test(rules, test_policy_all_fires_what_was_missed_in_order);
    tcase_add_test(rules, test_policy_all_stays_within_a_day_and_a_hundred);
    tcase_add_test(rules,
                   test_what_the_policy_has_granted_is_not_taken_back_while_answers_are_slow);
    tcase_add_test(rules, test_a_new_schedule_has_missed_nothing);
    tcase_add_test(rules, test_a_snapshot_keeps_a_tick_in_the_air_unless_the_rule_changed);
    tcase_add_test(rules, test_a_broken_schedule_does_not_stop_the_others);
    tcase_add_test(rules, test_a_clock_set_back_repeats_no_tick_and_delays_no_retry);
    tcase_add_test(rules, test_a_turn_is_bounded_and_goes_on);
    tcase_add_test(rules, test_several_planners_make_exactly_one_job_a_tick);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The grammar of expressions, and schedule_next against a brute-force walk over libc's own idea of
 * local time. */
#include "scheduler/cron.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static cron_t parsed(const char *text)
{
    cron_t cron;
    err_t err = cron_parse(&cron, text);
    ck_assert_msg(err == ERR_OK, "%s: %s", text, err_text());
    return cron;
}

static int64_t at(int64_t year, int month, int day, int hour, int minute)
{
    civil_t civil = {.year = year, .month = month, .day = day, .hour = hour, .minute = minute};
    return civil_to_ms(&civil);
}

static zone_t *zone_of(const char *name)
{
    zone_t *zone = NULL;
    err_t err = zone_open(&zone, ZONE_DIRECTORY, name);
    ck_assert_msg(err == ERR_OK, "%s", err_text());
    return zone;
}

static void check_next(const char *text, int64_t after, int64_t expected)
{
    cron_t cron = parsed(text);
    int64_t next = -1;
    ck_assert(cron_next_local(&cron, after, &next));
    ck_assert_msg(next == expected, "%s: %lld, expected %lld", text, (long long)next,
                  (long long)expected);
}

START_TEST(test_examples_of_the_man_page_fire_when_it_says)
{
    /* "run five minutes after midnight, every day" and the others of crontab(5). 2026-11-23 is a
     * Monday. */
    int64_t now = at(2026, 11, 23, 12, 0);
    check_next("5 0 * * *", now, at(2026, 11, 24, 0, 5));
    check_next("15 14 1 * *", now, at(2026, 12, 1, 14, 15));
    check_next("0 22 * * 1-5", now, at(2026, 11, 23, 22, 0));
    check_next("0 22 * * 1-5", at(2026, 11, 27, 22, 0), at(2026, 11, 30, 22, 0));
    check_next("23 0-23/2 * * *", now, at(2026, 11, 23, 12, 23));
    check_next("23 0-23/2 * * *", at(2026, 11, 23, 12, 23), at(2026, 11, 23, 14, 23));
    check_next("5 4 * * sun", now, at(2026, 11, 29, 4, 5));
    check_next("0 4 8-14 * *", now, at(2026, 12, 8, 4, 0));
    check_next("30 4 1,15 * 5", now, at(2026, 11, 27, 4, 30));
    check_next("30 4 1,15 * 5", at(2026, 11, 27, 4, 30), at(2026, 12, 1, 4, 30));
}
END_TEST

START_TEST(test_a_day_field_with_a_star_must_match_together_with_the_other)
{
    check_next("0 0 */2 * mon", at(2026, 11, 23, 12, 0), at(2026, 12, 7, 0, 0));
    check_next("0 0 13 * 5", at(2026, 11, 1, 0, 0), at(2026, 11, 6, 0, 0));
    check_next("0 0 29 2 */7", at(2026, 1, 1, 0, 0), at(2032, 2, 29, 0, 0));
    check_next("0 0 30 2 mon", at(2026, 1, 1, 0, 0), at(2026, 2, 2, 0, 0));
}
END_TEST

START_TEST(test_leap_day_is_found_over_a_century_without_one)
{
    check_next("0 0 29 2 *", at(2096, 2, 29, 0, 0), at(2104, 2, 29, 0, 0));
    check_next("59 23 31 12 *", at(2026, 12, 31, 23, 59), at(2027, 12, 31, 23, 59));
}
END_TEST

START_TEST(test_names_and_nicknames_are_their_numbers)
{
    static const char *const pairs[][2] = {
        {"0 0 1 JAN,dec Mon-Fri", "0 0 1 1,12 1-5"},
        {"0 0 * * 7", "0 0 * * 0"},
        {"0 0 * * 5-7", "0 0 * * 0,5,6"},
        {"@hourly", "0 * * * *"},
        {"@daily", "0 0 * * *"},
        {"@midnight", "0 0 * * *"},
        {"@weekly", "0 0 * * 0"},
        {"@monthly", "0 0 1 * *"},
        {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 1 *"},
        {" \t0 0\t* * 0 ", "0 0 * * sun"},
        {"1-59/29 * * * *", "1,30,59 * * * *"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        cron_t a = parsed(pairs[i][0]), b = parsed(pairs[i][1]);
        ck_assert_msg(a.minutes == b.minutes && a.hours == b.hours && a.days == b.days &&
                          a.months == b.months && a.weekdays == b.weekdays &&
                          a.either_day == b.either_day,
                      "%s", pairs[i][0]);
    }
}
END_TEST

START_TEST(test_refusals_name_field_value_and_what_was_expected)
{
    static const char *const cases[][2] = {
        {"60 * * * *", "minute: \"60\": expected 0 to 59"},
        {"* 24 * * *", "hour: \"24\": expected 0 to 23"},
        {"* * 0 * *", "day of month: \"0\": expected 1 to 31"},
        {"* * * 13 *", "month: \"13\": expected 1 to 12"},
        {"* * * * 8", "day of week: \"8\": expected 0 to 7"},
        {"* * * foo *", "month: \"foo\""},
        {"0,,1 * * * *", "not nothing"},
        {"*/0 * * * *", "step \"0\""},
        {"*/61 * * * *", "expected 1 to 60"},
        {"5/10 * * * *", "a step needs a range; expected 5-59/10"},
        {"0 22-2 * * *", "runs backwards"},
        {"0 0 * * fri-mon", "day of week: \"fri-mon\" runs backwards"},
        {"0 0 30 2 *", "never fires: day of month 30"},
        {"0 0 31 4,6 *", "at most 30 days"},
        {"0 0 31 2 */2", "never fires"},
        {"* * * *", "has 4 fields; expected 5"},
        {"* * * * * *", "has 6 fields"},
        {"", "has 0 fields"},
        {"@reboot", "@reboot"},
        {"@noon", "\"@noon\""},
        {"every", "every: \"\""},
        {"every 0m", "every: \"0m\""},
        {"every 5", "every: \"5\""},
        {"every 367d", "from 1s to 366d"},
        {"every 5m at 3", "every: \"at\""},
        {"every 5m from 24:00", "from: \"24:00\""},
        {"every 5m from 7:5", "from: \"7:5\""},
        {"-1 * * * *", "minute"},
        {"* * * * 1-", "day of week"},
        {"*5 * * * *", "minute: \"*5\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cron_t untouched = {.from_ms = 42};
        ck_assert_msg(cron_parse(&untouched, cases[i][0]) == ERR_INVALID, "%s", cases[i][0]);
        ck_assert_msg(strstr(err_text(), cases[i][1]) != NULL, "%s: %s", cases[i][0], err_text());
        ck_assert_int_eq(untouched.from_ms, 42);
    }
    char longer[CRON_TEXT_N + 2];
    memset(longer, '*', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cron_t cron;
    ck_assert_int_eq(cron_parse(&cron, longer), ERR_INVALID);
}
END_TEST

START_TEST(test_intervals_are_aligned_and_do_not_drift)
{
    zone_t *berlin = zone_of("Europe/Berlin");
    cron_t five = parsed("every 5m"), ninety = parsed("every 90s"),
           daily = parsed("every 24h from 02:00");
    ck_assert_int_eq(schedule_next(&five, berlin, 0), 300000);
    ck_assert_int_eq(schedule_next(&five, berlin, 299999), 300000);
    ck_assert_int_eq(schedule_next(&five, berlin, -1), 0);
    ck_assert_int_eq(schedule_next(&ninety, berlin, 1700000000123) % 90000, 0);
    /* 02:00 of Berlin's winter is 01:00 UTC, in summer too. */
    ck_assert_int_eq(schedule_next(&daily, berlin, at(2026, 1, 5, 3, 0)), at(2026, 1, 6, 1, 0));
    ck_assert_int_eq(schedule_next(&daily, berlin, at(2026, 7, 5, 3, 0)), at(2026, 7, 6, 1, 0));
    int64_t unused;
    ck_assert(!cron_next_local(&five, 0, &unused));
    zone_destroy(&berlin);
}
END_TEST

START_TEST(test_a_skipped_time_fires_once_and_a_repeated_one_once)
{
    zone_t *berlin = zone_of("Europe/Berlin");
    cron_t skipped = parsed("30 2 * * *"), often = parsed("*/10 2-3 * * *");
    /* 2026-03-29 02:00 becomes 03:00 at 01:00 UTC; 2026-10-25 03:00 becomes 02:00 at 01:00 UTC. */
    int64_t spring = at(2026, 3, 29, 1, 0), autumn = at(2026, 10, 25, 0, 30);
    ck_assert_int_eq(schedule_next(&skipped, berlin, spring - 3600000), spring);
    ck_assert_int_eq(schedule_next(&skipped, berlin, spring), at(2026, 3, 30, 0, 30));
    ck_assert_int_eq(schedule_next(&often, berlin, spring - 1), spring);
    ck_assert_int_eq(schedule_next(&often, berlin, spring), spring + 600000);
    ck_assert_int_eq(schedule_next(&skipped, berlin, autumn - 1), autumn);
    ck_assert_int_eq(schedule_next(&skipped, berlin, autumn), at(2026, 10, 26, 1, 30));
    zone_destroy(&berlin);
}
END_TEST

START_TEST(test_extreme_instants_are_answered)
{
    static const int64_t instants[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1, INT64_MAX};
    zone_t *berlin = zone_of("Europe/Berlin");
    cron_t yearly = parsed("@yearly"), every = parsed("every 366d from 23:59");
    for (size_t i = 0; i < sizeof instants / sizeof instants[0]; i++) {
        ck_assert(schedule_next(&yearly, berlin, instants[i]) >= instants[i]);
        ck_assert(schedule_next(&every, berlin, instants[i]) >= instants[i]);
    }
    ck_assert_int_eq(schedule_next(&yearly, berlin, INT64_MAX), SCHEDULE_NEVER);
    zone_destroy(&berlin);
}
END_TEST

START_TEST(test_newest_is_the_last_one_of_a_walk)
{
    zone_t *berlin = zone_of("Europe/Berlin");
    static const char *const texts[] = {"*/7 * * * *", "30 2 * * *", "every 90s", "0 0 1 1 *"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cron_t cron = parsed(texts[i]);
        int64_t from = at(2026, 10, 24, 0, 0), last = SCHEDULE_NEVER, next = from;
        for (int64_t until = from; until < from + 3 * INT64_C(86400000); until += 777777) {
            while ((next = schedule_next(&cron, berlin, last == SCHEDULE_NEVER ? from : last)) <=
                   until)
                last = next;
            ck_assert_int_eq(schedule_newest(&cron, berlin, from, until), last);
        }
    }
    zone_destroy(&berlin);
}
END_TEST

/* ---- brute force: libc tells the local time of every minute, each local minute is matched by
 * itself ---- */

typedef struct {
    const char *zone;
    int from_year, to_year;
} span_t;
static const span_t spans[] = {
    {"Europe/Berlin", 2024, 2026},       {"America/New_York", 2024, 2026},
    {"Australia/Lord_Howe", 2024, 2026}, {"America/Sao_Paulo", 2016, 2019},
    {"Asia/Kolkata", 2024, 2025},        {"Africa/Casablanca", 2024, 2026},
    {"Pacific/Apia", 2011, 2012},        {"Africa/Cairo", 2010, 2011},
    {"America/New_York", 2060, 2061},
};

/* What libc's calendar says of a minute, asked once for all expressions. */
typedef struct {
    uint8_t minute, hour, day, month, weekday;
} date_t;

static date_t date_of(int64_t minute)
{
    time_t seconds = (time_t)(minute * 60);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    return (date_t){(uint8_t)tm.tm_min, (uint8_t)tm.tm_hour, (uint8_t)tm.tm_mday,
                    (uint8_t)(tm.tm_mon + 1), (uint8_t)tm.tm_wday};
}

static bool matches(const cron_t *cron, date_t date)
{
    bool day = (cron->days >> date.day & 1) != 0;
    bool weekday = (cron->weekdays >> date.weekday & 1) != 0;
    return (cron->minutes >> date.minute & 1) != 0 && (cron->hours >> date.hour & 1) != 0 &&
           (cron->months >> date.month & 1) != 0 &&
           (cron->either_day ? day || weekday : day && weekday);
}

enum { MARGIN = 2000 }; /* minutes: more than any offset */

typedef struct {
    int64_t first;     /* UTC minute 0 of the walk */
    size_t n;          /* UTC minutes */
    int32_t *shown_at; /* of local minute i - MARGIN: the first UTC minute that shows it, or -1 */
    date_t *dates;     /* of the same local minutes */
    uint8_t *fires;    /* of the UTC minutes */
} walk_t;

static walk_t walk_new(const span_t *span)
{
    walk_t walk = {.first = at(span->from_year, 1, 1, 0, 0) / 60000};
    walk.n = (size_t)(at(span->to_year, 1, 1, 0, 0) / 60000 - walk.first);
    size_t local_n = walk.n + 2 * MARGIN;
    walk.shown_at = malloc(local_n * sizeof *walk.shown_at);
    walk.dates = malloc(local_n * sizeof *walk.dates);
    walk.fires = malloc(walk.n);
    for (size_t i = 0; i < local_n; i++) {
        walk.shown_at[i] = -1;
        walk.dates[i] = date_of(walk.first + (int64_t)i - MARGIN);
    }
    for (size_t u = 0; u < walk.n; u++) {
        time_t seconds = (time_t)((walk.first + (int64_t)u) * 60);
        struct tm tm;
        localtime_r(&seconds, &tm);
        size_t i = (size_t)((int64_t)u + tm.tm_gmtoff / 60 + MARGIN);
        if (walk.shown_at[i] < 0)
            walk.shown_at[i] = (int32_t)u;
    }
    return walk;
}

/* Each local minute fires at the first UTC minute that shows it or, when skipped, at the first that
 * shows a later one. */
static void walk_mark(walk_t *walk, const cron_t *cron)
{
    int32_t after = -1;
    memset(walk->fires, 0, walk->n);
    for (size_t i = walk->n + 2 * MARGIN; i-- > 0;) {
        if (walk->shown_at[i] >= 0)
            after = walk->shown_at[i];
        if (after >= 0 && matches(cron, walk->dates[i]))
            walk->fires[after] = 1;
    }
}

START_TEST(test_next_agrees_with_a_minute_by_minute_walk)
{
    static const char *const texts[] = {
        "* * * * *",   "*/5 * * * *",    "0 * * * *",   "30 2 * * *",
        "0 0 * * *",   "15 1,2,3 * * *", "0 3 * * sun", "*/17 0-3 * 3,10,11 *",
        "0 12 13 * 5", "59 23 31 * *",   "0 0 29 2 *",  "45 1 */2 * 0,6",
    };
    span_t span = spans[_i];
    setenv("TZ", span.zone, 1);
    tzset();
    walk_t walk = walk_new(&span);
    zone_t *zone = zone_of(span.zone);
    size_t compared = 0;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        cron_t cron = parsed(texts[t]);
        walk_mark(&walk, &cron);
        /* Both ends of the walk lack their neighbours. */
        int64_t next = schedule_next(&cron, zone, (walk.first + 3000) * 60000);
        for (size_t u = 3001; u < walk.n - 3000; u++) {
            int64_t now = (walk.first + (int64_t)u) * 60000;
            if ((walk.fires[u] != 0) != (next == now))
                ck_abort_msg("%s %s: walk %s at %lld, next %lld", span.zone, texts[t],
                             walk.fires[u] ? "fires" : "silent", (long long)now, (long long)next);
            if (walk.fires[u] != 0) {
                next = schedule_next(&cron, zone, now);
                compared++;
            }
        }
    }
    printf("%s %d-%d: %zu fires equal\n", span.zone, span.from_year, span.to_year, compared);
    ck_assert_uint_gt(compared, 100000);
    zone_destroy(&zone);
    free(walk.shown_at);
    free(walk.dates);
    free(walk.fires);
}
END_TEST

START_TEST(test_garbage_is_refused_or_makes_sense)
{
    static const char alphabet[] = "0123456789*/-,@ \tevrymonjasu:\x01\xff";
    static const char *const good[] = {"1-59/2 */2 3,5 jan-mar mon", "0 0 29 2 *", "@monthly",
                                       "every 90s from 07:30"};
    const char *given = getenv("STINT_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("seed %u (STINT_SEED)\n", seed);
    zone_t *utc = zone_of("UTC");
    int accepted = 0;
    for (int round = 0; round < 200000; round++) {
        /* A good expression with a few bytes changed meets more of the parser than noise does. */
        char text[32];
        snprintf(text, sizeof text, "%s", good[round % (int)(sizeof good / sizeof good[0])]);
        for (int i = 0; i < 1 + round % 5; i++)
            text[(size_t)rand_r(&seed) % strlen(text)] =
                alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        cron_t cron;
        if (cron_parse(&cron, text) != ERR_OK) {
            for (const char *c = err_text(); *c != '\0'; c++)
                if (*c < ' ' || *c > '~')
                    ck_abort_msg("unprintable byte in a message");
            continue;
        }
        accepted++;
        int64_t next = schedule_next(&cron, utc, 1700000000000);
        if (next <= 1700000000000 || next == SCHEDULE_NEVER)
            ck_abort_msg("\"%s\" never fires", text);
    }
    printf("%d of 200000 accepted\n", accepted);
    ck_assert_int_gt(accepted, 1000);
    zone_destroy(&utc);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cron");
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    tcase_add_test(rules, test_examples_of_the_man_page_fire_when_it_says);
    tcase_add_test(rules, test_a_day_field_with_a_star_must_match_together_with_the_other);
    tcase_add_test(rules, test_leap_day_is_found_over_a_century_without_one);
    tcase_add_test(rules, test_names_and_nicknames_are_their_numbers);
    tcase_add_test(rules, test_refusals_name_field_value_and_what_was_expected);
    tcase_add_test(rules, test_intervals_are_aligned_and_do_not_drift);
    tcase_add_test(rules, test_a_skipped_time_fires_once_and_a_repeated_one_once);
    tcase_add_test(rules, test_extreme_instants_are_answered);
    tcase_add_test(rules, test_newest_is_the_last_one_of_a_walk);
    tcase_add_test(rules, test_garbage_is_refused_or_makes_sense);
    tcase_add_loop_test(rules, test_next_agrees_with_a_minute_by_minute_walk, 0,
                        (int)(sizeof spans / sizeof spans[0]));
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Zones against libc, and files that are cut, changed or not there. */
#include "scheduler/zone.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scheduler/zone_file.h"

static const char *const names[] = {
    "Europe/Berlin", "America/New_York",  "Australia/Lord_Howe", "America/Sao_Paulo",
    "Asia/Kolkata",  "Africa/Casablanca", "Europe/Dublin",       "Pacific/Apia",
    "Asia/Tehran",   "America/Santiago",  "Antarctica/Troll",    "Asia/Gaza",
    "America/Nuuk",  "Pacific/Chatham",   "Etc/GMT+5",           "Africa/Monrovia",
};

static size_t read_zone(const char *name, uint8_t *data, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", ZONE_DIRECTORY, name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s is needed", path);
    size_t got = fread(data, 1, n, file);
    fclose(file);
    return got;
}

START_TEST(test_offsets_agree_with_libc_from_1970_to_2400)
{
    zone_t *zone = NULL;
    ck_assert_msg(zone_open(&zone, ZONE_DIRECTORY, names[_i]) == ERR_OK, "%s", err_text());
    setenv("TZ", names[_i], 1);
    tzset();
    /* A step that is no divisor of a day meets every hour of it; around 20,000 instants a zone. */
    for (int64_t utc = 0; utc < INT64_C(13569465600); utc += 677777) {
        time_t seconds = (time_t)utc;
        struct tm tm;
        localtime_r(&seconds, &tm);
        if (zone_offset_ms(zone, utc * 1000) != tm.tm_gmtoff * 1000)
            ck_abort_msg("%s at %lld: %lld, libc %ld", names[_i], (long long)utc,
                         (long long)zone_offset_ms(zone, utc * 1000) / 1000, tm.tm_gmtoff);
    }
    zone_destroy(&zone);
}
END_TEST

START_TEST(test_the_calendar_cycle_carries_a_rule_on_for_ever)
{
    zone_t *zone = NULL;
    ck_assert_int_eq(zone_open(&zone, ZONE_DIRECTORY, "Europe/Berlin"), ERR_OK);
    civil_t summer = {.year = 9000, .month = 7, .day = 1},
            winter = {.year = 9000, .month = 1, .day = 9};
    ck_assert_int_eq(zone_offset_ms(zone, civil_to_ms(&summer)), 7200000);
    ck_assert_int_eq(zone_offset_ms(zone, civil_to_ms(&winter)), 3600000);
    zone_destroy(&zone);
}
END_TEST

START_TEST(test_local_time_goes_back_to_the_first_instant_that_showed_it)
{
    zone_t *zone = NULL;
    ck_assert_int_eq(zone_open(&zone, ZONE_DIRECTORY, names[_i]), ERR_OK);
    int64_t before = INT64_MIN;
    for (int64_t utc = INT64_C(1500000000000); utc < INT64_C(1700000000000); utc += 1799000) {
        int64_t local = zone_to_local(zone, utc), back = zone_from_local(zone, local);
        int64_t reached = zone_local_reached(zone, utc);
        if (back > utc || zone_to_local(zone, back) != local || reached < local || reached < before)
            ck_abort_msg("%s at %lld", names[_i], (long long)utc);
        before = reached;
    }
    zone_destroy(&zone);
}
END_TEST

START_TEST(test_a_gap_ends_where_the_clock_goes_on)
{
    zone_t *zone = NULL;
    ck_assert_int_eq(zone_open(&zone, ZONE_DIRECTORY, "Europe/Berlin"), ERR_OK);
    civil_t gap = {.year = 2026, .month = 3, .day = 29, .hour = 2, .minute = 30};
    civil_t change = {.year = 2026, .month = 3, .day = 29, .hour = 1};
    ck_assert_int_eq(zone_from_local(zone, civil_to_ms(&gap)), civil_to_ms(&change));
    civil_t twice = {.year = 2026, .month = 10, .day = 25, .hour = 2, .minute = 30};
    civil_t first = {.year = 2026, .month = 10, .day = 25, .hour = 0, .minute = 30};
    ck_assert_int_eq(zone_from_local(zone, civil_to_ms(&twice)), civil_to_ms(&first));
    zone_destroy(&zone);
}
END_TEST

START_TEST(test_utc_needs_no_tzdata)
{
    zones_t *zones = zones_new("/nonexistent");
    const zone_t *utc = NULL, *again = NULL, *berlin = NULL;
    ck_assert_int_eq(zones_find(zones, "UTC", &utc), ERR_OK);
    ck_assert_int_eq(zones_find(zones, "UTC", &again), ERR_OK);
    ck_assert_ptr_eq(utc, again);
    ck_assert_int_eq(zone_to_local(utc, 12345), 12345);
    ck_assert_int_eq(zone_from_local(utc, -12345), -12345);
    ck_assert_int_eq(zones_find(zones, "Europe/Berlin", &berlin), ERR_NOT_FOUND);
    ck_assert_ptr_null(berlin);
    zones_destroy(&zones);
    ck_assert_ptr_null(zones);
}
END_TEST

START_TEST(test_names_that_leave_the_folder_are_refused)
{
    static const char *const bad[] = {
        "",
        "/etc/passwd",
        "../zoneinfo/UTC",
        "Europe/../UTC",
        "a//b",
        "Europe/",
        "zone.tab",
        "Europe/Ber lin",
        "Z\xc3\xbcrich",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    zone_t *zone = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(zone_open(&zone, ZONE_DIRECTORY, bad[i]) == ERR_INVALID, "%s", bad[i]);
    ck_assert_int_eq(zone_open(&zone, ZONE_DIRECTORY, "Europe"), ERR_NOT_FOUND);
    ck_assert_int_eq(zone_open(&zone, ZONE_DIRECTORY, "Europe/Atlantis"), ERR_NOT_FOUND);
    ck_assert_ptr_null(zone);
}
END_TEST

START_TEST(test_a_file_cut_at_any_byte_is_an_error)
{
    static uint8_t data[1 << 16];
    size_t n = read_zone(names[_i], data, sizeof data);
    zone_t *zone = NULL;
    for (size_t cut = 0; cut < n; cut++) {
        /* A copy of its own, so that the sanitizer sees the end. */
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, data, cut);
        uint8_t *exact = realloc(copy, cut > 0 ? cut : 1);
        if (zone_parse(&zone, names[_i], exact, cut) != ERR_CORRUPT)
            ck_abort_msg("cut at %zu", cut);
        free(exact);
    }
    ck_assert_int_eq(zone_parse(&zone, names[_i], data, n), ERR_OK);
    zone_destroy(&zone);
}
END_TEST

START_TEST(test_changed_bytes_never_crash_or_hang)
{
    static uint8_t data[1 << 16];
    const char *given = getenv("STINT_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("seed %u (STINT_SEED)\n", seed);
    size_t n = read_zone("America/New_York", data, sizeof data);
    int refused = 0;
    for (int round = 0; round < 20000; round++) {
        uint8_t *copy = malloc(n);
        memcpy(copy, data, n);
        /* Half of the rounds aim at the headers and the footer, where a byte means most. */
        size_t from = round % 2 == 0 ? 0 : n - 40;
        for (int i = 0; i < 1 + round % 4; i++)
            copy[from + (size_t)rand_r(&seed) % (n - from)] = (uint8_t)rand_r(&seed);
        zone_t *zone = NULL;
        if (zone_parse(&zone, "America/New_York", copy, n) == ERR_OK) {
            for (int64_t t = -5000000000000; t < INT64_C(40000000000000); t += 1999999999999)
                if (zone_local_reached(zone, zone_from_local(zone, t)) < t)
                    ck_abort_msg("local %lld is never reached", (long long)t);
            zone_destroy(&zone);
        } else {
            refused++;
        }
        free(copy);
    }
    ck_assert_int_gt(refused, 100);
}
END_TEST

/* A file without changes of its own and with that footer. */
static size_t file_with_footer(uint8_t data[256], const char *footer)
{
    size_t n = 0;
    memset(data, 0, 256);
    for (int block = 0; block < 2; block++) {
        memcpy(data + n, "TZif2", 5);
        data[n + 39] = 1; /* one type */
        data[n + 43] = 1; /* one byte of names */
        n += 44 + 6 + 1;
    }
    data[n++] = '\n';
    memcpy(data + n, footer, strlen(footer));
    n += strlen(footer);
    data[n++] = '\n';
    return n;
}

static err_t parse_with_footer(zone_t **out, const char *footer)
{
    uint8_t data[256];
    return zone_parse(out, "Test/Footer", data, file_with_footer(data, footer));
}

START_TEST(test_footer_rules_agree_with_libc)
{
    static const char *const footers[] = {
        "EST5EDT,M3.2.0,M11.1.0",       "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1",
        "IST-1GMT0,M10.5.0,M3.5.0/1",   "AAA-3:30BBB,J60/0,J300/24",
        "AAA3BBB,59/1:30,300",          "<+0545>-5:45",
        "AEST-10AEDT,M10.1.0,M4.1.0/3",
    };
    for (size_t i = 0; i < sizeof footers / sizeof footers[0]; i++) {
        zone_t *zone = NULL;
        ck_assert_msg(parse_with_footer(&zone, footers[i]) == ERR_OK, "%s: %s", footers[i],
                      err_text());
        setenv("TZ", footers[i], 1);
        tzset();
        for (int64_t utc = i == 5 ? 0 : 50000000; i != 5 && utc < INT64_C(4102444800);
             utc += 27777) {
            time_t seconds = (time_t)utc;
            struct tm tm;
            localtime_r(&seconds, &tm);
            if (zone_offset_ms(zone, utc * 1000) != tm.tm_gmtoff * 1000)
                ck_abort_msg("%s at %lld", footers[i], (long long)utc);
        }
        if (i == 5)
            ck_assert_int_eq(zone_base_offset_ms(zone), (5 * 60 + 45) * 60000);
        zone_destroy(&zone);
    }
}
END_TEST

START_TEST(test_a_rule_whose_summers_overlap_still_gives_one_clock)
{
    static const char *const footers[] = {"AAA3BBB,J1/-167,J365/167", "AAA3BBB,J1/167,J3/-167",
                                          "XXX3EDT4,0/0,J365/23"};
    for (size_t i = 0; i < sizeof footers / sizeof footers[0]; i++) {
        uint8_t data[256];
        zone_table_t table;
        ck_assert_int_eq(zone_table_parse(&table, data, file_with_footer(data, footers[i])),
                         ERR_OK);
        for (size_t c = 1; c < table.changes_n; c++)
            ck_assert_int_lt(table.changes[c - 1].at, table.changes[c].at);
        free(table.changes);
        zone_t *zone = NULL;
        ck_assert_msg(parse_with_footer(&zone, footers[i]) == ERR_OK, "%s", err_text());
        int64_t before = INT64_MIN;
        for (int64_t local = -3000000000000; local < INT64_C(20000000000000); local += 86399000) {
            int64_t utc = zone_from_local(zone, local);
            if (utc < before || zone_to_local(zone, utc) < local ||
                zone_local_reached(zone, utc - 1) >= local)
                ck_abort_msg("%s at local %lld", footers[i], (long long)local);
            before = utc;
        }
        zone_destroy(&zone);
    }
}
END_TEST

START_TEST(test_footers_that_are_no_rule_are_refused)
{
    static const char *const bad[] = {"E5",
                                      "EST",
                                      "EST5EDT",
                                      "EST5EDT,M3.2.0",
                                      "EST5EDT,M13.1.0,M11.1.0",
                                      "EST5EDT,M3.2.0,M11.1.0x",
                                      "EST25",
                                      "<EST5",
                                      "EST5EDT,J0,J1",
                                      "EST5EDT,M3.2.0/168,M11.1.0"};
    zone_t *zone = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(parse_with_footer(&zone, bad[i]) == ERR_CORRUPT, "%s", bad[i]);
}
END_TEST

START_TEST(test_calendar_is_its_own_inverse_and_agrees_with_libc)
{
    for (int64_t day = -800000; day < 3000000; day += 61) {
        civil_t civil = civil_from_ms(day * 86400000 + 12345678);
        time_t seconds = (time_t)(day * 86400 + 12345);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        if (civil_to_ms(&civil) != day * 86400000 + 12345678)
            ck_abort_msg("day %lld does not come back", (long long)day);
        ck_assert(civil.year == tm.tm_year + 1900 && civil.month == tm.tm_mon + 1 &&
                  civil.day == tm.tm_mday && civil.weekday == tm.tm_wday &&
                  civil.hour == tm.tm_hour && civil.minute == tm.tm_min);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("zone");
    TCase *rules = tcase_create("rules");
    int names_n = (int)(sizeof names / sizeof names[0]);
    tcase_set_timeout(rules, 60);
    tcase_add_loop_test(rules, test_offsets_agree_with_libc_from_1970_to_2400, 0, names_n);
    tcase_add_loop_test(rules, test_local_time_goes_back_to_the_first_instant_that_showed_it, 0,
                        names_n);
    tcase_add_loop_test(rules, test_a_file_cut_at_any_byte_is_an_error, 0, names_n);
    tcase_add_test(rules, test_the_calendar_cycle_carries_a_rule_on_for_ever);
    tcase_add_test(rules, test_a_gap_ends_where_the_clock_goes_on);
    tcase_add_test(rules, test_utc_needs_no_tzdata);
    tcase_add_test(rules, test_names_that_leave_the_folder_are_refused);
    tcase_add_test(rules, test_changed_bytes_never_crash_or_hang);
    tcase_add_test(rules, test_footer_rules_agree_with_libc);
    tcase_add_test(rules, test_a_rule_whose_summers_overlap_still_gives_one_clock);
    tcase_add_test(rules, test_footers_that_are_no_rule_are_refused);
    tcase_add_test(rules, test_calendar_is_its_own_inverse_and_agrees_with_libc);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

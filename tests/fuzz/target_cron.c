/* Expressions. First byte: the zone; four bytes: the time; the rest is the expression. What was
 * found is judged by the fields as they are written, minute by minute. */
#include "scheduler/cron.h"
#include "tests/fuzz/fuzz.h"

static const char *const names[] = {"UTC", "Europe/Berlin", "America/New_York",
                                    "Australia/Lord_Howe", "Africa/Casablanca"};

static bool matches(const cron_t *cron, int64_t local_ms)
{
    civil_t t = civil_from_ms(local_ms);
    bool day = cron->days >> t.day & 1, weekday = cron->weekdays >> t.weekday & 1;
    return t.second == 0 && t.ms == 0 && (cron->minutes >> t.minute & 1) &&
           (cron->hours >> t.hour & 1) && (cron->months >> t.month & 1) &&
           (cron->either_day ? day || weekday : day && weekday);
}

/* No match lies between: looked for minute by minute for at most two days. */
static void check_local(const cron_t *cron, int64_t after_ms)
{
    int64_t found = INT64_MAX;
    bool any = cron_next_local(cron, after_ms, &found);
    FUZZ_CHECK(!any || (found > after_ms && matches(cron, found)), "%lld is no match",
               (long long)found);
    for (int64_t at = (floor_div(after_ms, 60000) + 1) * 60000, i = 0; i < 2 * 1440;
         i++, at += 60000) {
        if (matches(cron, at)) {
            FUZZ_CHECK(any && found == at, "%lld was passed over", (long long)at);
            break;
        }
    }
}

static void check_zoned(const cron_t *cron, const zone_t *zone, int64_t after)
{
    int64_t at = after, newest = SCHEDULE_NEVER, third = after;
    for (int i = 0; i < 3; i++) {
        int64_t next = schedule_next(cron, zone, at);
        if (next == SCHEDULE_NEVER) {
            break;
        }
        FUZZ_CHECK(next > at && next % 1000 == 0, "%lld is not after %lld", (long long)next,
                   (long long)at);
        if (!cron->interval_ms) {
            /* What the clock skips fires at the end of the gap: then the local time is past it. */
            int64_t local = zone_to_local(zone, next), before = zone_to_local(zone, next - 1);
            FUZZ_CHECK(matches(cron, local) || local - before != 1, "%lld does not match",
                       (long long)next);
        }
        third = newest = at = next;
    }
    FUZZ_CHECK(schedule_newest(cron, zone, after, third) == newest,
               "the newest of three is another");
}

void fuzz_cron(const uint8_t *data, size_t n)
{
    static zones_t *zones; /* read once: the only thing that stays */
    zones = zones ? zones : zones_new(NULL);
    feed_t feed = feed_of(data, n);
    const char *name = names[feed_byte(&feed) % (sizeof names / sizeof *names)];
    int64_t after = 0;
    for (int i = 0; i < 4; i++) {
        after = after << 8 | feed_byte(&feed);
    }
    after = after * 1000 + 500;
    char *text = strndup(feed_left(&feed) ? (const char *)feed.at : "", feed_left(&feed));
    cron_t cron;
    err_t err = cron_parse(&cron, text);
    if (err) {
        FUZZ_CHECK(err == ERR_INVALID && err_text()[0], "error %s", err_code(err));
    } else {
        const zone_t *zone = NULL;
        FUZZ_CHECK(zones_find(zones, name, &zone) == ERR_OK, "%s (package tzdata)", err_text());
        FUZZ_CHECK(cron.interval_ms > 0 || (cron.minutes && cron.hours && cron.months),
                   "a set is empty");
        if (!cron.interval_ms) {
            check_local(&cron, after);
        }
        check_zoned(&cron, zone, after);
        check_zoned(&cron, zone, INT64_MAX);
        check_zoned(&cron, zone, INT64_MIN);
    }
    free(text);
}

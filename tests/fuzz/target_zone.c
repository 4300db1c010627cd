/* The bytes of a TZif file: refused, or a zone whose two directions agree. */
#include "scheduler/zone.h"
#include "scheduler/zone_file.h"
#include "tests/fuzz/fuzz.h"

static void check_instant(const zone_t *zone, int64_t utc)
{
    int64_t local = zone_to_local(zone, utc), reached = zone_local_reached(zone, utc);
    FUZZ_CHECK(local - utc == zone_offset_ms(zone, utc), "two offsets");
    FUZZ_CHECK(reached >= local, "the clock has not reached what it shows");
    int64_t first = zone_from_local(zone, local);
    FUZZ_CHECK(first <= utc && zone_to_local(zone, first) >= local, "%lld shows %lld first at %lld",
               (long long)utc, (long long)local, (long long)first);
    FUZZ_CHECK(zone_from_local(zone, local + 1) >= first, "time goes back");
}

void fuzz_zone(const uint8_t *data, size_t n)
{
    uint8_t *exact = fuzz_exact(data, n);
    zone_table_t table = {0};
    err_t err = zone_table_parse(&table, exact, n);
    FUZZ_CHECK(!err || (err == ERR_CORRUPT && !table.changes), "error %s", err_code(err));
    zone_t *zone = NULL;
    err_t opened = zone_parse(&zone, "Fuzz", exact, n);
    FUZZ_CHECK(err == opened, "the table is %s, the zone %s", err_code(err), err_code(opened));
    if (!err) {
        for (size_t i = 1; i < table.changes_n; i++) {
            FUZZ_CHECK(table.changes[i].at > table.changes[i - 1].at, "changes are not in order");
        }
        static const int64_t instants[] = {0,
                                           -1,
                                           INT64_C(1700000000000),
                                           INT64_C(-99999999999999),
                                           INT64_C(253402300799000),
                                           INT64_C(4102444800000)};
        for (size_t i = 0; i < sizeof instants / sizeof *instants; i++) {
            check_instant(zone, instants[i]);
        }
        for (size_t i = 0; i < table.changes_n; i += 1 + table.changes_n / 40) {
            int64_t at = table.changes[i].at;
            if (at > INT64_C(-99999999999999999) && at < INT64_C(99999999999999999)) {
                check_instant(zone, at);
                check_instant(zone, at - 1);
                check_instant(zone, at + 1800000);
            }
        }
        (void)zone_base_offset_ms(zone);
        free(table.changes);
    }
    zone_destroy(&zone);
    free(exact);
}

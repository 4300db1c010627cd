#include "scheduler/zone_file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "scheduler/zone.h"

enum {
    HEADER_N = 44,
    FOOTER_N = 256,
    CHANGES_MAX = 20000,
    TYPES_MAX = 256,
    SETTLE_YEARS = 2, /* the first years after the file's own changes are not part of the cycle */
    RULE_YEARS = 400 + 4, /* the cycle, the years before it and one more on each side */
};
/* Any change outside of this is at the beginning or the end of time. 31,000 years keep sums in
 * range. */
static const int64_t seconds_limit = INT64_C(1000000000000);

/* Bytes left to read. Reading past the end gives zeros and sets `short_n`: checked once, after the
 * block. */
typedef struct {
    const uint8_t *at;
    size_t n;
    bool too_short;
} bytes_t;

typedef struct {
    uint32_t isut_n, isstd_n, leap_n, change_n, type_n, name_n;
    char version;
} header_t;

/* One of the two yearly changes of a POSIX TZ rule. */
typedef struct {
    enum { RULE_JULIAN, RULE_DAY, RULE_WEEKDAY } kind;
    int month, week, day; /* day: 1..365, 0..365 or the weekday 0..6 */
    int64_t seconds;      /* local time of day, may be negative or over 24 h */
} rule_t;

typedef struct {
    int64_t standard, summer; /* offsets in seconds */
    bool has_summer;
    rule_t start, end;
} footer_t;

/* ---- bytes ---- */

static const uint8_t *take(bytes_t *bytes, size_t n)
{
    static const uint8_t zeros[HEADER_N];
    if (n > bytes->n) {
        bytes->too_short = true;
        return zeros;
    }
    const uint8_t *at = bytes->at;
    bytes->at += n;
    bytes->n -= n;
    return at;
}

static uint32_t read_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t read_i64(const uint8_t *at)
{
    return (int64_t)((uint64_t)read_u32(at) << 32 | read_u32(at + 4));
}

static err_t read_header(bytes_t *bytes, header_t *out)
{
    const uint8_t *at = take(bytes, HEADER_N);
    if (bytes->too_short || memcmp(at, "TZif", 4) != 0)
        return err_set(ERR_CORRUPT, "not a TZif file");
    *out = (header_t){
        .version = (char)at[4],
        .isut_n = read_u32(at + 20),
        .isstd_n = read_u32(at + 24),
        .leap_n = read_u32(at + 28),
        .change_n = read_u32(at + 32),
        .type_n = read_u32(at + 36),
        .name_n = read_u32(at + 40),
    };
    if (out->version < '2')
        return err_set(ERR_CORRUPT, "a TZif file of version 1; expected version 2 or later");
    return ERR_OK;
}

/* ---- the footer: a POSIX TZ string, parsed by hand because the text is not terminated ---- */

static bool eat(bytes_t *text, char c)
{
    if (text->n == 0 || *text->at != (uint8_t)c)
        return false;
    take(text, 1);
    return true;
}

static bool eat_name(bytes_t *text)
{
    bool quoted = eat(text, '<');
    size_t n = 0;
    while (n < text->n) {
        char c = (char)text->at[n];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = (c >= '0' && c <= '9') || c == '+' || c == '-';
        if (!letter && !(quoted && digit))
            break;
        n++;
    }
    take(text, n);
    return n >= 3 && (!quoted || eat(text, '>'));
}

static bool eat_number(bytes_t *text, int low, int high, int *out)
{
    int value = 0, digits = 0;
    while (text->n > 0 && *text->at >= '0' && *text->at <= '9' && digits < 4) {
        value = value * 10 + (*take(text, 1) - '0');
        digits++;
    }
    *out = value;
    return digits > 0 && value >= low && value <= high;
}

/* [+-]hh[:mm[:ss]] */
static bool eat_time(bytes_t *text, int hours_max, int64_t *out)
{
    int hours = 0, minutes = 0, seconds = 0;
    bool negative = eat(text, '-');
    if (!negative)
        eat(text, '+');
    if (!eat_number(text, 0, hours_max, &hours))
        return false;
    if (eat(text, ':')) {
        if (!eat_number(text, 0, 59, &minutes))
            return false;
        if (eat(text, ':') && !eat_number(text, 0, 59, &seconds))
            return false;
    }
    int64_t total = INT64_C(3600) * hours + 60 * minutes + seconds;
    *out = negative ? -total : total;
    return true;
}

static bool eat_rule(bytes_t *text, rule_t *out)
{
    rule_t rule = {.kind = RULE_DAY, .seconds = 7200};
    bool good;
    if (!eat(text, ','))
        return false;
    if (eat(text, 'M')) {
        rule.kind = RULE_WEEKDAY;
        good = eat_number(text, 1, 12, &rule.month) && eat(text, '.') &&
               eat_number(text, 1, 5, &rule.week) && eat(text, '.') &&
               eat_number(text, 0, 6, &rule.day);
    } else if (eat(text, 'J')) {
        rule.kind = RULE_JULIAN;
        good = eat_number(text, 1, 365, &rule.day);
    } else {
        good = eat_number(text, 0, 365, &rule.day);
    }
    if (good && eat(text, '/'))
        good = eat_time(text, 167, &rule.seconds);
    *out = rule;
    return good;
}

/* A POSIX offset is what must be added to local time to get UTC: the other sign. */
static bool parse_footer(bytes_t text, footer_t *out)
{
    footer_t footer = {0};
    if (!eat_name(&text) || !eat_time(&text, 24, &footer.standard))
        return false;
    footer.standard = -footer.standard;
    footer.summer = footer.standard + 3600;
    if (text.n > 0) {
        footer.has_summer = true;
        if (!eat_name(&text))
            return false;
        if (text.n > 0 && *text.at != ',') {
            if (!eat_time(&text, 24, &footer.summer))
                return false;
            footer.summer = -footer.summer;
        }
        if (!eat_rule(&text, &footer.start) || !eat_rule(&text, &footer.end))
            return false;
    }
    *out = footer;
    return text.n == 0;
}

/* Local seconds since the epoch at which the rule strikes in that year. */
static int64_t rule_seconds(const rule_t *rule, int64_t year)
{
    int64_t day = civil_day(year, 1, 1) + rule->day;
    if (rule->kind == RULE_JULIAN) {
        /* The leap day is never counted: day 60 is always the 1st of March. */
        day -= rule->day < 60 || civil_month_days(year, 2) == 28 ? 1 : 0;
    } else if (rule->kind == RULE_WEEKDAY) {
        int64_t first = civil_day(year, rule->month, 1);
        int of_month = (rule->day - civil_weekday(first) + 7) % 7 + 7 * (rule->week - 1);
        if (of_month >= civil_month_days(year, rule->month))
            of_month -= 7; /* week 5 means the last one */
        day = first + of_month;
    }
    return day * 86400 + rule->seconds;
}

/* ---- the table ---- */

/* Changes that change nothing (a new abbreviation, say) are left out, but ends of a zero-length
 * stretch replace each other. */
static void table_add(zone_table_t *table, int64_t seconds, int64_t offset_seconds)
{
    int64_t at = seconds * 1000;
    /* A rule may say nonsense (a summer that ends after the next one begins): the order of the
     * table holds all the same. */
    if (table->changes_n > 0 && table->changes[table->changes_n - 1].at > at)
        return;
    if (table->changes_n > 0 && table->changes[table->changes_n - 1].at == at)
        table->changes_n--;
    int64_t before =
        table->changes_n > 0 ? table->changes[table->changes_n - 1].offset : table->first_offset;
    if (before != offset_seconds * 1000)
        table->changes[table->changes_n++] = (zone_change_t){at, offset_seconds * 1000};
}

/* Unroll the footer after the file's own last change (seconds). */
static void table_add_rule(zone_table_t *table, const footer_t *footer, int64_t last)
{
    civil_t date = civil_from_ms(last * 1000);
    int64_t first_year = date.year < 1900 ? 1900 : date.year;
    table->changes =
        mem_grow(table->changes, (table->changes_n + 2 * RULE_YEARS) * sizeof *table->changes);
    for (int64_t year = first_year; year < first_year + RULE_YEARS; year++) {
        int64_t start = rule_seconds(&footer->start, year) - footer->standard;
        int64_t end = rule_seconds(&footer->end, year) - footer->summer;
        bool north = start < end;
        /* At one and the same instant the end of a year's summer yields to the start of the next
         * one's. */
        if (north && start > last)
            table_add(table, start, footer->summer);
        if (end > last)
            table_add(table, end, footer->standard);
        if (!north && start > last)
            table_add(table, start, footer->summer);
    }
    table->repeats_from = civil_day(first_year + SETTLE_YEARS + 400, 1, 1) * 86400 * 1000;
}

static err_t read_types(bytes_t *bytes, const header_t *header, int64_t offsets[TYPES_MAX])
{
    for (uint32_t i = 0; i < header->type_n; i++) {
        const uint8_t *type = take(bytes, 6);
        uint32_t raw = read_u32(type);
        offsets[i] = (int32_t)raw;
        if (offsets[i] < -89999 || offsets[i] > 93599)
            return err_set(ERR_CORRUPT, "an offset of %lld s; expected less than a day",
                           (long long)offsets[i]);
        if (type[5] >= header->name_n)
            return err_set(ERR_CORRUPT, "an abbreviation outside of the file's list");
    }
    return ERR_OK;
}

/* `times` and `kinds` are the file's arrays, already known to be whole. */
static err_t table_fill(zone_table_t *table, const header_t *header, const uint8_t *times,
                        const uint8_t *kinds, const int64_t offsets[TYPES_MAX])
{
    int64_t before = INT64_MIN;
    for (uint32_t i = 0; i < header->change_n; i++) {
        int64_t at = read_i64(times + (size_t)8 * i);
        if (i > 0 && at <= before)
            return err_set(ERR_CORRUPT, "change %u is not after the one before", (unsigned)i);
        if (kinds[i] >= header->type_n)
            return err_set(ERR_CORRUPT, "change %u names a type that is not there", (unsigned)i);
        before = at;
        int64_t kept = at < -seconds_limit ? -seconds_limit : at;
        table_add(table, kept > seconds_limit ? seconds_limit : kept, offsets[kinds[i]]);
    }
    return ERR_OK;
}

/* "\n<TZ string>\n" at the end of the file. */
static err_t read_footer(bytes_t *bytes, footer_t *out, bool *out_empty)
{
    if (!eat(bytes, '\n'))
        return err_set(ERR_CORRUPT, "cut short before its footer");
    size_t limit = bytes->n < FOOTER_N ? bytes->n : FOOTER_N;
    const uint8_t *end = limit > 0 ? memchr(bytes->at, '\n', limit) : NULL;
    if (end == NULL)
        return err_set(ERR_CORRUPT, "cut short in its footer");
    bytes_t text = {bytes->at, (size_t)(end - bytes->at), false};
    *out_empty = text.n == 0;
    if (text.n > 0 && !parse_footer(text, out))
        return err_set(ERR_CORRUPT, "the footer is not a POSIX TZ rule");
    return ERR_OK;
}

/* The second block of the file, with 64-bit times, and the footer. */
static err_t read_block(bytes_t *bytes, const header_t *header, zone_table_t *table)
{
    int64_t offsets[TYPES_MAX];
    if (header->type_n < 1 || header->type_n > TYPES_MAX || header->change_n > CHANGES_MAX)
        return err_set(ERR_CORRUPT, "%u types and %u changes; expected 1 to %d and at most %d",
                       (unsigned)header->type_n, (unsigned)header->change_n, TYPES_MAX,
                       CHANGES_MAX);
    if (header->leap_n > 0)
        return err_set(ERR_CORRUPT, "it counts leap seconds; expected a file of POSIX time");
    const uint8_t *times = take(bytes, (size_t)8 * header->change_n);
    const uint8_t *kinds = take(bytes, header->change_n);
    err_t err = read_types(bytes, header, offsets);
    take(bytes, header->name_n);
    take(bytes, header->isstd_n);
    take(bytes, header->isut_n);
    if (bytes->too_short)
        return err_set(ERR_CORRUPT, "cut short");
    if (err != ERR_OK)
        return err;
    table->changes = mem_alloc((header->change_n + 1) * sizeof *table->changes);
    table->first_offset = offsets[0] * 1000;
    err = table_fill(table, header, times, kinds, offsets);
    if (err != ERR_OK)
        return err;

    footer_t footer;
    bool empty;
    err = read_footer(bytes, &footer, &empty);
    if (err != ERR_OK)
        return err;
    table->base_offset =
        table->changes_n > 0 ? table->changes[table->changes_n - 1].offset : table->first_offset;
    if (empty)
        return ERR_OK;
    bool summer_less = footer.has_summer && footer.summer < footer.standard;
    table->base_offset = 1000 * (summer_less ? footer.summer : footer.standard);
    int64_t last = header->change_n > 0 ? read_i64(times + (size_t)8 * (header->change_n - 1))
                                        : -seconds_limit;
    if (footer.has_summer && last < seconds_limit)
        table_add_rule(table, &footer, last < -seconds_limit ? -seconds_limit : last);
    return ERR_OK;
}

err_t zone_table_parse(zone_table_t *out, const uint8_t *data, size_t n)
{
    bytes_t bytes = {data, n, false};
    header_t first, second;
    err_t err = read_header(&bytes, &first);
    if (err != ERR_OK)
        return err;
    /* Version 2 repeats everything with 64-bit times: skip the block of 32-bit ones. Counts are
     * 32-bit, so the sum of these few products cannot overflow 64 bits. */
    uint64_t skip = UINT64_C(5) * first.change_n + UINT64_C(6) * first.type_n + first.name_n +
                    UINT64_C(8) * first.leap_n + first.isstd_n + first.isut_n;
    if (skip > bytes.n)
        return err_set(ERR_CORRUPT, "cut short");
    take(&bytes, (size_t)skip);
    err = read_header(&bytes, &second);
    if (err != ERR_OK)
        return err;
    zone_table_t table = {.repeats_from = INT64_MAX};
    err = read_block(&bytes, &second, &table);
    if (err != ERR_OK) {
        free(table.changes);
        return err;
    }
    *out = table;
    return ERR_OK;
}

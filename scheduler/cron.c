#include "scheduler/cron.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_N = 5, WORDS_N = 8, SHOWN_N = 48, YEAR_LAST = 9999 };
static const int64_t minute_ms = 60 * 1000, day_ms = 24 * 60 * 60 * 1000;
/* 0001-01-01 and 9999-12-31T23:59: outside of them dates mean nothing and sums could overflow. */
static const int64_t first_ms = -62135596800000, last_ms = 253402300740000;

typedef struct {
    const char *at;
    size_t n;
} word_t;

typedef struct {
    const char *name;
    int low, high;     /* what may be written */
    int star_high;     /* what `*` means: Sunday is not counted twice */
    const char *names; /* three letters each, or NULL */
} field_t;

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY };
static const field_t fields[FIELDS_N] = {
    [MINUTE] = {"minute", 0, 59, 59, NULL},
    [HOUR] = {"hour", 0, 23, 23, NULL},
    [DAY] = {"day of month", 1, 31, 31, NULL},
    [MONTH] = {"month", 1, 12, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    [WEEKDAY] = {"day of week", 0, 7, 6, "sunmontuewedthufrisat"},
};

/* Text from outside, cut and made printable for a message. */
typedef struct {
    char text[SHOWN_N + 4];
} shown_t;

static shown_t show(word_t word)
{
    shown_t shown;
    size_t n = word.n < SHOWN_N ? word.n : SHOWN_N;
    for (size_t i = 0; i < n; i++)
        shown.text[i] = isprint((unsigned char)word.at[i]) ? word.at[i] : '?';
    snprintf(shown.text + n, sizeof shown.text - n, "%s", n < word.n ? "..." : "");
    return shown;
}

static bool word_is(word_t word, const char *text)
{
    return word.n == strlen(text) && strncasecmp(word.at, text, word.n) == 0;
}

/* Split `word` at the first `mark`: what stands before it stays, what follows goes to *rest. */
static bool split(word_t *word, char mark, word_t *rest)
{
    const char *found = memchr(word->at, mark, word->n);
    if (found == NULL)
        return false;
    size_t before = (size_t)(found - word->at);
    *rest = (word_t){found + 1, word->n - before - 1};
    word->n = before;
    return true;
}

/* -1 unless the whole word is a decimal number of at most nine digits. */
static int64_t number(word_t word)
{
    int64_t value = 0;
    if (word.n == 0 || word.n > 9)
        return -1;
    for (size_t i = 0; i < word.n; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return -1;
        value = value * 10 + (word.at[i] - '0');
    }
    return value;
}

static err_t parse_value(const field_t *field, word_t word, int *out)
{
    int64_t value = number(word);
    if (field->names != NULL && word.n == 3) {
        for (int i = 0; field->names[3 * i] != '\0'; i++)
            if (strncasecmp(word.at, field->names + (size_t)(3 * i), 3) == 0)
                value = i + field->low;
    }
    if (value < field->low || value > field->high)
        return err_set(
            ERR_INVALID, "%s: \"%s\": expected %d to %d%s%.3s%s", field->name, show(word).text,
            field->low, field->high, field->names != NULL ? " or a name like " : "",
            field->names != NULL ? field->names : "", word.n == 0 ? ", not nothing" : "");
    *out = (int)value;
    return ERR_OK;
}

static err_t parse_range(const field_t *field, word_t range, int *low, int *high)
{
    const word_t whole = range;
    word_t upper;
    if (word_is(range, "*")) {
        *low = field->low;
        *high = field->star_high;
        return ERR_OK;
    }
    bool is_range = split(&range, '-', &upper);
    err_t err = parse_value(field, range, low);
    if (err != ERR_OK)
        return err;
    *high = *low;
    if (!is_range)
        return ERR_OK;
    err = parse_value(field, upper, high);
    if (err == ERR_OK && *low > *high)
        err = err_set(ERR_INVALID,
                      "%s: \"%s\" runs backwards; expected the smaller value first: write a range "
                      "that wraps around as two, like %d-%d,%d-%d",
                      field->name, show(whole).text, *low, field->high, field->low, *high);
    return err;
}

/* One element of a list: value, range or `*`, perhaps with a step. */
static err_t parse_item(const field_t *field, word_t item, uint64_t *bits)
{
    word_t range = item, step_word;
    int low = 0, high = 0, step = 1;
    bool has_step = split(&range, '/', &step_word);
    err_t err = parse_range(field, range, &low, &high);
    if (err != ERR_OK)
        return err;
    if (has_step) {
        int64_t value = number(step_word);
        int longest = field->star_high - field->low + 1;
        if (value < 1 || value > longest)
            return err_set(ERR_INVALID, "%s: step \"%s\" in \"%s\": expected 1 to %d", field->name,
                           show(step_word).text, show(item).text, longest);
        if (!word_is(range, "*") && memchr(range.at, '-', range.n) == NULL)
            return err_set(ERR_INVALID,
                           "%s: \"%s\": a step needs a range; expected %d-%d/%lld or */%lld",
                           field->name, show(item).text, low, field->star_high, (long long)value,
                           (long long)value);
        step = (int)value;
    }
    for (int value = low; value <= high; value += step)
        *bits |= UINT64_C(1) << value;
    return ERR_OK;
}

static err_t parse_field(const field_t *field, word_t word, uint64_t *out)
{
    uint64_t bits = 0;
    word_t rest = word;
    for (bool more = true; more;) {
        word_t item = rest;
        more = split(&item, ',', &rest);
        err_t err = parse_item(field, item, &bits);
        if (err != ERR_OK)
            return err;
    }
    *out = bits;
    return ERR_OK;
}

/* February counts 29 days: a leap year always comes. */
static err_t check_fires(const cron_t *cron)
{
    static const int longest[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int most = 0;
    for (int month = 1; month <= 12; month++)
        if ((cron->months >> month & 1) != 0 && longest[month] > most)
            most = longest[month];
    int first_day = __builtin_ctz(cron->days);
    if (!cron->either_day && first_day > most)
        return err_set(ERR_INVALID,
                       "never fires: day of month %d does not exist in the chosen month%s, which "
                       "ha%s at most %d days",
                       first_day, __builtin_popcount(cron->months) > 1 ? "s" : "",
                       __builtin_popcount(cron->months) > 1 ? "ve" : "s", most);
    return ERR_OK;
}

static err_t parse_calendar(cron_t *out, const word_t words[FIELDS_N])
{
    uint64_t bits[FIELDS_N];
    for (int i = 0; i < FIELDS_N; i++) {
        err_t err = parse_field(&fields[i], words[i], &bits[i]);
        if (err != ERR_OK)
            return err;
    }
    if ((bits[WEEKDAY] >> 7 & 1) != 0)
        bits[WEEKDAY] |= 1;
    cron_t cron = {
        .from_ms = -1,
        .minutes = bits[MINUTE],
        .hours = (uint32_t)bits[HOUR],
        .days = (uint32_t)bits[DAY],
        .months = (uint16_t)bits[MONTH],
        .weekdays = (uint8_t)(bits[WEEKDAY] & 0x7f),
        /* Vixie's rule looks at the first byte only: a field like star-slash-2 still counts as a
           star. */
        .either_day = words[DAY].at[0] != '*' && words[WEEKDAY].at[0] != '*',
    };
    err_t err = check_fires(&cron);
    if (err == ERR_OK)
        *out = cron;
    return err;
}

static err_t parse_from(word_t word, int64_t *out)
{
    word_t minutes = {word.at, 0}, hours = word;
    bool two = split(&hours, ':', &minutes);
    int64_t hour = number(hours), minute = number(minutes);
    if (!two || hours.n > 2 || minutes.n != 2 || hour < 0 || hour > 23 || minute < 0 || minute > 59)
        return err_set(ERR_INVALID, "from: \"%s\": expected a time of day like 00:00 or 14:30",
                       show(word).text);
    *out = (hour * 60 + minute) * minute_ms;
    return ERR_OK;
}

static err_t parse_every(cron_t *out, const word_t *words, int n)
{
    static const struct {
        char letter;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    cron_t cron = {.from_ms = -1};
    word_t length = n > 1 ? words[1] : (word_t){"", 0};
    word_t digits = {length.at, length.n > 0 ? length.n - 1 : 0};
    int64_t count = number(digits);
    for (size_t i = 0; count > 0 && i < sizeof units / sizeof units[0]; i++)
        if (length.at[length.n - 1] == units[i].letter)
            cron.interval_ms = count * units[i].ms;
    if (cron.interval_ms < 1000 || cron.interval_ms > 366 * day_ms)
        return err_set(ERR_INVALID,
                       "every: \"%s\": expected a whole number and s, m, h or d, like 90s, 5m or "
                       "2h, from 1s to 366d",
                       show(length).text);
    if (n > 2 && (n != 4 || !word_is(words[2], "from")))
        return err_set(ERR_INVALID, "every: \"%s\": expected nothing more or \"from HH:MM\"",
                       show(words[2]).text);
    err_t err = n == 4 ? parse_from(words[3], &cron.from_ms) : ERR_OK;
    if (err == ERR_OK)
        *out = cron;
    return err;
}

static err_t parse_nickname(cron_t *out, word_t word)
{
    static const struct {
        const char *name, *text;
    } nicknames[] = {
        {"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
        {"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 1 *"},
    };
    for (size_t i = 0; i < sizeof nicknames / sizeof nicknames[0]; i++)
        if (word_is(word, nicknames[i].name))
            return cron_parse(out, nicknames[i].text);
    if (word_is(word, "@reboot"))
        return err_set(ERR_INVALID, "@reboot is no time: a schedule belongs to the fleet, not to "
                                    "the start of one machine");
    return err_set(ERR_INVALID,
                   "\"%s\": expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly or "
                   "@annually",
                   show(word).text);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* How many words there are; only the first WORDS_N are kept. */
static int split_words(const char *text, word_t words[WORDS_N])
{
    int n = 0;
    for (;;) {
        while (is_blank(*text))
            text++;
        if (*text == '\0')
            return n;
        const char *start = text;
        while (*text != '\0' && !is_blank(*text))
            text++;
        if (n < WORDS_N)
            words[n] = (word_t){start, (size_t)(text - start)};
        n++;
    }
}

err_t cron_parse(cron_t *out, const char *text)
{
    word_t words[WORDS_N];
    if (strnlen(text, CRON_TEXT_N + 1) > CRON_TEXT_N)
        return err_set(ERR_INVALID, "expression: longer than %d bytes", CRON_TEXT_N);
    int n = split_words(text, words);
    if (n > 0 && word_is(words[0], "every"))
        return parse_every(out, words, n);
    if (n == 1 && words[0].at[0] == '@')
        return parse_nickname(out, words[0]);
    if (n == FIELDS_N)
        return parse_calendar(out, words);
    return err_set(ERR_INVALID,
                   "expression: \"%s\" has %d field%s; expected 5 (minute, hour, day of month, "
                   "month, day of week), one like @daily, or \"every 5m\"",
                   show((word_t){text, strlen(text)}).text, n, n == 1 ? "" : "s");
}

/* Bit d for each day of that month that fires. */
static uint64_t month_days(const cron_t *self, int64_t year, int month)
{
    /* The seven weekday bits turned so that bit 0 is the 1st's weekday, then repeated over five
     * weeks. */
    unsigned first = (unsigned)civil_weekday(civil_day(year, month, 1));
    uint64_t week = (uint64_t)self->weekdays << 7 | self->weekdays;
    week = week >> first & 0x7f;
    uint64_t weekdays = (week | week << 7 | week << 14 | week << 21 | week << 28) << 1;
    uint64_t days = self->either_day ? self->days | weekdays : self->days & weekdays;
    return days & ((UINT64_C(2) << civil_month_days(year, month)) - 2);
}

/* The first (hour, minute) of the day at or after `minute_of_day`, as minute of day; -1 if none is
 * left. */
static int day_next(const cron_t *self, int minute_of_day)
{
    int hour = minute_of_day / 60, minute = minute_of_day % 60;
    if ((self->hours >> hour & 1) != 0) {
        uint64_t minutes = self->minutes >> minute;
        if (minutes != 0)
            return minute_of_day + __builtin_ctzll(minutes);
    }
    uint64_t hours = (uint64_t)self->hours >> (hour + 1);
    if (hours == 0)
        return -1;
    return (hour + 1 + __builtin_ctzll(hours)) * 60 + __builtin_ctzll(self->minutes);
}

bool cron_next_local(const cron_t *self, int64_t after_local_ms, int64_t *out_local_ms)
{
    if (self->interval_ms > 0 || after_local_ms >= last_ms)
        return false;
    if (after_local_ms < first_ms)
        after_local_ms = first_ms;
    int64_t minutes = floor_div(after_local_ms, minute_ms) + 1;
    civil_t date = civil_from_ms(minutes * minute_ms);
    int month = date.month, day = date.day, of_day = date.hour * 60 + date.minute;
    int64_t year = date.year;
    while (year <= YEAR_LAST) {
        uint64_t days = (self->months >> month & 1) != 0 ? month_days(self, year, month) : 0;
        days = days >> day << day;
        while (days != 0) {
            int found = __builtin_ctzll(days);
            of_day = day_next(self, found == day ? of_day : 0);
            if (of_day >= 0) {
                *out_local_ms = civil_day(year, month, found) * day_ms + of_day * minute_ms;
                return true;
            }
            days &= days - 1;
        }
        unsigned later = self->months >> (month + 1);
        month = later != 0 ? month + 1 + __builtin_ctz(later) : __builtin_ctz(self->months);
        year += later != 0 ? 0 : 1;
        day = 1;
        of_day = 0;
    }
    return false;
}

int64_t schedule_next(const cron_t *cron, const zone_t *zone, int64_t after_wall_ms)
{
    if (after_wall_ms >= last_ms)
        return SCHEDULE_NEVER;
    if (after_wall_ms < first_ms)
        after_wall_ms = first_ms;
    if (cron->interval_ms > 0) {
        int64_t anchor = cron->from_ms < 0 ? 0 : cron->from_ms - zone_base_offset_ms(zone);
        return anchor +
               (floor_div(after_wall_ms - anchor, cron->interval_ms) + 1) * cron->interval_ms;
    }
    /* A local time L fires at zone_from_local(L), which is after `after` exactly when the local
     * clock had not reached L by then. So the next one is the first match beyond the latest time
     * the clock has shown, whatever it skipped or repeated. */
    int64_t local_ms;
    if (!cron_next_local(cron, zone_local_reached(zone, after_wall_ms), &local_ms))
        return SCHEDULE_NEVER;
    return zone_from_local(zone, local_ms);
}

int64_t schedule_newest(const cron_t *cron, const zone_t *zone, int64_t after_wall_ms,
                        int64_t until_wall_ms)
{
    int64_t found = schedule_next(cron, zone, after_wall_ms);
    if (found > until_wall_ms)
        return SCHEDULE_NEVER;
    /* Bisect on where to look from: a later start finds the same instant or a newer one, until it
     * finds none. */
    int64_t high = until_wall_ms;
    while (found < high) {
        int64_t middle = found + (high - found) / 2;
        int64_t next = schedule_next(cron, zone, middle);
        if (next <= until_wall_ms)
            found = next;
        else
            high = middle;
    }
    return found;
}

#include "worker/tasks/transaction_value.h"

#include <stdbool.h>
#include <string.h>

const char *row_code_name(row_code_t code)
{
    static const char *const names[ROW_CODES_N] = {
#define ROW_CODE(NAME, text) [ROW_##NAME] = text,
        ROW_CODES(ROW_CODE)
#undef ROW_CODE
    };
    return names[code];
}

static const struct {
    char code[4];
    int exponent;
} currencies[CURRENCIES_N] = {
    {"AUD", 2}, {"BHD", 3}, {"BRL", 2}, {"CAD", 2}, {"CHF", 2}, {"CLP", 0}, {"CNY", 2}, {"CZK", 2},
    {"DKK", 2}, {"EUR", 2}, {"GBP", 2}, {"HKD", 2}, {"HUF", 2}, {"INR", 2}, {"JPY", 0}, {"KRW", 0},
    {"KWD", 3}, {"MXN", 2}, {"NOK", 2}, {"NZD", 2}, {"PLN", 2}, {"SEK", 2}, {"SGD", 2}, {"TND", 3},
    {"TRY", 2}, {"UAH", 2}, {"USD", 2}, {"VND", 0}, {"ZAR", 2},
};

int currency_find(slice_t code)
{
    if (code.n != 3) {
        return -1;
    }
    for (int i = 0; i < CURRENCIES_N; i++) {
        if (memcmp(currencies[i].code, code.data, 3) == 0) {
            return i;
        }
    }
    return -1;
}

const char *currency_code(int currency)
{
    return currencies[currency].code;
}

int currency_exponent(int currency)
{
    return currencies[currency].exponent;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

row_code_t parse_amount(slice_t text, int exponent, int64_t *minor)
{
    const char *at = text.data, *end = at + text.n;
    bool negative = at < end && *at == '-';
    at += negative;
    const char *whole = at;
    while (at < end && is_digit(*at)) {
        at++;
    }
    size_t whole_n = (size_t)(at - whole), fraction_n = 0;
    const char *fraction = at;
    if (at < end && *at == '.') {
        fraction = ++at;
        while (at < end && is_digit(*at)) {
            at++;
        }
        fraction_n = (size_t)(at - fraction);
        if (fraction_n == 0) {
            return ROW_AMOUNT_FORMAT;
        }
    }
    if (at != end || whole_n == 0 || (*whole == '0' && whole_n > 1)) {
        return ROW_AMOUNT_FORMAT;
    }
    if (whole_n > 15) {
        return ROW_AMOUNT_RANGE;
    }
    if (fraction_n > 4) {
        return ROW_AMOUNT_SCALE;
    }
    int64_t value = 0;
    for (size_t i = 0; i < whole_n; i++) {
        value = value * 10 + (whole[i] - '0');
    }
    for (size_t i = 0; i < (size_t)exponent; i++) {
        value = value * 10 + (i < fraction_n ? fraction[i] - '0' : 0);
    }
    for (size_t i = (size_t)exponent; i < fraction_n; i++) {
        if (fraction[i] != '0') {
            return ROW_AMOUNT_SCALE;
        }
    }
    *minor = negative ? -value : value;
    return ROW_OK;
}

/* Compares with a picture in which 'd' is any digit. */
static bool looks_like(const char *text, const char *picture, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (picture[i] == 'd' ? !is_digit(text[i]) : text[i] != picture[i]) {
            return false;
        }
    }
    return true;
}

static int two_digits(const char *text)
{
    return (text[0] - '0') * 10 + text[1] - '0';
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

int32_t day_from_civil(civil_t date)
{
    int year = date.year - (date.month <= 2);
    int era = (year >= 0 ? year : year - 399) / 400;
    int year_of_era = year - era * 400;
    int day_of_year = (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

civil_t civil_from_day(int32_t day)
{
    int shifted = day + 719468;
    int era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int day_of_era = shifted - era * 146097;
    int year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month_index = (5 * day_of_year + 2) / 153;
    int month = month_index < 10 ? month_index + 3 : month_index - 9;
    return (civil_t){.year = year_of_era + era * 400 + (month <= 2),
                     .month = month,
                     .day = day_of_year - (153 * month_index + 2) / 5 + 1};
}

/* What follows "YYYY-MM-DD". *second is set only if the form is right; hours and offset may still
 * be out of range. */
static row_code_t parse_time(const char *text, size_t n, int32_t *second)
{
    if (n < 10 || !looks_like(text, "Tdd:dd:dd", 9)) {
        return ROW_TS_FORMAT;
    }
    size_t at = 9;
    if (text[at] == '.') {
        size_t start = ++at;
        while (at < n && is_digit(text[at])) {
            at++;
        }
        if (at == start || at - start > 6) {
            return ROW_TS_FORMAT;
        }
    }
    bool zulu = at + 1 == n && text[at] == 'Z';
    bool offset = at + 6 == n && (text[at] == '+' || text[at] == '-') &&
                  looks_like(text + at + 1, "dd:dd", 5);
    if (!zulu && !offset) {
        return ROW_TS_FORMAT;
    }
    int hour = two_digits(text + 1), minute = two_digits(text + 4), sec = two_digits(text + 7);
    if (hour > 23 || minute > 59 || sec > 59 ||
        (offset && (two_digits(text + at + 1) > 14 || two_digits(text + at + 4) > 59))) {
        return ROW_TS_RANGE;
    }
    *second = hour * 3600 + minute * 60 + sec;
    return ROW_OK;
}

row_code_t parse_timestamp(slice_t text, int32_t *day, int32_t *second)
{
    if (text.n < 10 || !looks_like(text.data, "dddd-dd-dd", 10)) {
        return ROW_TS_FORMAT;
    }
    int32_t clock = -1;
    if (text.n > 10) {
        row_code_t code = parse_time(text.data + 10, text.n - 10, &clock);
        if (code != ROW_OK) {
            return code;
        }
    }
    civil_t date = {two_digits(text.data) * 100 + two_digits(text.data + 2),
                    two_digits(text.data + 5), two_digits(text.data + 8)};
    if (date.year < 1900 || date.year > 2199 || date.month < 1 || date.month > 12 || date.day < 1 ||
        date.day > days_in_month(date.year, date.month)) {
        return ROW_TS_RANGE;
    }
    *day = day_from_civil(date);
    *second = clock;
    return ROW_OK;
}

#include "api/cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *text_tone(style_t style, tone_t tone)
{
    static const char *const codes[] = {
        [TONE_PLAIN] = "\x1b[0m", [TONE_BOLD] = "\x1b[1m",     [TONE_DIM] = "\x1b[2m",
        [TONE_RED] = "\x1b[31m",  [TONE_GREEN] = "\x1b[32m",   [TONE_YELLOW] = "\x1b[33m",
        [TONE_BLUE] = "\x1b[34m", [TONE_MAGENTA] = "\x1b[35m", [TONE_CYAN] = "\x1b[36m"};
    return style.color ? codes[tone] : "";
}

static void add_grouped(buffer_t *out, uint64_t number)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) {
            buffer_add_text(out, ",");
        }
        buffer_add(out, digits + i, 1);
    }
}

/* INT64_MIN has no positive twin in int64_t. */
static uint64_t magnitude(int64_t number)
{
    return number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
}

void text_number(buffer_t *out, int64_t number)
{
    if (number < 0) {
        buffer_add_text(out, "-");
    }
    add_grouped(out, magnitude(number));
}

/* The exponents of the input format; the task has its own table, because roles do not share rooms.
 */
static int decimals_of(const char *currency)
{
    static const char *const none[] = {"JPY", "KRW", "CLP", "VND"};
    static const char *const three[] = {"KWD", "BHD", "TND"};
    for (size_t i = 0; currency && i < sizeof none / sizeof *none; i++) {
        if (strcmp(currency, none[i]) == 0) {
            return 0;
        }
    }
    for (size_t i = 0; currency && i < sizeof three / sizeof *three; i++) {
        if (strcmp(currency, three[i]) == 0) {
            return 3;
        }
    }
    return 2;
}

void text_money(buffer_t *out, int64_t minor, const char *currency)
{
    int decimals = decimals_of(currency);
    uint64_t scale = decimals == 0 ? 1 : decimals == 2 ? 100 : 1000;
    if (minor < 0) {
        buffer_add_text(out, "-");
    }
    add_grouped(out, magnitude(minor) / scale);
    if (decimals) {
        buffer_printf(out, ".%0*" PRIu64, decimals, magnitude(minor) % scale);
    }
}

void text_duration(buffer_t *out, double seconds)
{
    if (!(seconds >= 0)) {
        seconds = 0;
    }
    if (seconds < 9.95) {
        buffer_printf(out, seconds < 0.995 ? "%.2f s" : "%.1f s", seconds);
        return;
    }
    int64_t whole = seconds > 1e15 ? (int64_t)1e15 : (int64_t)(seconds + 0.5);
    int64_t days = whole / 86400, hours = whole / 3600, minutes = whole / 60;
    if (minutes == 0) {
        buffer_printf(out, "%" PRId64 " s", whole);
    } else if (hours == 0) {
        buffer_printf(out, "%" PRId64 " min %" PRId64 " s", minutes, whole % 60);
    } else if (days == 0) {
        buffer_printf(out, "%" PRId64 " h %" PRId64 " min", hours, minutes % 60);
    } else {
        buffer_printf(out, "%" PRId64 " d %" PRId64 " h", days, hours % 24);
    }
}

void text_bytes(buffer_t *out, int64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < 1024) {
        buffer_printf(out, "%" PRId64 " B", bytes);
        return;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    while (value >= 1023.95 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    buffer_printf(out, "%.1f %s", value, units[unit]);
}

/* Length of the well-formed UTF-8 sequence at `at`, 0 if there is none. Overlong forms, surrogates
 * and what is beyond U+10FFFF are not well-formed. */
static size_t sequence(const unsigned char *at, size_t n)
{
    if (at[0] < 0x80) {
        return 1;
    }
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || n < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90)) {
        return 0;
    }
    return length;
}

static bool is_control(const unsigned char *at, size_t length)
{
    if (length == 1) {
        return at[0] < 0x20 || at[0] == 0x7f;
    }
    /* C1 controls (some terminals obey U+009B as CSI) and the marks that reorder a line. */
    if (length == 2) {
        return at[0] == 0xc2 && at[1] < 0xa0;
    }
    return length == 3 && at[0] == 0xe2 &&
           ((at[1] == 0x80 && at[2] >= 0xaa && at[2] <= 0xae) ||
            (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9));
}

void text_escape(buffer_t *out, const char *bytes, size_t n)
{
    const unsigned char *at = (const unsigned char *)bytes;
    while (n) {
        size_t length = sequence(at, n);
        if (length && !is_control(at, length)) {
            buffer_add(out, at, length);
        } else {
            length = length ? length : 1;
            for (size_t i = 0; i < length; i++) {
                buffer_printf(out, "\\x%02x", at[i]);
            }
        }
        at += length;
        n -= length;
    }
}

void text_count(buffer_t *out, int64_t n, const char *one, const char *many)
{
    text_number(out, n);
    buffer_printf(out, " %s", n == 1 ? one : many);
}

void text_pad(buffer_t *out, int n)
{
    for (; n > 0; n--) {
        buffer_add_text(out, " ");
    }
}

int text_columns(const char *text, size_t n)
{
    int columns = 0;
    for (size_t i = 0; i < n; i++) {
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return columns;
}

#include "scheduler/zone.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "scheduler/zone_file.h"

static const int64_t day_ms = 24 * 60 * 60 * 1000;
/* Offsets stay under 26 hours (RFC 8536), so two offsets differ by less than 52. */
static const int64_t offset_limit_ms = INT64_C(26) * 60 * 60 * 1000;

struct zone {
    char name[ZONE_NAME_N + 1];
    zone_table_t table;
};

/* A stretch of time with one offset: start <= t < end. */
typedef struct {
    int64_t start, end, offset;
} stretch_t;

/* ---- calendar ---- */

int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

int64_t civil_day(int64_t year, int month, int day)
{
    /* The year begins in March here, so that the leap day is its last. */
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int civil_month_days(int64_t year, int month)
{
    static const int days[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month] + (month == 2 && leap ? 1 : 0);
}

int civil_weekday(int64_t day)
{
    /* 1970-01-01 was a Thursday. */
    return (int)(day + 4 - floor_div(day + 4, 7) * 7);
}

civil_t civil_from_ms(int64_t ms)
{
    int64_t day = floor_div(ms, day_ms);
    int of_day = (int)(ms - day * day_ms);
    int64_t shifted = day + 719468;
    int64_t era = floor_div(shifted, 146097);
    int64_t day_of_era = shifted - era * 146097;
    int64_t of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int of_year = (int)(day_of_era - (365 * of_era + of_era / 4 - of_era / 100));
    int month = (5 * of_year + 2) / 153;
    civil_t civil = {
        .month = month < 10 ? month + 3 : month - 9,
        .day = of_year - (153 * month + 2) / 5 + 1,
        .hour = of_day / 3600000,
        .minute = of_day / 60000 % 60,
        .second = of_day / 1000 % 60,
        .ms = of_day % 1000,
        .weekday = civil_weekday(day),
    };
    civil.year = of_era + era * 400 + (civil.month <= 2 ? 1 : 0);
    return civil;
}

int64_t civil_to_ms(const civil_t *civil)
{
    return civil_day(civil->year, civil->month, civil->day) * day_ms + civil->hour * 3600000 +
           civil->minute * 60000 + civil->second * 1000 + civil->ms;
}

/* ---- conversion ---- */

static stretch_t stretch_at(const zone_t *self, int64_t utc_ms)
{
    const zone_table_t *table = &self->table;
    int64_t shift = 0;
    /* The Gregorian calendar repeats after 400 years, weekdays included, and so does the footer's
     * rule. */
    if (utc_ms >= table->repeats_from) {
        int64_t cycles = floor_div(utc_ms - table->repeats_from, ZONE_CYCLE_MS) + 1;
        shift = cycles * ZONE_CYCLE_MS;
        utc_ms -= shift;
    }
    size_t low = 0, high = table->changes_n; /* how many changes are at or before utc_ms */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->changes[middle].at <= utc_ms)
            low = middle + 1;
        else
            high = middle;
    }
    stretch_t stretch = {INT64_MIN, INT64_MAX, table->first_offset};
    if (low > 0) {
        stretch.start = table->changes[low - 1].at + shift;
        stretch.offset = table->changes[low - 1].offset;
    }
    if (low < table->changes_n)
        stretch.end = table->changes[low].at + shift;
    return stretch;
}

const char *zone_name(const zone_t *self)
{
    return self->name;
}

int64_t zone_offset_ms(const zone_t *self, int64_t utc_ms)
{
    return stretch_at(self, utc_ms).offset;
}

int64_t zone_base_offset_ms(const zone_t *self)
{
    return self->table.base_offset;
}

int64_t zone_to_local(const zone_t *self, int64_t utc_ms)
{
    return utc_ms + zone_offset_ms(self, utc_ms);
}

int64_t zone_from_local(const zone_t *self, int64_t local_ms)
{
    stretch_t stretch = stretch_at(self, local_ms - offset_limit_ms);
    for (;;) {
        int64_t utc_ms = local_ms - stretch.offset;
        if (utc_ms < stretch.start)
            return stretch.start; /* the clock jumped over it */
        if (utc_ms < stretch.end)
            return utc_ms;
        stretch = stretch_at(self, stretch.end);
    }
}

int64_t zone_local_reached(const zone_t *self, int64_t utc_ms)
{
    stretch_t stretch = stretch_at(self, utc_ms);
    int64_t reached = utc_ms + stretch.offset;
    while (stretch.start > utc_ms - 2 * offset_limit_ms) {
        int64_t end = stretch.start - 1;
        stretch = stretch_at(self, end);
        if (end + stretch.offset > reached)
            reached = end + stretch.offset;
    }
    return reached;
}

/* ---- files ---- */

static err_t check_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_+-/";
    size_t n = strnlen(name, ZONE_NAME_N + 1);
    if (n == 0 || n > ZONE_NAME_N)
        return err_set(ERR_INVALID,
                       "time zone: expected a name of 1 to %d bytes like "
                       "Europe/Berlin",
                       ZONE_NAME_N);
    /* Without dots there is no "..", and without a leading '/' no way out of the directory. */
    if (strspn(name, allowed) != n || name[0] == '/' || name[n - 1] == '/' ||
        strstr(name, "//") != NULL)
        return err_set(ERR_INVALID, "time zone: expected a name like Europe/Berlin of letters, "
                                    "digits, '_', '+', '-' and '/' between words");
    return ERR_OK;
}

static zone_t *zone_make(const char *name, const zone_table_t *table)
{
    zone_t *self = mem_zero(sizeof *self);
    snprintf(self->name, sizeof self->name, "%s", name);
    self->table = *table;
    return self;
}

err_t zone_parse(zone_t **out, const char *name, const uint8_t *data, size_t n)
{
    zone_table_t table;
    err_t err = check_name(name);
    if (err == ERR_OK)
        err = zone_table_parse(&table, data, n);
    if (err != ERR_OK)
        return err_context(err, "time zone %.*s", ZONE_NAME_N, name);
    *out = zone_make(name, &table);
    return ERR_OK;
}

static err_t read_file(buffer_t *content, const char *path, const char *name)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL && (errno == ENOENT || errno == ENOTDIR))
        return err_set(ERR_NOT_FOUND,
                       "time zone \"%s\" is unknown: there is no %s (is tzdata installed?)", name,
                       path);
    if (file == NULL)
        return err_set(ERR_IO, "time zone \"%s\": cannot open %s: %s", name, path, strerror(errno));
    err_t err = ERR_OK;
    buffer_reserve(content, ZONE_FILE_N + 1);
    content->n = fread(content->data, 1, ZONE_FILE_N + 1, file);
    if (ferror(file) && errno == EISDIR)
        err = err_set(ERR_NOT_FOUND, "time zone \"%s\" is unknown: %s is a folder", name, path);
    else if (ferror(file))
        err = err_set(ERR_IO, "time zone \"%s\": cannot read %s: %s", name, path, strerror(errno));
    else if (content->n > ZONE_FILE_N)
        err =
            err_set(ERR_CORRUPT, "time zone \"%s\": %s is over %d bytes", name, path, ZONE_FILE_N);
    fclose(file);
    return err;
}

err_t zone_open(zone_t **out, const char *directory, const char *name)
{
    if (strcmp(name, "UTC") == 0) {
        zone_table_t table = {.repeats_from = INT64_MAX};
        *out = zone_make(name, &table);
        return ERR_OK;
    }
    err_t err = check_name(name);
    if (err != ERR_OK)
        return err;
    buffer_t path = {0}, content = {0};
    buffer_printf(&path, "%s/%s%c", directory, name, '\0');
    err = read_file(&content, (const char *)path.data, name);
    if (err == ERR_OK)
        err = zone_parse(out, name, content.data, content.n);
    buffer_free(&path);
    buffer_free(&content);
    return err;
}

void zone_destroy(zone_t **self)
{
    if (*self == NULL)
        return;
    free((*self)->table.changes);
    free(*self);
    *self = NULL;
}

/* ---- cache ---- */

struct zones {
    char *directory;
    zone_t **all; /* sorted by name */
    size_t all_n;
};

zones_t *zones_new(const char *directory)
{
    zones_t *self = mem_zero(sizeof *self);
    self->directory = mem_text(directory != NULL ? directory : ZONE_DIRECTORY);
    return self;
}

void zones_destroy(zones_t **self)
{
    if (*self == NULL)
        return;
    for (size_t i = 0; i < (*self)->all_n; i++)
        zone_destroy(&(*self)->all[i]);
    free((*self)->all);
    free((*self)->directory);
    free(*self);
    *self = NULL;
}

err_t zones_find(zones_t *self, const char *name, const zone_t **out)
{
    size_t low = 0, high = self->all_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(self->all[middle]->name, name);
        if (order == 0) {
            *out = self->all[middle];
            return ERR_OK;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    zone_t *zone = NULL;
    err_t err = zone_open(&zone, self->directory, name);
    if (err != ERR_OK)
        return err;
    self->all = mem_grow(self->all, (self->all_n + 1) * sizeof(zone_t *));
    memmove(self->all + low + 1, self->all + low, (self->all_n - low) * sizeof(zone_t *));
    self->all[low] = zone;
    self->all_n++;
    *out = zone;
    return ERR_OK;
}

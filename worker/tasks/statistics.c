#include "worker/tasks/statistics.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"

void statistics_clear(statistics_t *self)
{
    for (int i = 0; i < CURRENCIES_N; i++) {
        free(self->blocks[i]);
    }
    memset(self, 0, sizeof *self);
}

block_t *statistics_block(statistics_t *self, int currency)
{
    if (!self->blocks[currency]) {
        self->blocks[currency] = mem_zero(sizeof(block_t));
    }
    return self->blocks[currency];
}

int first_two_digits(int64_t m)
{
    uint64_t rest = (uint64_t)m;
    while (rest >= 100000) {
        rest /= 10000;
    }
    while (rest >= 100) {
        rest /= 10;
    }
    return (int)(rest < 10 ? rest * 10 : rest);
}

static int digits_of(int64_t m)
{
    int n = 1;
    for (uint64_t rest = (uint64_t)m; rest >= 10; rest /= 10) {
        n++;
    }
    return n;
}

static void add_positive(block_t *self, const transaction_config_t *config, int64_t m)
{
    int digits = first_two_digits(m) - 10;
    self->positive++;
    self->histogram[histogram_bucket(m)]++;
    self->first_two_all[digits]++;
    if (m % 10000 == 0) {
        if (m % 100000 == 0) {
            self->round_1000++;
        } else {
            self->round_100++;
        }
    }
    for (int i = 0; i < config->thresholds_n; i++) {
        int64_t t = config->thresholds[i];
        self->below[i] += m >= config->below_from[i] && m < t;
        self->above[i] += m >= t && m < config->above_to[i];
    }
    if (m >= config->benford_min_minor) {
        self->first_two[digits]++;
        self->first_two_sums[digits] += m;
        self->last_two[m % 100]++;
        self->digit_sums[digits_of(m)] += m;
    }
}

static void add_time(block_t *self, const transaction_t *row)
{
    int weekday = ((row->day + 3) % 7 + 7) % 7;
    self->weekdays[weekday]++;
    self->weekend += weekday >= 5;
    if (row->second >= 0) {
        int hour = row->second / 3600;
        self->hours[hour]++;
        self->after_hours += hour < 6 || hour >= 22;
    }
    civil_t date = civil_from_day(row->day);
    int month = (date.year - 1900) * 12 + date.month - 1;
    self->month_rows[month]++;
    self->month_sums[month] += row->amount;
}

static void add_parties(block_t *self, const transaction_t *row)
{
    uint64_t src = hash_add(HASH_START, row->src.data, row->src.n);
    uint64_t pair = hash_add(hash_add(src, "\x1f", 1), row->dst.data, row->dst.n);
    hll_add(self->registers[HLL_SRC], hash_finish(src));
    hll_add(self->registers[HLL_DST], hash_finish(hash_add(HASH_START, row->dst.data, row->dst.n)));
    hll_add(self->registers[HLL_PAIR], hash_finish(pair));
}

static void add_rules(block_t *self, uint32_t fired)
{
    self->scores[rules_score(fired)]++;
    for (int i = 0; fired >> i; i++) {
        self->rule_rows[i] += fired >> i & 1;
    }
}

/* Keep the smallest FAULTS_MAX of a sorted list. */
static void note_line(block_t *self, uint64_t line)
{
    uint32_t at = self->first_lines_n;
    while (at > 0 && self->first_lines[at - 1] > line) {
        at--;
    }
    if (at == FAULTS_MAX) {
        return;
    }
    uint32_t moved = self->first_lines_n - at - (self->first_lines_n == FAULTS_MAX);
    memmove(&self->first_lines[at + 1], &self->first_lines[at], moved * sizeof line);
    self->first_lines[at] = line;
    self->first_lines_n += self->first_lines_n < FAULTS_MAX;
}

void statistics_add(statistics_t *self, const transaction_config_t *config,
                    const transaction_t *row, uint64_t line)
{
    block_t *block = statistics_block(self, row->currency);
    int64_t m = row->amount;
    if (block->rows == 0) {
        block->min = block->max = m;
        block->day_min = block->day_max = row->day;
    }
    self->lines++;
    self->accepted++;
    block->rows++;
    block->sum += m;
    block->min = m < block->min ? m : block->min;
    block->max = m > block->max ? m : block->max;
    block->day_min = row->day < block->day_min ? row->day : block->day_min;
    block->day_max = row->day > block->day_max ? row->day : block->day_max;
    if (m > 0) {
        add_positive(block, config, m);
    } else if (m < 0) {
        block->negative++;
    } else {
        block->zero++;
    }
    add_time(block, row);
    add_parties(block, row);
    add_rules(block, rules_fired(config, row));
    note_line(block, line);
}

void statistics_note(statistics_t *self, const row_error_t *error)
{
    uint32_t at = self->errors_n;
    while (at > 0 && self->errors[at - 1].line > error->line) {
        at--;
    }
    if (at == FAULTS_MAX) {
        return;
    }
    uint32_t moved = self->errors_n - at - (self->errors_n == FAULTS_MAX);
    memmove(&self->errors[at + 1], &self->errors[at], moved * sizeof *error);
    self->errors[at] = *error;
    self->errors_n += self->errors_n < FAULTS_MAX;
}

void statistics_reject(statistics_t *self, const row_fault_t *fault, uint64_t line)
{
    row_error_t error = {.line = line, .code = fault->code};
    memcpy(error.field, fault->field, sizeof error.field);
    self->lines++;
    self->rejected++;
    self->codes[fault->code]++;
    statistics_note(self, &error);
}

static void add_counts(uint64_t *into, const uint64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        into[i] += from[i];
    }
}

static void add_sums(int128_t *into, const int128_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        into[i] += from[i];
    }
}

static void merge_extremes(block_t *self, const block_t *other)
{
    bool first = self->rows == 0;
    self->min = first || other->min < self->min ? other->min : self->min;
    self->max = first || other->max > self->max ? other->max : self->max;
    self->day_min = first || other->day_min < self->day_min ? other->day_min : self->day_min;
    self->day_max = first || other->day_max > self->day_max ? other->day_max : self->day_max;
}

static void merge_block(block_t *self, const block_t *other)
{
    if (other->rows == 0) {
        return;
    }
    merge_extremes(self, other);
    self->rows += other->rows;
    self->positive += other->positive;
    self->negative += other->negative;
    self->zero += other->zero;
    self->sum += other->sum;
    self->weekend += other->weekend;
    self->after_hours += other->after_hours;
    self->round_1000 += other->round_1000;
    self->round_100 += other->round_100;
    add_counts(self->weekdays, other->weekdays, 7);
    add_counts(self->hours, other->hours, 24);
    add_counts(self->below, other->below, THRESHOLDS_MAX);
    add_counts(self->above, other->above, THRESHOLDS_MAX);
    add_counts(self->first_two, other->first_two, 90);
    add_counts(self->last_two, other->last_two, 100);
    add_counts(self->first_two_all, other->first_two_all, 90);
    add_counts(self->histogram, other->histogram, HISTOGRAM_N);
    add_counts(self->month_rows, other->month_rows, MONTHS_N);
    add_counts(self->rule_rows, other->rule_rows, RULES_N);
    add_counts(self->scores, other->scores, SCORES_N);
    add_sums(self->first_two_sums, other->first_two_sums, 90);
    add_sums(self->digit_sums, other->digit_sums, DIGITS_N);
    add_sums(self->month_sums, other->month_sums, MONTHS_N);
    for (int k = 0; k < HLL_KINDS_N; k++) {
        for (int i = 0; i < HLL_N; i++) {
            uint8_t rank = other->registers[k][i];
            self->registers[k][i] = rank > self->registers[k][i] ? rank : self->registers[k][i];
        }
    }
    for (uint32_t i = 0; i < other->first_lines_n; i++) {
        note_line(self, other->first_lines[i]);
    }
}

void statistics_merge(statistics_t *self, const statistics_t *other)
{
    self->lines += other->lines;
    self->accepted += other->accepted;
    self->rejected += other->rejected;
    self->blank += other->blank;
    self->formats |= other->formats;
    add_counts(self->codes, other->codes, ROW_CODES_N);
    for (uint32_t i = 0; i < other->errors_n; i++) {
        statistics_note(self, &other->errors[i]);
    }
    for (int i = 0; i < CURRENCIES_N; i++) {
        if (other->blocks[i]) {
            merge_block(statistics_block(self, i), other->blocks[i]);
        }
    }
}

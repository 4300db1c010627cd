/* statistics: what a set of transactions adds up to: the constant-size part, mergeable in any
 * order.
 *
 * Lives here: counters, exact sums, histogram and registers for each currency; row counts and
 * faults for all. Not here: the bytes of a partial result (partial), judgement of any kind
 * (benford, report): a batch never holds a verdict. Pure. */
#ifndef STINT_WORKER_STATISTICS_H
#define STINT_WORKER_STATISTICS_H

#include "worker/tasks/sketch.h"
#include "worker/tasks/transaction_config.h"
#include "worker/tasks/transaction_row.h"

typedef __int128 int128_t;

enum {
    FAULTS_MAX = 20,
    MONTHS_N = 300 * 12, /* 1900-01 .. 2199-12 */
    DIGITS_N = 20,       /* amounts by their number of digits, 1..18 */
    SCORES_N = 101,
    HLL_SRC = 0,
    HLL_DST,
    HLL_PAIR, /* src, 0x1f, dst */
    HLL_KINDS_N,
};

/* One currency. */
typedef struct {
    uint64_t rows, positive, negative, zero;
    int128_t sum;
    int64_t min, max;                                      /* valid if rows > 0 */
    int32_t day_min, day_max;                              /* valid if rows > 0 */
    uint64_t weekend, after_hours, weekdays[7], hours[24]; /* weekday 0 = Monday */
    uint64_t round_1000, round_100;
    uint64_t below[THRESHOLDS_MAX], above[THRESHOLDS_MAX];
    /* Amounts of at least benford_min_minor. */
    uint64_t first_two[90], last_two[100];
    int128_t first_two_sums[90], digit_sums[DIGITS_N];
    /* All positive amounts. */
    uint64_t first_two_all[90], histogram[HISTOGRAM_N];
    uint64_t month_rows[MONTHS_N];
    int128_t month_sums[MONTHS_N];
    uint8_t registers[HLL_KINDS_N][HLL_N];
    uint64_t rule_rows[RULES_N], scores[SCORES_N];
    /* The first rows of this currency, ascending: needed only if the report has to leave the
     * currency out. */
    uint64_t first_lines[FAULTS_MAX];
    uint32_t first_lines_n;
} block_t;

typedef struct {
    uint64_t line;
    row_code_t code;
    char field[FIELD_NAME_MAX + 1];
} row_error_t;

typedef struct {
    uint64_t lines, accepted, rejected, blank;
    uint32_t formats; /* bits 1 << task_format_t */
    uint64_t codes[ROW_CODES_N];
    row_error_t errors[FAULTS_MAX]; /* by line, the first of all */
    uint32_t errors_n;
    block_t *blocks[CURRENCIES_N]; /* owned; NULL = no row of that currency */
} statistics_t;

/* An empty statistics_t is all zero. */
void statistics_clear(statistics_t *self);
/* The block of a currency, made if there is none. */
block_t *statistics_block(statistics_t *self, int currency);

void statistics_add(statistics_t *self, const transaction_config_t *config,
                    const transaction_t *row, uint64_t line);
void statistics_reject(statistics_t *self, const row_fault_t *fault, uint64_t line);
/* Note one fault if it is among the first FAULTS_MAX lines. */
void statistics_note(statistics_t *self, const row_error_t *error);

/* self += other. Commutative and associative. */
void statistics_merge(statistics_t *self, const statistics_t *other);

/* The first two digits of m > 0, 10..99; 5 counts as 50. */
int first_two_digits(int64_t m);

#endif

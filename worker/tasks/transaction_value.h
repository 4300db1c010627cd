/* transaction_value: the values inside a transaction's fields: currency, amount, time stamp.
 *
 * Lives here: the exact grammar of each value and its conversion to an integer. Not here: which
 * field is checked when (transaction_row). Pure. */
#ifndef STINT_WORKER_TRANSACTION_VALUE_H
#define STINT_WORKER_TRANSACTION_VALUE_H

#include <stdint.h>

#include "common/csv.h"

/* What may be wrong with a row. ROW_BLANK is a line that is skipped and counted, no error. */
#define ROW_CODES(X)                                                                               \
    X(OK, "OK")                                                                                    \
    X(BLANK, "S_BLANK")                                                                            \
    X(ROW_SIZE, "E_ROW_SIZE")                                                                      \
    X(ENCODING, "E_ENCODING")                                                                      \
    X(CSV, "E_CSV")                                                                                \
    X(JSON, "E_JSON")                                                                              \
    X(COLS, "E_COLS")                                                                              \
    X(REQUIRED, "E_REQUIRED")                                                                      \
    X(TYPE, "E_TYPE")                                                                              \
    X(FIELD, "E_FIELD")                                                                            \
    X(TS_FORMAT, "E_TS_FORMAT")                                                                    \
    X(TS_RANGE, "E_TS_RANGE")                                                                      \
    X(CCY, "E_CCY")                                                                                \
    X(AMOUNT_FORMAT, "E_AMOUNT_FORMAT")                                                            \
    X(AMOUNT_SCALE, "E_AMOUNT_SCALE")                                                              \
    X(AMOUNT_RANGE, "E_AMOUNT_RANGE")                                                              \
    X(LABEL, "E_LABEL")

typedef enum {
#define ROW_CODE(NAME, text) ROW_##NAME,
    ROW_CODES(ROW_CODE)
#undef ROW_CODE
        ROW_CODES_N
} row_code_t;

/* "OK", "E_AMOUNT_SCALE" ... */
const char *row_code_name(row_code_t code);

enum { CURRENCIES_N = 29 };

/* Index of an ISO 4217 code in the table, -1 if it is not there (lower case is not). The table is
 * in code order. */
int currency_find(slice_t code);
const char *currency_code(int currency);
/* Digits after the decimal point: 0, 2 or 3. */
int currency_exponent(int currency);

/* `-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?` to minor units; digits beyond the exponent must be zeros.
 * ROW_OK, or ROW_AMOUNT_FORMAT, _RANGE or _SCALE. |result| < 10^18. */
row_code_t parse_amount(slice_t text, int exponent, int64_t *minor);

/* `YYYY-MM-DD` or `YYYY-MM-DDThh:mm:ss[.f{1,6}](Z|+hh:mm|-hh:mm)`, years 1900-2199. *day: local
 * date in days since 1970-01-01; *second: local second of the day, -1 for a bare date. ROW_OK,
 * ROW_TS_FORMAT or ROW_TS_RANGE. */
row_code_t parse_timestamp(slice_t text, int32_t *day, int32_t *second);

typedef struct {
    int year, month, day;
} civil_t;
/* Howard Hinnant's civil-day formulas (chrono-Compatible Low-Level Date Algorithms), proleptic
 * Gregorian. */
int32_t day_from_civil(civil_t date);
civil_t civil_from_day(int32_t day);

#endif

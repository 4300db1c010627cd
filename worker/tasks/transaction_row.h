/* transaction_row: one line of input becomes a transaction, or the code and field of its first
 * fault.
 *
 * Lives here: the order of the checks (row size, encoding, CSV or JSON, columns, then the fields in
 * the order txn_id, ts, src, dst, ccy, amount, kind, doc_no, ref, bal_before, bal_after, label).
 * Not here: the grammar of a value (transaction_value), JSON (transaction_json), statistics. Pure;
 * no allocation per row. */
#ifndef STINT_WORKER_TRANSACTION_ROW_H
#define STINT_WORKER_TRANSACTION_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/csv.h"
#include "common/err.h"
#include "worker/tasks/task.h"
#include "worker/tasks/transaction_value.h"

enum { ROW_MAX_BYTES = 65536, FIELD_NAME_MAX = 64 };

/* In the canonical order of schema/tasks.def. */
typedef enum {
    COLUMN_TXN_ID,
    COLUMN_TS,
    COLUMN_SRC,
    COLUMN_DST,
    COLUMN_AMOUNT,
    COLUMN_CCY,
    COLUMN_KIND,
    COLUMN_DOC_NO,
    COLUMN_REF,
    COLUMN_BAL_BEFORE,
    COLUMN_BAL_AFTER,
    COLUMN_LABEL,
    COLUMN_IDS_N
} column_id_t;

const char *column_name(column_id_t column);
/* -1 if there is none of that name. */
int column_find(slice_t name);

/* The texts borrow from the line or the parser: valid until the next row. */
typedef struct {
    slice_t txn_id, src, dst, kind, doc_no, ref;
    int64_t amount; /* minor units */
    int64_t bal_before, bal_after;
    bool has_before, has_after;
    int currency;
    int32_t day;    /* local date, days since 1970-01-01 */
    int32_t second; /* local second of the day, -1 = bare date */
    int label;      /* -1 = none */
} transaction_t;

/* Where a row's first fault is; field is "" if the fault is not in one. A name from the input (an
 * unknown NDJSON key) is cut at a character to at most FIELD_NAME_MAX bytes. */
typedef struct {
    row_code_t code;
    char field[FIELD_NAME_MAX + 1];
} row_fault_t;

typedef struct row_parser row_parser_t;

/* `header` is the CSV header line, NUL-terminated; ignored for NDJSON. ERR_INVALID "E_HEADER: ...".
 */
CHECKED err_t row_parser_open(row_parser_t **out, task_format_t format, const char *header);
void row_parser_destroy(row_parser_t **self);

/* ROW_OK: *out is filled. ROW_BLANK: nothing. Else *fault says what is wrong (fault->code is the
 * value returned). */
row_code_t row_parse(row_parser_t *self, slice_t line, transaction_t *out, row_fault_t *fault);

/* The second half of row_parse, for both formats: check and convert the twelve values (n = 0:
 * absent). */
row_code_t row_check(const slice_t values[COLUMN_IDS_N], transaction_t *out, row_fault_t *fault);

/* Well-formed UTF-8 (RFC 3629). */
bool row_utf8(slice_t text);

/* Note a fault in the column; returns code. */
row_code_t row_fault_set(row_fault_t *fault, row_code_t code, slice_t field);

#endif

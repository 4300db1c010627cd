/* transaction_json: one NDJSON line becomes the twelve values of a transaction.
 *
 * Lives here: a strict reader of ONE flat JSON object (RFC 8259) that neither allocates nor
 * recurses. jansson is not used for rows: it refuses whole numbers beyond 64 bit as a syntax fault,
 * which here are E_LABEL or E_TYPE, and costs dozens of allocations a row. Not here: the checks of
 * the values (transaction_row). Pure. */
#ifndef STINT_WORKER_TRANSACTION_JSON_H
#define STINT_WORKER_TRANSACTION_JSON_H

#include "worker/tasks/transaction_row.h"

/* `line` is well-formed UTF-8 of at most ROW_MAX_BYTES bytes; `scratch` holds as many. Null and
 * absent give n = 0. Values point into scratch, line or constants. In this order: E_JSON (not one
 * object; a repeated key at any depth), E_COLS (unknown key: the first in byte order), E_TYPE (a
 * value that is no string, or for label no whole number: the first in the order of the checks). */
row_code_t json_row_read(slice_t line, char *scratch, slice_t values[COLUMN_IDS_N],
                         row_fault_t *fault);

#endif

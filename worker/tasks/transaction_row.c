#include "worker/tasks/transaction_row.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/task_table.h"
#include "worker/tasks/transaction_json.h"

static const char *const names[] = {
#define TASK(...)
#define PARAM(...)
#define COLUMN(ID, name, required)  COLUMN_OF_##ID(name)
#define COLUMN_OF_TRANSACTION(name) name,
#include "schema/tasks.def"
#undef TASK
#undef COLUMN
#undef COLUMN_OF_TRANSACTION
#undef PARAM
};
_Static_assert(sizeof names / sizeof *names == COLUMN_IDS_N,
               "column_id_t follows schema/tasks.def");

/* Amount after ccy: its scale depends on it. */
static const column_id_t check_order[COLUMN_IDS_N] = {
    COLUMN_TXN_ID, COLUMN_TS,     COLUMN_SRC, COLUMN_DST,        COLUMN_CCY,       COLUMN_AMOUNT,
    COLUMN_KIND,   COLUMN_DOC_NO, COLUMN_REF, COLUMN_BAL_BEFORE, COLUMN_BAL_AFTER, COLUMN_LABEL};

struct row_parser {
    task_format_t format;
    int columns_n;
    column_id_t columns[COLUMN_IDS_N];
    char scratch[ROW_MAX_BYTES];
};

const char *column_name(column_id_t column)
{
    return names[column];
}

int column_find(slice_t name)
{
    for (int i = 0; i < COLUMN_IDS_N; i++) {
        if (strlen(names[i]) == name.n && memcmp(names[i], name.data, name.n) == 0) {
            return i;
        }
    }
    return -1;
}

err_t row_parser_open(row_parser_t **out, task_format_t format, const char *header)
{
    row_parser_t *self = mem_alloc(sizeof *self);
    self->format = format;
    self->columns_n = 0;
    if (format == TASK_FORMAT_CSV) {
        const task_spec_t *spec = task_spec_at(TASK_ID_TRANSACTION);
        err_t err = task_check_header(spec, header, strlen(header));
        if (err) {
            row_parser_destroy(&self);
            return err;
        }
        slice_t fields[COLUMN_IDS_N];
        slice_t line = {header, strlen(header)};
        self->columns_n = csv_split(line, fields, COLUMN_IDS_N, self->scratch);
        for (int i = 0; i < self->columns_n; i++) {
            self->columns[i] = (column_id_t)column_find(fields[i]);
        }
    }
    *out = self;
    return ERR_OK;
}

void row_parser_destroy(row_parser_t **self)
{
    free(*self);
    *self = NULL;
}

row_code_t row_fault_set(row_fault_t *fault, row_code_t code, slice_t field)
{
    size_t n = field.n;
    if (n > FIELD_NAME_MAX) {
        n = FIELD_NAME_MAX;
        while (n > 0 && ((unsigned char)field.data[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    fault->code = code;
    memcpy(fault->field, n ? field.data : "", n);
    fault->field[n] = 0;
    return code;
}

static row_code_t fault_in(row_fault_t *fault, row_code_t code, column_id_t column)
{
    return row_fault_set(fault, code, (slice_t){names[column], strlen(names[column])});
}

static row_code_t fault_of_line(row_fault_t *fault, row_code_t code)
{
    return row_fault_set(fault, code, (slice_t){"", 0});
}

/* Well-formed UTF-8 (RFC 3629) at `at`: its length, 0 if it is not. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80) {
        return 1;
    }
    size_t n = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || left < n) {
        return 0;
    }
    unsigned char low = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

bool row_utf8(slice_t line)
{
    const unsigned char *at = (const unsigned char *)line.data;
    for (size_t left = line.n; left > 0;) {
        uint64_t eight;
        if (left >= sizeof eight) {
            /* Almost every line is ASCII: eight bytes a step. */
            memcpy(&eight, at, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                at += sizeof eight;
                left -= sizeof eight;
                continue;
            }
        }
        size_t n = utf8_length(at, left);
        if (n == 0) {
            return false;
        }
        at += n;
        left -= n;
    }
    return true;
}

static bool only_of(slice_t line, const char *set)
{
    for (size_t i = 0; i < line.n; i++) {
        if (!line.data[i] || !strchr(set, line.data[i])) {
            return false;
        }
    }
    return true;
}

/* The api sends an over-long line as a NUL and its length. A shorter number behind a NUL is just a
 * bad line. */
static bool is_size_marker(slice_t line)
{
    if (line.n < 2 || line.n > 20 || line.data[0] != 0) {
        return false;
    }
    uint64_t length = 0;
    for (size_t i = 1; i < line.n; i++) {
        if (line.data[i] < '0' || line.data[i] > '9') {
            return false;
        }
        length = length * 10 + (uint64_t)(line.data[i] - '0');
    }
    return length > ROW_MAX_BYTES;
}

/* A surrogate can only come from a JSON escape without its partner: such a text has no UTF-8 form.
 */
static bool is_plain_text(slice_t text)
{
    if (text.n > 64) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 32 || c == 127 ||
            (c == 0xed && i + 1 < text.n && (unsigned char)text.data[i + 1] >= 0xa0)) {
            return false;
        }
    }
    return true;
}

static row_code_t check_label(slice_t text, int *label)
{
    int value = 0;
    if (text.n > 3) {
        return ROW_LABEL;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return ROW_LABEL;
        }
        value = value * 10 + text.data[i] - '0';
    }
    *label = value;
    return value <= 255 ? ROW_OK : ROW_LABEL;
}

static row_code_t check_value(column_id_t column, slice_t value, transaction_t *out)
{
    switch (column) {
    case COLUMN_TS:
        return parse_timestamp(value, &out->day, &out->second);
    case COLUMN_CCY:
        out->currency = currency_find(value);
        return out->currency >= 0 ? ROW_OK : ROW_CCY;
    case COLUMN_AMOUNT:
        return parse_amount(value, currency_exponent(out->currency), &out->amount);
    case COLUMN_BAL_BEFORE:
        out->has_before = true;
        return parse_amount(value, currency_exponent(out->currency), &out->bal_before);
    case COLUMN_BAL_AFTER:
        out->has_after = true;
        return parse_amount(value, currency_exponent(out->currency), &out->bal_after);
    case COLUMN_LABEL:
        return check_label(value, &out->label);
    default:
        return is_plain_text(value) ? ROW_OK : ROW_FIELD;
    }
}

row_code_t row_check(const slice_t values[COLUMN_IDS_N], transaction_t *out, row_fault_t *fault)
{
    static const bool required[COLUMN_IDS_N] = {
        [COLUMN_TXN_ID] = true, [COLUMN_TS] = true,  [COLUMN_SRC] = true,
        [COLUMN_DST] = true,    [COLUMN_CCY] = true, [COLUMN_AMOUNT] = true};
    *out = (transaction_t){.txn_id = values[COLUMN_TXN_ID],
                           .src = values[COLUMN_SRC],
                           .dst = values[COLUMN_DST],
                           .kind = values[COLUMN_KIND],
                           .doc_no = values[COLUMN_DOC_NO],
                           .ref = values[COLUMN_REF],
                           .second = -1,
                           .label = -1};
    for (int i = 0; i < COLUMN_IDS_N; i++) {
        column_id_t column = check_order[i];
        if (values[column].n == 0) {
            if (required[column]) {
                return fault_in(fault, ROW_REQUIRED, column);
            }
            continue;
        }
        row_code_t code = check_value(column, values[column], out);
        if (code != ROW_OK) {
            return fault_in(fault, code, column);
        }
    }
    return ROW_OK;
}

static row_code_t parse_csv(row_parser_t *self, slice_t line, transaction_t *out,
                            row_fault_t *fault)
{
    slice_t fields[COLUMN_IDS_N];
    int n = csv_split(line, fields, COLUMN_IDS_N, self->scratch);
    if (n < 0) {
        return fault_of_line(fault, ROW_CSV);
    }
    if (n != self->columns_n) {
        return fault_of_line(fault, ROW_COLS);
    }
    slice_t values[COLUMN_IDS_N] = {{"", 0}};
    for (int i = 0; i < n; i++) {
        values[self->columns[i]] = fields[i];
    }
    return row_check(values, out, fault);
}

static row_code_t parse_ndjson(row_parser_t *self, slice_t line, transaction_t *out,
                               row_fault_t *fault)
{
    slice_t values[COLUMN_IDS_N] = {{"", 0}};
    row_code_t code = json_row_read(line, self->scratch, values, fault);
    return code == ROW_OK ? row_check(values, out, fault) : code;
}

row_code_t row_parse(row_parser_t *self, slice_t line, transaction_t *out, row_fault_t *fault)
{
    bool csv = self->format == TASK_FORMAT_CSV;
    if (only_of(line, csv ? " \t," : " \t\n\r\v\f")) {
        return ROW_BLANK;
    }
    if (line.n > ROW_MAX_BYTES || is_size_marker(line)) {
        return fault_of_line(fault, ROW_ROW_SIZE);
    }
    /* In NDJSON a raw NUL is a fault of the JSON, not of the encoding. */
    if (!row_utf8(line) || (csv && memchr(line.data, 0, line.n))) {
        return fault_of_line(fault, ROW_ENCODING);
    }
    return csv ? parse_csv(self, line, out, fault) : parse_ndjson(self, line, out, fault);
}

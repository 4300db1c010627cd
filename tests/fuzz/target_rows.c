/* Rows of a batch. The first byte chooses the format, the first line is the CSV header, then rows.
 * A row of NDJSON is judged by jansson and yajl too, and, written as CSV, must be the same
 * transaction. */
#include "api/json_stream.h"
#include "common/buffer.h"
#include "tests/fuzz/fuzz.h"
#include "worker/tasks/transaction_json.h"
#include "worker/tasks/transaction_row.h"

static const char all_columns[] = "txn_id,ts,src,dst,amount,ccy,kind,doc_no,ref,bal_before,"
                                  "bal_after,label";

static bool same_text(slice_t a, slice_t b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

static bool same(const transaction_t *a, const transaction_t *b)
{
    return same_text(a->txn_id, b->txn_id) && same_text(a->src, b->src) &&
           same_text(a->dst, b->dst) && same_text(a->kind, b->kind) &&
           same_text(a->doc_no, b->doc_no) && same_text(a->ref, b->ref) && a->amount == b->amount &&
           a->has_before == b->has_before && a->has_after == b->has_after &&
           (!a->has_before || a->bal_before == b->bal_before) &&
           (!a->has_after || a->bal_after == b->bal_after) && a->currency == b->currency &&
           a->day == b->day && a->second == b->second && a->label == b->label;
}

static void check_transaction(const transaction_t *row)
{
    static const int64_t most = INT64_C(1000000000000000000);
    FUZZ_CHECK(row->currency >= 0 && row->currency < CURRENCIES_N, "currency %d", row->currency);
    FUZZ_CHECK(row->amount > -most && row->amount < most, "an amount out of range");
    FUZZ_CHECK(!row->has_before || (row->bal_before > -most && row->bal_before < most), "balance");
    FUZZ_CHECK(!row->has_after || (row->bal_after > -most && row->bal_after < most), "balance");
    FUZZ_CHECK(row->second >= -1 && row->second < 86400, "second %d", row->second);
    FUZZ_CHECK(row->label >= -1 && row->label <= 255, "label %d", row->label);
    civil_t date = civil_from_day(row->day);
    FUZZ_CHECK(date.year >= 1900 && date.year <= 2199 && day_from_civil(date) == row->day, "day %d",
               row->day);
    FUZZ_CHECK(row->txn_id.n > 0 && row->src.n > 0 && row->dst.n > 0, "a required value is empty");
    const slice_t texts[] = {row->txn_id, row->src, row->dst, row->kind, row->doc_no, row->ref};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        FUZZ_CHECK(texts[i].n <= 64 && utf8_valid(texts[i].data, texts[i].n),
                   "a text that is none");
        for (size_t k = 0; k < texts[i].n; k++) {
            FUZZ_CHECK((unsigned char)texts[i].data[k] >= 32, "a control byte in a text");
        }
    }
}

static void add_field(buffer_t *line, slice_t value)
{
    buffer_add(line, line->n ? ",\"" : "\"", line->n ? 2 : 1);
    for (size_t i = 0; i < value.n; i++) {
        buffer_add(line, value.data[i] == '"' ? "\"\"" : value.data + i,
                   value.data[i] == '"' ? 2 : 1);
    }
    buffer_add(line, "\"", 1);
}

/* JSON that yajl (strict, no repeated keys) refuses is refused here, and the other way round. */
static void check_json(slice_t line, row_parser_t *csv)
{
    char *scratch = malloc(line.n + 1);
    slice_t values[COLUMN_IDS_N] = {{"", 0}};
    row_fault_t fault = {.code = ROW_OK};
    row_code_t code = json_row_read(line, scratch, values, &fault);
    err_t strict = json_line_check(line.data, line.n);
    FUZZ_CHECK(code != ROW_OK || strict == ERR_OK || strstr(err_text(), "surrogate"),
               "a row of no JSON was taken: %s", err_text());
    if (code == ROW_OK) {
        buffer_t quoted = {0};
        for (int i = 0; i < COLUMN_IDS_N; i++) {
            add_field(&quoted, values[i]);
        }
        transaction_t one, two;
        row_fault_t one_fault, two_fault;
        row_code_t direct = row_check(values, &one, &one_fault);
        slice_t text = {(const char *)quoted.data, quoted.n};
        row_code_t by_csv = row_parse(csv, text, &two, &two_fault);
        /* What CSV cannot say is told apart before its fields are looked at. */
        if (by_csv != ROW_ENCODING && by_csv != ROW_ROW_SIZE) {
            FUZZ_CHECK(direct == by_csv, "NDJSON says %s, CSV %s", row_code_name(direct),
                       row_code_name(by_csv));
            FUZZ_CHECK(direct != ROW_OK || same(&one, &two), "NDJSON and CSV differ");
        }
        buffer_free(&quoted);
    }
    free(scratch);
}

static void check_row(row_parser_t *parser, row_parser_t *again, slice_t line, bool json)
{
    transaction_t row, twin;
    row_fault_t fault = {.code = ROW_OK}, twin_fault = {.code = ROW_OK};
    row_code_t code = row_parse(parser, line, &row, &fault);
    row_code_t same_code = row_parse(again, line, &twin, &twin_fault);
    FUZZ_CHECK(code == same_code && (code != ROW_OK || same(&row, &twin)), "twice, not the same");
    FUZZ_CHECK(code >= 0 && code < ROW_CODES_N, "code %d", (int)code);
    if (code == ROW_OK) {
        check_transaction(&row);
    } else if (code != ROW_BLANK) {
        size_t n = strnlen(fault.field, sizeof fault.field);
        FUZZ_CHECK(fault.code == code && n <= FIELD_NAME_MAX, "the fault is not told");
        FUZZ_CHECK(strcmp(fault.field, twin_fault.field) == 0, "twice, not the same fault");
    }
    if (code == ROW_OK || code == ROW_ENCODING) {
        FUZZ_CHECK(utf8_valid(line.data, line.n) || code == ROW_ENCODING,
                   "bytes that are no UTF-8");
        FUZZ_CHECK(code == ROW_OK || !utf8_valid(line.data, line.n) ||
                       (!json && memchr(line.data, 0, line.n)),
                   "UTF-8 was refused");
    }
}

void fuzz_rows(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    bool json = feed_byte(&feed) & 1;
    char *header = feed_text(&feed, '\n');
    row_parser_t *parser = NULL, *again = NULL, *csv = NULL;
    task_format_t format = json ? TASK_FORMAT_NDJSON : TASK_FORMAT_CSV;
    err_t err = row_parser_open(&parser, format, header);
    if (err) {
        FUZZ_CHECK(err == ERR_INVALID && !json && strstr(err_text(), "E_HEADER"), "%s", err_text());
        free(header);
        return;
    }
    if (row_parser_open(&again, format, header) ||
        row_parser_open(&csv, TASK_FORMAT_CSV, all_columns)) {
        FUZZ_CHECK(false, "%s", err_text());
    }
    while (feed_left(&feed) > 0) {
        const uint8_t *stop = memchr(feed.at, '\n', feed_left(&feed));
        size_t length = stop ? (size_t)(stop - feed.at) : feed_left(&feed);
        char *exact = (char *)fuzz_exact(feed.at, length);
        slice_t line = {exact, length};
        check_row(parser, again, line, json);
        if (json && utf8_valid(exact, length) && !memchr(exact, 0, length)) {
            check_json(line, csv);
        }
        free(exact);
        feed.at += length + (stop != NULL);
    }
    row_parser_destroy(&parser);
    row_parser_destroy(&again);
    row_parser_destroy(&csv);
    free(header);
}

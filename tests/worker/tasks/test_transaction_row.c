#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/buffer.h"
#include "worker/tasks/transaction_row.h"

#define HEADER "txn_id,ts,src,dst,amount,ccy,kind,doc_no,ref,bal_before,bal_after,label"

static row_parser_t *parser_of(task_format_t format)
{
    row_parser_t *parser = NULL;
    ck_assert_int_eq(row_parser_open(&parser, format, HEADER), ERR_OK);
    return parser;
}

/* "CODE", or "CODE field". */
static const char *verdict(row_parser_t *parser, const char *line, size_t n)
{
    static char text[200];
    transaction_t row;
    row_fault_t fault = {.field = ""};
    /* A copy of its own, so that the sanitizer sees a read beyond the line. */
    char *copy = mem_text_n(line, n);
    char *exact = malloc(n ? n : 1);
    memcpy(exact, copy, n);
    row_code_t code = row_parse(parser, (slice_t){exact, n}, &row, &fault);
    bool faulty = code != ROW_OK && code != ROW_BLANK;
    snprintf(text, sizeof text, "%s%s%s", row_code_name(code), faulty && fault.field[0] ? " " : "",
             faulty ? fault.field : "");
    free(exact);
    free(copy);
    return text;
}

static void csv_is(const char *line, const char *expected)
{
    row_parser_t *parser = parser_of(TASK_FORMAT_CSV);
    const char *got = verdict(parser, line, strlen(line));
    ck_assert_msg(strcmp(got, expected) == 0, "%s: %s, not %s", line, got, expected);
    row_parser_destroy(&parser);
}

static void json_is(const char *line, const char *expected)
{
    row_parser_t *parser = parser_of(TASK_FORMAT_NDJSON);
    const char *got = verdict(parser, line, strlen(line));
    ck_assert_msg(strcmp(got, expected) == 0, "%s: %s, not %s", line, got, expected);
    row_parser_destroy(&parser);
}

static buffer_t data_file(const char *name)
{
    char path[200];
    buffer_t out = {0};
    snprintf(path, sizeof path, "tests/worker/tasks/data/%s", name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s: run from the root of the repository", path);
    buffer_reserve(&out, 1 << 20);
    out.n = fread(out.data, 1, 1 << 20, file);
    fclose(file);
    return out;
}

/* Every line of the file against the verdict of the normative script; a repeated id is OK for one
 * row. */
static void check_file(const char *name, const char *kind, task_format_t format)
{
    buffer_t body = data_file(name), expected = data_file("bad_rows.json");
    json_t *all = json_loadb((char *)expected.data, expected.n, 0, NULL);
    const json_t *rows = json_object_get(json_object_get(all, kind), "rows");
    ck_assert_uint_gt(json_array_size(rows), 10);
    row_parser_t *parser = parser_of(format);
    const char *at = (char *)body.data, *end = at + body.n;
    bool csv = format == TASK_FORMAT_CSV;
    size_t checked = 0;
    for (int line_no = 1; at < end; line_no++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        slice_t line = {at, (size_t)(stop - at)};
        at = stop + 1;
        line.n -= csv && line.n > 0 && line.data[line.n - 1] == '\r';
        if (csv && line_no == 1) {
            continue;
        }
        const json_t *want = json_array_get(rows, checked++);
        ck_assert_int_eq(json_integer_value(json_object_get(want, "line")), line_no);
        const char *code = json_string_value(json_object_get(want, "code"));
        const char *field = json_string_value(json_object_get(want, "field"));
        transaction_t row;
        row_fault_t fault = {.field = ""};
        row_code_t got = row_parse(parser, line, &row, &fault);
        code = strcmp(code, "W_DUP_ID") == 0 ? "OK" : code;
        ck_assert_msg(strcmp(row_code_name(got), code) == 0, "%s line %d: %s, not %s", name,
                      line_no, row_code_name(got), code);
        ck_assert_str_eq(fault.field, field ? field : "");
        if (got == ROW_OK) {
            ck_assert_int_eq(row.amount, json_integer_value(json_object_get(want, "amount_minor")));
        }
    }
    ck_assert_uint_eq(checked, json_array_size(rows));
    row_parser_destroy(&parser);
    json_decref(all);
    buffer_free(&body);
    buffer_free(&expected);
}

START_TEST(test_bad_rows_csv_get_the_normative_verdicts)
{
    check_file("bad_rows.csv", "csv", TASK_FORMAT_CSV);
}
END_TEST

START_TEST(test_bad_rows_ndjson_get_the_normative_verdicts)
{
    check_file("bad_rows.ndjson", "ndjson", TASK_FORMAT_NDJSON);
}
END_TEST

START_TEST(test_first_failing_check_wins)
{
    csv_is("T,2023-04-05,A,B,x,gbp,,,,,,", "E_CCY ccy"); /* the amount's scale depends on it */
    csv_is(",x,,,x,x,,,,,,x", "E_REQUIRED txn_id");
    csv_is("T,x,,,x,x,,,,,,x", "E_TS_FORMAT ts");
    csv_is("T,2023-04-05,A,B,1,GBP,,,,x,y,z", "E_AMOUNT_FORMAT bal_before");
    csv_is("T,2023-04-05,A,B,1,GBP,,,,1,1.001,z", "E_AMOUNT_SCALE bal_after");
    csv_is("\xff\"", "E_ENCODING"); /* before the quote */
    csv_is("\"a,b", "E_CSV");       /* before the column count */
}
END_TEST

START_TEST(test_blank_lines_are_skipped_not_faults)
{
    csv_is("", "S_BLANK");
    csv_is(" ,\t,,", "S_BLANK");
    csv_is("\"\"", "E_COLS");
    json_is("", "S_BLANK");
    json_is(" \t\r\v\f", "S_BLANK");
    json_is(",,", "E_JSON");
}
END_TEST

START_TEST(test_row_size_is_a_limit_or_a_marker)
{
    char *line = malloc(65537);
    memset(line, 'x', 65537);
    row_parser_t *parser = parser_of(TASK_FORMAT_CSV);
    ck_assert_str_eq(verdict(parser, line, 65536), "E_COLS");
    ck_assert_str_eq(verdict(parser, line, 65537), "E_ROW_SIZE");
    ck_assert_str_eq(verdict(parser,
                             "\0"
                             "65537",
                             6),
                     "E_ROW_SIZE");
    ck_assert_str_eq(verdict(parser,
                             "\0"
                             "65536",
                             6),
                     "E_ENCODING"); /* just a line with a NUL */
    ck_assert_str_eq(verdict(parser, "\0", 1), "E_ENCODING");
    ck_assert_str_eq(verdict(parser,
                             "\0"
                             "7000x",
                             6),
                     "E_ENCODING");
    row_parser_destroy(&parser);
    free(line);
}
END_TEST

START_TEST(test_encoding_is_strict_utf8)
{
    static const char *const bad[] = {
        "\xc0\x80",         "\xc1\xbf",    "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80", "\xf5\x80",    "\x80",         "\xe2\x82",     "\xc3",
        "abcdefgh\xff",     "\xe2\x28\xa1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        csv_is(bad[i], "E_ENCODING");
        json_is(bad[i], "E_ENCODING");
    }
    csv_is("T,2023-04-05,\xe2\x82\xac,\xf0\x9f\x98\x80,1,GBP,,,,,,", "OK");
    csv_is("T,2023-04-05,\xed\x9f\xbf,\xf4\x8f\xbf\xbf,1,GBP,,,,,,", "OK");
}
END_TEST

START_TEST(test_amounts_follow_the_grammar_to_the_digit)
{
    static const struct {
        const char *text;
        int exponent;
        row_code_t code;
        int64_t minor;
    } cases[] = {
        {"0", 2, ROW_OK, 0},
        {"-0", 2, ROW_OK, 0},
        {"-0.01", 2, ROW_OK, -1},
        {"0.0100", 2, ROW_OK, 1},
        {"1.5", 3, ROW_OK, 1500},
        {"1.0", 0, ROW_OK, 1},
        {"1.5", 0, ROW_AMOUNT_SCALE, 0},
        {"1.005", 2, ROW_AMOUNT_SCALE, 0},
        {"1.00000", 2, ROW_AMOUNT_SCALE, 0},
        {"999999999999999.999", 3, ROW_OK, INT64_C(999999999999999999)},
        {"1000000000000000", 2, ROW_AMOUNT_RANGE, 0},
        {"1000000000000000.00000", 2, ROW_AMOUNT_RANGE, 0},
        {"01000000000000000", 2, ROW_AMOUNT_FORMAT, 0},
        {"00", 2, ROW_AMOUNT_FORMAT, 0},
        {"1.", 2, ROW_AMOUNT_FORMAT, 0},
        {".1", 2, ROW_AMOUNT_FORMAT, 0},
        {"-", 2, ROW_AMOUNT_FORMAT, 0},
        {"--1", 2, ROW_AMOUNT_FORMAT, 0},
        {"1e3", 2, ROW_AMOUNT_FORMAT, 0},
        {"1 ", 2, ROW_AMOUNT_FORMAT, 0},
        {"1.2.3", 2, ROW_AMOUNT_FORMAT, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t minor = 0;
        slice_t text = {cases[i].text, strlen(cases[i].text)};
        row_code_t code = parse_amount(text, cases[i].exponent, &minor);
        ck_assert_msg(code == cases[i].code && minor == cases[i].minor, "%s: %s %lld",
                      cases[i].text, row_code_name(code), (long long)minor);
    }
}
END_TEST

START_TEST(test_timestamps_follow_the_profile)
{
    static const struct {
        const char *text;
        row_code_t code;
        int32_t day, second;
    } cases[] = {
        {"1970-01-01", ROW_OK, 0, -1},
        {"1900-01-01", ROW_OK, -25567, -1},
        {"2199-12-31", ROW_OK, 84005, -1},
        {"2000-02-29T23:59:59Z", ROW_OK, 11016, 86399},
        {"2020-01-01T00:00:00.123456+14:59", ROW_OK, 18262, 0},
        {"2020-01-01T01:02:03-00:30", ROW_OK, 18262, 3723},
        {"1900-02-29", ROW_TS_RANGE, 0, 0},
        {"2200-01-01", ROW_TS_RANGE, 0, 0},
        {"1899-12-31", ROW_TS_RANGE, 0, 0},
        {"2020-00-10", ROW_TS_RANGE, 0, 0},
        {"2020-04-31", ROW_TS_RANGE, 0, 0},
        {"2020-01-01T24:00:00Z", ROW_TS_RANGE, 0, 0},
        {"2020-01-01T10:00:00+15:00", ROW_TS_RANGE, 0, 0},
        {"2020-01-01T10:00:00+10:60", ROW_TS_RANGE, 0, 0},
        {"2020-01-01T10:00:00", ROW_TS_FORMAT, 0, 0},
        {"2020-01-01T10:00:00.Z", ROW_TS_FORMAT, 0, 0},
        {"2020-01-01T10:00:00.1234567Z", ROW_TS_FORMAT, 0, 0},
        {"2020-01-01T10:00:00z", ROW_TS_FORMAT, 0, 0},
        {"2020-01-01T10:00Z", ROW_TS_FORMAT, 0, 0},
        {"2020-01-01Z", ROW_TS_FORMAT, 0, 0},
        {"2020-1-01", ROW_TS_FORMAT, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t day = 0, second = 0;
        slice_t text = {cases[i].text, strlen(cases[i].text)};
        row_code_t code = parse_timestamp(text, &day, &second);
        ck_assert_msg(code == cases[i].code && day == cases[i].day && second == cases[i].second,
                      "%s: %s %d %d", cases[i].text, row_code_name(code), day, second);
    }
}
END_TEST

START_TEST(test_civil_days_go_both_ways)
{
    int32_t expected = -25567;
    for (civil_t date = {1900, 1, 1}; date.year < 2200; expected++) {
        ck_assert_int_eq(day_from_civil(date), expected);
        civil_t back = civil_from_day(expected);
        ck_assert(back.year == date.year && back.month == date.month && back.day == date.day);
        /* The next civil day is the one whose number is one more: found by trying, not by the
         * formula under test. */
        static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = date.year % 4 == 0 && (date.year % 100 != 0 || date.year % 400 == 0);
        if (date.day < days[date.month - 1] + (date.month == 2 && leap)) {
            date.day++;
        } else {
            date.day = 1;
            date.year += date.month == 12;
            date.month = date.month % 12 + 1;
        }
    }
    ck_assert_int_eq(expected, 84006);
}
END_TEST

#define BASE "\"ts\":\"2023-04-05\",\"src\":\"A\",\"dst\":\"B\",\"ccy\":\"GBP\",\"amount\":\"1.00\""

START_TEST(test_ndjson_is_one_strict_flat_object)
{
    json_is("{\"txn_id\":\"N\"," BASE "}", "OK");
    json_is(" { \"txn_id\" : \"\\u004e\\ud83d\\ude00\\n\" , " BASE " } ", "E_FIELD txn_id");
    json_is("{\"txn_id\":\"\\u004e\\ud83d\\ude00\\\\\\/\"," BASE "}", "OK");
    json_is("{\"txn\\u005fid\":\"N\"," BASE ",\"label\":255}", "OK");
    json_is("{\"txn\\u005fid\":\"N\"," BASE ",\"txn_id\":\"N\"}", "E_JSON");
    json_is("{\"txn_id\":\"N\"," BASE ",}", "E_JSON");
    json_is("{\"txn_id\":\"N\"," BASE "} x", "E_JSON");
    json_is("{\"txn_id\":\"N\\x\"," BASE "}", "E_JSON");
    json_is("{\"txn_id\":\"N\t\"," BASE "}", "E_JSON");
    json_is("{\"txn_id\":\"\\u12g4\"," BASE "}", "E_JSON");
    json_is("{'txn_id':\"N\"," BASE "}", "E_JSON");
    json_is("{\"txn_id\":\"\\ud800\"," BASE "}", "E_FIELD txn_id");
    json_is("{}", "E_REQUIRED txn_id");
    json_is("\"x\"", "E_JSON");
    json_is("\xef\xbb\xbf{}", "E_JSON");
}
END_TEST

START_TEST(test_ndjson_types_and_unknown_keys)
{
    json_is("{\"zz\":1,\"memo\":1,\"txn_id\":2}", "E_COLS memo"); /* before the type */
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":NaN}", "E_TYPE kind");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":-Infinity}", "E_TYPE kind");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":1e999}", "E_TYPE kind");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":true}", "E_TYPE kind");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":[]}", "E_TYPE kind");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":{\"a\":[1,{}, \"x\"]}}", "E_TYPE kind");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":{\"a\":1,\"a\":2}}", "E_JSON");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":[1,]}", "E_JSON");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":[,1]}", "E_JSON");
    json_is("{\"txn_id\":\"N\"," BASE ",\"kind\":[1}}", "E_JSON");
    json_is("{\"txn_id\":\"N\"," BASE ",\"label\":-1}", "E_LABEL label");
    json_is("{\"txn_id\":\"N\"," BASE ",\"label\":-0}", "OK");
    json_is("{\"txn_id\":\"N\"," BASE ",\"label\":01}", "E_JSON");
    json_is("{\"txn_id\":\"N\"," BASE ",\"label\":99999999999999999999}", "E_LABEL label");
    json_is("{\"txn_id\":\"N\"," BASE ",\"label\":1.}", "E_JSON");
    json_is("{\"txn_id\":\"N\"," BASE ",\"label\":2e0}", "E_TYPE label");
    json_is("{\"txn_id\":\"N\"," BASE ",\"label\":\"7\",\"ref\":null}", "OK");
}
END_TEST

START_TEST(test_ndjson_depth_bomb_is_only_a_fault)
{
    static char bomb[65537];
    memset(bomb, '[', 65536);
    json_is(bomb, "E_JSON");
    int n = snprintf(bomb, sizeof bomb, "{\"kind\":");
    memset(bomb + n, '[', 30000);
    memset(bomb + n + 30000, ']', 30000);
    strcpy(bomb + n + 60000, "}");
    json_is(bomb, "E_TYPE kind");
    for (int i = 0; i < 13000; i++) {
        memcpy(bomb + 5 * i, "{\"a\":", 5);
    }
    bomb[65000] = 0;
    json_is(bomb, "E_JSON");
}
END_TEST

START_TEST(test_long_unknown_key_is_cut_at_a_character)
{
    char line[300] = "{\"";
    for (int i = 0; i < 40; i++) {
        strcat(line, "\xe2\x82\xac");
    }
    strcat(line, "\":1}");
    row_parser_t *parser = parser_of(TASK_FORMAT_NDJSON);
    transaction_t row;
    row_fault_t fault;
    ck_assert_int_eq(row_parse(parser, (slice_t){line, strlen(line)}, &row, &fault), ROW_COLS);
    ck_assert_uint_eq(strlen(fault.field), 63);
    row_parser_destroy(&parser);
}
END_TEST

START_TEST(test_columns_follow_the_header)
{
    row_parser_t *parser = NULL;
    ck_assert_int_eq(row_parser_open(&parser, TASK_FORMAT_CSV, "ccy,dst,\"src\",amount,ts,txn_id"),
                     ERR_OK);
    const char *line = "GBP,\"say \"\"b\"\"\",a,12.5,2024-02-29T10:00:00Z,T";
    transaction_t row;
    row_fault_t fault;
    ck_assert_int_eq(row_parse(parser, (slice_t){line, strlen(line)}, &row, &fault), ROW_OK);
    ck_assert_int_eq(row.amount, 1250);
    ck_assert_uint_eq(row.dst.n, 7);
    ck_assert_int_eq(memcmp(row.dst.data, "say \"b\"", 7), 0);
    ck_assert_int_eq(row.second, 36000);
    ck_assert(!row.has_before && row.label == -1 && row.kind.n == 0);
    row_parser_destroy(&parser);
    ck_assert_int_eq(row_parser_open(&parser, TASK_FORMAT_CSV, "ccy"), ERR_INVALID);
    ck_assert_ptr_null(parser);
}
END_TEST

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Bytes of three kinds: any, printable, and a good line with a few bytes changed, so that deep
 * checks are reached. */
static size_t random_line(char *line, size_t max)
{
    static const char good_csv[] = "T1,2023-04-05T10:00:00Z,A,\"B,\"\"\",1.25,GBP,K,D,R,1,2,3";
    static const char good_json[] = "{\"txn_id\":\"N\"," BASE ",\"kind\":[{\"a\":1}],\"label\":7}";
    uint64_t kind = next_random() % 4;
    size_t n = next_random() % 16 ? next_random() % 200 : next_random() % max;
    if (kind >= 2) {
        const char *good = kind == 2 ? good_csv : good_json;
        n = strlen(good);
        memcpy(line, good, n);
        for (uint64_t changes = next_random() % 4; changes > 0; changes--) {
            line[next_random() % n] = (char)next_random();
        }
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        line[i] = kind ? (char)(32 + next_random() % 95) : (char)next_random();
    }
    return n;
}

START_TEST(test_random_bytes_give_only_codes)
{
    random_state = (uint64_t)time(NULL);
    printf("test_random_bytes_give_only_codes: seed %llu\n", (unsigned long long)random_state);
    row_parser_t *parsers[] = {parser_of(TASK_FORMAT_CSV), parser_of(TASK_FORMAT_NDJSON)};
    int seen[ROW_CODES_N] = {0};
    char *line = malloc(4096);
    for (int i = 0; i < 100000; i++) {
        size_t n = random_line(line, 4096);
        for (int p = 0; p < 2; p++) {
            transaction_t row;
            row_fault_t fault;
            row_code_t code = row_parse(parsers[p], (slice_t){line, n}, &row, &fault);
            ck_assert_int_lt(code, ROW_CODES_N);
            seen[code]++;
            if (code != ROW_OK && code != ROW_BLANK) {
                ck_assert_int_eq(fault.code, code);
                ck_assert_uint_le(strlen(fault.field), FIELD_NAME_MAX);
            }
        }
    }
    ck_assert_int_gt(seen[ROW_OK], 0);
    ck_assert_int_gt(seen[ROW_ENCODING], 0);
    ck_assert_int_gt(seen[ROW_JSON], 0);
    ck_assert_int_gt(seen[ROW_CSV], 0);
    free(line);
    row_parser_destroy(&parsers[0]);
    row_parser_destroy(&parsers[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("transaction_row");
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 60);
    tcase_add_test(rules, test_bad_rows_csv_get_the_normative_verdicts);
    tcase_add_test(rules, test_bad_rows_ndjson_get_the_normative_verdicts);
    tcase_add_test(rules, test_first_failing_check_wins);
    tcase_add_test(rules, test_blank_lines_are_skipped_not_faults);
    tcase_add_test(rules, test_row_size_is_a_limit_or_a_marker);
    tcase_add_test(rules, test_encoding_is_strict_utf8);
    tcase_add_test(rules, test_amounts_follow_the_grammar_to_the_digit);
    tcase_add_test(rules, test_timestamps_follow_the_profile);
    tcase_add_test(rules, test_civil_days_go_both_ways);
    tcase_add_test(rules, test_ndjson_is_one_strict_flat_object);
    tcase_add_test(rules, test_ndjson_types_and_unknown_keys);
    tcase_add_test(rules, test_ndjson_depth_bomb_is_only_a_fault);
    tcase_add_test(rules, test_long_unknown_key_is_cut_at_a_character);
    tcase_add_test(rules, test_columns_follow_the_header);
    tcase_add_test(rules, test_random_bytes_give_only_codes);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

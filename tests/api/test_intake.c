/* intake and json_stream: what comes out does not depend on how the body was cut, and what is wrong
 * is named. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "api/intake.h"
#include "api/json_stream.h"

typedef struct {
    buffer_t items; /* all chunks, raw */
    buffer_t header;
    uint32_t chunks_n, items_n, last_n;
    uint64_t first_line, raw_max;
    err_t refuse;
} sink_t;

static err_t on_header(void *context, const char *line, size_t n, uint64_t first_line)
{
    sink_t *sink = context;
    buffer_add(&sink->header, line, n);
    sink->first_line = first_line;
    return sink->refuse;
}

static err_t on_chunk(void *context, uint32_t items_n, uint64_t raw_bytes, blob_t *data)
{
    sink_t *sink = context;
    ck_assert_uint_eq(ZSTD_getFrameContentSize(blob_data(data), blob_n(data)), raw_bytes);
    buffer_reserve(&sink->items, raw_bytes);
    size_t n =
        ZSTD_decompress(sink->items.data + sink->items.n, raw_bytes, blob_data(data), blob_n(data));
    ck_assert_uint_eq(n, raw_bytes);
    sink->items.n += n;
    sink->chunks_n++;
    sink->items_n += items_n;
    sink->last_n = items_n;
    sink->raw_max = raw_bytes > sink->raw_max ? raw_bytes : sink->raw_max;
    blob_unref(&data);
    return ERR_OK;
}

static void sink_free(sink_t *sink)
{
    buffer_free(&sink->items);
    buffer_free(&sink->header);
}

static intake_options_t options_of(intake_kind_t kind, bool strict)
{
    return (intake_options_t){.kind = kind,
                              .strict = strict,
                              .max_bytes = 1 << 30,
                              .max_expanded = 1 << 30,
                              .max_items = 1000000,
                              .chunk_items = 100,
                              .pointer = ""};
}

static err_t push_all(intake_t *intake, const char *data, size_t n, size_t room)
{
    while (n) {
        size_t used = 0;
        err_t err = intake_push(intake, data, n, room, &used);
        if (err) {
            return err;
        }
        ck_assert_uint_gt(used, 0);
        data += used;
        n -= used;
    }
    return ERR_OK;
}

/* Two pieces, cut at `cut`; place may be NULL. */
static err_t run(const intake_options_t *options, const char *data, size_t n, size_t cut,
                 sink_t *sink, intake_place_t *place)
{
    intake_t *intake = intake_new(
        options, (intake_sink_t){.context = sink, .header = on_header, .chunk = on_chunk});
    err_t err = push_all(intake, data, cut, 1 << 18);
    if (!err) {
        err = push_all(intake, data + cut, n - cut, 1 << 18);
    }
    if (!err) {
        err = intake_finish(intake);
    }
    if (place) {
        *place = intake_place(intake);
    }
    intake_destroy(&intake);
    return err;
}

static void check_cuts(intake_options_t options, const char *data, const char *wanted,
                       uint32_t items_n)
{
    size_t n = strlen(data);
    for (size_t cut = 0; cut <= n; cut++) {
        sink_t sink = {0};
        ck_assert_msg(run(&options, data, n, cut, &sink, NULL) == ERR_OK, "cut %zu: %s", cut,
                      err_text());
        ck_assert_uint_eq(sink.items_n, items_n);
        ck_assert_uint_eq(sink.items.n, strlen(wanted));
        ck_assert_int_eq(
            memcmp(sink.items.data ? (char *)sink.items.data : "", wanted, sink.items.n), 0);
        sink_free(&sink);
    }
}

/* Every cut is refused with the same code, line, pointer and a sentence that has `words`. */
static void check_refused(intake_options_t options, const char *data, err_t wanted, uint64_t line,
                          const char *pointer, const char *words)
{
    size_t n = strlen(data);
    for (size_t cut = 0; cut <= n; cut++) {
        sink_t sink = {0};
        intake_place_t place;
        err_t err = run(&options, data, n, cut, &sink, &place);
        ck_assert_msg(err == wanted, "cut %zu of %s: %s, %s", cut, data, err_code(err), err_text());
        ck_assert_msg(place.line == line, "cut %zu of %s: line %d", cut, data, (int)place.line);
        ck_assert_str_eq(place.pointer, pointer);
        ck_assert_msg(strstr(err_text(), words) != NULL, "%s", err_text());
        sink_free(&sink);
    }
}

/* -- lines ------------------------------------------------------------------------------------- */

START_TEST(test_csv_header_is_kept_apart_and_items_begin_at_line_2)
{
    const char *data = "\xEF\xBB\xBF"
                       "a,b\r\n1,2\r\n\r\n3,4";
    for (size_t cut = 0; cut <= strlen(data); cut++) {
        sink_t sink = {0};
        intake_options_t options = options_of(INTAKE_CSV, false);
        ck_assert_int_eq(run(&options, data, strlen(data), cut, &sink, NULL), ERR_OK);
        ck_assert_uint_eq(sink.header.n, 3);
        ck_assert_int_eq(memcmp(sink.header.data, "a,b", 3), 0);
        ck_assert_uint_eq(sink.first_line, 2);
        ck_assert_uint_eq(sink.items_n, 3);
        ck_assert_int_eq(memcmp(sink.items.data, "1,2\n\n3,4\n", sink.items.n), 0);
        sink_free(&sink);
    }
}
END_TEST

START_TEST(test_header_alone_or_nothing_gives_no_chunk)
{
    check_cuts(options_of(INTAKE_CSV, false), "a,b\n", "", 0);
    check_cuts(options_of(INTAKE_CSV, false), "", "", 0);
    check_cuts(options_of(INTAKE_NDJSON, false), "", "", 0);
    check_cuts(options_of(INTAKE_JSON, true), " [ ] ", "", 0);
}
END_TEST

START_TEST(test_header_the_sink_refuses_is_line_1)
{
    sink_t sink = {.refuse = ERR_INVALID};
    intake_options_t options = options_of(INTAKE_CSV, false);
    intake_place_t place;
    ck_assert_int_eq(run(&options, "x\n1\n", 4, 2, &sink, &place), ERR_INVALID);
    ck_assert_uint_eq(place.line, 1);
    sink_free(&sink);
}
END_TEST

START_TEST(test_header_over_the_limit_is_refused)
{
    buffer_t data = {0};
    for (int i = 0; i < 70000; i++) {
        buffer_add_text(&data, "h");
    }
    sink_t sink = {0};
    intake_options_t options = options_of(INTAKE_CSV, false);
    ck_assert_int_eq(run(&options, (char *)data.data, data.n, 10, &sink, NULL), ERR_INVALID);
    buffer_free(&data);
    sink_free(&sink);
}
END_TEST

START_TEST(test_lines_are_not_looked_into_unless_strict)
{
    check_cuts(options_of(INTAKE_NDJSON, false), "{\"a\":\n\nx\n \n", "{\"a\":\n\nx\n \n", 4);
    check_cuts(options_of(INTAKE_NDJSON, true),
               "{\"a\":1}\n\n12345678901234567890123 \r\n \t\n\"x\"",
               "{\"a\":1}\n12345678901234567890123 \n\"x\"\n", 3);
}
END_TEST

START_TEST(test_strict_line_that_is_no_json_is_named)
{
    intake_options_t strict = options_of(INTAKE_NDJSON, true);
    check_refused(strict, "{}\n\n{\"a\":}\n{}\n", ERR_INVALID, 3, "", "line 3: ");
    check_refused(strict, "{}\n{\"a\":1,\"a\":2}\n", ERR_INVALID, 2, "", "comes twice");
    check_refused(strict, "1 2\n", ERR_INVALID, 1, "", "line 1: ");
    check_refused(strict, "[1\n]\n", ERR_INVALID, 1, "", "line 1: ");
    check_refused(strict, "{}\n\"\xC0\xAF\"", ERR_INVALID, 2, "", "UTF-8");
    check_refused(strict, "\"a\"\\\n", ERR_INVALID, 1, "",
                  "line 1: "); /* not read beyond its end */
    check_refused(strict, "{}\ntrue \"\n", ERR_INVALID, 2, "", "follows the end");
    check_refused(strict, "[1,\f2]\n", ERR_INVALID, 1, "", "0x0c is no blank");
}
END_TEST

START_TEST(test_chunks_close_at_their_items)
{
    buffer_t data = {0};
    for (int i = 0; i < 350; i++) {
        buffer_printf(&data, "%d\n", i);
    }
    intake_options_t options = options_of(INTAKE_NDJSON, false);
    options.chunk_items = 137;
    sink_t sink = {0};
    ck_assert_int_eq(run(&options, (char *)data.data, data.n, 99, &sink, NULL), ERR_OK);
    ck_assert_uint_eq(sink.chunks_n, 3);
    ck_assert_uint_eq(sink.items_n, 350);
    ck_assert_uint_eq(sink.last_n, 350 - 2 * 137);
    ck_assert_uint_eq(sink.items.n, data.n);
    ck_assert_int_eq(memcmp(sink.items.data, data.data, data.n), 0);
    sink_free(&sink);
    buffer_free(&data);
}
END_TEST

START_TEST(test_a_chunk_of_large_lines_closes_at_7_mib)
{
    char *line = malloc(60001);
    memset(line, 'x', 60000);
    line[60000] = '\n';
    intake_options_t options = options_of(INTAKE_NDJSON, false);
    options.chunk_items = 1500;
    sink_t sink = {0};
    intake_t *intake = intake_new(
        &options, (intake_sink_t){.context = &sink, .header = on_header, .chunk = on_chunk});
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(push_all(intake, line, 60001, 1 << 18), ERR_OK);
    }
    ck_assert_int_eq(intake_finish(intake), ERR_OK);
    ck_assert_uint_eq(intake_items(intake), 300);
    ck_assert_uint_eq(sink.items_n, 300);
    ck_assert_uint_eq(sink.chunks_n, 3);
    ck_assert_uint_lt(sink.raw_max, (7 << 20) + 60001);
    intake_destroy(&intake);
    sink_free(&sink);
    free(line);
}
END_TEST

/* -- limits ------------------------------------------------------------------------------------ */

START_TEST(test_each_limit_is_kept)
{
    sink_t sink = {0};
    intake_options_t options = options_of(INTAKE_NDJSON, false);
    options.max_items = 2;
    ck_assert_int_eq(run(&options, "1\n2\n", 4, 1, &sink, NULL), ERR_OK);
    ck_assert_int_eq(run(&options, "1\n2\n3", 5, 1, &sink, NULL), ERR_TOO_LARGE);
    options = options_of(INTAKE_NDJSON, false);
    options.max_bytes = 4;
    ck_assert_int_eq(run(&options, "1\n2\n", 4, 1, &sink, NULL), ERR_OK);
    ck_assert_int_eq(run(&options, "1\n2\n3", 5, 1, &sink, NULL), ERR_TOO_LARGE);
    options = options_of(INTAKE_NDJSON, false);
    options.max_expanded = 4;
    ck_assert_int_eq(run(&options, "1\n2\n", 4, 1, &sink, NULL), ERR_OK);
    ck_assert_int_eq(run(&options, "1\n2\n3", 5, 1, &sink, NULL), ERR_TOO_LARGE);
    sink_free(&sink);
}
END_TEST

static buffer_t zip(const void *data, size_t n)
{
    buffer_t out = {0};
    z_stream stream = {0};
    ck_assert_int_eq(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    buffer_reserve(&out, deflateBound(&stream, n) + 64);
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)n;
    stream.next_out = out.data;
    stream.avail_out = (uInt)out.capacity;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.n = out.capacity - stream.avail_out;
    deflateEnd(&stream);
    return out;
}

START_TEST(test_gzip_gives_the_same_items_cut_at_each_byte)
{
    const char *data = "a\nbb\n\nccc\r\nd";
    buffer_t in = zip(data, strlen(data));
    intake_options_t options = options_of(INTAKE_NDJSON, false);
    options.encoding = ENCODING_GZIP;
    for (size_t cut = 0; cut <= in.n; cut++) {
        sink_t sink = {0};
        ck_assert_int_eq(run(&options, (char *)in.data, in.n, cut, &sink, NULL), ERR_OK);
        ck_assert_uint_eq(sink.items_n, 5);
        ck_assert_int_eq(memcmp(sink.items.data, "a\nbb\n\nccc\nd\n", sink.items.n), 0);
        sink_free(&sink);
    }
    for (size_t n = 0; n < in.n; n++) {
        sink_t sink = {0};
        ck_assert_int_eq(run(&options, (char *)in.data, n, 0, &sink, NULL), ERR_MALFORMED);
        sink_free(&sink);
    }
    buffer_free(&in);
}
END_TEST

START_TEST(test_a_bomb_is_refused_and_a_push_gives_no_more_than_its_room)
{
    size_t n = 64 << 20;
    char *zeros = calloc(1, n);
    buffer_t in = zip(zeros, n);
    free(zeros);
    intake_options_t options = options_of(INTAKE_NDJSON, false);
    options.encoding = ENCODING_GZIP;
    options.max_expanded = 1 << 20;
    sink_t sink = {0};
    intake_t *intake = intake_new(
        &options, (intake_sink_t){.context = &sink, .header = on_header, .chunk = on_chunk});
    size_t used = 0;
    ck_assert_int_eq(intake_push(intake, in.data, in.n, 1 << 18, &used), ERR_OK);
    ck_assert_uint_lt(used, in.n / 2);
    ck_assert_uint_ge(intake_expanded(intake), 1 << 18);
    ck_assert_uint_le(intake_expanded(intake), (1 << 18) + 65536);
    ck_assert_int_eq(push_all(intake, (char *)in.data + used, in.n - used, 1 << 18), ERR_TOO_LARGE);
    ck_assert_uint_le(intake_expanded(intake), 1 << 20);
    intake_destroy(&intake);
    sink_free(&sink);
    buffer_free(&in);
}
END_TEST

/* -- arrays ------------------------------------------------------------------------------------ */

START_TEST(test_array_elements_keep_their_bytes)
{
    check_cuts(
        options_of(INTAKE_JSON, true),
        " [ {\"a\" : [1, 2,\n {\"b\":\"]}\\\",\\u00e9\"}]},\r\n  12345678901234567890123 , "
        "1e400,-0.10,\n"
        "\"x\\ny\", null ,true, [], \"\xC3\xA9\" ] \n",
        "{\"a\" : [1, 2,  {\"b\":\"]}\\\",\\u00e9\"}]}\n12345678901234567890123\n1e400\n-0.10\n"
        "\"x\\ny\"\nnull\ntrue\n[]\n\"\xC3\xA9\"\n",
        9);
}
END_TEST

START_TEST(test_array_for_a_line_task_gives_texts_and_compact_objects)
{
    check_cuts(options_of(INTAKE_JSON, false),
               "[\"a,b\\u002c\\\"c\\\"\", {\"a\" : \" 1 \\\" \" ,\n\t\"b\":[ 1 , 2 ]}, \"\"]",
               "a,b,\"c\"\n{\"a\":\" 1 \\\" \",\"b\":[1,2]}\n\n", 3);
    intake_options_t lines = options_of(INTAKE_JSON, false);
    check_refused(lines, "[\"a\", \"b\\nc\"]", ERR_INVALID, 1, "/1", "newline");
    check_refused(lines, "[\"a\",\n 7]", ERR_INVALID, 2, "/1", "object or a string");
}
END_TEST

START_TEST(test_what_is_not_strict_json_is_refused_with_its_place)
{
    intake_options_t strict = options_of(INTAKE_JSON, true);
    check_refused(strict, "[1,\n{\"a\":1,\n\"\\u0061\":2}]", ERR_MALFORMED, 2, "/1", "comes twice");
    check_refused(strict, "[1,2,]", ERR_MALFORMED, 1, "/2", "");
    check_refused(strict, "[01]", ERR_MALFORMED, 1, "/1", "");
    check_refused(strict, "[\"\\ud800\"]", ERR_MALFORMED, 1, "/0", "surrogate");
    check_refused(strict, "[\"\\udc00\\ud800\"]", ERR_MALFORMED, 1, "/0", "surrogate");
    check_refused(strict, "[1,\"\xED\xA0\x80\"]", ERR_MALFORMED, 1, "/1", "");
    check_refused(strict, "[1,\"\xF5\x80\x80\x80\"]", ERR_MALFORMED, 1, "/1", "");
    check_refused(strict, "[1]\n[2]", ERR_MALFORMED, 2, "/1", "");
    check_refused(strict, "[1] x", ERR_MALFORMED, 1, "/1", "");
    check_refused(strict, "[1]\n \"", ERR_MALFORMED, 2, "/1", "follows the end");
    check_refused(strict, "[1] tr", ERR_MALFORMED, 1, "/1", "follows the end");
    check_refused(strict, "[1,\v2]", ERR_MALFORMED, 1, "/1", "0x0b is no blank");
    check_refused(strict, "\f[1]", ERR_MALFORMED, 1, "/0", "0x0c is no blank");
    check_refused(strict, "[1,\n\n", ERR_MALFORMED, 3, "/1", "");
    check_refused(strict, "[\"\t\"]", ERR_MALFORMED, 1, "/0", "");
    check_refused(strict, "[NaN]", ERR_MALFORMED, 1, "/0", "");
    check_refused(strict, "[1]/* */", ERR_MALFORMED, 1, "/1", "");
    check_refused(strict, "{\"items\":[]}", ERR_INVALID, 1, "/0", "array");
    check_refused(strict, "7 ", ERR_INVALID, 1, "/0", "array");
    check_refused(strict, "", ERR_MALFORMED, 1, "/0", "");
}
END_TEST

START_TEST(test_truncated_array_is_malformed_at_each_byte)
{
    const char *data = "[{\"a\":[1,2,{\"b\":\"c\"}]},12,\"x\",null]";
    intake_options_t strict = options_of(INTAKE_JSON, true);
    for (size_t n = 0; n < strlen(data); n++) {
        sink_t sink = {0};
        ck_assert_int_eq(run(&strict, data, n, n / 2, &sink, NULL), ERR_MALFORMED);
        sink_free(&sink);
    }
}
END_TEST

START_TEST(test_same_key_in_different_objects_is_fine)
{
    check_cuts(options_of(INTAKE_JSON, true),
               "[{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":2}]},{\"a\":3}]",
               "{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":2}]}\n{\"a\":3}\n", 2);
}
END_TEST

START_TEST(test_ten_thousand_keys_and_then_one_twice)
{
    buffer_t data = {0};
    buffer_add_text(&data, "[{");
    for (int i = 0; i < 5000; i++) {
        buffer_printf(&data, "\"k%d\":1,", i);
    }
    size_t n = data.n;
    intake_options_t strict = options_of(INTAKE_JSON, true);
    sink_t sink = {0};
    buffer_add_text(&data, "\"last\":1}]");
    ck_assert_int_eq(run(&strict, (char *)data.data, data.n, 7, &sink, NULL), ERR_OK);
    data.n = n;
    buffer_add_text(&data, "\"k17\":1}]");
    ck_assert_int_eq(run(&strict, (char *)data.data, data.n, 7, &sink, NULL), ERR_MALFORMED);
    sink_free(&sink);
    buffer_free(&data);
}
END_TEST

START_TEST(test_depth_is_bounded)
{
    for (int depth = 63; depth <= 100000; depth = depth < 66 ? depth + 1 : depth * 10) {
        buffer_t data = {0};
        for (int i = 0; i < depth + 1; i++) {
            buffer_add_text(&data, "[");
        }
        for (int i = 0; i < depth + 1; i++) {
            buffer_add_text(&data, "]");
        }
        sink_t sink = {0};
        intake_options_t strict = options_of(INTAKE_JSON, true);
        ck_assert_int_eq(run(&strict, (char *)data.data, data.n, 1, &sink, NULL),
                         depth <= 64 ? ERR_OK : ERR_INVALID);
        ck_assert_int_eq(json_line_check((char *)data.data + 1, data.n - 2),
                         depth <= 64 ? ERR_OK : ERR_INVALID);
        sink_free(&sink);
        buffer_free(&data);
    }
}
END_TEST

START_TEST(test_an_element_over_the_limit_is_refused_and_not_kept)
{
    for (size_t n = 65534; n <= 65535; n++) {
        buffer_t data = {0};
        buffer_add_text(&data, "[\"");
        buffer_reserve(&data, n);
        memset(data.data + data.n, 'x', n);
        data.n += n;
        buffer_add_text(&data, "\"]");
        intake_options_t strict = options_of(INTAKE_JSON, true);
        for (size_t cut = 0; cut < 3; cut++) {
            sink_t sink = {0};
            err_t err = run(&strict, (char *)data.data, data.n, cut * 30000, &sink, NULL);
            ck_assert_int_eq(err, n == 65534 ? ERR_OK : ERR_TOO_LARGE);
            sink_free(&sink);
        }
        buffer_free(&data);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("intake");
    TCase *test = tcase_create("intake");
    tcase_set_timeout(test, 60);
    tcase_add_test(test, test_csv_header_is_kept_apart_and_items_begin_at_line_2);
    tcase_add_test(test, test_header_alone_or_nothing_gives_no_chunk);
    tcase_add_test(test, test_header_the_sink_refuses_is_line_1);
    tcase_add_test(test, test_header_over_the_limit_is_refused);
    tcase_add_test(test, test_lines_are_not_looked_into_unless_strict);
    tcase_add_test(test, test_strict_line_that_is_no_json_is_named);
    tcase_add_test(test, test_chunks_close_at_their_items);
    tcase_add_test(test, test_a_chunk_of_large_lines_closes_at_7_mib);
    tcase_add_test(test, test_each_limit_is_kept);
    tcase_add_test(test, test_gzip_gives_the_same_items_cut_at_each_byte);
    tcase_add_test(test, test_a_bomb_is_refused_and_a_push_gives_no_more_than_its_room);
    tcase_add_test(test, test_array_elements_keep_their_bytes);
    tcase_add_test(test, test_array_for_a_line_task_gives_texts_and_compact_objects);
    tcase_add_test(test, test_what_is_not_strict_json_is_refused_with_its_place);
    tcase_add_test(test, test_truncated_array_is_malformed_at_each_byte);
    tcase_add_test(test, test_same_key_in_different_objects_is_fine);
    tcase_add_test(test, test_ten_thousand_keys_and_then_one_twice);
    tcase_add_test(test, test_depth_is_bounded);
    tcase_add_test(test, test_an_element_over_the_limit_is_refused_and_not_kept);
    suite_add_tcase(suite, test);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

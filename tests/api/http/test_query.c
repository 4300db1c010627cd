/* query and problem: what stands in an address is read strictly, and errors name the field. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/envelope.h"
#include "api/http/problem.h"
#include "api/http/query.h"

static err_t parse(const char *raw, query_t *out)
{
    *out = (query_t){0};
    return query_parse(out, raw);
}

START_TEST(test_pairs_are_decoded)
{
    query_t query;
    ck_assert_int_eq(parse("task=noop&param.x=%5B1%2C+2%5D&a%62c=%C3%A9&&empty=&bare", &query),
                     ERR_OK);
    ck_assert_str_eq(query_get(&query, "task"), "noop");
    ck_assert_str_eq(query_get(&query, "param.x"), "[1, 2]");
    ck_assert_str_eq(query_get(&query, "abc"), "\xC3\xA9");
    ck_assert_str_eq(query_get(&query, "empty"), "");
    ck_assert_str_eq(query_get(&query, "bare"), "");
    ck_assert_ptr_null(query_get(&query, "nothing"));
    query_free(&query);
    ck_assert_int_eq(parse(NULL, &query), ERR_OK);
    ck_assert_int_eq(query.n, 0);
    query_free(&query);
}
END_TEST

START_TEST(test_bad_escapes_are_malformed)
{
    static const char *const bad[] = {"a=%",        "a=%4",     "a=%zz",       "a=%00",
                                      "%00=a",      "a=%C0%AF", "a=%ED%A0%80", "a=%FF",
                                      "a=\xC3\x28", "a=1&a=2",  "a=1&%61=2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        query_t query;
        ck_assert_msg(parse(bad[i], &query) == ERR_MALFORMED, "%s", bad[i]);
    }
}
END_TEST

START_TEST(test_unknown_name_is_refused_with_the_nearest)
{
    static const char *const names[] = {"limit", "status", "param.", NULL};
    query_t query;
    ck_assert_int_eq(parse("limit=1&param.anything=2", &query), ERR_OK);
    ck_assert_int_eq(query_only(&query, names), ERR_OK);
    query_free(&query);
    ck_assert_int_eq(parse("limt=1", &query), ERR_OK);
    ck_assert_int_eq(query_only(&query, names), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(err_text(), "'limit'"));
    query_free(&query);
    ck_assert_int_eq(parse("param.=1", &query), ERR_OK);
    ck_assert_int_eq(query_only(&query, names), ERR_INVALID);
    query_free(&query);
}
END_TEST

START_TEST(test_numbers_are_whole_and_in_bounds)
{
    static const char *const bad[] = {"n=",
                                      "n=x",
                                      "n=1x",
                                      "n=+1",
                                      "n=+1",
                                      "n=1.5",
                                      "n=-",
                                      "n=6",
                                      "n=-6",
                                      "n=%201",
                                      "n=99999999999999999999"};
    query_t query;
    int64_t n = 4;
    ck_assert_int_eq(parse("n=-5", &query), ERR_OK);
    ck_assert_int_eq(query_number(&query, "absent", -5, 5, &n), ERR_OK);
    ck_assert_int_eq(n, 4);
    ck_assert_int_eq(query_number(&query, "n", -5, 5, &n), ERR_OK);
    ck_assert_int_eq(n, -5);
    query_free(&query);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(parse(bad[i], &query), ERR_OK);
        ck_assert_msg(query_number(&query, "n", -5, 5, &n) == ERR_INVALID, "%s", bad[i]);
        query_free(&query);
    }
}
END_TEST

static json_t *problem(err_t err, const char *detail, const problem_place_t *place)
{
    reply_t reply = {0};
    problem_write(&reply, err, detail, place);
    json_t *out = json_loadb((char *)reply.body.data, reply.body.n, 0, NULL);
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(reply.status, (unsigned)json_integer_value(json_object_get(out, "status")));
    reply_free(&reply);
    return out;
}

static const char *first_error(const json_t *body, const char *key)
{
    return json_string_value(
        json_object_get(json_array_get(json_object_get(body, "errors"), 0), key));
}

START_TEST(test_a_problem_names_field_line_or_pointer)
{
    json_t *body = problem(ERR_INVALID, "params.benford_min: unknown parameter", NULL);
    ck_assert_str_eq(first_error(body, "field"), "params.benford_min");
    ck_assert_str_eq(json_string_value(json_object_get(body, "code")), "invalid");
    json_decref(body);
    body = problem(ERR_INVALID, "task 'nop' is unknown; did you mean 'noop'?", NULL);
    ck_assert_str_eq(first_error(body, "field"), "task");
    json_decref(body);
    problem_place_t place = {.pointer = "/17", .line = 3};
    body = problem(ERR_MALFORMED, "bad", &place);
    ck_assert_str_eq(first_error(body, "pointer"), "/17");
    ck_assert_ptr_null(first_error(body, "field"));
    json_decref(body);
    body = problem(ERR_INVALID, "the submission has no items", NULL);
    ck_assert_ptr_null(json_object_get(body, "errors"));
    json_decref(body);
    body = problem(ERR_NOT_FOUND, "not UTF-8: \xFF", NULL);
    ck_assert_ptr_nonnull(json_string_value(json_object_get(body, "detail")));
    json_decref(body);
}
END_TEST

START_TEST(test_an_envelope_keeps_the_bytes_of_its_items)
{
    const char *text =
        "{\"params\": {\"items\": [1]}, \"priority\": -7,\n \"items\" : [ 12345678901234567890,"
        " \"]\\\"\", {\"items\": [2]}] , \"task\": \"noop\", \"chunk_items\": 137}";
    envelope_t envelope;
    ck_assert_int_eq(envelope_parse(&envelope, text, strlen(text)), ERR_OK);
    ck_assert_str_eq(envelope.task, "noop");
    ck_assert_int_eq(envelope.priority, -7);
    ck_assert_uint_eq(envelope.chunk_items, 137);
    ck_assert_uint_eq(envelope.batch_items, 0);
    ck_assert_uint_eq(envelope.items_line, 2);
    const char *wanted = "[ 12345678901234567890, \"]\\\"\", {\"items\": [2]}]";
    ck_assert_uint_eq(envelope.items_n, strlen(wanted));
    ck_assert_int_eq(memcmp(envelope.items, wanted, envelope.items_n), 0);
    ck_assert_uint_eq(json_object_size(envelope.params), 1);
    envelope_free(&envelope);
}
END_TEST

START_TEST(test_an_envelope_that_is_wrong_is_refused_at_each_cut)
{
    static const struct {
        const char *text;
        err_t err;
    } bad[] = {
        {"{\"task\":\"a\",\"items\":[1],\"items\":[2]}", ERR_MALFORMED},
        {"{\"task\":\"a\",\"items\":[1]x}", ERR_MALFORMED},
        {"{\"task\":\"a\",\"items\":{}}", ERR_INVALID},
        {"{\"task\":\"a\",\"items\":null}", ERR_INVALID},
        {"{\"task\":7}", ERR_INVALID},
        {"{\"items\":[]}", ERR_INVALID},
        {"{\"task\":\"a\",\"itmes\":[]}", ERR_INVALID},
        {"{\"task\":\"a\",\"params\":[]}", ERR_INVALID},
        {"{\"task\":\"a\",\"priority\":101}", ERR_INVALID},
        {"{\"task\":\"a\",\"priority\":1.0}", ERR_INVALID},
        {"{\"task\":\"a\",\"chunk_items\":99}", ERR_INVALID},
        {"{\"task\":\"a\",\"batch_items\":4294967396}", ERR_INVALID},
        {"[1]", ERR_INVALID},
        {"", ERR_MALFORMED},
    };
    envelope_t envelope;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(envelope_parse(&envelope, bad[i].text, strlen(bad[i].text)) == bad[i].err,
                      "%s: %s", bad[i].text, err_text());
    }
    const char *good = "{\"task\": \"a\", \"items\": [\"\\\\\", {}], \"params\": {}}";
    for (size_t n = 0; n < strlen(good); n++) {
        char *cut = malloc(n); /* so that reading one byte too far is seen */
        memcpy(cut, good, n);
        ck_assert_int_eq(envelope_parse(&envelope, cut, n), ERR_MALFORMED);
        free(cut);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("query");
    TCase *test = tcase_create("query");
    tcase_add_test(test, test_pairs_are_decoded);
    tcase_add_test(test, test_bad_escapes_are_malformed);
    tcase_add_test(test, test_unknown_name_is_refused_with_the_nearest);
    tcase_add_test(test, test_numbers_are_whole_and_in_bounds);
    tcase_add_test(test, test_a_problem_names_field_line_or_pointer);
    tcase_add_test(test, test_an_envelope_keeps_the_bytes_of_its_items);
    tcase_add_test(test, test_an_envelope_that_is_wrong_is_refused_at_each_cut);
    suite_add_tcase(suite, test);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

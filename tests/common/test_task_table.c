#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/csv.h"
#include "common/sha256.h"
#include "common/task_table.h"

static err_t check_params_text(const char *task, const char *text)
{
    json_t *params = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(params);
    err_t err = task_check_params(task_spec_find(task), params);
    json_decref(params);
    return err;
}

static err_t check_header_text(const char *line)
{
    return task_check_header(task_spec_find("process_transaction_batch"), line, strlen(line));
}

static void refused(err_t err, const char *part)
{
    ck_assert_int_eq(err, ERR_INVALID);
    ck_assert_msg(strstr(err_text(), part), "\"%s\" does not say \"%s\"", err_text(), part);
}

START_TEST(test_every_task_is_found_by_its_name)
{
    for (int i = 0; i < TASK_IDS_N; i++) {
        ck_assert_ptr_eq(task_spec_find(task_spec_at(i)->name), task_spec_at(i));
        ck_assert_int_eq(task_spec_at(i)->id, i);
    }
    ck_assert_ptr_null(task_spec_find("no_such_task"));
    ck_assert_str_eq(task_spec_find("process_transaction_batch")->finalize,
                     "finalize_transactions");
    ck_assert_int_eq(task_spec_find("process_transaction_batch")->rate_n, 10);
}
END_TEST

START_TEST(test_params_in_their_bounds_are_taken)
{
    const char *task = "process_transaction_batch";
    ck_assert_int_eq(task_check_params(task_spec_find(task), NULL), ERR_OK);
    ck_assert_int_eq(check_params_text(task, "{}"), ERR_OK);
    ck_assert_int_eq(check_params_text(task, "{\"profile\":\"transfer\",\"benford_min_minor\":1,"
                                             "\"thresholds_minor\":[2500000,50000],"
                                             "\"credit_kinds\":[\"CASH_IN\"],\"write_scores\":true,"
                                             "\"fan_min\":1000000,\"thresholds_minor\":[]}"),
                     ERR_OK);
    ck_assert_int_eq(check_params_text("noop", "{\"sleep_ms\":600000}"), ERR_OK);
}
END_TEST

START_TEST(test_params_out_of_bounds_name_parameter_and_bounds)
{
    const char *task = "process_transaction_batch";
    refused(check_params_text("noop", "{\"sleep_ms\":600001}"), "600001 is not in 0..600000");
    refused(check_params_text("noop", "{\"sleep_ms\":-1}"), "params.sleep_ms");
    refused(check_params_text("noop", "{\"sleep_ms\":1.0}"), "whole number");
    refused(check_params_text("noop", "{\"sleep_ms\":\"1\"}"), "whole number");
    refused(check_params_text(task, "{\"profile\":\"a\"}"), "one of ap|pcard|card|transfer");
    refused(check_params_text(task, "{\"profile\":\"\"}"), "one of ap|pcard|card|transfer");
    refused(check_params_text(task, "{\"profile\":\"ap|pcard\"}"), "one of");
    refused(check_params_text(task, "{\"profile\":1}"), "one of");
    refused(check_params_text(task, "{\"thresholds_minor\":[5,0]}"), "thresholds_minor[1]");
    refused(check_params_text(task, "{\"thresholds_minor\":5}"), "list");
    refused(check_params_text(task, "{\"thresholds_minor\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}"),
            "17 elements, at most 16");
    refused(check_params_text(task, "{\"credit_kinds\":[1]}"), "credit_kinds[0]");
    refused(check_params_text(task, "{\"credit_kinds\":[\"\"]}"), "1 to 64 bytes");
    refused(check_params_text(task, "{\"write_scores\":1}"), "true or false");
    refused(check_params_text(task, "[]"), "object");
}
END_TEST

START_TEST(test_unknown_param_names_the_nearest)
{
    refused(check_params_text("noop", "{\"sleep\":1}"), "unknown parameter");
    refused(check_params_text("noop", "{\"sleepms\":1}"), "nearest is sleep_ms");
    refused(check_params_text("noop", "{\"q\":1}"), "nearest is sleep_ms"); /* however far */
    refused(check_params_text("process_transaction_batch", "{\"treshold_minor\":[1]}"),
            "nearest is thresholds_minor");
    refused(check_params_text("process_transaction_batch", "{\"sleep_ms\":1}"), "sleep_ms");
    refused(check_params_text("hang", "{\"x\":1}"), "takes no parameters");
}
END_TEST

START_TEST(test_nearest_name_is_near_or_null)
{
    const char *names[] = {"queue", "worker", "broker"};
    ck_assert_str_eq(nearest_name("wroer", names, 3), "worker");
    ck_assert_str_eq(nearest_name("brokers", names, 3), "broker");
    ck_assert_str_eq(nearest_name("sched", (const char *[]){"health", "scheduler_one"}, 2),
                     "scheduler_one");
    ck_assert_ptr_null(nearest_name("zzzzzz", names, 3));
    ck_assert_ptr_null(nearest_name("", names, 3));
    char lengthy[200];
    memset(lengthy, 'w', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = 0;
    ck_assert_ptr_null(nearest_name(lengthy, names, 3));
}
END_TEST

START_TEST(test_header_takes_any_order_and_quotes)
{
    ck_assert_int_eq(check_header_text("txn_id,ts,src,dst,amount,ccy,kind,doc_no,ref,bal_before,"
                                       "bal_after,label"),
                     ERR_OK);
    ck_assert_int_eq(check_header_text("ccy,\"amount\",dst,src,ts,\"txn_id\""), ERR_OK);
    ck_assert_int_eq(task_check_header(task_spec_find("noop"), "what,ever", 9), ERR_OK);
}
END_TEST

START_TEST(test_header_faults_say_e_header_and_the_column)
{
    refused(check_header_text("txn_id,ts,src,dst,amount"), "E_HEADER: missing column \"ccy\"");
    refused(check_header_text(""), "E_HEADER: unknown column \"\"");
    refused(check_header_text("txn_id,ts,src,dst,amount,ccy,memo"), "unknown column \"memo\"");
    refused(check_header_text("txn_id,ts,src,dst,amuont,ccy"), "nearest is \"amount\"");
    refused(check_header_text("txn_id,ts,src,dst,amount,ccy,ccy"), "repeated column \"ccy\"");
    refused(check_header_text("\"txn_id,ts"), "quote");
    refused(check_header_text("txn\"_id,ts"), "quote");
    refused(check_header_text("txn_id,ts,src,dst,amount,ccy\x1b[31m"), "ccy?[31m");
    refused(check_header_text("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a"), "E_HEADER");
    char *lengthy = calloc(1, 70000);
    memset(lengthy, 'x', 69999);
    refused(check_header_text(lengthy), "at most 65536");
    free(lengthy);
}
END_TEST

static int split_text(const char *line, slice_t *fields)
{
    static char scratch[100];
    return csv_split((slice_t){line, strlen(line)}, fields, 4, scratch);
}

START_TEST(test_csv_fields_are_cut_as_rfc_4180_says)
{
    slice_t f[4];
    ck_assert_int_eq(split_text("", f), 1);
    ck_assert_uint_eq(f[0].n, 0);
    ck_assert_int_eq(split_text("a,,c,", f), 4);
    ck_assert_uint_eq(f[3].n, 0);
    ck_assert_int_eq(split_text("1,2,3,4,5,6", f), 6);
    ck_assert_int_eq(split_text("\"a,b\",\"say \"\"hi\"\"\",\"\",\"\"\"\"", f), 4);
    ck_assert_int_eq(strncmp(f[0].data, "a,b", f[0].n), 0);
    ck_assert_uint_eq(f[1].n, 8);
    ck_assert_int_eq(strncmp(f[1].data, "say \"hi\"", 8), 0);
    ck_assert_uint_eq(f[2].n, 0);
    ck_assert_uint_eq(f[3].n, 1);
    ck_assert_int_eq(f[3].data[0], '"');
    ck_assert_int_eq(split_text("\"a", f), -1);
    ck_assert_int_eq(split_text("\"a\"\"", f), -1);
    ck_assert_int_eq(split_text("\"a\"b", f), -1);
    ck_assert_int_eq(split_text("a\"b", f), -1);
}
END_TEST

START_TEST(test_sha256_of_the_published_vectors)
{
    char text[SHA256_HEX];
    sha256_hex(NULL, 0, text);
    ck_assert_str_eq(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_hex("abc", 3, text);
    ck_assert_str_eq(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, text);
    ck_assert_str_eq(text, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    sha256_hex(million, 1000000, text);
    free(million);
    ck_assert_str_eq(text, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task_table");
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, test_every_task_is_found_by_its_name);
    tcase_add_test(rules, test_params_in_their_bounds_are_taken);
    tcase_add_test(rules, test_params_out_of_bounds_name_parameter_and_bounds);
    tcase_add_test(rules, test_unknown_param_names_the_nearest);
    tcase_add_test(rules, test_nearest_name_is_near_or_null);
    tcase_add_test(rules, test_header_takes_any_order_and_quotes);
    tcase_add_test(rules, test_header_faults_say_e_header_and_the_column);
    tcase_add_test(rules, test_csv_fields_are_cut_as_rfc_4180_says);
    tcase_add_test(rules, test_sha256_of_the_published_vectors);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

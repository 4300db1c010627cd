/* Keys as files: what is made, what is refused, who is admitted. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/keys.h"
#include "common/wire.h"

static char folder[64], keys[80];

static const char *in(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", keys, name);
    return path;
}

static void start(void)
{
    strcpy(folder, "/tmp/stint-keys-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(keys, sizeof keys, "%s/keys", folder);
    ck_assert_int_eq(keys_init(keys), ERR_OK);
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static char *read_file(const char *path)
{
    static char text[4096];
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

static void replace(const char *path, const char *from, const char *to)
{
    char text[4096], *at;
    snprintf(text, sizeof text, "%s", read_file(path));
    at = strstr(text, from);
    ck_assert_ptr_nonnull(at);
    char rest[4096];
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, sizeof text - (size_t)(at - text), "%s%s", to, rest);
    write_file(path, text);
    chmod(path, 0600);
}

static char complaints[2048];
static void complain(const char *sentence)
{
    strncat(complaints, sentence, sizeof complaints - strlen(complaints) - 1);
}

/* The number of those admitted; what was complained about is in `complaints`. */
static int admitted(void)
{
    keys_table_t table;
    complaints[0] = 0;
    err_t err = keys_table_load(&table, keys, complain);
    int n = err ? -1 : table.n;
    keys_table_free(&table);
    return n;
}

static void refused(err_t err, const char *part)
{
    ck_assert_int_ne(err, ERR_OK);
    ck_assert_msg(strstr(err_text(), part), "\"%s\" is not in: %s", part, err_text());
}

START_TEST(test_a_new_fleet_has_three_secrets_that_only_their_owner_reads)
{
    static const char *const names[] = {"broker.key", "api.key", "scheduler.key"};
    struct stat state;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(stat(in(names[i]), &state), 0);
        ck_assert_uint_eq(state.st_mode & 0777, 0600);
    }
    ck_assert_int_eq(stat(keys, &state), 0);
    ck_assert_uint_eq(state.st_mode & 0777, 0700);
    ck_assert_int_eq(admitted(), 2);
    ck_assert_ptr_null(strstr(read_file(in("authorized/api.pub")), "secret-key"));
    refused(keys_init(keys), "has the keys of a fleet already");
}
END_TEST

START_TEST(test_a_peer_gets_its_pair_and_the_public_key_of_the_brokers)
{
    link_curve_t broker, east;
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_int_eq(keys_load_broker(&broker, keys), ERR_OK);
    ck_assert_int_eq(keys_load_peer(&east, in("east.key"), WIRE_ROLE_WORKER, "east-2"), ERR_OK);
    ck_assert_str_eq(east.server_key, broker.public_key);
    ck_assert_str_ne(east.secret_key, broker.secret_key);
    ck_assert_uint_eq(strlen(east.secret_key), LINK_KEY_N);
    ck_assert_str_eq(broker.server_key, "");
    keys_table_t table;
    ck_assert_int_eq(keys_table_load(&table, keys, NULL), ERR_OK);
    const keys_entry_t *entry = keys_table_find(&table, east.public_key);
    ck_assert_ptr_nonnull(entry);
    ck_assert_str_eq(entry->name, "east");
    ck_assert_uint_eq(entry->role, WIRE_ROLE_WORKER);
    ck_assert_ptr_null(keys_table_find(&table, broker.public_key));
    ck_assert_ptr_null(keys_table_find(&table, ""));
    keys_table_free(&table);
}
END_TEST

START_TEST(test_a_key_speaks_for_its_role_and_name_only)
{
    link_curve_t east, api;
    keys_table_t table;
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_int_eq(keys_load_peer(&east, in("east.key"), WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_int_eq(keys_load_peer(&api, in("api.key"), WIRE_ROLE_API, "any"), ERR_OK);
    ck_assert_int_eq(keys_table_load(&table, keys, NULL), ERR_OK);
    const char *key = east.public_key;
    ck_assert(keys_table_admits(&table, key, WIRE_ROLE_WORKER, "east"));
    ck_assert(keys_table_admits(&table, key, WIRE_ROLE_WORKER, "east-1"));
    ck_assert(!keys_table_admits(&table, key, WIRE_ROLE_WORKER, "eastern"));
    ck_assert(!keys_table_admits(&table, key, WIRE_ROLE_WORKER, "eas"));
    ck_assert(!keys_table_admits(&table, key, WIRE_ROLE_WORKER, ""));
    ck_assert(!keys_table_admits(&table, key, WIRE_ROLE_WORKER, "west"));
    ck_assert(!keys_table_admits(&table, key, WIRE_ROLE_API, "east"));
    ck_assert(!keys_table_admits(&table, key, WIRE_ROLE_SCHEDULER, "east"));
    ck_assert(keys_table_admits(&table, api.public_key, WIRE_ROLE_API, "whatever"));
    ck_assert(!keys_table_admits(&table, api.public_key, WIRE_ROLE_WORKER, "api"));
    keys_table_free(&table);
    refused(keys_load_peer(&east, in("east.key"), WIRE_ROLE_WORKER, "west"), "--name east");
    refused(keys_load_peer(&east, in("api.key"), WIRE_ROLE_WORKER, "east"), "is the key of api");
    refused(keys_load_peer(&east, in("broker.key"), WIRE_ROLE_WORKER, "east"), "key of broker");
}
END_TEST

START_TEST(test_a_secret_that_others_can_read_or_write_is_no_secret)
{
    link_curve_t curve;
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0602, 0610, 0601};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        chmod(in("api.key"), modes[i]);
        refused(keys_load_peer(&curve, in("api.key"), WIRE_ROLE_API, ""), "chmod 600");
        chmod(in("broker.key"), modes[i]);
        refused(keys_load_broker(&curve, keys), "chmod 600");
    }
    chmod(in("api.key"), 0400);
    ck_assert_int_eq(keys_load_peer(&curve, in("api.key"), WIRE_ROLE_API, ""), ERR_OK);
}
END_TEST

START_TEST(test_broken_secrets_are_refused_with_their_name)
{
    link_curve_t curve;
    refused(keys_load_peer(&curve, in("none.key"), WIRE_ROLE_API, ""), "none.key cannot be read");
    refused(keys_load_peer(&curve, keys, WIRE_ROLE_API, ""), "is not a file");
    const char *whole = mem_text(read_file(in("api.key")));
    char part[1024];
    for (size_t n = 0; n < strlen(whole) - 42; n += 7) { /* the last of it is the secret's end */
        snprintf(part, n + 1, "%s", whole);
        write_file(in("api.key"), part);
        chmod(in("api.key"), 0600);
        ck_assert_int_eq(keys_load_peer(&curve, in("api.key"), WIRE_ROLE_API, ""), ERR_CONFIG);
    }
    write_file(in("api.key"), whole);
    char other[4096];
    snprintf(other, sizeof other, "%s", strstr(read_file(in("scheduler.key")), "secret-key"));
    replace(in("api.key"), strstr(whole, "secret-key"), other);
    refused(keys_load_peer(&curve, in("api.key"), WIRE_ROLE_API, ""), "halves");
    free((char *)(uintptr_t)whole);
}
END_TEST

START_TEST(test_files_that_are_not_in_order_admit_nobody)
{
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_int_eq(admitted(), 3);
    chmod(in("authorized/east.pub"), 0664);
    ck_assert_int_eq(admitted(), 2);
    ck_assert_ptr_nonnull(strstr(complaints, "others may change it"));
    chmod(in("authorized/east.pub"), 0644);
    replace(in("authorized/east.pub"), "\"worker\"", "\"admin\"");
    ck_assert_int_eq(admitted(), 2);
    ck_assert_ptr_nonnull(strstr(complaints, "role \"admin\""));
    replace(in("authorized/east.pub"), "\"admin\"", "\"broker\"");
    ck_assert_int_eq(admitted(), 2);
    replace(in("authorized/east.pub"), "\"broker\"", "\"worker\"");
    replace(in("authorized/east.pub"), "\"east\"", "\"west\""); /* not what it is removed by */
    ck_assert_int_eq(admitted(), 2);
    write_file(in("authorized/east.pub"), "");
    ck_assert_int_eq(admitted(), 2);
    write_file(in("authorized/.hidden.pub"), "");
    write_file(in("authorized/README"), "");
    ck_assert_int_eq(admitted(), 2);
    chmod(in("authorized"), 0777);
    ck_assert_int_eq(admitted(), -1);
    ck_assert_ptr_nonnull(strstr(err_text(), "others may change it (chmod 700)"));
}
END_TEST

START_TEST(test_one_key_under_two_names_admits_neither)
{
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east"), ERR_OK);
    write_file(in("authorized/west.pub"), read_file(in("authorized/east.pub")));
    replace(in("authorized/west.pub"), "\"east\"", "\"west\"");
    ck_assert_int_eq(admitted(), 2);
    ck_assert_ptr_nonnull(strstr(complaints, "the same key"));
}
END_TEST

START_TEST(test_removed_is_not_admitted_and_may_come_back_with_another_key)
{
    link_curve_t before, after;
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_int_eq(keys_load_peer(&before, in("east.key"), WIRE_ROLE_WORKER, "east"), ERR_OK);
    refused(keys_add(keys, WIRE_ROLE_WORKER, "east"), "a key for \"east\" already");
    ck_assert_int_eq(keys_remove(keys, "east"), ERR_OK);
    ck_assert_int_eq(admitted(), 2);
    ck_assert_int_ne(access(in("east.key"), F_OK), 0);
    ck_assert_int_eq(keys_remove(keys, "east"), ERR_NOT_FOUND);
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_int_eq(keys_load_peer(&after, in("east.key"), WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_str_ne(before.public_key, after.public_key);
    unlink(in("east.key")); /* it was brought to its machine */
    ck_assert_int_eq(keys_remove(keys, "east"), ERR_OK);
}
END_TEST

START_TEST(test_the_key_of_the_longer_name_speaks_for_it)
{
    link_curve_t east, east_2;
    keys_table_t table;
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, "east-2"), ERR_OK);
    ck_assert_int_eq(keys_load_peer(&east, in("east.key"), WIRE_ROLE_WORKER, "east"), ERR_OK);
    ck_assert_int_eq(keys_load_peer(&east_2, in("east-2.key"), WIRE_ROLE_WORKER, "east-2"), ERR_OK);
    ck_assert_int_eq(keys_table_load(&table, keys, NULL), ERR_OK);
    ck_assert(keys_table_admits(&table, east.public_key, WIRE_ROLE_WORKER, "east-1"));
    ck_assert(!keys_table_admits(&table, east.public_key, WIRE_ROLE_WORKER, "east-2"));
    ck_assert(!keys_table_admits(&table, east.public_key, WIRE_ROLE_WORKER, "east-2-b"));
    ck_assert(keys_table_admits(&table, east_2.public_key, WIRE_ROLE_WORKER, "east-2-b"));
    keys_table_free(&table);
}
END_TEST

START_TEST(test_modes_do_not_depend_on_the_umask)
{
    static const mode_t masks[] = {0, 002, 022, 077};
    struct stat state;
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        char name[8], file[40];
        snprintf(name, sizeof name, "u%zu", i);
        umask(masks[i]);
        ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, name), ERR_OK);
        snprintf(file, sizeof file, "%s.key", name);
        ck_assert_int_eq(stat(in(file), &state), 0);
        ck_assert_uint_eq(state.st_mode & 0777, 0600);
        ck_assert_int_eq(admitted(), 3 + (int)i);
    }
}
END_TEST

START_TEST(test_what_a_killed_command_left_is_completed)
{
    unlink(in("api.key"));
    unlink(in("authorized/api.pub"));
    write_file(in("api.key.new"), "half"); /* it was killed before the rename */
    ck_assert_int_eq(keys_init(keys), ERR_OK);
    ck_assert_int_eq(admitted(), 2);
    ck_assert_int_ne(access(in("api.key.new"), F_OK), 0);
    unlink(in("authorized/scheduler.pub")); /* and here between the two files */
    ck_assert_int_eq(keys_add(keys, WIRE_ROLE_SCHEDULER, "scheduler"), ERR_OK);
    link_curve_t curve;
    keys_table_t table;
    ck_assert_int_eq(keys_load_peer(&curve, in("scheduler.key"), WIRE_ROLE_SCHEDULER, ""), ERR_OK);
    ck_assert_int_eq(keys_table_load(&table, keys, NULL), ERR_OK);
    ck_assert_ptr_nonnull(keys_table_find(&table, curve.public_key));
    keys_table_free(&table);
    unlink(in("authorized/scheduler.pub"));
    ck_assert_int_eq(keys_remove(keys, "scheduler"), ERR_OK); /* either half is enough */
    ck_assert_int_ne(access(in("scheduler.key"), F_OK), 0);
}
END_TEST

START_TEST(test_what_belongs_to_another_user_is_not_trusted)
{
    link_curve_t curve;
    if (geteuid() != 0) {
        return; /* only root can give a file away */
    }
    ck_assert_int_eq(chown(in("api.key"), 65534, 65534), 0);
    refused(keys_load_peer(&curve, in("api.key"), WIRE_ROLE_API, ""), "belongs to user 65534");
    ck_assert_int_eq(chown(in("authorized/scheduler.pub"), 65534, 65534), 0);
    ck_assert_int_eq(admitted(), 1);
    ck_assert_int_eq(chown(in("authorized"), 65534, 65534), 0);
    ck_assert_int_eq(admitted(), -1);
    ck_assert_int_eq(chown(in("authorized"), 0, 0), 0);
    chmod(keys, 0777);
    ck_assert_int_eq(admitted(), -1);
}
END_TEST

START_TEST(test_names_stay_in_their_directory)
{
    static const char *const bad[] = {"",   ".",   "..",   "../x",   "a/b",         "-x",
                                      ".x", "a b", "a\"b", "broker", "caf\xc3\xa9", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(keys_add(keys, WIRE_ROLE_WORKER, bad[i]), ERR_USAGE);
    }
    ck_assert_int_eq(keys_remove(keys, "../authorized/api"), ERR_USAGE);
    ck_assert_int_eq(keys_add(keys, 0, "second-broker"), ERR_USAGE);
    ck_assert_int_eq(keys_add(folder, WIRE_ROLE_WORKER, "east"), ERR_CONFIG);
    ck_assert_int_eq(admitted(), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keys");
    TCase *tests = tcase_create("keys");
    tcase_add_checked_fixture(tests, start, end);
    tcase_add_test(tests, test_a_new_fleet_has_three_secrets_that_only_their_owner_reads);
    tcase_add_test(tests, test_a_peer_gets_its_pair_and_the_public_key_of_the_brokers);
    tcase_add_test(tests, test_a_key_speaks_for_its_role_and_name_only);
    tcase_add_test(tests, test_a_secret_that_others_can_read_or_write_is_no_secret);
    tcase_add_test(tests, test_broken_secrets_are_refused_with_their_name);
    tcase_add_test(tests, test_files_that_are_not_in_order_admit_nobody);
    tcase_add_test(tests, test_one_key_under_two_names_admits_neither);
    tcase_add_test(tests, test_removed_is_not_admitted_and_may_come_back_with_another_key);
    tcase_add_test(tests, test_the_key_of_the_longer_name_speaks_for_it);
    tcase_add_test(tests, test_modes_do_not_depend_on_the_umask);
    tcase_add_test(tests, test_what_a_killed_command_left_is_completed);
    tcase_add_test(tests, test_what_belongs_to_another_user_is_not_trusted);
    tcase_add_test(tests, test_names_stay_in_their_directory);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

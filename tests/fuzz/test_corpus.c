/* Every input that the fuzzers found worth keeping, each a check of its own: tests/fuzz/corpus,
 * run from the root of the tree. */
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/fuzz/fuzz.h"

enum { INPUTS_MAX = 1000, INPUT_BYTES_MAX = 1 << 16 };

typedef struct {
    const char *name;
    void (*run)(const uint8_t *data, size_t n);
    size_t max;
    char *files[INPUTS_MAX];
    int files_n;
} target_t;

static target_t targets[] = {
#define TARGET(name, max) {#name, fuzz_##name, max, {0}, 0},
#include "tests/fuzz/targets.def"
#undef TARGET
};
enum { TARGETS_N = sizeof targets / sizeof *targets };

void __sanitizer_set_death_callback(void (*call)(void));

static void name_input(void)
{
    static const char before[] = "the input is ", after[] = "\n";
    if (fuzz_input) {
        (void)!write(STDERR_FILENO, before, sizeof before - 1);
        (void)!write(STDERR_FILENO, fuzz_input, strlen(fuzz_input));
        (void)!write(STDERR_FILENO, after, 1);
    }
}

static void on_abort(int number)
{
    (void)number;
    name_input();
    signal(SIGABRT, SIG_DFL);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_inputs(target_t *target)
{
    char folder[200];
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", target->name);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] != '.' && target->files_n < INPUTS_MAX) {
            char **path = &target->files[target->files_n++];
            if (asprintf(path, "%s/%s", folder, entry->d_name) < 0) {
                abort();
            }
        }
    }
    if (dir) {
        closedir(dir);
    }
    qsort(target->files, (size_t)target->files_n, sizeof *target->files, by_name);
}

START_TEST(test_no_input_of_the_corpus_does_harm)
{
    static uint8_t bytes[INPUT_BYTES_MAX];
    /* Loop tests count on through all targets: the function is the same, the case is not. */
    int number = _i;
    target_t *target = targets;
    while (number >= target->files_n) {
        number -= target->files_n;
        target++;
    }
    FILE *file = fopen(target->files[number], "rb");
    ck_assert_msg(file != NULL, "%s cannot be read", target->files[number]);
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    ck_assert_msg(n <= target->max, "%s is over %zu bytes, the bound of its target",
                  target->files[number], target->max);
    fuzz_input = target->files[number];
    __sanitizer_set_death_callback(name_input);
    signal(SIGABRT, on_abort);
    target->run(bytes, n);
    fuzz_input = NULL;
}
END_TEST

START_TEST(test_every_target_has_inputs)
{
    ck_assert_msg(targets[_i].files_n >= 5,
                  "tests/fuzz/corpus/%s has %d inputs: run it from the "
                  "root of the tree, and see tests/fuzz/README.md",
                  targets[_i].name, targets[_i].files_n);
}
END_TEST

int main(void)
{
    log_open("fuzz", LOG_ERROR + 1);
    Suite *suite = suite_create("corpus");
    TCase *presence = tcase_create("presence");
    TCase *inputs = tcase_create("inputs");
    int n = 0;
    for (int i = 0; i < TARGETS_N; i++) {
        find_inputs(&targets[i]);
        n += targets[i].files_n;
    }
    tcase_add_loop_test(presence, test_every_target_has_inputs, 0, TARGETS_N);
    tcase_add_loop_test(inputs, test_no_input_of_the_corpus_does_harm, 0, n);
    tcase_set_timeout(inputs, 60);
    suite_add_tcase(suite, presence);
    suite_add_tcase(suite, inputs);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    for (int i = 0; i < TARGETS_N; i++) {
        for (int k = 0; k < targets[i].files_n; k++) {
            free(targets[i].files[k]);
        }
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

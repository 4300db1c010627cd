/* Runs seeds through the simulation. Without a wish the seeds are 1.. of a fixed base, so that a
 * run of CI can be repeated; STINT_SIM_SEED=random (or a number) takes another base,
 * STINT_SIM_SEEDS their count, STINT_SIM_ONLY one seed. Seeds that failed once stand in `kept` for
 * ever. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "tests/sim/sim.h"

static const uint64_t kept[] = {0,        20261138, 20261168, 20261174,
                                20261181, 20261228, 20261497, 20261532};
enum { KEPT = sizeof kept / sizeof *kept };
static uint64_t base = 20261123;

START_TEST(test_every_promise_holds_under_faults_and_all_ends_after_them)
{
    log_open("sim", getenv("STINT_SIM_TRACE") ? LOG_INFO : LOG_ERROR + 1);
    const char *only = getenv("STINT_SIM_ONLY");
    uint64_t seed = only        ? strtoull(only, NULL, 10)
                    : _i < KEPT ? kept[_i]
                                : base + (uint64_t)(_i - KEPT);
    sim_run(seed);
}
END_TEST

int main(void)
{
    const char *wish = getenv("STINT_SIM_SEED"), *count = getenv("STINT_SIM_SEEDS");
    if (wish && strcmp(wish, "random") == 0) {
        if (getrandom(&base, 4, 0) != 4) {
            return 1;
        }
    } else if (wish) {
        base = strtoull(wish, NULL, 10);
    }
    int n = getenv("STINT_SIM_ONLY") ? 1 : count ? atoi(count) : 500;
    printf("simulation: %d seeds from %llu, and %d kept ones\n", n, (unsigned long long)base,
           (int)KEPT);
    fflush(stdout);
    Suite *suite = suite_create("simulation");
    TCase *tc = tcase_create("seeds");
    tcase_set_timeout(tc, 120);
    int from = getenv("STINT_SIM_ONLY") ? KEPT : 0;
    tcase_add_loop_test(tc, test_every_promise_holds_under_faults_and_all_ends_after_them, from,
                        KEPT + n);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

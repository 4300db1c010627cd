/* power loss: cut at any write or sync, the store has all that was promised before, and its work
 * goes on. A disk under the store keeps, drops, tears and reorders what was not synced
 * (tests/support/disk.h); what was promised is noted outside (tests/support/life.h).
 *
 * STINT_POWER_SEED=random (or a number) takes other seeds, STINT_POWER_ONLY=N one round. */
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/api/store/world.h"
#include "tests/support/disk.h"
#include "tests/support/life.h"

enum { ROUNDS = 200, STEPS = 160, LIVES = 3, DECEIVED_ROUNDS = 60, BROKEN_SYNCS = 40 };
/* What the disk, or the store, does about a sync. */
typedef enum { HONEST, LIES, SYNC_OFF, SYNC_NORMAL, SYNC_FAILS } sync_t;

/* Hundreds of short processes: memory kept back to find late uses costs more than they do. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1";
}

static uint64_t base = 20270100;
static char template[64];

static void run(const char *format, const char *a, const char *b)
{
    char command[256];
    snprintf(command, sizeof command, format, a, b);
    ck_assert_int_eq(system(command), 0);
}

/* Made once: migrations take longer than a round. */
static void template_make(void)
{
    snprintf(template, sizeof template, "/tmp/stint-power-%ld", (long)getpid());
    store_t *store = NULL;
    ck_ok(store_open(&store, &(store_options_t){.directory = template, .wall_at = WALL}));
    store_close(&store);
}

static uint64_t seed_of(int round)
{
    return (base + (uint64_t)round) * 977;
}

/* -- the process that loses its power ---------------------------------------------------------- */

static void now_and_then(life_t *life, int step)
{
    store_t *store = life_store(life);
    bool more = false;
    if (step % 53 == 52 && !store_in_turn(store) && store_vacuum_step(store, 5, &more))
        _exit(3);
}

static err_t live(life_t **life, const char *directory, life_notes_t *notes, sync_t sync)
{
    err_t err = life_open(life, directory, notes);
    if (!err)
        life_store(*life)->checkpoint_pages = 40; /* so that it comes in a short life too */
    if (!err && (sync == SYNC_OFF || sync == SYNC_NORMAL))
        sqlite3_exec(life_store(*life)->writer,
                     sync == SYNC_OFF ? "PRAGMA synchronous = OFF" : "PRAGMA synchronous = NORMAL",
                     NULL, NULL, NULL);
    return err;
}

/* Whatever it does, it ends by the cut (9); 3: it ended by itself. */
static void child(const char *directory, life_notes_t *notes, uint64_t seed, sync_t sync)
{
    life_t *life = NULL;
    unsigned changes = DISK_WRITE | DISK_SYNC | DISK_TRUNCATE | DISK_DELETE | DISK_OPEN;
    log_open("power", LOG_ERROR + 1);
    disk_power(seed);
    disk_lie(sync == LIES);
    disk_fault(DISK_OUT, changes, 1 + (int)(seed % (seed % 3 == 0 ? 60 : 900)));
    err_t err = live(&life, directory, notes, sync);
    for (int i = 0; i < STEPS && !err; i++) {
        now_and_then(life, i);
        err = life_step(life);
        if (!err && i == STEPS / 2 && seed % 2) { /* a stop and a start */
            life_close(&life);
            err = live(&life, directory, notes, sync);
        }
    }
    if (err && sync == HONEST)
        fprintf(stderr, "the api ended by itself: %s\n", err_text());
    if (err)
        _exit(3);
    disk_cut();
    _exit(9);
}

/* A sync fails, the api ends and is started again on the same machine, and works; then the power
 * is cut. */
static void child_of_failing_sync(const char *directory, life_notes_t *notes, uint64_t seed)
{
    life_t *life = NULL;
    log_open("power", LOG_ERROR + 1);
    disk_power(seed);
    if (live(&life, directory, notes, SYNC_FAILS))
        _exit(3);
    disk_fault(DISK_BROKEN, DISK_SYNC, 1 + (int)(seed % 40));
    err_t err = ERR_OK;
    for (int i = 0; i < STEPS && !err; i++) {
        now_and_then(life, i);
        err = life_step(life);
    }
    if (disk_hit() != (err == ERR_IO)) { /* nobody goes on over a failed sync */
        fprintf(stderr, "%s failed, and: %s\n", disk_what(), err ? err_text() : "all is well");
        _exit(4);
    }
    disk_fault(DISK_FINE, DISK_SYNC | DISK_WRITE, 0);
    life_close(&life);
    if (err && disk_seen() > 0)
        _exit(5); /* nor is anything tried again */
    disk_fault(DISK_OUT, DISK_WRITE | DISK_SYNC, 30 + (int)(seed % 200));
    if (live(&life, directory, notes, SYNC_FAILS))
        _exit(6);
    for (int i = 0; i < STEPS / 2; i++) {
        if (life_step(life))
            _exit(7);
    }
    disk_cut();
    _exit(9);
}

static int run_child(const char *directory, life_notes_t *notes, uint64_t seed, sync_t sync)
{
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        disk_make(true);
        if (sync == SYNC_FAILS)
            child_of_failing_sync(directory, notes, seed);
        child(directory, notes, seed, sync);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

typedef struct {
    int jobs, recorded, attempts, cancelled;
} sum_t;

/* One round: some lives that each end by a cut, then the look. True: a promise is broken. */
static bool play(int round, sync_t sync, sum_t *sum, char *out, size_t size)
{
    uint64_t seed = seed_of(round);
    char *directory = world_directory();
    life_notes_t *notes = life_notes_new(seed);
    if (round % 8) /* every eighth makes its store itself */
        run("cp -r '%s'/. '%s'", template, directory);
    int lives = sync == SYNC_FAILS ? 1 : 1 + round % LIVES;
    for (int i = 0; i < lives; i++) {
        int code = run_child(directory, notes, seed + (uint64_t)i * 31, sync);
        if (sync != LIES && sync != SYNC_OFF)
            ck_assert_msg(code == 9, "round %d: life %d ended with %d, not by the cut", round, i,
                          code);
    }
    bool broken = life_left_broken(directory, notes, out, size);
    sum->jobs += notes->jobs_n;
    sum->recorded += notes->recorded_n;
    sum->attempts += notes->attempts_n;
    sum->cancelled += notes->cancelled_n;
    world_directory_remove(&directory);
    life_notes_destroy(&notes);
    return broken;
}

static int rounds_of(int most)
{
    const char *points = getenv("STINT_FAULT_POINTS");
    return points && atoi(points) > 0 && atoi(points) < most ? atoi(points) : most;
}

static void all_hold(sync_t sync, int most)
{
    const char *only = getenv("STINT_POWER_ONLY");
    int from = only ? atoi(only) : 0, to = only ? from + 1 : rounds_of(most);
    sum_t sum = {0};
    template_make();
    for (int round = from; round < to; round++) {
        char broken[300] = "";
        bool bad = play(round, sync, &sum, broken, sizeof broken);
        ck_assert_msg(!bad, "round %d: %s (again: STINT_POWER_SEED=%llu STINT_POWER_ONLY=%d)",
                      round, broken, (unsigned long long)base, round);
    }
    printf("%d cuts: %d jobs acknowledged, %d results recorded, %d dispatches, %d cancelled\n",
           to - from, sum.jobs, sum.recorded, sum.attempts, sum.cancelled);
    fflush(stdout);
    if (!only) {
        ck_assert_int_gt(sum.jobs, to); /* or nothing was looked at */
        ck_assert_int_gt(sum.recorded, to);
    }
    run("rm -rf '%s' %s", template, "");
}

/* The test of the test: when syncs are not what they should be, promises break, and it is seen. */
static void is_found_out(sync_t sync)
{
    sum_t sum = {0};
    int lost = 0;
    template_make();
    for (int round = 1; round < DECEIVED_ROUNDS && !lost; round++) {
        char broken[300] = "";
        if (play(round, sync, &sum, broken, sizeof broken))
            lost += strstr(broken, "is lost") != NULL;
    }
    ck_assert_msg(lost, "%d rounds without a lost promise", DECEIVED_ROUNDS);
    run("rm -rf '%s' %s", template, "");
}

START_TEST(test_what_was_promised_outlasts_a_cut_at_any_write_or_sync)
{
    all_hold(HONEST, ROUNDS);
}
END_TEST

START_TEST(test_after_a_sync_that_failed_nothing_is_tried_again_or_built_on_it)
{
    all_hold(SYNC_FAILS, BROKEN_SYNCS);
}
END_TEST

START_TEST(test_a_disk_that_lies_about_syncs_is_found_out)
{
    is_found_out(LIES);
}
END_TEST

START_TEST(test_a_store_that_does_not_sync_is_found_out)
{
    is_found_out(SYNC_OFF);
    is_found_out(SYNC_NORMAL);
}
END_TEST

int main(void)
{
    const char *wish = getenv("STINT_POWER_SEED");
    log_open("power", LOG_ERROR + 1);
    if (wish && strcmp(wish, "random") == 0) {
        if (getrandom(&base, 4, 0) != 4)
            return 1;
    } else if (wish) {
        base = strtoull(wish, NULL, 10);
    }
    const TTest *tests[] = {test_what_was_promised_outlasts_a_cut_at_any_write_or_sync,
                            test_after_a_sync_that_failed_nothing_is_tried_again_or_built_on_it,
                            test_a_disk_that_lies_about_syncs_is_found_out,
                            test_a_store_that_does_not_sync_is_found_out};
    return world_main("power_loss", tests, sizeof tests / sizeof *tests);
}

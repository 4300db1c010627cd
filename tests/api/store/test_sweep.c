/* sweep: the n-th thing that can fail does, for each n: every call of SQLite to the disk, every
 * allocation of SQLite's and of ours, while the real core works (tests/support/life.h). Whatever
 * the process does then - goes on, or ends as documented - the next one finds everything promised.
 *
 * Of many points about as many as the budget allows are taken, spread over all; STINT_FAULT_POINTS
 * says how many a sweep. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/api/store/world.h"
#include "tests/support/disk.h"
#include "tests/support/life.h"

enum { STEPS = 110, POINTS = 40, LOG_N = 65536, ABORTED = 200 };

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1";
}

/* -- memory: the linker leads our own malloc here, SQLite asks for its methods ------------------
 */

typedef struct {
    int at, seen; /* the at-th fails; 0 = none */
    bool stays;   /* and all later ones */
} supply_t;

static supply_t ours, sqlites;

static bool refuses(supply_t *supply)
{
    supply->seen++;
    return supply->at &&
           (supply->seen == supply->at || (supply->stays && supply->seen > supply->at));
}

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n)
{
    return refuses(&ours) ? NULL : __real_malloc(n);
}

void *__real_realloc(void *old, size_t n);
void *__wrap_realloc(void *old, size_t n);
void *__wrap_realloc(void *old, size_t n)
{
    return refuses(&ours) ? NULL : __real_realloc(old, n);
}

static sqlite3_mem_methods real_methods;

static void *sqlite_malloc(int n)
{
    return refuses(&sqlites) ? NULL : real_methods.xMalloc(n);
}

static void *sqlite_realloc(void *old, int n)
{
    return refuses(&sqlites) ? NULL : real_methods.xRealloc(old, n);
}

static void memory_make(void)
{
    INVARIANT(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_methods) == SQLITE_OK);
    sqlite3_mem_methods mine = real_methods;
    mine.xMalloc = sqlite_malloc;
    mine.xRealloc = sqlite_realloc;
    INVARIANT(sqlite3_config(SQLITE_CONFIG_MALLOC, &mine) == SQLITE_OK);
}

/* -- one process ------------------------------------------------------------------------------- */

typedef enum { FAIL_DISK, FAIL_OURS, FAIL_SQLITES } what_t;
typedef struct {
    const char *name;
    what_t what;
    disk_fault_t fault;
    unsigned kinds;
    bool stays;
} sweep_t;

/* What a process left; shared, so that it outlasts it. */
typedef struct {
    int seen;
    err_t err;        /* what it would end with */
    bool hit, opened; /* the fault came; after the start */
    char what[96], text[300];
} end_t;
typedef struct {
    const char *directory;
    life_notes_t *notes;
    end_t *end;
    int log; /* what it wrote to stderr */
} process_t;

static void arm(const sweep_t *sweep, int at)
{
    ours = sqlites = (supply_t){0};
    if (sweep->what == FAIL_OURS)
        ours = (supply_t){.at = at, .stays = sweep->stays};
    if (sweep->what == FAIL_SQLITES)
        sqlites = (supply_t){.at = at, .stays = sweep->stays};
    disk_fault(at && sweep->what == FAIL_DISK ? sweep->fault : DISK_FINE, sweep->kinds, at);
}

static int seen(const sweep_t *sweep)
{
    return sweep->what == FAIL_OURS      ? ours.seen
           : sweep->what == FAIL_SQLITES ? sqlites.seen
                                         : disk_seen();
}

static err_t work(life_t **life, const process_t *process)
{
    err_t err = life_open(life, process->directory, process->notes);
    if (err)
        return err;
    process->end->opened = true;
    life_store(*life)->checkpoint_pages = 60;
    for (int i = 0; i < STEPS && !err; i++)
        err = life_step(*life);
    return err;
}

static void child(const process_t *process, const sweep_t *sweep, int at)
{
    life_t *life = NULL;
    end_t *end = process->end;
    INVARIANT(dup2(process->log, STDERR_FILENO) >= 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    log_open("sweep", LOG_ERROR);
    disk_make(true);
    disk_power(1); /* its syncs need not reach the real disk: the power stays on */
    arm(sweep, at);
    end->err = work(&life, process);
    end->seen = seen(sweep);
    end->hit = sweep->what == FAIL_DISK ? disk_hit() : at && end->seen >= at;
    snprintf(end->what, sizeof end->what, "%s", disk_what());
    snprintf(end->text, sizeof end->text, "%s", end->err ? err_text() : "");
    if (sweep->fault == DISK_FULL && !end->err) {
        arm(sweep, 0); /* there is room again, and the same process goes on */
        end->err = life_finish(life);
        snprintf(end->text, sizeof end->text, "after there was room: %s", err_text());
    }
    life_close(&life);
    _exit(0);
}

/* ABORTED, 0, or what is no end at all. */
static int run_child(const process_t *process, const sweep_t *sweep, int at)
{
    memset(process->end, 0, sizeof *process->end);
    ck_assert_int_eq(ftruncate(process->log, 0), 0);
    ck_assert_int_eq((int)lseek(process->log, 0, SEEK_SET), 0);
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        child(process, sweep, at);
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGABRT ? ABORTED : 128 + WTERMSIG(status);
    return WEXITSTATUS(status);
}

static void log_of(const process_t *process, char out[LOG_N])
{
    struct stat status;
    ck_assert_int_eq(fstat(process->log, &status), 0);
    off_t from = status.st_size > LOG_N - 1 ? status.st_size - (LOG_N - 1) : 0;
    ssize_t n = pread(process->log, out, LOG_N - 1, from);
    out[n > 0 ? n : 0] = '\0';
}

/* -- is that an end as documented? ------------------------------------------------------------- */

/* "" if it is. An abort is one for want of memory only, and says so. */
static const char *wrong_end(const process_t *process, const sweep_t *sweep, int code)
{
    const end_t *end = process->end;
    char log[LOG_N];
    log_of(process, log);
    if (code == ABORTED)
        return sweep->what == FAIL_DISK ? "it aborted"
               : strstr(log, "event=memory.exhausted")
                   ? ""
                   : "it aborted and did not say for want of memory";
    if (code)
        return "it crashed";
    /* SQLite 3.40 takes a text that it has no memory to parse for no JSON. */
    if (sweep->what == FAIL_SQLITES && end->err == ERR_CONFLICT)
        return strstr(end->text, "json_valid") ? "" : "a conflict for want of memory";
    if (sweep->what != FAIL_DISK)
        return end->err && err_exit(end->err) != 70 && err_exit(end->err) != 74
                   ? "neither 70 nor 74"
                   : "";
    if (sweep->fault == DISK_FULL) /* it goes on; only a start may be refused */
        return end->err && (end->opened || end->err != ERR_FULL) ? "a full disk ended it" : "";
    if (end->err && err_exit(end->err) != 74 && err_exit(end->err) != 65)
        return "neither 74 nor 65";
    /* A disk that dies while the store is being closed may meet no write any more. */
    bool must_end = (sweep->kinds & (DISK_WRITE | DISK_SYNC)) != 0 &&
                    (sweep->fault != DISK_DEAD || strncmp(end->what, "write", 5) == 0 ||
                     strncmp(end->what, "sync", 4) == 0);
    return end->hit && !end->err && must_end ? "it went on over a failed write" : "";
}

/* -- a sweep ----------------------------------------------------------------------------------- */

static char template[64];

static void run(const char *format, const char *a, const char *b)
{
    char command[256];
    snprintf(command, sizeof command, format, a, b);
    ck_assert_int_eq(system(command), 0);
}

typedef struct {
    int points, on, ended, aborted, total; /* went on, ended by an error, aborted */
} tally_t;

/* One process with the fault at `at` (0: none), and the look at what it left. */
static void point(const sweep_t *sweep, int at, tally_t *tally)
{
    char *directory = world_directory(), broken[400] = "", log[LOG_N];
    process_t process = {
        .directory = directory,
        .notes = life_notes_new(977),
        .end = mmap(NULL, sizeof(end_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
        .log = memfd_create("log", MFD_CLOEXEC)};
    run("cp -r '%s'/. '%s'", template, directory);
    int code = run_child(&process, sweep, at);
    const char *wrong = wrong_end(&process, sweep, code);
    log_of(&process, log);
    ck_assert_msg(!*wrong, "%s, point %d of %d (%s): %s: %d, %s; %s", sweep->name, at, tally->total,
                  process.end->what, wrong, code ? code : (int)process.end->err, process.end->text,
                  log + (strlen(log) > 1500 ? strlen(log) - 1500 : 0));
    bool bad = life_left_broken(directory, process.notes, broken, sizeof broken);
    ck_assert_msg(!bad, "%s, point %d of %d (%s; it ended with %d, %s): %s", sweep->name, at,
                  tally->total, process.end->what, code ? code : (int)process.end->err,
                  process.end->text, broken);
    tally->total = at ? tally->total : process.end->seen;
    tally->points += at != 0;
    tally->on += at && !code && !process.end->err;
    tally->ended += !code && process.end->err;
    tally->aborted += code == ABORTED;
    close(process.log);
    munmap(process.end, sizeof(end_t));
    life_notes_destroy(&process.notes);
    world_directory_remove(&directory);
}

static int points_of(int most)
{
    const char *points = getenv("STINT_FAULT_POINTS");
    return points && atoi(points) > 0 ? atoi(points) : most;
}

static void tell(const sweep_t *sweep, const tally_t *tally)
{
    printf("%s: %d of %d points: %d went on, %d ended, %d aborted\n", sweep->name, tally->points,
           tally->total, tally->on, tally->ended, tally->aborted);
    fflush(stdout);
}

/* Each point in turn; of many, about `most` spread over all. */
static tally_t sweep_all(const sweep_t *sweep, int most)
{
    tally_t tally = {0};
    most = points_of(most);
    point(sweep, 0, &tally);
    ck_assert_int_gt(tally.total, 0);
    int step = tally.total > most ? tally.total / most : 1;
    for (int at = 1; at <= tally.total; at += step)
        point(sweep, at, &tally);
    tell(sweep, &tally);
    return tally;
}

/* `n` points one after another, from a part of all on. */
static void sweep_closely(const sweep_t *sweep, double part, int n)
{
    tally_t tally = {0};
    n = points_of(n);
    point(sweep, 0, &tally);
    int from = (int)(part * tally.total);
    for (int at = from; at < from + n; at++)
        point(sweep, at, &tally);
    tell(sweep, &tally);
}

static void setup(void)
{
    snprintf(template, sizeof template, "/tmp/stint-sweep-%ld", (long)getpid());
    store_t *store = NULL;
    ck_ok(store_open(&store, &(store_options_t){.directory = template, .wall_at = WALL}));
    store_close(&store);
}

static void teardown(void)
{
    run("rm -rf '%s' %s", template, "");
}

START_TEST(test_a_write_or_sync_that_fails_ends_the_process_and_loses_nothing)
{
    setup();
    tally_t tally = sweep_all(
        &(sweep_t){.name = "a failing write", .fault = DISK_BROKEN, .kinds = DISK_WRITE}, POINTS);
    ck_assert_int_gt(tally.ended, tally.on);
    tally = sweep_all(
        &(sweep_t){.name = "a failing sync", .fault = DISK_BROKEN, .kinds = DISK_SYNC}, POINTS / 2);
    ck_assert_int_gt(tally.ended, tally.on);
    tally =
        sweep_all(&(sweep_t){.name = "a disk that is gone", .fault = DISK_DEAD, .kinds = DISK_ALL},
                  POINTS / 2);
    ck_assert_int_gt(tally.ended, tally.on);
    teardown();
}
END_TEST

START_TEST(test_a_read_or_any_other_call_that_fails_loses_nothing)
{
    setup();
    unsigned rest =
        DISK_TRUNCATE | DISK_OPEN | DISK_DELETE | DISK_SIZE | DISK_MAP | DISK_LOCK | DISK_ACCESS;
    (void)sweep_all(&(sweep_t){.name = "a failing read", .fault = DISK_BROKEN, .kinds = DISK_READ},
                    POINTS);
    (void)sweep_all(&(sweep_t){.name = "any other call", .fault = DISK_BROKEN, .kinds = rest},
                    POINTS);
    teardown();
}
END_TEST

START_TEST(test_a_full_disk_at_any_write_is_lived_through)
{
    setup();
    tally_t tally = sweep_all(
        &(sweep_t){.name = "a full disk", .fault = DISK_FULL, .kinds = DISK_WRITE}, POINTS);
    ck_assert_int_gt(tally.on, tally.ended);
    teardown();
}
END_TEST

START_TEST(test_without_memory_of_our_own_it_says_so_and_loses_nothing)
{
    setup();
    tally_t tally = sweep_all(&(sweep_t){.name = "our memory", .what = FAIL_OURS}, 2 * POINTS);
    ck_assert_int_ge(tally.aborted, tally.points - 1); /* the last may come after all is done */
    teardown();
}
END_TEST

START_TEST(test_without_memory_for_the_database_nothing_is_half_done)
{
    setup();
    tally_t tally =
        sweep_all(&(sweep_t){.name = "the database's memory", .what = FAIL_SQLITES}, 2 * POINTS);
    ck_assert_int_gt(tally.on, 0);
    sweep_closely(&(sweep_t){.name = "the database's memory, closely", .what = FAIL_SQLITES},
                  0.3495, 3 * POINTS / 2); /* the first turns: statements are prepared */
    tally = sweep_all(&(sweep_t){.name = "the database's memory, from then on",
                                 .what = FAIL_SQLITES,
                                 .stays = true},
                      POINTS / 2);
    ck_assert_int_le(tally.on, 1);
    teardown();
}
END_TEST

int main(void)
{
    memory_make(); /* before SQLite is used */
    log_open("sweep", LOG_ERROR + 1);
    const TTest *tests[] = {test_a_write_or_sync_that_fails_ends_the_process_and_loses_nothing,
                            test_a_read_or_any_other_call_that_fails_loses_nothing,
                            test_a_full_disk_at_any_write_is_lived_through,
                            test_without_memory_of_our_own_it_says_so_and_loses_nothing,
                            test_without_memory_for_the_database_nothing_is_half_done};
    return world_main("sweep", tests, sizeof tests / sizeof *tests);
}

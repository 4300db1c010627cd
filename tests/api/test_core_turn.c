/* The turn of the api's core: what leaves, when, and the way back when a commit fails. */
#include <unistd.h>

#include "tests/api/core_world.h"

typedef struct {
    int calls;
    err_t err;
} after_t;

static void on_after(void *context, err_t err)
{
    after_t *after = context;
    after->calls++;
    after->err = err;
}

/* All that the core remembers of jobs and batches, as text, in an order that does not depend on
 * how it came to know them. */
static void remember(const core_t *it, buffer_t *out)
{
    const feeder_t *feeder = core_feeder(it);
    size_t at = 0;
    for (uint64_t id = 0, next; (at = 0, next = 0, true); id = next) {
        const live_batch_t *best = NULL;
        for (live_batch_t *batch; (batch = feeder_next_batch(feeder, &at));) {
            if (batch->row.id > id && (!best || batch->row.id < best->row.id)) {
                best = batch;
            }
        }
        if (!best) {
            break;
        }
        next = best->row.id;
        const live_job_t *job = best->job;
        buffer_printf(out, "job %llu %s %u/%u cut, %llu/%llu items, %u live, %u dead; ",
                      (unsigned long long)job->id, job_state_name(job->state), job->chunks_cut,
                      job->chunks_n, (unsigned long long)job->items_cut,
                      (unsigned long long)job->items_total, job->batches_live, job->batches_dead);
        buffer_printf(out, "batch %u %s a%u s%u f%u ready %d until %lld accepted %d\n",
                      best->row.no, batch_state_name(best->row.state), best->row.attempt,
                      best->row.starts, best->row.failures, best->ready,
                      (long long)(best->ready ? 0 : best->deadline - core_now(it)), best->accepted);
    }
    at = 0;
    for (live_task_t *task; (task = feeder_next_task(feeder, &at));) {
        const live_job_t *best = feeder_best(task);
        buffer_printf(out, "task %s waiting %llu best %llu\n", task->row.name,
                      (unsigned long long)task->items_waiting,
                      best ? (unsigned long long)best->id : 0);
    }
    buffer_printf(out, "jobs %llu", (unsigned long long)feeder_jobs_n(feeder));
    buffer_add(out, "", 1);
}

static bool send_nothing(void *context, int broker, frames_t *frames)
{
    (void)context;
    (void)broker;
    frames_free(frames);
    return true;
}

static void memory_is_that_of_a_restart(void)
{
    buffer_t mine = {0}, fresh = {0};
    core_t *other = NULL;
    options.now_ms = now;
    options.wall_at = wall;
    ck_ok(core_open(&other, store, &options, (core_effects_t){.send = send_nothing}));
    remember(core, &mine);
    remember(other, &fresh);
    ck_assert_str_eq((const char *)mine.data, (const char *)fresh.data);
    core_destroy(&other);
    buffer_free(&mine);
    buffer_free(&fresh);
}

START_TEST(test_nothing_is_sent_before_the_commit)
{
    forget_sent();
    capacity(1);
    uint64_t job = submit("noop", 5, 0);
    ck_assert(store_in_turn(store));
    ck_assert_int_eq(sent_n, 0);
    turn(); /* itself checks at each send that the commit is over */
    ck_assert(!store_in_turn(store));
    ck_assert_int_eq(waiting(MSG_DISPATCH), 1);
    ck_assert_int_eq(job_state(job), JOB_PROCESSING);
}
END_TEST

START_TEST(test_call_after_the_commit_hears_ok_once)
{
    after_t after = {0};
    (void)submit("noop", 5, 0);
    core_after_commit(core, on_after, &after);
    ck_assert_int_eq(after.calls, 0);
    ck_assert_int_le(core_next_at(core), now);
    turn();
    turn();
    ck_assert_int_eq(after.calls, 1);
    ck_assert_int_eq(after.err, ERR_OK);
}
END_TEST

START_TEST(test_destroy_cancels_calls_that_wait)
{
    after_t after = {0};
    (void)submit("noop", 5, 0);
    core_after_commit(core, on_after, &after);
    core_destroy(&core);
    ck_assert_int_eq(after.calls, 1);
    ck_assert_int_eq(after.err, ERR_CANCELLED);
}
END_TEST

/* A job with a batch out, one retrying and more to cut; in the same turn a new job, a result and
 * an expiry that all come to nothing. */
START_TEST(test_failed_commit_sends_nothing_and_memory_is_that_of_a_restart)
{
    capacity_of(0, BOTH, 1500, 2);
    uint64_t job = submit("noop", 4000, 0);
    turn();
    msg_dispatch_t first = take(MSG_DISPATCH).dispatch;
    msg_dispatch_t second = take(MSG_DISPATCH).dispatch;
    accepted(first.batch, 1);
    failure(second.batch, 1, 60000);
    turn();
    forget_sent();
    uint64_t commits = core_counters(core)->commits_n;
    after_t after[3] = {0};

    store_sim_full(store, true);
    capacity(5);
    uint64_t lost_job = submit("noop", 5, 0);
    result(first.batch, 1, "done");
    for (int i = 0; i < 3; i++) {
        core_after_commit(core, on_after, &after[i]);
    }
    turn();

    ck_assert_int_eq(sent_n, 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(after[i].calls, 1);
        ck_assert_int_eq(after[i].err, ERR_FULL);
    }
    ck_assert_uint_eq(core_counters(core)->commits_n, commits);
    ck_assert_uint_eq(core_counters(core)->rolled_back_n, 1);
    ck_assert(core_full(core));
    job_row_t row;
    ck_err(ERR_NOT_FOUND, store_job_get(store, lost_job, &row));
    ck_assert_int_eq(batch_row(first.batch).state, BATCH_LEASED);
    ck_assert_int_eq(job_state(job), JOB_PROCESSING);
    memory_is_that_of_a_restart();
    store_sim_full(store, false);
}
END_TEST

START_TEST(test_after_the_disk_has_room_again_the_work_goes_on)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    accepted(it.batch, 1);
    store_sim_full(store, true);
    result(it.batch, 1, "done");
    turn();
    core_submission_t *submission = NULL;
    ck_err(ERR_FULL, submit_to(&submission, "noop", 0));
    store_sim_full(store, false);
    pass(2000);
    ck_assert(!core_full(core));
    result(it.batch, 1, "done"); /* unanswered, so sent again (P23) */
    turn();
    ck_assert_int_eq(waiting(MSG_RECORDED), 1);
    ck_assert_int_eq(job_state(it.job), JOB_COMPLETED);
}
END_TEST

/* Turns that the core itself asks for while the disk is full: none may fail again at once, else
 * the process spins and floods its log. */
START_TEST(test_full_disk_is_waited_for_without_spinning)
{
    by_hand = true;
    peer_id_t worker = worker_of(1, 1);
    (void)submit("cleanup_old_jobs", 0, 0);
    (void)submit("health_check", 0, 0);
    msg_dispatch_t it = dispatch_one("noop", 5);
    store_sim_full(store, true);
    result(it.batch, 1, "done");
    (void)submit("cleanup_old_jobs", 0, 0);
    turn();
    ck_assert(core_full(core));
    int turns = 0;
    int64_t end = now + 20000;
    for (; now < end; turns++) {
        ck_assert_msg(turns < 200, "the loop spins");
        int64_t next = core_next_at(core);
        wall += next > now ? next - now : 0;
        now = next > now ? next : now;
        turn();
        if (take(MSG_HELLO).type) {
            hello_ok(0);
            capacity(5);
            hello_from(&worker, NULL, 0); /* passed on (P10): not noted, not tried either */
        }
    }
    ck_assert_uint_le(core_counters(core)->rolled_back_n, 3);
    store_sim_full(store, false);
    pass(LEASE * 2 + 5000);
    ck_assert(!core_full(core));
    ck_assert_int_ge(waiting(MSG_HELLO), 1); /* so that HELLOs come again */
    hello_ok(0);
    capacity(5);
    turn();
    ck_assert_int_gt(batch_row(it.batch).attempt, 1); /* it went on */
}
END_TEST

START_TEST(test_restart_arms_leases_in_full_and_touches_no_row)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    accepted(it.batch, 1);
    pass(LEASE - 1000);
    core_restart();
    ck_assert_uint_eq(batch_row(it.batch).attempt, 1);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    pass(LEASE - 1000);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    pass(2000);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
}
END_TEST

START_TEST(test_restart_spreads_the_ends_of_many_leases_over_one_lease)
{
    capacity(50);
    (void)submit("noop", 50 * 1500, 0);
    for (int i = 0; i < 3; i++) {
        turn();
    }
    ck_assert_int_eq(waiting(MSG_DISPATCH), 50);
    core_restart();
    size_t at = 0;
    int64_t first = INT64_MAX, last = 0;
    for (live_batch_t *batch; (batch = feeder_next_batch(core_feeder(core), &at));) {
        int64_t left = batch->deadline - core_now(core);
        first = left < first ? left : first;
        last = left > last ? left : last;
    }
    ck_assert_int_eq(first, LEASE);
    ck_assert_int_eq(last, LEASE + 49 * LEASE / 1000);
}
END_TEST

START_TEST(test_restart_loads_a_backoff_of_at_most_an_hour)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    failure(it.batch, 1, INT64_MAX);
    turn();
    wall -= 86400000; /* the clock was set back */
    core_restart();
    const live_batch_t *batch = feeder_batch(core_feeder(core), it.batch);
    ck_assert_int_eq(batch->deadline - core_now(core), 3600000);
}
END_TEST

START_TEST(test_gap_of_over_a_second_moves_every_deadline)
{
    msg_dispatch_t it = dispatch_one("noop", 5);
    accepted(it.batch, 1);
    now += 10 * LEASE; /* stopped */
    wall += 10 * LEASE;
    turn();
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    pass(LEASE - 1500);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_LEASED);
    pass(2000);
    ck_assert_int_eq(batch_row(it.batch).state, BATCH_READY);
}
END_TEST

START_TEST(test_gap_of_a_second_is_time_that_passed)
{
    int64_t before = core_now(core);
    now += 1000;
    turn();
    ck_assert_int_eq(core_now(core), before + 1000);
}
END_TEST

START_TEST(test_only_the_time_beyond_what_was_meant_is_a_gap)
{
    (void)dispatch_one("noop", 5);
    int64_t before = core_now(core), meant = core_next_at(core) - now;
    now += meant + 7000;
    turn();
    ck_assert_int_eq(core_now(core), before + meant);
}
END_TEST

START_TEST(test_loop_turns_often_enough_to_notice_a_gap)
{
    (void)dispatch_one("noop", 5);
    ck_assert_int_le(core_next_at(core), now + 500);
}
END_TEST

/* A heartbeat goes to each broker that is up, and HELLO to one that fell silent. */
START_TEST(test_silent_broker_is_greeted_anew_and_gets_no_dispatch)
{
    forget_sent();
    capacity(1);
    for (int i = 0; i < 4; i++) {
        now += 1000;
        pong_of(1);
        turn();
    }
    ck_assert(!core_broker_up(core, 0));
    ck_assert(core_broker_up(core, 1));
    ck_assert_int_ge(waiting(MSG_HELLO), 1);
    (void)submit("noop", 5, 0);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 0);
    capacity_of(1, BOTH, 1500, 1);
    turn();
    ck_assert_int_eq(waiting(MSG_DISPATCH), 1);
}
END_TEST

/* -- bytes from strangers -- */

static uint64_t random_state;

static uint32_t random_below(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

/* Random bytes, and real messages with bytes changed or cut off. */
static frames_t garbage(void)
{
    uint8_t bytes[300];
    size_t n = random_below(sizeof bytes);
    if (sent_n > 0 && random_below(4) > 0) {
        const blob_t *head = sent[random_below((uint32_t)sent_n)].frames.head;
        n = blob_n(head) < sizeof bytes ? blob_n(head) : sizeof bytes;
        memcpy(bytes, blob_data(head), n);
        n = random_below(3) == 0 ? random_below((uint32_t)n + 1) : n;
        for (uint32_t i = random_below(4); i > 0 && n > 0; i--) {
            bytes[random_below((uint32_t)n)] = (uint8_t)random_below(256);
        }
        if (n > 8) {
            bytes[7] = (uint8_t)random_below(60); /* the type, in the shortest form */
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (uint8_t)random_below(256);
        }
    }
    frames_t frames = {.head = blob_new(bytes, n)};
    uint8_t route[WIRE_PEER_N] = {1, (uint8_t)random_below(3)};
    frames_route(&frames, route, random_below(3) ? WIRE_PEER_N : random_below(2) ? 0 : 8);
    return frames;
}

START_TEST(test_garbage_is_counted_and_never_ends_the_process)
{
    const char *given = getenv("SEED");
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)getpid() * 2654435761u;
    printf("garbage: SEED=%llu\n", (unsigned long long)random_state);
    fflush(stdout);
    msg_dispatch_t it = dispatch_one("noop", 500);
    peer_id_t worker = worker_of(1, 1);
    hello_from(&worker, NULL, 0);
    heartbeat_from(&worker, it.batch, 1);
    turn();
    for (int i = 0; i < 20000; i++) {
        frames_t frames = garbage();
        core_receive(core, (int)random_below(BROKERS), &frames);
        if (random_below(20) == 0) {
            now += random_below(100);
            wall += 1;
            turn();
        }
        if (sent_n > 1000) {
            forget_sent();
            seen[0] = core->brokers[0].capacity.sent;
        }
    }
    turn();
    ck_assert_uint_gt(core_counters(core)->garbage_n, 1000);
}
END_TEST

START_TEST(test_what_is_no_message_is_counted)
{
    frames_t frames = {.head = blob_new("no msgpack", 10)};
    core_receive(core, 0, &frames);
    hear(0, NULL, &(msg_t){.type = MSG_TICKETS}, NULL); /* not for a store */
    frames = frames_of(&(msg_t){.type = MSG_PONG}, NULL);
    frames_route(&frames, "12345678", 8);
    core_receive(core, 0, &frames);
    ck_assert_uint_eq(core_counters(core)->garbage_n, 3);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_nothing_is_sent_before_the_commit,
        test_call_after_the_commit_hears_ok_once,
        test_destroy_cancels_calls_that_wait,
        test_failed_commit_sends_nothing_and_memory_is_that_of_a_restart,
        test_after_the_disk_has_room_again_the_work_goes_on,
        test_full_disk_is_waited_for_without_spinning,
        test_restart_arms_leases_in_full_and_touches_no_row,
        test_restart_spreads_the_ends_of_many_leases_over_one_lease,
        test_restart_loads_a_backoff_of_at_most_an_hour,
        test_gap_of_over_a_second_moves_every_deadline,
        test_gap_of_a_second_is_time_that_passed,
        test_only_the_time_beyond_what_was_meant_is_a_gap,
        test_loop_turns_often_enough_to_notice_a_gap,
        test_silent_broker_is_greeted_anew_and_gets_no_dispatch,
        test_garbage_is_counted_and_never_ends_the_process,
        test_what_is_no_message_is_counted,
    };
    return run_suite("core_turn", tests, sizeof tests / sizeof *tests);
}

/* Schedules and ticks in the api's core (PROTOCOL 8): a tick and its job are one transaction. */
#include "tests/api/core_world.h"

static const uint8_t scheduler[WIRE_PEER_N] = {9, 9};

static msg_schedules_t schedules(uint64_t revision)
{
    msg_t msg = {.type = MSG_SCHEDULES_GET,
                 .schedules_get = {.scheduler = str_of("s1"), .revision = revision}};
    hear(0, scheduler, &msg, NULL);
    turn();
    msg = take(MSG_SCHEDULES);
    ck_assert_int_eq(msg.type, MSG_SCHEDULES);
    return msg.schedules;
}

static void say_tick(uint64_t revision, const char *schedule, int64_t nominal_at)
{
    msg_t msg = {.type = MSG_TICK,
                 .tick = {.scheduler = str_of("s1"),
                          .revision = revision,
                          .schedule = str_of(schedule),
                          .nominal_at = nominal_at}};
    hear(0, scheduler, &msg, NULL);
}

static msg_tick_ok_t tick(const char *schedule, int64_t nominal_at)
{
    say_tick(schedules(0).revision, schedule, nominal_at);
    turn();
    msg_t msg = take(MSG_TICK_OK);
    ck_assert_int_eq(msg.type, MSG_TICK_OK);
    ck_assert_int_eq(msg.tick_ok.nominal_at, nominal_at);
    return msg.tick_ok;
}

START_TEST(test_p32_snapshot_has_both_schedules_and_the_stores_clock)
{
    msg_schedules_t it = schedules(0);
    ck_assert_uint_eq(it.schedules_n, 2);
    ck_assert_int_eq(it.wall_at, wall);
    uint64_t revision = it.revision;
    ck_assert_uint_gt(revision, 0);
    it = schedules(revision);
    ck_assert_uint_eq(it.revision, revision);
    ck_assert_uint_eq(it.schedules_n, 0); /* nothing has changed */
}
END_TEST

START_TEST(test_restart_makes_no_second_schedule_and_no_new_revision)
{
    uint64_t revision = schedules(0).revision;
    core_restart();
    msg_schedules_t it = schedules(0);
    ck_assert_uint_eq(it.revision, revision);
    ck_assert_uint_eq(it.schedules_n, 2);
}
END_TEST

START_TEST(test_p33_tick_fires_and_makes_its_job)
{
    pass(5000);
    int64_t nominal = wall - 100;
    msg_tick_ok_t it = tick("health_check", nominal);
    ck_assert_uint_eq(it.outcome, TICK_FIRED);
    job_row_t row = job_row(it.job);
    ck_assert_str_eq(row.task, "health_check");
    job_row_free(&row);
    schedule_row_t schedule = {0};
    ck_ok(store_schedule_get(store, "health_check", &schedule));
    ck_assert_int_eq(schedule.last_nominal_at, nominal);
    free(schedule.params);
}
END_TEST

START_TEST(test_p33_second_tick_of_a_time_is_a_duplicate)
{
    pass(5000);
    (void)tick("health_check", wall);
    ck_assert_uint_eq(tick("health_check", wall).outcome, TICK_DUPLICATE);
    ck_assert_uint_eq(tick("health_check", wall - 1).outcome, TICK_DUPLICATE);
    ck_assert_uint_eq(tick("cleanup_old_jobs", wall).outcome, TICK_FIRED);
}
END_TEST

START_TEST(test_p33_two_ticks_in_one_turn_make_one_job)
{
    pass(5000);
    uint64_t revision = schedules(0).revision;
    say_tick(revision, "health_check", wall);
    say_tick(revision, "health_check", wall);
    turn();
    ck_assert_uint_eq(take(MSG_TICK_OK).tick_ok.outcome, TICK_FIRED);
    ck_assert_uint_eq(take(MSG_TICK_OK).tick_ok.outcome, TICK_DUPLICATE);
}
END_TEST

START_TEST(test_p33_over_two_seconds_in_the_stores_future_is_refused)
{
    ck_assert_uint_eq(tick("health_check", wall + 2001).outcome, TICK_REFUSED);
    ck_assert_uint_eq(tick("health_check", INT64_MAX).outcome, TICK_REFUSED);
    ck_assert_uint_eq(tick("health_check", wall + 2000).outcome, TICK_FIRED);
}
END_TEST

START_TEST(test_p33_unknown_schedule_is_refused)
{
    msg_tick_ok_t it = tick("no such", wall);
    ck_assert_uint_eq(it.outcome, TICK_REFUSED);
    ck_assert(str_equal(it.text, str_of("no such schedule")));
}
END_TEST

START_TEST(test_p33_tick_of_another_revision_is_stale)
{
    pass(5000);
    say_tick(schedules(0).revision + 1, "health_check", wall);
    turn();
    ck_assert_uint_eq(take(MSG_TICK_OK).tick_ok.outcome, TICK_STALE_REVISION);
}
END_TEST

/* No verb pauses a schedule yet: one is made that is. */
START_TEST(test_p33_paused_schedule_refuses)
{
    schedule_row_t row = {.name = "quiet",
                          .expression = "every 5m",
                          .zone = "UTC",
                          .paused = true,
                          .last_nominal_at = wall,
                          .params = mem_text("{}")};
    row.task_id = feeder_task(core_feeder(core), "health_check", 12)->row.id;
    ck_ok(store_begin(store));
    ck_ok(store_schedule_ensure(store, &row, wall));
    ck_ok(store_commit(store));
    free(row.params);
    schedule_row_t made = {0};
    ck_ok(store_schedule_get(store, "quiet", &made));
    free(made.params);
    ck_assert(made.paused);
    pass(5000);
    msg_tick_ok_t it = tick("quiet", wall);
    ck_assert_uint_eq(it.outcome, TICK_REFUSED);
    ck_assert(str_equal(it.text, str_of("the schedule is paused")));
}
END_TEST

START_TEST(test_tick_of_a_failed_commit_is_not_answered_and_fires_when_asked_again)
{
    pass(5000);
    uint64_t revision = schedules(0).revision;
    store_sim_full(store, true);
    say_tick(revision, "health_check", wall);
    turn();
    ck_assert_int_eq(waiting(MSG_TICK_OK), 0);
    ck_assert_uint_eq(feeder_jobs_n(core_feeder(core)), 0);
    store_sim_full(store, false);
    pass(2000);
    ck_assert_uint_eq(tick("health_check", wall - 2000).outcome, TICK_FIRED);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_p32_snapshot_has_both_schedules_and_the_stores_clock,
        test_restart_makes_no_second_schedule_and_no_new_revision,
        test_p33_tick_fires_and_makes_its_job,
        test_p33_second_tick_of_a_time_is_a_duplicate,
        test_p33_two_ticks_in_one_turn_make_one_job,
        test_p33_over_two_seconds_in_the_stores_future_is_refused,
        test_p33_unknown_schedule_is_refused,
        test_p33_tick_of_another_revision_is_stale,
        test_p33_paused_schedule_refuses,
        test_tick_of_a_failed_commit_is_not_answered_and_fires_when_asked_again,
    };
    return run_suite("core_schedule", tests, sizeof tests / sizeof *tests);
}

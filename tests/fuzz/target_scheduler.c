/* The scheduler's core and planner. Each step is a byte and what it needs: snapshots of schedules
 * from small pools, answers to ticks, time, losses. Every TICK is judged by the calendar itself. */
#include "common/err.h"
#include "scheduler/core.h"
#include "scheduler/cron.h"
#include "scheduler/planner.h"
#include "tests/fuzz/fuzz.h"

enum { BROKERS = 2, SCHEDULES = 6, SPINS = 200 };
#define WALL INT64_C(1790000000000)

static const char *const expressions[] = {"* * * * *", "*/5 * * * *", "every 7s",
                                          "0 3 * * *", "30 2 * * 0",  "every 1d from 02:30",
                                          "nonsense",  "@hourly"};
static const char *const zones_known[] = {"UTC", "Europe/Berlin", "Not/There"};
static const char *const names[SCHEDULES] = {"s0", "s1", "s2", "s3", "s4", "s5"};

typedef struct {
    bool here, paused;
    const char *expression, *zone;
    uint32_t catch_up;
    int64_t last_at;
} schedule_t;

static scheduler_core_t *core;
static wire_arena_t *arena;
static zones_t *zones;           /* read once: the only thing that stays */
static int64_t now, store_ahead; /* the store's clock less ours */
static schedule_t schedules[SCHEDULES];
static uint64_t revision; /* of the last snapshot sent; judged only while it is the known one */
static bool judged, unconnected;
static int64_t asked[SCHEDULES]; /* nominal time of the newest tick that was asked for */

static int64_t wall(void)
{
    return WALL + now + store_ahead;
}

static void on_tick(const msg_tick_t *msg)
{
    int i = 0;
    while (i < SCHEDULES && !str_equal(msg->schedule, str_of(names[i]))) {
        i++;
    }
    FUZZ_CHECK(i < SCHEDULES, "a tick of no schedule");
    if (!judged) {
        return;
    }
    const schedule_t *it = &schedules[i];
    cron_t cron;
    const zone_t *zone = NULL;
    FUZZ_CHECK(msg->revision == revision, "a tick of another revision");
    FUZZ_CHECK(it->here && !it->paused, "a tick of a schedule that rests");
    FUZZ_CHECK(cron_parse(&cron, it->expression) == ERR_OK &&
                   zones_find(zones, it->zone, &zone) == ERR_OK,
               "a tick of a rule that is none");
    FUZZ_CHECK(msg->nominal_at > it->last_at, "a tick that has been");
    FUZZ_CHECK(schedule_next(&cron, zone, msg->nominal_at - 1) == msg->nominal_at,
               "%lld is no tick of \"%s\"", (long long)msg->nominal_at, it->expression);
    FUZZ_CHECK(msg->nominal_at <= wall(), "a tick before its time");
    FUZZ_CHECK(it->catch_up != PLANNER_NONE || msg->nominal_at > WALL - 2 * PLANNER_LATE_MS,
               "a missed tick whose policy is none");
    FUZZ_CHECK(msg->nominal_at >= asked[i], "ticks of one schedule out of order");
    asked[i] = msg->nominal_at;
}

static bool on_send(void *context, int broker, frames_t *frames)
{
    (void)context;
    FUZZ_CHECK(broker >= 0 && broker < BROKERS, "broker %d", broker);
    msg_t msg;
    FUZZ_CHECK(wire_decode(arena, blob_data(frames->head), blob_n(frames->head), &msg) == ERR_OK,
               "it sent what is no message: %s", err_text());
    if (msg.type == MSG_TICK) {
        on_tick(&msg.tick);
    }
    frames_free(frames);
    return !unconnected;
}

static void hear(int broker, const msg_t *msg)
{
    frames_t frames = frames_of(msg, NULL);
    scheduler_core_receive(core, broker, &frames, now);
    FUZZ_CHECK(!frames.head, "frames are left");
}

static void snapshot(feed_t *feed, bool same)
{
    wire_schedule_t rows[SCHEDULES + 1];
    uint32_t n = 0;
    if (!same) {
        revision++;
        memset(asked, 0, sizeof asked);
        for (int i = 0; i < SCHEDULES; i++) {
            uint32_t how = feed_byte(feed);
            schedules[i] =
                (schedule_t){.here = how & 3,
                             .paused = (how & 12) == 12,
                             .expression = expressions[feed_below(feed, 8)],
                             .zone = zones_known[(how >> 4) % 3],
                             .catch_up = (how >> 6) % 3,
                             .last_at = wall() - 1000 * (int64_t)feed_below(feed, 65535)};
        }
    }
    for (int i = 0; i < SCHEDULES && !same; i++) {
        const schedule_t *it = &schedules[i];
        if (it->here) {
            rows[n++] = (wire_schedule_t){.name = str_of(names[i]),
                                          .expression = str_of(it->expression),
                                          .zone = str_of(it->zone),
                                          .catch_up = it->catch_up,
                                          .paused = it->paused,
                                          .last_at = it->last_at};
        }
    }
    if (n && feed_chance(feed, 4)) {
        rows[n++] = rows[0]; /* a name twice: refused as a whole */
        judged = false;
    } else if (!same) {
        judged = true;
    }
    msg_t msg = {.type = MSG_SCHEDULES,
                 .schedules = {
                     .revision = revision, .wall_at = wall(), .schedules = rows, .schedules_n = n}};
    hear((int)feed_below(feed, BROKERS), &msg);
}

static void answer(feed_t *feed)
{
    uint32_t i = feed_below(feed, SCHEDULES);
    msg_t msg = {.type = MSG_TICK_OK,
                 .tick_ok = {.schedule = str_of(names[i]),
                             .nominal_at = asked[i] + (feed_chance(feed, 16) ? 60000 : 0),
                             .outcome = feed_below(feed, 6),
                             .job = 1,
                             .text = str_of("")}};
    hear(0, &msg);
}

/* Bytes as they are, behind a head that is one: a store that is broken. */
static void raw(feed_t *feed)
{
    uint8_t head[64] = {0x99, 0xce, 0x53, 0x54, 0x4e, 0x54, 0x01};
    size_t n = 7 + feed_below(feed, 50);
    for (size_t i = 7; i < n; i++) {
        head[i] = (uint8_t)feed_byte(feed);
    }
    head[0] = (uint8_t)(0x90 | (feed_byte(feed) & 15));
    msg_type_t type = MSG_NONE;
    if (wire_peek(head, n, &type) == ERR_OK && type == MSG_SCHEDULES) {
        judged = false;
    }
    frames_t frames = {.head = blob_new(head, n)};
    scheduler_core_receive(core, (int)feed_below(feed, BROKERS), &frames, now);
}

/* A clock that is far away: what comes of it is not judged but by the sanitizers. */
static void far(feed_t *feed)
{
    judged = false;
    msg_t msg = {.type = MSG_SCHEDULES,
                 .schedules = {.revision = revision,
                               .wall_at = feed_chance(feed, 32)   ? INT64_MIN
                                          : feed_chance(feed, 32) ? INT64_MAX
                                                                  : (int64_t)feed_u64(feed)}};
    hear(0, &msg);
}

static void start_scheduler(void)
{
    scheduler_options_t options = {
        .name = "s", .host = "h", .brokers_n = BROKERS, .heartbeat_ms = 1000};
    options.incarnation[0] = 1;
    core = scheduler_core_new(&options, zones, (scheduler_effects_t){.send = on_send});
    judged = false;
    memset(asked, 0, sizeof asked);
}

static void turn(void)
{
    scheduler_core_turn(core, now);
    for (int i = 0; i < SPINS && scheduler_core_next_at(core) <= now; i++) {
        FUZZ_CHECK(i + 1 < SPINS, "the loop spins");
        scheduler_core_turn(core, now);
    }
}

static void step(feed_t *feed)
{
    int64_t next;
    switch (feed_byte(feed) % 14) {
    case 0:
    case 1:
    case 2:
        next = scheduler_core_next_at(core);
        now = next > now && next < now + 10000000 ? next : now + 1;
        break;
    case 3:
        now += 100 * (int64_t)feed_byte(feed);
        break;
    case 4:
        now += 60000 * (int64_t)feed_byte(feed);
        break;
    case 5:
        hear((int)feed_below(feed, BROKERS), &(msg_t){.type = MSG_HELLO_OK});
        break;
    case 6:
        snapshot(feed, false);
        break;
    case 7:
        snapshot(feed, true);
        break;
    case 8:
    case 9:
        answer(feed);
        break;
    case 10:
        hear((int)feed_below(feed, BROKERS), &(msg_t){.type = MSG_PONG});
        break;
    case 11:
        raw(feed);
        break;
    case 12:
        hear(0, feed_chance(feed, 128)
                    ? &(msg_t){.type = MSG_RECONNECT}
                    : &(msg_t){.type = MSG_SCHEDULES_CHANGED, .schedules_changed = {revision}});
        unconnected = feed_chance(feed, 32);
        break;
    default:
        if (feed_chance(feed, 64)) {
            far(feed);
        } else {
            scheduler_core_destroy(&core);
            start_scheduler();
        }
    }
    turn();
}

void fuzz_scheduler(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    zones = zones ? zones : zones_new(NULL);
    now = 1000000;
    store_ahead = 0;
    revision = 1;
    unconnected = false;
    memset(schedules, 0, sizeof schedules);
    arena = wire_arena_new();
    start_scheduler();
    turn();
    hear(0, &(msg_t){.type = MSG_HELLO_OK});
    for (int steps = 0; steps < 400 && feed_left(&feed) > 0; steps++) {
        step(&feed);
    }
    scheduler_core_destroy(&core);
    wire_arena_destroy(&arena);
}

/* The broker's core. Each step is a byte and what it needs: peers come, go, fall silent, grant
 * tickets, dispatch, with ids from small pools. The rules are judged from what it sent. */
#include "broker/core.h"
#include "tests/fuzz/fuzz.h"

enum { LINKS = 6, NAMES = 3, LIVES = 4, TICKETS = 512, WINDOW = 8, TTL = 3000, SPINS = 40 };

/* Links 0 and 1 are of the frontend, the others of the backend. */
typedef struct {
    uint64_t incarnation; /* it said HELLO with; 0 = none */
} line_t;

static broker_core_t *core;
static wire_arena_t *arena;
static int64_t now;
static line_t lines[LINKS];
static int deaf;
static uint8_t own_life;
static bool given[NAMES * LIVES][TICKETS]; /* to a DISPATCH, in this life of the broker (P14) */
static bool named[NAMES * LIVES][TICKETS]; /* in a TICKETS message */
/* What a worker keeps: no ticket comes back once it was left out of a message, or ended (P13). */
typedef struct {
    uint32_t low; /* older tickets are over */
    bool over[TICKETS];
    uint64_t seq;
    int64_t named_at;
    frames_t old; /* an earlier TICKETS on this connection, which may arrive late */
} granter_t;
static granter_t granters[NAMES * LIVES];
static const blob_t *passing; /* head of the frames being received */
static const blob_t *passing_body;
static int passed; /* how often in this call */
static uint32_t undeliverable_n, dispatched_n;
static uint64_t last_api, last_number; /* of the newest DISPATCH that went to a worker */

static link_id_t link_of(int n)
{
    link_id_t id = {.n = 5};
    memcpy(id.bytes + 1, &n, 4);
    return id;
}

static broker_side_t side_of(int link)
{
    return link < 2 ? BROKER_FRONTEND : BROKER_BACKEND;
}

/* 16 bytes; never 0. */
static const uint8_t *bytes_of(uint64_t incarnation)
{
    static uint8_t bytes[WIRE_PEER_N];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &incarnation, sizeof incarnation);
    return bytes;
}

static uint64_t incarnation_of(uint32_t name, uint32_t which)
{
    return 1 + name * LIVES + which;
}

static void on_dispatch(int link, const frames_t *frames)
{
    FUZZ_CHECK(frames->head == passing && frames->body == passing_body,
               "a DISPATCH is not passed on byte for byte (P4)");
    FUZZ_CHECK(side_of(link) == BROKER_BACKEND && frames->route_n == 8,
               "a DISPATCH without ticket");
    uint64_t ticket = wire_ticket_get(frames->route), who = lines[link].incarnation;
    FUZZ_CHECK(who > 0 && ticket < TICKETS, "a ticket nobody granted");
    FUZZ_CHECK(named[who - 1][ticket], "a ticket that worker did not grant");
    FUZZ_CHECK(!given[who - 1][ticket], "ticket %llu is given twice (P14)",
               (unsigned long long)ticket);
    given[who - 1][ticket] = link != deaf; /* what nobody got may be used again */
    dispatched_n += link != deaf;
}

static void on_capacity(const msg_capacity_is_t *msg)
{
    uint64_t n = 0, most = 0;
    for (uint32_t i = 0; i < msg->groups_n; i++) {
        n += msg->groups[i].n;
        FUZZ_CHECK(msg->groups[i].n > 0, "an empty group");
    }
    for (int who = 0; who < NAMES * LIVES; who++) {
        for (int ticket = 0; ticket < TICKETS; ticket++) {
            most += named[who][ticket] && !given[who][ticket];
        }
    }
    FUZZ_CHECK(n <= most, "CAPACITY of %llu, but only %llu tickets are free", (unsigned long long)n,
               (unsigned long long)most);
}

static bool on_send(void *context, broker_side_t side, const link_id_t *to, frames_t *frames)
{
    (void)context;
    int link = 0;
    memcpy(&link, to->bytes + 1, 4);
    FUZZ_CHECK(link >= 0 && link < LINKS && side == side_of(link), "to nobody");
    msg_t msg;
    FUZZ_CHECK(wire_decode(arena, blob_data(frames->head), blob_n(frames->head), &msg) == ERR_OK ||
                   frames->head == passing,
               "it sent what is no message");
    msg_type_t type = MSG_NONE;
    (void)!wire_peek(blob_data(frames->head), blob_n(frames->head), &type);
    if (type == MSG_DISPATCH) {
        on_dispatch(link, frames);
    } else if (type == MSG_UNDELIVERABLE) {
        undeliverable_n++;
    } else if (type == MSG_CAPACITY) {
        on_capacity(&msg.capacity_is);
    }
    passed += frames->head == passing;
    bool taken = link != deaf;
    frames_free(frames);
    return taken;
}

static void start_broker(void)
{
    broker_options_t options = {.heartbeat_ms = 1000};
    options.incarnation[0] = ++own_life;
    memset(given, 0, sizeof given);
    last_api = last_number = 0;
    core = broker_core_new(&options, (broker_effects_t){.send = on_send});
}

static void say_frames(int link, frames_t frames)
{
    link_id_t id = link_of(link);
    passing = frames.head;
    passing_body = frames.body;
    passed = 0;
    undeliverable_n = dispatched_n = 0;
    broker_core_receive(core, side_of(link), &id, &frames, now);
    FUZZ_CHECK(!frames.head, "frames are left");
    FUZZ_CHECK(undeliverable_n + dispatched_n <= 1, "a DISPATCH has %u copies and %u answers (P16)",
               dispatched_n, undeliverable_n);
    passing = NULL;
    passing_body = NULL;
}

static void say(int link, const msg_t *msg)
{
    say_frames(link, frames_of(msg, blob_new("body", 4)));
}

static void hello(feed_t *feed)
{
    static const char *const names[NAMES] = {"w0", "w1", "w2"};
    uint32_t name = feed_below(feed, NAMES), which = feed_below(feed, LIVES);
    int link = (int)feed_below(feed, LINKS);
    bool front = side_of(link) == BROKER_FRONTEND;
    wire_task_offer_t offers[3] = {
        {.name = str_of("noop")}, {.name = str_of("pay")}, {.name = str_of("odd,name")}};
    uint32_t odd = feed_byte(feed);
    /* The api and schedulers have incarnations of their own. */
    uint64_t incarnation = incarnation_of(name, which) + (front ? 100 : 0);
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.role = !front                  ? WIRE_ROLE_WORKER
                                   : feed_chance(feed, 64) ? WIRE_ROLE_SCHEDULER
                                                           : WIRE_ROLE_API,
                           .name = str_of(names[name]),
                           .incarnation = str_bytes(bytes_of(incarnation), WIRE_PEER_N),
                           .store_id = str_bytes("0123456789abcdef", WIRE_PEER_N),
                           .slots = feed_chance(feed, 16) ? feed_u64(feed) : 2,
                           .tasks = offers,
                           .tasks_n = front       ? 0
                                      : odd > 250 ? 3
                                                  : 2}};
    if (odd == 250) {
        msg.hello.incarnation.n = 15;
    }
    bool refused = odd == 250 || (!front && odd > 250);
    if (!refused) {
        bool same = lines[link].incarnation == incarnation;
        for (int i = 0; i < LINKS; i++) {
            lines[i].incarnation = lines[i].incarnation == incarnation ? 0 : lines[i].incarnation;
        }
        if (!front && !same) {
            frames_free(&granters[incarnation - 1].old); /* it went with its connection */
        }
        lines[link].incarnation = incarnation;
    }
    say(link, &msg);
}

static void say_tickets(int link, frames_t frames, feed_t *feed)
{
    granter_t *granter = &granters[lines[link].incarnation - 1];
    frames_t copy = frames_copy(&frames);
    say_frames(link, frames);
    if (feed_chance(feed, 64)) {
        frames_free(&granter->old);
        granter->old = frames_copy(&copy);
    }
    frames_free(&copy);
}

static void grant(feed_t *feed)
{
    int link = 2 + (int)feed_below(feed, LINKS - 2);
    uint64_t who = lines[link].incarnation;
    if (!who) {
        say(link, &(msg_t){.type = MSG_TICKETS});
        return;
    }
    granter_t *granter = &granters[who - 1];
    if (granter->old.head && feed_chance(feed, 32)) {
        say_frames(link, frames_copy(&granter->old)); /* it was overtaken */
        return;
    }
    if (granter->named_at + TTL <= now) {
        granter->low += WINDOW;
    }
    granter->low += feed_below(feed, 4);
    uint32_t mask = feed_byte(feed), n = 0;
    wire_grant_t grants[WINDOW];
    for (uint32_t i = 0; i < TICKETS; i++) {
        bool in = i >= granter->low && i < granter->low + WINDOW &&
                  mask >> (i - granter->low) & 1 && !granter->over[i];
        granter->over[i] = granter->over[i] || (!in && named[who - 1][i]) || i < granter->low;
        if (in) {
            named[who - 1][i] = true;
            grants[n++] = (wire_grant_t){
                .ticket = i,
                .tasks = 1 + feed_below(feed, 3),
                .max_items = feed_chance(feed, 16) ? feed_u64(feed) : 100 * feed_below(feed, 16)};
        }
    }
    granter->named_at = now;
    msg_t msg = {.type = MSG_TICKETS,
                 .tickets = {.seq = ++granter->seq,
                             .ttl_ms = feed_chance(feed, 16) ? (int64_t)feed_below(feed, TTL) : TTL,
                             .grants = grants,
                             .grants_n = n}};
    say_tickets(link, frames_of(&msg, NULL), feed);
}

static void dispatch(feed_t *feed)
{
    static const char *const tasks[] = {"noop", "pay", "unknown"};
    uint8_t life[WIRE_PEER_N] = {(uint8_t)(own_life - feed_chance(feed, 16))};
    msg_t msg = {.type = MSG_DISPATCH,
                 .dispatch = {.store_id = str_bytes("0123456789abcdef", WIRE_PEER_N),
                              .batch = feed_below(feed, 16),
                              .attempt = feed_below(feed, 4),
                              .task = str_of(tasks[feed_below(feed, 3)]),
                              .items_n = 100 * feed_below(feed, 16),
                              .broker = str_bytes(life, WIRE_PEER_N),
                              .number = feed_below(feed, 256)}};
    int link = (int)feed_below(feed, 2);
    uint64_t from = lines[link].incarnation;
    bool copy = from == last_api && msg.dispatch.number <= last_number;
    say(link, &msg);
    FUZZ_CHECK(dispatched_n == 0 || (life[0] == own_life && !copy),
               "a copy, or what is meant for another life, takes a ticket (P16)");
    /* Two apis at one broker are no fleet: what the first one numbered is then forgotten. */
    if (dispatched_n || from != last_api) {
        last_api = from;
        last_number = dispatched_n ? msg.dispatch.number : 0;
    }
}

/* What is passed between peers and store. */
static void pass(feed_t *feed)
{
    static const msg_type_t types[] = {
        MSG_RESULT,    MSG_FAILURE,      MSG_REFUSED,       MSG_HANDED_BACK, MSG_ACCEPTED,
        MSG_HEARTBEAT, MSG_PARTIALS_GET, MSG_SCHEDULES_GET, MSG_TICK,        MSG_RECORDED,
        MSG_DISCARDED, MSG_HEARTBEAT_OK, MSG_PARTIALS,      MSG_SCHEDULES,   MSG_TICK_OK,
        MSG_BYE,       MSG_PING,         MSG_CAPACITY};
    msg_t msg = {.type = types[feed_below(feed, sizeof types / sizeof *types)]};
    frames_t frames = frames_of(&msg, NULL);
    if (feed_chance(feed, 128)) {
        uint64_t to = incarnation_of(feed_below(feed, NAMES), feed_below(feed, LIVES));
        frames_route(&frames, bytes_of(to), WIRE_PEER_N);
    }
    say_frames((int)feed_below(feed, LINKS), frames);
    FUZZ_CHECK(passed <= 1, "a message is passed on twice");
}

static void raw(feed_t *feed)
{
    uint8_t head[64] = {0x99, 0xce, 0x53, 0x54, 0x4e, 0x54, 0x01};
    size_t n = 7 + feed_below(feed, 40);
    for (size_t i = 7; i < n; i++) {
        head[i] = (uint8_t)feed_byte(feed);
    }
    head[0] = (uint8_t)(0x90 | (feed_byte(feed) & 15));
    if (feed_chance(feed, 32)) {
        head[6] = 2; /* another version */
    }
    int link = (int)feed_below(feed, LINKS);
    /* HELLO and TICKETS would be read, and are judged by ids this room knows. */
    if (head[7] != MSG_HELLO && head[7] != MSG_TICKETS) {
        say_frames(link, (frames_t){.head = blob_new(head, n)});
    }
}

static void turn(void)
{
    broker_core_turn(core, now);
    for (int i = 0; i < SPINS && broker_core_next_at(core) <= now; i++) {
        FUZZ_CHECK(i + 1 < SPINS, "the loop spins");
        broker_core_turn(core, now);
    }
    FUZZ_CHECK(broker_core_peers_n(core) <= LINKS, "%u peers on %d links",
               broker_core_peers_n(core), LINKS);
}

static void step(feed_t *feed)
{
    int64_t next;
    switch (feed_byte(feed) % 16) {
    case 0:
        next = broker_core_next_at(core);
        now = next != INT64_MAX && next > now && next < now + 100000 ? next : now + 1;
        break;
    case 1:
        now += 10 * (int64_t)feed_byte(feed);
        break;
    case 2:
    case 3:
    case 4:
        hello(feed);
        break;
    case 5:
    case 6:
    case 7:
        grant(feed);
        break;
    case 8:
    case 9:
    case 10:
        dispatch(feed);
        break;
    case 11:
    case 12:
        pass(feed);
        break;
    case 13:
        raw(feed);
        break;
    case 14:
        deaf = (int)feed_below(feed, 16);
        break;
    default:
        if (feed_chance(feed, 64)) {
            broker_core_destroy(&core);
            memset(lines, 0, sizeof lines);
            start_broker();
        } else {
            say((int)feed_below(feed, 2), &(msg_t){.type = MSG_PING, .ping.seq = 1});
        }
    }
    turn();
}

void fuzz_broker(const uint8_t *data, size_t n)
{
    feed_t feed = feed_of(data, n);
    now = 1000000;
    own_life = 0;
    deaf = LINKS;
    memset(lines, 0, sizeof lines);
    memset(named, 0, sizeof named);
    memset(granters, 0, sizeof granters);
    arena = wire_arena_new();
    start_broker();
    for (int steps = 0; steps < 400 && feed_left(&feed) > 0; steps++) {
        step(&feed);
    }
    broker_core_destroy(&core);
    for (int i = 0; i < NAMES * LIVES; i++) {
        frames_free(&granters[i].old);
    }
    wire_arena_destroy(&arena);
}

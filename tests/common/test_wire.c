#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/wire.h"

/* -- one filled and one compared message of each kind, made from the table
 * ------------------------------ */

static uint64_t random_state = 1;
static uint64_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    uint64_t high = random_state >> 32;
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    /* All magnitudes alike: msgpack writes each in another form. */
    return (high << 32 | random_state >> 32) >> (random_state % 64);
}

static char letters[300];
static str_t random_text(void)
{
    return str_bytes(letters, random_bits() % sizeof letters);
}

static uint8_t pool[1 << 20];
static size_t pool_n;
static void *pool_take(size_t n)
{
    void *out = pool + pool_n;
    pool_n += (n + 15) & ~(size_t)15;
    ck_assert_uint_le(pool_n, sizeof pool);
    memset(out, 0, n);
    return out;
}

#define PART(name)                                                                                 \
    static void fill_##name(wire_##name##_t *it)                                                   \
    {
#define END_PART(name) }
#define MESSAGE(number, NAME, name)                                                                \
    static void fill_msg_##name(msg_##name##_t *it)                                                \
    {
#define END_MESSAGE(name) }
#define U64(field)        it->field = random_bits();
#define I64(field)        it->field = (int64_t)(random_bits() * ((random_bits() & 1) ? 1 : -1ull));
#define STR(field)        it->field = random_text();
#define BIN(field)        it->field = random_text();
#define LIST(part, field)                                                                          \
    it->field##_n = (uint32_t)(random_bits() % 20);                                                \
    it->field = pool_take(it->field##_n * sizeof *it->field);                                      \
    for (uint32_t i = 0; i < it->field##_n; i++) {                                                 \
        fill_##part(&it->field[i]);                                                                \
    }
#include "schema/messages.def"
#include "common/wire_undef.h"

#define PART(name)                                                                                 \
    static void same_##name(const wire_##name##_t *a, const wire_##name##_t *b)                    \
    {
#define END_PART(name) }
#define MESSAGE(number, NAME, name)                                                                \
    static void same_msg_##name(const msg_##name##_t *a, const msg_##name##_t *b)                  \
    {
#define END_MESSAGE(name) }
#define U64(field)        ck_assert_uint_eq(a->field, b->field);
#define I64(field)        ck_assert_int_eq(a->field, b->field);
#define STR(field)        ck_assert(str_equal(a->field, b->field));
#define BIN(field)        ck_assert(str_equal(a->field, b->field));
#define LIST(part, field)                                                                          \
    ck_assert_uint_eq(a->field##_n, b->field##_n);                                                 \
    for (uint32_t i = 0; i < a->field##_n; i++) {                                                  \
        same_##part(&a->field[i], &b->field[i]);                                                   \
    }
#include "schema/messages.def"
#include "common/wire_undef.h"

#define PART(name)
#define END_PART(name)
#define END_MESSAGE(name)
#define U64(field)
#define I64(field)
#define STR(field)
#define BIN(field)
#define LIST(part, field)

static const msg_type_t types[] = {
#define MESSAGE(number, NAME, name) MSG_##NAME,
#include "schema/messages.def"
#undef MESSAGE
};
enum { TYPES_N = sizeof types / sizeof types[0] };

static msg_t filled(msg_type_t type)
{
    msg_t msg = {.type = type};
    pool_n = 0;
    switch (type) {
#define MESSAGE(number, NAME, name)                                                                \
    case MSG_##NAME:                                                                               \
        fill_msg_##name(&msg.name);                                                                \
        break;
#include "schema/messages.def"
#undef MESSAGE
    case MSG_NONE:
    case MSG_NUMBERS_END:
    default:
        ck_abort();
    }
    return msg;
}

static void same(const msg_t *a, const msg_t *b)
{
    ck_assert_int_eq(a->type, b->type);
    switch (a->type) {
#define MESSAGE(number, NAME, name)                                                                \
    case MSG_##NAME:                                                                               \
        same_msg_##name(&a->name, &b->name);                                                       \
        break;
#include "schema/messages.def"
#include "common/wire_undef.h"
    case MSG_NONE:
    case MSG_NUMBERS_END:
    default:
        ck_abort();
    }
}

/* -- tests
 * --------------------------------------------------------------------------------------------- */

static wire_arena_t *arena;
static buffer_t bytes;

static void start(void)
{
    arena = wire_arena_new();
    bytes = (buffer_t){0};
    for (size_t i = 0; i < sizeof letters; i++) {
        letters[i] = (char)('a' + i % 26);
    }
}

static void end(void)
{
    buffer_free(&bytes);
    wire_arena_destroy(&arena);
    wire_arena_destroy(&arena);
}

START_TEST(test_every_message_survives_the_round_trip)
{
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < TYPES_N; i++) {
            msg_t msg = filled(types[i]), back;
            buffer_clear(&bytes);
            wire_encode(&bytes, &msg);
            ck_assert_int_eq(wire_decode(arena, bytes.data, bytes.n, &back), ERR_OK);
            same(&msg, &back);
            msg_type_t type = MSG_NONE;
            ck_assert_int_eq(wire_peek(bytes.data, bytes.n, &type), ERR_OK);
            ck_assert_int_eq(type, types[i]);
            ck_assert_str_ne(wire_name(types[i]), "?");
        }
    }
}
END_TEST

/* An exact copy, so that AddressSanitizer sees a read behind the cut. */
static err_t decode_copy(const uint8_t *data, size_t n, msg_t *out)
{
    uint8_t *copy = mem_alloc(n);
    memcpy(copy, data, n);
    err_t err = wire_decode(arena, copy, n, out);
    msg_type_t type = MSG_NONE;
    err_t peeked = wire_peek(copy, n, &type);
    if (!err) {
        /* Peek may refuse what decode takes only for a needlessly long form; it never disagrees. */
        ck_assert(peeked || type == out->type || out->type == MSG_NONE);
    }
    if (!err && out->type != MSG_NONE) {
        /* Encoding reads every text while the bytes live; what was taken must come out the same. */
        buffer_t again = {0};
        msg_t back;
        wire_encode(&again, out);
        wire_arena_t *other = wire_arena_new();
        ck_assert_int_eq(wire_decode(other, again.data, again.n, &back), ERR_OK);
        same(out, &back);
        wire_arena_destroy(&other);
        buffer_free(&again);
    }
    free(copy);
    return err;
}

START_TEST(test_message_cut_at_any_byte_is_malformed)
{
    for (int i = 0; i < TYPES_N; i++) {
        msg_t msg = filled(types[i]), back;
        buffer_clear(&bytes);
        wire_encode(&bytes, &msg);
        for (size_t n = 0; n < bytes.n; n++) {
            ck_assert_int_eq(decode_copy(bytes.data, n, &back), ERR_MALFORMED);
        }
        uint8_t extra = 0xc0;
        buffer_add(&bytes, &extra, 1);
        ck_assert_int_eq(decode_copy(bytes.data, bytes.n, &back), ERR_MALFORMED);
    }
}
END_TEST

START_TEST(test_p6_a_hundred_thousand_mutations_never_end_the_process)
{
    int taken = 0, refused = 0;
    for (int i = 0; i < 100000; i++) {
        msg_t msg = filled(types[i % TYPES_N]), back;
        buffer_clear(&bytes);
        wire_encode(&bytes, &msg);
        for (uint64_t k = random_bits() % 4 + 1; k > 0; k--) {
            bytes.data[random_bits() % bytes.n] = (uint8_t)random_bits();
        }
        *(decode_copy(bytes.data, bytes.n, &back) ? &refused : &taken) += 1;
    }
    ck_assert_int_gt(taken, 100);
    ck_assert_int_gt(refused, 10000);
}
END_TEST

START_TEST(test_p6_counts_that_the_bytes_cannot_hold_allocate_nothing)
{
    /* [magic, 1, TICKETS, 0, 0, <array of 2^32-1>] and nested arrays without end. */
    static const uint8_t huge[] = {0x96, 0xce, 0x53, 0x54, 0x4e, 0x54, 1,    10,
                                   0,    0,    0xdd, 0xff, 0xff, 0xff, 0xff, 0};
    msg_t back;
    ck_assert_int_eq(decode_copy(huge, sizeof huge, &back), ERR_MALFORMED);
    static uint8_t nested[100000];
    memset(nested, 0x91, sizeof nested);
    ck_assert_int_eq(decode_copy(nested, sizeof nested, &back), ERR_MALFORMED);
    nested[sizeof nested - 1] = 0;
    ck_assert_int_eq(decode_copy(nested, sizeof nested, &back), ERR_MALFORMED);
}
END_TEST

START_TEST(test_p5_missing_fields_are_zero_surplus_skipped_unknown_types_none)
{
    static const uint8_t head[] = {0x93, 0xce, 0x53, 0x54, 0x4e, 0x54, 1, 10};
    static const uint8_t surplus[] = {0x95, 0xce, 0x53, 0x54, 0x4e, 0x54, 1, 4, 9, 0x91, 7};
    static const uint8_t unknown[] = {0x94, 0xce, 0x53, 0x54, 0x4e, 0x54, 1, 0x7e, 3};
    static const uint8_t newer[] = {0x94, 0xce, 0x53, 0x54, 0x4e, 0x54, 2, 5, 3};
    msg_t back;
    msg_type_t type;
    ck_assert_int_eq(wire_decode(arena, head, sizeof head, &back), ERR_OK);
    ck_assert_int_eq(back.type, MSG_TICKETS);
    ck_assert_uint_eq(back.tickets.grants_n, 0);
    ck_assert_int_eq(back.tickets.ttl_ms, 0);
    ck_assert_int_eq(wire_decode(arena, surplus, sizeof surplus, &back), ERR_OK);
    ck_assert_uint_eq(back.ping.seq, 9);
    ck_assert_int_eq(wire_decode(arena, unknown, sizeof unknown, &back), ERR_OK);
    ck_assert_int_eq(back.type, MSG_NONE);
    ck_assert_int_eq(wire_decode(arena, newer, sizeof newer, &back), ERR_UNSUPPORTED);
    ck_assert_int_eq(wire_peek(newer, sizeof newer, &type), ERR_UNSUPPORTED);
    ck_assert_int_eq(wire_peek("GET / HTTP/1.1", 14, &type), ERR_MALFORMED);
    ck_assert_str_eq(wire_name((msg_type_t)0x7e), "?");
}
END_TEST

START_TEST(test_frames_share_their_bytes_and_tickets_are_big_endian)
{
    msg_t msg = {.type = MSG_PING, .ping.seq = 5};
    frames_t frames = frames_of(&msg, blob_new("b", 1));
    frames_route(&frames, "0123456789abcdef", 16);
    frames_t copy = frames_copy(&frames);
    ck_assert_ptr_eq(copy.head, frames.head);
    frames_free(&frames);
    ck_assert_uint_eq(frames.route_n, 0);
    ck_assert_uint_eq(blob_n(copy.body), 1);
    ck_assert_uint_eq(copy.route_n, 16);
    frames_free(&copy);
    uint8_t ticket[8];
    wire_ticket_put(ticket, 0x0102030405060708);
    ck_assert_mem_eq(ticket, "\1\2\3\4\5\6\7\10", 8);
    ck_assert_uint_eq(wire_ticket_get(ticket), 0x0102030405060708);
    char text[4];
    str_copy(text, sizeof text, str_of("abcdef"));
    ck_assert_str_eq(text, "abc");
    ck_assert_str_eq(failure_class_name(FAILURE_TIME_LIMIT), "time_limit");
    ck_assert_str_eq(failure_class_name(99), "unknown");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire");
    TCase *tests = tcase_create("wire");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start, end);
    tcase_add_test(tests, test_every_message_survives_the_round_trip);
    tcase_add_test(tests, test_message_cut_at_any_byte_is_malformed);
    tcase_add_test(tests, test_p6_a_hundred_thousand_mutations_never_end_the_process);
    tcase_add_test(tests, test_p6_counts_that_the_bytes_cannot_hold_allocate_nothing);
    tcase_add_test(tests, test_p5_missing_fields_are_zero_surplus_skipped_unknown_types_none);
    tcase_add_test(tests, test_frames_share_their_bytes_and_tickets_are_big_endian);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

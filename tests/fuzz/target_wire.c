/* The codec. What was read is written again, and both texts are compared by msgpack-c's own reader:
 * field by field the same, what was missing zero or empty (P5). */
#include <msgpack.h>

#include "common/wire.h"
#include "tests/fuzz/fuzz.h"

static bool is_nothing(const msgpack_object *o)
{
    switch ((int)o->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return o->via.u64 == 0;
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
        return o->via.str.size == 0;
    case MSGPACK_OBJECT_ARRAY:
        return o->via.array.size == 0;
    default:
        return false;
    }
}

/* A record: its fields as far as both have them. A list: every element. */
static void compare(const msgpack_object *in, const msgpack_object *out, bool record)
{
    FUZZ_CHECK(in->type == out->type, "a field changed its type from %d to %d", (int)in->type,
               (int)out->type);
    switch ((int)in->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        FUZZ_CHECK(in->via.u64 == out->via.u64, "a number changed");
        break;
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
        FUZZ_CHECK(in->via.str.size == out->via.str.size &&
                       memcmp(in->via.str.ptr, out->via.str.ptr, in->via.str.size) == 0,
                   "a text changed");
        break;
    case MSGPACK_OBJECT_ARRAY:
        FUZZ_CHECK(record || in->via.array.size == out->via.array.size,
                   "a list changed its length");
        for (uint32_t i = 0; i < out->via.array.size; i++) {
            if (i < in->via.array.size) {
                /* Below the message itself: lists hold records, records hold no more lists. */
                compare(&in->via.array.ptr[i], &out->via.array.ptr[i], !record);
            } else {
                FUZZ_CHECK(is_nothing(&out->via.array.ptr[i]), "a missing field is not empty");
            }
        }
        break;
    default:
        FUZZ_CHECK(false, "a field of type %d was taken", (int)in->type);
    }
}

static void compare_texts(const void *in, size_t in_n, const void *out, size_t out_n)
{
    msgpack_unpacked a, b;
    msgpack_unpacked_init(&a);
    msgpack_unpacked_init(&b);
    size_t a_at = 0, b_at = 0;
    FUZZ_CHECK(msgpack_unpack_next(&a, in, in_n, &a_at) == MSGPACK_UNPACK_SUCCESS && a_at == in_n,
               "what is no message was taken");
    FUZZ_CHECK(msgpack_unpack_next(&b, out, out_n, &b_at) == MSGPACK_UNPACK_SUCCESS &&
                   b_at == out_n,
               "what was written is no message");
    compare(&a.data, &b.data, true);
    msgpack_unpacked_destroy(&a);
    msgpack_unpacked_destroy(&b);
}

void fuzz_wire(const uint8_t *data, size_t n)
{
    uint8_t *exact = fuzz_exact(data, n);
    wire_arena_t *arena = wire_arena_new(), *other = wire_arena_new();
    msg_t msg, again;
    msg_type_t type = MSG_NONE;
    err_t peeked = wire_peek(exact, n, &type), err = wire_decode(arena, exact, n, &msg);
    FUZZ_CHECK(err == ERR_OK || err == ERR_MALFORMED || err == ERR_UNSUPPORTED, "error %s",
               err_code(err));
    /* Peeking asks for integers in their shortest form (P4), reading does not. */
    FUZZ_CHECK(err || peeked || msg.type == MSG_NONE || type == MSG_NONE || type == msg.type,
               "two answers to what it is");
    FUZZ_CHECK(peeked != ERR_UNSUPPORTED || err != ERR_OK, "another version was taken");
    if (!err && msg.type != MSG_NONE) {
        buffer_t once = {0}, twice = {0};
        wire_encode(&once, &msg);
        compare_texts(exact, n, once.data, once.n);
        FUZZ_CHECK(wire_decode(other, once.data, once.n, &again) == ERR_OK,
                   "what was written is not read: %s", err_text());
        wire_encode(&twice, &again);
        FUZZ_CHECK(once.n == twice.n && memcmp(once.data, twice.data, once.n) == 0,
                   "written twice, not the same");
        buffer_free(&once);
        buffer_free(&twice);
    }
    wire_arena_destroy(&arena);
    wire_arena_destroy(&other);
    free(exact);
}

/* The codec: schema/messages.def is read five times, each time with other row macros. */
#include "common/wire.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* -- text
 * ---------------------------------------------------------------------------------------------- */

str_t str_of(const char *text)
{
    return str_bytes(text, strlen(text));
}

str_t str_bytes(const void *data, size_t n)
{
    return (str_t){.p = data, .n = (uint32_t)n};
}

bool str_equal(str_t a, str_t b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

void str_copy(char *out, size_t size, str_t from)
{
    size_t n = from.n < size - 1 ? from.n : size - 1;
    /* Never half a character: what is UTF-8 stays UTF-8. */
    while (n > 0 && n < from.n && ((unsigned char)from.p[n] & 0xc0) == 0x80) {
        n--;
    }
    if (n) {
        memcpy(out, from.p, n);
    }
    out[n] = 0;
}

const char *failure_class_name(uint64_t failure_class)
{
    static const char *const names[FAILURE_CLASSES_N] = {
        "unknown",    "task_error",   "crash",        "out_of_memory",
        "time_limit", "output_limit", "process_limit"};
    return failure_class < FAILURE_CLASSES_N ? names[failure_class] : names[0];
}

/* -- encoding
 * ------------------------------------------------------------------------------------------ */

static int put(void *buffer, const char *data, size_t n)
{
    buffer_add(buffer, data, n);
    return 0;
}

static void pack_str(msgpack_packer *packer, str_t text)
{
    msgpack_pack_str(packer, text.n);
    msgpack_pack_str_body(packer, text.p, text.n);
}

static void pack_bin(msgpack_packer *packer, str_t bytes)
{
    msgpack_pack_bin(packer, bytes.n);
    msgpack_pack_bin_body(packer, bytes.p, bytes.n);
}

/* How many fields a record has. */
#define PART(name) enum { fields_of_##name = 0
#define END_PART(name)                                                                             \
    }                                                                                              \
    ;
#define MESSAGE(number, NAME, name) enum { fields_of_msg_##name = 0
#define END_MESSAGE(name)                                                                          \
    }                                                                                              \
    ;
#define U64(field)        +1
#define I64(field)        +1
#define STR(field)        +1
#define BIN(field)        +1
#define LIST(part, field) +1
#include "schema/messages.def"
#include "common/wire_undef.h"

#define PART(name)                                                                                 \
    static void pack_##name(msgpack_packer *packer, const wire_##name##_t *it)                     \
    {                                                                                              \
        msgpack_pack_array(packer, fields_of_##name);
#define MESSAGE(number, NAME, name)                                                                \
    static void pack_msg_##name(msgpack_packer *packer, const msg_##name##_t *it)                  \
    {                                                                                              \
        msgpack_pack_array(packer, 3 + fields_of_msg_##name);                                      \
        msgpack_pack_uint32(packer, WIRE_MAGIC);                                                   \
        msgpack_pack_uint32(packer, WIRE_MAJOR);                                                   \
        msgpack_pack_uint32(packer, number);
#define END_PART(name)    }
#define END_MESSAGE(name) }
#define U64(field)        msgpack_pack_uint64(packer, it->field);
#define I64(field)        msgpack_pack_int64(packer, it->field);
#define STR(field)        pack_str(packer, it->field);
#define BIN(field)        pack_bin(packer, it->field);
#define LIST(part, field)                                                                          \
    msgpack_pack_array(packer, it->field##_n);                                                     \
    for (uint32_t i = 0; i < it->field##_n; i++) {                                                 \
        pack_##part(packer, &it->field[i]);                                                        \
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

void wire_encode(buffer_t *out, const msg_t *msg)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, put);
    switch (msg->type) {
#define MESSAGE(number, NAME, name)                                                                \
    case MSG_##NAME:                                                                               \
        pack_msg_##name(&packer, &msg->name);                                                      \
        break;
#include "schema/messages.def"
#undef MESSAGE
    case MSG_NONE:
    case MSG_NUMBERS_END:
    default:
        INVARIANT(!"a message has a type");
    }
}

const char *wire_name(msg_type_t type)
{
    switch (type) {
#define MESSAGE(number, NAME, name)                                                                \
    case MSG_##NAME:                                                                               \
        return #NAME;
#include "schema/messages.def"
#include "common/wire_undef.h"
    case MSG_NONE:
    case MSG_NUMBERS_END:
    default:
        return "?";
    }
}

/* -- decoding
 * ------------------------------------------------------------------------------------------ */

struct wire_arena {
    msgpack_zone *zone;
};

wire_arena_t *wire_arena_new(void)
{
    wire_arena_t *self = mem_alloc(sizeof *self);
    self->zone = msgpack_zone_new(4096);
    INVARIANT(self->zone);
    return self;
}

void wire_arena_destroy(wire_arena_t **self)
{
    if (*self) {
        msgpack_zone_free((*self)->zone);
        free(*self);
        *self = NULL;
    }
}

/* msgpack-c allocates what an array's header claims before it has seen an element. This walk
 * refuses counts that the bytes at hand cannot hold, and nesting, before it gets to see them. */
static bool plausible(const uint8_t *at, size_t n)
{
    size_t open = 1, i = 0;
    while (open > 0) {
        if (i >= n) {
            return false;
        }
        open--;
        uint8_t tag = at[i++];
        size_t width = 0, length = 0;
        bool counted = false;
        if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3) {
            continue;
        } else if ((tag & 0xf0) == 0x90) {
            length = tag & 0x0f;
            counted = true;
        } else if ((tag & 0xe0) == 0xa0) {
            length = tag & 0x1f;
        } else if (tag >= 0xcc && tag <= 0xd3) {
            length = (size_t)1 << ((tag - 0xcc) & 3);
        } else if (tag == 0xc4 || tag == 0xd9) {
            width = 1;
        } else if (tag == 0xc5 || tag == 0xda || tag == 0xdc) {
            width = 2;
        } else if (tag == 0xc6 || tag == 0xdb || tag == 0xdd) {
            width = 4;
        } else {
            return false; /* maps, floats and extensions are not used */
        }
        counted = counted || tag == 0xdc || tag == 0xdd;
        if (n - i < width) {
            return false;
        }
        for (size_t k = 0; k < width; k++) {
            length = length << 8 | at[i++];
        }
        if (length > n - i) {
            return false;
        }
        if (counted) {
            open += length;
            if (open > n) {
                return false;
            }
        } else {
            i += length;
        }
    }
    return i == n;
}

typedef struct {
    msgpack_zone *zone;
    const msgpack_object *at, *end; /* remaining fields of the record */
    bool bad;
} reader_t;

static uint64_t read_u64(reader_t *reader)
{
    if (reader->at == reader->end) {
        return 0;
    }
    const msgpack_object *o = reader->at++;
    reader->bad = reader->bad || o->type != MSGPACK_OBJECT_POSITIVE_INTEGER;
    return o->via.u64;
}

static int64_t read_i64(reader_t *reader)
{
    if (reader->at == reader->end) {
        return 0;
    }
    const msgpack_object *o = reader->at++;
    if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX) {
        return (int64_t)o->via.u64;
    }
    reader->bad = reader->bad || o->type != MSGPACK_OBJECT_NEGATIVE_INTEGER;
    return o->via.i64;
}

static str_t read_text(reader_t *reader, msgpack_object_type type)
{
    if (reader->at == reader->end) {
        return str_of("");
    }
    const msgpack_object *o = reader->at++;
    if (o->type != type || o->via.str.size > WIRE_TEXT_MAX) {
        reader->bad = true;
        return str_of("");
    }
    return (str_t){.p = o->via.str.ptr, .n = o->via.str.size};
}

/* The elements of a list field; NULL and bad if it is none. */
static const msgpack_object_array *read_list(reader_t *reader)
{
    static const msgpack_object_array empty = {0};
    if (reader->at == reader->end) {
        return &empty;
    }
    const msgpack_object *o = reader->at++;
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > WIRE_LIST_MAX) {
        reader->bad = true;
        return &empty;
    }
    return &o->via.array;
}

static reader_t reader_of(reader_t *outer, const msgpack_object *o)
{
    if (o->type != MSGPACK_OBJECT_ARRAY) {
        outer->bad = true;
        return (reader_t){.zone = outer->zone};
    }
    return (reader_t){
        .zone = outer->zone, .at = o->via.array.ptr, .end = o->via.array.ptr + o->via.array.size};
}

#define PART(name)                                                                                 \
    static void read_##name(reader_t *reader, wire_##name##_t *it)                                 \
    {
#define MESSAGE(number, NAME, name)                                                                \
    static void read_msg_##name(reader_t *reader, msg_##name##_t *it)                              \
    {
#define END_PART(name)    }
#define END_MESSAGE(name) }
#define U64(field)        it->field = read_u64(reader);
#define I64(field)        it->field = read_i64(reader);
#define STR(field)        it->field = read_text(reader, MSGPACK_OBJECT_STR);
#define BIN(field)        it->field = read_text(reader, MSGPACK_OBJECT_BIN);
#define LIST(part, field)                                                                          \
    {                                                                                              \
        const msgpack_object_array *list = read_list(reader);                                      \
        it->field##_n = list->size;                                                                \
        it->field =                                                                                \
            list->size ? msgpack_zone_malloc(reader->zone, list->size * sizeof *it->field) : NULL; \
        INVARIANT(it->field || list->size == 0);                                                   \
        for (uint32_t i = 0; i < list->size; i++) {                                                \
            reader_t inner = reader_of(reader, &list->ptr[i]);                                     \
            read_##part(&inner, &it->field[i]);                                                    \
            reader->bad = reader->bad || inner.bad;                                                \
        }                                                                                          \
    }
#include "schema/messages.def"
#include "common/wire_undef.h"

/* Magic, version and type stand first; fills `out` with the reader behind them. */
static err_t open_message(reader_t *reader, const msgpack_object *o, uint64_t *type)
{
    *reader = reader_of(reader, o);
    if (reader->end - reader->at < 3 || read_u64(reader) != WIRE_MAGIC || reader->bad) {
        return err_set(ERR_MALFORMED, "not a Stint message: expected [magic, version, type, ...]");
    }
    uint64_t major = read_u64(reader);
    *type = read_u64(reader);
    if (reader->bad) {
        return err_set(ERR_MALFORMED, "version and type of a message must be integers");
    }
    if (major != WIRE_MAJOR) {
        return err_set(ERR_UNSUPPORTED, "protocol version %llu, expected %d",
                       (unsigned long long)major, WIRE_MAJOR);
    }
    return ERR_OK;
}

#define PART(name)
#define END_PART(name)
#define END_MESSAGE(name)
#define U64(field)
#define I64(field)
#define STR(field)
#define BIN(field)
#define LIST(part, field)

err_t wire_decode(wire_arena_t *arena, const void *head, size_t n, msg_t *out)
{
    if (n > WIRE_HEAD_MAX || !plausible(head, n)) {
        return err_set(ERR_MALFORMED, "a header frame of %zu bytes is not one msgpack array", n);
    }
    msgpack_zone_clear(arena->zone);
    msgpack_object object;
    size_t offset = 0;
    if (msgpack_unpack(head, n, &offset, arena->zone, &object) != MSGPACK_UNPACK_SUCCESS) {
        return err_set(ERR_MALFORMED, "a header frame of %zu bytes is not msgpack", n);
    }
    reader_t reader = {.zone = arena->zone};
    uint64_t type = 0;
    err_t err = open_message(&reader, &object, &type);
    if (err) {
        return err;
    }
    msg_t msg = {.type = MSG_NONE};
    switch (type) {
#define MESSAGE(number, NAME, name)                                                                \
    case number:                                                                                   \
        msg.type = MSG_##NAME;                                                                     \
        read_msg_##name(&reader, &msg.name);                                                       \
        break;
#include "schema/messages.def"
#include "common/wire_undef.h"
    default:
        break;
    }
    if (reader.bad) {
        return err_set(ERR_MALFORMED, "a field of %s has the wrong type or is over its limit",
                       wire_name(msg.type));
    }
    *out = msg;
    return ERR_OK;
}

err_t wire_peek(const void *head, size_t n, msg_type_t *out)
{
    /* [array header 1, 3 or 5 bytes][magic 5 bytes][major 1 byte][type 1 or 2 bytes] */
    const uint8_t *at = head;
    size_t skip = n > 0 && (at[0] & 0xf0) == 0x90 ? 1 : n > 0 && at[0] == 0xdc ? 3 : 0;
    static const uint8_t magic[] = {0xce, 0x53, 0x54, 0x4e, 0x54};
    if (skip == 0 || n < skip + 7 || memcmp(at + skip, magic, 5) != 0 || at[skip + 5] > 0x7f) {
        return err_set(ERR_MALFORMED, "not a Stint message");
    }
    if (at[skip + 5] != WIRE_MAJOR) {
        return err_set(ERR_UNSUPPORTED, "protocol version %d, expected %d", at[skip + 5],
                       WIRE_MAJOR);
    }
    uint8_t type = at[skip + 6];
    *out = type <= 0x7f ? (msg_type_t)type : MSG_NONE;
    return ERR_OK;
}

/* -- frames
 * -------------------------------------------------------------------------------------------- */

frames_t frames_of(const msg_t *msg, blob_t *body)
{
    buffer_t head = {0};
    wire_encode(&head, msg);
    return (frames_t){.head = blob_take(&head), .body = body};
}

void frames_route(frames_t *self, const void *route, size_t n)
{
    INVARIANT(n <= sizeof self->route);
    memcpy(self->route, route, n);
    self->route_n = (uint8_t)n;
}

frames_t frames_copy(const frames_t *self)
{
    frames_t copy = *self;
    blob_ref(copy.head);
    blob_ref(copy.body);
    return copy;
}

void frames_free(frames_t *self)
{
    blob_unref(&self->head);
    blob_unref(&self->body);
    self->route_n = 0;
}

void wire_ticket_put(uint8_t out[8], uint64_t ticket)
{
    for (int i = 7; i >= 0; i--) {
        out[i] = (uint8_t)ticket;
        ticket >>= 8;
    }
}

uint64_t wire_ticket_get(const uint8_t in[8])
{
    uint64_t ticket = 0;
    for (int i = 0; i < 8; i++) {
        ticket = ticket << 8 | in[i];
    }
    return ticket;
}

/* wire: messages as structs, and their bytes.
 *
 * Lives here: the codec that schema/messages.def spells out. Pure: no socket, no clock.
 * Not here: frames on a socket (link.h), what a message means (schema/PROTOCOL.md and the cores).
 *
 * Decoded strings and lists point into the message's bytes and into the arena: they live until the
 * next decode with that arena. Bytes from a stranger give ERR_MALFORMED, never an abort. */
#ifndef STINT_COMMON_WIRE_H
#define STINT_COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"

enum {
    WIRE_MAGIC = 0x53544e54, /* "STNT" */
    WIRE_MAJOR = 1,
    WIRE_PEER_N = 16,            /* bytes of an incarnation */
    WIRE_HEAD_MAX = 1 << 20,     /* bytes of a header frame */
    WIRE_BODY_MAX = 12 << 20,    /* bytes of a body frame */
    WIRE_MESSAGE_MAX = 16 << 20, /* ZMQ_MAXMSGSIZE */
    WIRE_LIST_MAX = 4096,
    WIRE_TEXT_MAX = 65536,
    WIRE_PAGE_MAX = 1 << 20, /* body of PARTIALS */
};
enum { WIRE_ROLE_API = 1, WIRE_ROLE_WORKER = 2, WIRE_ROLE_SCHEDULER = 3 };
enum { WIRE_KIND_BATCH = 0, WIRE_KIND_FINALIZE = 1 };
enum { WIRE_FORMAT_CSV = 0, WIRE_FORMAT_NDJSON = 1, WIRE_FORMAT_JSON = 2 };

typedef enum {
    FAILURE_TASK_ERROR = 1,
    FAILURE_CRASH = 2,
    FAILURE_MEMORY = 3,
    FAILURE_TIME_LIMIT = 4,
    FAILURE_OUTPUT_LIMIT = 5,
    FAILURE_PROCESS_LIMIT = 6,
    FAILURE_CLASSES_N
} failure_class_t;
/* "task_error", "crash", ...; "unknown" for anything else. */
const char *failure_class_name(uint64_t failure_class);

typedef enum {
    TICK_FIRED = 1,
    TICK_DUPLICATE = 2,
    TICK_REFUSED = 3,
    TICK_STALE_REVISION = 4
} tick_outcome_t;

/* Text or bytes that somebody else owns. */
typedef struct {
    const char *p;
    uint32_t n;
} str_t;
str_t str_of(const char *text);
str_t str_bytes(const void *data, size_t n);
bool str_equal(str_t a, str_t b);
/* Copy into a C string of `size` bytes, cut if need be. */
void str_copy(char *out, size_t size, str_t from);

#define PART(name) typedef struct {
#define END_PART(name)                                                                             \
    }                                                                                              \
    wire_##name##_t;
#define MESSAGE(number, NAME, name) typedef struct {
#define END_MESSAGE(name)                                                                          \
    }                                                                                              \
    msg_##name##_t;
#define U64(field) uint64_t field;
#define I64(field) int64_t field;
#define STR(field) str_t field;
#define BIN(field) str_t field;
#define LIST(part, field)                                                                          \
    wire_##part##_t *field;                                                                        \
    uint32_t field##_n;
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
typedef enum {
    MSG_NONE = 0,
#define MESSAGE(number, NAME, name) MSG_##NAME = number,
#include "schema/messages.def"
#undef MESSAGE
    MSG_NUMBERS_END
} msg_type_t;

typedef struct {
    msg_type_t type;
    union {
#define MESSAGE(number, NAME, name) msg_##name##_t name;
#include "schema/messages.def"
#include "common/wire_undef.h"
    };
} msg_t;

typedef struct wire_arena wire_arena_t;
wire_arena_t *wire_arena_new(void);
void wire_arena_destroy(wire_arena_t **self);

/* Append the header frame of `msg` to `out`. */
void wire_encode(buffer_t *out, const msg_t *msg);

/* ERR_MALFORMED: not a message. ERR_UNSUPPORTED: another major version. A type this version does
 * not know gives ERR_OK and type MSG_NONE: ignore it. */
CHECKED err_t wire_decode(wire_arena_t *arena, const void *head, size_t n, msg_t *out);

/* Only the type, without decoding fields; same errors. */
CHECKED err_t wire_peek(const void *head, size_t n, msg_type_t *out);

/* "HELLO"; "?" for an unknown one. */
const char *wire_name(msg_type_t type);

/* One message with its frames, as it stands in queues and on sockets: [route][header][body].
 * route: see PROTOCOL.md 2 (empty, a peer's 16 bytes, or a ticket's 8). */
typedef struct {
    uint8_t route[WIRE_PEER_N];
    uint8_t route_n;
    blob_t *head;
    blob_t *body; /* NULL = empty frame */
} frames_t;

/* Encode `msg` into frames with an empty route; takes one reference of body (may be NULL). */
frames_t frames_of(const msg_t *msg, blob_t *body);
void frames_route(frames_t *self, const void *route, size_t n);
/* New references to the same frames. */
frames_t frames_copy(const frames_t *self);
void frames_free(frames_t *self);

/* Ticket ids in a route frame: 8 bytes, big endian. */
void wire_ticket_put(uint8_t out[8], uint64_t ticket);
uint64_t wire_ticket_get(const uint8_t in[8]);

#endif

#include "common/link_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/buffer.h"
#include "common/log.h"

enum {
    COPY_MAX = 1024, /* below this a copy is cheaper than libzmq's bookkeeping for foreign memory */
    GARBAGE_TURN = 64, /* garbage skipped in one call, so that a flood of it cannot hold the loop */
};

/* -- sending
 * ------------------------------------------------------------------------------------------- */

static void unref(void *data, void *hint)
{
    (void)data;
    blob_t *blob = hint;
    blob_unref(&blob);
}

static void release_frame(void *owner)
{
    zmq_msg_close(owner);
    free(owner);
}

/* A blob that keeps the frame's memory: what is passed on is not copied. */
static blob_t *blob_of_frame(zmq_msg_t *frame)
{
    zmq_msg_t *kept = mem_alloc(sizeof *kept);
    zmq_msg_init(kept);
    zmq_msg_move(kept, frame);
    return blob_of(zmq_msg_data(kept), zmq_msg_size(kept), release_frame, kept);
}

/* Takes the reference. */
static void fill(zmq_msg_t *msg, blob_t **blob)
{
    size_t n = blob_n(*blob);
    zmq_msg_t *received = blob_owner(*blob, release_frame);
    if (received) {
        zmq_msg_init(msg);
        zmq_msg_copy(msg, received);
        blob_unref(blob);
        return;
    }
    if (n > COPY_MAX) {
        int rc = zmq_msg_init_data(msg, (void *)(uintptr_t)blob_data(*blob), n, unref, *blob);
        INVARIANT(rc == 0);
        *blob = NULL;
        return;
    }
    int rc = zmq_msg_init_size(msg, n);
    INVARIANT(rc == 0);
    if (n) {
        memcpy(zmq_msg_data(msg), blob_data(*blob), n);
    }
    blob_unref(blob);
}

static void fill_bytes(zmq_msg_t *msg, const void *data, size_t n)
{
    int rc = zmq_msg_init_size(msg, n);
    INVARIANT(rc == 0);
    if (n) {
        memcpy(zmq_msg_data(msg), data, n);
    }
}

static bool send_frame(void *socket, zmq_msg_t *msg, bool more)
{
    int rc;
    do {
        rc = zmq_msg_send(msg, socket, more ? ZMQ_DONTWAIT | ZMQ_SNDMORE : ZMQ_DONTWAIT);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        zmq_msg_close(msg);
    }
    return rc >= 0;
}

bool link_send(link_t *self, const link_id_t *to, frames_t *frames)
{
    if (blob_n(frames->head) > WIRE_HEAD_MAX || blob_n(frames->body) > WIRE_BODY_MAX) {
        frames_free(frames); /* the sender checks first (P6); a peer would cut the connection */
        return false;
    }
    zmq_msg_t parts[4];
    int n = 0;
    if (self->router) {
        INVARIANT(to);
        fill_bytes(&parts[n++], to->bytes, to->n);
    }
    fill_bytes(&parts[n++], frames->route, frames->route_n);
    fill(&parts[n++], &frames->head);
    fill(&parts[n++], &frames->body);
    frames->route_n = 0;
    bool sent = true;
    for (int i = 0; i < n; i++) {
        if (i == 1 && !sent) {
            /* Refused as a whole (full, or nobody there): no frame went in, so none may follow. */
            for (; i < n; i++) {
                zmq_msg_close(&parts[i]);
            }
            return false;
        }
        /* A connection that dies in the middle: libzmq takes back the first frames and expects the
         * others, which it drops. Leaving them out would make it drop frames of the next message.
         */
        sent = send_frame(self->socket, &parts[i], i < n - 1) && sent;
    }
    return sent;
}

/* -- receiving
 * ----------------------------------------------------------------------------------------- */

typedef struct {
    link_id_t id;
    frames_t frames;
    int n; /* frames so far, without the id */
    bool garbage;
} incoming_t;

static void take_frame(incoming_t *in, zmq_msg_t *msg)
{
    size_t n = zmq_msg_size(msg);
    const void *data = zmq_msg_data(msg);
    switch (in->n++) {
    case 0:
        if (n <= WIRE_PEER_N) {
            frames_route(&in->frames, data, n);
        } else {
            in->garbage = true;
        }
        break;
    case 1:
        if (n > 0 && n <= WIRE_HEAD_MAX) {
            in->frames.head = blob_of_frame(msg);
        } else {
            in->garbage = true;
        }
        break;
    case 2:
        if (n > WIRE_BODY_MAX) {
            in->garbage = true;
        } else if (n > 0) {
            in->frames.body = blob_of_frame(msg);
        }
        break;
    default:
        in->garbage = true;
    }
}

/* Who sent it: said by the authenticator, of every frame. */
static void take_key(link_id_t *id, zmq_msg_t *msg)
{
    const char *key = zmq_msg_gets(msg, "User-Id");
    if (key && strlen(key) == LINK_KEY_N) {
        memcpy(id->key, key, LINK_KEY_N);
    }
    const char *chosen = zmq_msg_gets(msg, "Identity");
    id->chosen = chosen && *chosen;
    id->fd = zmq_msg_get(msg, ZMQ_SRCFD);
}

/* False when nothing waits. libzmq delivers all frames of a message or none. */
static bool receive_message(link_t *self, incoming_t *in)
{
    bool first = true, more = true;
    while (more) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        int rc = zmq_msg_recv(&msg, self->socket, ZMQ_DONTWAIT);
        if (rc < 0) {
            bool interrupted = errno == EINTR;
            zmq_msg_close(&msg);
            if (interrupted) {
                continue;
            }
            in->garbage = !first;
            return !first;
        }
        more = zmq_msg_more(&msg);
        if (first && self->router) {
            size_t n = zmq_msg_size(&msg);
            if (n <= sizeof in->id.bytes) {
                in->id.n = (uint8_t)n;
                memcpy(in->id.bytes, zmq_msg_data(&msg), n);
            } else {
                in->garbage = true; /* a stranger that chose its own long name */
            }
        } else {
            if (in->n == 0 && self->curve && self->router) {
                take_key(&in->id, &msg);
            }
            take_frame(in, &msg);
        }
        first = false;
        zmq_msg_close(&msg);
    }
    return true;
}

bool link_receive(link_t *self, link_id_t *from, frames_t *out)
{
    for (int skipped = 0; skipped < GARBAGE_TURN; skipped++) {
        incoming_t in = {0};
        if (!receive_message(self, &in)) {
            return false;
        }
        if (!in.garbage && in.n == 3) {
            if (from) {
                *from = in.id;
            }
            *out = in.frames;
            return true;
        }
        self->garbage_n++;
        frames_free(&in.frames);
    }
    return false;
}

uint64_t link_garbage_n(const link_t *self)
{
    return self->garbage_n;
}

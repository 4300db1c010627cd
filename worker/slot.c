#include "worker/slot.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/log.h"

enum { KEEP_BUFFER = 256 << 10 };

static void watch(const slot_t *self, int operation, int fd, struct epoll_event event)
{
    INVARIANT(!epoll_ctl(self->epoll, operation, fd, &event));
}

void slot_open(slot_t *self, pid_t pid, const int fds[2])
{
    int64_t data;
    self->pid = pid;
    self->socket = fds[0];
    self->pipe = fds[1];
    self->state = SLOT_GREETING;
    self->works_n = 0;
    self->tail_n = 0;
    self->verdict = VERDICT_NONE;
    if (!child_memory(pid, &data, &self->baseline)) {
        self->baseline = 0;
    }
    watch(self, EPOLL_CTL_ADD, self->socket, (struct epoll_event){EPOLLIN, {.u64 = self->key}});
    watch(self, EPOLL_CTL_ADD, self->pipe, (struct epoll_event){EPOLLIN, {.u64 = self->key | 1}});
}

static void forget_fd(slot_t *self, int *fd)
{
    if (*fd >= 0) {
        /* Explicitly: a descriptor on its way through SCM_RIGHTS may still have a twin for a
         * moment. */
        epoll_ctl(self->epoll, EPOLL_CTL_DEL, *fd, NULL);
        close(*fd);
        *fd = -1;
    }
}

void slot_kill(const slot_t *self)
{
    if (self->pid > 0) {
        kill(-self->pid, SIGKILL);
    }
}

static void drop_out(slot_t *self)
{
    blob_unref(&self->out_blob);
    buffer_clear(&self->out);
    self->out_at = 0;
    if (self->out.capacity > KEEP_BUFFER) {
        buffer_free(&self->out);
    }
}

void slot_close(slot_t *self)
{
    slot_kill(self);
    forget_fd(self, &self->socket);
    forget_fd(self, &self->pipe);
    drop_out(self);
    buffer_free(&self->in);
    buffer_free(&self->out);
    self->watching_out = false;
    self->pid = 0;
    self->state = SLOT_EMPTY;
    atomic_store(&self->shared->deadline_ms, 0);
    atomic_store(&self->shared->guard, CHILD_GUARD_QUIET);
}

/* One attempt; false on a broken socket. */
static bool push(slot_t *self)
{
    size_t blob_n_all = blob_n(self->out_blob);
    struct iovec parts[2];
    int parts_n = 0;
    size_t at = self->out_at;
    if (at < self->out.n) {
        parts[parts_n++] = (struct iovec){self->out.data + at, self->out.n - at};
        at = 0;
    } else {
        at -= self->out.n;
    }
    if (at < blob_n_all) {
        const uint8_t *data = blob_data(self->out_blob);
        parts[parts_n++] = (struct iovec){(void *)(uintptr_t)(data + at), blob_n_all - at};
    }
    if (!parts_n) {
        return true;
    }
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)parts_n};
    ssize_t n = sendmsg(self->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    self->out_at += (size_t)n;
    return true;
}

static bool all_sent(const slot_t *self)
{
    return self->out_at >= self->out.n + blob_n(self->out_blob);
}

/* Ask to be told when the socket takes more, or let go of what is sent. */
static void watch_out(slot_t *self, bool waits)
{
    if (!waits) {
        drop_out(self);
    }
    if (waits != self->watching_out) {
        self->watching_out = waits;
        uint32_t events = waits ? (uint32_t)(EPOLLIN | EPOLLOUT) : (uint32_t)EPOLLIN;
        watch(self, EPOLL_CTL_MOD, self->socket, (struct epoll_event){events, {.u64 = self->key}});
    }
}

void slot_flush(slot_t *self)
{
    if (self->socket < 0) {
        return;
    }
    /* A broken socket is the child's end, which the fork server reports: until then nothing more is
     * sent. */
    watch_out(self, push(self) && !all_sent(self));
}

bool slot_send(slot_t *self, frame_type_t type, const buffer_t *head, blob_t *body)
{
    frame_head_t frame = {type, (uint32_t)(head->n + blob_n(body))};
    drop_out(self);
    buffer_add(&self->out, &frame, sizeof frame);
    buffer_add(&self->out, head->data, head->n);
    self->out_blob = blob_ref(body);
    if (self->socket < 0 || !push(self)) {
        drop_out(self);
        return false;
    }
    watch_out(self, !all_sent(self));
    return true;
}

bool slot_read(slot_t *self)
{
    if (self->socket < 0) {
        return false;
    }
    frame_head_t head = {0};
    size_t room = SLOT_READ;
    if (slot_peek(self, &head) == SLOT_FRAME_PART && self->in.n >= sizeof head) {
        size_t rest = sizeof head + head.n - self->in.n;
        room = rest > room ? rest : room;
    }
    /* Memory follows what has really come, not what a head announces. */
    if (room > self->in.n + SLOT_READ) {
        room = self->in.n + SLOT_READ;
    }
    buffer_reserve(&self->in, room);
    ssize_t n = recv(self->socket, self->in.data + self->in.n, self->in.capacity - self->in.n,
                     MSG_DONTWAIT);
    if (n > 0) {
        self->in.n += (size_t)n;
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        /* The child's end, or the child's doing: either way its process is waited for. */
        forget_fd(self, &self->socket);
    }
    return false;
}

bool slot_read_pipe(slot_t *self)
{
    char bytes[SLOT_READ];
    ssize_t n = self->pipe < 0 ? -1 : read(self->pipe, bytes, sizeof bytes);
    if (n <= 0) {
        if (n == 0) {
            forget_fd(self, &self->pipe);
        }
        return false;
    }
    size_t got = (size_t)n;
    if (got >= SLOT_TAIL) {
        memcpy(self->tail, bytes + got - SLOT_TAIL, SLOT_TAIL);
        self->tail_n = SLOT_TAIL;
        return true;
    }
    size_t keep = self->tail_n;
    if (keep + got > SLOT_TAIL) {
        keep = SLOT_TAIL - got;
        memmove(self->tail, self->tail + self->tail_n - keep, keep);
    }
    memcpy(self->tail + keep, bytes, got);
    self->tail_n = keep + got;
    return true;
}

slot_frame_t slot_peek(const slot_t *self, frame_head_t *head)
{
    if (self->in.n < sizeof *head) {
        return SLOT_FRAME_PART;
    }
    memcpy(head, self->in.data, sizeof *head);
    size_t fixed;
    switch (head->type) {
    case FRAME_HELLO:
        fixed = 0;
        break;
    case FRAME_PROGRESS:
        fixed = sizeof(uint32_t);
        break;
    case FRAME_WANT:
        fixed = sizeof(uint64_t);
        break;
    case FRAME_RESULT:
        fixed = sizeof(frame_result_t);
        break;
    case FRAME_FAILURE:
        fixed = sizeof(frame_failure_t);
        break;
    default:
        return SLOT_FRAME_BAD;
    }
    if (head->n < fixed || (head->type != FRAME_RESULT && head->n != fixed)) {
        return SLOT_FRAME_BAD;
    }
    if (head->n > CHILD_FRAME_MAX) {
        return SLOT_FRAME_HUGE;
    }
    return self->in.n < sizeof *head + head->n ? SLOT_FRAME_PART : SLOT_FRAME;
}

void slot_skip(slot_t *self, const frame_head_t *head)
{
    size_t whole = sizeof *head + head->n;
    memmove(self->in.data, self->in.data + whole, self->in.n - whole);
    self->in.n -= whole;
    if (self->in.capacity > KEEP_BUFFER && !self->in.n) {
        buffer_free(&self->in);
    }
}

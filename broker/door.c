#include "broker/door.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/descriptors.h"
#include "common/log.h"

enum {
    LOOK_MS = 1000,
    SAY_AGAIN_MS = 10000,
    ROOM = 8, /* descriptors that must be left before connections are let in again */
};

struct door {
    loop_t *loop;
    loop_timer_t *timer;
    int listeners[DOOR_LISTENERS];
    pid_t doorman;             /* 0 = none */
    _Atomic uint64_t *refused; /* shared with the doorman */
    int64_t say_at;
};

/* -- the doorman: a process of one thread that was forked from one of many, so nothing but system
 * calls */

static void stand(const door_t *self, pid_t parent) __attribute__((noreturn));
static void stand(const door_t *self, pid_t parent)
{
    struct pollfd waits[DOOR_LISTENERS];
    nfds_t n = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "stint-door");
    if (getppid() != parent) {
        _exit(0);
    }
    unsigned from = 0;
    for (;;) {
        int next = -1; /* the lowest listener from `from` on */
        for (int i = 0; i < DOOR_LISTENERS; i++) {
            int fd = self->listeners[i];
            if (fd >= (int)from && (next < 0 || fd < next)) {
                next = fd;
            }
        }
        if (next < 0) {
            break;
        }
        if ((unsigned)next > from) {
            close_range(from, (unsigned)next - 1, 0);
        }
        waits[n++] = (struct pollfd){.fd = next, .events = POLLIN};
        from = (unsigned)next + 1;
    }
    close_range(from, ~0U, 0);
    while (n) {
        poll(waits, n, -1);
        for (nfds_t i = 0; i < n; i++) {
            int line;
            while ((line = accept4(waits[i].fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                close(line);
                atomic_fetch_add(self->refused, 1);
            }
        }
    }
    _exit(0);
}

static void post(door_t *self)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        stand(self, parent);
    }
    if (pid < 0) {
        log_warn("broker.no_doorman", "detail=\"%s\"", strerror(errno));
        return;
    }
    self->doorman = pid;
}

static void dismiss(door_t *self)
{
    if (self->doorman) {
        kill(self->doorman, SIGKILL);
        while (waitpid(self->doorman, NULL, 0) < 0 && errno == EINTR) {
        }
        self->doorman = 0;
    }
}

/* -- the look
 * ------------------------------------------------------------------------------------------ */

static void look(void *context)
{
    door_t *self = context;
    int64_t now = loop_now_ms(self->loop);
    loop_timer_arm(self->timer, now + LOOK_MS);
    if (!self->doorman && !descriptors_left(1)) {
        atomic_store(self->refused, 0);
        self->say_at = now;
        post(self);
    } else if (self->doorman && descriptors_left(ROOM)) {
        dismiss(self);
        log_info("broker.descriptors_again",
                 "refused=%llu detail=\"new connections are accepted again\"",
                 (unsigned long long)atomic_load(self->refused));
    }
    if (self->doorman && now >= self->say_at) {
        self->say_at = now + SAY_AGAIN_MS;
        log_warn("broker.no_descriptors",
                 "limit=%llu refused=%llu detail=\"all file descriptors are taken by connections: "
                 "new ones are closed until some end; raise ulimit -n for a larger fleet\"",
                 (unsigned long long)descriptors_limit(),
                 (unsigned long long)atomic_load(self->refused));
    }
}

door_t *door_new(loop_t *loop, const int listeners[DOOR_LISTENERS])
{
    door_t *self = mem_zero(sizeof *self);
    self->loop = loop;
    memcpy(self->listeners, listeners, sizeof self->listeners);
    for (int i = 0; i < DOOR_LISTENERS; i++) {
        /* Two accept from it: who comes second must not wait for the next connection. */
        if (listeners[i] >= 0) {
            fcntl(listeners[i], F_SETFL, fcntl(listeners[i], F_GETFL) | O_NONBLOCK);
        }
    }
    void *shared = mmap(NULL, sizeof *self->refused, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    INVARIANT(shared != MAP_FAILED);
    self->refused = shared;
    self->timer = loop_timer_new(loop, look, self);
    loop_timer_arm(self->timer, loop_now_ms(loop) + LOOK_MS);
    return self;
}

void door_destroy(door_t **self)
{
    door_t *door = *self;
    *self = NULL;
    if (door) {
        dismiss(door);
        loop_timer_destroy(&door->timer);
        munmap(door->refused, sizeof *door->refused);
        free(door);
    }
}

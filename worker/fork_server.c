#include "worker/fork_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buffer.h"
#include "worker/family.h"

/* Descriptors of the server; all others are closed. */
enum { SERVER_CONTROL = 3, SERVER_SIGNALS = 4, SERVER_KEPT = 5, SERVER_FREE = 6, ASIDE = 16 };

typedef struct {
    int slot; /* or SLOT_BYE */
} request_t;
enum { SLOT_BYE = -1 };

typedef struct {
    fork_report_type_t type;
    int slot;
    pid_t pid;
    int status;
} report_frame_t;

typedef struct {
    const fork_setup_t *setup;
    pid_t worker;
    bool kept;
    bool ends_by_intent; /* the worker said bye */
    pid_t *pids;         /* 0 = none */
    bool *reported;      /* its end */
} server_t;

/* ---- in the child, before its main function
 * ----------------------------------------------------------------------- */

static void child_begin(const server_t *self, int slot, int socket, int pipe_end)
    __attribute__((noreturn));
static void child_begin(const server_t *self, int slot, int socket, int pipe_end)
{
    dup2(pipe_end, STDOUT_FILENO);
    dup2(pipe_end, STDERR_FILENO);
    /* Close-on-exec, so that a program started by a task can neither speak for it nor keep the
     * worker's lock. */
    dup3(socket, CHILD_SOCKET, O_CLOEXEC);
    close(CHILD_KEPT);
    if (self->kept) {
        dup3(SERVER_KEPT, CHILD_KEPT, O_CLOEXEC);
    }
    close_range(self->kept ? CHILD_KEPT + 1 : CHILD_KEPT, ~0U, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    char *page = self->setup->shared + (size_t)slot * FORK_PAGE;
    for (int i = 0; i < self->setup->slots; i++) {
        if (i != slot) { /* a task gone wild must not reach the deadlines of others */
            munmap(self->setup->shared + (size_t)i * FORK_PAGE, FORK_PAGE);
        }
    }
    child_setup_t setup = {.parent = getppid(),
                           .pool = self->worker,
                           .shared = (child_shared_t *)(void *)page,
                           .find = self->setup->find};
    child_main(&setup);
}

/* ---- the server
 * ---------------------------------------------------------------------------------------------------
 */

/* The socket is blocking on this side: a worker that is stopped makes us wait, one that dies ends
 * the wait. */
static void tell(const report_frame_t *frame, const int *fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)frame, sizeof *frame};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fds) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(2 * sizeof(int));
        memcpy(CMSG_DATA(head), fds, 2 * sizeof(int));
    }
    while (sendmsg(SERVER_CONTROL, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

static void close_both(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

static void make_child(server_t *self, int slot)
{
    report_frame_t frame = {.type = FORK_FAILED, .slot = slot};
    int sockets[2], ends[2];
    if (self->pids[slot] > 0) {
        /* Only now, at the worker's word: as long as the zombie stands, its id and its group's id
         * name nobody else. */
        waitpid(self->pids[slot], NULL, 0);
        self->pids[slot] = 0;
    }
    self->reported[slot] = false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets)) {
        frame.status = errno;
        tell(&frame, NULL);
        return;
    }
    if (pipe2(ends, O_CLOEXEC)) {
        frame.status = errno;
        close_both(sockets);
        tell(&frame, NULL);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        child_begin(self, slot, sockets[1], ends[1]);
    }
    if (pid < 0) {
        frame.status = errno;
        tell(&frame, NULL);
    } else {
        setpgid(pid, pid); /* both sides do it: the group exists before anybody may kill it */
        self->pids[slot] = pid;
        frame.type = FORK_MADE;
        frame.pid = pid;
        tell(&frame, (const int[2]){sockets[0], ends[0]});
    }
    close_both(sockets);
    close_both(ends);
}

static void report_ended(server_t *self)
{
    for (int i = 0; i < self->setup->slots; i++) {
        siginfo_t info = {0};
        if (self->pids[i] <= 0 || self->reported[i] ||
            waitid(P_PID, (id_t)self->pids[i], &info, WEXITED | WNOHANG | WNOWAIT) ||
            info.si_pid == 0) {
            continue;
        }
        /* What it left has come to us: it ends first, so that nothing of the work runs any more
         * when its end is told. */
        family_end_orphans(self->pids, self->setup->slots);
        /* The encoding of waitpid, which the worker's side takes apart. */
        int status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status;
        self->reported[i] = true;
        tell(&(report_frame_t){FORK_ENDED, i, self->pids[i], status}, NULL);
    }
}

static void end_all(server_t *self) __attribute__((noreturn));
static void end_all(server_t *self)
{
    for (int i = 0; i < self->setup->slots; i++) {
        if (self->pids[i] > 0) {
            kill(-self->pids[i], SIGKILL);
        }
    }
    for (int i = 0; i < self->setup->slots; i++) {
        if (self->pids[i] > 0) {
            waitpid(self->pids[i], NULL, 0);
        }
    }
    family_end_orphans(NULL, 0);
    if (self->kept) {
        close(SERVER_KEPT); /* nobody of us is left: the lock is free */
    }
    if (self->setup->last_words && !self->ends_by_intent) {
        self->setup->last_words(self->setup->last_words_context);
    }
    _exit(0);
}

static void serve(server_t *self) __attribute__((noreturn));
static void serve(server_t *self)
{
    struct pollfd waits[2] = {{.fd = SERVER_CONTROL, .events = POLLIN},
                              {.fd = SERVER_SIGNALS, .events = POLLIN}};
    for (;;) {
        if (getppid() != self->worker) {
            end_all(self);
        }
        if (poll(waits, 2, -1) < 0) {
            continue;
        }
        if (waits[1].revents) {
            struct signalfd_siginfo info[16];
            (void)!read(SERVER_SIGNALS, info, sizeof info);
            report_ended(self);
            family_end_orphans(self->pids, self->setup->slots);
        }
        if (waits[0].revents) {
            request_t request;
            ssize_t n = recv(SERVER_CONTROL, &request, sizeof request, 0);
            if (n == 0 || (n < 0 && errno != EINTR)) {
                end_all(self);
            }
            self->ends_by_intent = n == sizeof request && request.slot == SLOT_BYE;
            if (n == sizeof request && request.slot >= 0 && request.slot < self->setup->slots) {
                make_child(self, request.slot);
            }
        }
    }
}

static void set_server_signals(sigset_t *handled)
{
    /* The worker decides when to stop; Ctrl-C on the terminal or a service manager's SIGTERM is for
     * it alone. */
    const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGXFSZ};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        signal(ignored[i], SIG_IGN);
    }
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(handled);
    sigaddset(handled, SIGCHLD);
    sigaddset(handled, SIGUSR1);
    sigprocmask(SIG_SETMASK, handled, NULL);
}

static void server_main(const fork_setup_t *setup, pid_t worker, int control)
    __attribute__((noreturn));
static void server_main(const fork_setup_t *setup, pid_t worker, int control)
{
    setpgid(0, 0);
    sigset_t handled;
    set_server_signals(&handled);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_NAME, "stint-fork");
    server_t self = {.setup = setup, .worker = worker, .kept = setup->kept_fd >= 0};
    self.pids = mem_zero((size_t)setup->slots * sizeof *self.pids);
    self.reported = mem_zero((size_t)setup->slots * sizeof *self.reported);
    /* First out of the way of the places they go to. */
    control = fcntl(control, F_DUPFD_CLOEXEC, ASIDE);
    int kept = self.kept ? fcntl(setup->kept_fd, F_DUPFD_CLOEXEC, ASIDE) : -1;
    int signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
    signals = fcntl(signals, F_DUPFD_CLOEXEC, ASIDE);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (control < 0 || signals < 0 || nothing < 0 || (self.kept && kept < 0)) {
        _exit(CHILD_EXIT_LOST);
    }
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(control, SERVER_CONTROL);
    dup2(signals, SERVER_SIGNALS);
    if (self.kept) {
        dup2(kept, SERVER_KEPT);
    }
    close_range(self.kept ? SERVER_FREE : SERVER_KEPT, ~0U, 0);
    serve(&self);
}

/* ---- the worker's side
 * ---------------------------------------------------------------------------------------------- */

err_t fork_server_open(pid_t *pid, int *socket, const fork_setup_t *setup)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
        return err_set(ERR_INTERNAL, "no socket for the fork server: %s", strerror(errno));
    }
    pid_t worker = getpid();
    pid_t made = fork();
    if (made == 0) {
        close(ends[0]);
        server_main(setup, worker, ends[1]);
    }
    if (made < 0) {
        err_t err = err_set(ERR_INTERNAL, "the fork server cannot be forked: %s", strerror(errno));
        close_both(ends);
        return err;
    }
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *pid = made;
    *socket = ends[0];
    return ERR_OK;
}

err_t fork_server_ask(int socket, int slot)
{
    request_t request = {slot};
    if (send(socket, &request, sizeof request, MSG_NOSIGNAL) != sizeof request) {
        return err_set(ERR_UNAVAILABLE, "the fork server does not take a request: %s",
                       strerror(errno));
    }
    return ERR_OK;
}

void fork_server_bye(int socket)
{
    request_t request = {SLOT_BYE};
    (void)!send(socket, &request, sizeof request, MSG_NOSIGNAL);
}

err_t fork_server_report(int socket, fork_report_t *out)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    report_frame_t frame;
    struct iovec part = {&frame, sizeof frame};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return err_set(ERR_NOT_FOUND, "no report waits");
    }
    if (n != sizeof frame) {
        return err_set(ERR_UNAVAILABLE, "the fork server is gone");
    }
    int fds[2] = {-1, -1};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof fds)) {
        memcpy(fds, CMSG_DATA(head), sizeof fds);
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        fcntl(fds[1], F_SETFL, O_NONBLOCK);
    }
    *out = (fork_report_t){frame.type, frame.slot, frame.pid, frame.status, fds[0], fds[1]};
    if (frame.type == FORK_MADE && fds[0] < 0) {
        return err_set(ERR_UNAVAILABLE, "a new child came without its descriptors");
    }
    return ERR_OK;
}

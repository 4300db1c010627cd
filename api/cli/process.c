#include "api/cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"

enum { PORTS_LOWEST = 10240, PORTS_TRIES = 2000, EXEC_FAILED = 78 };

err_t process_home(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0 || (size_t)n >= size - 1) {
        return err_set(ERR_INTERNAL, "the place of this program is not known: %s", strerror(errno));
    }
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (slash) {
        *slash = 0;
    }
    return ERR_OK;
}

/* Between fork and exec: only calls that are safe there. */
static void become(const char *path, char *const *arguments, int output, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXEC_FAILED); /* it died before the line above */
    }
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int empty = open("/dev/null", O_RDONLY);
    dup2(empty, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close_range(3, ~0U, 0);
    execv(path, arguments);
    static const char message[] = "the program cannot be started\n";
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    _exit(EXEC_FAILED);
}

err_t process_start(const char *path, char *const *arguments, pid_t *pid, int *output)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return err_set(ERR_IO, "no pipe for %s: %s", arguments[0], strerror(errno));
    }
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        become(path, arguments, ends[1], parent);
    }
    close(ends[1]);
    if (child < 0) {
        int reason = errno;
        close(ends[0]);
        return err_set(ERR_IO, "no process for %s: %s", arguments[0], strerror(reason));
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *pid = child;
    *output = ends[0];
    return ERR_OK;
}

/* -- ports
 * -------------------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A socket bound to the port, -1 if it is taken. */
static int hold_port(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int lowest_ephemeral(void)
{
    int low = 32768;
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (file) {
        if (fscanf(file, "%d", &low) != 1) {
            low = 32768;
        }
        fclose(file);
    }
    return low;
}

err_t process_free_ports(int *ports, int n)
{
    int top = lowest_ephemeral(), found = 0;
    /* A system that hands out nearly all ports leaves no quiet range: then any port will do. */
    top = top < PORTS_LOWEST + 1000 || top > 65536 ? 65536 : top;
    int *held = mem_alloc((size_t)n * sizeof *held);
    for (int i = 0; i < PORTS_TRIES && found < n; i++) {
        unsigned noise = 0;
        if (getrandom(&noise, sizeof noise, 0) != (ssize_t)sizeof noise) {
            noise = (unsigned)getpid() * 7919U + (unsigned)i;
        }
        int port = PORTS_LOWEST + (int)(noise % (unsigned)(top - PORTS_LOWEST));
        held[found] = hold_port(port);
        if (held[found] >= 0) {
            ports[found++] = port;
        }
    }
    for (int i = 0; i < found; i++) {
        close(held[i]);
    }
    free(held);
    return found == n ? ERR_OK : err_set(ERR_BUSY, "no free ports on 127.0.0.1");
}

bool process_is_listening(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is;
}

err_t process_check_listen(const char *listen)
{
    const char *colon = strrchr(listen, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *address = NULL;
    err_t err = ERR_OK;
    if (!colon || strcmp(colon, ":0") == 0) {
        return ERR_OK;
    }
    char *host = mem_text_n(listen, (size_t)(colon - listen));
    if (getaddrinfo(host, colon + 1, &hints, &address) == 0) {
        int on = 1, fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) {
            /* As the server does: a port in TIME_WAIT is not taken. */
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
            if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 && errno == EADDRINUSE) {
                err =
                    err_set(ERR_BUSY,
                            "port %s is in use by another program; --listen %s:0 picks a free one",
                            colon + 1, host);
            }
            close(fd);
        }
        freeaddrinfo(address);
    }
    free(host);
    return err;
}

/* -- files
 * ------------------------------------------------------------------------------------------- */

err_t process_lock(const char *path, int *fd)
{
    char text[32] = "";
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) {
        return err_set(ERR_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(file, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(file, text, sizeof text - 1);
        text[n > 0 ? n : 0] = 0;
        close(file);
        return err_set(ERR_BUSY, "another `stint up` (process %.*s) runs on this directory",
                       (int)strcspn(text, "\n"), text);
    }
    int n = snprintf(text, sizeof text, "%d\n", getpid());
    if (ftruncate(file, 0) != 0 || pwrite(file, text, (size_t)n, 0) != n) {
        close(file);
        return err_set(ERR_IO, "%s: %s", path, strerror(errno));
    }
    *fd = file;
    return ERR_OK;
}

err_t process_directory(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return err_set(ERR_IO, "directory %.300s cannot be made: %s", path, strerror(errno));
    }
    return ERR_OK;
}

/* fork_server: a small process of one thread that forks the slots' children.
 *
 * The worker has threads and a large memory when a child must be replaced; this process has
 * neither, so its forks are safe and cheap. Lives here: its life, its requests and reports over one
 * SOCK_SEQPACKET. Not here: what children do (child), who needs a new one (pool).
 *
 * Who dies with whom: a child with the fork server (PDEATHSIG SIGKILL). The fork server ends when
 * the worker does: it sees the socket close and gets PDEATHSIG SIGUSR1, kills every group, reaps
 * every child, says the last words and exits. A SIGKILL as its own PDEATHSIG would take the
 * children with it, but leave what they had forked. A child also ends its own group when the
 * worker's end of its socket closes. What a task forked and put into another group or session comes
 * to this process when the child is dead (it is a subreaper) and is killed before that end is
 * reported. */
#ifndef STINT_WORKER_FORK_SERVER_H
#define STINT_WORKER_FORK_SERVER_H

#include <sys/types.h>

#include "common/err.h"
#include "worker/child.h"

enum { FORK_PAGE = 4096 }; /* bytes of shared memory a slot */

typedef enum {
    FORK_MADE,  /* pid, socket, pipe */
    FORK_ENDED, /* pid, status as of waitpid; the process stays a zombie until the slot is asked for
                   again */
    FORK_FAILED, /* status = errno; nothing was made */
} fork_report_type_t;

typedef struct {
    fork_report_type_t type;
    int slot;
    pid_t pid;
    int status;
    int socket, pipe; /* of FORK_MADE, now the caller's, non-blocking */
} fork_report_t;

typedef struct {
    int slots;
    int kept_fd; /* stays open in the server and its children until the last of them is dead; -1 =
                    none */
    char
        *shared; /* slots pages of FORK_PAGE bytes, MAP_SHARED: each begins with a child_shared_t */
    const task_code_t *(*find)(const char *name);
    /* Called in the server when the worker has died without fork_server_bye and nothing of it runs
     * any more; NULL = nothing to say. */
    void (*last_words)(void *context);
    void *last_words_context;
} fork_setup_t;

/* Fork the server; the caller has one thread. *socket is non-blocking, readable when a report
 * waits; its end is the server's death. */
CHECKED err_t fork_server_open(pid_t *pid, int *socket, const fork_setup_t *setup);
/* Ask for a (new) child in that slot; an ended one is reaped first. Answered FORK_MADE or
 * FORK_FAILED. */
CHECKED err_t fork_server_ask(int socket, int slot);
/* The end of this socket that comes next is meant. */
void fork_server_bye(int socket);
/* One report; ERR_NOT_FOUND when none waits, ERR_UNAVAILABLE when the server is gone. */
CHECKED err_t fork_server_report(int socket, fork_report_t *out);

#endif

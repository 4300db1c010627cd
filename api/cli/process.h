/* process: starting a program of ours as a child, and the ground it stands on.
 *
 * Lives here: fork, exec, pipes, free ports, the lock on the data directory. Not here: when and why
 * (supervise, up). */
#ifndef STINT_API_CLI_PROCESS_H
#define STINT_API_CLI_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

/* The directory of this program's own binary. ERR_INTERNAL if the system does not tell. */
CHECKED err_t process_home(char *out, size_t size);

/* Start `path` with `arguments` in a process group of its own (a Ctrl-C of the terminal reaches
 * only the parent), stdin empty, stdout and stderr into a pipe whose non-blocking reading end is
 * *output. The child is killed when this process dies. ERR_IO if it cannot be started. */
CHECKED err_t process_start(const char *path, char *const *arguments, pid_t *pid, int *output);

/* n distinct ports of 127.0.0.1 that are free now. They lie below the system's ephemeral range: a
 * client that reconnects to a broker that is away could otherwise be given that very port as its
 * own and connect to itself. ERR_BUSY if there are none. */
CHECKED err_t process_free_ports(int *ports, int n);
/* Does somebody listen there? */
bool process_is_listening(int port);
/* ERR_BUSY if the port of "HOST:PORT" is taken. Port 0 and what is not a numeric address is ok. */
CHECKED err_t process_check_listen(const char *listen);

/* Take the lock file, for as long as *fd stays open; the file holds our pid. ERR_BUSY names the
 * process that has it. */
CHECKED err_t process_lock(const char *path, int *fd);
/* A directory only its owner reads; there already is ok. ERR_IO. */
CHECKED err_t process_directory(const char *path);

#endif

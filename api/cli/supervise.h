/* supervise: the rules by which `stint up` keeps a fleet alive.
 *
 * Lives here: what to do about a process that ended, how long to wait, what a log line tells, the
 * arguments of each process, the order of stopping. Pure: no process, no clock, no socket. Called
 * by up.c. */
#ifndef STINT_API_CLI_SUPERVISE_H
#define STINT_API_CLI_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

/* In the order of stopping: nobody makes new work, running batches end and are recorded, then the
 * way between goes, the memory last. */
typedef enum { ROLE_SCHEDULER, ROLE_WORKER, ROLE_BROKER, ROLE_API, ROLES_N } role_t;
/* "scheduler", ...; the program is "stint-" and this. */
const char *role_name(role_t role);

enum {
    SUPERVISE_CALM_MS = 10000, /* a process that lived this long begins anew */
    SUPERVISE_FIRST_MS = 200,
    SUPERVISE_MOST_MS = 5000,
    SUPERVISE_DEATHS_MAX = 8, /* in a row before the fleet was ever ready: give up */
};

/* Milliseconds until the next start; *deaths_n counts the deaths in a row. The first time at once,
 * then 200 ms, doubled up to 5 s. */
int64_t supervise_delay(int *deaths_n, int64_t lived_ms);

/* What the end of a process means. exit_code is -1 for a signal. */
typedef struct {
    role_t role;
    int exit_code, deaths_n;
    bool was_ready; /* the fleet has been ready */
} supervise_end_t;
/* 0: start it again. Else the whole fleet stops with this exit code: 64 and 78 (starting again
 * cannot help), the api's 75 at the start (its port or store is taken), 70 after too many deaths.
 */
int supervise_verdict(const supervise_end_t *end);

/* The address in the api's line `event=api.ready ... url=http://...`; false if it is another line.
 */
bool supervise_ready_url(const char *line, char *out, size_t size);

/* Cut a stream into lines: calls for each whole one (without its newline, NUL-terminated) and keeps
 * the rest in `pending`; a line over SUPERVISE_LINE_MAX is given in pieces. */
enum { SUPERVISE_LINE_MAX = 8192 };
typedef void (*supervise_line_t)(void *context, const char *line, size_t n);
void supervise_lines(buffer_t *pending, const char *data, size_t n, supervise_line_t call,
                     void *context);

typedef struct {
    const char *data, *listen, *rate; /* rate NULL = as the tasks say */
    int workers, slots, brokers, schedulers;
    bool test_tasks;
    const char *frontends, *backends; /* lists of endpoints, comma-separated */
    const char *reach; /* where the workers connect: the backends as seen from here */
    const char *keys;  /* directory; NULL = plain sockets */
} fleet_t;

enum { FLEET_ARGUMENTS_MAX = 20 };
typedef struct {
    char *items[FLEET_ARGUMENTS_MAX + 1]; /* ends with NULL */
    int n;
} fleet_arguments_t;
/* Arguments of process number 1.. of a role, items[0] being the program's name. A broker takes its
 * own endpoint out of the lists. */
void fleet_arguments(fleet_arguments_t *out, const fleet_t *fleet, role_t role, int number);
void fleet_arguments_free(fleet_arguments_t *self);
/* Element 0.. of a comma-separated list, to be freed; NULL beyond its end. */
char *fleet_endpoint(const char *list, int i);

#endif

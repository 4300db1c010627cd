/* up: the state of one `stint up`, shared by its two rooms: fleet.c (processes) and up.c (phases).
 */
#ifndef STINT_API_CLI_UP_H
#define STINT_API_CLI_UP_H

#include "api/cli/cli.h"
#include "api/cli/supervise.h"
#include "common/loop.h"

typedef struct up up_t;

typedef struct {
    up_t *up;
    role_t role;
    int number, output, deaths_n, starts_n;
    char name[24];
    pid_t pid; /* 0: not running */
    int64_t started_at_ms;
    loop_watch_t *watch;
    loop_timer_t *restart;
    buffer_t pending;
    char last_line[512]; /* to quote when the end is final */
} process_t;

typedef enum { UP_BROKERS, UP_REST, UP_READY, UP_STOPPING } up_phase_t;

struct up {
    cli_t *cli;
    loop_t *loop;
    loop_timer_t *tick;
    fleet_t fleet;
    style_t style; /* of stderr, where the logs go */
    char home[4096], data[4000], listen[256], url[256];
    char frontends[1024], backends[1024], reach[1024];
    char backend[256], keys[4096]; /* --backend and what comes with it; "" = not given */
    char reason[640];              /* why the fleet stops by itself; "" = it was asked to */
    int ports[32];                 /* front and back of each broker */
    process_t *processes;
    int processes_n, lock, exit_code;
    up_phase_t phase;
    role_t stopping;
    int64_t kill_at_ms, phase_at_ms;
    bool was_ready;
    client_t *client;
    /* Called when a process ended; decides what comes next. */
    void (*on_end)(up_t *self, process_t *process, int exit_code);
};

/* A line of our own among the logs. */
void up_say(const up_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Make the list of processes (none runs yet), free it. */
void fleet_make(up_t *self);
void fleet_free(up_t *self);
/* Start one that does not run. */
CHECKED err_t fleet_start(process_t *process);
/* Collect what has ended: its last words, then on_end. */
void fleet_reap(up_t *self);
void fleet_signal(const up_t *self, int signal_number, role_t role);
void fleet_kill(const up_t *self);
int fleet_running(const up_t *self, role_t role);
/* Write DATA/up.json: addresses and process ids, for people and tests that end them by id. */
CHECKED err_t fleet_record(const up_t *self);

#endif

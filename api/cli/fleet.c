/* The processes of `stint up`: starting, their logs, their end. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/cli/process.h"
#include "api/cli/up.h"
#include "common/clock.h"

static void print_line(const up_t *self, const char *name, tone_t tone, const char *line, size_t n)
{
    buffer_t out = {0};
    buffer_printf(&out, "%s%-5s |%s ", text_tone(self->style, tone), name,
                  text_tone(self->style, TONE_PLAIN));
    text_escape(&out, line, n);
    buffer_add_text(&out, "\n");
    fwrite(out.data, 1, out.n, stderr);
    buffer_free(&out);
}

void up_say(const up_t *self, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_line(self, "stint", TONE_BOLD, text, strlen(text));
}

/* -- logs
 * -------------------------------------------------------------------------------------------- */

static tone_t tone_of(const process_t *process)
{
    static const tone_t tones[] = {[ROLE_SCHEDULER] = TONE_MAGENTA,
                                   [ROLE_WORKER] = TONE_GREEN,
                                   [ROLE_BROKER] = TONE_YELLOW,
                                   [ROLE_API] = TONE_CYAN};
    return tones[process->role];
}

static void take_line(void *context, const char *line, size_t n)
{
    process_t *process = context;
    up_t *self = process->up;
    print_line(self, process->name, tone_of(process), line, n);
    if (n) {
        snprintf(process->last_line, sizeof process->last_line, "%s", line);
    }
    if (process->role == ROLE_API && supervise_ready_url(line, self->url, sizeof self->url) &&
        strncmp(self->url, "http://", 7) == 0) {
        /* A restarted api must be found where it was: port 0 is asked for only once. */
        size_t columns = strcspn(self->url + 7, "/");
        snprintf(self->listen, sizeof self->listen, "%.*s", (int)columns, self->url + 7);
    }
}

static void read_output(void *context)
{
    process_t *process = context;
    char data[16384];
    ssize_t n;
    while (process->output >= 0 && (n = read(process->output, data, sizeof data)) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return;
        }
        supervise_lines(&process->pending, data, (size_t)n, take_line, process);
    }
    /* The other end is closed, which may be before the process has ended. */
    loop_unwatch(process->up->loop, &process->watch);
}

static void close_output(process_t *process)
{
    if (process->output < 0) {
        return;
    }
    read_output(process);
    supervise_lines(&process->pending, "\n", process->pending.n ? 1 : 0, take_line, process);
    loop_unwatch(process->up->loop, &process->watch);
    close(process->output);
    process->output = -1;
}

/* -- life
 * -------------------------------------------------------------------------------------------- */

err_t fleet_start(process_t *process)
{
    up_t *self = process->up;
    fleet_arguments_t arguments;
    char path[4200];
    snprintf(path, sizeof path, "%s/stint-%s", self->home, role_name(process->role));
    fleet_arguments(&arguments, &self->fleet, process->role, process->number);
    err_t err = process_start(path, arguments.items, &process->pid, &process->output);
    fleet_arguments_free(&arguments);
    if (err) {
        return err;
    }
    process->started_at_ms = clock_now_ms();
    process->starts_n++;
    process->last_line[0] = 0;
    process->watch = loop_watch_fd(self->loop, process->output, read_output, process);
    return fleet_record(self);
}

static void try_start(void *context)
{
    process_t *process = context;
    if (process->pid || process->up->phase == UP_STOPPING) {
        return;
    }
    err_t err = fleet_start(process);
    if (err) {
        /* Out of processes or disk for a moment: the next try is as after a death. */
        up_say(process->up, "%s", err_text());
        if (!process->pid) {
            loop_timer_arm(process->restart, clock_now_ms() + SUPERVISE_MOST_MS);
        }
    }
}

static void ended(process_t *process, int status)
{
    int exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    process->pid = 0;
    close_output(process);
    if (process->up->phase != UP_STOPPING) {
        if (exit_code >= 0) {
            up_say(process->up, "%s ended with exit code %d", process->name, exit_code);
        } else {
            up_say(process->up, "%s was ended by signal %d (%s)", process->name, WTERMSIG(status),
                   strsignal(WTERMSIG(status)));
        }
    }
    process->up->on_end(process->up, process, exit_code);
}

void fleet_reap(up_t *self)
{
    for (int i = 0; i < self->processes_n; i++) {
        int status = 0;
        pid_t pid = self->processes[i].pid;
        if (pid && waitpid(pid, &status, WNOHANG) == pid) {
            ended(&self->processes[i], status);
        }
    }
}

void fleet_signal(const up_t *self, int signal_number, role_t role)
{
    for (int i = 0; i < self->processes_n; i++) {
        if (self->processes[i].pid && self->processes[i].role == role) {
            kill(self->processes[i].pid, signal_number);
        }
    }
}

void fleet_kill(const up_t *self)
{
    for (int role = 0; role < ROLES_N; role++) {
        fleet_signal(self, SIGKILL, (role_t)role);
    }
}

int fleet_running(const up_t *self, role_t role)
{
    int n = 0;
    for (int i = 0; i < self->processes_n; i++) {
        n += self->processes[i].pid && self->processes[i].role == role;
    }
    return n;
}

static void add_processes(up_t *self, role_t role, int n)
{
    for (int number = 1; number <= n; number++) {
        process_t *process = &self->processes[self->processes_n++];
        *process = (process_t){.up = self, .role = role, .number = number, .output = -1};
        snprintf(process->name, sizeof process->name, role == ROLE_API ? "api" : "%c%d",
                 role_name(role)[0], number);
        process->restart = loop_timer_new(self->loop, try_start, process);
    }
}

void fleet_make(up_t *self)
{
    const fleet_t *fleet = &self->fleet;
    int n = fleet->workers + fleet->brokers + fleet->schedulers + 1;
    self->processes = mem_zero((size_t)n * sizeof *self->processes);
    add_processes(self, ROLE_BROKER, fleet->brokers);
    add_processes(self, ROLE_API, 1);
    add_processes(self, ROLE_SCHEDULER, fleet->schedulers);
    add_processes(self, ROLE_WORKER, fleet->workers);
}

void fleet_free(up_t *self)
{
    for (int i = 0; i < self->processes_n; i++) {
        close_output(&self->processes[i]);
        loop_timer_destroy(&self->processes[i].restart);
        buffer_free(&self->processes[i].pending);
    }
    free(self->processes);
    self->processes = NULL;
    self->processes_n = 0;
}

/* -- up.json
 * ----------------------------------------------------------------------------------------- */

static json_t *brokers_json(const up_t *self)
{
    json_t *brokers = json_array();
    for (int i = 0; i < self->fleet.brokers; i++) {
        char *front = fleet_endpoint(self->frontends, i), *back = fleet_endpoint(self->backends, i);
        json_array_append_new(brokers, json_pack("{ss ss}", "frontend", front, "backend", back));
        free(front);
        free(back);
    }
    return brokers;
}

err_t fleet_record(const up_t *self)
{
    char path[4096], aside[4096];
    json_t *processes = json_array();
    for (int i = 0; i < self->processes_n; i++) {
        const process_t *process = &self->processes[i];
        json_array_append_new(processes, json_pack("{ss ss si si}", "name", process->name, "role",
                                                   role_name(process->role), "pid",
                                                   (int)process->pid, "starts", process->starts_n));
    }
    json_t *record = json_pack("{si ss ss sb so so}", "pid", (int)getpid(), "url", self->url,
                               "data", self->data, "ready", self->phase == UP_READY, "brokers",
                               brokers_json(self), "processes", processes);
    snprintf(path, sizeof path, "%s/up.json", self->data);
    snprintf(aside, sizeof aside, "%s/up.json.new", self->data);
    bool written = record && json_dump_file(record, aside, JSON_INDENT(2)) == 0;
    json_decref(record);
    if (!written || rename(aside, path) != 0) {
        return err_set(ERR_IO, "%.300s cannot be written: %s", path, strerror(errno));
    }
    return ERR_OK;
}

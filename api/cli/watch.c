/* Following a job to its end: watch, wait and what submit does with --watch and --wait. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/cli/cli.h"
#include "api/cli/job_text.h"
#include "common/clock.h"

enum {
    POLL_MS = 500,
    /* An api that is being restarted is away for seconds: only a longer silence ends the watching.
     */
    PATIENCE_MS = 60000
};

typedef struct {
    cli_t *cli;
    bool quiet;
    char *last; /* what was printed last, to say nothing twice */
    int64_t answered_at_ms;
    bool away;
} watch_t;

static void pause_ms(long ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

static void print_changed(watch_t *self, buffer_t *line)
{
    buffer_add(line, "", 1);
    const char *text = (const char *)line->data;
    bool in_place = self->cli->terminal && !self->cli->json;
    if (in_place) {
        printf("\r%s\x1b[K", text);
    } else if (!self->last || strcmp(self->last, text) != 0) {
        printf("%s\n", text);
        free(self->last);
        self->last = mem_text(text);
    }
    fflush(stdout);
}

static void print_progress(watch_t *self, const json_t *job)
{
    buffer_t line = {0};
    if (self->cli->json) {
        char *text = json_dumps(job, JSON_COMPACT);
        buffer_add_text(&line, text ? text : "");
        free(text);
    } else if (self->cli->terminal) {
        job_bar(&line, self->cli->style, job);
    } else {
        job_line(&line, job);
    }
    print_changed(self, &line);
    buffer_free(&line);
}

static void print_end(watch_t *self, const json_t *job)
{
    buffer_t text = {0};
    bool in_place = self->cli->terminal && !self->cli->json && !self->quiet;
    if (in_place) {
        buffer_add_text(&text, "\n");
    }
    job_outcome(&text, self->cli->style, job);
    if (!self->cli->json) {
        fwrite(text.data, 1, text.n, stdout);
    } else if (self->quiet) {
        print_progress(self, job);
    }
    fflush(stdout);
    buffer_free(&text);
}

/* True if it is worth asking again. */
static bool be_patient(watch_t *self, err_t err)
{
    if (err != ERR_UNAVAILABLE && err != ERR_TIMEOUT && err != ERR_LIMIT) {
        return false;
    }
    if (!self->away) {
        self->away = true;
        fprintf(stderr, "%sstint: %s does not answer; trying again\n",
                self->cli->terminal ? "\n" : "", client_server(self->cli->client));
    }
    return clock_now_ms() - self->answered_at_ms < PATIENCE_MS;
}

static int follow(watch_t *self, const char *path)
{
    bool answered = false;
    for (;;) {
        json_t *job = NULL;
        err_t err = client_get(self->cli->client, path, &job);
        /* The first question is not patient: a wrong address should be said at once. */
        if (err && !(answered && be_patient(self, err))) {
            return cli_fail(self->cli, err);
        }
        if (!err) {
            answered = true;
            self->away = false;
            self->answered_at_ms = clock_now_ms();
            if (!self->quiet) {
                print_progress(self, job);
            }
            if (job_is_over(job)) {
                print_end(self, job);
                int exit_code = job_exit_code(job);
                json_decref(job);
                return exit_code;
            }
            json_decref(job);
        }
        pause_ms(POLL_MS);
    }
}

int watch_job(cli_t *cli, const char *job_id, bool quiet)
{
    watch_t self = {.cli = cli, .quiet = quiet, .answered_at_ms = clock_now_ms()};
    buffer_t path = {0};
    err_t err = cli_connect(cli);
    if (err) {
        return cli_fail(cli, err);
    }
    buffer_printf(&path, "/api/v1/batch-jobs/%s", job_id);
    int exit_code = follow(&self, (const char *)path.data);
    buffer_free(&path);
    free(self.last);
    return exit_code;
}

static int watch_operand(cli_t *cli, bool quiet)
{
    buffer_t path = {0};
    err_t err = cli_job_path(cli, "", &path);
    buffer_free(&path);
    return err ? cli_fail(cli, err) : watch_job(cli, cli->arguments.operands[0], quiet);
}

int command_watch(cli_t *cli)
{
    return watch_operand(cli, false);
}

int command_wait(cli_t *cli)
{
    return watch_operand(cli, true);
}

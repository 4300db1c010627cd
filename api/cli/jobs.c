/* The commands that ask once and print: show, list, cancel, report, stats, workers. */
#include <stdio.h>
#include <string.h>

#include "api/cli/cli.h"
#include "api/cli/job_text.h"
#include "api/cli/report_text.h"

typedef void (*render_t)(buffer_t *out, style_t style, const json_t *answer);

static int ask(cli_t *cli, const char *path, bool is_post, render_t render)
{
    json_t *answer = NULL;
    buffer_t text = {0};
    err_t err = cli_connect(cli);
    if (!err) {
        err = is_post ? client_post(cli->client, path, &answer)
                      : client_get(cli->client, path, &answer);
    }
    if (err) {
        return cli_fail(cli, err);
    }
    render(&text, cli->style, answer);
    int exit_code = cli_print(cli, &text);
    buffer_free(&text);
    json_decref(answer);
    return exit_code;
}

static int ask_job(cli_t *cli, const char *tail, bool is_post, render_t render)
{
    buffer_t path = {0};
    err_t err = cli_job_path(cli, tail, &path);
    int exit_code = err ? cli_fail(cli, err) : ask(cli, (const char *)path.data, is_post, render);
    buffer_free(&path);
    return exit_code;
}

int command_show(cli_t *cli)
{
    return ask_job(cli, "", false, job_text);
}

int command_cancel(cli_t *cli)
{
    return ask_job(cli, "/cancel", true, job_outcome);
}

int command_list(cli_t *cli)
{
    static const char *const names[] = {"status", "task", "limit"};
    buffer_t path = {0};
    buffer_add_text(&path, "/api/v1/batch-jobs/");
    char separator = '?';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = arguments_text(&cli->arguments, names[i]);
        if (value) {
            buffer_printf(&path, "%c%s=", separator, names[i]);
            client_encode(&path, value);
            separator = '&';
        }
    }
    buffer_add(&path, "", 1);
    int exit_code = ask(cli, (const char *)path.data, false, list_text);
    buffer_free(&path);
    return exit_code;
}

int command_stats(cli_t *cli)
{
    return ask(cli, "/api/v1/batch-jobs/stats/summary", false, stats_text);
}

int command_workers(cli_t *cli)
{
    return ask(cli, "/api/v1/workers", false, workers_text);
}

/* A person's report also tells how the job went: that stands in the job, asked first so that --json
 * finds the report as the last answer. */
int command_report(cli_t *cli)
{
    buffer_t job_path = {0}, report_path = {0}, text = {0};
    json_t *job = NULL, *report = NULL;
    int exit_code = 0;
    err_t err = cli_job_path(cli, "", &job_path);
    if (!err) {
        err = cli_job_path(cli, "/report", &report_path);
    }
    if (!err) {
        err = cli_connect(cli);
    }
    if (!err && !cli->json) {
        err = client_get(cli->client, (const char *)job_path.data, &job);
    }
    if (!err) {
        err = client_get(cli->client, (const char *)report_path.data, &report);
    }
    if (err) {
        exit_code = cli_fail(cli, err);
    } else {
        report_text(&text, cli->style, report, job);
        exit_code = cli_print(cli, &text);
    }
    json_decref(job);
    json_decref(report);
    buffer_free(&job_path);
    buffer_free(&report_path);
    buffer_free(&text);
    return exit_code;
}

/* cli: what every command of `stint` is given, and how it ends.
 *
 * Lives here: the parsed line, the server, the style of the terminal, the exit codes of jobs, and
 * the commands' entry points for the table in command.c. */
#ifndef STINT_API_CLI_CLI_H
#define STINT_API_CLI_CLI_H

#include "common/arguments.h"
#include "api/cli/client.h"
#include "api/cli/text.h"

enum { EXIT_JOB_COMPLETED = 0, EXIT_JOB_FAILED = 1, EXIT_JOB_CANCELLED = 3 };

struct cli {
    arguments_t arguments;
    client_t *client; /* NULL for commands that need none, until cli_connect */
    const char *server;
    style_t style;
    bool json;
    bool terminal; /* stdout is one */
};

/* The whole command: `stint` with its arguments. Returns the exit code. */
int cli_main(int argc, char **argv);

/* How the terminal behind a descriptor wants its text: --no-color, NO_COLOR, TERM, locale, width.
 */
style_t cli_style(const cli_t *cli, int fd);
CHECKED err_t cli_connect(cli_t *cli);
/* Say what went wrong on stderr (sentence, then the server's lines) and return its exit code. */
int cli_fail(const cli_t *cli, err_t err);
/* With --json the last answer as it came, else `text`, to stdout; 0, or 74 if nobody takes it. */
int cli_print(const cli_t *cli, const buffer_t *text);
/* "/api/v1/batch-jobs/ID<tail>" of the first operand; ERR_USAGE if that is not an id. */
CHECKED err_t cli_job_path(const cli_t *cli, const char *tail, buffer_t *out);

int command_up(cli_t *cli);
int command_submit(cli_t *cli);
int command_show(cli_t *cli);
int command_watch(cli_t *cli);
int command_wait(cli_t *cli);
int command_list(cli_t *cli);
int command_cancel(cli_t *cli);
int command_report(cli_t *cli);
int command_stats(cli_t *cli);
int command_workers(cli_t *cli);
int command_keys(cli_t *cli);
int command_version(cli_t *cli);
int command_help(cli_t *cli);

/* Follow a job to its end; `quiet` prints only what it came to. Returns the exit code. */
int watch_job(cli_t *cli, const char *job_id, bool quiet);

#endif

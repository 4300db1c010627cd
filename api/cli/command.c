/* The table of commands: parsing, help and dispatch come from its rows.
 * To add a command: a row here, its entry point in cli.h, its room beside the others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "api/cli/cli.h"

static const option_t globals[] = {
    {"server", OPTION_TEXT, 0, 0, "URL",
     "the server's address (also STINT_SERVER; default http://127.0.0.1:8000)"},
    {"json", OPTION_FLAG, 0, 0, "", "print the server's JSON instead of text"},
    {"no-color", OPTION_FLAG, 0, 0, "", "no colours (also NO_COLOR)"},
    {"help", OPTION_FLAG, 0, 0, "", "help on this command"},
    {0}};

static const option_t up_options[] = {
    {"data", OPTION_TEXT, 0, 0, "DIR", "where everything is kept (default stint-data)"},
    {"listen", OPTION_TEXT, 0, 0, "ADDRESS:PORT",
     "address of the HTTP server, port 0 picks a free one (default 127.0.0.1:8000)"},
    {"workers", OPTION_NUMBER, 1, 256, "N", "worker processes (default 4)"},
    {"slots", OPTION_NUMBER, 1, 256, "N", "batches a worker runs at a time (default 1)"},
    {"brokers", OPTION_NUMBER, 1, 16, "N", "broker processes (default 1)"},
    {"backend", OPTION_TEXT, 0, 0, "ADDRESS:PORT",
     "where workers of other machines connect (the next broker: the next port); the fleet then has "
     "keys, in DATA/keys"},
    {"schedulers", OPTION_NUMBER, 1, 16, "N", "scheduler processes (default 1)"},
    {"rate", OPTION_TEXT, 0, 0, "N/m|off",
     "batches each worker may start (default as the task says: 10/m)"},
    {"test-tasks", OPTION_FLAG, 0, 0, "", "offer the tasks that misbehave on purpose"},
    {0}};

static const option_t submit_options[] = {
    {"task", OPTION_TEXT, 0, 0, "NAME", "the task to run (required)"},
    {"param", OPTION_PAIR, 0, 0, "NAME=VALUE",
     "a parameter, again for more; JSON if it parses, else a string"},
    {"type", OPTION_TEXT, 0, 0, "csv|ndjson|json", "what FILE holds (default by its name)"},
    {"priority", OPTION_NUMBER, -100, 100, "N", "higher goes first (default 0)"},
    {"chunk-items", OPTION_NUMBER, 100, 1500, "N", "items stored together (default 100)"},
    {"batch-items", OPTION_NUMBER, 100, 1500, "N", "most items of a batch (default 1500)"},
    {"watch", OPTION_FLAG, 0, 0, "", "show the progress until the job ends"},
    {"wait", OPTION_FLAG, 0, 0, "", "wait in silence until the job ends"},
    {0}};

static const option_t list_options[] = {
    {"status", OPTION_TEXT, 0, 0, "STATUS",
     "only pending, processing, finalizing, completed, failed or cancelled"},
    {"task", OPTION_TEXT, 0, 0, "NAME", "only jobs of this task"},
    {"limit", OPTION_NUMBER, 1, 1000, "N", "most jobs shown (default 50)"},
    {0}};

static const option_t keys_options[] = {
    {"keys", OPTION_TEXT, 0, 0, "DIR",
     "directory of the keys (also STINT_KEYS; default stint-keys); stint up has DATA/keys"},
    {0}};

static const command_t commands[] = {
    {"up", "", 0, 0, "run a whole fleet on this machine until Ctrl-C",
     "stint up\nstint up --workers 8 --rate off --data /var/lib/stint\nstint up --listen "
     "127.0.0.1:0 --brokers 2",
     up_options, command_up},
    {"submit", "FILE", 1, 1, "send a file of items as one job (- is standard input)",
     "stint submit payments.csv.gz --task process_transaction_batch --param profile=ap --watch\n"
     "stint submit - --type ndjson --task noop --wait < items.ndjson",
     submit_options, command_submit},
    {"show", "JOB", 1, 1, "one job", "stint show 868000000001", NULL, command_show},
    {"watch", "JOB", 1, 1, "follow a job to its end (the exit code is the job's)",
     "stint watch 868000000001", NULL, command_watch},
    {"wait", "JOB", 1, 1, "wait in silence for a job's end (the exit code is the job's)",
     "stint wait 868000000001 && stint report 868000000001", NULL, command_wait},
    {"list", "", 0, 0, "jobs, newest first", "stint list\nstint list --status failed --limit 10",
     list_options, command_list},
    {"cancel", "JOB", 1, 1, "stop a job for good", "stint cancel 868000000001", NULL,
     command_cancel},
    {"report", "JOB", 1, 1, "the result of a job, to read",
     "stint report 868000000001\nstint report 868000000001 --json > report.json", NULL,
     command_report},
    {"stats", "", 0, 0, "how busy the fleet is", "stint stats", NULL, command_stats},
    {"workers", "", 0, 0, "the workers and their hosts", "stint workers", NULL, command_workers},
    {"keys", "init|add|list|remove [ROLE] [NAME]", 1, 3,
     "the keys with which the processes of a fleet know each other",
     "stint keys init                       # a new fleet's, in stint-keys\n"
     "stint keys add worker east            # makes stint-keys/east.key: bring it to that machine\n"
     "stint keys list\n"
     "stint keys remove east                # brokers cut it off at once",
     keys_options, command_keys},
    {"version", "", 0, 0, "version of this command", "stint version", NULL, command_version},
    {"help", "[COMMAND]", 0, 1, "this list, or one command", "stint help submit", NULL,
     command_help},
    {0}};

static void print_help(FILE *to)
{
    fputs("Stint runs many items through a fleet of workers.\n\n"
          "Examples:\n"
          "  stint up\n"
          "  stint submit payments.csv.gz --task process_transaction_batch --watch\n"
          "  stint report JOB\n\nCommands:\n",
          to);
    arguments_print_commands(to, commands);
    fputs("\nEverywhere:\n", to);
    arguments_print_options(to, globals);
    fputs("\nExit codes:\n"
          "  0   done; of a job: completed        70  a mistake of the program itself\n"
          "  1   of a job: failed                 74  reading or writing failed, disk full\n"
          "  3   of a job: cancelled              75  not now: conflict, limit, busy, no answer\n"
          "  64  the command line                 76  another protocol version\n"
          "  65  the input was refused            77  credentials\n"
          "  66  no such job or file              78  the configuration\n"
          "  69  no server answers\n",
          to);
}

int command_help(cli_t *cli)
{
    const char *name = cli->arguments.operands_n ? cli->arguments.operands[0] : NULL;
    if (!name) {
        print_help(stdout);
        return 0;
    }
    const command_t *command = arguments_command(commands, name);
    if (!command) {
        return cli_fail(cli, err_set(ERR_USAGE, "there is no command \"%.80s\"", name));
    }
    arguments_print_command(stdout, "stint", command, globals);
    return 0;
}

int command_version(cli_t *cli)
{
    printf(cli->json ? "{\"version\": \"%s\"}\n" : "stint %s\n", STINT_VERSION);
    return 0;
}

/* A terminal whose locale names another character set gets ASCII; none at all (containers) is taken
 * as UTF-8. */
static bool is_unicode(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) {
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
        }
    }
    return true;
}

style_t cli_style(const cli_t *cli, int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool is_terminal = isatty(fd) == 1;
    style_t style = {.unicode = is_unicode(), .width = 100};
    style.color = is_terminal && !(no_color && *no_color) && !(term && !strcmp(term, "dumb")) &&
                  !arguments_flag(&cli->arguments, "no-color");
    struct winsize size;
    if (is_terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) {
        style.width = size.ws_col > 120 ? 120 : size.ws_col;
    }
    return style;
}

static int run(cli_t *cli, err_t parsed)
{
    const command_t *command = cli->arguments.command;
    if (parsed) {
        return cli_fail(cli, parsed);
    }
    if (arguments_flag(&cli->arguments, "help")) {
        command ? arguments_print_command(stdout, "stint", command, globals) : print_help(stdout);
        return 0;
    }
    if (!command) {
        print_help(stderr);
        return err_exit(ERR_USAGE);
    }
    return command->run(cli);
}

int cli_main(int argc, char **argv)
{
    cli_t cli = {.terminal = isatty(STDOUT_FILENO) == 1};
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        return command_version(&cli);
    }
    err_t parsed = arguments_parse(&cli.arguments, commands, globals, argc, argv);
    const char *server = arguments_text(&cli.arguments, "server");
    const char *from_environment = getenv("STINT_SERVER");
    cli.server = server                                  ? server
                 : from_environment && *from_environment ? from_environment
                                                         : "http://127.0.0.1:8000";
    cli.json = arguments_flag(&cli.arguments, "json");
    cli.style = cli_style(&cli, STDOUT_FILENO);
    int exit_code = run(&cli, parsed);
    client_destroy(&cli.client);
    arguments_free(&cli.arguments);
    if (fflush(stdout) != 0 && exit_code == 0) {
        exit_code = err_exit(ERR_IO);
    }
    return exit_code;
}

/* The table of commands of stint-migrate: parsing, help and dispatch come from its rows. */
#include "schema/migrate/command.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/sqlite_err.h"
#include "schema/migrate/backup.h"

static int command_help(cli_t *cli);
static int command_version(cli_t *cli);

static const option_t globals[] = {
    {"db", OPTION_TEXT, 0, 0, "FILE", "the database (also STINT_MIGRATE_DB)"},
    {"dir", OPTION_TEXT, 0, 0, "DIR",
     "the migrations (also STINT_MIGRATE_DIR; default migrations)"},
    {"lock-timeout", OPTION_TEXT, 0, 0, "SECONDS",
     "how long to wait for other processes (default 5)"},
    {"json", OPTION_FLAG, 0, 0, "", "print a JSON document instead of text"},
    {"help", OPTION_FLAG, 0, 0, "", "help on this command"},
    {0}};

static const option_t run_options[] = {
    {"create", OPTION_FLAG, 0, 0, "", "make the database if there is none"},
    {"backup", OPTION_FLAG, 0, 0, "",
     "copy the database first (FILE.backup-TIME, the last 3 kept)"},
    {"rebuild", OPTION_FLAG, 0, 0, "", "write changed tables anew, even where their rows may stay"},
    {0}};

static const option_t change_options[] = {
    {"backup", OPTION_FLAG, 0, 0, "",
     "copy the database first (FILE.backup-TIME, the last 3 kept)"},
    {"rebuild", OPTION_FLAG, 0, 0, "", "write changed tables anew, even where their rows may stay"},
    {0}};

static const option_t sql_options[] = {
    {"rebuild", OPTION_FLAG, 0, 0, "", "write changed tables anew, even where their rows may stay"},
    {0}};

static const command_t commands[] = {
    {"run", "SCRIPT.sql", 1, 1, "run one script, all of it or nothing, without history",
     "stint-migrate run --db app.db change.sql\necho 'ALTER TABLE t ALTER c SET NOT NULL' | "
     "stint-migrate run --db app.db -",
     run_options, command_run},
    {"upgrade", "[head|N|+N]", 0, 1, "run the migrations that have not run yet",
     "stint-migrate --db app.db upgrade\nstint-migrate --db app.db upgrade +1 --backup",
     change_options, command_upgrade},
    {"downgrade", "[N|-N|base]", 0, 1, "undo migrations (default -1: the last)",
     "stint-migrate --db app.db downgrade\nstint-migrate --db app.db downgrade 3", change_options,
     command_downgrade},
    {"status", "", 0, 0, "each migration: has it run?", "stint-migrate --db app.db status", NULL,
     command_status},
    {"history", "", 0, 0, "what has run on this database, and when",
     "stint-migrate --db app.db history", NULL, command_history},
    {"check", "", 0, 0, "is the schema what its history builds? (1: no)",
     "stint-migrate --db app.db check; test $? = 1 && echo drift", NULL, command_check},
    {"stamp", "N", 1, 1, "say that the database is at version N, running nothing",
     "stint-migrate --db app.db stamp 1", NULL, command_stamp},
    {"new", "NAME", 1, 1, "make the next migration file", "stint-migrate new add_users", NULL,
     command_new},
    {"sql", "[TARGET|FILE.sql]", 0, 1, "print the SQL that would run, changing nothing",
     "stint-migrate --db app.db sql\nstint-migrate --db app.db sql +1\nstint-migrate --db app.db "
     "sql change.sql",
     sql_options, command_sql},
    {"diff", "A.db B.db", 2, 2, "what differs between two schemas (1: something)",
     "stint-migrate diff test.db production.db", NULL, command_diff},
    {"version", "", 0, 0, "version of this command", "stint-migrate version", NULL,
     command_version},
    {"help", "[COMMAND]", 0, 1, "this list, or one command", "stint-migrate help upgrade", NULL,
     command_help},
    {0}};

static void print_help(FILE *to)
{
    fputs("Standard ALTER TABLE for SQLite, and numbered migrations.\n\n"
          "Examples:\n"
          "  stint-migrate run --db app.db change.sql\n"
          "  stint-migrate new add_users\n"
          "  stint-migrate --db app.db upgrade\n\nCommands:\n",
          to);
    arguments_print_commands(to, commands);
    fputs("\nEverywhere:\n", to);
    arguments_print_options(to, globals);
    fputs("\nExit codes:\n"
          "  0   done; check, diff: no difference   70  a mistake of the program itself\n"
          "  1   check, diff: a difference          74  reading or writing failed, disk full, "
          "read-only\n"
          "  64  the command line                   75  locked by another process\n"
          "  65  refused: the script, its rows      78  the database is newer than the files\n"
          "  66  no such file\n",
          to);
}

static int command_help(cli_t *cli)
{
    const char *name = cli_operand(cli, 0, NULL);
    const command_t *command = name ? arguments_command(commands, name) : NULL;
    if (name && !command)
        return cli_fail(cli, err_set(ERR_USAGE, "there is no command \"%.80s\"", name));
    if (command)
        arguments_print_command(stdout, "stint-migrate", command, globals);
    else
        print_help(stdout);
    return 0;
}

static int command_version(cli_t *cli)
{
    printf(cli->json ? "{\"version\": \"%s\", \"sqlite\": \"%s\"}\n"
                     : "stint-migrate %s (SQLite %s)\n",
           STINT_VERSION, sqlite3_libversion());
    return 0;
}

/* -- what the commands share -------------------------------------------------------------- */

const char *cli_operand(const cli_t *cli, int i, const char *fallback)
{
    return i < cli->arguments.operands_n ? cli->arguments.operands[i] : fallback;
}

static const char *setting(const cli_t *cli, const char *option, const char *variable,
                           const char *fallback)
{
    const char *value = arguments_text(&cli->arguments, option), *given = getenv(variable);
    return value ? value : given && *given ? given : fallback;
}

void cli_clear(cli_t *cli)
{
    if (cli->progress_shown)
        fputs("\r\033[K", stderr);
    cli->progress_shown = false;
}

int cli_fail(cli_t *cli, err_t err)
{
    cli_clear(cli);
    fflush(stdout); /* what was done stands before what went wrong */
    fprintf(stderr, "stint-migrate: %s\n", err_text());
    if (cli->json) {
        json_t *root =
            json_pack("{s:{s:s, s:s}}", "error", "code", err_code(err), "message", err_text());
        json_dumpf(root, stdout, JSON_INDENT(1));
        putchar('\n');
        json_decref(root);
    }
    return err_exit(err);
}

/* SQLite opens a file when it is first read: now, so that what is no database is told as such. */
static err_t look(cli_t *cli)
{
    if (sqlite3_exec(cli->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL) == SQLITE_OK)
        return ERR_OK;
    err_t err = sqlite_err(cli->db);
    return err == ERR_BUSY
               ? err_set(err,
                         "%s is locked by another process: try again, or wait longer with "
                         "--lock-timeout",
                         cli->path)
               : err_set(err, "%s: %s", cli->path, sqlite3_errmsg(cli->db));
}

err_t cli_open(cli_t *cli, bool write, bool create)
{
    cli->path = setting(cli, "db", "STINT_MIGRATE_DB", NULL);
    if (!cli->path)
        return err_set(ERR_USAGE, "which database? --db FILE");
    if (!create && access(cli->path, F_OK) < 0)
        return err_set(ERR_NOT_FOUND, "there is no database %s: %s", cli->path, strerror(errno));
    int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(cli->path, &cli->db, flags, NULL) != SQLITE_OK)
        return err_set(ERR_IO, "cannot open %s: %s", cli->path, sqlite3_errmsg(cli->db));
    sqlite3_extended_result_codes(cli->db, 1);
    sqlite3_busy_timeout(cli->db, (int)cli->options.lock_timeout_ms);
    if (write && sqlite3_db_readonly(cli->db, "main") == 1)
        return err_set(ERR_IO, "%s is read-only", cli->path);
    if (!write)
        sqlite3_exec(cli->db, "PRAGMA query_only = ON", NULL, NULL, NULL);
    return look(cli);
}

err_t cli_files(cli_t *cli)
{
    const char *directory = setting(cli, "dir", "STINT_MIGRATE_DIR", "migrations");
    return migration_files_read(&cli->arena, directory, &cli->files);
}

err_t cli_backup(cli_t *cli, char **out)
{
    *out = NULL;
    if (!arguments_flag(&cli->arguments, "backup"))
        return ERR_OK;
    return backup_make(cli->db, &cli->arena, clock_wall_ms(), out);
}

/* -- on a terminal ------------------------------------------------------------------------ */

static void show_progress(void *context, const migrate_progress_t *at)
{
    cli_t *cli = context;
    cli->progress_shown = true;
    double seconds = (double)at->elapsed_ms / 1000;
    double rate = seconds > 0 ? (double)at->rows_done / seconds : 0;
    int64_t left = at->rows_total > at->rows_done ? at->rows_total - at->rows_done : 0;
    fprintf(stderr, "\r%.40s: %" PRId64 " of %" PRId64 " rows, %.0f rows/s, %.0f s left \033[K",
            at->table, at->rows_done, at->rows_total, rate, rate > 0 ? (double)left / rate : 0);
}

static void show_notice(void *context, const char *sentence)
{
    (void)context;
    fprintf(stderr, "stint-migrate: note: %s\n", sentence);
}

/* -- the program -------------------------------------------------------------------------- */

static err_t read_timeout(cli_t *cli)
{
    const char *text = arguments_text(&cli->arguments, "lock-timeout");
    char *end = NULL;
    double seconds = text ? strtod(text, &end) : 5;
    if (text && (end == text || *end || !(seconds >= 0) || seconds > 86400))
        return err_set(ERR_USAGE, "--lock-timeout is \"%.40s\", but must be seconds in 0..86400",
                       text);
    cli->options.lock_timeout_ms = llround(seconds * 1000);
    return ERR_OK;
}

static int run(cli_t *cli, err_t parsed)
{
    const command_t *command = cli->arguments.command;
    if (!parsed)
        parsed = read_timeout(cli);
    if (parsed)
        return cli_fail(cli, parsed);
    if (arguments_flag(&cli->arguments, "help")) {
        if (command)
            arguments_print_command(stdout, "stint-migrate", command, globals);
        else
            print_help(stdout);
        return 0;
    }
    if (!command) {
        print_help(stderr);
        return err_exit(ERR_USAGE);
    }
    return command->run(cli);
}

int migrate_main(int argc, char **argv)
{
    cli_t cli = {.options.notice = show_notice};
    cli.options.context = &cli;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return command_version(&cli);
    log_open("migrate", LOG_INFO);
    err_t parsed = arguments_parse(&cli.arguments, commands, globals, argc, argv);
    cli.json = arguments_flag(&cli.arguments, "json");
    cli.options.rebuild = arguments_flag(&cli.arguments, "rebuild");
    if (isatty(STDERR_FILENO))
        cli.options.progress = show_progress;
    int exit_code = run(&cli, parsed);
    cli_clear(&cli);
    sqlite3_close(cli.db);
    arena_free(&cli.arena);
    arguments_free(&cli.arguments);
    if (fflush(stdout) != 0 && exit_code == 0)
        exit_code = err_exit(ERR_IO);
    return exit_code;
}

/* command: stint-migrate: the table of its commands, and what each is given. */
#ifndef STINT_MIGRATE_COMMAND_H
#define STINT_MIGRATE_COMMAND_H

#include "common/arguments.h"
#include "schema/migrate/history.h"

struct cli {
    arguments_t arguments;
    arena_t arena;
    const char *path;        /* --db */
    sqlite3 *db;             /* NULL until cli_open */
    migration_files_t files; /* empty until cli_files */
    migrate_options_t options;
    bool json, progress_shown;
};

/* The whole command. Returns the exit code. */
int migrate_main(int argc, char **argv);

int command_run(cli_t *cli);
int command_upgrade(cli_t *cli);
int command_downgrade(cli_t *cli);
int command_status(cli_t *cli);
int command_history(cli_t *cli);
int command_check(cli_t *cli);
int command_stamp(cli_t *cli);
int command_new(cli_t *cli);
int command_sql(cli_t *cli);
int command_diff(cli_t *cli);

/* Open --db: to write (made if it is missing and `create`), or to look only. */
CHECKED err_t cli_open(cli_t *cli, bool write, bool create);
/* Read --dir. */
CHECKED err_t cli_files(cli_t *cli);
/* --backup. *out NULL: not asked for. */
CHECKED err_t cli_backup(cli_t *cli, char **out);
/* Take the line of progress off the terminal, before something is printed. */
void cli_clear(cli_t *cli);
/* Say what went wrong and return its exit code. */
int cli_fail(cli_t *cli, err_t err);
/* The operand of that number, or the fallback. */
const char *cli_operand(const cli_t *cli, int i, const char *fallback);

#endif

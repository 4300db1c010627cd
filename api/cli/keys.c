/* `stint keys`: the files with which the processes of a fleet know each other (common/keys). It
 * needs no server: brokers watch the directory. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/cli/cli.h"
#include "common/keys.h"
#include "common/wire.h"

static const char *directory_of(const cli_t *cli)
{
    const char *given = arguments_text(&cli->arguments, "keys");
    const char *environment = getenv("STINT_KEYS");
    return given ? given : environment && *environment ? environment : "stint-keys";
}

static int print(cli_t *cli, err_t err, buffer_t *text, json_t *json)
{
    int exit_code = 0;
    if (err) {
        exit_code = cli_fail(cli, err);
    } else if (cli->json) {
        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        fwrite(text->data, 1, text->n, stdout);
    }
    json_decref(json);
    buffer_free(text);
    return exit_code;
}

static int init(cli_t *cli, const char *directory)
{
    buffer_t text = {0};
    err_t err = keys_init(directory);
    buffer_printf(
        &text,
        "The keys of a new fleet are in %s. Each process is given its own:\n"
        "  stint-broker    --keys %s\n"
        "  stint-api       --key %s/api.key\n"
        "  stint-scheduler --key %s/scheduler.key\n"
        "  stint-worker    --key NAME.key --name NAME      (stint keys add worker NAME)\n",
        directory, directory, directory, directory);
    return print(cli, err, &text, json_pack("{ss}", "keys", directory));
}

static int add(cli_t *cli, const char *directory, const char *role_text, const char *name)
{
    buffer_t text = {0};
    uint64_t role = 0;
    err_t err =
        keys_role_parse(role_text, &role) && role
            ? keys_add(directory, role, name)
            : err_set(ERR_USAGE, "\"%.40s\" is no role: worker, api or scheduler", role_text);
    buffer_t file = {0};
    buffer_printf(&file, "%s/%s.key", directory, name);
    buffer_add(&file, "", 1);
    buffer_printf(&text,
                  "%s is the secret key of %s \"%s\": bring it to its machine (scp keeps mode 600 "
                  "with -p), delete it here, and start\n"
                  "  stint-%s --key %s.key --name %s --brokers tcp://ADDRESS:PORT\n",
                  (const char *)file.data, role_text, name, role_text, name, name);
    int exit_code = print(
        cli, err, &text,
        json_pack("{ss ss ss}", "name", name, "role", role_text, "file", (const char *)file.data));
    buffer_free(&file);
    return exit_code;
}

static int drop(cli_t *cli, const char *directory, const char *name)
{
    buffer_t text = {0};
    err_t err = keys_remove(directory, name);
    buffer_printf(&text, "\"%s\" is not admitted any more; brokers that watch %s cut it off.\n",
                  name, directory);
    return print(cli, err, &text, json_pack("{ss}", "removed", name));
}

static void complain(const char *sentence)
{
    fprintf(stderr, "stint: %s\n", sentence);
}

static void day_of(int64_t at_ms, char out[32])
{
    time_t seconds = (time_t)(at_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(out, 32, "%Y-%m-%d %H:%M UTC", &parts);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const keys_entry_t *)a)->name, ((const keys_entry_t *)b)->name);
}

static int list(cli_t *cli, const char *directory)
{
    keys_table_t table;
    buffer_t text = {0};
    json_t *json = json_array();
    err_t err = keys_table_load(&table, directory, complain);
    if (table.n) {
        qsort(table.items, (size_t)table.n, sizeof *table.items, by_name);
    }
    buffer_printf(&text, "%-20s %-10s %-40s %s\n", "NAME", "ROLE", "PUBLIC KEY", "ADDED");
    for (int i = 0; i < table.n; i++) {
        const keys_entry_t *entry = &table.items[i];
        char day[32];
        day_of(entry->added_at, day);
        buffer_printf(&text, "%-20s %-10s %-40s %s\n", entry->name, keys_role_name(entry->role),
                      entry->public_key, day);
        json_array_append_new(json, json_pack("{ss ss ss sI}", "name", entry->name, "role",
                                              keys_role_name(entry->role), "public_key",
                                              entry->public_key, "added_at",
                                              (json_int_t)entry->added_at));
    }
    keys_table_free(&table);
    return print(cli, err, &text, json);
}

int command_keys(cli_t *cli)
{
    const char *const *given = cli->arguments.operands;
    const char *directory = directory_of(cli);
    int n = cli->arguments.operands_n;
    if (strcmp(given[0], "init") == 0 && n == 1) {
        return init(cli, directory);
    }
    if (strcmp(given[0], "list") == 0 && n == 1) {
        return list(cli, directory);
    }
    if (strcmp(given[0], "add") == 0 && n == 3) {
        return add(cli, directory, given[1], given[2]);
    }
    if (strcmp(given[0], "remove") == 0 && n == 2) {
        return drop(cli, directory, given[1]);
    }
    return cli_fail(cli, err_set(ERR_USAGE, "keys takes init, add ROLE NAME, list or remove NAME; "
                                            "`stint help keys` shows examples"));
}

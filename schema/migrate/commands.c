/* commands: what each command of stint-migrate does, in the words it prints. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "schema/migrate/backup.h"
#include "schema/migrate/command.h"
#include "schema/migrate/diff.h"
#include "schema/migrate/mirror.h"

static int print_json(json_t *root)
{
    json_dumpf(root, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(root);
    return 0;
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

/* -- run ---------------------------------------------------------------------------------- */

static err_t read_script(cli_t *cli, const char *path, char **text, size_t *n)
{
    return file_read(&cli->arena, strcmp(path, "-") == 0 ? "/dev/stdin" : path, text, n);
}

static const char *shown(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

int command_run(cli_t *cli)
{
    const char *path = cli_operand(cli, 0, "-");
    char *text = NULL, *backup = NULL;
    size_t n = 0;
    int64_t began_ms = clock_now_ms();
    err_t err = read_script(cli, path, &text, &n);
    if (!err)
        err = cli_open(cli, true, arguments_flag(&cli->arguments, "create"));
    if (!err)
        err = cli_backup(cli, &backup);
    if (!err)
        err = migrate_script(cli->db, text, n, shown(path), 1, &cli->options);
    cli_clear(cli);
    backup_settle(cli->db, &cli->arena, backup, !err);
    if (err)
        return cli_fail(cli, err);
    int64_t took_ms = clock_now_ms() - began_ms;
    if (cli->json)
        return print_json(json_pack("{s:s, s:I, s:o}", "applied", shown(path), "duration_ms",
                                    (json_int_t)took_ms, "backup", text_or_null(backup)));
    if (backup)
        printf("backup %s\n", backup);
    printf("applied %s (%" PRId64 " ms)\n", shown(path), took_ms);
    return 0;
}

/* -- upgrade, downgrade ------------------------------------------------------------------- */

static json_t *migrated_json(const migrated_t *done)
{
    json_t *list = json_array();
    for (int i = 0; i < done->n; i++)
        json_array_append_new(list, json_pack("{s:I, s:s}", "version",
                                              (json_int_t)done->items[i]->version, "name",
                                              done->items[i]->name));
    return list;
}

static err_t version_now(cli_t *cli, int64_t *out)
{
    migration_records_t records;
    err_t err = history_read(cli->db, &cli->arena, &records);
    if (!err)
        *out = history_version(&records);
    return err;
}

static int tell_migrated(cli_t *cli, const char *verb, const migrated_t *done, char *backup,
                         err_t err)
{
    cli_clear(cli);
    backup_settle(cli->db, &cli->arena, backup, done->n > 0);
    if (backup && done->n > 0 && !cli->json)
        printf("backup %s\n", backup);
    for (int i = 0; i < done->n && !cli->json; i++)
        printf("%s %s\n", verb, done->items[i]->name);
    int64_t version = 0;
    if (!err)
        err = version_now(cli, &version);
    if (err)
        return cli_fail(cli, err);
    if (cli->json)
        return print_json(json_pack("{s:o, s:I, s:o}", verb, migrated_json(done), "version",
                                    (json_int_t)version, "backup", text_or_null(backup)));
    printf("%s at version %" PRId64 "%s\n", cli->path, version, done->n ? "" : ": nothing to do");
    return 0;
}

int command_upgrade(cli_t *cli)
{
    target_t target;
    migrated_t done = {0};
    migration_records_t records;
    char *backup = NULL;
    int pending = 0;
    err_t err = target_read(cli_operand(cli, 0, "head"), true, &target);
    if (!err)
        err = cli_files(cli);
    if (!err)
        err = cli_open(cli, true, true);
    if (!err)
        err = history_read(cli->db, &cli->arena, &records);
    if (!err)
        err = history_pending(&cli->files, &records, &pending);
    if (!err && pending > 0)
        err = cli_backup(cli, &backup);
    if (!err)
        err = history_upgrade(cli->db, &cli->arena, &cli->files, target, &cli->options, &done);
    return tell_migrated(cli, "applied", &done, backup, err);
}

int command_downgrade(cli_t *cli)
{
    target_t target;
    migrated_t done = {0};
    char *backup = NULL;
    int64_t version = 0;
    err_t err = target_read(cli_operand(cli, 0, "-1"), false, &target);
    if (!err)
        err = cli_files(cli);
    if (!err)
        err = cli_open(cli, true, false);
    if (!err)
        err = version_now(cli, &version);
    if (!err && version > 0)
        err = cli_backup(cli, &backup);
    if (!err)
        err = history_downgrade(cli->db, &cli->arena, &cli->files, target, &cli->options, &done);
    return tell_migrated(cli, "undone", &done, backup, err);
}

/* -- status, history ---------------------------------------------------------------------- */

/* One word for a migration; `file` or `record` may be NULL, not both. */
static const char *state_of(const migration_file_t *file, const migration_record_t *record)
{
    if (!record)
        return "pending";
    if (!file)
        return "missing";
    return strcmp(file->checksum, record->checksum) == 0 ? "applied" : "edited";
}

static void show_state(cli_t *cli, json_t *list, const char *name, const char *state,
                       const migration_record_t *record, int64_t version)
{
    char at[CLOCK_ISO_N] = "";
    if (record)
        clock_iso(record->applied_at, at);
    if (cli->json)
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:o}", "version",
                                              (json_int_t)version, "name", name, "state", state,
                                              "applied_at", text_or_null(record ? at : NULL)));
    else if (record)
        printf("%-8s %-40s %s\n", state, name, at);
    else
        printf("%-8s %s\n", state, name);
}

int command_status(cli_t *cli)
{
    migration_records_t records = {0};
    err_t err = cli_files(cli);
    if (!err)
        err = cli_open(cli, false, false);
    if (!err)
        err = history_read(cli->db, &cli->arena, &records);
    if (err)
        return cli_fail(cli, err);
    json_t *list = json_array();
    int pending = 0, f = 0, r = 0;
    while (f < cli->files.n || r < records.n) { /* both by version */
        const migration_file_t *file = f < cli->files.n ? &cli->files.items[f] : NULL;
        const migration_record_t *record = r < records.n ? &records.items[r] : NULL;
        if (file && record && file->version < record->version)
            record = NULL;
        else if (file && record && file->version > record->version)
            file = NULL;
        f += file != NULL;
        r += record != NULL;
        pending += !record;
        show_state(cli, list, file ? file->name : record->name, state_of(file, record), record,
                   file ? file->version : record->version);
    }
    if (cli->json)
        return print_json(json_pack("{s:I, s:i, s:o}", "version",
                                    (json_int_t)history_version(&records), "pending", pending,
                                    "migrations", list));
    json_decref(list);
    printf("%s at version %" PRId64 ", %d pending\n", cli->path, history_version(&records),
           pending);
    return 0;
}

int command_history(cli_t *cli)
{
    migration_records_t records = {0};
    err_t err = cli_open(cli, false, false);
    if (!err)
        err = history_read(cli->db, &cli->arena, &records);
    if (err)
        return cli_fail(cli, err);
    json_t *list = json_array();
    for (int i = 0; i < records.n; i++) {
        const migration_record_t *record = &records.items[i];
        char at[CLOCK_ISO_N];
        clock_iso(record->applied_at, at);
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:I, s:s}", "version",
                                              (json_int_t)record->version, "name", record->name,
                                              "checksum", record->checksum, "applied_at", at,
                                              "duration_ms", (json_int_t)record->duration_ms,
                                              "tool", record->tool));
        if (!cli->json)
            printf("%s  %-40s %6" PRId64 " ms  %s  %.12s\n", at, record->name, record->duration_ms,
                   record->tool, record->checksum);
    }
    if (cli->json)
        return print_json(list);
    json_decref(list);
    if (records.n == 0)
        printf("no migration has run on %s\n", cli->path);
    return 0;
}

/* -- check, diff -------------------------------------------------------------------------- */

static void show_difference(cli_t *cli, json_t *list, const difference_t *at)
{
    if (cli->json) {
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s}", "type", at->type, "name", at->name, "side",
                            at->sign == '-' ? "first" : "second", "what", at->what));
        return;
    }
    printf("%c %s %s: ", at->sign, at->type, at->name);
    for (const char *c = at->what; *c; c++)
        fputs(*c == '\n' ? "\n    " : (char[]){*c, 0}, stdout);
    putchar('\n');
}

static json_t *show_differences(cli_t *cli, const differences_t *differences)
{
    json_t *list = json_array();
    for (int i = 0; i < differences->n; i++)
        show_difference(cli, list, &differences->items[i]);
    return list;
}

/* Files that were edited or are gone; the number of them. */
static int tell_files(cli_t *cli, const migration_records_t *records, json_t *list)
{
    int n = 0;
    for (int i = 0; i < records->n; i++) {
        const migration_record_t *record = &records->items[i];
        const char *state = state_of(migration_files_find(&cli->files, record->version), record);
        if (strcmp(state, "applied") == 0)
            continue;
        n++;
        if (cli->json)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s}", "name", record->name, "state", state));
        else
            printf("%s: %s\n", record->name,
                   strcmp(state, "edited") == 0 ? "the file was edited after it ran"
                                                : "it has run, and the file is gone");
    }
    return n;
}

static err_t find_drift(cli_t *cli, const migration_records_t *records, differences_t *out)
{
    sqlite3 *built = NULL;
    int64_t version = history_version(records);
    /* A file that is gone builds nothing: what there is up to that version is compared. */
    while (version > 0 && !migration_files_find(&cli->files, version))
        version--;
    err_t err = mirror_built(&cli->arena, &cli->files, version, &built);
    if (err)
        return err_context(err, "the history does not build");
    err = schema_diff(built, cli->db, &cli->arena, out);
    sqlite3_close(built);
    return err;
}

int command_check(cli_t *cli)
{
    migration_records_t records = {0};
    differences_t differences = {0};
    err_t err = cli_files(cli);
    if (!err)
        err = cli_open(cli, false, false);
    if (!err)
        err = history_read(cli->db, &cli->arena, &records);
    if (err)
        return cli_fail(cli, err);
    json_t *files = json_array();
    int bad = tell_files(cli, &records, files);
    err = find_drift(cli, &records, &differences);
    if (err && (bad == 0 || cli->json)) {
        json_decref(files);
        return cli_fail(cli, err);
    }
    if (err)
        printf("so it is not known what its history builds: %s\n", err_text());
    json_t *list = show_differences(cli, &differences);
    bool clean = bad == 0 && differences.n == 0;
    if (cli->json) {
        print_json(json_pack("{s:b, s:I, s:o, s:o}", "clean", clean, "version",
                             (json_int_t)history_version(&records), "files", files, "differences",
                             list));
        return clean ? 0 : 1;
    }
    json_decref(files);
    json_decref(list);
    if (clean)
        printf("%s at version %" PRId64 " is what its history builds\n", cli->path,
               history_version(&records));
    else if (differences.n > 0)
        printf("(- the history builds it, + the database has it)\n");
    return clean ? 0 : 1;
}

static err_t open_other(cli_t *cli, const char *path, sqlite3 **out)
{
    cli_t other = {.options = cli->options,
                   .arguments.settings = &(setting_t){&(option_t){.name = "db"}, path},
                   .arguments.settings_n = 1};
    err_t err = cli_open(&other, false, false);
    *out = other.db;
    return err;
}

int command_diff(cli_t *cli)
{
    sqlite3 *first = NULL, *second = NULL;
    differences_t differences = {0};
    err_t err = open_other(cli, cli_operand(cli, 0, ""), &first);
    if (!err)
        err = open_other(cli, cli_operand(cli, 1, ""), &second);
    if (!err)
        err = schema_diff(first, second, &cli->arena, &differences);
    sqlite3_close(first);
    sqlite3_close(second);
    if (err)
        return cli_fail(cli, err);
    json_t *list = show_differences(cli, &differences);
    if (cli->json)
        print_json(json_pack("{s:b, s:O}", "same", differences.n == 0, "differences", list));
    else if (differences.n == 0)
        printf("the same schema\n");
    json_decref(list);
    return differences.n > 0;
}

/* -- stamp, new, sql ---------------------------------------------------------------------- */

int command_stamp(cli_t *cli)
{
    target_t target;
    err_t err = target_read(cli_operand(cli, 0, ""), false, &target);
    if (!err && target.kind != TARGET_VERSION)
        err = err_set(ERR_USAGE, "stamp takes a version, or base");
    if (!err)
        err = cli_files(cli);
    if (!err)
        err = cli_open(cli, true, false);
    if (!err)
        err = history_stamp(cli->db, &cli->files, target.n, &cli->options);
    if (err)
        return cli_fail(cli, err);
    if (cli->json)
        return print_json(json_pack("{s:I}", "version", (json_int_t)target.n));
    printf("%s is said to be at version %" PRId64 "\n", cli->path, target.n);
    return 0;
}

int command_new(cli_t *cli)
{
    char *path = NULL;
    const char *directory = arguments_text(&cli->arguments, "dir");
    err_t err = migration_files_new(&cli->arena, directory ? directory : "migrations",
                                    cli_operand(cli, 0, ""), &path);
    if (err)
        return cli_fail(cli, err);
    if (cli->json)
        return print_json(json_pack("{s:s}", "path", path));
    printf("%s\n", path);
    return 0;
}

typedef struct {
    bool json;
    json_t *list;
} printer_t;

static void print_sql(void *context, const char *sql)
{
    printer_t *self = context;
    if (self->json)
        json_array_append_new(self->list, json_string(sql));
    else
        printf("%s;\n", sql);
}

/* Tried on a copy of the schema in memory: nothing is locked, nothing written. */
static err_t print_planned(cli_t *cli, sqlite3 *mirror, printer_t *printer)
{
    migrate_options_t options = {
        .rebuild = cli->options.rebuild, .trace = print_sql, .context = printer};
    const char *what = cli_operand(cli, 0, "head");
    size_t n = strlen(what);
    migrated_t done = {0};
    target_t target;
    if (strcmp(what, "-") == 0 || (n > 4 && strcmp(what + n - 4, ".sql") == 0)) {
        char *text = NULL;
        err_t err = read_script(cli, what, &text, &n);
        return err ? err : migrate_script(mirror, text, n, shown(what), 1, &options);
    }
    err_t err = target_read(what, true, &target);
    if (!err)
        err = cli_files(cli);
    return err ? err : history_upgrade(mirror, &cli->arena, &cli->files, target, &options, &done);
}

int command_sql(cli_t *cli)
{
    sqlite3 *mirror = NULL;
    printer_t printer = {.json = cli->json, .list = json_array()};
    err_t err = cli_open(cli, false, false);
    if (!err)
        err = mirror_of(cli->db, &mirror);
    if (!err)
        err = print_planned(cli, mirror, &printer);
    sqlite3_close(mirror);
    if (err) {
        json_decref(printer.list);
        return cli_fail(cli, err);
    }
    if (cli->json)
        return print_json(printer.list);
    json_decref(printer.list);
    return 0;
}

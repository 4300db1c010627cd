#include "api/cli/submit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/cli/cli.h"
#include "api/cli/reading.h"

static bool ends_with(const char *text, size_t n, const char *tail)
{
    size_t m = strlen(tail);
    return n >= m && strncasecmp(text + n - m, tail, m) == 0;
}

err_t submit_media(const char *file, const char *type, const char **media, const char **encoding)
{
    static const struct {
        const char *type, *extension, *media;
    } kinds[] = {{"csv", ".csv", "text/csv"},
                 {"ndjson", ".ndjson", "application/x-ndjson"},
                 {"ndjson", ".jsonl", "application/x-ndjson"},
                 {"json", ".json", "application/json"}};
    size_t n = strlen(file);
    const char *packed = ends_with(file, n, ".gz")    ? "gzip"
                         : ends_with(file, n, ".zst") ? "zstd"
                                                      : NULL;
    n -= packed ? strlen(strrchr(file, '.')) : 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (type ? strcmp(type, kinds[i].type) == 0 : ends_with(file, n, kinds[i].extension)) {
            *media = kinds[i].media;
            *encoding = packed;
            return ERR_OK;
        }
    }
    if (type) {
        return err_set(ERR_USAGE, "--type is \"%.80s\", but must be csv, ndjson or json", type);
    }
    return err_set(ERR_USAGE,
                   "what \"%.200s\" holds cannot be seen from its name: "
                   "say --type csv, ndjson or json",
                   strcmp(file, "-") == 0 ? "standard input" : file);
}

static void add_query(buffer_t *out, const char *name, const char *value)
{
    if (value) {
        buffer_printf(out, "&%s=", name);
        client_encode(out, value);
    }
}

err_t submit_path(buffer_t *out, const arguments_t *arguments)
{
    const char *task = arguments_text(arguments, "task");
    if (!task || !*task) {
        return err_set(ERR_USAGE, "submit needs --task NAME, such as process_transaction_batch");
    }
    buffer_add_text(out, "/api/v1/batch-jobs/submit?task=");
    client_encode(out, task);
    add_query(out, "priority", arguments_text(arguments, "priority"));
    add_query(out, "chunk_items", arguments_text(arguments, "chunk-items"));
    add_query(out, "batch_items", arguments_text(arguments, "batch-items"));
    for (int i = 0; i < arguments->settings_n; i++) {
        if (arguments->settings[i].option->kind != OPTION_PAIR) {
            continue;
        }
        const char *pair = arguments->settings[i].value, *equals = strchr(pair, '=');
        char *name = mem_text_n(pair, (size_t)(equals - pair));
        buffer_add_text(out, "&param.");
        client_encode(out, name);
        buffer_add_text(out, "=");
        client_encode(out, equals + 1);
        free(name);
    }
    buffer_add(out, "", 1);
    return ERR_OK;
}

/* Standard input has no name to tell gzip and zstd by: its first bytes do. */
static err_t peek(client_upload_t *upload)
{
    while (upload->peeked_n < CLIENT_PEEK_N) {
        ssize_t got = read(upload->fd, upload->peeked + upload->peeked_n,
                           (size_t)(CLIENT_PEEK_N - upload->peeked_n));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_set(ERR_IO, "standard input cannot be read: %s", strerror(errno));
        }
        if (got == 0) {
            break;
        }
        upload->peeked_n += (int)got;
    }
    upload->encoding = upload->peeked_n >= 2 && memcmp(upload->peeked, "\x1f\x8b", 2) == 0 ? "gzip"
                       : upload->peeked_n == 4 && memcmp(upload->peeked, "\x28\xb5\x2f\xfd", 4) == 0
                           ? "zstd"
                           : NULL;
    return ERR_OK;
}

static err_t open_input(client_upload_t *upload, const char *file)
{
    struct stat facts;
    upload->bytes = -1;
    if (strcmp(file, "-") == 0) {
        upload->fd = STDIN_FILENO;
        return peek(upload);
    }
    upload->fd = open(file, O_RDONLY | O_CLOEXEC);
    if (upload->fd < 0) {
        return err_set(errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%.300s: %s", file,
                       strerror(errno));
    }
    if (fstat(upload->fd, &facts) == 0 && S_ISDIR(facts.st_mode)) {
        return err_set(ERR_USAGE, "%.300s is a directory", file);
    }
    if (S_ISREG(facts.st_mode)) {
        upload->bytes = facts.st_size;
    }
    return ERR_OK;
}

static err_t send_file(cli_t *cli, client_upload_t *upload, json_t **job)
{
    const char *file = cli->arguments.operands[0];
    buffer_t path = {0};
    err_t err = submit_media(file, arguments_text(&cli->arguments, "type"), &upload->type,
                             &upload->encoding);
    if (!err) {
        err = submit_path(&path, &cli->arguments);
    }
    if (!err && arguments_flag(&cli->arguments, "watch") &&
        arguments_flag(&cli->arguments, "wait")) {
        err = err_set(ERR_USAGE, "--watch and --wait exclude each other");
    }
    if (!err) {
        err = open_input(upload, file);
    }
    if (!err) {
        err = cli_connect(cli);
    }
    if (!err) {
        upload->path = (const char *)path.data;
        err = client_upload(cli->client, upload, job);
    }
    buffer_free(&path);
    return err;
}

int command_submit(cli_t *cli)
{
    json_t *job = NULL;
    client_upload_t upload = {.fd = -1};
    err_t err = send_file(cli, &upload, &job);
    if (upload.fd > STDERR_FILENO) {
        close(upload.fd);
    }
    if (err) {
        return cli_fail(cli, err);
    }
    buffer_t text = {0};
    char *id = mem_text(read_text(job, "job_id"));
    buffer_add_text(&text, "Job ");
    add_text(&text, id);
    int64_t items = read_integer(job, "items_total");
    buffer_printf(&text, " submitted: %lld %s\n", (long long)items, items == 1 ? "item" : "items");
    bool is_watch = arguments_flag(&cli->arguments, "watch");
    bool is_followed = is_watch || arguments_flag(&cli->arguments, "wait");
    /* --wait --json is one document: the job at its end. */
    int exit_code = cli->json && is_followed && !is_watch ? 0 : cli_print(cli, &text);
    if (!exit_code && is_followed) {
        bool is_id = *id && strspn(id, "0123456789") == strlen(id);
        exit_code = is_id ? watch_job(cli, id, !is_watch)
                          : cli_fail(cli, err_set(ERR_MALFORMED, "the server named no job"));
    }
    free(id);
    buffer_free(&text);
    json_decref(job);
    return exit_code;
}

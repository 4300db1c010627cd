#include "api/cli/cli.h"

#include <stdio.h>
#include <string.h>

err_t cli_connect(cli_t *cli)
{
    return cli->client ? ERR_OK : client_open(&cli->client, cli->server);
}

int cli_fail(const cli_t *cli, err_t err)
{
    buffer_t shown = {0};
    text_escape(&shown, err_text(), strlen(err_text()));
    fflush(stdout);
    fprintf(stderr, "stint: %.*s\n", (int)shown.n, (const char *)shown.data);
    if (cli->client) {
        fputs(client_details(cli->client), stderr);
    }
    if (err == ERR_USAGE) {
        const char *name = cli->arguments.command ? cli->arguments.command->name : "";
        fprintf(stderr, "stint help%s%s says more\n", *name ? " " : "", name);
    }
    buffer_free(&shown);
    return err_exit(err);
}

int cli_print(const cli_t *cli, const buffer_t *text)
{
    if (cli->json && cli->client) {
        size_t n = 0;
        const char *body = client_body(cli->client, &n);
        fwrite(body, 1, n, stdout);
        if (n && body[n - 1] != '\n') {
            fputc('\n', stdout);
        }
    } else if (text->n) {
        fwrite(text->data, 1, text->n, stdout);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return cli_fail(cli, err_set(ERR_IO, "standard output is closed"));
    }
    return 0;
}

err_t cli_job_path(const cli_t *cli, const char *tail, buffer_t *out)
{
    const char *id = cli->arguments.operands[0];
    size_t n = strlen(id);
    if (n == 0 || n > 20 || strspn(id, "0123456789") != n) {
        return err_set(ERR_USAGE, "\"%.80s\" is not a job's id: those are numbers", id);
    }
    buffer_printf(out, "/api/v1/batch-jobs/%s%s", id, tail);
    return ERR_OK;
}

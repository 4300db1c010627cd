/* libmicrohttpd takes requests that two programs may read differently (measured: two lengths, a
 * length beside chunks, any Transfer-Encoding, %00). They are refused before a byte of the body is
 * read. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/http/request.h"

typedef struct {
    int lengths_n, encodings_n, hosts_n;
    const char *length, *encoding, *host;
} heads_t;

static enum MHD_Result on_header(void *context, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    heads_t *heads = context;
    if (strcasecmp(name, "Content-Length") == 0) {
        heads->lengths_n++;
        heads->length = value ? value : "";
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        heads->encodings_n++;
        heads->encoding = value ? value : "";
    } else if (strcasecmp(name, "Host") == 0) {
        heads->hosts_n++;
        heads->host = value ? value : "";
    }
    return MHD_YES;
}

static err_t check_target(const char *target)
{
    if (target[0] != '/') {
        return err_set(ERR_MALFORMED, "the address must begin with '/'");
    }
    for (const char *at = target; *at; at++) {
        if ((unsigned char)*at <= ' ' || *at == 0x7F || *at == '#') {
            return err_set(ERR_MALFORMED, "the address has a byte that must be escaped");
        }
    }
    return ERR_OK;
}

static err_t check_heads(const heads_t *heads)
{
    if (heads->hosts_n != 1 || !heads->host[0] || strpbrk(heads->host, " \t,/@?#")) {
        return err_set(ERR_MALFORMED, "exactly one valid Host header is needed");
    }
    if (heads->lengths_n > 1) {
        return err_set(ERR_MALFORMED, "more than one Content-Length");
    }
    if (heads->encodings_n && heads->lengths_n) {
        return err_set(ERR_MALFORMED, "Transfer-Encoding and Content-Length together");
    }
    if (heads->encodings_n > 1 ||
        (heads->encodings_n && strcasecmp(heads->encoding, "chunked") != 0)) {
        return err_set(ERR_MALFORMED, "the only Transfer-Encoding taken is chunked");
    }
    if (heads->lengths_n &&
        (!heads->length[0] || strspn(heads->length, "0123456789") != strlen(heads->length) ||
         strlen(heads->length) > 18)) {
        return err_set(ERR_MALFORMED, "Content-Length is not a number");
    }
    return ERR_OK;
}

err_t guard(request_t *self)
{
    heads_t heads = {0};
    MHD_get_connection_values(self->connection, MHD_HEADER_KIND, on_header, &heads);
    err_t err = check_heads(&heads);
    if (!err) {
        err = check_target(self->target);
    }
    if (err) {
        return err;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(self->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info && info->header_size > HEAD_BYTES_MAX) {
        return err_set(ERR_TOO_LARGE, "the request's head is over %d bytes", HEAD_BYTES_MAX);
    }
    self->length = heads.lengths_n     ? strtoull(heads.length, NULL, 10)
                   : heads.encodings_n ? UINT64_MAX
                                       : 0;
    return ERR_OK;
}

#include "api/http/query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_stream.h"
#include "common/buffer.h"
#include "common/task_table.h"

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

err_t percent_decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex(from[1]), low = high < 0 ? -1 : hex(from[2]);
        if (low < 0) {
            return err_set(ERR_MALFORMED, "the address has a bad %% escape");
        }
        if (high == 0 && low == 0) {
            return err_set(ERR_MALFORMED, "the address has a %%00");
        }
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = 0;
    return utf8_valid(text, (size_t)(to - text))
               ? ERR_OK
               : err_set(ERR_MALFORMED, "the address is not UTF-8");
}

static err_t add_pair(query_t *self, char *piece)
{
    for (char *at = piece; *at; at++) {
        *at = *at == '+' ? ' ' : *at;
    }
    char *value = strchr(piece, '=');
    if (value) {
        *value++ = 0;
    } else {
        value = piece + strlen(piece);
    }
    err_t err = percent_decode(piece);
    if (!err) {
        err = percent_decode(value);
    }
    if (err) {
        return err;
    }
    if (query_get(self, piece)) {
        return err_set(ERR_MALFORMED, "%.80s: the parameter comes twice", piece);
    }
    if (self->n == QUERY_PAIRS_MAX) {
        return err_set(ERR_MALFORMED, "more than %d parameters", QUERY_PAIRS_MAX);
    }
    self->pairs[self->n].name = piece;
    self->pairs[self->n++].value = value;
    return ERR_OK;
}

err_t query_parse(query_t *out, const char *raw)
{
    query_t self = {.text = mem_text(raw ? raw : "")};
    char *rest = self.text;
    err_t err = ERR_OK;
    while (!err && rest) {
        char *piece = strsep(&rest, "&");
        if (*piece) {
            err = add_pair(&self, piece);
        }
    }
    if (err) {
        query_free(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

void query_free(query_t *self)
{
    free(self->text);
    self->text = NULL;
    self->n = 0;
}

const char *query_get(const query_t *self, const char *name)
{
    for (int i = 0; i < self->n; i++) {
        if (strcmp(self->pairs[i].name, name) == 0) {
            return self->pairs[i].value;
        }
    }
    return NULL;
}

static bool known(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        size_t length = strlen(names[i]);
        bool whole = names[i][length - 1] != '.';
        if (whole ? strcmp(names[i], name) == 0
                  : strncmp(names[i], name, length) == 0 && name[length]) {
            return true;
        }
    }
    return false;
}

err_t query_only(const query_t *self, const char *const *names)
{
    int n = 0;
    while (names[n]) {
        n++;
    }
    for (int i = 0; i < self->n; i++) {
        const char *name = self->pairs[i].name;
        if (known(name, names, n)) {
            continue;
        }
        const char *near = nearest_name(name, names, n);
        return near ? err_set(ERR_INVALID, "%.80s: unknown parameter; did you mean '%s'?", name,
                              near)
                    : err_set(ERR_INVALID, "%.80s: unknown parameter", name);
    }
    return ERR_OK;
}

err_t query_number(const query_t *self, const char *name, int64_t low, int64_t high, int64_t *out)
{
    const char *text = query_get(self, name);
    if (!text) {
        return ERR_OK;
    }
    const char *digits = text + (*text == '-');
    errno = 0;
    char *end = NULL;
    long long number = strtoll(text, &end, 10);
    if (*digits < '0' || *digits > '9' || *end || errno || number < low || number > high) {
        return err_set(ERR_INVALID, "%s: must be a whole number from %" PRId64 " to %" PRId64, name,
                       low, high);
    }
    *out = number;
    return ERR_OK;
}

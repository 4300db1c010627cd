/* The part of a request's target behind '?'. What was understood is written again with every byte
 * escaped, and must be understood the same. */
#include "api/http/query.h"
#include "api/json_stream.h"
#include "common/buffer.h"
#include "tests/fuzz/fuzz.h"

static void add_escaped(buffer_t *out, const char *text)
{
    for (; *text; text++) {
        buffer_printf(out, "%%%02x", (unsigned char)*text);
    }
}

static void check_number(const query_t *query, const char *name, const char *value)
{
    int64_t number = 4711;
    err_t err = query_number(query, name, -100, 1000, &number);
    if (err) {
        FUZZ_CHECK(err == ERR_INVALID && number == 4711, "a number is changed by an error");
        return;
    }
    char *end = NULL;
    FUZZ_CHECK(number >= -100 && number <= 1000 && number == strtol(value, &end, 10) && !*end,
               "\"%s\" is %lld", value, (long long)number);
}

void fuzz_query(const uint8_t *data, size_t n)
{
    static const char *const names[] = {"task", "limit", "priority", "param.", NULL};
    char *raw = strndup(n ? (const char *)data : "", n);
    query_t query = {0}, again = {0};
    err_t err = query_parse(&query, raw);
    if (err) {
        FUZZ_CHECK(err == ERR_MALFORMED && !query.text, "error %s", err_code(err));
        free(raw);
        return;
    }
    buffer_t text = {0};
    bool only = true;
    for (int i = 0; i < query.n; i++) {
        const char *name = query.pairs[i].name, *value = query.pairs[i].value;
        FUZZ_CHECK(utf8_valid(name, strlen(name)) && utf8_valid(value, strlen(value)),
                   "bytes that are no UTF-8");
        FUZZ_CHECK(query_get(&query, name) == value, "\"%s\" is another's", name);
        check_number(&query, name, value);
        buffer_printf(&text, "&");
        add_escaped(&text, name);
        buffer_printf(&text, "=");
        add_escaped(&text, value);
        bool known = strcmp(name, "task") == 0 || strcmp(name, "limit") == 0 ||
                     strcmp(name, "priority") == 0 || (strncmp(name, "param.", 6) == 0 && name[6]);
        only = only && known;
    }
    FUZZ_CHECK((query_only(&query, names) == ERR_OK) == only, "known names, or not: %s", raw);
    buffer_add(&text, "", 1);
    FUZZ_CHECK(query_parse(&again, (const char *)text.data) == ERR_OK && again.n == query.n,
               "escaped it is another: %s", err_text());
    for (int i = 0; i < again.n; i++) {
        FUZZ_CHECK(strcmp(again.pairs[i].name, query.pairs[i].name) == 0 &&
                       strcmp(again.pairs[i].value, query.pairs[i].value) == 0,
                   "escaped it is another");
    }
    buffer_free(&text);
    query_free(&again);
    query_free(&query);
    free(raw);
}

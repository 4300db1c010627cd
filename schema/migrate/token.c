#include "schema/migrate/token.h"

#include <string.h>
#include <strings.h>

typedef struct {
    const char *text;
    int n;
} source_t;

static unsigned char byte_at(const source_t *self, int i)
{
    return i < self->n ? (unsigned char)self->text[i] : 0;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r' && c != '\v');
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(unsigned char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_word(unsigned char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '$' || c >= 0x80;
}

/* Behind white space and comments; a comment that is not closed goes to the end. */
static int skip_blank(const source_t *self, int i)
{
    for (;;) {
        if (i >= self->n)
            return i;
        unsigned char c = byte_at(self, i), next = byte_at(self, i + 1);
        if (is_space(c)) {
            i++;
        } else if (c == 0xef && next == 0xbb && byte_at(self, i + 2) == 0xbf) {
            i += 3; /* for SQLite a byte order mark is white space wherever a token could begin */
        } else if (c == '-' && next == '-') {
            while (i < self->n && self->text[i] != '\n')
                i++;
        } else if (c == '/' && next == '*') {
            i += 2;
            while (i < self->n && !(self->text[i] == '*' && byte_at(self, i + 1) == '/'))
                i++;
            i = i + 2 < self->n ? i + 2 : self->n;
        } else {
            return i;
        }
    }
}

/* Behind the closing quote, doubled ones passed over; -1 if there is none. */
static int quote_end(const source_t *self, int i, char quote)
{
    for (i++; i < self->n; i++) {
        if (self->text[i] != quote)
            continue;
        if (quote == ']' || byte_at(self, i + 1) != (unsigned char)quote)
            return i + 1;
        i++;
    }
    return -1;
}

static int number_end(const source_t *self, int i)
{
    if (self->text[i] == '0' && (byte_at(self, i + 1) | 0x20) == 'x' &&
        is_hex(byte_at(self, i + 2))) {
        for (i += 3; is_hex(byte_at(self, i)); i++)
            ;
        return i;
    }
    for (; is_digit(byte_at(self, i)); i++)
        ;
    if (byte_at(self, i) == '.')
        for (i++; is_digit(byte_at(self, i)); i++)
            ;
    if ((byte_at(self, i) | 0x20) == 'e') {
        unsigned char sign = byte_at(self, i + 1);
        int digits = sign == '+' || sign == '-' ? i + 2 : i + 1;
        if (is_digit(byte_at(self, digits)))
            for (i = digits + 1; is_digit(byte_at(self, i)); i++)
                ;
    }
    return i;
}

static int sign_end(const source_t *self, int i)
{
    static const char *const longer[] = {"->>", "||", "->", "<=", "<>",
                                         "<<",  ">=", ">>", "==", "!="};
    for (size_t k = 0; k < sizeof longer / sizeof *longer; k++) {
        int n = (int)strlen(longer[k]);
        if (i + n <= self->n && memcmp(self->text + i, longer[k], (size_t)n) == 0)
            return i + n;
    }
    return i + 1;
}

static token_t blob_or_word(const source_t *self, int i)
{
    if ((self->text[i] | 0x20) == 'x' && byte_at(self, i + 1) == '\'') {
        int end = quote_end(self, i + 1, '\'');
        return end > 0 ? (token_t){TOKEN_BLOB, i, end - i} : (token_t){TOKEN_BAD, i, self->n - i};
    }
    int end = i;
    while (end < self->n && is_word((unsigned char)self->text[end]))
        end++;
    return (token_t){TOKEN_WORD, i, end - i};
}

static token_t token_at(const source_t *self, int i)
{
    char c = self->text[i];
    int end;
    if (c == '\'' || c == '"' || c == '`' || c == '[') {
        end = quote_end(self, i, c == '[' ? ']' : c);
        return end > 0 ? (token_t){c == '\'' ? TOKEN_STRING : TOKEN_QUOTED, i, end - i}
                       : (token_t){TOKEN_BAD, i, self->n - i};
    }
    if (is_digit((unsigned char)c) || (c == '.' && is_digit(byte_at(self, i + 1)))) {
        end = number_end(self, i);
        return (token_t){TOKEN_NUMBER, i, end - i};
    }
    if (c == '?' || c == ':' || c == '@' || c == '#' || c == '$') {
        for (end = i + 1; end < self->n && is_word((unsigned char)self->text[end]); end++)
            ;
        return (token_t){c == '#' || (end == i + 1 && c != '?') ? TOKEN_BAD : TOKEN_VARIABLE, i,
                         end - i};
    }
    if (is_word((unsigned char)c))
        return blob_or_word(self, i);
    if (c && strchr("-+*/%=<>!|&~(),;.", c)) {
        end = sign_end(self, i);
        bool alone = c == '!' && end == i + 1; /* "!" is none without "=" */
        return (token_t){alone ? TOKEN_BAD : TOKEN_SIGN, i, end - i};
    }
    return (token_t){TOKEN_BAD, i, 1};
}

tokens_t tokens_read(arena_t *arena, const char *text, size_t n)
{
    source_t source = {text, (int)n};
    tokens_t self = {.text = text};
    for (int i = skip_blank(&source, 0); i < source.n; i = skip_blank(&source, i)) {
        self.items = arena_grow(arena, self.items, self.n, sizeof *self.items);
        self.items[self.n] = token_at(&source, i);
        i += self.items[self.n++].n;
    }
    self.items = arena_grow(arena, self.items, self.n, sizeof *self.items);
    self.items[self.n] = (token_t){TOKEN_END, source.n, 0};
    return self;
}

bool token_is(const tokens_t *self, int i, const char *word)
{
    if (i < 0 || i >= self->n || self->items[i].kind != TOKEN_WORD)
        return false;
    size_t n = strlen(word);
    return (size_t)self->items[i].n == n &&
           strncasecmp(self->text + self->items[i].at, word, n) == 0;
}

bool token_is_sign(const tokens_t *self, int i, char sign)
{
    return i >= 0 && i < self->n && self->items[i].kind == TOKEN_SIGN && self->items[i].n == 1 &&
           self->text[self->items[i].at] == sign;
}

bool token_is_name(const tokens_t *self, int i)
{
    if (i < 0 || i >= self->n)
        return false;
    token_kind_t kind = self->items[i].kind;
    return kind == TOKEN_WORD || kind == TOKEN_QUOTED || kind == TOKEN_STRING;
}

char *token_name(arena_t *arena, const tokens_t *self, int i)
{
    const token_t *token = &self->items[i];
    const char *from = self->text + token->at;
    if (token->kind != TOKEN_QUOTED && token->kind != TOKEN_STRING)
        return arena_text(arena, from, (size_t)token->n);
    char quote = *from == '[' ? ']' : *from;
    char *name = arena_alloc(arena, (size_t)token->n);
    size_t n = 0;
    for (int k = 1; k < token->n - 1; k++) {
        name[n++] = from[k];
        if (quote != ']' && from[k] == quote)
            k++;
    }
    return name;
}

int token_start(const tokens_t *self, int i)
{
    return self->items[i].at;
}

int token_stop(const tokens_t *self, int i)
{
    return self->items[i].at + self->items[i].n;
}

char *tokens_slice(arena_t *arena, const tokens_t *self, int from, int to)
{
    if (to <= from)
        return arena_text(arena, "", 0);
    int start = token_start(self, from);
    return arena_text(arena, self->text + start, (size_t)(token_stop(self, to - 1) - start));
}

int tokens_close(const tokens_t *self, int i, int end)
{
    int depth = 0;
    for (; i < end; i++) {
        if (token_is_sign(self, i, '('))
            depth++;
        else if (token_is_sign(self, i, ')') && --depth == 0)
            return i + 1;
    }
    return -1;
}

/* Must it keep its quotes to stay a name, one token, and the same in an expression? */
static bool needs_quotes(const char *name)
{
    static const char *const values[] = {
        "null", "true", "false", "not", "current_date", "current_time", "current_timestamp"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (name_equal(name, values[i]))
            return true;
    for (const char *at = name; *at; at++)
        if (!is_word((unsigned char)*at))
            return true;
    return !*name || is_digit((unsigned char)*name) || *name == '$';
}

char *tokens_normal(arena_t *arena, const tokens_t *self, int from, int to)
{
    buffer_t out = {0};
    for (int i = from; i < to; i++) {
        const token_t *token = &self->items[i];
        if (i > from)
            buffer_add(&out, " ", 1);
        if (token->kind == TOKEN_QUOTED || token->kind == TOKEN_WORD) {
            char *name = token_name(arena, self, i);
            for (char *at = name; *at; at++)
                if (*at >= 'A' && *at <= 'Z')
                    *at = (char)(*at + 'a' - 'A');
            bool quote = token->kind == TOKEN_QUOTED && needs_quotes(name);
            buffer_add_text(&out, quote ? name_quoted(arena, name) : name);
        } else {
            buffer_add(&out, self->text + token->at, (size_t)token->n);
        }
    }
    char *text = arena_text(arena, (const char *)out.data, out.n);
    buffer_free(&out);
    return text;
}

bool name_equal(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

static char *quoted(arena_t *arena, const char *text, char quote)
{
    size_t n = strlen(text);
    char *out = arena_alloc(arena, 2 * n + 3), *to = out;
    *to++ = quote;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == quote)
            *to++ = quote;
        *to++ = text[i];
    }
    *to = quote;
    return out;
}

char *name_quoted(arena_t *arena, const char *name)
{
    return quoted(arena, name, '"');
}

char *text_quoted(arena_t *arena, const char *text)
{
    return quoted(arena, text, '\'');
}

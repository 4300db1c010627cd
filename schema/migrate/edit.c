#include "schema/migrate/edit.h"

#include <stdio.h>
#include <string.h>

char *edit_splice(arena_t *arena, const char *text, int from, int to, const char *replacement)
{
    return arena_printf(arena, "%.*s%s%s", from, text, replacement, text + to);
}

/* -- layout ------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static int skip_blanks(const char *text, int i)
{
    while (is_blank(text[i]))
        i++;
    return i;
}

/* Behind the comment that stands on the rest of this line; i itself if there is none. */
static int line_comment_end(const char *text, int i)
{
    int from = i;
    while (text[from] == ' ' || text[from] == '\t')
        from++;
    if (strncmp(text + from, "--", 2) == 0)
        return from + (int)strcspn(text + from, "\n");
    const char *close = strncmp(text + from, "/*", 2) == 0 ? strstr(text + from + 2, "*/") : NULL;
    if (!close || memchr(text + from, '\n', (size_t)(close - text - from)))
        return i;
    return (int)(close - text) + 2;
}

/* The bytes between a token and the one before it. */
static char *gap(arena_t *arena, const tokens_t *tokens, int token)
{
    int from = token_stop(tokens, token - 1);
    return arena_text(arena, tokens->text + from, (size_t)(token_start(tokens, token) - from));
}

/* Does this item begin its own line? Then "\n" and its indentation, else NULL. */
static const char *own_line(arena_t *arena, const tokens_t *tokens, int token)
{
    const char *newline = strrchr(gap(arena, tokens, token), '\n');
    return newline && newline[1 + strspn(newline + 1, " \t")] == '\0' ? newline : NULL;
}

/* Where the blanks before a token begin; the token itself if they end a "--" comment. */
static int blanks_start(arena_t *arena, const tokens_t *tokens, int token)
{
    int start = token_start(tokens, token);
    if (strstr(gap(arena, tokens, token), "--"))
        return start;
    while (is_blank(tokens->text[start - 1]))
        start--;
    return start;
}

/* -- items: columns and constraints between commas ---------------------------------------- */

static char *insert_before(arena_t *arena, const tokens_t *tokens, int item, const char *definition)
{
    int place = token_start(tokens, item);
    const char *line = own_line(arena, tokens, item);
    return edit_splice(arena, tokens->text, place, place,
                       arena_printf(arena, "%s,%s", definition, line ? line : " "));
}

/* Behind the item of tokens [from, to), which another one may follow. */
static char *insert_behind(arena_t *arena, const tokens_t *tokens, int from, int to,
                           const char *definition)
{
    const char *text = tokens->text, *line = own_line(arena, tokens, from);
    bool followed = token_is_sign(tokens, to, ',');
    int end = token_stop(tokens, followed ? to : to - 1);
    if (!line)
        return edit_splice(arena, text, end, end,
                           arena_printf(arena, followed ? " %s," : ", %s", definition));
    int place = line_comment_end(text, end);
    char *longer =
        edit_splice(arena, text, place, place,
                    arena_printf(arena, "%s%s%s", line, definition, followed ? "," : ""));
    return followed ? longer : edit_splice(arena, longer, end, end, ",");
}

static char *drop_item(arena_t *arena, const table_text_t *table, int from, int to)
{
    const tokens_t *tokens = &table->tokens;
    const char *text = tokens->text;
    bool followed = token_is_sign(tokens, to, ',');
    if (followed || to < table->close) {
        int end = line_comment_end(text, token_stop(tokens, followed ? to : to - 1));
        return edit_splice(arena, text, token_start(tokens, from), skip_blanks(text, end), "");
    }
    int end = line_comment_end(text, token_stop(tokens, to - 1));
    char *shorter = edit_splice(arena, text, blanks_start(arena, tokens, from), end, "");
    int comma = from - 1;
    return token_is_sign(tokens, comma, ',')
               ? edit_splice(arena, shorter, token_start(tokens, comma), token_stop(tokens, comma),
                             "")
               : shorter;
}

char *edit_add_column(arena_t *arena, const table_text_t *table, int before, const char *definition)
{
    if (before < table->columns_n)
        return insert_before(arena, &table->tokens, table->columns[before].from, definition);
    const column_t *last = &table->columns[table->columns_n - 1];
    return insert_behind(arena, &table->tokens, last->from, last->to, definition);
}

char *edit_drop_column(arena_t *arena, const table_text_t *table, int column)
{
    return drop_item(arena, table, table->columns[column].from, table->columns[column].to);
}

char *edit_add_constraint(arena_t *arena, const table_text_t *table, const char *definition)
{
    int from = table->columns[table->columns_n - 1].from;
    if (table->constraints_n > 0)
        from = table->constraints[table->constraints_n - 1].from;
    return insert_behind(arena, &table->tokens, from, table->close, definition);
}

char *edit_drop_constraint(arena_t *arena, const table_text_t *table, const part_t *part)
{
    return drop_item(arena, table, part->from, part->to);
}

/* -- inside a column ---------------------------------------------------------------------- */

/* SQL needs no blank in DEFAULT'x'NOT NULL; what is put between or comes together does. */
static bool would_fuse(char left, char right)
{
    return left && right && !is_blank(left) && !is_blank(right) && !strchr("(),;", left) &&
           !strchr("(),;", right);
}

static char *splice_apart(arena_t *arena, const char *text, int from, int to,
                          const char *replacement)
{
    size_t n = strlen(replacement);
    char left = from > 0 ? text[from - 1] : '\0';
    bool before = would_fuse(left, n ? replacement[0] : text[to]);
    bool behind = n && would_fuse(replacement[n - 1], text[to]);
    return edit_splice(
        arena, text, from, to,
        arena_printf(arena, "%s%s%s", before ? " " : "", replacement, behind ? " " : ""));
}

char *edit_add_part(arena_t *arena, const table_text_t *table, int column, const char *text)
{
    int end = token_stop(&table->tokens, table->columns[column].type_to - 1);
    return splice_apart(arena, table->tokens.text, end, end, arena_printf(arena, " %s", text));
}

char *edit_drop_part(arena_t *arena, const table_text_t *table, const part_t *part)
{
    const tokens_t *tokens = &table->tokens;
    return splice_apart(arena, tokens->text, blanks_start(arena, tokens, part->from),
                        token_stop(tokens, part->to - 1), "");
}

char *edit_type(arena_t *arena, const table_text_t *table, int column, const char *type)
{
    const column_t *at = &table->columns[column];
    if (at->type_from == at->type_to)
        return edit_add_part(arena, table, column, type);
    return splice_apart(arena, table->tokens.text, token_start(&table->tokens, at->type_from),
                        token_stop(&table->tokens, at->type_to - 1), type);
}

/* -- names -------------------------------------------------------------------------------- */

static char *replace_name(arena_t *arena, const tokens_t *tokens, int token, const char *name)
{
    return edit_splice(arena, tokens->text, token_start(tokens, token), token_stop(tokens, token),
                       name_quoted(arena, name));
}

/* From the end, so that what is before stays where it is. */
char *edit_copy(arena_t *arena, const table_text_t *table, const char *name)
{
    const tokens_t *tokens = &table->tokens;
    char *text = arena_printf(arena, "%s", tokens->text);
    for (int i = table->close; i-- > table->open;)
        if (token_is_sign(tokens, i + 1, '.') && token_is_name(tokens, i) &&
            name_equal(token_name(arena, tokens, i), table->name))
            text = edit_splice(arena, text, token_start(tokens, i), token_stop(tokens, i + 1), "");
    return edit_splice(arena, text, token_start(tokens, table->name_token),
                       token_stop(tokens, table->name_token), name_quoted(arena, name));
}

char *edit_column_name(arena_t *arena, const table_text_t *table, int column, const char *name)
{
    return replace_name(arena, &table->tokens, table->columns[column].from, name);
}

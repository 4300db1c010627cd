#include "schema/migrate/expression.h"

/* Words that are a name only in quotes. */
static const char *const reserved[] = {
    "ADD",     "ALL",      "ALTER",      "AND",          "AS",           "BETWEEN",
    "CASE",    "CHECK",    "COLLATE",    "COMMIT",       "CREATE",       "DEFAULT",
    "DELETE",  "DISTINCT", "DROP",       "ELSE",         "ESCAPE",       "EXISTS",
    "FROM",    "GROUP",    "HAVING",     "IN",           "INDEX",        "INSERT",
    "INTO",    "IS",       "ISNULL",     "JOIN",         "LIMIT",        "NOT",
    "NOTHING", "NOTNULL",  "NULL",       "ON",           "OR",           "ORDER",
    "SELECT",  "SET",      "TABLE",      "THEN",         "TO",           "UNION",
    "UNIQUE",  "UPDATE",   "USING",      "VALUES",       "WHEN",         "WHERE",
    "PRIMARY", "FOREIGN",  "REFERENCES", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"};

/* Words that are operators or endings only behind an operand. */
static const char *const infix[] = {"LIKE", "GLOB",  "REGEXP", "MATCH", "ASC",
                                    "DESC", "NULLS", "FIRST",  "LAST"};

static bool in(const tokens_t *tokens, int i, const char *const *words, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (token_is(tokens, i, words[k]))
            return true;
    return false;
}

static bool is_reserved(const tokens_t *tokens, int i)
{
    return in(tokens, i, reserved, sizeof reserved / sizeof *reserved);
}

static bool ends_operand(const tokens_t *tokens, int i)
{
    if (token_is_sign(tokens, i, ')') || token_is(tokens, i, "NULL"))
        return true;
    token_kind_t kind = tokens->items[i].kind;
    return kind != TOKEN_SIGN && kind != TOKEN_BAD && !is_reserved(tokens, i);
}

/* CAST (x AS type): everything between AS and the parenthesis. */
static bool is_cast_type(const tokens_t *tokens, int from, int i)
{
    int depth = 0;
    for (i--; i >= from; i--) {
        if (token_is_sign(tokens, i, ')'))
            depth++;
        else if (token_is_sign(tokens, i, '(') && --depth < 0)
            return false;
        else if (depth == 0 && token_is(tokens, i, "AS"))
            return true;
    }
    return false;
}

static bool inside_case(const tokens_t *tokens, int from, int i)
{
    int open = 0;
    for (int k = from; k < i; k++) {
        open += token_is(tokens, k, "CASE");
        open -= token_is(tokens, k, "END") && open > 0;
    }
    return open > 0;
}

static bool is_called(const tokens_t *tokens, int i, const char *name)
{
    arena_t arena = {0};
    bool called = token_is_name(tokens, i) && name_equal(token_name(&arena, tokens, i), name);
    arena_free(&arena);
    return called;
}

bool expression_names(const tokens_t *tokens, int from, int i, const char *table)
{
    token_kind_t kind = tokens->items[i].kind;
    if ((kind != TOKEN_WORD && kind != TOKEN_QUOTED) || token_is_sign(tokens, i + 1, '(') ||
        token_is_sign(tokens, i + 1, '.'))
        return false;
    if (i > from && token_is(tokens, i - 1, "COLLATE"))
        return false;
    if (is_cast_type(tokens, from, i))
        return false;
    if (i > from + 1 && token_is_sign(tokens, i - 1, '.'))
        return is_called(tokens, i - 2, table);
    if (kind == TOKEN_QUOTED)
        return true;
    if (is_reserved(tokens, i) || (token_is(tokens, i, "END") && inside_case(tokens, from, i)))
        return false;
    return !(i > from && in(tokens, i, infix, sizeof infix / sizeof *infix) &&
             ends_operand(tokens, i - 1));
}

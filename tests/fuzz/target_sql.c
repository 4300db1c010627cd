/* The grammar of the migration engine: a CREATE TABLE up to the first NUL, then an ALTER TABLE. A
 * table that SQLite makes must be read with the columns that SQLite sees; a change that is accepted
 * leaves a text that can be read again. Both halves are a script and a migration file too. */
#include <sqlite3.h>

#include "schema/migrate/change.h"
#include "schema/migrate/script.h"
#include "tests/fuzz/fuzz.h"

static void check_tokens(arena_t *arena, const char *text, size_t n)
{
    tokens_t tokens = tokens_read(arena, text, n);
    int at = 0;
    for (int i = 0; i < tokens.n; i++) {
        const token_t *token = &tokens.items[i];
        FUZZ_CHECK(token->at >= at && token->n > 0 && (size_t)token->at + (size_t)token->n <= n,
                   "token %d is at %d", i, token->at);
        at = token->at + token->n;
        if (token_is_name(&tokens, i)) {
            char *name = token_name(arena, &tokens, i);
            char *quoted = name_quoted(arena, name);
            tokens_t again = tokens_read(arena, quoted, strlen(quoted));
            FUZZ_CHECK(again.n == 1 && strcmp(token_name(arena, &again, 0), name) == 0,
                       "a name changes when it is quoted");
        }
    }
    FUZZ_CHECK(tokens.items[tokens.n].kind == TOKEN_END, "no end");
    /* Layout does not matter, and nothing else is lost: the normal form has the same tokens. */
    bool bad = n > 0 && memchr(text, 0, n);
    for (int i = 0; i < tokens.n; i++) {
        bad = bad || tokens.items[i].kind == TOKEN_BAD;
    }
    char *normal = tokens_normal(arena, &tokens, 0, tokens.n);
    tokens_t again = tokens_read(arena, normal, strlen(normal));
    bad = bad || (unsigned char)normal[0] == 0xef; /* a byte order mark would be passed over */
    FUZZ_CHECK(bad || again.n == tokens.n, "the normal form has %d tokens, not %d: %s", again.n,
               tokens.n, normal);
    FUZZ_CHECK(bad || strcmp(tokens_normal(arena, &again, 0, again.n), normal) == 0,
               "the normal form of \"%s\" is another", normal);
}

/* What SQLite sees in the table it made; false if it makes none. */
static bool compare_with_sqlite(const char *text, const table_text_t *table)
{
    sqlite3 *db = NULL;
    FUZZ_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK, "sqlite");
    sqlite3_limit(db, SQLITE_LIMIT_VDBE_OP, 20000);
    sqlite3_stmt *statement = NULL;
    const char *tail = NULL;
    bool made = sqlite3_prepare_v2(db, text, -1, &statement, &tail) == SQLITE_OK && statement &&
                !sqlite3_stmt_readonly(statement) && sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_finalize(statement);
    if (made && table) {
        static const char columns[] = "SELECT name FROM pragma_table_xinfo(?1) ORDER BY cid";
        FUZZ_CHECK(sqlite3_prepare_v2(db, columns, -1, &statement, NULL) == SQLITE_OK, "sqlite");
        sqlite3_bind_text(statement, 1, table->name, -1, SQLITE_STATIC);
        int i = 0;
        for (; sqlite3_step(statement) == SQLITE_ROW; i++) {
            const char *name = (const char *)sqlite3_column_text(statement, 0);
            FUZZ_CHECK(i < table->columns_n && strcmp(table->columns[i].name, name) == 0,
                       "column %d is %s for SQLite: %s", i, name, text);
        }
        FUZZ_CHECK(i == table->columns_n, "SQLite sees %d columns, not %d: %s", i, table->columns_n,
                   text);
        sqlite3_finalize(statement);
    }
    sqlite3_close(db);
    return made;
}

static void check_change(arena_t *arena, const char *sql, const table_text_t *table,
                         const char *statement)
{
    tokens_t tokens = tokens_read(arena, statement, strlen(statement));
    alter_t alter = {0};
    renames_t renames = {0};
    change_t change = {0};
    (void)alter_is(&tokens);
    err_t err = alter_read(arena, &tokens, &alter);
    FUZZ_CHECK(!err || (err == ERR_INVALID && err_text()[0]), "error %s", err_code(err));
    err = err ? err : renames_plan(arena, table, &alter, &renames);
    err = err ? err : change_make(arena, sql, &alter, &renames, &change);
    FUZZ_CHECK(!err || (err == ERR_INVALID && err_text()[0]), "error %s", err_code(err));
    if (!err) {
        table_text_t again = {0};
        FUZZ_CHECK(table_text_read(arena, change.text, &again) == ERR_OK,
                   "a changed table is not read: %s: %s", err_text(), change.text);
        FUZZ_CHECK(again.columns_n == change.now.columns_n, "columns are missing: %s", change.text);
        for (int i = 0; i < again.columns_n; i++) {
            FUZZ_CHECK(strcmp(again.columns[i].name, change.columns[i].name) == 0,
                       "column %d is %s, not %s", i, again.columns[i].name, change.columns[i].name);
        }
    }
}

static void check_script(arena_t *arena, const char *text, size_t n)
{
    script_t script = script_open(arena, text, n, 1);
    script_statement_t statement;
    int line = 1;
    for (int i = 0; i < 1000 && script_next(&script, &statement); i++) {
        FUZZ_CHECK(statement.line >= line && statement.tokens.n > 0, "statement %d", i);
        line = statement.line;
    }
    migration_text_t halves = {0};
    err_t err = migration_text_read(text, n, &halves);
    FUZZ_CHECK(!err || err == ERR_INVALID, "error %s", err_code(err));
    FUZZ_CHECK(err || (halves.up >= text && halves.up + halves.up_n <= text + n), "half a file");
    FUZZ_CHECK(err || !halves.down || halves.down + halves.down_n <= text + n, "half a file");
}

void fuzz_sql(const uint8_t *data, size_t n)
{
    arena_t arena = {0};
    char *exact = (char *)fuzz_exact(data, n);
    check_tokens(&arena, exact, n);
    free(exact);
    feed_t feed = feed_of(data, n);
    char *create = feed_text(&feed, 0), *statement = feed_text(&feed, 0);
    /* Only the engine's callers pass NUL bytes on, and it refuses them itself. */
    check_script(&arena, create, strlen(create));
    check_script(&arena, statement, strlen(statement));
    table_text_t table = {0};
    err_t err = table_text_read(&arena, create, &table);
    FUZZ_CHECK(!err || (err == ERR_INVALID && err_text()[0]), "error %s", err_code(err));
    (void)compare_with_sqlite(create, err ? NULL : &table);
    if (!err) {
        check_change(&arena, create, &table, statement);
    }
    free(create);
    free(statement);
    arena_free(&arena);
}

#include "schema/migrate/engine.h"

#include <string.h>

#include "schema/migrate/alter_table.h"
#include "schema/migrate/rows.h"
#include "schema/migrate/script.h"

enum { SCRIPT_BYTES_MAX = 1 << 30 };

/* -- beginning and end -------------------------------------------------------------------- */

static err_t look(engine_t *self)
{
    objects_t objects;
    checkup_t checkup;
    err_t err = objects_read(&self->session, &self->arena, &objects);
    if (!err)
        err = keys_read(&self->session, &self->arena, &objects, &self->start);
    if (!err)
        keys_collect(&self->arena, &self->keys, &self->start);
    if (!err)
        err = checkup_make(&self->session, &self->arena, &checkup);
    if (!err)
        self->session.legacy_quotes = checkup_needs_quotes(&checkup);
    session_quotes(&self->session, self->session.legacy_quotes);
    return err;
}

err_t engine_begin(engine_t *out, sqlite3 *db, const migrate_options_t *options)
{
    *out = (engine_t){0};
    err_t err = session_begin(&out->session, db, options);
    if (err)
        return err;
    err = look(out);
    if (err)
        engine_abort(out);
    return err;
}

void engine_abort(engine_t *self)
{
    session_abort(&self->session);
    arena_free(&self->arena);
}

static void notice(const engine_t *self, const char *sentence)
{
    const migrate_options_t *options = self->session.options;
    if (options->notice)
        options->notice(options->context, sentence);
}

/* SQLite allows a foreign key whose parent is made later: worth a word, as it may be a slip. */
static void tell_orphans(engine_t *self, const keys_t *now)
{
    for (int i = 0; i < now->n; i++) {
        const foreign_key_t *key = &now->items[i];
        bool known = false;
        for (int k = 0; k < self->start.n; k++)
            known = known || name_equal(self->start.items[k].table, key->table);
        if (key->problem && !known)
            notice(self, arena_printf(&self->arena, "the foreign key %s.%s has no parent yet: %s",
                                      key->table, key->from[0], key->problem));
    }
}

static err_t keys_now(engine_t *self, keys_t *out)
{
    objects_t objects;
    err_t err = objects_read(&self->session, &self->arena, &objects);
    return err ? err : keys_read(&self->session, &self->arena, &objects, out);
}

static err_t judge(engine_t *self)
{
    keys_t now = {0};
    /* What the script has written there itself must at least be readable. */
    err_t err = self->schema_written ? session_schema_close(&self->session) : ERR_OK;
    if (!err)
        err = keys_now(self, &now);
    if (!err)
        err = keys_compare(&self->keys, &now);
    if (!err)
        err = watches_check(&self->session, &self->arena, &self->watches, &now);
    if (!err)
        tell_orphans(self, &now);
    return err;
}

err_t engine_commit(engine_t *self, const char *where)
{
    err_t err = judge(self);
    if (err) {
        engine_abort(self);
        return err_context(err, "%s", where);
    }
    err = session_commit(&self->session);
    arena_free(&self->arena);
    return err == ERR_INVALID ? err_context(err, "%s: at its end", where) : err;
}

/* -- statements --------------------------------------------------------------------------- */

static bool is_any(const tokens_t *tokens, const char *const *words)
{
    for (; *words; words++)
        if (token_is(tokens, 0, *words))
            return true;
    return false;
}

/* The script is one transaction, of one database. */
static err_t refuse(const tokens_t *tokens)
{
    static const char *const transactions[] = {"BEGIN", "COMMIT", "END", "ROLLBACK", NULL};
    static const char *const outside[] = {"VACUUM", "ATTACH", "DETACH", NULL};
    if (is_any(tokens, transactions) && !(token_is(tokens, 0, "ROLLBACK") &&
                                          (token_is(tokens, 1, "TO") || token_is(tokens, 2, "TO"))))
        return err_set(ERR_INVALID, "the whole script is one transaction already: take BEGIN, "
                                    "COMMIT and ROLLBACK out (SAVEPOINT is fine)");
    if (is_any(tokens, outside))
        return err_set(ERR_INVALID,
                       "%s cannot run inside a transaction, and a script is one: run it by itself",
                       token_is(tokens, 0, "VACUUM") ? "VACUUM" : "ATTACH or DETACH");
    return ERR_OK;
}

static bool is_pragma(const tokens_t *tokens, const char *name)
{
    int i = token_is_sign(tokens, 2, '.') ? 3 : 1;
    return token_is(tokens, 0, "PRAGMA") && token_is(tokens, i, name) && tokens->n > i + 1;
}

/* The script's own UPDATE and DELETE act as its application's would, unless it says otherwise; then
 * the rows of every child are counted now and at the end. */
static err_t set_keys(engine_t *self, const tokens_t *tokens)
{
    static const char *const off[] = {"OFF", "FALSE", "NO", NULL};
    char *value =
        token_name(&self->arena, tokens,
                   token_is_sign(tokens, tokens->n - 1, ')') ? tokens->n - 2 : tokens->n - 1);
    self->session.keys_on = strcmp(value, "0") != 0;
    for (int i = 0; off[i]; i++)
        self->session.keys_on = self->session.keys_on && !name_equal(value, off[i]);
    keys_t now;
    err_t err = self->session.keys_on ? ERR_OK : keys_now(self, &now);
    if (!err && !self->session.keys_on)
        err = watches_begin(&self->session, &self->arena, &self->watches, &now);
    return err;
}

/* Without keys SQLite drops a parent and asks nobody: its children are counted before. */
static err_t watch_children(engine_t *self, const tokens_t *tokens)
{
    int i = token_is(tokens, 2, "IF") ? 4 : 2;
    i += token_is_sign(tokens, i + 1, '.') ? 2 : 0;
    if (!token_is(tokens, 0, "DROP") || !token_is(tokens, 1, "TABLE") || !token_is_name(tokens, i))
        return ERR_OK;
    char *name = token_name(&self->arena, tokens, i);
    keys_t now = {0};
    err_t err = keys_now(self, &now);
    for (int k = 0; k < now.n && !err; k++)
        if (name_equal(now.items[k].parent, name))
            err = watches_begin(&self->session, &self->arena, &self->watches, &now);
    return err;
}

static bool is_data(const tokens_t *tokens)
{
    static const char *const data[] = {"INSERT", "UPDATE", "DELETE", "REPLACE",
                                       "WITH",   "SELECT", "VALUES", NULL};
    return is_any(tokens, data);
}

static err_t run_plain(engine_t *self, const script_statement_t *statement)
{
    err_t err = watch_children(self, &statement->tokens);
    if (err)
        return err;
    session_foreign_keys(&self->session, self->session.keys_on && is_data(&statement->tokens));
    err = session_run(&self->session, statement->text);
    session_foreign_keys(&self->session, false);
    if (err != ERR_INVALID)
        return err;
    char *said = arena_printf(&self->arena, "%s", err_text());
    err_t found = rows_explain_index(&self->session, &self->arena, statement->text);
    return found ? found : err_set(err, "%s", said);
}

static err_t run_any(engine_t *self, const script_statement_t *statement)
{
    const tokens_t *tokens = &statement->tokens;
    err_t err = refuse(tokens);
    if (err)
        return err;
    if (alter_is(tokens))
        return alter_table(&self->session, tokens);
    if (is_pragma(tokens, "foreign_keys"))
        return set_keys(self, tokens);
    self->schema_written = self->schema_written || is_pragma(tokens, "writable_schema");
    return run_plain(self, statement);
}

static err_t run_statement(engine_t *self, const script_statement_t *statement)
{
    keys_t now;
    err_t err = run_any(self, statement);
    if (err || is_data(&statement->tokens))
        return err;
    err = keys_now(self, &now);
    if (!err)
        keys_collect(&self->arena, &self->keys, &now);
    return err;
}

err_t engine_run(engine_t *self, const char *text, size_t n, const char *where, int first_line)
{
    arena_t arena = {0};
    err_t err = memchr(text, '\0', n)
                    ? err_set(ERR_INVALID, "%s: it has a NUL byte: that is no SQL text", where)
                    : ERR_OK;
    if (!err && n >= SCRIPT_BYTES_MAX)
        err = err_set(ERR_TOO_LARGE, "%s is over 1 GiB: that is no script", where);
    script_t script = script_open(&arena, text, err ? 0 : n, first_line);
    script_statement_t statement;
    while (!err && script_next(&script, &statement)) {
        err = run_statement(self, &statement);
        if (err)
            err = err_context(err, "%s:%d", where, statement.line);
    }
    arena_free(&arena);
    return err;
}

err_t migrate_script(sqlite3 *db, const char *text, size_t n, const char *where, int first_line,
                     const migrate_options_t *options)
{
    engine_t engine;
    err_t err = engine_begin(&engine, db, options);
    if (err)
        return err;
    err = engine_run(&engine, text, n, where, first_line);
    if (err) {
        engine_abort(&engine);
        return err;
    }
    return engine_commit(&engine, where);
}

#include "schema/migrate/objects.h"

#include <string.h>

#include "schema/migrate/expression.h"

err_t objects_read(session_t *session, arena_t *arena, objects_t *out)
{
    sqlite3_stmt *statement = NULL;
    bool row = true;
    objects_t self = {0};
    err_t err = session_prepare(
        session, "SELECT rowid, type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid",
        &statement);
    while (!err && row) {
        err = session_next(session, &statement, &row);
        if (err || !row)
            break;
        self.items = arena_grow(arena, self.items, self.n, sizeof *self.items);
        self.items[self.n++] = (object_t){.rowid = sqlite3_column_int64(statement, 0),
                                          .type = session_column(arena, statement, 1),
                                          .name = session_column(arena, statement, 2),
                                          .table = session_column(arena, statement, 3),
                                          .sql = session_column(arena, statement, 4)};
    }
    sqlite3_finalize(statement);
    if (!err)
        *out = self;
    return err;
}

/* Triggers have names of their own kind: a trigger may be called as a table is. */
const object_t *objects_find(const objects_t *self, const char *name)
{
    for (int i = 0; i < self->n; i++)
        if (!object_is(&self->items[i], "trigger") && name_equal(self->items[i].name, name))
            return &self->items[i];
    return NULL;
}

char *objects_free_name(arena_t *arena, const objects_t *self, const char *prefix)
{
    for (int n = 0;; n++) {
        char *name = arena_printf(arena, "%s_%d", prefix, n);
        if (!objects_find(self, name))
            return name;
    }
}

bool object_is(const object_t *self, const char *type)
{
    return strcmp(self->type, type) == 0;
}

bool object_is_virtual(arena_t *arena, const object_t *self)
{
    if (!object_is(self, "table") || !self->sql)
        return false;
    tokens_t tokens = tokens_read(arena, self->sql, strlen(self->sql));
    return token_is(&tokens, 1, "VIRTUAL");
}

/* -- the health of views and triggers ----------------------------------------------------- */

typedef struct {
    const char *event; /* "INSERT", "UPDATE" or "DELETE" */
    int of, of_to;     /* tokens of UPDATE OF's columns; equal: none */
} trigger_text_t;

/* The event comes before ON table: the first of these words that is no name. */
static trigger_text_t trigger_read(const tokens_t *tokens)
{
    trigger_text_t out = {.event = "INSERT"};
    int i = 0;
    while (i < tokens->n && !token_is(tokens, i, "TRIGGER"))
        i++;
    i++;
    if (token_is(tokens, i, "IF"))
        i += 3;
    i += token_is_sign(tokens, i + 1, '.') ? 3 : 1; /* behind its name */
    while (i < tokens->n && !token_is(tokens, i, "DELETE") && !token_is(tokens, i, "INSERT") &&
           !token_is(tokens, i, "UPDATE"))
        i++;
    if (token_is(tokens, i, "DELETE"))
        out.event = "DELETE";
    if (!token_is(tokens, i, "UPDATE"))
        return out;
    out.event = "UPDATE";
    if (!token_is(tokens, i + 1, "OF"))
        return out;
    out.of = out.of_to = i + 2;
    while (out.of_to < tokens->n && !token_is(tokens, out.of_to, "ON"))
        out.of_to++;
    return out;
}

/* A statement that fires every trigger of this event on the table. */
static err_t firing_statement(session_t *session, arena_t *arena, const object_t *trigger,
                              char **out)
{
    tokens_t tokens = tokens_read(arena, trigger->sql, strlen(trigger->sql));
    trigger_text_t text = trigger_read(&tokens);
    char *table = name_quoted(arena, trigger->table);
    if (strcmp(text.event, "UPDATE") != 0) {
        *out = strcmp(text.event, "DELETE") == 0
                   ? arena_printf(arena, "DELETE FROM %s", table)
                   : arena_printf(arena, "INSERT INTO %s DEFAULT VALUES", table);
        return ERR_OK;
    }
    char *columns = NULL;
    err_t err = session_text(
        session, arena,
        arena_printf(arena,
                     "SELECT group_concat(format('\"%%w\" = \"%%w\"', name, name), ', ') FROM "
                     "pragma_table_xinfo(%s) WHERE hidden = 0",
                     text_quoted(arena, trigger->table)),
        &columns);
    if (!err)
        *out = arena_printf(arena, "UPDATE %s SET %s", table, columns ? columns : "rowid = rowid");
    return err;
}

static err_t examine(session_t *session, arena_t *arena, const object_t *object, health_t *out)
{
    char *sql = arena_printf(arena, "SELECT * FROM %s", name_quoted(arena, object->name));
    *out = (health_t){.object = object};
    if (object_is(object, "trigger")) {
        err_t err = firing_statement(session, arena, object, &sql);
        /* A trigger on a view that is broken itself. */
        if (err == ERR_INVALID) {
            out->strict = out->loose = arena_printf(arena, "%s", err_text());
            return ERR_OK;
        }
        if (err)
            return err;
    }
    session_quotes(session, true);
    out->loose = session_compile(session, arena, sql);
    session_quotes(session, false);
    out->strict = session_compile(session, arena, sql);
    session_quotes(session, session->legacy_quotes);
    return session_failure(session);
}

err_t checkup_make(session_t *session, arena_t *arena, checkup_t *out)
{
    checkup_t self = {0};
    err_t err = objects_read(session, arena, &self.objects);
    for (int i = 0; i < self.objects.n && !err; i++) {
        const object_t *object = &self.objects.items[i];
        if (!object_is(object, "view") && !object_is(object, "trigger"))
            continue;
        self.items = arena_grow(arena, self.items, self.n, sizeof *self.items);
        err = examine(session, arena, object, &self.items[self.n++]);
    }
    if (!err)
        *out = self;
    return err;
}

bool checkup_needs_quotes(const checkup_t *self)
{
    for (int i = 0; i < self->n; i++)
        if (self->items[i].strict && !self->items[i].loose)
            return true;
    return false;
}

/* -- who needs a column that goes --------------------------------------------------------- */

typedef enum { NAMED_ANYWHERE, NAMED_IN_LIST, NAMED_IN_EXPRESSION } named_where_t;

static bool may_name(const tokens_t *tokens, int from, int i, named_where_t where,
                     const char *table)
{
    if (where == NAMED_IN_EXPRESSION)
        return expression_names(tokens, from, i, table);
    return token_is_name(tokens, i) &&
           (where == NAMED_ANYWHERE || i == from || token_is_sign(tokens, i - 1, ','));
}

/* The first dropped column that tokens [from, to) name; NULL for none. */
static const char *dropped_named(arena_t *arena, const change_t *change, const tokens_t *tokens,
                                 int from, int to, named_where_t where)
{
    for (int i = from; i < to; i++) {
        if (!may_name(tokens, from, i, where, change->old.name))
            continue;
        char *name = token_name(arena, tokens, i);
        for (int k = 0; k < change->dropped_n; k++)
            if (name_equal(change->dropped[k], name))
                return change->dropped[k];
    }
    return NULL;
}

static err_t needed(const change_t *change, const char *column, const object_t *by,
                    const char *remedy)
{
    return err_set(ERR_INVALID, "%s.%s cannot be dropped: %s %s still needs it; %s",
                   change->old.name, column, object_is(by, "table") ? "virtual table" : by->type,
                   by->name, remedy);
}

static bool mentions(arena_t *arena, const tokens_t *tokens, int from, const char *name)
{
    for (int i = from; i < tokens->n; i++)
        if (token_is_name(tokens, i) && name_equal(token_name(arena, tokens, i), name))
            return true;
    return false;
}

static err_t object_needs(arena_t *arena, const object_t *object, const change_t *change)
{
    if (!object->sql)
        return ERR_OK;
    tokens_t tokens = tokens_read(arena, object->sql, strlen(object->sql));
    bool own = name_equal(object->table, change->old.name);
    const char *column = NULL;
    if (object_is(object, "index") && own) {
        int from = 0;
        while (from < tokens.n && !token_is_sign(&tokens, from, '('))
            from++;
        column = dropped_named(arena, change, &tokens, from, tokens.n, NAMED_IN_EXPRESSION);
        if (column)
            return needed(change, column, object,
                          arena_printf(arena, "put DROP INDEX %s before this statement",
                                       name_quoted(arena, object->name)));
    } else if (object_is(object, "trigger") && own) {
        trigger_text_t text = trigger_read(&tokens);
        column = dropped_named(arena, change, &tokens, text.of, text.of_to, NAMED_IN_LIST);
    } else if (object_is_virtual(arena, object) && mentions(arena, &tokens, 4, change->old.name)) {
        column = dropped_named(arena, change, &tokens, 4, tokens.n, NAMED_ANYWHERE);
    }
    return column ? needed(change, column, object, "drop or change that first") : ERR_OK;
}

/* What SQLite reads while it compiles a view or trigger. */
typedef struct {
    const change_t *change;
    const char *by; /* the trigger, NULL for a view */
    bool *read;     /* of each dropped column */
} reading_t;

static int on_read(void *context, int code, const char *table, const char *column,
                   const char *database, const char *by)
{
    reading_t *self = context;
    (void)database;
    if (code != SQLITE_READ || !table || !column || !name_equal(table, self->change->old.name) ||
        (self->by && !(by && name_equal(by, self->by))))
        return SQLITE_OK;
    for (int i = 0; i < self->change->dropped_n; i++)
        if (name_equal(self->change->dropped[i], column))
            self->read[i] = true;
    return SQLITE_OK;
}

/* Without such a column the same word means the rowid: nothing breaks, and everything changes. */
static bool is_rowid_word(const char *name)
{
    return name_equal(name, "rowid") || name_equal(name, "_rowid_") || name_equal(name, "oid");
}

/* One that only says SELECT * goes on without the column; one that names it would break, or mean
 * another table's column of that name from now on. */
static err_t health_needs(session_t *session, arena_t *arena, const health_t *health,
                          const change_t *change)
{
    const object_t *object = health->object;
    bool trigger = object_is(object, "trigger");
    reading_t reading = {.change = change,
                         .by = trigger ? object->name : NULL,
                         .read = arena_alloc(arena, (size_t)change->dropped_n)};
    char *sql = arena_printf(arena, "SELECT * FROM %s", name_quoted(arena, object->name));
    tokens_t tokens = tokens_read(arena, object->sql, strlen(object->sql));
    err_t err = trigger ? firing_statement(session, arena, object, &sql) : ERR_OK;
    if (err)
        return err;
    session_quotes(session, health->strict != NULL);
    sqlite3_set_authorizer(session->db, on_read, &reading);
    (void)session_compile(session, arena, sql);
    sqlite3_set_authorizer(session->db, NULL, NULL);
    session_quotes(session, session->legacy_quotes);
    for (int i = 0; i < change->dropped_n; i++)
        if (is_rowid_word(change->dropped[i]) && mentions(arena, &tokens, 0, change->old.name))
            reading.read[i] = true;
    for (int i = 0; i < change->dropped_n; i++)
        if (reading.read[i] && (mentions(arena, &tokens, 0, change->dropped[i]) ||
                                mentions(arena, &tokens, 0, "NATURAL")))
            return needed(change, change->dropped[i], object, "drop or change that first");
    return ERR_OK;
}

err_t checkup_need(session_t *session, arena_t *arena, const checkup_t *before,
                   const change_t *change)
{
    err_t err = ERR_OK;
    for (int i = 0; i < before->objects.n && !err && change->dropped_n > 0; i++)
        err = object_needs(arena, &before->objects.items[i], change);
    for (int i = 0; i < before->n && !err && change->dropped_n > 0; i++)
        if (!before->items[i].loose)
            err = health_needs(session, arena, &before->items[i], change);
    return err;
}

err_t objects_virtual_need(arena_t *arena, const objects_t *objects, const char *table,
                           const char *column)
{
    for (int i = 0; i < objects->n; i++) {
        const object_t *object = &objects->items[i];
        if (!object_is_virtual(arena, object) || name_equal(object->name, table))
            continue;
        tokens_t tokens = tokens_read(arena, object->sql, strlen(object->sql));
        if (mentions(arena, &tokens, 4, table) && (!column || mentions(arena, &tokens, 4, column)))
            return err_set(ERR_INVALID,
                           "%s%s%s cannot be renamed: the virtual table %s names it in its "
                           "arguments, which do not follow; drop that first and make it again "
                           "behind",
                           table, column ? "." : "", column ? column : "", object->name);
    }
    return ERR_OK;
}

/* -- before and behind -------------------------------------------------------------------- */

static const health_t *health_of(const checkup_t *self, const object_t *object)
{
    for (int i = 0; i < self->n; i++)
        if (strcmp(self->items[i].object->type, object->type) == 0 &&
            name_equal(self->items[i].object->name, object->name))
            return &self->items[i];
    return NULL;
}

static err_t broken(arena_t *arena, const health_t *now, const char *why, const change_t *change)
{
    const object_t *object = now->object;
    tokens_t tokens = tokens_read(arena, object->sql, strlen(object->sql));
    const char *column =
        change ? dropped_named(arena, change, &tokens, 0, tokens.n, NAMED_ANYWHERE) : NULL;
    if (column)
        return needed(change, column, object,
                      arena_printf(arena, "drop or change that first (%s)", why));
    return err_set(ERR_INVALID, "the %s %s would break: %s", object->type, object->name, why);
}

err_t checkup_compare(session_t *session, arena_t *arena, const checkup_t *before,
                      const change_t *change)
{
    checkup_t now = {0};
    err_t err = checkup_make(session, arena, &now);
    for (int i = 0; i < now.n && !err; i++) {
        const health_t *at = &now.items[i], *was = health_of(before, at->object);
        if (!was || was->loose)
            continue;
        const char *why = was->strict ? at->loose : at->strict;
        if (why)
            err = broken(arena, at, why, change);
    }
    return err;
}

#include "schema/migrate/diff.h"

#include <string.h>

#include "schema/migrate/objects.h"
#include "schema/migrate/table_text.h"

typedef struct {
    arena_t *arena;
    differences_t *out;
    const object_t *object;
} differ_t;

static void add(differ_t *self, char sign, char *what)
{
    differences_t *out = self->out;
    out->items = arena_grow(self->arena, out->items, out->n, sizeof *out->items);
    out->items[out->n++] = (difference_t){self->object->type, self->object->name, sign, what};
}

/* -- pieces of a table -------------------------------------------------------------------- */

typedef struct {
    char *shown, *normal;
} piece_t;

typedef struct {
    piece_t *items;
    int n;
} pieces_t;

static void add_piece(differ_t *self, pieces_t *pieces, const char *kind, const tokens_t *tokens,
                      int from, int to)
{
    pieces->items = arena_grow(self->arena, pieces->items, pieces->n, sizeof *pieces->items);
    pieces->items[pieces->n++] = (piece_t){
        arena_printf(self->arena, "%s%s", kind, tokens_slice(self->arena, tokens, from, to)),
        arena_printf(self->arena, "%s%s", kind, tokens_normal(self->arena, tokens, from, to))};
}

/* Its columns in order, its constraints, its options. */
static pieces_t pieces_of(differ_t *self, const table_text_t *table)
{
    pieces_t pieces = {0};
    const tokens_t *tokens = &table->tokens;
    for (int i = 0; i < table->columns_n; i++)
        add_piece(self, &pieces, "column ", tokens, table->columns[i].from, table->columns[i].to);
    for (int i = 0; i < table->constraints_n; i++)
        add_piece(self, &pieces, "", tokens, table->constraints[i].from, table->constraints[i].to);
    if (table->without_rowid)
        add_piece(self, &pieces, "WITHOUT ROWID", tokens, 0, 0);
    if (table->strict)
        add_piece(self, &pieces, "STRICT", tokens, 0, 0);
    return pieces;
}

static void tell_missing(differ_t *self, const pieces_t *from, const pieces_t *in, char sign)
{
    for (int i = 0; i < from->n; i++) {
        bool found = false;
        for (int k = 0; k < in->n; k++)
            found = found || strcmp(from->items[i].normal, in->items[k].normal) == 0;
        if (!found)
            add(self, sign, from->items[i].shown);
    }
}

static char *column_order(differ_t *self, const table_text_t *table)
{
    char *list = arena_text(self->arena, "the order ", 10);
    for (int i = 0; i < table->columns_n; i++)
        list = arena_printf(self->arena, "%s%s%s", list, i ? ", " : "", table->columns[i].name);
    return list;
}

static bool tell_pieces(differ_t *self, const char *first, const char *second)
{
    table_text_t a, b;
    if (table_text_read(self->arena, first, &a) || table_text_read(self->arena, second, &b))
        return false;
    pieces_t a_pieces = pieces_of(self, &a), b_pieces = pieces_of(self, &b);
    int before = self->out->n;
    tell_missing(self, &a_pieces, &b_pieces, '-');
    tell_missing(self, &b_pieces, &a_pieces, '+');
    if (self->out->n > before)
        return true;
    add(self, '-', column_order(self, &a));
    add(self, '+', column_order(self, &b));
    return true;
}

/* -- objects ------------------------------------------------------------------------------ */

static bool is_compared(const object_t *object)
{
    return object->sql && strncmp(object->name, "sqlite_", 7) != 0 &&
           !name_equal(object->name, "schema_migrations");
}

static const object_t *find_same(const objects_t *objects, const object_t *object)
{
    for (int i = 0; i < objects->n; i++)
        if (strcmp(objects->items[i].type, object->type) == 0 &&
            name_equal(objects->items[i].name, object->name))
            return &objects->items[i];
    return NULL;
}

static char *normal_sql(arena_t *arena, const char *sql)
{
    tokens_t tokens = tokens_read(arena, sql, strlen(sql));
    return tokens_normal(arena, &tokens, 0, tokens.n);
}

static void compare(differ_t *self, const object_t *first, const object_t *second)
{
    self->object = first;
    if (!second) {
        add(self, '-', arena_printf(self->arena, "%s", first->sql));
        return;
    }
    if (strcmp(normal_sql(self->arena, first->sql), normal_sql(self->arena, second->sql)) == 0)
        return;
    if (object_is(first, "table") && tell_pieces(self, first->sql, second->sql))
        return;
    add(self, '-', arena_printf(self->arena, "%s", first->sql));
    add(self, '+', arena_printf(self->arena, "%s", second->sql));
}

err_t schema_diff(sqlite3 *first, sqlite3 *second, arena_t *arena, differences_t *out)
{
    static const migrate_options_t quiet = {0};
    session_t a = {.db = first, .options = &quiet}, b = {.db = second, .options = &quiet};
    objects_t a_objects, b_objects;
    differences_t found = {0};
    differ_t self = {.arena = arena, .out = &found};
    err_t err = objects_read(&a, arena, &a_objects);
    if (!err)
        err = objects_read(&b, arena, &b_objects);
    if (err)
        return err;
    for (int i = 0; i < a_objects.n; i++)
        if (is_compared(&a_objects.items[i]))
            compare(&self, &a_objects.items[i], find_same(&b_objects, &a_objects.items[i]));
    for (int i = 0; i < b_objects.n; i++) {
        self.object = &b_objects.items[i];
        if (is_compared(self.object) && !find_same(&a_objects, self.object))
            add(&self, '+', arena_printf(arena, "%s", self.object->sql));
    }
    *out = found;
    return ERR_OK;
}

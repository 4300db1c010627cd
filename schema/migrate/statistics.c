#include "schema/migrate/statistics.h"

static const char *const tables[] = {"sqlite_stat1", "sqlite_stat3", "sqlite_stat4"};
enum { TABLES_N = sizeof tables / sizeof *tables };

err_t statistics_rename(session_t *session, arena_t *arena, const objects_t *objects,
                        const char *from, const char *to)
{
    char *old = text_quoted(arena, from), *new = text_quoted(arena, to);
    char *old_index = text_quoted(arena, arena_printf(arena, "sqlite_autoindex_%s_", from));
    char *new_index = text_quoted(arena, arena_printf(arena, "sqlite_autoindex_%s_", to));
    err_t err = ERR_OK;
    for (int i = 0; i < TABLES_N && !err; i++)
        if (objects_find(objects, tables[i]))
            err = session_run(
                session,
                arena_printf(arena,
                             "UPDATE %s SET tbl = %s, idx = CASE WHEN idx = %s THEN %s WHEN "
                             "substr(idx, 1, length(%s)) = %s THEN %s || substr(idx, length(%s) + "
                             "1) ELSE idx END WHERE tbl = %s",
                             tables[i], new, old, new, old_index, old_index, new_index, old_index,
                             old));
    return err;
}

err_t statistics_prune(session_t *session, arena_t *arena, const objects_t *objects,
                       const char *table)
{
    char *prefix = text_quoted(arena, arena_printf(arena, "sqlite_autoindex_%s_", table));
    err_t err = ERR_OK;
    for (int i = 0; i < TABLES_N && !err; i++)
        if (objects_find(objects, tables[i]))
            err = session_run(session,
                              arena_printf(arena,
                                           "DELETE FROM %s WHERE tbl = %s AND (idx = tbl OR "
                                           "substr(idx, 1, length(%s)) = %s)",
                                           tables[i], text_quoted(arena, table), prefix, prefix));
    return err;
}

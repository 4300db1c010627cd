/* migrate: runs the embedded SQL files. Its record table is its own and is made before any of them.
 */
#include "api/store/migrate.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

static const migration_t migrations[] = {
#include "versions.inc"
};

int migrations_n(void)
{
    return (int)(sizeof migrations / sizeof *migrations);
}

const migration_t *migration_at(int i)
{
    return &migrations[i];
}

/* The application id says "this is a store" and is set in the transaction that makes the first
 * table. */
static const char record_table[] = "BEGIN IMMEDIATE;"
                                   "CREATE TABLE IF NOT EXISTS schema_migrations ("
                                   " version INTEGER PRIMARY KEY,"
                                   " name TEXT NOT NULL,"
                                   " checksum TEXT NOT NULL,"
                                   " applied_at INTEGER NOT NULL,"
                                   " duration_ms INTEGER NOT NULL,"
                                   " tool TEXT NOT NULL) STRICT;"
                                   "PRAGMA application_id = 1398034004;"
                                   "COMMIT";
_Static_assert(STORE_APPLICATION_ID == 1398034004, "the PRAGMA above takes a literal only");

/* One record against the embedded file of that version. */
static err_t record_check(sqlite3_stmt *statement)
{
    int version = sqlite3_column_int(statement, 0);
    if (version > migrations_n())
        return err_set(ERR_NEWER, "the store has schema version %d, this program knows up to %d",
                       version, migrations_n());
    const migration_t *known = version >= 1 ? &migrations[version - 1] : NULL;
    if (!known || strcmp(known->checksum, sql_text(statement, 1)) != 0)
        return err_set(ERR_CORRUPT, "%s is not what was applied to this store",
                       known ? known->file : "a schema version below 1");
    return ERR_OK;
}

/* The newest first, so that a newer store is called newer and nothing else. */
static err_t records_check(store_t *self, int *newest)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(self->writer,
                           "SELECT version, checksum FROM schema_migrations ORDER BY version DESC",
                           -1, &statement, NULL) != SQLITE_OK)
        return sql_error(self, self->writer, "schema_migrations");
    err_t err = ERR_OK;
    bool row = true;
    *newest = 0;
    while (!err && row) {
        err = sql_next(self, statement, &row);
        if (err || !row)
            break;
        if (*newest == 0)
            *newest = sqlite3_column_int(statement, 0);
        err = record_check(statement);
    }
    sqlite3_finalize(statement);
    return err;
}

static err_t record_insert(store_t *self, const migration_t *migration, int64_t wall_at,
                           int64_t duration_ms)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(self->writer, "INSERT INTO schema_migrations VALUES (?, ?, ?, ?, ?, ?)",
                           -1, &statement, NULL) != SQLITE_OK)
        return sql_error(self, self->writer, "schema_migrations");
    sql_bind_i64(statement, 1, migration->version);
    sql_bind_text(statement, 2, migration->file);
    sql_bind_text(statement, 3, migration->checksum);
    sql_bind_i64(statement, 4, wall_at);
    sql_bind_i64(statement, 5, duration_ms);
    sql_bind_text(statement, 6, "stint " STINT_VERSION);
    err_t err = sql_run(self, statement);
    sqlite3_finalize(statement);
    return err;
}

static err_t apply(store_t *self, const migration_t *migration, int64_t wall_at)
{
    int64_t began_ms = clock_now_ms();
    err_t err = sql_execute(self, self->writer, "BEGIN IMMEDIATE");
    if (!err)
        err = sql_execute(self, self->writer, (const char *)migration->up);
    if (!err)
        err = record_insert(self, migration, wall_at, clock_now_ms() - began_ms);
    if (!err)
        err = sql_execute(self, self->writer, "COMMIT");
    if (err && !sqlite3_get_autocommit(self->writer))
        (void)sqlite3_exec(self->writer, "ROLLBACK", NULL, NULL, NULL);
    return err ? err_context(err, "%s", migration->file) : ERR_OK;
}

err_t migrate_up(store_t *self, int64_t wall_at)
{
    int newest = 0;
    err_t err = sql_execute(self, self->writer, record_table);
    if (!err)
        err = records_check(self, &newest);
    for (int i = newest; !err && i < migrations_n(); i++)
        err = apply(self, &migrations[i], wall_at);
    if (!err)
        self->version = migrations_n();
    return err;
}

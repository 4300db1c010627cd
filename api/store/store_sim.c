/* store_sim: see store_sim.h. Everything but store_sim_full is what a real store goes through, done
 * in memory. */
#include "api/store/store_sim.h"

#include <stdio.h>
#include <string.h>

#include "api/store/internal.h"
#include "common/log.h"

void store_sim_full(store_t *self, bool on)
{
    /* A limit below the present size is raised to it by SQLite: not one page more. */
    err_t err =
        sql_execute(self, self->writer,
                    on ? "PRAGMA max_page_count = 1" : "PRAGMA max_page_count = 4294967294");
    INVARIANT(err == ERR_OK);
    self->sim_full = on;
}

err_t store_sim_backup(store_t *self, void **bytes, size_t *n)
{
    INVARIANT(!self->in_turn && !self->directory);
    sqlite3_int64 size = 0;
    unsigned char *image = sqlite3_serialize(self->writer, "main", &size, 0);
    if (!image)
        return sql_error(self, self->writer, "backup");
    *bytes = mem_alloc((size_t)size);
    *n = (size_t)size;
    memcpy(*bytes, image, *n);
    sqlite3_free(image);
    return ERR_OK;
}

static err_t replace(store_t *self, const void *bytes, size_t n)
{
    unsigned char *image = sqlite3_malloc64(n);
    INVARIANT(image);
    memcpy(image, bytes, n);
    store_statements_drop(self);
    sqlite3_close(self->writer);
    self->writer = self->reader = NULL;
    if (sqlite3_open(":memory:", &self->writer) != SQLITE_OK)
        return sql_error(self, self->writer, "restore");
    self->reader = self->writer;
    unsigned flags = SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE;
    if (sqlite3_deserialize(self->writer, "main", image, (sqlite3_int64)n, (sqlite3_int64)n,
                            flags) != SQLITE_OK)
        return sql_error(self, self->writer, "restore");
    return store_writer_prepare(self);
}

err_t store_sim_restore(store_t *self, const void *bytes, size_t n)
{
    INVARIANT(!self->in_turn && !self->directory);
    err_t err = replace(self, bytes, n);
    if (!err)
        err = store_load(self);
    return err ? err : store_renew_id(self);
}

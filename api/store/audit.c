#include "api/store/audit.h"

#include <stdio.h>

#include "api/store/internal.h"

static const struct {
    const char *rule, *sql; /* the query gives an id where the rule is broken */
} rules[] = {
    {"one recorded result per batch", "SELECT batch_id FROM attempt WHERE outcome = 'done' AND "
                                      "batch_id IS NOT NULL GROUP BY batch_id HAVING count(*) > 1"},
    {"a batch that is done has a recorded result",
     "SELECT id FROM batch b WHERE state = 'done' AND NOT EXISTS (SELECT 1 FROM attempt WHERE "
     "batch_id = b.id AND outcome = 'done')"},
    {"at most max_attempts reported failures",
     "SELECT b.id FROM batch b JOIN processing_job j ON j.id = b.job_id JOIN task t ON t.id = "
     "j.task_id WHERE b.failures > t.max_attempts"},
    {"at most max_starts executions", "SELECT id FROM batch WHERE starts > ?1"},
    {"reported failures are in the history",
     "SELECT id FROM batch b WHERE failures <> (SELECT count(*) FROM attempt WHERE batch_id = b.id "
     "AND outcome = 'failed')"},
    {"items of a finished job add up", "SELECT id FROM processing_job WHERE state = 'completed' "
                                       "AND items_done + items_failed <> items_total"},
    {"a finished job has no live batch",
     "SELECT b.id FROM batch b JOIN processing_job j ON j.id = b.job_id WHERE j.finished_at IS NOT "
     "NULL AND b.state IN ('ready', 'leased', 'retrying')"},
    {"a finished job has no live finalize",
     "SELECT f.id FROM finalize f JOIN processing_job j ON j.id = f.job_id WHERE j.finished_at IS "
     "NOT NULL AND f.state IN ('ready', 'leased', 'retrying')"},
    {"finalize comes last", "SELECT f.id FROM finalize f JOIN batch b ON b.job_id = f.job_id WHERE "
                            "b.state IN ('ready', 'leased', 'retrying')"},
    {"a completed job with a callback has a done finalize",
     "SELECT j.id FROM processing_job j JOIN task t ON t.id = j.task_id WHERE j.state = "
     "'completed' AND t.finalize <> '' "
     "AND NOT EXISTS (SELECT 1 FROM finalize WHERE job_id = j.id AND state = 'done')"},
    {"batches do not overlap and leave nothing out",
     "SELECT id FROM (SELECT id, first_item, lag(first_item + items_n, 1, 0) OVER (PARTITION BY "
     "job_id ORDER BY no) AS want FROM batch) "
     "WHERE first_item <> want"},
    {"one job per tick",
     "SELECT job_id FROM tick WHERE job_id IS NOT NULL GROUP BY job_id HAVING count(*) > 1"},
    {"no job of a schedule without its tick",
     "SELECT j.id FROM processing_job j JOIN task t ON t.id = j.task_id WHERE t.name IN "
     "('health_check', 'cleanup_old_jobs') "
     "AND NOT EXISTS (SELECT 1 FROM tick WHERE job_id = j.id)"},
    {"counts per task and state are true",
     "SELECT task_id FROM (SELECT task_id, state, n FROM task_count WHERE n > 0 EXCEPT SELECT "
     "task_id, state, count(*) FROM processing_job GROUP BY task_id, state)"},
    {"every row has its parent", "SELECT rowid FROM pragma_foreign_key_check"},
};

bool store_audit(store_t *self, uint32_t max_starts, char *out, size_t size)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        sqlite3_stmt *statement = NULL;
        int code = sqlite3_prepare_v2(self->writer, rules[i].sql, -1, &statement, NULL);
        if (code == SQLITE_OK && sqlite3_bind_parameter_count(statement)) {
            sqlite3_bind_int64(statement, 1, max_starts);
        }
        code = code == SQLITE_OK ? sqlite3_step(statement) : code;
        bool broken = code != SQLITE_DONE;
        if (code == SQLITE_ROW) {
            snprintf(out, size, "broken rule of the store: %s (id %lld)", rules[i].rule,
                     (long long)sqlite3_column_int64(statement, 0));
        } else if (broken) {
            snprintf(out, size, "rule of the store not checked: %s: %s", rules[i].rule,
                     sqlite3_errmsg(self->writer));
        }
        sqlite3_finalize(statement);
        if (broken) {
            return true;
        }
    }
    return false;
}

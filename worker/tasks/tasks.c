/* tasks: the code this worker has, by name. To add a task: a row in schema/tasks.def and one here.
 */
#include <string.h>

#include "worker/tasks/journal.h"
#include "worker/tasks/probes.h"
#include "worker/tasks/task.h"
#include "worker/tasks/transactions.h"

static const task_code_t codes[] = {
    {.name = "noop", .run = probe_noop},
    {.name = "process_transaction_batch", .run = transactions_run},
    {.name = "finalize_transactions",
     .finalize_open = transactions_finalize_open,
     .finalize_merge = transactions_finalize_merge,
     .finalize_close = transactions_finalize_close},
    {.name = "crash", .run = probe_crash},
    {.name = "hang", .run = probe_hang},
    {.name = "eat", .run = probe_eat},
    {.name = "flood", .run = probe_flood},
    {.name = "fork", .run = probe_fork},
    {.name = "fill", .run = probe_fill},
    {.name = "close", .run = probe_close},
    {.name = "journal", .run = journal_run},
    {.name = "finalize_journal",
     .finalize_open = journal_finalize_open,
     .finalize_merge = journal_finalize_merge,
     .finalize_close = journal_finalize_close},
};

const task_code_t *task_code_find(const char *name)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strcmp(codes[i].name, name) == 0) {
            return &codes[i];
        }
    }
    return NULL;
}

/* start_log: when this worker started batches, kept over its restarts: the one thing a worker
 * remembers.
 *
 * Lives here: the file `starts` in the state directory. Not here: what the times allow
 * (common/window).
 *
 * Times are milliseconds of the boot clock (CLOCK_BOOTTIME). A start of an earlier boot was made,
 * on this boot's clock, at 0 at the latest; so it is reported as made at 0, and counts only while
 * this boot is younger than the window: no wall clock that may have been set is asked. The same is
 * said of starts that a power cut may have taken before they reached the disk. A damaged file is
 * replaced, and its starts are reported as made at that moment: the window is then full. */
#ifndef STINT_WORKER_START_LOG_H
#define STINT_WORKER_START_LOG_H

#include <stdint.h>

#include "common/err.h"

typedef struct start_log start_log_t;

/* `dir` is the locked state directory. ERR_IO: it cannot be read or written; without a log no
 * limited batch may start. */
CHECKED err_t start_log_open(start_log_t **out, const char *dir);
void start_log_destroy(start_log_t **self);

/* The newest starts of a task, oldest first, at most n; *count of them. Where starts are unknown n
 * are reported, all at the latest time they can have been made. ERR_CORRUPT: this process found the
 * file damaged; unlike elsewhere the out-parameters are set all the same, to n starts at that
 * moment, which is what window_fill does. */
CHECKED err_t start_log_load(const start_log_t *self, const char *task, int64_t *out, int n,
                             int *count);

/* Write a start down, before the child gets the batch. On an error (disk full) nothing may start.
 * It is in the kernel's hands when this returns: the death of this process loses nothing. It is not
 * synced, because only a power cut could lose it, and after that the boot is another. */
CHECKED err_t start_log_append(start_log_t *self, const char *task, int64_t boot_ms);

#endif

/* state_dir: the worker's own directory, and the lock that makes its name unique on this host.
 *
 * Lives here: making the directory (0700, parents too) and the flock on its file `lock`, which
 * holds the worker's name and process id for people. The lock belongs to the open file, so it lasts
 * until every process that inherited the descriptor has ended: give state_dir_fd to pool_keep_fd,
 * and who gets the lock knows that no child of the last holder runs. */
#ifndef STINT_WORKER_STATE_DIR_H
#define STINT_WORKER_STATE_DIR_H

#include <stdint.h>

#include "common/err.h"

typedef struct state_dir state_dir_t;

/* ERR_BUSY: "another worker named X runs, process N". If that process is dead, its children are
 * about to be: waits for them up to two seconds. ERR_IO: the directory or the file cannot be made.
 */
CHECKED err_t state_dir_open(state_dir_t **out, const char *path, const char *worker);
/* Lets the lock go; the file stays. */
void state_dir_close(state_dir_t **self);
int state_dir_fd(const state_dir_t *self);
const char *state_dir_path(const state_dir_t *self);
/* A number above every one given out before in this directory, and not below wall_at: it orders the
 * incarnations of a worker (PROTOCOL P2). Kept in the file `life` before it is returned. */
CHECKED err_t state_dir_life(state_dir_t *self, int64_t wall_at, uint64_t *out);

#endif

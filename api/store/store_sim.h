/* store_sim: what the simulation does to a store in memory: full disks, backups, restarts.
 *
 * Called by tests/sim only. All of it outside a turn, but store_sim_full and store_forget. */
#ifndef STINT_API_STORE_SIM_H
#define STINT_API_STORE_SIM_H

#include "api/store/store.h"

/* While on, no page can be added and no turn that changed a row can be committed: ERR_FULL;
 * store_space says 0 bytes free. */
void store_sim_full(store_t *self, bool on);
/* The whole database as bytes, to be freed with free(). */
CHECKED err_t store_sim_backup(store_t *self, void **bytes, size_t *n);
/* Put a backup in the place of the database; the store gets a new id, ids go on from the backup's.
 */
CHECKED err_t store_sim_restore(store_t *self, const void *bytes, size_t n);
/* What a restart of the process does to a store: an open turn is rolled back, everything in memory
 * is dropped and read again, unfinished uploads are removed. ERR_FULL etc. come from the removal.
 */
err_t store_forget(store_t *self);

#endif

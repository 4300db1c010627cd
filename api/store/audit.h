/* audit: rules of the store that no single constraint can say, checked over all rows.
 *
 * For tests and the simulation (it scans): never called by the running api. */
#ifndef STINT_API_STORE_AUDIT_H
#define STINT_API_STORE_AUDIT_H

#include <stddef.h>

#include "api/store/store.h"

/* True if a rule is broken; `out` says which. Outside a turn. */
bool store_audit(store_t *self, uint32_t max_starts, char *out, size_t size);

#endif

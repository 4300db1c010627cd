/* descriptors: how many file descriptors this process may have.
 *
 * Lives here: the limit, and whether any is left. Not here: what to do when none is. */
#ifndef STINT_COMMON_DESCRIPTORS_H
#define STINT_COMMON_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* Raise the soft limit to the hard one (the usual 1,024 is less than a fleet). ERR_CONFIG when even
 * that is less than `needed`: says both figures. */
CHECKED err_t descriptors_raise(uint64_t needed);
/* The limit in force. */
uint64_t descriptors_limit(void);
/* Whether `n` (at most 64) more could be opened now. */
bool descriptors_left(int n);

#endif

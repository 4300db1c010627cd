/* inflate: gzip undone piece by piece.
 *
 * Lives here: members one after another (RFC 1952), truncation, garbage. Not here: limits. Constant
 * memory; called by intake and by the envelope form of a submission. */
#ifndef STINT_API_INFLATE_H
#define STINT_API_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

typedef struct inflater inflater_t;

inflater_t *inflater_new(void);
void inflater_destroy(inflater_t **self);
/* Take from *data, *n (moved on) and give the next piece of at most 64 KiB, borrowed until the next
 * call. *out_n == 0: everything was taken and nothing is left inside. ERR_MALFORMED: not gzip, or
 * damaged. */
CHECKED err_t inflater_step(inflater_t *self, const uint8_t **data, size_t *n, const uint8_t **out,
                            size_t *out_n);
/* After the last step: ERR_MALFORMED if a member is not complete. */
CHECKED err_t inflater_finish(const inflater_t *self);

#endif

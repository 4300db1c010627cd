/* inflate: a compressed body undone piece by piece.
 *
 * Lives here: gzip (members one after another, RFC 1952) and zstd (frames one after another, RFC
 * 8878, windows up to 8 MiB), truncation, garbage. Not here: limits. Constant memory; called by
 * intake and by the envelope form of a submission. */
#ifndef STINT_API_INFLATE_H
#define STINT_API_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

typedef enum { ENCODING_PLAIN, ENCODING_GZIP, ENCODING_ZSTD } encoding_t;

typedef struct inflater inflater_t;

/* NULL for ENCODING_PLAIN: there is nothing to undo. */
inflater_t *inflater_new(encoding_t encoding);
void inflater_destroy(inflater_t **self);
/* Take from *data, *n (moved on) and give the next piece of at most 64 KiB, borrowed until the next
 * call. *out_n == 0: everything was taken and nothing is left inside. ERR_MALFORMED: another
 * format, damaged, or a window that is too large. */
CHECKED err_t inflater_step(inflater_t *self, const uint8_t **data, size_t *n, const uint8_t **out,
                            size_t *out_n);
/* After the last step: ERR_MALFORMED if a member or frame is not complete, or there was none. */
CHECKED err_t inflater_finish(const inflater_t *self);

#endif

/* framing: lines out of bytes that come cut anywhere.
 *
 * Lives here: the byte order mark at the very start, one CR before LF, lines that are too long. Not
 * here: what a line means. Pure, constant memory. Called by intake.
 *
 * Each line goes to the call without its newline. A blank line is a line; a last line without LF
 * counts, an empty rest after the last LF does not. A line over LINE_MAX_BYTES becomes a marker:
 * one NUL and its length in decimal; but if it consists of blanks alone it becomes an empty line.
 */
#ifndef STINT_API_FRAMING_H
#define STINT_API_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/err.h"

enum { LINE_MAX_BYTES = 65536 };

typedef err_t (*framing_call_t)(void *context, const char *line, size_t n);

typedef struct {
    framing_call_t call;
    void *context;
    const char *blanks; /* bytes that do not count in a line that is too long */
    buffer_t rest;      /* of the last line, at most LINE_MAX_BYTES + 1 */
    uint64_t length;    /* of a line that is too long, less a CR at its end; 0 = not too long */
    bool blank, held_cr;
    int mark; /* bytes of the byte order mark seen; -1 = that is over */
} framing_t;

extern const char *const FRAMING_CSV_BLANKS;
extern const char *const FRAMING_NDJSON_BLANKS;

void framing_init(framing_t *self, const char *blanks, framing_call_t call, void *context);
void framing_free(framing_t *self);
/* An error of the call ends it and is returned; the framing is of no use afterwards. */
CHECKED err_t framing_push(framing_t *self, const char *data, size_t n);
CHECKED err_t framing_finish(framing_t *self);

#endif

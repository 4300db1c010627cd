/* chart: bars and sparklines made of characters.
 *
 * Lives here: pure drawing into a buffer, Unicode blocks or plain ASCII. Called by report_text and
 * watch. */
#ifndef STINT_API_CLI_CHART_H
#define STINT_API_CLI_CHART_H

#include <stddef.h>

#include "api/cli/text.h"

/* A bar of `value` on a scale 0..most over `width` columns, in eighths of a column with Unicode.
 * Always exactly `width` columns. */
void chart_bar(buffer_t *out, style_t style, double value, double most, int width);

/* The same with a mark at `expected`: seen over the bar where it ends beyond it, after it where the
 * bar is too short. `tone` colours the bar. Exactly `width` columns. */
typedef struct {
    double value, expected, most;
    int width;
    tone_t tone;
} chart_marked_t;
void chart_marked(buffer_t *out, style_t style, const chart_marked_t *bar);

/* n values as one line of at most `width` columns (neighbours are added up when there are more);
 * the scale begins at zero. Returns the columns written. */
int chart_spark(buffer_t *out, style_t style, const double *values, size_t n, int width);

/* "[#####.....]" for a share of 0..1, `width` columns without the brackets. */
void chart_progress(buffer_t *out, style_t style, double share, int width);

#endif

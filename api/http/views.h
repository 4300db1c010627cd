/* views: rows as the JSON of docs/api.md. */
#ifndef STINT_API_HTTP_VIEWS_H
#define STINT_API_HTTP_VIEWS_H

#include <jansson.h>

#include "api/store/store.h"
#include "common/json_out.h"

/* `rate`: items a second now, of a live job; a finished one has that of its whole run. */
void view_job(json_out_t *out, const job_row_t *row, double rate);
/* null for 0. */
json_t *view_time(int64_t wall_at);
json_t *view_id(uint64_t id);
/* Text from a row or a peer: what is not UTF-8 (of a hostile worker) does not spoil the whole
 * answer. */
json_t *view_text(const char *text);
/* To one decimal. */
json_t *view_rounded(double value);

#endif

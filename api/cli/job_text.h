/* job_text: jobs, lists, statistics and workers as text for a person.
 *
 * Lives here: pure rendering of the API's answers. Every text of the server is escaped; missing
 * keys are left out. */
#ifndef STINT_API_CLI_JOB_TEXT_H
#define STINT_API_CLI_JOB_TEXT_H

#include <jansson.h>

#include "api/cli/text.h"

/* All of one job, several lines. */
void job_text(buffer_t *out, style_t style, const json_t *job);
/* One line without a newline: state, share, items, rate, time left. */
void job_line(buffer_t *out, const json_t *job);
/* The same with a bar, for a terminal; at most style.width columns. */
void job_bar(buffer_t *out, style_t style, const json_t *job);
/* One line: what a terminal job came to. */
void job_outcome(buffer_t *out, style_t style, const json_t *job);
/* completed, failed or cancelled. */
bool job_is_over(const json_t *job);
/* 0 completed, 1 failed, 3 cancelled. */
int job_exit_code(const json_t *job);
/* Seconds between two ISO 8601 times in UTC as the API writes them; -1 if either is missing. */
double job_seconds(const char *from, const char *to);

void list_text(buffer_t *out, style_t style, const json_t *answer);
void stats_text(buffer_t *out, style_t style, const json_t *answer);
void workers_text(buffer_t *out, style_t style, const json_t *answer);

#endif

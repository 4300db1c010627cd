/* report_text: the report of a forensic job as a person enjoys reading it.
 *
 * Lives here: pure rendering of the finalize's JSON (and of the job beside it, may be NULL). A
 * missing part is left out. A report of another task is shown as indented JSON. The page says "for
 * review", never "fraud". */
#ifndef STINT_API_CLI_REPORT_TEXT_H
#define STINT_API_CLI_REPORT_TEXT_H

#include <jansson.h>

#include "api/cli/text.h"

void report_text(buffer_t *out, style_t style, const json_t *report, const json_t *job);

/* What the sections share: where to write, how, and the currency of the amounts. */
typedef struct {
    buffer_t *out;
    style_t style;
    const char *currency;
} page_t;

/* A heading with an empty line before it. */
void page_heading(const page_t *page, const char *text);
/* "  label       " in a fixed column. */
void page_label(const page_t *page, const char *label);
/* Right-aligned in `columns`. */
void page_number(const page_t *page, int64_t number, int columns);
void page_money(const page_t *page, int64_t minor, int columns);

/* The section on digits (report_benford.c); `block` is a report or a member of by_currency. */
void report_benford(const page_t *page, const json_t *block);

#endif

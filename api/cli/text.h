/* text: numbers, money, durations and strangers' bytes as a person reads them.
 *
 * Lives here: pure formatting into a buffer. Not here: layout of a page (report_text, job_text),
 * bars (chart). Called by every room of the command that prints. */
#ifndef STINT_API_CLI_TEXT_H
#define STINT_API_CLI_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"

/* How the terminal wants it. */
typedef struct {
    bool color;   /* ANSI colours are welcome */
    bool unicode; /* block characters are welcome */
    int width;    /* columns, at least 40 */
} style_t;

typedef enum {
    TONE_PLAIN,
    TONE_BOLD,
    TONE_DIM,
    TONE_RED,
    TONE_GREEN,
    TONE_YELLOW,
    TONE_BLUE,
    TONE_MAGENTA,
    TONE_CYAN
} tone_t;

/* The escape sequence that begins a tone (TONE_PLAIN: that ends all); "" without colour. */
const char *text_tone(style_t style, tone_t tone);

/* 1234567 -> "1,234,567". */
void text_number(buffer_t *out, int64_t number);
/* Minor units as "1,234,567.89" with the decimals of the currency (ISO 4217; unknown ones have 2).
 */
void text_money(buffer_t *out, int64_t minor, const char *currency);
/* "0.42 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
void text_duration(buffer_t *out, double seconds);
/* "512 B", "1.5 KiB", "3.2 GiB". */
void text_bytes(buffer_t *out, int64_t bytes);
/* A stranger's text: control bytes (C0, DEL, C1) and what is not UTF-8 become \xNN, so that no
 * server can move the cursor or retitle the terminal. */
void text_escape(buffer_t *out, const char *bytes, size_t n);
/* "1 batch", "2 batches". */
void text_count(buffer_t *out, int64_t n, const char *one, const char *many);
/* `n` spaces, none if n is negative. */
void text_pad(buffer_t *out, int n);
/* Columns of UTF-8 text without escape sequences: its code points. */
int text_columns(const char *text, size_t n);

#endif

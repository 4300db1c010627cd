#include "api/cli/chart.h"

#include <math.h>
#include <stdlib.h>

/* NaN, infinities and negatives (a server may send anything) draw as an empty bar. */
static double share_of(double value, double most)
{
    if (!(value > 0) || !(most > 0) || isinf(most)) {
        return 0;
    }
    double share = value / most;
    return share > 1 ? 1 : share;
}

static void add_cell(buffer_t *out, style_t style, int eighths)
{
    static const char *const blocks[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    if (style.unicode) {
        buffer_add_text(out, blocks[eighths]);
    } else {
        buffer_add_text(out, eighths >= 4 ? "#" : " ");
    }
}

/* How much of column i is filled when `filled` eighths are. */
static int eighths_at(int filled, int column)
{
    int rest = filled - 8 * column;
    return rest < 0 ? 0 : rest > 8 ? 8 : rest;
}

void chart_bar(buffer_t *out, style_t style, double value, double most, int width)
{
    int filled = (int)lround(share_of(value, most) * width * 8);
    /* Something is not nothing. */
    if (filled == 0 && value > 0 && width > 0) {
        filled = style.unicode ? 1 : 4;
    }
    for (int i = 0; i < width; i++) {
        add_cell(out, style, eighths_at(filled, i));
    }
}

void chart_marked(buffer_t *out, style_t style, const chart_marked_t *bar)
{
    int filled = (int)lround(share_of(bar->value, bar->most) * bar->width * 8);
    int mark = (int)(share_of(bar->expected, bar->most) * bar->width);
    if (mark >= bar->width) {
        mark = bar->width - 1;
    }
    buffer_add_text(out, text_tone(style, bar->tone));
    for (int i = 0; i < bar->width; i++) {
        if (i == mark) {
            buffer_printf(out, "%s%s%s%s", text_tone(style, TONE_PLAIN),
                          text_tone(style, TONE_BOLD), style.unicode ? "┃" : "|",
                          text_tone(style, TONE_PLAIN));
            buffer_add_text(out, text_tone(style, bar->tone));
        } else {
            add_cell(out, style, eighths_at(filled, i));
        }
    }
    buffer_add_text(out, text_tone(style, TONE_PLAIN));
}

int chart_spark(buffer_t *out, style_t style, const double *values, size_t n, int width)
{
    static const char *const ticks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const plain[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    if (n == 0 || width <= 0) {
        return 0;
    }
    size_t per = (n + (size_t)width - 1) / (size_t)width, columns = (n + per - 1) / per;
    double *sums = mem_zero(columns * sizeof *sums), most = 0;
    for (size_t i = 0; i < n; i++) {
        sums[i / per] += values[i] > 0 ? values[i] : 0;
    }
    for (size_t i = 0; i < columns; i++) {
        /* The last column may hold fewer values: show the mean, or it would always dip. */
        size_t held = i + 1 < columns ? per : n - per * (columns - 1);
        sums[i] /= (double)held;
        most = sums[i] > most ? sums[i] : most;
    }
    for (size_t i = 0; i < columns; i++) {
        int step = (int)(share_of(sums[i], most) * 7.999);
        buffer_add_text(out, (style.unicode ? ticks : plain)[step]);
    }
    free(sums);
    return (int)columns;
}

void chart_progress(buffer_t *out, style_t style, double share, int width)
{
    share = share_of(share, 1);
    /* Full means finished: 99.99 % must not look done. */
    int filled = share >= 1 ? width * 8 : (int)(share * width * 8);
    if (share < 1 && filled > width * 8 - 8 && !style.unicode) {
        filled = width * 8 - 8;
    }
    buffer_printf(out, "%s%s", style.unicode ? "" : "[", text_tone(style, TONE_GREEN));
    for (int i = 0; i < width; i++) {
        int eighths = eighths_at(filled, i);
        if (eighths == 0) {
            buffer_printf(out, "%s%s", text_tone(style, TONE_DIM), style.unicode ? "░" : ".");
        } else {
            add_cell(out, style, eighths);
        }
    }
    buffer_printf(out, "%s%s", text_tone(style, TONE_PLAIN), style.unicode ? "" : "]");
}

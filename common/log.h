/* log: one logfmt line an event on stderr.
 *
 * Lives here: the line's form (ts, level, proc, event, then the caller's key=value pairs) and its
 * escaping. Not here: what is worth a line.  error = wake someone, warn = degraded, info = state
 * change, debug = off by default. Never log payloads, row values or secrets. */
#ifndef STINT_COMMON_LOG_H
#define STINT_COMMON_LOG_H

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level_t;

/* Name of this process in every line ("api", "worker w1"); copied. Lines below `level` are dropped.
 */
void log_open(const char *process, log_level_t level);

/* `pairs` is printf-formatted "key=%s key2=%d". Control bytes in the result are written as \xNN. */
void log_line(log_level_t level, const char *event, const char *pairs, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* A limit for an event that strangers can cause: ten lines in ten seconds, then how many were left
 * out. True: write it. Zero-initialised; one for each event. */
typedef struct {
    long long since_ms;
    int written_n;
    unsigned long long left_out_n;
} log_quota_t;
int log_quota(log_quota_t *self, const char *event, long long now_ms);

/* For mistakes of our own only (never for bytes from outside): logs file:line and aborts. */
void log_assert_failed(const char *expression, const char *file, int line)
    __attribute__((noreturn));
#define INVARIANT(expression)                                                                      \
    ((expression) ? (void)0 : log_assert_failed(#expression, __FILE__, __LINE__))

#endif

/* fake_api: an HTTP server of a test that answers what it was told and remembers what it was asked.
 *
 * One thread of libmicrohttpd; ask for its memory only after the request has been answered. */
#ifndef STINT_TESTS_SUPPORT_FAKE_API_H
#define STINT_TESTS_SUPPORT_FAKE_API_H

#include <stdint.h>

#include "common/buffer.h"

enum { FAKE_ANSWERS_MAX = 16 };

typedef struct {
    const char *path; /* without the query */
    int status;       /* 0 ends the list */
    const char *body;
} fake_answer_t;

typedef struct {
    void *daemon;
    int port;
    char url[64];
    fake_answer_t
        answers[FAKE_ANSWERS_MAX]; /* the first of a path is used up, the last one stays */
    int requests_n;
    char method[8], path[256], type[64], encoding[32];
    buffer_t query; /* decoded, "name=value&...", NUL-terminated */
    buffer_t body;  /* of the last request that had one */
} fake_api_t;

void fake_api_start(fake_api_t *self);
void fake_api_answer(fake_api_t *self, const char *path, int status, const char *body);
void fake_api_stop(fake_api_t *self);

#endif

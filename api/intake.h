/* intake: a body of any size becomes chunks of items, in constant memory.
 *
 * Lives here: gunzip and unzstd, cutting into items, limits, chunks compressed with zstd. Not here:
 * HTTP, rows. Pure but for memory; called by api/http/submit.
 *
 * kind CSV: the first line is the header, items begin at line 2. NDJSON: a line is an item; with
 * `strict` each is one strict JSON document and blank lines are skipped. JSON: an array; with
 * `strict` any element is an item, without it elements are objects (their compact text) or strings
 * (their text, a line). A chunk closes at chunk_items items, or at 7 MiB with at least 100. It is
 * one zstd frame of its items, each followed by '\n'. */
#ifndef STINT_API_INTAKE_H
#define STINT_API_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/inflate.h"
#include "common/buffer.h"
#include "common/err.h"

typedef enum { INTAKE_CSV, INTAKE_NDJSON, INTAKE_JSON } intake_kind_t;

typedef struct {
    intake_kind_t kind;
    encoding_t encoding;
    bool strict;
    uint64_t max_bytes, max_expanded, max_items;
    uint32_t chunk_items;
    const char *pointer; /* of the array, "" or "/items"; a literal */
    uint64_t line;       /* of the first byte; 0 = 1 */
} intake_options_t;

typedef struct {
    void *context;
    /* CSV only, once, before any chunk. first_line: line number of the first item. */
    err_t (*header)(void *context, const char *line, size_t n, uint64_t first_line);
    /* Takes the data. */
    err_t (*chunk)(void *context, uint32_t items_n, uint64_t raw_bytes, blob_t *data);
} intake_sink_t;

/* Where an error is: a line (0 = cannot be told) or, for JSON, also a pointer ("" = none). */
typedef struct {
    uint64_t line;
    char pointer[48];
} intake_place_t;

typedef struct intake intake_t;

intake_t *intake_new(const intake_options_t *options, intake_sink_t sink);
void intake_destroy(intake_t **self);
/* Take bytes; stops after about `room` expanded ones. *used: bytes taken. After an error the intake
 * is of no use; errors of the sink come back as they are. */
CHECKED err_t intake_push(intake_t *self, const void *data, size_t n, size_t room, size_t *used);
CHECKED err_t intake_finish(intake_t *self);
/* After an error of push or finish. */
intake_place_t intake_place(const intake_t *self);
uint64_t intake_items(const intake_t *self);
uint64_t intake_expanded(const intake_t *self);

#endif

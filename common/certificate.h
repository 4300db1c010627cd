/* certificate: one key file.
 *
 * Lives here: reading and writing it in CZMQ's format (ZPL), whole or not at all, and what its mode
 * and owner must be. Not here: which files there are and whom they admit (keys). */
#ifndef STINT_COMMON_CERTIFICATE_H
#define STINT_COMMON_CERTIFICATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/err.h"
#include "common/link.h"

enum { CERTIFICATE_NAME_MAX = 64, CERTIFICATE_ROLE_MAX = 16 };

/* Texts that are not in the file are "". */
typedef struct {
    char name[CERTIFICATE_NAME_MAX + 1], role[CERTIFICATE_ROLE_MAX + 1];
    char broker[LINK_KEY_N + 1];                                 /* the brokers' public key */
    char public_key[LINK_KEY_N + 1], secret_key[LINK_KEY_N + 1]; /* a secret file has both */
    int64_t changed_at;                                          /* wall clock, ms */
} certificate_t;

/* A new pair. ERR_CONFIG: this libzmq has no CURVE. */
CHECKED err_t certificate_make(certificate_t *out, const char *role, const char *name);
/* ERR_CONFIG is a sentence about the file: not there, others can read a secret or write to either,
 * another owner than this user or root, no certificate. ERR_IO: not to be read just now (out of
 * descriptors or memory, a disk error). */
CHECKED err_t certificate_read(certificate_t *out, const char *path, bool secret);
/* Mode 0600 or 0644, on the disk when it returns; without `secret` that half is left out. */
CHECKED err_t certificate_write(const certificate_t *cert, const char *path, bool secret);
/* Overwrites it. */
void certificate_clear(certificate_t *self);

/* May only this user or root write to it? For files and directories; ERR_CONFIG if not. */
CHECKED err_t certificate_check_owner(const struct stat *state, const char *path, bool secret);

#endif

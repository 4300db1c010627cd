/* keys: the CURVE keys of a fleet, as files.
 *
 * Lives here: making, reading and removing them, and the table of who is admitted. Not here:
 * sockets (link), the handshake (broker/gate). Called by the glue of all processes and by
 * `stint keys`.
 *
 *   DIR/broker.key           the pair of all brokers of the fleet              secret, mode 0600
 *   DIR/NAME.key             what a peer is given: its pair, the brokers' public key  secret, 0600
 *   DIR/authorized/NAME.pub  who is admitted: name, role, public key
 *
 * The files are CZMQ certificates (ZPL), which other ZeroMQ programs read too. Keys are Z85 texts
 * of 40 characters (ZeroMQ RFC 32). */
#ifndef STINT_COMMON_KEYS_H
#define STINT_COMMON_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/certificate.h"
#include "common/err.h"
#include "common/link.h"

enum { KEYS_NAME_MAX = CERTIFICATE_NAME_MAX };

/* Roles are WIRE_ROLE_..., and 0 for the brokers. */
const char *keys_role_name(uint64_t role);
/* False if there is no such role. */
bool keys_role_parse(const char *text, uint64_t *role);

/* -- files -- */

/* A new fleet: the directory (mode 0700), the brokers' pair, an api's and a scheduler's key; what
 * one of them lacks is made. ERR_CONFLICT if nothing was missing. */
CHECKED err_t keys_init(const char *directory);
/* A new pair for a peer: NAME.key and its line in authorized/. ERR_CONFLICT: the name is taken;
 * ERR_USAGE: a bad name; ERR_NOT_FOUND: the directory has no keys. */
CHECKED err_t keys_add(const char *directory, uint64_t role, const char *name);
/* The same; one that is there is kept. */
CHECKED err_t keys_ensure(const char *directory, uint64_t role, const char *name);
/* Takes the permission back (and deletes NAME.key if it is still there): brokers that watch the
 * directory cut the peer off. ERR_NOT_FOUND if nobody of that name is admitted. */
CHECKED err_t keys_remove(const char *directory, const char *name);

/* The secret file of one who will speak as `role` under `name`. ERR_CONFIG says what is wrong:
 * missing, readable by others, no key, for another role or name, its halves do not belong together.
 */
CHECKED err_t keys_load_peer(link_curve_t *out, const char *path, uint64_t role, const char *name);
/* The brokers' pair of a directory; server_key stays empty. ERR_CONFIG likewise. */
CHECKED err_t keys_load_broker(link_curve_t *out, const char *directory);

/* -- who is admitted -- */

typedef struct {
    char public_key[LINK_KEY_N + 1];
    char name[KEYS_NAME_MAX + 1];
    uint64_t role;
    int64_t added_at; /* wall clock, ms */
} keys_entry_t;

/* In order of the public key, which is unique. */
typedef struct {
    keys_entry_t *items;
    int n;
} keys_table_t;

/* Reads DIR/authorized. A file that is not in order admits nobody: it is left out and `complain`
 * (may be NULL) is told why. ERR_CONFIG if a directory is not there or others may write to it;
 * ERR_IO if it cannot be read just now. *out is empty then. */
CHECKED err_t keys_table_load(keys_table_t *out, const char *directory,
                              void (*complain)(const char *sentence));
void keys_table_free(keys_table_t *self);
/* NULL for a stranger. */
const keys_entry_t *keys_table_find(const keys_table_t *self, const char *public_key);
/* May the holder of this key speak as this role under this name? A worker's key speaks for workers
 * called NAME or NAME-anything, as many as its machine runs, unless a key of a longer name does. */
bool keys_table_admits(const keys_table_t *self, const char *public_key, uint64_t role,
                       const char *name);

/* "DIR/authorized", where a watcher looks; to be freed. */
char *keys_authorized(const char *directory);

#endif

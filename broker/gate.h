/* gate: who may connect to this broker, and as what.
 *
 * Lives here: the answers to libzmq's questions during a handshake (ZAP, ZeroMQ RFC 27), given in
 * the broker's own loop from one table; the watch on the directory of keys; the self-test. Not
 * here: files and the table (common/keys), sockets (link), messages (core). */
#ifndef STINT_BROKER_GATE_H
#define STINT_BROKER_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/link.h"
#include "common/loop.h"

/* What the two sockets ask about: workers at the backend, everybody else at the frontend. */
#define GATE_FRONTEND "frontend"
#define GATE_BACKEND  "backend"

typedef struct gate gate_t;
/* The table has changed: some who are connected may not be admitted any more. */
typedef void (*gate_changed_t)(void *context);

/* Before the sockets are bound. ERR_CONFIG names what is wrong with the keys. `changed` is called
 * from the loop. */
CHECKED err_t gate_open(gate_t **out, loop_t *loop, const char *directory, gate_changed_t changed,
                        void *context);
/* NULL-safe. Whoever connects afterwards is refused. */
void gate_close(gate_t **self);
/* The pair of this broker. */
const link_curve_t *gate_curve(const gate_t *self);
/* Is this key admitted at all? */
bool gate_knows(const gate_t *self, const char *public_key);
bool gate_admits(const gate_t *self, const char *public_key, uint64_t role, const char *name);
/* Who has the key, for the log; "?" for a stranger. */
const char *gate_name(const gate_t *self, const char *public_key);
/* Reads the table anew (SIGHUP). One that is not there, or that others could have written to,
 * admits nobody; one that cannot be read just now (no descriptors) leaves the old one in force and
 * is tried again. */
void gate_reload(gate_t *self);

/* A stranger's key and a peer without any connect to a socket of this broker's, bound to loopback
 * where nobody else can find it: both must be refused, and a key that is admitted there for the
 * moment must not be. ERR_INTERNAL if not: then the socket must not be used. */
CHECKED err_t gate_test(gate_t *self, const char *endpoint);

#endif

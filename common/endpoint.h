/* endpoint: ZeroMQ addresses as people write them.
 *
 * Lives here: whether a text is one, and whether it stays on this machine. Pure. */
#ifndef STINT_COMMON_ENDPOINT_H
#define STINT_COMMON_ENDPOINT_H

#include <stdbool.h>

/* "tcp://HOST:PORT", "ipc://PATH", "inproc://NAME". */
bool endpoint_is_one(const char *text);
/* On loopback (127.0.0.0/8, ::1, localhost) or ipc/inproc. */
bool endpoint_is_loopback(const char *endpoint);

#endif

/* The inside of a link, shared by its two rooms: link.c (sockets: the safe profile, keys,
 * connections) and link_frames.c (what is sent and received). */
#ifndef STINT_COMMON_LINK_INSIDE_H
#define STINT_COMMON_LINK_INSIDE_H

#include "common/link.h"

enum { ENDPOINT_MAX = 512 };

struct link {
    void *socket;
    void *monitor; /* where libzmq tells of handshakes or connections, or NULL */
    bool router, curve, listens;
    link_arrivals_t arrivals;
    uint64_t garbage_n;
    char endpoint[ENDPOINT_MAX];
};

#endif

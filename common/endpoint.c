#include "common/endpoint.h"

#include <string.h>

bool endpoint_is_one(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (strncmp(text, "ipc://", 6) == 0 || strncmp(text, "inproc://", 9) == 0) {
        return true;
    }
    /* ZeroMQ's "tcp://FROM;TO" names two addresses: what is said about one is not about the other.
     */
    return strncmp(text, "tcp://", 6) == 0 && colon > text + 6 && colon[1] != 0 &&
           !strchr(text, ';');
}

bool endpoint_is_loopback(const char *endpoint)
{
    if (strncmp(endpoint, "ipc://", 6) == 0 || strncmp(endpoint, "inproc://", 9) == 0) {
        return true;
    }
    if (strncmp(endpoint, "tcp://", 6) != 0) {
        return false;
    }
    const char *host = endpoint + 6;
    if (strncmp(host, "[::1]:", 6) == 0 || strncmp(host, "localhost:", 10) == 0) {
        return true;
    }
    /* Four numbers: "127.evil.example" is a name, not an address. */
    int dots = 0;
    for (const char *at = host; *at && *at != ':'; at++) {
        if (*at == '.') {
            dots++;
        } else if (*at < '0' || *at > '9') {
            return false;
        }
    }
    return dots == 3 && strncmp(host, "127.", 4) == 0;
}

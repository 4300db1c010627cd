#include "api/http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    char host[256], port[8];
    bool any; /* no host: every address */
} address_t;

static err_t parse_listen(const char *text, address_t *out)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    const char *host = text;
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host++;
        n -= 2;
    } else if (colon && memchr(host, ':', n)) {
        colon = NULL; /* an IPv6 address without brackets */
    }
    if (!colon || n >= sizeof out->host || strlen(colon + 1) >= sizeof out->port || !colon[1] ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535) {
        return err_set(ERR_CONFIG, "listen = %s: must be ADDRESS:PORT, like 127.0.0.1:8000", text);
    }
    memcpy(out->host, host, n);
    out->host[n] = 0;
    strcpy(out->port, colon + 1);
    out->any = n == 0;
    return ERR_OK;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

static err_t bind_to(const struct addrinfo *to, const char *text, int *out)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set(ERR_CONFIG, "listen = %s: %s", text, strerror(errno));
    }
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (to->ai_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(fd, to->ai_addr, to->ai_addrlen) < 0 || listen(fd, 1024) < 0) {
        int why = errno;
        close(fd);
        return why == EADDRINUSE
                   ? err_set(ERR_BUSY, "listen = %s: another program has this port", text)
                   : err_set(ERR_CONFIG, "listen = %s: %s", text, strerror(why));
    }
    *out = fd;
    return ERR_OK;
}

err_t listen_open(const char *text, bool insecure, int *out)
{
    address_t address;
    int listener = -1;
    err_t err = parse_listen(text, &address);
    if (err) {
        return err;
    }
    struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(address.any ? NULL : address.host, address.port, &want, &found);
    if (status) {
        return err_set(ERR_CONFIG, "listen = %s: %s", text, gai_strerror(status));
    }
    err = ERR_OK;
    for (struct addrinfo *at = found; at && !err; at = at->ai_next) {
        if (!insecure && !is_loopback(at->ai_addr)) {
            err = err_set(ERR_CONFIG,
                          "listen = %s: beyond loopback, and requests are not authenticated; add "
                          "--insecure if the network is private",
                          text);
        }
    }
    /* Of the families the first that works; with no host that is IPv6, which takes IPv4 too. */
    for (int pass = 0; pass < 2 && !err && listener < 0; pass++) {
        for (struct addrinfo *at = found; at && listener < 0; at = at->ai_next) {
            if (!address.any || (at->ai_family == AF_INET6) == (pass == 0)) {
                err = bind_to(at, text, &listener);
            }
        }
        err = pass == 0 && address.any && err != ERR_BUSY ? ERR_OK : err;
    }
    freeaddrinfo(found);
    if (!err && listener < 0) {
        err = err_set(ERR_CONFIG, "listen = %s: no such address here", text);
    }
    if (!err) {
        *out = listener;
    }
    return err;
}

void listen_url(int listener, char *out, size_t n)
{
    struct sockaddr_storage name = {0};
    socklen_t name_n = sizeof name;
    char host[128] = "127.0.0.1", port[16] = "0";
    getsockname(listener, (struct sockaddr *)&name, &name_n);
    getnameinfo((struct sockaddr *)&name, name_n, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    bool six = strchr(host, ':') != NULL;
    if (strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0) {
        strcpy(host, "127.0.0.1"); /* an address that can be called */
        six = false;
    }
    snprintf(out, n, six ? "http://[%s]:%s" : "http://%s:%s", host, port);
}

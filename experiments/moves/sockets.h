/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the experiment's hosts. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <netinet/tcp.h>

#include "../native/frames.h"

static inline struct sockaddr_in place(const char *address, uint16_t port)
{
    struct sockaddr_in found = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &found.sin_addr) != 1) {
        fprintf(stderr, "%s is no IPv4 address\n", address);
        exit(2);
    }
    return found;
}

/* A socket that never waits, with room for what comes while its program does not run. */
static inline int open_udp(const char *address, uint16_t port)
{
    struct sockaddr_in own = place(address, port);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), bytes = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own))
        fail(address);
    return fd;
}

/* A socket that takes connections and never waits. */
static inline int open_tcp(const char *address, uint16_t port)
{
    struct sockaddr_in own = place(address, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) || listen(fd, 512))
        fail(address);
    return fd;
}

/* Has a connection send at once. */
static inline void send_at_once(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

#endif

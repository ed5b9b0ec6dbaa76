/* SPDX-License-Identifier: Apache-2.0 */
/* Ports and the interfaces behind them, which may vanish and come back at any time. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"

static void report(struct ss_engine *e, const struct ss_port *port)
{
    ss_events_put(&e->events, SS_EVENT_PORT, port->number, port->up, port->interface, sizeof port->interface, NULL, 0);
}

static void set_up(struct ss_engine *e, struct ss_port *port, bool up)
{
    if (port->up == up)
        return;
    port->up = up;
    report(e, port);
}

/* Index, MTU and state of an interface; 0 or -1 with errno. */
static int look_up(const char *interface, int *ifindex, uint32_t *mtu, bool *up)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result = -1;
    if (fd < 0)
        return -1;
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
    if (ioctl(fd, SIOCGIFINDEX, &request) == 0) {
        *ifindex = request.ifr_ifindex;
        if (ioctl(fd, SIOCGIFMTU, &request) == 0) {
            *mtu = (uint32_t)request.ifr_mtu;
            if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
                *up = (request.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
                result = 0;
            }
        }
    }
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static int open_interface(const struct ss_engine *e, struct ss_port *port, bool *up)
{
    if (look_up(port->interface, &port->ifindex, &port->mtu, up))
        return -1;
    port->io = e->io->open(port->interface, port->ifindex, port->mtu);
    if (port->io && port->record) {
        port->io = ss_record(port->io, port->record, port->interface, port->recorded);
        port->recorded = true;
    }
    return port->io ? 0 : -1;
}

/* An interface may have several names, but one index. */
static bool is_port_already(const struct ss_engine *e, const char *interface)
{
    int ifindex;
    uint32_t mtu;
    bool up;
    if (look_up(interface, &ifindex, &mtu, &up))
        return false;
    for (uint32_t i = 0; i < e->n_attached; i++)
        if (e->attached[i]->io && e->attached[i]->ifindex == ifindex)
            return true;
    return false;
}

/* Returns 0 or an errno: EEXIST if the number is taken, EADDRINUSE if the interface is. */
int ss_port_attach(struct ss_engine *e, uint32_t number, const char *interface)
{
    if (number >= SS_MAX_PORTS || number == e->cpu_port || number == e->host.drop_port || e->ports[number])
        return EEXIST;
    if (e->n_attached == sizeof e->attached / sizeof *e->attached)
        return ENOSPC;
    if (is_port_already(e, interface))
        return EADDRINUSE;
    struct ss_port *port = calloc(1, sizeof *port);
    if (!port)
        return ENOMEM;
    port->number = number;
    port->record = e->record;
    snprintf(port->interface, sizeof port->interface, "%s", interface);
    bool up = false;
    if (open_interface(e, port, &up)) {
        int error = errno;
        free(port);
        return error;
    }
    e->ports[number] = port;
    e->attached[e->n_attached++] = port;
    set_up(e, port, up);
    return 0;
}

int ss_port_detach(struct ss_engine *e, uint32_t number)
{
    struct ss_port *port = number < SS_MAX_PORTS ? e->ports[number] : NULL;
    if (!port)
        return ENODEV;
    for (uint32_t i = 0; i < e->n_attached; i++)
        if (e->attached[i] == port)
            e->attached[i] = e->attached[--e->n_attached];
    e->ports[number] = NULL;
    if (port->held_back)
        ss_port_holds_back(e, number, 0);
    set_up(e, port, false);
    if (port->io)
        port->io->io->close(port->io);
    free(port);
    return 0;
}

static void vanish(struct ss_engine *e, struct ss_port *port)
{
    if (port->io)
        port->io->io->close(port->io);
    port->io = NULL;
    port->unsent += port->held_back;
    if (port->held_back)
        ss_port_holds_back(e, port->number, port->held_back = 0);
    set_up(e, port, false);
}

/* poll() saw an error on the port's socket: the interface went down, or away. */
void ss_port_failed(struct ss_engine *e, struct ss_port *port)
{
    int error = 0, ifindex;
    uint32_t mtu;
    bool up = false;
    socklen_t length = sizeof error;
    getsockopt(port->io->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (look_up(port->interface, &ifindex, &mtu, &up) || ifindex != port->ifindex)
        vanish(e, port);
    else
        set_up(e, port, up);
}

int ss_links_open(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The MTU has grown beyond the frames that the rings were made for. What comes in at this moment is lost. */
static void open_again(struct ss_engine *e, struct ss_port *port, bool *up)
{
    port->io->io->close(port->io);
    port->io = NULL;
    if (open_interface(e, port, up) == 0)
        return;
    const char *reason = errno == EMSGSIZE ? "--io af_xdp takes one of at most 4078 bytes" : strerror(errno);
    ss_log(&e->host, SS_ERROR, "port %u (%s) is closed until its MTU changes again: %u bytes: %s",
           port->number, port->interface, port->mtu, reason);
    *up = false;
}

static void link_changed(struct ss_engine *e, struct ss_port *port)
{
    int ifindex;
    uint32_t mtu;
    bool up = false;
    if (look_up(port->interface, &ifindex, &mtu, &up)) {
        vanish(e, port);
        return;
    }
    if (port->io && ifindex != port->ifindex)
        vanish(e, port);
    if (port->io && mtu > port->mtu)
        open_again(e, port, &up);
    else if (!port->io && open_interface(e, port, &up))
        return;
    set_up(e, port, up);
}

/* Whatever the messages say, the interfaces themselves are asked: a lost message then does no harm. */
void ss_links_read(struct ss_engine *e)
{
    char buffer[16384];
    bool any = false;
    for (;;) {
        ssize_t n = recv(e->link_fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n <= 0 && !(n < 0 && errno == ENOBUFS))
            break;
        any = true;
    }
    for (uint32_t i = 0; any && i < e->n_attached; i++)
        link_changed(e, e->attached[i]);
}

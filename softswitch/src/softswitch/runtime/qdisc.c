/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an interface holds back what is sent through it: tc has given it a rate or a delay. */
#define _GNU_SOURCE
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet_io.h"

static bool holds_back(const char *kind)
{
    static const char *const kinds[] = {"tbf", "htb", "hfsc", "netem", "cake"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

/* Of one message; the root discipline of another interface, or one below it, is none of ours. */
static bool found(const struct nlmsghdr *message, int ifindex)
{
    struct tcmsg *qdisc = NLMSG_DATA(message);
    int left = (int)message->nlmsg_len - (int)NLMSG_LENGTH(sizeof *qdisc);
    if (message->nlmsg_type != RTM_NEWQDISC || qdisc->tcm_ifindex != ifindex || qdisc->tcm_parent != TC_H_ROOT)
        return false;
    for (struct rtattr *a = TCA_RTA(qdisc); RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == TCA_KIND && holds_back(RTA_DATA(a)))
            return true;
    return false;
}

bool ss_holds_back(int ifindex)
{
    struct {
        struct nlmsghdr header;
        struct tcmsg qdisc;
    } request = {
        {.nlmsg_len = sizeof request, .nlmsg_type = RTM_GETQDISC, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        {.tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex},
    };
    _Alignas(struct nlmsghdr) char buffer[32768];
    bool held = false, more = true;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return false;
    if (send(fd, &request, sizeof request, 0) < 0)
        more = false;
    while (more) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0)
            break;
        for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)buffer; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
            if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR)
                more = false;
            else
                held |= found(m, ifindex);
        }
    }
    close(fd);
    return held;
}

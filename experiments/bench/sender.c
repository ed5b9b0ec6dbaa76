/* SPDX-License-Identifier: Apache-2.0 */
/* Sends requests to services, one after the other in turn, as fast as it can or as it is told.
 *
 *   sender INTERFACE FIRST COUNT NODES_NAMESPACE NODES_INTERFACE SECONDS RATE
 *
 * RATE: frames a second, 0: no limit. Services FIRST to FIRST + COUNT - 1. Prints how many frames a second come out at the
 * nodes. */
#define _GNU_SOURCE
#include "arrivals.h"

#ifndef PACKET_QDISC_BYPASS
#define PACKET_QDISC_BYPASS 20
#endif

enum { BATCH = 32, SERVICES_MAX = 256 };

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    int one = 1, fd = open_raw(argv[1], 8 << 20);
    unsigned first = (unsigned)atoi(argv[2]), count = (unsigned)atoi(argv[3]);
    double rate = atof(argv[7]);
    static uint8_t frames[SERVICES_MAX][FRAME];
    static struct mmsghdr messages[SERVICES_MAX + BATCH];
    static struct iovec parts[SERVICES_MAX + BATCH];
    if (count == 0 || count > SERVICES_MAX)
        return 2;
    for (unsigned s = 0; s < count; s++) {
        uint8_t *at = put_headers(
            frames[s], client_mac(), CLIENT, CLIENT_PORT, SERVICES + first + s, SERVICE_PORT, INVOCATION);
        put_invocation(at, REQUEST, SERVICE_IDS + first + s, s, 0);
    }
    for (unsigned i = 0; i < SERVICES_MAX + BATCH; i++) {
        parts[i] = (struct iovec){frames[i % count], HEADERS + INVOCATION};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    exact_timers();

    count_arrivals(argv[4], argv[5], atof(argv[6]));
    uint64_t sent = 0;
    for (int64_t start = now_ns();;) {
        if (rate > 0 && (double)sent >= (double)(now_ns() - start) / 1e9 * rate) {
            wait_until(NULL, 0, start + (int64_t)((double)(sent + BATCH) / rate * 1e9));
            continue;
        }
        int n = sendmmsg(fd, messages + sent % count, BATCH, 0);
        if (n > 0)
            sent += (uint64_t)n;
    }
}

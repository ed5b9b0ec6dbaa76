/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes of a cell: each serves one request after the other, first come first served, for as long as the trace says.
 * Nothing is computed: a service ends by a timer, so a node costs no CPU and is as fast as it is said to be. Each node
 * reports what greengrass_agent's emitter would: the same smoothed service time, the same estimate of its backlog.
 *
 *   servers SERVICE REPORT_NS SMOOTHING TRACE SLOWDOWN...
 *
 * SLOWDOWN: of each node, in hundredths; node m is behind interface n<m>. SMOOTHING: over how many service times the
 * average goes. Runs until SIGTERM. */
#define _GNU_SOURCE
#include <signal.h>

#include "trace.h"

enum { MEMBERS = 64, BATCH = 64 };

struct node {
    int fd;
    double slowdown;
    uint64_t *waiting;            /* request numbers, the one in service first: a ring */
    uint64_t head, tail, mask;
    int64_t began, ends;          /* of the one in service */
    int64_t report_at;
    double service_ns;            /* smoothed; 0: none served yet */
    uint32_t sequence, received, served;
};

static volatile sig_atomic_t stopping;

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static unsigned service;
static double weight;
static const struct drawn *trace;
static uint64_t requests;

static void begin(struct node *n, int64_t when)
{
    n->began = when;
    n->ends = when + (int64_t)((double)trace[n->waiting[n->head & n->mask]].service_ns * n->slowdown);
}

static void answer(struct node *n, unsigned member, uint64_t number)
{
    uint8_t frame[FRAME];
    uint8_t *at = put_headers(
        frame, node_mac(member), SERVICES + service, SERVICE_PORT, CLIENT, CLIENT_PORT, INVOCATION + 1);
    at = put_invocation(at, RESPONSE, SERVICE_IDS + service, number, 1);
    *at++ = (uint8_t)member;
    if (send(n->fd, frame, (size_t)(at - frame), 0) < 0)
        fail("send");
}

/* Services that have ended by `now`. The next one began when the last one ended, however late the timer was. */
static void serve(struct node *n, unsigned member, int64_t now)
{
    while (n->head != n->tail && n->ends <= now) {
        double took = (double)(n->ends - n->began);
        double share = 1.0 / ++n->served;
        n->service_ns += (took - n->service_ns) * (share > weight ? share : weight);
        answer(n, member, n->waiting[n->head++ & n->mask]);
        if (n->head != n->tail)
            begin(n, n->ends);
    }
}

static void take(struct node *n, const uint8_t *frame, ssize_t length)
{
    const uint8_t *invocation = frame + HEADERS;
    if (length < HEADERS + INVOCATION || !is_invocation(invocation, REQUEST))
        return;
    uint64_t number = get(invocation + BYTE_OF(invocation, request_id), 8);
    if (number >= requests || get(invocation + BYTE_OF(invocation, service_id), 2) != SERVICE_IDS + service)
        return;
    n->received++;
    n->waiting[n->tail++ & n->mask] = number;
    if (n->tail - n->head == 1)
        begin(n, now_ns());
}

static void tell(struct node *n, unsigned member, int64_t now)
{
    uint8_t frame[FRAME];
    uint64_t inside = n->tail - n->head;
    double mean = n->service_ns == 0 ? 10e6 : n->service_ns, left = mean - (double)(now - n->began);
    struct report r = {
        .sequence = ++n->sequence,
        .service_interval = (uint32_t)(mean / 1000),
        .received = n->received,
        .in_flight = inside > 0,
        .queue_depth = (uint16_t)(inside > 1 ? (inside > 65536 ? 65535 : inside - 1) : 0),
    };
    if (inside > 0)
        r.backlog = (uint32_t)(((left > 0 ? left : 0) + (double)(inside - 1) * mean) / 1000);
    if (send(n->fd, frame, report_frame(frame, SERVICE_IDS + service, member, &r), 0) < 0)
        fail("send");
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 5 + MEMBERS)
        return 2;
    service = (unsigned)atoi(argv[1]);
    int64_t interval = atoll(argv[2]), latest = 0;
    weight = 1 / atof(argv[3]);
    trace = open_trace(argv[4], &requests);
    unsigned members = (unsigned)argc - 5;
    static struct node nodes[MEMBERS];
    struct pollfd wires[MEMBERS];
    uint64_t size = 1;
    while (size < requests)
        size *= 2;
    int64_t now = now_ns();
    for (unsigned m = 0; m < members; m++) {
        char interface[16];
        snprintf(interface, sizeof interface, "n%u", m);
        nodes[m] = (struct node){
            .fd = open_raw(interface, 4 << 20),
            .slowdown = atof(argv[5 + m]) / 100,
            .waiting = malloc(size * sizeof(uint64_t)),
            .mask = size - 1,
            .report_at = now + interval * m / members,
        };
        wires[m] = (struct pollfd){.fd = nodes[m].fd, .events = POLLIN};
    }
    signal(SIGTERM, stop);
    exact_timers();

    while (!stopping) {
        int64_t next = now + 1000000000;
        for (unsigned m = 0; m < members; m++) {
            struct node *n = &nodes[m];
            uint8_t buffer[2048];
            for (int i = 0; i < BATCH; i++) {
                ssize_t length = recv(n->fd, buffer, sizeof buffer, MSG_DONTWAIT);
                if (length < 0)
                    break;
                serve(n, m, now_ns());
                take(n, buffer, length);
            }
            now = now_ns();
            serve(n, m, now);
            if (n->report_at <= now) {
                if (now - n->report_at > latest)
                    latest = now - n->report_at;
                tell(n, m, now);
                n->report_at += interval;
                if (n->report_at <= now) /* a stall: what was missed is not made up for */
                    n->report_at = now + interval;
            }
            if (n->report_at < next)
                next = n->report_at;
            if (n->head != n->tail && n->ends < next)
                next = n->ends;
        }
        wait_until(wires, members, next);
    }
    printf("latest report %.3f ms\n", (double)latest / 1e6);
    return 0;
}

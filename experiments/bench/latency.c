/* SPDX-License-Identifier: Apache-2.0 */
/* One-way latency through a switch: sends a request at a time, at a steady rate, and watches the nodes' interface.
 *
 *   latency INTERFACE FIRST COUNT NODES_NAMESPACE NODES_INTERFACE SECONDS RATE
 *
 * Services FIRST to FIRST + COUNT - 1 in turn, RATE frames a second. A frame carries when it was handed to the kernel (as its request
 * id); when it arrived is the kernel's own stamp on the far interface, so it does not matter when this program sees it.
 * Prints frames sent, arrived, and the 50th and 99th percentile in nanoseconds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

#include "../native/frames.h"

#ifndef PACKET_QDISC_BYPASS
#define PACKET_QDISC_BYPASS 20
#endif

enum { RING_FRAMES = 1 << 15, RING_FRAME = 256, BLOCK = 1 << 16, REQUEST_ID_AT = HEADERS + BYTE_OF(invocation, request_id), WAIT_NS = 1000000000 };

/* Both stamps are of this clock, since the kernel's are. */
static uint64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint8_t *open_ring(const char *interface)
{
    int fd = open_raw(interface, 1 << 20), version = TPACKET_V2;
    struct tpacket_req ring = {
        .tp_block_size = BLOCK,
        .tp_block_nr = RING_FRAMES / (BLOCK / RING_FRAME),
        .tp_frame_size = RING_FRAME,
        .tp_frame_nr = RING_FRAMES,
    };
    if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version)
        || setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring))
        fail("receive ring");
    void *memory = mmap(NULL, RING_FRAMES * RING_FRAME, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        fail("receive ring");
    return memory;
}

struct arrivals {
    uint8_t *ring;
    uint32_t next;
    uint32_t *latencies; /* ns */
    size_t count, room;
};

static void take(struct arrivals *a)
{
    for (;;) {
        struct tpacket2_hdr *h = (void *)(a->ring + (size_t)a->next * RING_FRAME);
        if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            return;
        const uint8_t *frame = (uint8_t *)h + h->tp_mac;
        if (h->tp_snaplen >= HEADERS + INVOCATION && a->count < a->room) {
            uint64_t arrived = h->tp_sec * UINT64_C(1000000000) + h->tp_nsec;
            a->latencies[a->count++] = (uint32_t)(arrived - get(frame + REQUEST_ID_AT, 8));
        }
        __atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        a->next = (a->next + 1) % RING_FRAMES;
    }
}

static int ascending(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    int one = 1, out = open_raw(argv[1], 1 << 20), nodes = open(argv[4], O_RDONLY | O_CLOEXEC);
    setsockopt(out, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    if (nodes < 0 || setns(nodes, CLONE_NEWNET))
        fail(argv[4]);
    struct arrivals arrivals = {.ring = open_ring(argv[5])};
    double seconds = atof(argv[6]), rate = atof(argv[7]);
    unsigned first = (unsigned)atoi(argv[2]), count = (unsigned)atoi(argv[3]);
    int64_t period = (int64_t)(1e9 / rate);
    arrivals.room = (size_t)(seconds * rate) + 1;
    arrivals.latencies = calloc(arrivals.room, sizeof *arrivals.latencies);
    if (!arrivals.latencies)
        fail("memory");

    size_t sent = 0;
    int64_t now = now_ns(), due = now, end = now + (int64_t)(seconds * 1e9);
    while (now < end && sent < arrivals.room) {
        if (now < due) {
            take(&arrivals);
        } else {
            uint8_t frame[FRAME];
            unsigned service = first + (unsigned)(sent % count);
            uint8_t *at =
                put_headers(frame, client_mac(), CLIENT, CLIENT_PORT, SERVICES + service, SERVICE_PORT, INVOCATION);
            put_invocation(at, REQUEST, SERVICE_IDS + service, wall_ns(), 0);
            if (send(out, frame, HEADERS + INVOCATION, 0) > 0)
                sent++;
            /* A pause of this program's is no reason for a burst. */
            due = now - due > period ? now + period : due + period;
        }
        now = now_ns();
    }
    for (end = now + WAIT_NS; arrivals.count < sent && now_ns() < end;)
        take(&arrivals);
    qsort(arrivals.latencies, arrivals.count, sizeof *arrivals.latencies, ascending);
    printf("%zu %zu %u %u\n", sent, arrivals.count, arrivals.latencies[arrivals.count / 2],
           arrivals.latencies[(size_t)((double)arrivals.count * 0.99)]);
    return 0;
}

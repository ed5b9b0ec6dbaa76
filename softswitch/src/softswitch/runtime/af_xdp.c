/* SPDX-License-Identifier: Apache-2.0 */
/* AF_XDP for what leaves, AF_PACKET for what comes in: a frame goes straight to the driver, in a third of the time less. The
 * price: queueing disciplines and tcpdump on the interface do not see it. Receiving by AF_XDP would take the frames from the
 * host's own stack and need a BPF program on the interface, which is more than a switch may ask for.
 *
 * Frames lie in a memory that the kernel knows (UMEM); the transmit ring says which are to go, the completion ring which have
 * gone. The kernel copies each frame out (XDP_COPY), so that every driver will do. */
#define _GNU_SOURCE
#include "packet_io.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FRAMES = 1024, /* a power of two: also the size of every ring */
    SMALLEST_CHUNK = 2048,
    LARGEST_CHUNK = 4096,
    LINK_HEADERS = 14 + 4,
    SEND_BUFFER = 8 << 20,
};

struct ring {
    uint32_t *producer, *consumer;
    void *entries;
    void *memory;
    size_t bytes;
};

struct port {
    struct ss_port_io base;
    struct ss_port_io *packets; /* what receives */
    int fd;
    uint8_t *umem;
    uint32_t chunk;
    struct ring transmit, completion;
    uint64_t unused[FRAMES]; /* UMEM addresses of frames that neither wait nor are on their way */
    unsigned n_unused;
    uint32_t queued; /* in the transmit ring, not told to the kernel yet */
};

static int map_ring(struct port *p, struct ring *ring, const struct xdp_ring_offset *at, size_t entry, off_t which)
{
    ring->bytes = at->desc + FRAMES * entry;
    ring->memory = mmap(NULL, ring->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, p->fd, which);
    if (ring->memory == MAP_FAILED) {
        ring->memory = NULL;
        return -1;
    }
    ring->producer = (uint32_t *)(void *)((uint8_t *)ring->memory + at->producer);
    ring->consumer = (uint32_t *)(void *)((uint8_t *)ring->memory + at->consumer);
    ring->entries = (uint8_t *)ring->memory + at->desc;
    return 0;
}

static int configure(struct port *p, int ifindex, uint32_t mtu)
{
    p->chunk = mtu + LINK_HEADERS <= SMALLEST_CHUNK ? SMALLEST_CHUNK : LARGEST_CHUNK;
    if (mtu + LINK_HEADERS > LARGEST_CHUNK) {
        errno = EMSGSIZE;
        return -1;
    }
    size_t bytes = (size_t)FRAMES * p->chunk;
    p->umem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p->umem == MAP_FAILED) {
        p->umem = NULL;
        return -1;
    }
    struct xdp_umem_reg memory = {.addr = (uint64_t)(uintptr_t)p->umem, .len = bytes, .chunk_size = p->chunk};
    int frames = FRAMES, buffer = SEND_BUFFER;
    /* The fill ring is for receiving, but a socket without one cannot be bound. */
    if (setsockopt(p->fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof memory)
        || setsockopt(p->fd, SOL_XDP, XDP_UMEM_FILL_RING, &frames, sizeof frames)
        || setsockopt(p->fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &frames, sizeof frames)
        || setsockopt(p->fd, SOL_XDP, XDP_TX_RING, &frames, sizeof frames))
        return -1;
    if (setsockopt(p->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer))
        setsockopt(p->fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    struct xdp_mmap_offsets at;
    socklen_t length = sizeof at;
    if (getsockopt(p->fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length)
        || map_ring(p, &p->transmit, &at.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING)
        || map_ring(p, &p->completion, &at.cr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_COMPLETION_RING))
        return -1;
    for (; p->n_unused < FRAMES; p->n_unused++)
        p->unused[p->n_unused] = (uint64_t)p->n_unused * p->chunk;
    struct sockaddr_xdp address = {
        .sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY, .sxdp_ifindex = (uint32_t)ifindex, .sxdp_queue_id = 0};
    return bind(p->fd, (struct sockaddr *)&address, sizeof address);
}

static void port_close(struct ss_port_io *io)
{
    struct port *p = (struct port *)io;
    if (p->fd >= 0)
        close(p->fd);
    if (p->transmit.memory)
        munmap(p->transmit.memory, p->transmit.bytes);
    if (p->completion.memory)
        munmap(p->completion.memory, p->completion.bytes);
    if (p->umem)
        munmap(p->umem, (size_t)FRAMES * p->chunk);
    if (p->packets)
        p->packets->io->close(p->packets);
    free(p);
}

static struct ss_port_io *port_open(const char *interface, int ifindex, uint32_t mtu)
{
    struct port *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->base.io = &ss_af_xdp;
    p->packets = ss_af_packet.open(interface, ifindex, mtu);
    p->fd = p->packets ? socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0) : -1;
    if (p->fd < 0 || configure(p, ifindex, mtu)) {
        int error = errno;
        port_close(&p->base);
        errno = error;
        return NULL;
    }
    p->base.fd = p->packets->fd;
    p->base.out = -1;
    return &p->base;
}

static unsigned port_receive(struct ss_port_io *io, struct ss_received *packets, unsigned limit, uint64_t *cut)
{
    struct ss_port_io *from = ((struct port *)io)->packets;
    return from->io->receive(from, packets, limit, cut);
}

static void port_release(struct ss_port_io *io)
{
    struct ss_port_io *from = ((struct port *)io)->packets;
    from->io->release(from);
}

static void take_completed(struct port *p)
{
    const uint64_t *done = p->completion.entries;
    uint32_t at = *p->completion.consumer, end = __atomic_load_n(p->completion.producer, __ATOMIC_ACQUIRE);
    while (at != end)
        p->unused[p->n_unused++] = done[at++ % FRAMES];
    __atomic_store_n(p->completion.consumer, at, __ATOMIC_RELEASE);
}

static int port_send(
    struct ss_port_io *io, const uint8_t *head, size_t head_length, const uint8_t *tail, size_t tail_length)
{
    struct port *p = (struct port *)io;
    if (p->n_unused == 0)
        take_completed(p);
    if (p->n_unused == 0 || head_length + tail_length > p->chunk)
        return 0;
    uint64_t address = p->unused[--p->n_unused];
    memcpy(p->umem + address, head, head_length);
    if (tail_length)
        memcpy(p->umem + address + head_length, tail, tail_length);
    struct xdp_desc *waiting = p->transmit.entries;
    waiting[(*p->transmit.producer + p->queued++) % FRAMES] =
        (struct xdp_desc){.addr = address, .len = (uint32_t)(head_length + tail_length)};
    return 1;
}

static unsigned port_flush(struct ss_port_io *io)
{
    struct port *p = (struct port *)io;
    if (p->queued == 0)
        return 0;
    uint32_t end = *p->transmit.producer + p->queued, at = *p->transmit.consumer;
    unsigned lost = 0;
    p->queued = 0;
    __atomic_store_n(p->transmit.producer, end, __ATOMIC_RELEASE);
    while (at != end) {
        ssize_t sent = sendto(p->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
        uint32_t before = at;
        at = __atomic_load_n(p->transmit.consumer, __ATOMIC_ACQUIRE);
        if (sent < 0 && errno == EBUSY && at != before)
            lost++; /* the driver dropped the last one */
        else if (sent < 0 && errno != EINTR && at == before)
            break;
        /* else a call has taken its share of the frames and wants another one */
    }
    lost += end - at;
    /* What cannot go now (interface down, send buffer full) must not go later: only the kernel's calls read the ring. */
    const struct xdp_desc *waiting = p->transmit.entries;
    for (uint32_t i = at; i != end; i++)
        p->unused[p->n_unused++] = waiting[i % FRAMES].addr;
    __atomic_store_n(p->transmit.producer, at, __ATOMIC_RELEASE);
    take_completed(p);
    return lost;
}

const struct ss_io ss_af_xdp = {
    .open = port_open,
    .close = port_close,
    .receive = port_receive,
    .release = port_release,
    .send = port_send,
    .flush = port_flush,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* AF_PACKET: a TPACKET_V2 receive ring (V3 holds packets back for a block timer) and sendmmsg. The transmit side goes through
 * the interface's queueing discipline like any socket, and has a socket of its own, since one that is told of offloads has to
 * be told of them as well.
 *
 * A frame longer than those of the ring (a sender that leaves segmentation to its card makes 64 KB of them) comes in two ways: its
 * beginning in the ring, the whole by recvmsg (PACKET_COPY_THRESH). So the ring stays small and dense. */
#define _GNU_SOURCE
#include "offload.h"
#include "packet_io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef TP_STATUS_GSO_TCP
#define TP_STATUS_GSO_TCP (1 << 8)
#endif

enum {
    RING_BYTES = 8 << 20,
    BLOCK_BYTES = 1 << 17,
    VLAN_TAG = 4,
    AHEAD = 8, /* frames whose headers are on their way into the cache */
    SEND_BATCH = 128,
    SEND_BUFFER = 8 << 20,
    MOST_HELD_BACK = 2 * SS_HELD_BACK, /* with those that were on their way when the port had held back enough */
    SMALL = 256, /* up to this many bytes, copying a packet's parts together costs less than sending two */
    OFFLOADS = sizeof(struct virtio_net_hdr),
    RESERVE = 6, /* in front of a frame: room for a VLAN tag; with `OFFLOADS`, IP headers lie at multiples of 16 */
    LONGEST = (1 << 16) + 64, /* frame that is taken whole */
    LONG_BUFFER = 16 << 20, /* of such frames that wait */
    ROOM = 4 * LONGEST, /* for the packets of a burst that long frames are cut into */
};

struct frame {
    struct frame *next;
    size_t length;
    uint8_t data[];
};

struct port {
    struct ss_port_io base;
    struct frame *first, *last; /* held back */
    uint8_t *ring;
    uint32_t frame_bytes;
    uint32_t frames;
    uint32_t next; /* frame to look at */
    uint32_t held; /* frames before `next` that are handed out and not given back */
    uint8_t *whole; /* the long frame under way, then `ROOM` for what it is cut into; NULL before the first */
    struct ss_long_frame cutting; /* packets are left of it */
    struct tpacket2_hdr cutting_header;
    uint32_t room_used;
    unsigned queued;
    struct mmsghdr messages[SEND_BATCH];
    struct iovec parts[SEND_BATCH][2];
    uint8_t small[SEND_BATCH][SMALL];
};

static struct tpacket2_hdr *frame(const struct port *p, uint32_t index)
{
    return (struct tpacket2_hdr *)(void *)(p->ring + (size_t)index * p->frame_bytes);
}

static int set(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof value);
}

static int configure(struct port *p, int ifindex, uint32_t mtu)
{
    int fd = p->base.fd, buffer = SEND_BUFFER, long_buffer = LONG_BUFFER;
    p->frame_bytes = 2048;
    while (p->frame_bytes < mtu + ETH_HLEN + VLAN_TAG + RESERVE + OFFLOADS + TPACKET2_HDRLEN + 64 && p->frame_bytes < BLOCK_BYTES)
        p->frame_bytes *= 2;
    p->frames = RING_BYTES / p->frame_bytes;
    struct tpacket_req ring = {
        .tp_block_size = BLOCK_BYTES,
        .tp_block_nr = RING_BYTES / BLOCK_BYTES,
        .tp_frame_size = p->frame_bytes,
        .tp_frame_nr = p->frames,
    };
    struct packet_mreq promiscuous = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex};
    struct sockaddr_ll only_out = {.sll_family = AF_PACKET, .sll_ifindex = ifindex};
    if (set(fd, PACKET_VERSION, TPACKET_V2) || set(fd, PACKET_RESERVE, RESERVE) || set(fd, PACKET_VNET_HDR, 1)
        || set(fd, PACKET_COPY_THRESH, 1) || set(fd, PACKET_IGNORE_OUTGOING, 1))
        return -1;
    if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring))
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &long_buffer, sizeof long_buffer))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &long_buffer, sizeof long_buffer);
    /* Where tc slows the interface down, a socket's usual buffer says soon when that is so, and packets wait in the port's queue. */
    if (!ss_holds_back(ifindex) && setsockopt(p->base.out, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer))
        setsockopt(p->base.out, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    p->ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p->ring == MAP_FAILED) {
        p->ring = NULL;
        return -1;
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || bind(p->base.out, (struct sockaddr *)&only_out, sizeof only_out))
        return -1;
    return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous);
}

static void let_go(struct port *p)
{
    struct frame *frame = p->first;
    p->first = frame->next;
    p->base.held_back--;
    free(frame);
}

/* Copies what the interface does not take now; false when too much waits already. */
static bool hold_back(struct port *p, const struct msghdr *message)
{
    size_t length = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        length += message->msg_iov[i].iov_len;
    struct frame *frame = p->base.held_back < MOST_HELD_BACK ? malloc(sizeof *frame + length) : NULL;
    if (!frame)
        return false;
    *frame = (struct frame){NULL, length};
    for (size_t i = 0, at = 0; i < message->msg_iovlen; at += message->msg_iov[i++].iov_len)
        if (message->msg_iov[i].iov_len)
            memcpy(frame->data + at, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    if (p->base.held_back++)
        p->last->next = frame;
    else
        p->first = frame;
    p->last = frame;
    return true;
}

static void port_close(struct ss_port_io *io)
{
    struct port *p = (struct port *)io;
    while (p->first)
        let_go(p);
    if (p->ring)
        munmap(p->ring, RING_BYTES);
    if (p->base.fd >= 0)
        close(p->base.fd);
    if (p->base.out >= 0)
        close(p->base.out);
    free(p->whole);
    free(p);
}

static struct ss_port_io *port_open(const char *interface, int ifindex, uint32_t mtu)
{
    (void)interface;
    struct port *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->base.io = &ss_af_packet;
    /* Protocol 0 receives nothing until bind names the interface: no stray packet of another one. */
    p->base.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    p->base.out = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->base.fd < 0 || p->base.out < 0 || configure(p, ifindex, mtu)) {
        int error = errno;
        port_close(&p->base);
        errno = error;
        return NULL;
    }
    for (unsigned i = 0; i < SEND_BATCH; i++)
        p->messages[i].msg_hdr.msg_iov = p->parts[i];
    return &p->base;
}

/* Puts a VLAN tag back that the kernel had moved into the frame's header. */
static uint8_t *restore_tag(uint8_t *data, const struct tpacket2_hdr *h)
{
    uint16_t protocol = htons(h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->tp_vlan_tpid : ETH_P_8021Q);
    uint16_t tag = htons(h->tp_vlan_tci);
    memmove(data - VLAN_TAG, data, 2 * ETH_ALEN);
    data -= VLAN_TAG;
    memcpy(data + 2 * ETH_ALEN, &protocol, sizeof protocol);
    memcpy(data + 2 * ETH_ALEN + 2, &tag, sizeof tag);
    return data;
}

/* Puts a frame longer than the ring's in `p->whole`; returns its length, 0 if it is lost. */
static uint32_t take_copy(const struct port *p, uint32_t status, struct virtio_net_hdr *offloads)
{
    if (!(status & TP_STATUS_COPY))
        return 0; /* too many such frames waited already */
    struct iovec parts[] = {{offloads, sizeof *offloads}, {p->whole, p->whole ? LONGEST : 0}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = recvmsg(p->base.fd, &message, MSG_DONTWAIT | MSG_TRUNC);
    return n < OFFLOADS || (size_t)n > OFFLOADS + parts[1].iov_len ? 0 : (uint32_t)n - OFFLOADS;
}

/* Finishes a frame that is not as it would leave a card. It is in `packet` then, or what it consists of is to be cut (`packet` is
 * empty), or it is lost, which is counted. */
static void finish(struct port *p, const struct tpacket2_hdr *h, uint32_t status, struct ss_received *packet, uint64_t *cut)
{
    struct virtio_net_hdr offloads;
    uint8_t *data = (uint8_t *)(uintptr_t)packet->data;
    uint32_t length = packet->length;
    packet->data = NULL;
    memcpy(&offloads, data - OFFLOADS, sizeof offloads);
    bool beyond_ring = h->tp_snaplen < h->tp_len, joined = offloads.gso_type != VIRTIO_NET_HDR_GSO_NONE;
    if ((beyond_ring || joined) && !p->whole)
        p->whole = malloc(LONGEST + ROOM);
    if (beyond_ring)
        length = take_copy(p, status, &offloads);
    else if (joined && p->whole)
        memcpy(p->whole, data, length);
    if (beyond_ring || joined)
        data = p->whole;
    bool good = data && length >= ETH_HLEN;
    if (good && joined)
        good = ss_long_frame_open(&p->cutting, data, length, &offloads);
    else if (good && offloads.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        good = ss_complete_checksum(data, length, offloads.csum_start, offloads.csum_offset);
    if (good && beyond_ring && !joined)
        ss_long_frame_as_it_is(&p->cutting, data, length);
    else if (good && !joined)
        packet->data = data;
    p->cutting_header = *h;
    *cut += !good;
}

/* Cuts the next packet; false where there is no room for it now. */
static bool cut_packet(struct port *p, struct ss_received *packet)
{
    uint32_t length = ss_long_frame_next(&p->cutting);
    if (p->room_used + VLAN_TAG + length > ROOM)
        return false;
    uint8_t *data = p->whole + LONGEST + p->room_used + VLAN_TAG;
    ss_long_frame_take(&p->cutting, data);
    p->room_used += VLAN_TAG + length;
    *packet = (struct ss_received){data, length};
    return true;
}

/* Of the header alone, whose cache line is there: a look at the frame would wait for memory. */
static bool unfinished(const struct tpacket2_hdr *h, uint32_t status)
{
    return status & (TP_STATUS_CSUMNOTREADY | TP_STATUS_GSO_TCP) || h->tp_snaplen < h->tp_len;
}

static void tagged(struct ss_received *packet, const struct tpacket2_hdr *h)
{
    packet->data = restore_tag((uint8_t *)(uintptr_t)packet->data, h);
    packet->length += VLAN_TAG;
}

static unsigned port_receive(struct ss_port_io *io, struct ss_received *packets, unsigned limit, uint64_t *cut)
{
    struct port *p = (struct port *)io;
    unsigned n = 0;
    while (n < limit) {
        if (__builtin_expect(p->cutting.given < p->cutting.packets, 0)) {
            if (!cut_packet(p, &packets[n]))
                break;
            if (p->cutting_header.tp_status & TP_STATUS_VLAN_VALID)
                tagged(&packets[n], &p->cutting_header);
            n++;
            continue;
        }
        /* A frame handed out must not come round again before it was given back. */
        if (p->held == p->frames)
            break;
        struct tpacket2_hdr *h = frame(p, p->next);
        uint32_t status = __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER))
            break;
        p->next = p->next + 1 == p->frames ? 0 : p->next + 1;
        __builtin_prefetch(frame(p, p->next + AHEAD < p->frames ? p->next + AHEAD : 0));
        p->held++;
        packets[n] = (struct ss_received){(uint8_t *)h + h->tp_mac, h->tp_snaplen};
        if (__builtin_expect(unfinished(h, status), 0)) {
            finish(p, h, status, &packets[n], cut);
            if (!packets[n].data)
                continue;
        }
        if (status & TP_STATUS_VLAN_VALID)
            tagged(&packets[n], h);
        n++;
    }
    return n;
}

static void port_release(struct ss_port_io *io)
{
    struct port *p = (struct port *)io;
    p->room_used = 0;
    for (; p->held > 0; p->held--) {
        uint32_t index = p->next >= p->held ? p->next - p->held : p->next + p->frames - p->held;
        __atomic_store_n(&frame(p, index)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
}

static int port_send(
    struct ss_port_io *io, const uint8_t *head, size_t head_length, const uint8_t *tail, size_t tail_length)
{
    struct port *p = (struct port *)io;
    if (p->queued == SEND_BATCH)
        return 0;
    struct iovec *parts = p->parts[p->queued];
    bool join = head_length + tail_length <= SMALL;
    if (join) {
        uint8_t *whole = p->small[p->queued];
        memcpy(whole, head, head_length);
        if (tail_length)
            memcpy(whole + head_length, tail, tail_length);
        parts[0] = (struct iovec){whole, head_length + tail_length};
    } else {
        parts[0] = (struct iovec){(void *)(uintptr_t)head, head_length};
        parts[1] = (struct iovec){(void *)(uintptr_t)tail, tail_length};
    }
    p->messages[p->queued++].msg_hdr.msg_iovlen = join ? 1 : 2;
    return 1;
}

static unsigned port_flush(struct ss_port_io *io)
{
    struct port *p = (struct port *)io;
    unsigned sent = 0, lost = 0;
    while (p->first) {
        if (send(p->base.out, p->first->data, p->first->length, MSG_DONTWAIT) < 0) {
            if (errno == EAGAIN)
                break;
            if (errno == EINTR)
                continue;
            lost++;
        }
        let_go(p);
    }
    while (sent < p->queued && !p->first) {
        int n = sendmmsg(p->base.out, p->messages + sent, p->queued - sent, MSG_DONTWAIT);
        if (n > 0) {
            sent += (unsigned)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            /* Full queue, packet beyond the MTU, interface down: this one is lost, the rest may go. */
            sent++;
            lost++;
        }
    }
    for (; sent < p->queued; sent++)
        lost += !hold_back(p, &p->messages[sent].msg_hdr);
    p->queued = 0;
    return lost;
}

const struct ss_io ss_af_packet = {
    .open = port_open,
    .close = port_close,
    .receive = port_receive,
    .release = port_release,
    .send = port_send,
    .flush = port_flush,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* How packets come in and go out. One implementation per way; the switch knows only this. */
#ifndef SOFTSWITCH_PACKET_IO_H
#define SOFTSWITCH_PACKET_IO_H

#include <stddef.h>
#include <stdint.h>

struct ss_received {
    const uint8_t *data; /* stays readable until `release` */
    uint32_t length;
};

struct ss_port_io {
    const struct ss_io *io;
    int fd; /* readable when packets wait */
};

struct ss_io {
    /* Attaches an interface. Returns NULL with errno set. */
    struct ss_port_io *(*open)(const char *interface, int ifindex, uint32_t mtu);
    void (*close)(struct ss_port_io *port);
    /* Up to `limit` packets; 0 when none waits. Truncated packets are skipped and counted in *cut. */
    unsigned (*receive)(struct ss_port_io *port, struct ss_received *packets, unsigned limit, uint64_t *cut);
    /* Gives the buffers of all packets received so far back. */
    void (*release)(struct ss_port_io *port);
    /* Queues one packet of two parts; both stay untouched until `flush`. Returns 0 when the queue is full. */
    int (*send)(struct ss_port_io *port, const uint8_t *head, size_t head_length, const uint8_t *tail, size_t tail_length);
    /* Sends what is queued; returns how many packets the kernel did not take. */
    unsigned (*flush)(struct ss_port_io *port);
};

extern const struct ss_io ss_af_packet, ss_af_xdp;

/* record.c */
struct ss_port_io *ss_record(struct ss_port_io *inner, const char *folder, const char *interface, int again);

#endif

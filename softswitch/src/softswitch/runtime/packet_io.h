/* SPDX-License-Identifier: Apache-2.0 */
/* How packets come in and go out. One implementation per way; the switch knows only this. */
#ifndef SOFTSWITCH_PACKET_IO_H
#define SOFTSWITCH_PACKET_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A port that holds back so many packets should be given no more; BMv2's output buffer has as much room. */
enum { SS_HELD_BACK = 128 };

struct ss_received {
    const uint8_t *data; /* stays readable until `release` */
    uint32_t length;
};

struct ss_port_io {
    const struct ss_io *io;
    int fd; /* readable when packets wait */
    int out; /* writable when the interface takes packets; -1: it holds none back */
    uint32_t held_back; /* after a flush: packets that the interface has not taken; they wait until `out` is writable */
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
    /* Sends what is queued; returns how many packets are lost. */
    unsigned (*flush)(struct ss_port_io *port);
};

extern const struct ss_io ss_af_packet, ss_af_xdp;

/* qdisc.c */
bool ss_holds_back(int ifindex);

/* record.c */
struct ss_port_io *ss_record(struct ss_port_io *inner, const char *folder, const char *interface, int again);

#endif

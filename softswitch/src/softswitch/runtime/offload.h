/* SPDX-License-Identifier: Apache-2.0 */
/* What a sender leaves to a network card: checksums and the cutting of long frames. Between veths there is no card, so that the
 * switch does both, before the program sees a packet. The kernel says what is left to do in a `virtio_net_hdr`
 * (packet(7), PACKET_VNET_HDR). */
#ifndef SOFTSWITCH_OFFLOAD_H
#define SOFTSWITCH_OFFLOAD_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* A frame that stands for several packets, and how much of it was given out. */
struct ss_long_frame {
    const uint8_t *data;
    uint32_t length;
    uint32_t network, transport, payload; /* where these begin; `payload` is the length of every packet's headers */
    uint32_t share; /* bytes of payload a packet, the last one may have less */
    uint32_t packets, given;
    uint8_t version, protocol; /* of IP, 0 for a frame that is one packet; what it carries */
    bool checksum; /* of the transport: it has one */
};

/* Completes the checksum of what begins at `start` (of SCTP a CRC32c); it lies `offset` bytes behind that. False if the frame has
 * no such place. */
bool ss_complete_checksum(uint8_t *frame, uint32_t length, uint32_t start, uint32_t offset);

/* Looks at a frame that the kernel left whole. False for one that cannot be cut: of a tunnel, or neither TCP nor UDP over IP.
 * `frame` has to stay until the last packet is taken. */
bool ss_long_frame_open(struct ss_long_frame *frame, const uint8_t *data, uint32_t length, const struct virtio_net_hdr *header);

/* The same for a frame that is one packet. */
void ss_long_frame_as_it_is(struct ss_long_frame *frame, const uint8_t *data, uint32_t length);

/* The length of the next packet, 0 after the last one. */
uint32_t ss_long_frame_next(const struct ss_long_frame *frame);

/* Writes the next packet, which there is. */
void ss_long_frame_take(struct ss_long_frame *frame, uint8_t *packet);

#endif

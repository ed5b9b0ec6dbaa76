/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 1071 (the Internet checksum), RFC 9260 appendix A (SCTP's CRC32c), RFC 9293 and 768 (what TCP's and UDP's checksums
 * cover). What differs from packet to packet is as in Linux's own tcp_gso_segment and __udp_gso_segment. */
#include "offload.h"

#include <string.h>

#include "bits.h"

enum {
    ETHERNET = 14,
    TAG = 4,
    TAGS = 4, /* of VLANs that are looked behind */
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    TYPE_VLAN = 0x8100,
    TYPE_SERVICE_VLAN = 0x88a8,
    IPV6_HEADER = 40,
    HOP_BY_HOP = 0,
    TCP = 6,
    UDP = 17,
    DESTINATION_OPTIONS = 60,
    SCTP = 132,
    EXTENSIONS = 8, /* of IPv6, that are looked behind; not a routing header, which has the address that a checksum covers */
    SCTP_CHECKSUM = 8,
    TCP_CHECKSUM = 16,
    UDP_CHECKSUM = 6,
    TCP_FLAGS = 13,
    FIN = 0x01,
    PUSH = 0x08,
    REDUCED = 0x80, /* congestion window reduced */
};

/* Where the layers of a frame begin. */
struct layers {
    uint32_t network, transport;
    uint8_t version, protocol;
};

static bool find_layers(const uint8_t *frame, uint32_t length, struct layers *found)
{
    uint32_t at = ETHERNET;
    for (unsigned tags = 0; tags < TAGS && at <= length; tags++, at += TAG) {
        uint64_t type = ss_load16(frame + at - 2);
        if (type != TYPE_VLAN && type != TYPE_SERVICE_VLAN)
            break;
    }
    if (at + IPV6_HEADER / 2 > length)
        return false;
    found->network = at;
    switch (ss_load16(frame + at - 2)) {
    case TYPE_IPV4:
        found->version = 4;
        found->protocol = frame[at + 9];
        found->transport = at + (frame[at] & 0xfu) * 4;
        return frame[at] >> 4 == 4 && found->transport >= at + 20 && found->transport <= length;
    case TYPE_IPV6:
        if (at + IPV6_HEADER > length)
            return false;
        found->version = 6;
        found->protocol = frame[at + 6];
        at += IPV6_HEADER;
        for (unsigned i = 0; i < EXTENSIONS; i++) {
            if (found->protocol != HOP_BY_HOP && found->protocol != DESTINATION_OPTIONS)
                break;
            if (at + 8 > length)
                return false;
            found->protocol = frame[at];
            at += 8 + frame[at + 1] * 8u;
        }
        found->transport = at;
        return at <= length;
    default: return false;
    }
}

/* A sum of 16-bit words in the machine's byte order, which the Internet checksum does not mind. */
static uint64_t sum(const uint8_t *data, uint32_t length, uint64_t total)
{
    uint64_t word;
    for (; length >= sizeof word; data += sizeof word, length -= sizeof word) {
        memcpy(&word, data, sizeof word);
        total += (word >> 32) + (uint32_t)word;
    }
    word = 0;
    if (length)
        memcpy(&word, data, length);
    return total + (word >> 32) + (uint32_t)word;
}

static uint16_t folded(uint64_t total)
{
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)~total;
}

static void put_checksum(uint8_t *at, uint64_t total, bool zero_means_none)
{
    uint16_t value = folded(total);
    if (value == 0 && zero_means_none)
        value = 0xffff;
    memcpy(at, &value, sizeof value);
}

static uint32_t crc32c(const uint8_t *data, uint32_t length)
{
    uint32_t crc = UINT32_MAX;
    for (uint32_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

bool ss_complete_checksum(uint8_t *frame, uint32_t length, uint32_t start, uint32_t offset)
{
    struct layers found;
    if (start > length || offset > length - start || length - start - offset < 2)
        return false;
    uint8_t *checksum = frame + start + offset;
    if (offset == SCTP_CHECKSUM && find_layers(frame, length, &found) && found.transport == start && found.protocol == SCTP) {
        if (length - start < SCTP_CHECKSUM + 4)
            return false;
        memset(checksum, 0, 4);
        uint32_t crc = crc32c(frame + start, length - start);
        for (unsigned i = 0; i < 4; i++)
            checksum[i] = (uint8_t)(crc >> 8 * i);
        return true;
    }
    /* The sender has put the pseudo header's sum in the checksum's place. */
    put_checksum(checksum, sum(frame + start, length - start, 0), true);
    return true;
}

bool ss_long_frame_open(struct ss_long_frame *f, const uint8_t *data, uint32_t length, const struct virtio_net_hdr *header)
{
    struct layers found;
    bool partial = header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    /* A checksum that begins elsewhere is that of a packet inside this one. */
    if (!find_layers(data, length, &found) || !header->gso_size || (partial && header->csum_start != found.transport))
        return false;
    uint32_t room = length - found.transport, head;
    bool has_checksum = true;
    switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
        head = room < 20 ? 0 : data[found.transport + 12] >> 4 << 2;
        if (found.protocol != TCP || head < 20)
            return false;
        break;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        head = 8;
        if (found.protocol != UDP || room < head)
            return false;
        has_checksum = partial || ss_load16(data + found.transport + UDP_CHECKSUM) != 0;
        break;
    default: return false;
    }
    if (head > room)
        return false;
    uint32_t bytes = room - head;
    *f = (struct ss_long_frame){
        .data = data,
        .length = length,
        .network = found.network,
        .transport = found.transport,
        .payload = found.transport + head,
        .share = header->gso_size,
        .packets = bytes ? (bytes + header->gso_size - 1) / header->gso_size : 1,
        .version = found.version,
        .protocol = found.protocol,
        .checksum = has_checksum,
    };
    return true;
}

void ss_long_frame_as_it_is(struct ss_long_frame *f, const uint8_t *data, uint32_t length)
{
    *f = (struct ss_long_frame){.data = data, .length = length, .payload = length, .packets = 1};
}

uint32_t ss_long_frame_next(const struct ss_long_frame *f)
{
    if (f->given == f->packets)
        return 0;
    uint32_t left = f->length - f->payload - f->given * f->share;
    return f->payload + (left < f->share ? left : f->share);
}

static void write_network_header(const struct ss_long_frame *f, uint8_t *ip, uint32_t length, uint32_t number)
{
    if (f->version == 6) {
        ss_store(ip + 4, length - IPV6_HEADER, 2);
        return;
    }
    ss_store(ip + 2, length, 2);
    ss_store(ip + 4, ss_load16(ip + 4) + number, 2);
    memset(ip + 10, 0, 2);
    put_checksum(ip + 10, sum(ip, f->transport - f->network, 0), false);
}

/* Of addresses, protocol and length: RFC 9293, RFC 8200. */
static uint64_t pseudo_header(const struct ss_long_frame *f, const uint8_t *ip, uint32_t length)
{
    uint8_t last[8] = {0};
    ss_store(last, length, 4);
    last[7] = f->protocol;
    return f->version == 6 ? sum(ip + 8, 32, sum(last, sizeof last, 0)) : sum(ip + 12, 8, sum(last, sizeof last, 0));
}

void ss_long_frame_take(struct ss_long_frame *f, uint8_t *packet)
{
    uint32_t length = ss_long_frame_next(f), number = f->given++, offset = number * f->share;
    uint8_t *transport = packet + f->transport;
    memcpy(packet, f->data, f->payload);
    if (!f->version)
        return;
    memcpy(packet + f->payload, f->data + f->payload + offset, length - f->payload);
    write_network_header(f, packet + f->network, length - f->network, number);
    if (f->protocol == TCP) {
        ss_store(transport + 4, ss_load32(transport + 4) + offset, 4);
        if (number > 0)
            transport[TCP_FLAGS] &= (uint8_t)~REDUCED;
        if (f->given < f->packets)
            transport[TCP_FLAGS] &= (uint8_t) ~(FIN | PUSH);
    } else {
        ss_store(transport + 4, length - f->transport, 2);
    }
    if (f->checksum) {
        uint8_t *checksum = transport + (f->protocol == TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
        memset(checksum, 0, 2);
        uint64_t total = pseudo_header(f, packet + f->network, length - f->transport);
        put_checksum(checksum, sum(transport, length - f->transport, total), true);
    }
}

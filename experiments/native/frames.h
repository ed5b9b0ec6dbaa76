/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the programs that load a switch: addresses of the lab (lab.py), requests, answers and reports. */
#ifndef FRAMES_H
#define FRAMES_H

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum {
    CLIENT = 0x0a000001,
    NODES = 0x0a000100,    /* + member */
    SERVICES = STEERING_SERVICE_PREFIX + 0x100, /* + service index */
    REPORTS = STEERING_REPORT_ADDRESS,
    SERVICE_IDS = 1000,    /* + service index */
    SERVICE_PORT = 9000,
    REPORT_PORT = STEERING_REPORT_PORT,
    CLIENT_PORT = 5000,
    HEADERS = STEERING_ETHERNET_BYTES + STEERING_IPV4_BYTES + STEERING_UDP_BYTES,
    INVOCATION = STEERING_INVOCATION_BYTES,
    REPORT = STEERING_REPORT_BYTES,
    REQUEST = STEERING_INVOCATION_REQUEST,
    RESPONSE = STEERING_INVOCATION_RESPONSE,
    FRAME = 128, /* room for any frame made here */
};

static inline uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *at++ = (uint8_t)(value >> 8 * i);
    return at;
}

static inline uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static inline uint64_t client_mac(void)
{
    return 0x020000000001;
}

static inline uint64_t switch_mac(void)
{
    return 0x02000000fffe;
}

static inline uint64_t node_mac(unsigned member)
{
    return 0x020000000100 + member;
}

/* Ethernet, IPv4 and UDP headers to the switch; returns the payload's place. The UDP checksum is left out (zero). */
static inline uint8_t *put_headers(
    uint8_t *frame, uint64_t from_mac, uint32_t from, uint16_t sport, uint32_t to, uint16_t dport, size_t payload)
{
    uint8_t *at = put(frame, switch_mac(), 6), *ip;
    at = put(at, from_mac, 6);
    ip = at = put(at, ETH_P_IP, 2);
    at = put(at, 0x4500, 2);
    at = put(at, 28 + payload, 2);
    at = put(at, 0, 4);
    at = put(at, 64 << 8 | STEERING_PROTOCOL_UDP, 2);
    at = put(at, 0, 2);
    at = put(at, from, 4);
    at = put(at, to, 4);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)get(ip + i, 2);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put(ip + 10, ~sum & 0xffff, 2);
    at = put(at, sport, 2);
    at = put(at, dport, 2);
    at = put(at, 8 + payload, 2);
    return put(at, 0, 2);
}

/* What was put of a byte that is not whole yet. */
struct partial {
    uint64_t value;
    int bits;
};

static inline uint8_t *put_field(uint8_t *at, struct partial *partial, uint64_t value, int bits)
{
    partial->value = partial->bits ? partial->value << bits | value : value;
    partial->bits += bits;
    if (partial->bits % 8)
        return at;
    at = put(at, partial->value, partial->bits / 8);
    partial->bits = 0;
    return at;
}

#define PUT_FIELD(name, bits) at = put_field(at, &partial, values->name, bits);

static inline uint8_t *put_invocation_header(uint8_t *at, const struct invocation *values)
{
    struct partial partial = {0};
    STEERING_INVOCATION_LAYOUT(PUT_FIELD)
    return at;
}

static inline uint8_t *put_report(uint8_t *at, const struct report *values)
{
    struct partial partial = {0};
    STEERING_REPORT_LAYOUT(PUT_FIELD)
    return at;
}

/* An invocation header; `extra` bytes of payload follow it. */
static inline uint8_t *put_invocation(uint8_t *at, int type, unsigned service_id, uint64_t request_id, unsigned extra)
{
    struct invocation values = {
        .magic = STEERING_INVOCATION_MAGIC,
        .version = STEERING_INVOCATION_VERSION,
        .type = (uint64_t)type,
        .flags = type == REQUEST ? STEERING_INVOCATION_ONCE : 0,
        .service_id = service_id,
        .client_id = 1,
        .request_id = request_id,
        .fragment_count = 1,
        .total_length = extra,
    };
    return put_invocation_header(at, &values);
}

/* Whether what begins there, of at least INVOCATION bytes, is an invocation of this type. */
static inline int is_invocation(const uint8_t *at, int type)
{
    return get(at, 2) == STEERING_INVOCATION_MAGIC && at[BYTE_OF(invocation, type)] == type;
}

/* A whole frame with the report of `member`: `told`, from a ready instance with concurrency 1; returns its length. */
static inline size_t report_frame(uint8_t *frame, unsigned service_id, unsigned member, const struct report *told)
{
    uint8_t *at = put_headers(frame, node_mac(member), NODES + member, 40000, REPORTS, REPORT_PORT, REPORT);
    struct report values = *told;
    values.magic = STEERING_REPORT_MAGIC;
    values.version = STEERING_REPORT_VERSION;
    values.ready = 1;
    values.service_id = service_id;
    values.node_id = member + 1;
    values.epoch = 1;
    values.concurrency = 1;
    return (size_t)(put_report(at, &values) - frame);
}

static inline _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static inline int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Waits until a packet is there or the time has come. */
static inline void wait_until(struct pollfd *fds, nfds_t count, int64_t deadline)
{
    int64_t left = deadline - now_ns();
    if (left < 0)
        left = 0;
    struct timespec t = {left / 1000000000, left % 1000000000};
    ppoll(fds, count, &t, NULL);
}

/* A raw socket on an interface that sees only what comes in. `bytes`: of its buffers. */
static inline int open_raw(const char *interface, int bytes)
{
    int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)if_nametoindex(interface)};
    struct packet_mreq promiscuous = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (fd < 0 || address.sll_ifindex == 0)
        fail(interface);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous)
        || bind(fd, (struct sockaddr *)&address, sizeof address))
        fail(interface);
    return fd;
}

/* Timers as exact as the kernel has them: its default may be 50 µs late. */
static inline void exact_timers(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL);
}

#endif

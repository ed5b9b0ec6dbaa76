/* Hostile frames by the million: who makes them, and how they get to a switch. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 2048, ETHERNET = 14, IPV4 = 20, UDP = 8 };

struct frame {
    uint32_t port;
    uint32_t length;
    uint8_t data[ROOM];
};

/* Makes the next frame; `self` is the maker's state. */
typedef void (*make_t)(void *self, struct frame *frame);

/* xorshift64* (Vigna, 2016). */
static inline uint64_t next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

static inline uint32_t below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)((next(state) >> 32) * limit >> 32);
}

static inline void put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *at++ = (uint8_t)(value >> 8 * i);
}

/* Makes the IPv4 header's checksum right. */
static inline void mend(struct frame *frame)
{
    if (frame->length < ETHERNET + IPV4)
        return;
    uint8_t *header = frame->data + ETHERNET;
    uint32_t sum = 0;
    put(header + 10, 0, 2);
    for (int at = 0; at < IPV4; at += 2)
        sum += (uint32_t)header[at] << 8 | header[at + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put(header + 10, ~sum, 2);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* BMv2's hash algorithms (src/bm_sim/calculations.cpp), over a buffer of whole bytes. */
#ifndef SOFTSWITCH_HASH_H
#define SOFTSWITCH_HASH_H

#include "bits.h"

static uint32_t ss_crc32_table[256];
static uint16_t ss_crc16_table[256];
static uint16_t ss_ccitt_table[256];

__attribute__((constructor)) static void ss_fill_crc_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc32 = i;
        uint16_t crc16 = (uint16_t)i, ccitt = (uint16_t)(i << 8);
        for (int bit = 0; bit < 8; bit++) {
            crc32 = crc32 & 1 ? crc32 >> 1 ^ 0xedb88320u : crc32 >> 1;
            crc16 = (uint16_t)(crc16 & 1 ? crc16 >> 1 ^ 0xa001 : crc16 >> 1);
            ccitt = (uint16_t)(ccitt & 0x8000 ? ccitt << 1 ^ 0x1021 : ccitt << 1);
        }
        ss_crc32_table[i] = crc32;
        ss_crc16_table[i] = crc16;
        ss_ccitt_table[i] = ccitt;
    }
}

SS_INLINE uint64_t ss_hash_crc32(const uint8_t *p, size_t n)
{
    uint32_t r = 0xffffffffu;
    for (size_t i = 0; i < n; i++)
        r = ss_crc32_table[(r ^ p[i]) & 0xff] ^ (r >> 8);
    return r ^ 0xffffffffu;
}

SS_INLINE uint64_t ss_hash_crc16(const uint8_t *p, size_t n)
{
    uint16_t r = 0;
    for (size_t i = 0; i < n; i++)
        r = (uint16_t)(ss_crc16_table[(r ^ p[i]) & 0xff] ^ (r >> 8));
    return r;
}

SS_INLINE uint64_t ss_hash_crc_ccitt(const uint8_t *p, size_t n)
{
    uint16_t r = 0xffff;
    for (size_t i = 0; i < n; i++)
        r = (uint16_t)(ss_ccitt_table[(r >> 8 ^ p[i]) & 0xff] ^ (r << 8));
    return r;
}

/* RFC 1071, an odd last byte padded with zero. */
SS_INLINE uint64_t ss_hash_csum16(const uint8_t *p, size_t n)
{
    uint64_t sum = 0;
    for (; n >= 4; p += 4, n -= 4) {
        uint32_t v;
        memcpy(&v, p, sizeof v);
        sum += v;
    }
    if (n >= 2) {
        uint16_t v;
        memcpy(&v, p, sizeof v);
        sum += v;
        p += 2;
        n -= 2;
    }
    if (n)
        sum += *p; /* the machine is little-endian: the byte that comes first weighs least */
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return __builtin_bswap16((uint16_t)~sum);
}

/* The same from fields without laying them out: a field adds its value, shifted by how far its end is from that of a 16-bit
 * word, since 2^16 counts as 1. */
SS_INLINE uint64_t ss_csum16_add(uint64_t sum, u128 value, unsigned shift)
{
    for (; value; value >>= 32)
        sum += (uint64_t)(uint32_t)value << shift;
    return sum;
}

SS_INLINE uint64_t ss_csum16_end(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

SS_INLINE uint64_t ss_hash_xor16(const uint8_t *p, size_t n)
{
    uint16_t r = 0;
    for (; n >= 2; p += 2, n -= 2)
        r ^= (uint16_t)ss_load16(p);
    return n ? (uint16_t)(r ^ (p[0] << 8)) : r;
}

SS_INLINE uint64_t ss_hash_xor32(const uint8_t *p, size_t n)
{
    uint32_t r = 0;
    for (; n >= 4; p += 4, n -= 4)
        r ^= (uint32_t)ss_load32(p);
    uint32_t last = 0;
    for (size_t i = 0; i < n; i++)
        last |= (uint32_t)p[i] << (24 - 8 * i);
    return r ^ last;
}

SS_INLINE uint64_t ss_hash_identity(const uint8_t *p, size_t n)
{
    uint64_t r = 0;
    for (size_t i = 0; i < n && i < 8; i++)
        r = r << 8 | p[i];
    return r;
}

/* base + H % max; a max of 0 counts as 1. */
SS_INLINE uint64_t ss_hash_between(uint64_t hash, uint64_t base, uint64_t max) { return base + hash % (max ? max : 1); }

#endif

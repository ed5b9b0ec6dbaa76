/* SPDX-License-Identifier: Apache-2.0 */
/* Integers of up to 128 bits: big-endian loads and stores, shifts and casts that P4 defines for every amount. */
#ifndef SOFTSWITCH_BITS_H
#define SOFTSWITCH_BITS_H

#include <string.h>

#include "abi.h"

#define SS_INLINE static inline __attribute__((always_inline, unused))

/* Zeros by the library's memset: what a compiler puts in its place, `rep stos`, takes more than twice as long for some
 * 500 bytes. */
SS_INLINE void ss_clear(void *at, size_t bytes)
{
    __asm__("" : "+r"(bytes));
    memset(at, 0, bytes);
}

SS_INLINE uint64_t ss_load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap16(v);
}

SS_INLINE uint64_t ss_load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

SS_INLINE uint64_t ss_load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

/* `bytes` is a constant from 1 to 8 wherever this is called, so it becomes one to three loads. */
SS_INLINE uint64_t ss_load(const uint8_t *p, unsigned bytes)
{
    switch (bytes) {
    case 1: return p[0];
    case 2: return ss_load16(p);
    case 3: return ss_load16(p) << 8 | p[2];
    case 4: return ss_load32(p);
    case 5: return ss_load32(p) << 8 | p[4];
    case 6: return ss_load32(p) << 16 | ss_load16(p + 4);
    case 7: return ss_load32(p) << 24 | ss_load16(p + 4) << 8 | p[6];
    default: return ss_load64(p);
    }
}

SS_INLINE void ss_store(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
}

/* Any bit offset and width: for look-ahead and odd fields. The bytes it touches are the ones that hold the field. */
SS_INLINE u128 ss_load_bits(const uint8_t *p, unsigned offset, unsigned width)
{
    u128 v = 0;
    unsigned end = offset + width;
    for (unsigned i = offset / 8; i < (end + 7) / 8; i++) {
        unsigned keep = 8;
        uint8_t byte = p[i];
        if (i == offset / 8)
            byte &= (uint8_t)(0xff >> offset % 8);
        if (i == (end - 1) / 8 && end % 8) {
            byte = (uint8_t)(byte >> (8 - end % 8));
            keep = end % 8;
        }
        v = v << keep | byte;
    }
    return v;
}

SS_INLINE void ss_store_bits(uint8_t *p, unsigned offset, unsigned width, u128 v)
{
    while (width > 0) {
        unsigned end = offset + width;
        unsigned in_byte = end % 8 ? end % 8 : 8;
        unsigned take = in_byte < width ? in_byte : width;
        unsigned shift = end % 8 ? 8 - end % 8 : 0;
        uint8_t mask = (uint8_t)((0xffu >> (8 - take)) << shift);
        uint8_t *byte = p + (end - 1) / 8;
        *byte = (uint8_t)((*byte & ~mask) | ((uint8_t)((unsigned)v << shift) & mask));
        v >>= take;
        width -= take;
    }
}

SS_INLINE uint64_t ss_shl64(uint64_t v, uint64_t n) { return n < 64 ? v << n : 0; }
SS_INLINE uint64_t ss_shr64(uint64_t v, uint64_t n) { return n < 64 ? v >> n : 0; }
SS_INLINE int64_t ss_sar64(int64_t v, uint64_t n) { return v >> (n < 64 ? n : 63); }
SS_INLINE u128 ss_shl128(u128 v, u128 n) { return n < 128 ? v << (unsigned)n : 0; }
SS_INLINE u128 ss_shr128(u128 v, u128 n) { return n < 128 ? v >> (unsigned)n : 0; }
SS_INLINE i128 ss_sar128(i128 v, u128 n) { return v >> (n < 128 ? (unsigned)n : 127); }

/* The low `width` bits as a two's complement number. */
SS_INLINE int64_t ss_sign64(uint64_t v, unsigned width) { return (int64_t)(v << (64 - width)) >> (64 - width); }
SS_INLINE i128 ss_sign128(u128 v, unsigned width) { return (i128)(v << (128 - width)) >> (128 - width); }

/* Numbers of any length: negative, zero or positive, as memcmp answers. */
SS_INLINE int ss_compare_bytes(const uint8_t *a, size_t n, const uint8_t *b, size_t m)
{
    for (; n > m; a++, n--)
        if (*a)
            return 1;
    for (; m > n; b++, m--)
        if (*b)
            return -1;
    return n ? memcmp(a, b, n) : 0;
}

#define SS_CLAMP(name, type)                                                                                           \
    SS_INLINE type ss_clamp_##name(type v, type low, type high) { return v < low ? low : v > high ? high : v; }
SS_CLAMP(uint64, uint64_t)
SS_CLAMP(int64, int64_t)
SS_CLAMP(u128, u128)
SS_CLAMP(i128, i128)

/* BMv2 stops at a division by zero; here it gives 0. */
SS_INLINE uint64_t ss_div64(uint64_t a, uint64_t b) { return b ? a / b : 0; }
SS_INLINE uint64_t ss_mod64(uint64_t a, uint64_t b) { return b ? a % b : 0; }
SS_INLINE u128 ss_div128(u128 a, u128 b) { return b ? a / b : 0; }
SS_INLINE u128 ss_mod128(u128 a, u128 b) { return b ? a % b : 0; }

/* xorshift128+ (Vigna 2014): `random()` need not be more. */
SS_INLINE uint64_t ss_random(struct ss_host *host)
{
    uint64_t a = host->random[0], b = host->random[1];
    host->random[0] = b;
    a ^= a << 23;
    host->random[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return host->random[1] + b;
}

/* Uniform in lo..hi, lo <= hi. */
SS_INLINE uint64_t ss_random_between(struct ss_host *host, uint64_t lo, uint64_t hi)
{
    uint64_t span = hi - lo + 1;
    return span ? lo + (uint64_t)(((u128)ss_random(host) * span) >> 64) : ss_random(host);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Integers of more than 128 bits in two's complement, low word first. A program sets SS_WIDE_WORDS to what its widest number
 * needs; every operation is modulo 2^(64 * SS_WIDE_WORDS). */
#ifndef SOFTSWITCH_WIDE_H
#define SOFTSWITCH_WIDE_H

#include "bits.h"

#ifndef SS_WIDE_WORDS
#define SS_WIDE_WORDS 3
#endif
#define SS_WIDE_BITS (64u * SS_WIDE_WORDS)
#define SS_PLAIN static inline __attribute__((unused))

struct ss_wide {
    uint64_t w[SS_WIDE_WORDS];
};

SS_PLAIN struct ss_wide ss_wide_fill(u128 low, uint64_t above)
{
    struct ss_wide r;
    r.w[0] = (uint64_t)low;
    r.w[1] = (uint64_t)(low >> 64);
    for (unsigned i = 2; i < SS_WIDE_WORDS; i++)
        r.w[i] = above;
    return r;
}

SS_PLAIN struct ss_wide ss_wide_u64(uint64_t v) { return ss_wide_fill(v, 0); }
SS_PLAIN struct ss_wide ss_wide_u128(u128 v) { return ss_wide_fill(v, 0); }
SS_PLAIN struct ss_wide ss_wide_i128(i128 v) { return ss_wide_fill((u128)v, v < 0 ? UINT64_MAX : 0); }
SS_PLAIN struct ss_wide ss_wide_i64(int64_t v) { return ss_wide_i128(v); }
SS_PLAIN u128 ss_wide_low(struct ss_wide v) { return (u128)v.w[1] << 64 | v.w[0]; }

/* Fields in memory: `n` words, a signed one extended to whole words. */
SS_PLAIN struct ss_wide ss_wide_get(const uint64_t *words, unsigned n)
{
    struct ss_wide r;
    for (unsigned i = 0; i < SS_WIDE_WORDS; i++)
        r.w[i] = i < n ? words[i] : 0;
    return r;
}

SS_PLAIN struct ss_wide ss_wide_get_signed(const uint64_t *words, unsigned n)
{
    uint64_t above = words[n - 1] >> 63 ? UINT64_MAX : 0;
    struct ss_wide r;
    for (unsigned i = 0; i < SS_WIDE_WORDS; i++)
        r.w[i] = i < n ? words[i] : above;
    return r;
}

SS_PLAIN void ss_wide_put(uint64_t *words, unsigned n, struct ss_wide v)
{
    for (unsigned i = 0; i < n; i++)
        words[i] = v.w[i];
}

#define SS_WIDE_BITWISE(name, op)                                                                                      \
    SS_PLAIN struct ss_wide ss_wide_##name(struct ss_wide a, struct ss_wide b)                                         \
    {                                                                                                                  \
        for (unsigned i = 0; i < SS_WIDE_WORDS; i++)                                                                   \
            a.w[i] op b.w[i];                                                                                          \
        return a;                                                                                                      \
    }
SS_WIDE_BITWISE(and, &=)
SS_WIDE_BITWISE(or, |=)
SS_WIDE_BITWISE(xor, ^=)

SS_PLAIN struct ss_wide ss_wide_not(struct ss_wide a)
{
    for (unsigned i = 0; i < SS_WIDE_WORDS; i++)
        a.w[i] = ~a.w[i];
    return a;
}

SS_PLAIN struct ss_wide ss_wide_add(struct ss_wide a, struct ss_wide b)
{
    u128 carry = 0;
    for (unsigned i = 0; i < SS_WIDE_WORDS; i++) {
        carry += (u128)a.w[i] + b.w[i];
        a.w[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return a;
}

SS_PLAIN struct ss_wide ss_wide_neg(struct ss_wide a) { return ss_wide_add(ss_wide_not(a), ss_wide_u64(1)); }
SS_PLAIN struct ss_wide ss_wide_sub(struct ss_wide a, struct ss_wide b) { return ss_wide_add(a, ss_wide_neg(b)); }

SS_PLAIN struct ss_wide ss_wide_mul(struct ss_wide a, struct ss_wide b)
{
    struct ss_wide r = {{0}};
    for (unsigned i = 0; i < SS_WIDE_WORDS; i++) {
        u128 carry = 0;
        for (unsigned j = 0; i + j < SS_WIDE_WORDS; j++) {
            carry += (u128)a.w[i] * b.w[j] + r.w[i + j];
            r.w[i + j] = (uint64_t)carry;
            carry >>= 64;
        }
    }
    return r;
}

SS_PLAIN struct ss_wide ss_wide_shl(struct ss_wide a, uint64_t n)
{
    struct ss_wide r = {{0}};
    unsigned whole = n < SS_WIDE_BITS ? (unsigned)n / 64 : SS_WIDE_WORDS, part = n % 64;
    for (unsigned i = whole; i < SS_WIDE_WORDS; i++) {
        r.w[i] = a.w[i - whole] << part;
        if (part && i > whole)
            r.w[i] |= a.w[i - whole - 1] >> (64 - part);
    }
    return r;
}

SS_PLAIN struct ss_wide ss_wide_shr(struct ss_wide a, uint64_t n)
{
    uint64_t above = a.w[SS_WIDE_WORDS - 1] >> 63 ? UINT64_MAX : 0;
    unsigned whole = n < SS_WIDE_BITS ? (unsigned)n / 64 : SS_WIDE_WORDS, part = n % 64;
    struct ss_wide r;
    for (unsigned i = 0; i < SS_WIDE_WORDS; i++) {
        uint64_t low = i + whole < SS_WIDE_WORDS ? a.w[i + whole] : above;
        uint64_t high = i + whole + 1 < SS_WIDE_WORDS ? a.w[i + whole + 1] : above;
        r.w[i] = part ? low >> part | high << (64 - part) : low;
    }
    return r;
}

/* Negative, zero or positive, as memcmp answers. */
SS_PLAIN int ss_wide_compare(struct ss_wide a, struct ss_wide b)
{
    int64_t x = (int64_t)a.w[SS_WIDE_WORDS - 1], y = (int64_t)b.w[SS_WIDE_WORDS - 1];
    if (x != y)
        return x < y ? -1 : 1;
    for (unsigned i = SS_WIDE_WORDS - 1; i-- > 0;)
        if (a.w[i] != b.w[i])
            return a.w[i] < b.w[i] ? -1 : 1;
    return 0;
}

SS_PLAIN struct ss_wide ss_wide_clamp(struct ss_wide v, struct ss_wide low, struct ss_wide high)
{
    return ss_wide_compare(v, low) < 0 ? low : ss_wide_compare(v, high) > 0 ? high : v;
}

SS_PLAIN struct ss_wide ss_wide_mask(struct ss_wide a, unsigned width)
{
    if (width / 64 < SS_WIDE_WORDS)
        a.w[width / 64] &= width % 64 ? UINT64_MAX >> (64 - width % 64) : 0;
    for (unsigned i = width / 64 + 1; i < SS_WIDE_WORDS; i++)
        a.w[i] = 0;
    return a;
}

/* The low `width` bits as a two's complement number. */
SS_PLAIN struct ss_wide ss_wide_sign(struct ss_wide a, unsigned width)
{
    return ss_wide_shr(ss_wide_shl(a, SS_WIDE_BITS - width), SS_WIDE_BITS - width);
}

#define SS_WIDE_DIGITS (SS_WIDE_BITS / 3 + 3)

/* In decimal, at the end of `text`, which has SS_WIDE_DIGITS characters and ends with a zero. */
SS_PLAIN const char *ss_wide_decimal(char *text, struct ss_wide v, bool is_signed)
{
    bool negative = is_signed && v.w[SS_WIDE_WORDS - 1] >> 63, more;
    char *at = text + SS_WIDE_DIGITS - 1;
    if (negative)
        v = ss_wide_sub(ss_wide_u64(0), v);
    do {
        uint64_t rest = 0;
        more = false;
        for (unsigned i = SS_WIDE_WORDS; i-- > 0;) {
            u128 part = (u128)rest << 64 | v.w[i];
            v.w[i] = (uint64_t)(part / 10);
            rest = (uint64_t)(part % 10);
            more |= v.w[i] != 0;
        }
        *--at = (char)('0' + rest);
    } while (more);
    if (negative)
        *--at = '-';
    return at;
}

/* A field of the wire, at any bit offset. */
SS_PLAIN struct ss_wide ss_wide_load(const uint8_t *p, unsigned offset, unsigned width)
{
    struct ss_wide r = {{0}};
    for (unsigned i = 0; width > 0; i++) {
        unsigned take = width < 64 ? width : 64;
        width -= take;
        r.w[i] = (uint64_t)ss_load_bits(p, offset + width, take);
    }
    return r;
}

SS_PLAIN void ss_wide_store(uint8_t *p, unsigned offset, unsigned width, const uint64_t *words)
{
    for (unsigned i = 0; width > 0; i++) {
        unsigned take = width < 64 ? width : 64;
        width -= take;
        ss_store_bits(p, offset + width, take, words[i]);
    }
}

#endif

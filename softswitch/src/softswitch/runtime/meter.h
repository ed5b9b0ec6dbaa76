/* SPDX-License-Identifier: Apache-2.0 */
/* Meters, as BMv2 has them (src/bm_sim/meters.cpp): the two rate three color marker of RFC 2698 in colour-blind mode, and
 * for P4Runtime's single rate meters that of RFC 2697. A meter that nobody has configured marks everything green. */
#ifndef SOFTSWITCH_METER_H
#define SOFTSWITCH_METER_H

#include "bits.h"

enum ss_color { SS_GREEN, SS_YELLOW, SS_RED, SS_COLORS };
enum ss_meter_kind { SS_UNCONFIGURED, SS_TWO_RATES, SS_ONE_RATE };

struct ss_bucket {
    uint64_t rate; /* tokens a second */
    uint64_t size;
    uint64_t tokens;
    uint64_t fraction; /* of a token, in millionths */
};

/* softswitch/engine/meters.py packs and unpacks this. */
struct ss_meter {
    uint64_t kind; /* enum ss_meter_kind */
    uint64_t filled_us; /* when the buckets were last filled up */
    struct ss_bucket committed;
    struct ss_bucket peak; /* of a single rate meter the excess bucket, which has no rate */
    struct ss_cell marked[SS_COLORS];
};

/* Adds the tokens of `us` microseconds. Returns what does not fit. */
SS_INLINE uint64_t ss_bucket_fill(struct ss_bucket *b, uint64_t us)
{
    uint64_t credit, room = b->size - b->tokens, tokens;
    if (__builtin_mul_overflow(us, b->rate, &credit) || __builtin_add_overflow(credit, b->fraction, &credit)) {
        u128 wide = (u128)us * b->rate + b->fraction, whole = wide / 1000000;
        tokens = whole > UINT64_MAX ? UINT64_MAX : (uint64_t)whole;
        b->fraction = (uint64_t)(wide % 1000000);
    } else {
        tokens = credit / 1000000;
        b->fraction = credit % 1000000;
    }
    b->tokens += tokens < room ? tokens : room;
    return tokens < room ? 0 : tokens - room;
}

SS_INLINE enum ss_color ss_meter_color(struct ss_meter *m, uint64_t now_us, uint64_t input)
{
    if (m->kind == SS_UNCONFIGURED)
        return SS_GREEN;
    uint64_t us = now_us > m->filled_us ? now_us - m->filled_us : 0;
    uint64_t excess = ss_bucket_fill(&m->committed, us);
    m->filled_us = now_us;
    if (m->kind == SS_ONE_RATE) {
        uint64_t room = m->peak.size - m->peak.tokens;
        m->peak.tokens += excess < room ? excess : room;
        if (m->committed.tokens >= input) {
            m->committed.tokens -= input;
            return SS_GREEN;
        }
        if (m->peak.tokens < input)
            return SS_RED;
        m->peak.tokens -= input;
        return SS_YELLOW;
    }
    ss_bucket_fill(&m->peak, us);
    if (m->peak.tokens < input)
        return SS_RED;
    m->peak.tokens -= input;
    if (m->committed.tokens < input)
        return SS_YELLOW;
    m->committed.tokens -= input;
    return SS_GREEN;
}

/* Marks a packet of `octets` bytes. */
SS_INLINE enum ss_color ss_meter_execute(struct ss_host *host, struct ss_meter *m, bool packets, uint32_t octets)
{
    uint64_t now_us = m->kind == SS_UNCONFIGURED ? 0 : host->now(host);
    enum ss_color color = ss_meter_color(m, now_us, packets ? 1 : octets);
    m->marked[color].packets++;
    m->marked[color].octets += octets;
    return color;
}

#endif

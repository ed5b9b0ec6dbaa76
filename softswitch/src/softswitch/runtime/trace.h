/* SPDX-License-Identifier: Apache-2.0 */
/* What a packet met, as a sequence of records; softswitch/engine/trace.py makes text of it. Only the traced variant of a program and
 * the engine include this. A record is a word (kind, number of words that follow, subject) and those words. */
#ifndef SOFTSWITCH_TRACE_H
#define SOFTSWITCH_TRACE_H

#include <stdlib.h>
#include <string.h>

#include "table.h"

enum ss_trace_kind {
    SS_TRACE_CUT = 1, /* the trace became too long */
    /* of the engine */
    SS_TRACE_PACKET, /* subject port; length, clock in µs */
    SS_TRACE_PASS, /* subject instance type */
    SS_TRACE_CLONE, /* subject session; 1 if of egress, 1 if the session exists */
    SS_TRACE_DIGEST, /* subject list; values of two words each */
    SS_TRACE_RESUBMIT,
    SS_TRACE_MULTICAST, /* subject group; 1 if it exists */
    SS_TRACE_DROP,
    SS_TRACE_COPY, /* subject egress port; instance, instance type */
    SS_TRACE_RECIRCULATE,
    SS_TRACE_OUT, /* subject port; length, payload's length in it, bytes cut off */
    SS_TRACE_FAILED, /* an assert failed */
    SS_TRACE_QUEUED, /* subject port; priority, packets before it, 1 if the queue was full */
    SS_TRACE_DEQUEUED, /* subject port; priority, packets behind it, µs that it waited */
    /* of the program; subjects are numbers of softswitch/codegen/tracing.py */
    SS_TRACE_STATE,
    SS_TRACE_EXTRACT, /* index in a stack, length, the bytes */
    SS_TRACE_SELECT, /* keys of two words each */
    SS_TRACE_PARSED, /* subject error */
    SS_TRACE_CONTROL,
    SS_TRACE_CONDITION, /* result */
    SS_TRACE_TABLE, /* hit, by a group; action, priority, member or group; key looked up, entry's key and mask, data */
    SS_TRACE_STATEMENT, /* operands of two words each */
    SS_TRACE_CHANGE, /* old, new, of as many words each */
    SS_TRACE_CHECKSUMS, /* 1 if one was wrong */
    SS_TRACE_EMIT,
};

enum { SS_TRACE_LIMIT = 1 << 16 }; /* words: a trace has to fit the ring of events */

struct ss_trace {
    uint64_t *words; /* SS_TRACE_LIMIT of them, or NULL before the first */
    size_t length;
    bool cut;
};

/* A record with room for `count` words, which the caller fills in; NULL when there is no trace or no room. */
static inline uint64_t *ss_trace_record(struct ss_host *host, enum ss_trace_kind kind, uint32_t subject, size_t count)
{
    struct ss_trace *t = host->trace;
    if (!t || t->cut)
        return NULL;
    if (t->length + count + 2 > SS_TRACE_LIMIT) {
        t->cut = true;
        t->words[t->length++] = SS_TRACE_CUT; /* there was room for one word more */
        return NULL;
    }
    if (!t->words && !(t->words = malloc(SS_TRACE_LIMIT * sizeof *t->words)))
        return NULL;
    uint64_t *at = t->words + t->length;
    t->length += count + 1;
    *at = (uint64_t)kind | (uint64_t)count << 8 | (uint64_t)subject << 32;
    return at + 1;
}

static inline void ss_trace_words(struct ss_host *host, enum ss_trace_kind kind, uint32_t subject, const uint64_t *words, size_t count)
{
    uint64_t *at = ss_trace_record(host, kind, subject, count);
    if (at && count)
        memcpy(at, words, count * sizeof *words);
}

static inline void ss_trace_change(struct ss_host *host, uint32_t field, u128 from, u128 to)
{
    const uint64_t words[] = {(uint64_t)from, (uint64_t)(from >> 64), (uint64_t)to, (uint64_t)(to >> 64)};
    ss_trace_words(host, SS_TRACE_CHANGE, field, words, 4);
}

/* A field beyond 128 bits, if it changed; `from` NULL is zero. */
static inline void ss_trace_wide(struct ss_host *host, uint32_t field, const uint64_t *from, const uint64_t *to, size_t count)
{
    uint64_t zero[count];
    memset(zero, 0, sizeof zero);
    from = from ? from : zero;
    uint64_t *at = memcmp(from, to, sizeof zero) ? ss_trace_record(host, SS_TRACE_CHANGE, field, 2 * count) : NULL;
    if (!at)
        return;
    memcpy(at, from, sizeof zero);
    memcpy(at + count, to, sizeof zero);
}

static inline bool ss_trace_condition(struct ss_host *host, uint32_t node, bool result)
{
    const uint64_t words[] = {result};
    ss_trace_words(host, SS_TRACE_CONDITION, node, words, 1);
    return result;
}

static inline void ss_trace_extract(struct ss_host *host, uint32_t header, uint32_t index, const uint8_t *data, uint32_t length)
{
    uint64_t *at = ss_trace_record(host, SS_TRACE_EXTRACT, header, 2 + (length + 7u) / 8);
    if (!at)
        return;
    at[0] = index;
    at[1] = length;
    if (length)
        memcpy(at + 2, data, length);
}

/* The mask of the group that holds an entry, or the second half of a ranged one's key. */
static inline void ss_trace_mask(const struct ss_table *t, const struct ss_entry *e, const uint64_t *key, unsigned words, uint64_t *mask)
{
    if (t->layout->match == SS_RANGED) {
        memcpy(mask, e->words + words, words * sizeof *mask);
        return;
    }
    for (uint32_t i = 0; i < t->n_groups; i++) {
        const struct ss_group *g = t->groups[i];
        uint64_t masked[words + 1];
        for (unsigned w = 0; w < words; w++)
            masked[w] = t->layout->match == SS_EXACT ? key[w] : key[w] & g->mask[w];
        if (ss_group_find(t, g, masked, words) != e)
            continue;
        for (unsigned w = 0; w < words; w++)
            mask[w] = t->layout->match == SS_EXACT ? UINT64_MAX : g->mask[w];
        return;
    }
}

/* `reference` is the member or group of an entry of an indirect table. */
static inline void ss_trace_table(struct ss_host *host, uint32_t table, const struct ss_table *t, const struct ss_entry *e, const uint64_t *key, unsigned words, const uint64_t *reference, bool group, uint32_t action, const uint64_t *data, unsigned data_words)
{
    enum { HEAD = 5 };
    uint64_t *at = ss_trace_record(host, SS_TRACE_TABLE, table, HEAD + 3 * words + data_words);
    if (!at)
        return;
    memset(at, 0, (HEAD + 3 * words + data_words) * sizeof *at);
    at[0] = e != NULL;
    at[1] = group;
    at[2] = action;
    at[3] = e ? (uint64_t)(int64_t)e->priority : 0;
    at[4] = reference ? *reference : 0;
    at += HEAD;
    if (words)
        memcpy(at, key, words * sizeof *at);
    if (e && words) {
        memcpy(at + words, e->words, words * sizeof *at);
        ss_trace_mask(t, e, key, words, at + 2 * words);
    }
    if (data && data_words)
        memcpy(at + 3 * words, data, data_words * sizeof *at);
}

#endif

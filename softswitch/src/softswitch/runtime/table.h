/* SPDX-License-Identifier: Apache-2.0 */
/* Match-action tables. One structure serves every match kind: entries that share a mask form a group with a hash of its
 * own, groups are searched by falling priority and the search ends when no group left can win (Srinivasan, Suri, Varghese,
 * "Packet Classification using Tuple Space Search", 1999). An exact table is one group; an LPM table has one for each
 * prefix length in use, its priority. Tables with range keys are a list in order of priority. */
#ifndef SOFTSWITCH_TABLE_H
#define SOFTSWITCH_TABLE_H

#include "bits.h"

struct ss_entry {
    struct ss_cell counter;
    struct ss_entry *next; /* same key and mask, lower priority; or the next free entry */
    uint64_t order; /* when it was inserted: the elder wins a tie */
    int32_t priority; /* greater wins */
    uint32_t action;
    /* Key; in ranged tables then mask, with the upper ends of ranges; then action data; then, if the table has them, when
     * the entry was hit last and its meter. */
    uint64_t words[];
};

struct ss_slot {
    uint32_t hash;
    uint32_t entry; /* index + 1; 0 is empty */
};

struct ss_group {
    struct ss_slot *slots;
    uint32_t last; /* number of slots - 1, a power of two - 1 */
    uint32_t used;
    int32_t priority; /* no entry has more */
    uint64_t mask[];
};

struct ss_table {
    struct ss_group **groups; /* by falling priority */
    uint32_t n_groups;
    uint32_t default_action;
    uint64_t *default_data;
    uint8_t *entries;
    size_t stride;
    uint32_t count;
    uint32_t fresh; /* entries never used start here */
    struct ss_entry *free;
    struct ss_entry **list; /* ranged tables: by falling priority */
    uint64_t inserted;
    const struct ss_table_layout *layout;
    uint64_t *initial_data;
    uint32_t initial_action;
};

SS_INLINE uint32_t ss_hash_words(const uint64_t *key, unsigned words)
{
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (unsigned i = 0; i < words; i++) {
        h = (h ^ key[i]) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return (uint32_t)h;
}

SS_INLINE struct ss_entry *ss_entry_at(const struct ss_table *t, uint32_t index)
{
    return (struct ss_entry *)(t->entries + index * t->stride);
}

/* The best entry of a group for a key already masked. `words` is a constant where the packet path calls this. */
SS_INLINE struct ss_entry *ss_group_find(
    const struct ss_table *t, const struct ss_group *g, const uint64_t *key, unsigned words)
{
    uint32_t hash = ss_hash_words(key, words);
    for (uint32_t i = hash & g->last;; i = (i + 1) & g->last) {
        struct ss_slot slot = g->slots[i];
        if (slot.entry == 0)
            return NULL;
        if (slot.hash != hash)
            continue;
        struct ss_entry *e = ss_entry_at(t, slot.entry - 1);
        unsigned same = 0;
        while (same < words && e->words[same] == key[same])
            same++;
        if (same == words)
            return e;
    }
}

SS_INLINE struct ss_entry *ss_find_exact(const struct ss_table *t, const uint64_t *key, unsigned words)
{
    return t->n_groups ? ss_group_find(t, t->groups[0], key, words) : NULL;
}

SS_INLINE bool ss_entry_beats(const struct ss_entry *a, const struct ss_entry *b)
{
    return a->priority > b->priority || (a->priority == b->priority && a->order < b->order);
}

SS_INLINE struct ss_entry *ss_find_masked(const struct ss_table *t, const uint64_t *key, unsigned words)
{
    struct ss_entry *best = NULL;
    uint64_t masked[words];
    for (uint32_t i = 0; i < t->n_groups; i++) {
        const struct ss_group *g = t->groups[i];
        if (best && best->priority > g->priority)
            break;
        for (unsigned w = 0; w < words; w++)
            masked[w] = key[w] & g->mask[w];
        struct ss_entry *e = ss_group_find(t, g, masked, words);
        if (e && (!best || ss_entry_beats(e, best)))
            best = e;
    }
    return best;
}

SS_INLINE struct ss_entry *ss_find_ranged(const struct ss_table *t, const uint64_t *key, unsigned words, unsigned ranged)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct ss_entry *e = t->list[i];
        const uint64_t *low = e->words, *high = e->words + words;
        unsigned w = 0;
        while (w < words - ranged && (key[w] & high[w]) == low[w])
            w++;
        while (w >= words - ranged && w < words && key[w] >= low[w] && key[w] <= high[w])
            w++;
        if (w == words)
            return e;
    }
    return NULL;
}

/* Whether a number of `words` words, the lowest first, is at most another. */
SS_INLINE bool ss_at_most(const uint64_t *number, const uint64_t *limit, unsigned words)
{
    while (words-- > 0)
        if (number[words] != limit[words])
            return number[words] < limit[words];
    return true;
}

/* As ss_find_ranged, for ranges of several words: each has as many as `spans` says in its place. */
SS_INLINE struct ss_entry *ss_find_spans(
    const struct ss_table *t, const uint64_t *key, unsigned words, unsigned ranged, const unsigned *spans)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct ss_entry *e = t->list[i];
        const uint64_t *low = e->words, *high = e->words + words;
        unsigned w = 0;
        while (w < words - ranged && (key[w] & high[w]) == low[w])
            w++;
        if (w < words - ranged)
            continue;
        for (const unsigned *n = spans; w < words && ss_at_most(low + w, key + w, *n) && ss_at_most(key + w, high + w, *n); n++)
            w += *n;
        if (w == words)
            return e;
    }
    return NULL;
}

enum ss_operation {
    SS_INSERT,
    SS_MODIFY,
    SS_DELETE,
    SS_SET_DEFAULT,
    SS_RESET_DEFAULT,
    SS_READ, /* bytes of an entry: from `offset` on as many as the caller's cells have */
    SS_WRITE, /* bytes of an entry: from `offset` on the last `length` of the operation's */
    SS_CLEAR, /* forgets all entries */
    SS_SET_MEMBER, /* `action` runs for member `number` of an action profile, its data are the words */
    SS_SET_GROUP, /* the words are the members of group `number` of an action profile, `count` of them */
};

enum ss_result { SS_OK, SS_EXISTS, SS_ABSENT, SS_FULL, SS_NO_MEMORY };

/* One operation as Python packs it: this header, then the key, the mask (none in exact tables), the data of the action, the
 * bytes to write. */
struct ss_op {
    uint32_t bytes; /* to the next one */
    uint32_t target; /* number of the table, value set or action profile */
    uint32_t operation;
    union {
        uint32_t action; /* in an indirect table enum ss_reference */
        uint32_t offset;
        uint32_t count;
    };
    union {
        int32_t priority; /* in a table of prefixes their length: the longest wins */
        uint32_t number;
    };
    uint32_t length; /* of the bytes to write */
    uint64_t words[];
};

#define SS_EXCHANGE(a, b)           \
    do {                            \
        __typeof__(a) first_ = (a); \
        (a) = (b);                  \
        (b) = first_;               \
    } while (0)

int ss_table_create(struct ss_table *t, const struct ss_table_layout *layout);
void ss_table_destroy(struct ss_table *t);
/* `out` is where SS_READ puts `length` bytes. */
enum ss_result ss_table_do(struct ss_table *t, const struct ss_op *op, uint64_t now_us, uint8_t *out, size_t length);
/* Gives entries of `to` what those of the same key in `from`, a table of the same layout but for its actions, have counted. */
void ss_table_carry_counts(struct ss_table *to, struct ss_table *from);

/* What an action has for its number in the old program and in the new one. */
struct ss_renumbered {
    uint32_t from, to;
};

/* Exchanges the entries of two tables of the same layout, those of `from` getting the numbers that their actions have in
 * `to`. Default actions stay. */
void ss_table_carry_entries(struct ss_table *to, struct ss_table *from, const struct ss_renumbered *actions, uint32_t n);

static inline const uint64_t *ss_entry_data(const struct ss_table_layout *layout, const struct ss_entry *e)
{
    return e->words + layout->words * (layout->match == SS_RANGED ? 2 : 1);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of tables. Only the thread that runs packets calls these, between two packets. */
#include "meter.h"
#include "table.h"

#include <stdlib.h>
#include <sys/mman.h>

static unsigned entry_words(const struct ss_table_layout *l)
{
    unsigned meter = l->metered ? sizeof(struct ss_meter) / sizeof(uint64_t) : 0;
    return l->words * (l->match == SS_RANGED ? 2u : 1u) + l->data_words + l->idle + meter;
}

int ss_table_create(struct ss_table *t, const struct ss_table_layout *layout)
{
    memset(t, 0, sizeof *t);
    t->layout = layout;
    t->stride = sizeof(struct ss_entry) + entry_words(layout) * sizeof(uint64_t);
    t->default_data = calloc((size_t)layout->data_words * 2 + 1, sizeof(uint64_t));
    t->initial_data = t->default_data + layout->data_words;
    /* Address space for a full table; memory comes with the entries. */
    t->entries = mmap(NULL, t->stride * ((size_t)layout->size + 1), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (t->entries == MAP_FAILED)
        t->entries = NULL;
    if (layout->match == SS_RANGED)
        t->list = calloc((size_t)layout->size + 1, sizeof *t->list);
    return t->default_data && t->entries && (layout->match != SS_RANGED || t->list) ? 0 : -1;
}

static void group_free(struct ss_group *g)
{
    free(g->slots);
    free(g);
}

void ss_table_destroy(struct ss_table *t)
{
    for (uint32_t i = 0; i < t->n_groups; i++)
        group_free(t->groups[i]);
    free(t->groups);
    free(t->default_data);
    free(t->list);
    if (t->entries)
        munmap(t->entries, t->stride * ((size_t)t->layout->size + 1));
    memset(t, 0, sizeof *t);
}

static uint32_t index_of(const struct ss_table *t, const struct ss_entry *e)
{
    return (uint32_t)((size_t)((const uint8_t *)e - t->entries) / t->stride);
}

static struct ss_entry *entry_take(struct ss_table *t)
{
    struct ss_entry *e = t->free;
    if (e)
        t->free = e->next;
    else
        e = ss_entry_at(t, t->fresh++);
    memset(e, 0, t->stride);
    t->count++;
    return e;
}

static void entry_give(struct ss_table *t, struct ss_entry *e)
{
    e->next = t->free;
    t->free = e;
    t->count--;
}

static void slot_put(struct ss_group *g, struct ss_slot slot)
{
    uint32_t i = slot.hash & g->last;
    while (g->slots[i].entry)
        i = (i + 1) & g->last;
    g->slots[i] = slot;
}

static bool group_grow(struct ss_group *g)
{
    if ((g->used + 1) * 2 <= g->last + 1)
        return true;
    struct ss_group larger = {.last = g->last * 2 + 1};
    larger.slots = calloc((size_t)larger.last + 1, sizeof *larger.slots);
    if (!larger.slots)
        return false;
    for (uint32_t i = 0; i <= g->last; i++)
        if (g->slots[i].entry)
            slot_put(&larger, g->slots[i]);
    free(g->slots);
    g->slots = larger.slots;
    g->last = larger.last;
    return true;
}

static struct ss_group *group_new(const uint64_t *mask, unsigned words)
{
    struct ss_group *g = calloc(1, sizeof *g + words * sizeof(uint64_t));
    if (!g)
        return NULL;
    g->last = 7;
    g->priority = INT32_MIN;
    g->slots = calloc((size_t)g->last + 1, sizeof *g->slots);
    if (!g->slots) {
        free(g);
        return NULL;
    }
    for (unsigned w = 0; w < words; w++)
        g->mask[w] = mask ? mask[w] : UINT64_MAX;
    return g;
}

static struct ss_group *group_of(const struct ss_table *t, const uint64_t *mask)
{
    if (!mask)
        return t->n_groups ? t->groups[0] : NULL;
    for (uint32_t i = 0; i < t->n_groups; i++)
        if (!memcmp(t->groups[i]->mask, mask, t->layout->words * sizeof *mask))
            return t->groups[i];
    return NULL;
}

static void groups_sort(struct ss_table *t)
{
    for (uint32_t i = 1; i < t->n_groups; i++)
        for (uint32_t j = i; j > 0 && t->groups[j - 1]->priority < t->groups[j]->priority; j--) {
            struct ss_group *g = t->groups[j];
            t->groups[j] = t->groups[j - 1];
            t->groups[j - 1] = g;
        }
}

static struct ss_group *group_make(struct ss_table *t, const uint64_t *mask)
{
    struct ss_group *g = group_of(t, mask);
    if (g)
        return g;
    struct ss_group **groups = realloc(t->groups, (t->n_groups + 1) * sizeof(struct ss_group *));
    if (!groups)
        return NULL;
    t->groups = groups;
    g = group_new(mask, t->layout->words);
    if (g)
        t->groups[t->n_groups++] = g;
    return g;
}

static void group_drop(struct ss_table *t, struct ss_group *g)
{
    uint32_t i = 0;
    while (t->groups[i] != g)
        i++;
    memmove(t->groups + i, t->groups + i + 1, (t->n_groups - i - 1) * sizeof(struct ss_group *));
    t->n_groups--;
    group_free(g);
}

static uint32_t slot_of(const struct ss_table *t, const struct ss_group *g, const struct ss_entry *head)
{
    uint32_t i = ss_hash_words(head->words, t->layout->words) & g->last;
    while (g->slots[i].entry != index_of(t, head) + 1)
        i = (i + 1) & g->last;
    return i;
}

/* Linear probing without tombstones: what follows moves up (Knuth 6.4, algorithm R). */
static void slot_clear(struct ss_group *g, uint32_t hole)
{
    for (uint32_t i = (hole + 1) & g->last; g->slots[i].entry; i = (i + 1) & g->last) {
        uint32_t home = g->slots[i].hash & g->last;
        if (((i - home) & g->last) >= ((i - hole) & g->last)) {
            g->slots[hole] = g->slots[i];
            hole = i;
        }
    }
    g->slots[hole] = (struct ss_slot){0};
}

static struct ss_entry *hashed_find(struct ss_table *t, const uint64_t *key, const uint64_t *mask, int32_t priority)
{
    struct ss_group *g = group_of(t, mask);
    struct ss_entry *e = g ? ss_group_find(t, g, key, t->layout->words) : NULL;
    while (e && e->priority != priority)
        e = e->next;
    return e;
}

static bool hashed_insert(struct ss_table *t, struct ss_entry *e, const uint64_t *mask)
{
    struct ss_group *g = group_make(t, mask);
    if (!g)
        return false;
    struct ss_entry *head = ss_group_find(t, g, e->words, t->layout->words);
    if (!head) {
        if (!group_grow(g)) {
            if (!g->used)
                group_drop(t, g);
            return false;
        }
        slot_put(g, (struct ss_slot){ss_hash_words(e->words, t->layout->words), index_of(t, e) + 1});
        g->used++;
    } else if (ss_entry_beats(e, head)) {
        g->slots[slot_of(t, g, head)].entry = index_of(t, e) + 1;
        e->next = head;
    } else {
        while (head->next && ss_entry_beats(head->next, e))
            head = head->next;
        e->next = head->next;
        head->next = e;
    }
    if (e->priority > g->priority) {
        g->priority = e->priority;
        groups_sort(t);
    }
    return true;
}

static void hashed_remove(struct ss_table *t, struct ss_entry *e, const uint64_t *mask)
{
    struct ss_group *g = group_of(t, mask);
    struct ss_entry *head = ss_group_find(t, g, e->words, t->layout->words);
    if (head != e) {
        while (head->next != e)
            head = head->next;
        head->next = e->next;
        return;
    }
    uint32_t slot = slot_of(t, g, e);
    if (e->next) {
        g->slots[slot].entry = index_of(t, e->next) + 1;
        return;
    }
    slot_clear(g, slot);
    if (--g->used == 0)
        group_drop(t, g);
}

static struct ss_entry *ranged_find(struct ss_table *t, const uint64_t *key, int32_t priority)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->list[i]->priority == priority && !memcmp(t->list[i]->words, key, t->layout->words * 2 * sizeof *key))
            return t->list[i];
    return NULL;
}

static void ranged_insert(struct ss_table *t, struct ss_entry *e)
{
    uint32_t i = t->count - 1; /* the table already counts it */
    for (; i > 0 && ss_entry_beats(e, t->list[i - 1]); i--)
        t->list[i] = t->list[i - 1];
    t->list[i] = e;
}

static void ranged_remove(struct ss_table *t, struct ss_entry *e)
{
    uint32_t i = 0;
    while (t->list[i] != e)
        i++;
    memmove(t->list + i, t->list + i + 1, (t->count - i - 1) * sizeof(struct ss_entry *));
}

static void set_action(const struct ss_table *t, struct ss_entry *e, uint32_t action, const uint64_t *data)
{
    e->action = action;
    memcpy((uint64_t *)ss_entry_data(t->layout, e), data, t->layout->data_words * sizeof *data);
}

static enum ss_result insert(
    struct ss_table *t, const struct ss_op *op, const uint64_t *mask, const uint64_t *data, uint64_t now_us)
{
    if (t->count >= t->layout->size)
        return SS_FULL;
    struct ss_entry *e = entry_take(t);
    e->priority = op->priority;
    e->order = t->inserted++;
    memcpy(e->words, op->words, t->layout->words * (t->layout->match == SS_RANGED ? 2u : 1u) * sizeof(uint64_t));
    set_action(t, e, op->action, data);
    if (t->layout->idle)
        ((uint64_t *)ss_entry_data(t->layout, e))[t->layout->data_words] = now_us;
    if (t->layout->match == SS_RANGED) {
        ranged_insert(t, e);
    } else if (!hashed_insert(t, e, mask)) {
        entry_give(t, e);
        return SS_NO_MEMORY;
    }
    return SS_OK;
}

static void clear(struct ss_table *t)
{
    for (uint32_t i = 0; i < t->n_groups; i++)
        group_free(t->groups[i]);
    t->n_groups = t->count = t->fresh = 0;
    t->free = NULL;
}

enum ss_result ss_table_do(struct ss_table *t, const struct ss_op *op, uint64_t now_us, uint8_t *out, size_t length)
{
    const struct ss_table_layout *l = t->layout;
    const uint64_t *mask = l->match == SS_EXACT ? NULL : op->words + l->words;
    const uint64_t *data = op->words + l->words * (mask ? 2u : 1u);
    if (op->operation == SS_SET_DEFAULT || op->operation == SS_RESET_DEFAULT) {
        bool reset = op->operation == SS_RESET_DEFAULT;
        t->default_action = reset ? t->initial_action : op->action;
        memcpy(t->default_data, reset ? t->initial_data : data, l->data_words * sizeof *data);
        return SS_OK;
    }
    if (op->operation == SS_CLEAR) {
        clear(t);
        return SS_OK;
    }
    struct ss_entry *e = l->match == SS_RANGED ? ranged_find(t, op->words, op->priority)
                                               : hashed_find(t, op->words, mask, op->priority);
    if (op->operation == SS_INSERT)
        return e ? SS_EXISTS : insert(t, op, mask, data, now_us);
    if (!e)
        return SS_ABSENT;
    switch (op->operation) {
    case SS_MODIFY:
        set_action(t, e, op->action, data);
        break;
    case SS_READ:
        memcpy(out, (const uint8_t *)e + op->offset, length);
        break;
    case SS_WRITE:
        memcpy((uint8_t *)e + op->offset, (const uint8_t *)op + op->bytes - op->length, op->length);
        break;
    default:
        if (l->match == SS_RANGED)
            ranged_remove(t, e);
        else
            hashed_remove(t, e, mask);
        entry_give(t, e);
    }
    return SS_OK;
}

typedef void with_entry(void *context, struct ss_entry *e, const uint64_t *mask);

/* `mask` is NULL in tables without masks beside their entries. */
static void each_entry(struct ss_table *t, with_entry *call, void *context)
{
    if (t->layout->match == SS_RANGED) {
        for (uint32_t i = 0; i < t->count; i++)
            call(context, t->list[i], NULL);
        return;
    }
    for (uint32_t g = 0; g < t->n_groups; g++)
        for (uint32_t i = 0; i <= t->groups[g]->last; i++) {
            uint32_t index = t->groups[g]->slots[i].entry;
            for (struct ss_entry *e = index ? ss_entry_at(t, index - 1) : NULL; e; e = e->next)
                call(context, e, t->layout->match == SS_EXACT ? NULL : t->groups[g]->mask);
        }
}

struct counts {
    struct ss_table *to;
    const struct ss_table *from;
};

static void carry_counts(void *context, struct ss_entry *e, const uint64_t *mask)
{
    const struct counts *c = context;
    struct ss_table *to = c->to;
    const struct ss_table *from = c->from;
    struct ss_entry *same = to->layout->match == SS_RANGED ? ranged_find(to, e->words, e->priority)
                                                           : hashed_find(to, e->words, mask, e->priority);
    if (!same)
        return;
    same->counter = e->counter;
    const uint64_t *tail = ss_entry_data(from->layout, e) + from->layout->data_words;
    size_t bytes = from->stride - (size_t)((const uint8_t *)tail - (const uint8_t *)e);
    memcpy((uint64_t *)ss_entry_data(to->layout, same) + to->layout->data_words, tail, bytes);
}

void ss_table_carry_counts(struct ss_table *to, struct ss_table *from)
{
    each_entry(from, carry_counts, &(struct counts){to, from});
}

struct renumbering {
    const struct ss_renumbered *actions;
    uint32_t n;
};

static void renumber(void *context, struct ss_entry *e, const uint64_t *mask)
{
    const struct renumbering *r = context;
    (void)mask;
    for (uint32_t i = 0; i < r->n; i++)
        if (r->actions[i].from == e->action) {
            e->action = r->actions[i].to;
            return;
        }
}

void ss_table_carry_entries(struct ss_table *to, struct ss_table *from, const struct ss_renumbered *actions, uint32_t n)
{
    SS_EXCHANGE(*from, *to);
    SS_EXCHANGE(from->layout, to->layout);
    SS_EXCHANGE(from->default_action, to->default_action);
    SS_EXCHANGE(from->default_data, to->default_data);
    SS_EXCHANGE(from->initial_action, to->initial_action);
    SS_EXCHANGE(from->initial_data, to->initial_data);
    if (n)
        each_entry(to, renumber, &(struct renumbering){actions, n});
}

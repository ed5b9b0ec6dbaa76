/* SPDX-License-Identifier: Apache-2.0 */
/* What a program remembers (`struct ss_state`), changed and read between two packets. */
#define _GNU_SOURCE
#include "engine.h"
#include "meter.h"
#include "profile.h"

#include <string.h>

struct apply {
    struct ss_command command;
    struct ss_loaded *loaded; /* NULL: the running program */
    const uint8_t *ops;
    uint32_t n;
    int32_t *results;
    uint8_t *cells; /* one for each operation, or NULL */
    size_t cell; /* bytes of one */
};

static void do_apply(struct ss_engine *e, struct ss_command *c)
{
    struct apply *a = (struct apply *)c;
    struct ss_loaded *l = a->loaded ? a->loaded : e->loaded;
    const uint8_t *at = a->ops;
    uint64_t now_us = ss_now_us(e);
    for (uint32_t i = 0; i < a->n; i++) {
        const struct ss_op *op = (const struct ss_op *)(const void *)at;
        if (op->operation < SS_SET_MEMBER)
            a->results[i] = (int32_t)ss_table_do(&l->state.tables[op->target], op, now_us, a->cells + i * a->cell, a->cell);
        else
            a->results[i] = (int32_t)ss_profile_do(&l->state.profiles[op->target], op);
        at += op->bytes;
    }
}

void ss_apply(struct ss_engine *e, struct ss_loaded *l, const uint8_t *ops, uint32_t n, int32_t *results, uint8_t *cells, size_t cell)
{
    struct apply a = {{.run = do_apply}, l, ops, n, results, cells, cell};
    if (l)
        do_apply(e, &a.command);
    else
        ss_execute(e, &a.command);
}

/* Remembers a table's present default as the one that SS_RESET_DEFAULT restores. */
void ss_keep_default(struct ss_loaded *l, uint32_t table)
{
    struct ss_table *t = &l->state.tables[table];
    t->initial_action = t->default_action;
    memcpy(t->initial_data, t->default_data, t->layout->data_words * sizeof(uint64_t));
}

struct array {
    struct ss_command command;
    int kind; /* enum ss_array */
    bool write;
    uint32_t which, first, count;
    uint32_t offset, length; /* the bytes of each cell that are meant */
    uint8_t *values;
};

static void do_array(struct ss_engine *e, struct ss_command *c)
{
    struct array *a = (struct array *)c;
    const struct ss_program *p = e->loaded->program;
    const struct ss_state *s = &e->loaded->state;
    size_t cell = sizeof(struct ss_cell);
    uint8_t *at = NULL;
    switch (a->kind) {
    case SS_COUNTERS:
        at = (uint8_t *)s->counters[a->which];
        break;
    case SS_REGISTERS:
        at = s->registers[a->which];
        cell = p->registers[a->which].cell;
        break;
    case SS_METERS:
        at = (uint8_t *)s->meters[a->which];
        cell = sizeof(struct ss_meter);
    }
    at += a->first * cell + a->offset;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->write)
            memcpy(at + i * cell, a->values + i * a->length, a->length);
        else
            memcpy(a->values + i * a->length, at + i * cell, a->length);
}

/* Reads or writes cells, or a part of each, of counter, register or meter array `which`; Python has checked the bounds. */
void ss_array(struct ss_engine *e, int kind, int write, uint32_t which, uint32_t first, uint32_t count, uint32_t offset, uint32_t length, uint8_t *values)
{
    struct array a = {{.run = do_array}, kind, write, which, first, count, offset, length, values};
    ss_execute(e, &a.command);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A program takes the place of the running one, and may take over what that has counted. */
#define _GNU_SOURCE
#include "engine.h"
#include "profile.h"

struct exchange {
    struct ss_command command;
    struct ss_loaded *loaded;
    const struct ss_carry *carries;
    uint32_t n;
    const struct ss_renumbered *actions;
};

/* What both have changes places, so that each is freed with the program whose size it has: they are alike. */
static void carry(struct ss_state *from, struct ss_state *to, const struct ss_carry *c, const struct ss_renumbered *actions)
{
    switch (c->kind) {
    case SS_CARRY_COUNTER:
        SS_EXCHANGE(from->counters[c->from], to->counters[c->to]);
        break;
    case SS_CARRY_REGISTER:
        SS_EXCHANGE(from->registers[c->from], to->registers[c->to]);
        break;
    case SS_CARRY_METER:
        SS_EXCHANGE(from->meters[c->from], to->meters[c->to]);
        break;
    case SS_CARRY_PROFILE:
        SS_EXCHANGE(from->profiles[c->from], to->profiles[c->to]);
        SS_EXCHANGE(from->profiles[c->from].layout, to->profiles[c->to].layout);
        break;
    case SS_CARRY_ENTRIES:
        ss_table_carry_entries(&to->tables[c->to], &from->tables[c->from], actions + c->first_action, c->n_actions);
        break;
    default:
        ss_table_carry_counts(&to->tables[c->to], &from->tables[c->from]);
    }
}

static void do_exchange(struct ss_engine *e, struct ss_command *command)
{
    struct exchange *x = (struct exchange *)command;
    struct ss_loaded *old = e->loaded;
    /* What waits for its egress has the layout of the program before. */
    ss_queues_empty(e);
    ss_flush(e);
    for (uint32_t i = 0; old && i < x->n; i++)
        carry(&old->state, &x->loaded->state, &x->carries[i], x->actions);
    x->loaded->state.host = &e->host;
    e->loaded = x->loaded;
    x->loaded = old;
}

/* Makes a program the running one and forgets the one before. */
void ss_swap(struct ss_engine *e, struct ss_loaded *l)
{
    struct exchange x = {{.run = do_exchange}, l, NULL, 0, NULL};
    ss_execute(e, &x.command);
    ss_discard(x.loaded);
}

/* Gives the program of another switch, which has no packet thread, to this one, between two packets. */
void ss_adopt(struct ss_engine *e, struct ss_engine *other, const struct ss_carry *carries, uint32_t n, const struct ss_renumbered *actions)
{
    struct exchange x = {{.run = do_exchange}, other->loaded, carries, n, actions};
    other->loaded = NULL;
    ss_execute(e, &x.command);
    ss_discard(x.loaded);
}

/* Entries and meters remember times: those of a program that changes switches have to mean the same there. */
void ss_use_clock(struct ss_engine *e, const struct ss_engine *other) { e->started_ns = other->started_ns; }

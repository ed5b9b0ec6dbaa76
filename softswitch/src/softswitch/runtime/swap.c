/* A program takes the place of the running one, and may take over what that has counted. */
#define _GNU_SOURCE
#include "engine.h"

enum carry_kind { CARRY_COUNTER, CARRY_REGISTER, CARRY_METER, CARRY_TABLE };

/* What the old program has as number `from` and the new one, alike, as number `to`. */
struct ss_carry {
    uint32_t kind, from, to;
};

struct exchange {
    struct ss_command command;
    struct ss_loaded *loaded;
    const struct ss_carry *carries;
    uint32_t n;
};

static void carry(struct ss_state *from, struct ss_state *to, const struct ss_carry *c)
{
    /* The arrays change places, so that each is freed with the program whose size it has: they are alike. */
    switch (c->kind) {
    case CARRY_COUNTER: {
        struct ss_cell *cells = from->counters[c->from];
        from->counters[c->from] = to->counters[c->to];
        to->counters[c->to] = cells;
        break;
    }
    case CARRY_REGISTER: {
        void *cells = from->registers[c->from];
        from->registers[c->from] = to->registers[c->to];
        to->registers[c->to] = cells;
        break;
    }
    case CARRY_METER: {
        struct ss_meter *cells = from->meters[c->from];
        from->meters[c->from] = to->meters[c->to];
        to->meters[c->to] = cells;
        break;
    }
    default:
        ss_table_carry(&to->tables[c->to], &from->tables[c->from]);
    }
}

static void do_exchange(struct ss_engine *e, struct ss_command *command)
{
    struct exchange *x = (struct exchange *)command;
    struct ss_loaded *old = e->loaded;
    ss_flush(e);
    for (uint32_t i = 0; old && i < x->n; i++)
        carry(&old->state, &x->loaded->state, &x->carries[i]);
    x->loaded->state.host = &e->host;
    e->loaded = x->loaded;
    x->loaded = old;
}

/* Makes a program the running one and forgets the one before. */
void ss_swap(struct ss_engine *e, struct ss_loaded *l)
{
    struct exchange x = {{.run = do_exchange}, l, NULL, 0};
    ss_execute(e, &x.command);
    ss_discard(x.loaded);
}

/* Gives the program of another switch, which has no packet thread, to this one, between two packets. */
void ss_adopt(struct ss_engine *e, struct ss_engine *other, const struct ss_carry *carries, uint32_t n)
{
    struct exchange x = {{.run = do_exchange}, other->loaded, carries, n};
    other->loaded = NULL;
    ss_execute(e, &x.command);
    ss_discard(x.loaded);
}

/* Entries and meters remember times: those of a program that changes switches have to mean the same there. */
void ss_use_clock(struct ss_engine *e, const struct ss_engine *other) { e->started_ns = other->started_ns; }

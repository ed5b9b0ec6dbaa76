/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and links as Python sets and reads them. A port that has neither, which is all of them at first, has no line. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

/* Close seeds give unlike numbers, so ports and directions may be told by small differences. */
static uint64_t seed_of(uint64_t seed, uint32_t port, enum ss_direction direction)
{
    uint64_t z = seed + ((uint64_t)port * 2 + direction + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static struct ss_line *line_of(struct ss_engine *e, uint32_t port)
{
    if (port >= SS_MAX_PORTS || (!e->shaping && !(e->shaping = calloc(1, sizeof *e->shaping))))
        return NULL;
    struct ss_shaping *s = e->shaping;
    if (s->by_port[port])
        return s->by_port[port];
    struct ss_line *line = s->n < SS_LINES ? calloc(1, sizeof *line) : NULL;
    if (!line)
        return NULL;
    line->port = port;
    line->number = s->n;
    for (uint32_t i = 0; i < SS_PRIORITIES; i++)
        line->queues[i].depth = SS_QUEUE_DEPTH;
    for (unsigned i = SS_OUT; i <= SS_IN; i++)
        line->links[i].random = seed_of(e->shaping_seed, port, i);
    s->due[s->n] = SS_NEVER;
    s->lines[s->n++] = line;
    s->by_port[port] = line;
    return line;
}

static void settle_line(struct ss_line *line)
{
    line->queued = line->deep || line->pushed || line->links[SS_OUT].is.bits_per_second;
    for (uint32_t i = 0; i < SS_PRIORITIES; i++)
        line->queued |= line->queues[i].gap_ns || line->queues[i].size;
}

/* A port's interface has not taken all that it was given, or has by now. BMv2 waits for it, and so fills the port's queue. */
void ss_port_holds_back(struct ss_engine *e, uint32_t port, uint32_t packets)
{
    struct ss_line *line = line_of(e, port);
    if (!line)
        return;
    if (!line->pushed)
        ss_log(&e->host, SS_INFO, "port %u: its interface is slower than what is sent there, which waits in the port's queue", port);
    line->pushed = line->queued = true;
    e->shaping->holding += (packets > 0) - (line->held_back > 0);
    line->held_back = packets;
    ss_shaping_reckon(e->shaping, line);
}

struct queue_change {
    struct ss_command command;
    uint32_t port;
    int priority; /* -1: all */
    int64_t depth, rate; /* -1: as it is */
    int error;
};

static void do_queue(struct ss_engine *e, struct ss_command *c)
{
    struct queue_change *change = (struct queue_change *)c;
    struct ss_line *line = line_of(e, change->port);
    if (!line) {
        change->error = ENOSPC;
        return;
    }
    for (int i = 0; i < SS_PRIORITIES; i++) {
        struct ss_queue *q = &line->queues[i];
        if (change->priority >= 0 && i != change->priority)
            continue;
        if (change->depth >= 0) {
            q->depth = (uint32_t)change->depth;
            line->deep = true;
        }
        if (change->rate >= 0)
            q->gap_ns = change->rate ? (uint64_t)(1e9 / (double)change->rate) : 0;
    }
    settle_line(line);
}

/* Depth in packets and rate in packets a second of a port's queues (`priority` -1), or of one; -1 leaves it, rate 0 is none.
 * Returns 0 or ENOSPC. */
int ss_set_queue(struct ss_engine *e, uint32_t port, int priority, int64_t depth, int64_t rate)
{
    struct queue_change change = {{.run = do_queue}, port, priority, depth, rate, 0};
    ss_execute(e, &change.command);
    return change.error;
}

struct link_change {
    struct ss_command command;
    uint32_t port;
    enum ss_direction direction;
    const struct ss_link_settings *settings;
    bool seeded;
    uint64_t seed;
    int error;
};

static void do_link(struct ss_engine *e, struct ss_command *c)
{
    struct link_change *change = (struct link_change *)c;
    struct ss_line *line = line_of(e, change->port);
    if (!line) {
        change->error = ENOSPC;
        return;
    }
    struct ss_link *link = &line->links[change->direction];
    if (!change->settings->bits_per_second)
        link->free_ns = 0;
    link->is = *change->settings;
    link->on = link->is.delay_ns || link->is.bits_per_second || link->is.loss > 0 || link->is.reorder > 0 || link->fifo.first;
    if (change->seeded)
        link->random = seed_of(change->seed, change->port, change->direction);
    settle_line(line);
    ss_shaping_reckon(e->shaping, line);
}

/* Sets a link; with `seed`, what is random on it begins anew. Returns 0 or ENOSPC. */
int ss_set_link(struct ss_engine *e, uint32_t port, int direction, const struct ss_link_settings *settings, const uint64_t *seed)
{
    struct link_change change = {{.run = do_link}, port, (enum ss_direction)direction, settings, seed != NULL, seed ? *seed : 0, 0};
    ss_execute(e, &change.command);
    return change.error;
}

struct line_query {
    struct ss_command command;
    struct ss_line_state *states;
    uint32_t room, count;
};

static void do_lines(struct ss_engine *e, struct ss_command *c)
{
    struct line_query *query = (struct line_query *)c;
    for (uint32_t n = 0; e->shaping && n < e->shaping->n && query->count < query->room; n++) {
        const struct ss_line *line = e->shaping->lines[n];
        struct ss_line_state *s = &query->states[query->count++];
        *s = (struct ss_line_state){.port = line->port, .queued = line->queued};
        for (uint32_t i = 0; i < SS_PRIORITIES; i++) {
            s->depth[i] = line->queues[i].depth;
            s->size[i] = line->queues[i].size;
            s->gap_ns[i] = line->queues[i].gap_ns;
            s->dropped[i] = line->queues[i].dropped;
        }
        for (unsigned i = SS_OUT; i <= SS_IN; i++) {
            s->link[i] = line->links[i].is;
            s->flying[i] = line->links[i].flying;
            s->lost[i] = line->links[i].lost;
            s->reordered[i] = line->links[i].reordered;
            s->link_dropped[i] = line->links[i].dropped;
        }
    }
}

uint32_t ss_lines(struct ss_engine *e, struct ss_line_state *states, uint32_t room)
{
    struct line_query query = {{.run = do_lines}, states, room, 0};
    ss_execute(e, &query.command);
    return query.count;
}

struct waiting {
    struct ss_command command;
    uint64_t count;
};

static void do_waiting(struct ss_engine *e, struct ss_command *c)
{
    struct waiting *w = (struct waiting *)c;
    for (uint32_t n = 0; e->shaping && n < e->shaping->n; n++) {
        const struct ss_line *line = e->shaping->lines[n];
        w->count += line->links[SS_OUT].flying + line->links[SS_IN].flying;
        for (uint32_t i = 0; i < SS_PRIORITIES; i++)
            w->count += line->queues[i].size;
    }
}

uint64_t ss_waiting(struct ss_engine *e)
{
    struct waiting w = {{.run = do_waiting}, 0};
    ss_execute(e, &w.command);
    return w.count;
}

/* Before `ss_start`: how many queues a port has. */
void ss_set_priorities(struct ss_engine *e, uint32_t priorities) { e->priorities = priorities < SS_PRIORITIES ? priorities : SS_PRIORITIES; }

struct settling {
    struct ss_command command;
    uint64_t until_ns, at_ns;
    struct ss_capture *capture;
};

static void do_settle(struct ss_engine *e, struct ss_command *c)
{
    struct settling *s = (struct settling *)c;
    uint64_t next = ss_shaping_next(e), now = ss_now_ns(e);
    bool stands = e->frozen_us >= 0;
    if (next == SS_NEVER || (next > now && !(stands && next <= s->until_ns)))
        return;
    if (stands && next > now) {
        e->frozen_us = (int64_t)(next / 1000);
        e->frozen_ns = (uint32_t)(next % 1000);
    }
    s->at_ns = ss_now_ns(e);
    e->capture = s->capture;
    ss_shaping_run(e, s->at_ns);
    e->capture = NULL;
    ss_flush(e);
}

/* The next moment, up to `until_ns`, at which something leaves a queue or link. A clock that stands is moved there; one that runs
 * has come to it. Returns that moment or SS_NEVER, and what leaves the switch then, as ss_inject does. */
uint64_t ss_settle(struct ss_engine *e, uint64_t until_ns, uint8_t **out, size_t *length)
{
    struct ss_capture capture = {0};
    struct settling s = {{.run = do_settle}, until_ns, SS_NEVER, &capture};
    ss_execute(e, &s.command);
    *out = capture.data;
    *length = capture.length;
    return s.at_ns;
}

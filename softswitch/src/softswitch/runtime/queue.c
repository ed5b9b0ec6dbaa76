/* SPDX-License-Identifier: Apache-2.0 */
/* Queues before egress and links behind ports. Both send by the times at which packets could leave, not by those at which the packet
 * thread came to look, so that a late thread makes no rate smaller. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static const uint64_t SECOND_NS = 1000000000u;

static void append(struct ss_fifo *fifo, struct ss_held *held)
{
    held->next = NULL;
    if (fifo->last)
        fifo->last->next = held;
    else
        fifo->first = held;
    fifo->last = held;
}

static struct ss_held *take(struct ss_fifo *fifo)
{
    struct ss_held *held = fifo->first;
    fifo->first = held->next;
    if (!held->next)
        fifo->last = NULL;
    return held;
}

static void release(struct ss_fifo *fifo)
{
    while (fifo->first)
        free(take(fifo));
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* When the first packet of a line's queues may leave. */
static uint64_t queue_due(const struct ss_line *line)
{
    uint64_t due = SS_NEVER;
    for (uint32_t i = 0; i < SS_PRIORITIES && line->held_back < SS_HELD_BACK; i++)
        if (line->queues[i].fifo.first)
            due = earlier(due, line->queues[i].fifo.first->due_ns);
    if (due != SS_NEVER && line->links[SS_OUT].is.bits_per_second)
        due = later(due, line->links[SS_OUT].free_ns);
    return due;
}

static uint64_t link_due(const struct ss_link *link) { return link->fifo.first ? link->fifo.first->due_ns : SS_NEVER; }

void ss_shaping_reckon(struct ss_shaping *s, const struct ss_line *line)
{
    s->due[line->number] = earlier(queue_due(line), earlier(link_due(&line->links[SS_OUT]), link_due(&line->links[SS_IN])));
}

/* What a copied PHV has as pointers into the packet shall point into the copy of that. */
static void relocate(const struct ss_program *p, uint8_t *phv, const struct ss_packet *from, const uint8_t *to)
{
    for (uint32_t i = 0; i < p->n_pointers; i++) {
        const uint8_t *at;
        memcpy(&at, phv + p->pointers[i], sizeof at);
        if (!at || (uintptr_t)at < (uintptr_t)from->data || (uintptr_t)at > (uintptr_t)from->data + from->length)
            continue;
        at = to + (at - from->data);
        memcpy(phv + p->pointers[i], &at, sizeof at);
    }
}

/* Whether there was room. The packet is e->packet. */
bool ss_queue_put(struct ss_engine *e, struct ss_line *line, struct ss_phv *phv)
{
    const struct ss_program *p = e->loaded->program;
    struct ss_queue *q = &line->queues[phv->std.priority];
    uint64_t now = ss_now_ns(e);
    phv->std.enq_timestamp = (uint32_t)(now / 1000);
    phv->std.enq_qdepth = q->size;
    size_t before = (p->phv_size + 15u) & ~(size_t)15;
    struct ss_held *held = q->size < q->depth ? malloc(sizeof *held + before + e->packet.length + 1) : NULL;
    if (!held) {
        q->dropped++;
        return false;
    }
    uint8_t *data = held->data + before;
    q->last_ns = later(now, q->last_ns + q->gap_ns);
    *held = (struct ss_held){
        .due_ns = q->last_ns,
        .enqueued_us = now / 1000,
        .packet = {data, e->packet.length, e->packet.port},
        .port = line->port,
        .priority = phv->std.priority,
        .passes = e->passes,
    };
    memcpy(held->data, phv, p->phv_size);
    if (e->packet.length)
        memcpy(data, e->packet.data, e->packet.length);
    relocate(p, held->data, &e->packet, data);
    append(&q->fifo, held);
    q->size++;
    ss_shaping_reckon(e->shaping, line);
    return true;
}

static void egress(struct ss_engine *e, struct ss_line *line, struct ss_queue *q)
{
    struct ss_held *held = take(&q->fifo);
    held->depth = --q->size;
    line->held_back += line->held_back > 0;
    e->shaping->started_ns = later(held->due_ns, line->links[SS_OUT].free_ns);
    if (e->host.trace)
        ss_dequeued_traced(e, held);
    else if (!e->trace_packets || !ss_tell_dequeued(e, held))
        ss_dequeued(e, held);
    e->shaping->started_ns = 0;
    append(&e->shaping->done, held);
}

/* The queue of the highest priority whose first packet may leave now. */
static struct ss_queue *ready(struct ss_line *line, uint64_t now_ns)
{
    if (line->held_back >= SS_HELD_BACK || (line->links[SS_OUT].is.bits_per_second && line->links[SS_OUT].free_ns > now_ns))
        return NULL;
    for (uint32_t i = SS_PRIORITIES; i-- > 0;)
        if (line->queues[i].fifo.first && line->queues[i].fifo.first->due_ns <= now_ns)
            return &line->queues[i];
    return NULL;
}

static uint64_t next_random(struct ss_link *link)
{
    uint64_t z = link->random += 0x9e3779b97f4a7c15u; /* SplitMix64, as in ss_seed */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Even in [0, 1). */
static double draw(struct ss_link *link) { return (double)(next_random(link) >> 11) * 0x1p-53; }

static uint64_t flight(struct ss_link *link)
{
    uint64_t delay = link->is.delay_ns, jitter = link->is.jitter_ns;
    return jitter ? delay - jitter + (uint64_t)(draw(link) * (double)(2 * jitter + 1)) : delay;
}

static void arrive(struct ss_engine *e, struct ss_line *line, enum ss_direction direction, const uint8_t *head, uint32_t head_length, const uint8_t *tail, uint32_t tail_length)
{
    if (direction == SS_OUT) {
        ss_emit(e, line->port, head, head_length, tail, tail_length);
    } else {
        e->arrived_us = ss_now_us(e);
        ss_switch_packet(e, line->port, head, head_length);
    }
}

/* A packet begins its way over a link; one into the switch is whole in `head`. */
void ss_link_put(struct ss_engine *e, struct ss_line *line, enum ss_direction direction, const uint8_t *head, uint32_t head_length, const uint8_t *tail, uint32_t tail_length)
{
    struct ss_link *link = &line->links[direction];
    uint32_t length = head_length + tail_length;
    uint64_t now = ss_now_ns(e), start = now;
    if (link->is.bits_per_second) {
        if (direction == SS_OUT && e->shaping->started_ns)
            start = earlier(now, e->shaping->started_ns);
        start = later(start, link->free_ns);
        if (direction == SS_IN && (u128)(start - now) * link->is.bits_per_second > (u128)SS_BACKLOG_BYTES * 8 * SECOND_NS) {
            link->dropped++;
            return;
        }
        start += (uint64_t)((u128)length * 8 * SECOND_NS / link->is.bits_per_second);
        link->free_ns = start;
    }
    if (link->is.loss > 0 && draw(link) < link->is.loss) {
        link->lost++;
        return;
    }
    if (link->is.reorder > 0 && draw(link) < link->is.reorder) {
        link->reordered++;
        arrive(e, line, direction, head, head_length, tail, tail_length);
        return;
    }
    uint64_t due = start + flight(link); /* or once those before it have arrived */
    if (due <= now && !link->fifo.first) {
        arrive(e, line, direction, head, head_length, tail, tail_length);
        return;
    }
    struct ss_held *held = link->bytes + length <= SS_FLYING_BYTES ? malloc(sizeof *held + length + 1) : NULL;
    if (!held) {
        link->dropped++;
        return;
    }
    *held = (struct ss_held){.due_ns = due, .packet = {held->data, length, line->port}, .port = line->port};
    memcpy(held->data, head, head_length);
    if (tail_length)
        memcpy(held->data + head_length, tail, tail_length);
    link->flying++;
    link->bytes += length;
    append(&link->fifo, held);
    ss_shaping_reckon(e->shaping, line);
}

static void land(struct ss_engine *e, struct ss_line *line, enum ss_direction direction)
{
    struct ss_link *link = &line->links[direction];
    struct ss_held *held = take(&link->fifo);
    link->flying--;
    link->bytes -= held->packet.length;
    arrive(e, line, direction, held->data, held->packet.length, NULL, 0);
    append(&e->shaping->done, held);
}

/* One packet of the line goes a step further, if one may. */
static bool step(struct ss_engine *e, struct ss_line *line, uint64_t now_ns)
{
    struct ss_queue *q = ready(line, now_ns);
    if (q)
        egress(e, line, q);
    else if (link_due(&line->links[SS_OUT]) <= now_ns)
        land(e, line, SS_OUT);
    else if (link_due(&line->links[SS_IN]) <= now_ns)
        land(e, line, SS_IN);
    else
        return false;
    ss_shaping_reckon(e->shaping, line);
    return true;
}

/* All that may leave by now. What a packet does on its way may let another one go on. */
void ss_shaping_run(struct ss_engine *e, uint64_t now_ns)
{
    struct ss_shaping *s = e->shaping;
    if (s->running)
        return;
    s->running = true;
    for (bool again = true; again;) {
        again = false;
        for (uint32_t i = 0; i < s->n; i++)
            while (s->due[i] <= now_ns && step(e, s->lines[i], now_ns))
                again = true;
    }
    s->running = false;
}

/* When something may leave next, or SS_NEVER. */
uint64_t ss_shaping_next(const struct ss_engine *e)
{
    uint64_t next = SS_NEVER;
    for (uint32_t i = 0; e->shaping && i < e->shaping->n; i++)
        next = earlier(next, e->shaping->due[i]);
    return next;
}

/* All that may leave now; returns when something may next, or SS_NEVER. Where nothing waits, it costs next to nothing. */
uint64_t ss_shaping_pass(struct ss_engine *e)
{
    uint64_t next = ss_shaping_next(e), now;
    if (next == SS_NEVER || next > (now = ss_now_ns(e)))
        return next;
    ss_shaping_run(e, now);
    return ss_shaping_next(e);
}

/* Packets that were sent are not looked at any more. */
void ss_shaping_flushed(struct ss_shaping *s) { release(&s->done); }

/* Whatever its rate, all that waits for its egress gets it now. */
void ss_queues_empty(struct ss_engine *e)
{
    for (bool again = e->shaping != NULL; again;) {
        again = false;
        for (uint32_t i = 0; i < e->shaping->n; i++)
            for (uint32_t k = SS_PRIORITIES; k-- > 0;)
                while (e->shaping->lines[i]->queues[k].fifo.first) {
                    egress(e, e->shaping->lines[i], &e->shaping->lines[i]->queues[k]);
                    again = true;
                }
    }
    for (uint32_t i = 0; e->shaping && i < e->shaping->n; i++)
        ss_shaping_reckon(e->shaping, e->shaping->lines[i]);
}

void ss_shaping_free(struct ss_engine *e)
{
    struct ss_shaping *s = e->shaping;
    for (uint32_t i = 0; s && i < s->n; i++) {
        for (uint32_t k = 0; k < SS_PRIORITIES; k++)
            release(&s->lines[i]->queues[k].fifo);
        release(&s->lines[i]->links[SS_OUT].fifo);
        release(&s->lines[i]->links[SS_IN].fifo);
        free(s->lines[i]);
    }
    if (s)
        release(&s->done);
    free(s);
    e->shaping = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One packet to completion, in the order of BMv2's simple_switch: parser, ingress, then clone, digest, resubmit, multicast,
 * drop or unicast; egress, clone, drop, deparser, recirculate. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>

#include "engine.h"

static void egress(struct ss_engine *e, struct ss_phv *phv, uint32_t port);

#ifndef SS_TRACED
static uint64_t elapsed_ns(const struct ss_engine *e)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec - e->started_ns;
}

uint64_t ss_now_us(const struct ss_engine *e)
{
    return e->frozen_us >= 0 ? (uint64_t)e->frozen_us : (elapsed_ns(e) / 1000) & SS_CLOCK_MASK;
}

uint64_t ss_now_ns(const struct ss_engine *e)
{
    return e->frozen_us >= 0 ? (uint64_t)e->frozen_us * 1000 + e->frozen_ns : elapsed_ns(e);
}
#endif

/* Writes to the packet's trace, in switch_traced.c, which is this file once more. */
#ifdef SS_TRACED
#define LEAVE_QUEUE ss_dequeued_traced
#define NOTE(e, kind, subject, ...)                                                                                                \
    ss_trace_words(&(e)->host, kind, subject, (const uint64_t[]){__VA_ARGS__},                                                     \
                   sizeof(const uint64_t[]){__VA_ARGS__} / sizeof(uint64_t))
#else
#define LEAVE_QUEUE ss_dequeued
#define NOTE(...) ((void)0)
#endif

static struct ss_phv *phv_at(const struct ss_engine *e, uint32_t index)
{
    return (struct ss_phv *)(void *)(e->loaded->phvs + index * e->loaded->phv_stride);
}

static void reset_metadata(const struct ss_engine *e, struct ss_phv *phv)
{
    const struct ss_program *p = e->loaded->program;
    memset(&phv->std, 0, sizeof phv->std);
    memset((uint8_t *)phv + p->metadata_offset, 0, p->metadata_size);
}

/* A PHV as at the parser's start, for a packet of `length` bytes. */
static void begin(const struct ss_engine *e, struct ss_phv *phv, uint32_t received, uint32_t length)
{
    memset(phv, 0, sizeof *phv);
    memset((uint8_t *)phv + e->loaded->program->metadata_offset, 0, e->loaded->program->metadata_size);
    phv->received = received;
    phv->length = length;
    phv->truncate = UINT32_MAX;
    phv->std.packet_length = length;
}

static void clear_requests(struct ss_phv *phv)
{
    phv->clone_session = phv->clone_list = phv->learn_list = phv->resubmit_list = phv->recirculate_list = 0;
    phv->truncate = UINT32_MAX;
    phv->exit = 0;
}

static bool another_pass(struct ss_engine *e)
{
    if (++e->passes <= SS_PASSES)
        return true;
    if (e->passes == SS_PASSES + 1)
        ss_log(&e->host, SS_ERROR, "a packet was resubmitted, recirculated or cloned %d times: dropped", SS_PASSES);
    return false;
}

#ifndef SS_TRACED
void ss_flush(struct ss_engine *e)
{
    for (uint32_t i = 0; i < e->n_attached; i++) {
        struct ss_port *port = e->attached[i];
        if (!port->io)
            continue;
        port->unsent += port->io->io->flush(port->io);
        if (__builtin_expect(port->io->held_back | port->held_back, 0))
            ss_port_holds_back(e, port->number, port->held_back = port->io->held_back);
    }
    e->heads_used = 0;
    if (__builtin_expect(e->shaping != NULL, 0))
        ss_shaping_flushed(e->shaping);
}
#endif

#ifndef SS_TRACED
static void capture(struct ss_capture *c, uint32_t port, const uint8_t *head, uint32_t head_length, const uint8_t *tail, uint32_t tail_length)
{
    uint32_t prefix[2] = {port, head_length + tail_length};
    size_t need = c->length + sizeof prefix + head_length + tail_length;
    if (need > c->room) {
        uint8_t *larger = realloc(c->data, need * 2);
        if (!larger)
            return;
        c->data = larger;
        c->room = need * 2;
    }
    memcpy(c->data + c->length, prefix, sizeof prefix);
    memcpy(c->data + c->length + sizeof prefix, head, head_length);
    if (tail_length)
        memcpy(c->data + c->length + sizeof prefix + head_length, tail, tail_length);
    c->length = need;
}

/* Out of the switch, and off any link of the port. */
void ss_emit(struct ss_engine *e, uint32_t port, const uint8_t *head, uint32_t head_length, const uint8_t *tail, uint32_t tail_length)
{
    if (e->capture) {
        capture(e->capture, port, head, head_length, tail, tail_length);
        return;
    }
    if (port == e->cpu_port) {
        ss_events_put(&e->events, SS_EVENT_PACKET_IN, head_length + tail_length, 0, head, head_length, tail, tail_length);
        return;
    }
    struct ss_port *out = port < SS_MAX_PORTS ? e->ports[port] : NULL;
    if (!out || !out->io)
        return;
    if (!out->io->io->send(out->io, head, head_length, tail, tail_length)) {
        out->unsent += out->io->io->flush(out->io);
        if (!out->io->io->send(out->io, head, head_length, tail, tail_length))
            out->unsent++;
    }
}
#endif

static void leave(struct ss_engine *e, uint32_t port, const uint8_t *head, uint32_t head_length, const uint8_t *tail, uint32_t tail_length)
{
    NOTE(e, SS_TRACE_OUT, port, head_length + tail_length, tail_length);
    struct ss_line *line = __builtin_expect(e->shaping != NULL, 0) ? ss_line_at(e->shaping, port) : NULL;
    if (line && line->links[SS_OUT].on)
        ss_link_put(e, line, SS_OUT, head, head_length, tail, tail_length);
    else
        ss_emit(e, port, head, head_length, tail, tail_length);
    e->heads_used++;
}

static uint8_t *head_room(struct ss_engine *e)
{
    if (e->heads_used == SS_HEADS)
        ss_flush(e);
    return e->loaded->heads + e->heads_used * e->loaded->head_stride;
}

static void recirculate(struct ss_engine *e, const struct ss_phv *phv, const uint8_t *head, uint32_t head_length)
{
    const struct ss_program *p = e->loaded->program;
    uint32_t length = head_length + phv->payload_length;
    if (e->recirculating_waiting == SS_RECIRCULATING || length > SS_FRAME_LIMIT) {
        ss_log(&e->host, SS_WARNING, "the recirculation queue is full: packet dropped");
        return;
    }
    uint32_t slot = (e->recirculating_first + e->recirculating_waiting++) % SS_RECIRCULATING;
    uint8_t *at = e->loaded->recirculating + slot * e->loaded->recirculating_stride;
    struct ss_phv *copy = (struct ss_phv *)(void *)at;
    begin(e, copy, length, length);
    p->preserve(copy, phv, phv->recirculate_list);
    copy->std.instance_type = SS_RECIRCULATED;
    copy->std.packet_length = length;
    memcpy(at + e->loaded->phv_stride, head, head_length);
    if (phv->payload_length)
        memcpy(at + e->loaded->phv_stride + head_length, phv->payload, phv->payload_length);
}

static void enqueue(struct ss_engine *e, struct ss_phv *phv, uint32_t port)
{
    if (phv->std.priority >= e->priorities) {
        ss_log(&e->host, SS_ERROR, "priority %u out of range, packet dropped", phv->std.priority);
        return;
    }
    struct ss_line *line = __builtin_expect(e->shaping != NULL, 0) ? ss_line_at(e->shaping, port) : NULL;
    if (!line || !line->queued) {
        egress(e, phv, port);
        return;
    }
    bool room = ss_queue_put(e, line, phv);
    NOTE(e, SS_TRACE_QUEUED, port, phv->std.priority, phv->std.enq_qdepth, !room);
    (void)room;
}

static void replicate(struct ss_engine *e, const struct ss_phv *phv, const struct ss_group_list *group)
{
    struct ss_phv *copy = phv_at(e, SS_PHV_REPLICA);
    for (uint32_t i = 0; i < group->count; i++) {
        memcpy(copy, phv, e->loaded->program->phv_size);
        clear_requests(copy);
        if (group->packet_length)
            copy->truncate = group->packet_length;
        copy->std.egress_rid = group->replicas[i].instance;
        enqueue(e, copy, group->replicas[i].port);
    }
}

/* An ingress clone is the packet as it came in, parsed again; only the preserved metadata survives. */
static void clone_ingress(struct ss_engine *e, const struct ss_phv *phv, uint32_t port, const uint8_t *data, uint32_t length)
{
    const struct ss_program *p = e->loaded->program;
    const struct ss_group_list *session = e->clones[phv->clone_session & ~SS_CLONE];
    NOTE(e, SS_TRACE_CLONE, phv->clone_session & ~SS_CLONE, 0, session != NULL);
    if (!session)
        return;
    struct ss_phv *clone = phv_at(e, SS_PHV_CLONE);
    begin(e, clone, phv->received, length);
    clone->std.ingress_port = port;
    p->parse(&e->loaded->state, clone, data, length);
    reset_metadata(e, clone);
    p->preserve(clone, phv, phv->clone_list);
    clone->std.instance_type = SS_INGRESS_CLONE;
    replicate(e, clone, session);
}

static void clone_egress(struct ss_engine *e, const struct ss_phv *phv)
{
    NOTE(e, SS_TRACE_CLONE, phv->clone_session & ~SS_CLONE, 1, e->clones[phv->clone_session & ~SS_CLONE] != NULL);
    if (!e->clones[phv->clone_session & ~SS_CLONE] || !another_pass(e))
        return;
    if (e->clones_waiting == SS_CLONES) {
        ss_log(&e->host, SS_WARNING, "the egress queue is full: clone dropped");
        return;
    }
    struct ss_phv *clone = phv_at(e, SS_PHVS + (e->clones_first + e->clones_waiting++) % SS_CLONES);
    memcpy(clone, phv, e->loaded->program->phv_size);
    reset_metadata(e, clone);
    e->loaded->program->preserve(clone, phv, phv->clone_list);
    clone->std.instance_type = SS_EGRESS_CLONE;
}

static void run_clones(struct ss_engine *e)
{
    while (e->clones_waiting) {
        const struct ss_phv *clone = phv_at(e, SS_PHVS + e->clones_first);
        const struct ss_group_list *session = e->clones[clone->clone_session & ~SS_CLONE];
        replicate(e, clone, session);
        e->clones_first = (e->clones_first + 1) % SS_CLONES;
        e->clones_waiting--;
    }
}

static void learn(struct ss_engine *e, const struct ss_phv *phv)
{
    u128 values[SS_DIGEST_VALUES];
    uint32_t n = e->loaded->program->digest(phv, phv->learn_list, values);
#ifdef SS_TRACED
    ss_trace_words(&e->host, SS_TRACE_DIGEST, phv->learn_list, (const uint64_t *)values, 2 * n);
#endif
    ss_events_put(&e->events, SS_EVENT_DIGEST, phv->learn_list, n, values, n * sizeof *values, NULL, 0);
}

static void pipeline(struct ss_engine *e, struct ss_phv *phv, uint32_t port)
{
    const struct ss_program *p = e->loaded->program;
    phv->std.egress_port = port;
    /* BMv2 stores drop port + 1 in the nine bits of egress_spec, so that nothing is dropped unasked. */
    phv->std.egress_spec = (e->host.drop_port + 1) & 0x1ff;
    phv->std.packet_length = phv->length;
    NOTE(e, SS_TRACE_COPY, port, phv->std.egress_rid, phv->std.instance_type);
    p->egress(&e->loaded->state, phv);
    if (phv->failed) {
        NOTE(e, SS_TRACE_FAILED, 0, 0);
        return;
    }
    if (phv->clone_session) {
        clone_egress(e, phv);
        phv->clone_session = phv->clone_list = 0;
    }
    if (phv->std.egress_spec == e->host.drop_port) {
        NOTE(e, SS_TRACE_DROP, 0, 0);
        return;
    }
    uint8_t *head = head_room(e);
    uint32_t head_length = p->deparse(&e->loaded->state, phv, head), tail_length = phv->payload_length;
    if (phv->failed) { /* an assertion of the deparser */
        NOTE(e, SS_TRACE_FAILED, 0, 0);
        return;
    }
    if (phv->recirculate_list) {
        NOTE(e, SS_TRACE_RECIRCULATE, 0, 0);
        if (another_pass(e))
            recirculate(e, phv, head, head_length);
        return;
    }
    if (head_length > phv->truncate)
        head_length = phv->truncate;
    if (tail_length > phv->truncate - head_length)
        tail_length = phv->truncate - head_length;
    leave(e, port, head, head_length, phv->payload, tail_length);
}

/* Of a packet that waits for nothing. */
static void egress(struct ss_engine *e, struct ss_phv *phv, uint32_t port)
{
    if (e->loaded->program->egress_clock) {
        phv->std.egress_global_timestamp = ss_now_us(e);
        phv->std.enq_timestamp = (uint32_t)phv->std.egress_global_timestamp;
    }
    phv->std.enq_qdepth = phv->std.deq_qdepth = phv->std.deq_timedelta = 0;
    pipeline(e, phv, port);
}

/* Everything from the parser on. `phv` has its metadata set. */
static void ingress(struct ss_engine *e, struct ss_phv *phv, uint32_t port, const uint8_t *data, uint32_t length)
{
    const struct ss_program *p = e->loaded->program;
    e->packet = (struct ss_packet){data, length, port};
    for (;;) {
        NOTE(e, SS_TRACE_PASS, phv->std.instance_type, 0);
        p->parse(&e->loaded->state, phv, data, length);
        p->ingress(&e->loaded->state, phv);
        phv->exit = 0;
        if (phv->failed) {
            NOTE(e, SS_TRACE_FAILED, 0, 0);
            return;
        }
        if (phv->clone_session) {
            clone_ingress(e, phv, port, data, length);
            phv->clone_session = phv->clone_list = 0;
        }
        if (phv->learn_list)
            learn(e, phv);
        if (!phv->resubmit_list)
            break;
        NOTE(e, SS_TRACE_RESUBMIT, 0, 0);
        if (!another_pass(e))
            return;
        struct ss_phv *again = phv_at(e, phv == phv_at(e, SS_PHV_FIRST) ? SS_PHV_SECOND : SS_PHV_FIRST);
        begin(e, again, phv->received, length);
        p->preserve(again, phv, phv->resubmit_list);
        again->std.instance_type = SS_RESUBMITTED;
        again->std.packet_length = length;
        phv = again;
    }
    if (phv->std.mcast_grp) {
        const struct ss_group_list *group = e->multicast[phv->std.mcast_grp & 0xffff];
        NOTE(e, SS_TRACE_MULTICAST, phv->std.mcast_grp, group != NULL);
        phv->std.instance_type = SS_REPLICATED;
        if (group)
            replicate(e, phv, group);
        else
            ss_log(&e->host, SS_WARNING, "multicast group %u does not exist", phv->std.mcast_grp);
        return;
    }
    if (phv->std.egress_spec == e->host.drop_port) {
        NOTE(e, SS_TRACE_DROP, 0, 0);
        return;
    }
    phv->std.instance_type = SS_NORMAL;
    enqueue(e, phv, phv->std.egress_spec);
}

/* What a packet has set off goes through too: its clones of egress, and what is recirculated. */
static void finish(struct ss_engine *e, uint32_t port)
{
    run_clones(e);
    while (e->recirculating_waiting) {
        uint8_t *at = e->loaded->recirculating + e->recirculating_first * e->loaded->recirculating_stride;
        struct ss_phv *again = (struct ss_phv *)(void *)at;
        ingress(e, again, port, at + e->loaded->phv_stride, again->length);
        run_clones(e);
        /* What is queued still points into the slot. */
        ss_flush(e);
        e->recirculating_first = (e->recirculating_first + 1) % SS_RECIRCULATING;
        e->recirculating_waiting--;
    }
}

static void run(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length)
{
    struct ss_phv *phv = phv_at(e, SS_PHV_FIRST);
    begin(e, phv, length, length);
    phv->std.ingress_port = port;
    phv->std.ingress_global_timestamp = e->arrived_us;
    e->passes = 0;
    ingress(e, phv, port, data, length);
    finish(e, port);
}

/* A packet leaves its queue. */
void LEAVE_QUEUE(struct ss_engine *e, struct ss_held *held)
{
    struct ss_phv *phv = (struct ss_phv *)(void *)held->data;
    uint64_t now = ss_now_us(e);
    e->packet = held->packet;
    e->passes = held->passes;
    phv->std.egress_global_timestamp = now;
    phv->std.deq_timedelta = (uint32_t)now - phv->std.enq_timestamp;
    phv->std.deq_qdepth = held->depth;
    NOTE(e, SS_TRACE_DEQUEUED, held->port, held->priority, held->depth, now - held->enqueued_us);
    pipeline(e, phv, held->port);
    finish(e, held->packet.port);
}

#ifndef SS_TRACED
void ss_switch_packet(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length)
{
    if (!e->loaded)
        return;
    if (__builtin_expect(!e->trace_packets, 1) || !ss_tell_packet(e, port, data, length))
        run(e, port, data, length);
    if (__builtin_expect(e->shaping != NULL, 0))
        ss_shaping_pass(e);
}

/* At the end of any link of the port. */
void ss_packet_arrives(struct ss_engine *e, uint32_t port, const uint8_t *data, uint32_t length)
{
    struct ss_line *line = __builtin_expect(e->shaping != NULL, 0) ? ss_line_at(e->shaping, port) : NULL;
    if (line && line->links[SS_IN].on)
        ss_link_put(e, line, SS_IN, data, length, NULL, 0);
    else
        ss_switch_packet(e, port, data, length);
}
#endif

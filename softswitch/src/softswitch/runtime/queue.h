/* SPDX-License-Identifier: Apache-2.0 */
/* What may stand between a packet and its way on: the queues of a port, before its egress pipeline, as in BMv2 (queueing.h there,
 * QueueingLogicPriRL), and the link behind the port, in both directions. Times are nanoseconds of the engine's clock. */
#ifndef SOFTSWITCH_QUEUE_H
#define SOFTSWITCH_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ss_engine;
struct ss_phv;

enum {
    SS_PRIORITIES = 8, /* v1model's priority has three bits */
    SS_QUEUE_DEPTH = 64, /* packets, as in BMv2 */
    SS_LINES = 1024, /* ports that have queues or links at most */
    SS_BACKLOG_BYTES = 64 * 1518, /* that wait before a slow link into the switch; those out of it wait in the port's queue */
    SS_FLYING_BYTES = 64 << 20, /* on a link in one direction at most */
};

#define SS_NEVER UINT64_MAX

/* A packet as it came in: what its PHV points into. */
struct ss_packet {
    const uint8_t *data;
    uint32_t length;
    uint32_t port;
};

/* A packet that waits: before egress as a PHV and what that points into, on a link as its bytes. */
struct ss_held {
    struct ss_held *next;
    uint64_t due_ns; /* not before */
    uint64_t enqueued_us;
    struct ss_packet packet;
    uint32_t port; /* egress */
    uint32_t priority;
    uint32_t depth; /* packets that stay behind it in its queue */
    uint32_t passes;
    _Alignas(16) uint8_t data[];
};

struct ss_fifo {
    struct ss_held *first, *last;
};

struct ss_queue {
    struct ss_fifo fifo;
    uint32_t size, depth;
    uint64_t gap_ns; /* between two packets; 0: no limit */
    uint64_t last_ns; /* when the last one may leave */
    uint64_t dropped; /* since the start, for want of room */
};

/* As Python sets it. Probabilities are of 1. */
struct ss_link_settings {
    uint64_t delay_ns, jitter_ns; /* the delay is even between delay - jitter and delay + jitter */
    uint64_t bits_per_second; /* 0: no limit */
    double loss, reorder;
};

struct ss_link {
    struct ss_link_settings is;
    bool on;
    uint64_t random;
    struct ss_fifo fifo; /* only what is reordered overtakes */
    uint64_t flying, bytes; /* packets, and bytes of them */
    uint64_t free_ns; /* when the last packet has been sent whole */
    uint64_t lost, reordered, dropped; /* since the start; dropped for want of room */
};

enum ss_direction { SS_OUT, SS_IN };

struct ss_line {
    uint32_t port;
    uint32_t number; /* among the lines */
    bool queued;
    bool deep; /* somebody has set a depth */
    bool pushed; /* the port's interface has not taken all at once: what it does not take waits in the queues */
    uint32_t held_back; /* packets that the port holds back, with those that it is about to be given */
    struct ss_queue queues[SS_PRIORITIES];
    struct ss_link links[2];
};

struct ss_shaping {
    uint32_t n;
    uint32_t holding; /* ports that hold packets back */
    bool running;
    uint64_t started_ns; /* when the packet that leaves its queue could begin to, for the link behind it */
    struct ss_fifo done; /* sent, to be freed after the next flush */
    struct ss_line *lines[SS_LINES];
    uint64_t due[SS_LINES];
    struct ss_line *by_port[1 << 16];
};

/* As Python reads it. */
struct ss_line_state {
    uint32_t port, queued;
    uint32_t depth[SS_PRIORITIES], size[SS_PRIORITIES];
    uint64_t gap_ns[SS_PRIORITIES], dropped[SS_PRIORITIES];
    struct ss_link_settings link[2];
    uint64_t flying[2], lost[2], reordered[2], link_dropped[2];
};

static inline struct ss_line *ss_line_at(const struct ss_shaping *s, uint32_t port)
{
    return s && port < sizeof s->by_port / sizeof *s->by_port ? s->by_port[port] : NULL;
}

bool ss_queue_put(struct ss_engine *e, struct ss_line *line, struct ss_phv *phv);
void ss_link_put(struct ss_engine *e, struct ss_line *line, enum ss_direction direction, const uint8_t *head, uint32_t head_length, const uint8_t *tail, uint32_t tail_length);
void ss_shaping_run(struct ss_engine *e, uint64_t now_ns);
uint64_t ss_shaping_pass(struct ss_engine *e);
uint64_t ss_shaping_next(const struct ss_engine *e);
void ss_shaping_reckon(struct ss_shaping *s, const struct ss_line *line);
void ss_shaping_flushed(struct ss_shaping *s);
void ss_queues_empty(struct ss_engine *e);
void ss_port_holds_back(struct ss_engine *e, uint32_t port, uint32_t packets);
void ss_shaping_free(struct ss_engine *e);

#endif

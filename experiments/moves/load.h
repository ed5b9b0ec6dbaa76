/* SPDX-License-Identifier: Apache-2.0 */
/* What the clients share: when requests are due, and what is noted of each.
 *
 * Poisson arrivals, RATE a second, from START_NS (CLOCK_MONOTONIC) to END_NS, each request sent once. A line for each:
 * `id,intended_ns,sent_ns,received_ns,answers,failed,member`, received_ns 0 and member -1 without an answer, failed 1 if
 * the answer is an error. */
#ifndef LOAD_H
#define LOAD_H

#include <math.h>

#include "sockets.h"

enum { PATIENCE_NS = 1000000000 };

struct request {
    int64_t intended, sent, received;
    unsigned answers;
    int failed, member;
};

struct load {
    double gap;
    uint64_t chance;
    int64_t due, end;
    size_t count, room;
    struct request *requests;
};

/* xorshift64*, S. Vigna, An experimental exploration of Marsaglia's xorshift generators (2016). */
static inline double uniform(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return ((*state * UINT64_C(2685821657736338717) >> 11) + 1) * 0x1p-53;
}

/* From the arguments RATE SEED START_NS END_NS. */
static inline struct load load_of(char **arguments)
{
    struct load load = {.gap = 1e9 / atof(arguments[0]), .chance = strtoull(arguments[1], NULL, 10) * 2 + 1};
    load.due = atoll(arguments[2]);
    load.end = atoll(arguments[3]);
    load.room = (size_t)((double)(load.end - load.due) / load.gap * 1.2) + 1000;
    load.requests = calloc(load.room, sizeof *load.requests);
    if (!load.requests)
        fail("calloc");
    return load;
}

static inline int to_send(const struct load *load)
{
    return load->due < load->end && load->count < load->room;
}

/* Until when to wait: for the next request, or for the last answers. */
static inline int64_t next_time(const struct load *load)
{
    return to_send(load) ? load->due : load->end + PATIENCE_NS;
}

/* Notes the request that is sent now; returns its id. */
static inline size_t sending(struct load *load)
{
    load->requests[load->count] = (struct request){.intended = load->due, .sent = now_ns(), .member = -1};
    load->due += (int64_t)(-log(uniform(&load->chance)) * load->gap);
    return load->count++;
}

static inline void answered(struct load *load, size_t id, int failed, int member)
{
    struct request *one = &load->requests[id];
    if (one->answers++)
        return;
    one->received = now_ns();
    one->failed = failed;
    one->member = failed ? -1 : member;
}

static inline int written(const struct load *load, FILE *rows)
{
    fputs("id,intended_ns,sent_ns,received_ns,answers,failed,member\n", rows);
    for (size_t id = 0; id < load->count; id++) {
        struct request *one = &load->requests[id];
        fprintf(rows, "%zu,%lld,%lld,%lld,%u,%d,%d\n", id, (long long)one->intended, (long long)one->sent,
                (long long)one->received, one->answers, one->failed, one->member);
    }
    return fclose(rows) ? 1 : 0;
}

#endif

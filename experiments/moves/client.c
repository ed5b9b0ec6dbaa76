/* SPDX-License-Identifier: Apache-2.0 */
/* A client: sends requests at times that nothing postpones, each once, and notes what came back.
 *
 *   client ADDRESS TARGET SERVICE_ID RATE SEED START_NS END_NS ROWS
 *
 * Poisson arrivals, RATE a second, from START_NS (CLOCK_MONOTONIC) to END_NS, to TARGET. A datagram of four bytes at port
 * 9601 is an address to which it sends from then on. ROWS gets a line for each request:
 * `id,intended_ns,sent_ns,received_ns,answers,member`, received_ns 0 and member -1 without an answer. */
#define _GNU_SOURCE
#include <math.h>

#include "udp.h"

enum { CONTROL_PORT = 9601, PATIENCE_NS = 1000000000 };

struct request {
    int64_t intended, sent, received;
    unsigned answers;
    int member;
};

/* xorshift64*, S. Vigna, An experimental exploration of Marsaglia's xorshift generators (2016). */
static double uniform(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return ((*state * UINT64_C(2685821657736338717) >> 11) + 1) * 0x1p-53;
}

int main(int argc, char **argv)
{
    if (argc != 9)
        return 2;
    exact_timers();
    struct sockaddr_in target = place(argv[2], SERVICE_PORT);
    unsigned service_id = (unsigned)atoi(argv[3]);
    double gap = 1e9 / atof(argv[4]);
    uint64_t chance = strtoull(argv[5], NULL, 10) * 2 + 1;
    int64_t start = atoll(argv[6]), end = atoll(argv[7]);
    size_t room = (size_t)((double)(end - start) / gap * 1.2) + 1000, count = 0;
    struct request *requests = calloc(room, sizeof *requests);
    FILE *rows = fopen(argv[8], "w");
    if (!rows || !requests)
        fail(argv[8]);
    struct pollfd waiting[2] = {
        {.fd = open_udp(argv[1], CLIENT_PORT), .events = POLLIN}, {.fd = open_udp(argv[1], CONTROL_PORT), .events = POLLIN}};
    for (int64_t due = start;;) {
        int64_t now = now_ns();
        int sending = due < end && count < room;
        if (!sending && now >= end + PATIENCE_NS)
            break;
        if (sending && now >= due) {
            uint8_t request[INVOCATION];
            put_invocation(request, REQUEST, service_id, count, 0);
            requests[count] = (struct request){.intended = due, .sent = now_ns(), .member = -1};
            sendto(waiting[0].fd, request, sizeof request, 0, (struct sockaddr *)&target, sizeof target);
            count++;
            due += (int64_t)(-log(uniform(&chance)) * gap);
            continue;
        }
        wait_until(waiting, 2, sending ? due : end + PATIENCE_NS);
        uint8_t said[2048];
        ssize_t size;
        while ((size = recv(waiting[1].fd, said, sizeof said, 0)) >= 0)
            if (size == 4)
                memcpy(&target.sin_addr, said, 4);
        while ((size = recv(waiting[0].fd, said, sizeof said, 0)) >= 0) {
            if (size <= INVOCATION || !is_invocation(said, RESPONSE))
                continue;
            uint64_t id = get(said + BYTE_OF(invocation, request_id), 8);
            if (id >= count)
                continue;
            struct request *one = &requests[id];
            if (!one->answers++) {
                one->received = now_ns();
                one->member = said[INVOCATION];
            }
        }
    }
    fputs("id,intended_ns,sent_ns,received_ns,answers,member\n", rows);
    for (size_t id = 0; id < count; id++) {
        struct request *one = &requests[id];
        fprintf(rows, "%zu,%lld,%lld,%lld,%u,%d\n", id, (long long)one->intended, (long long)one->sent,
                (long long)one->received, one->answers, one->member);
    }
    return fclose(rows) ? 1 : 0;
}

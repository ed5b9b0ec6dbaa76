/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the invocation protocol: sends requests at times that nothing postpones, and notes what came back.
 *
 *   client ADDRESS TARGET SERVICE_ID RATE SEED START_NS END_NS ROWS
 *
 * Requests go to TARGET (load.h has when, and ROWS). A datagram of four bytes at port 9601 is an address to which they go
 * from then on. */
#define _GNU_SOURCE
#include "load.h"

enum { CONTROL_PORT = 9601, FIRST_ERROR = 400 };

int main(int argc, char **argv)
{
    if (argc != 9)
        return 2;
    exact_timers();
    struct sockaddr_in target = place(argv[2], SERVICE_PORT);
    unsigned service_id = (unsigned)atoi(argv[3]);
    struct load load = load_of(argv + 4);
    FILE *rows = fopen(argv[8], "w");
    if (!rows)
        fail(argv[8]);
    struct pollfd waiting[2] = {
        {.fd = open_udp(argv[1], CLIENT_PORT), .events = POLLIN}, {.fd = open_udp(argv[1], CONTROL_PORT), .events = POLLIN}};
    for (;;) {
        int64_t now = now_ns();
        if (!to_send(&load) && now >= load.end + PATIENCE_NS)
            break;
        if (to_send(&load) && now >= load.due) {
            uint8_t request[INVOCATION];
            put_invocation(request, REQUEST, service_id, sending(&load), 0);
            sendto(waiting[0].fd, request, sizeof request, 0, (struct sockaddr *)&target, sizeof target);
            continue;
        }
        wait_until(waiting, 2, next_time(&load));
        uint8_t said[2048];
        ssize_t size;
        while ((size = recv(waiting[1].fd, said, sizeof said, 0)) >= 0)
            if (size == 4)
                memcpy(&target.sin_addr, said, 4);
        while ((size = recv(waiting[0].fd, said, sizeof said, 0)) >= 0) {
            int error = size > INVOCATION && is_invocation(said, STEERING_INVOCATION_ERROR);
            if (size <= INVOCATION || (!error && !is_invocation(said, RESPONSE)))
                continue;
            uint64_t id = get(said + BYTE_OF(invocation, request_id), 8);
            error = error || get(said + BYTE_OF(invocation, status), 2) >= FIRST_ERROR;
            if (id < load.count)
                answered(&load, id, error, said[INVOCATION] - '0');
        }
    }
    return written(&load, rows);
}

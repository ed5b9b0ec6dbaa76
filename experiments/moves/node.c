/* SPDX-License-Identifier: Apache-2.0 */
/* A node: answers requests at once, and reports its queue as a node's emitter does, busy by a schedule.
 *
 *   node MEMBER EPOCH SERVICE_ID ADDRESS INTERVAL_US START_NS PERIOD_NS END_NS ROWS HEARER...
 *
 * Requests come to ADDRESS. A report leaves every INTERVAL_US to each HEARER (an address, at the port of reports). Period k
 * begins at START_NS + k * PERIOD_NS (CLOCK_MONOTONIC); in its first half the node k modulo 2 reports a long queue. ROWS
 * gets a line for each report, `report,SEQUENCE,emitted_ns,busy`, and for each request, `request,ID,received_ns,0`. */
#define _GNU_SOURCE
#include "udp.h"

enum { FIRST_HEARER = 10, QUEUE = 100, SERVICE_INTERVAL_US = 100, ANSWER = INVOCATION + 1 };

int main(int argc, char **argv)
{
    if (argc <= FIRST_HEARER)
        return 2;
    exact_timers();
    unsigned member = (unsigned)atoi(argv[1]), epoch = (unsigned)atoi(argv[2]), service_id = (unsigned)atoi(argv[3]);
    int requests = open_udp(argv[4], SERVICE_PORT), reports = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int64_t interval = atoll(argv[5]) * 1000, start = atoll(argv[6]), period = atoll(argv[7]), end = atoll(argv[8]);
    FILE *rows = fopen(argv[9], "w");
    if (!rows || reports < 0)
        fail(argv[9]);
    struct report told = {
        .magic = STEERING_REPORT_MAGIC,
        .version = STEERING_REPORT_VERSION,
        .ready = 1,
        .service_id = service_id,
        .node_id = member + 1,
        .epoch = epoch,
        .concurrency = 1,
        .service_interval = SERVICE_INTERVAL_US,
    };
    fputs("what,id,time_ns,busy\n", rows);
    struct pollfd waiting = {.fd = requests, .events = POLLIN};
    for (int64_t due = now_ns(); ;) {
        int64_t now = now_ns();
        if (now >= end)
            break;
        if (now >= due) {
            int64_t since = now - start;
            int busy = since >= 0 && since / period % 2 == member && since % period < period / 2;
            uint8_t report[REPORT];
            told.sequence++;
            told.queue_depth = busy ? QUEUE : 0;
            put_report(report, &told);
            for (int hearer = FIRST_HEARER; hearer < argc; hearer++) {
                struct sockaddr_in to = place(argv[hearer], REPORT_PORT);
                sendto(reports, report, sizeof report, 0, (struct sockaddr *)&to, sizeof to);
            }
            fprintf(rows, "report,%llu,%lld,%d\n", (unsigned long long)told.sequence, (long long)now, busy);
            due += interval;
            continue;
        }
        wait_until(&waiting, 1, due < end ? due : end);
        for (;;) {
            uint8_t request[2048];
            struct sockaddr_in client;
            socklen_t length = sizeof client;
            ssize_t size = recvfrom(requests, request, sizeof request, 0, (struct sockaddr *)&client, &length);
            if (size < 0)
                break;
            int64_t received = now_ns();
            if (size < INVOCATION || !is_invocation(request, REQUEST))
                continue;
            uint64_t id = get(request + BYTE_OF(invocation, request_id), 8);
            uint8_t answer[ANSWER];
            *put_invocation(answer, RESPONSE, service_id, id, 1) = (uint8_t)member;
            sendto(requests, answer, sizeof answer, 0, (struct sockaddr *)&client, length);
            fprintf(rows, "request,%llu,%lld,0\n", (unsigned long long)id, (long long)received);
        }
    }
    return fclose(rows) ? 1 : 0;
}

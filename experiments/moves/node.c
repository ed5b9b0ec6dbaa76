/* SPDX-License-Identifier: Apache-2.0 */
/* A node: answers requests at once, and reports its queue as a node's emitter does, busy by a schedule.
 *
 *   node MEMBER EPOCH SERVICE_ID ADDRESS INTERVAL_US START_NS PERIOD_NS END_NS ROWS HEARER...
 *
 * Requests come to ADDRESS, as datagrams or as `GET /ID` of HTTP/1.1. A report leaves every INTERVAL_US to each HEARER (an
 * address, at the port of reports). Period k begins at START_NS + k * PERIOD_NS (CLOCK_MONOTONIC); in its first half the
 * node k modulo 2 reports a long queue. ROWS gets a line for each report, `report,SEQUENCE,emitted_ns,busy`, and for each
 * request, `request,ID,received_ns,0`. */
#define _GNU_SOURCE
#include "sockets.h"

enum { FIRST_HEARER = 10, QUEUE = 100, SERVICE_INTERVAL_US = 100, ANSWER = INVOCATION + 1 };
enum { DATAGRAMS, LISTENER, FIRST_CONNECTION, PLACES = FIRST_CONNECTION + 512 };

static unsigned member, service_id;
static FILE *rows;
static struct pollfd waiting[PLACES];
static nfds_t used = FIRST_CONNECTION;

static void note_request(uint64_t id)
{
    fprintf(rows, "request,%llu,%lld,0\n", (unsigned long long)id, (long long)now_ns());
}

static void answer_datagrams(int fd)
{
    uint8_t request[2048];
    struct sockaddr_in client;
    socklen_t length = sizeof client;
    for (ssize_t size; (size = recvfrom(fd, request, sizeof request, 0, (struct sockaddr *)&client, &length)) >= 0;) {
        if (size < INVOCATION || !is_invocation(request, REQUEST))
            continue;
        uint64_t id = get(request + BYTE_OF(invocation, request_id), 8);
        note_request(id);
        uint8_t answer[ANSWER];
        *put_invocation(answer, RESPONSE, service_id, id, 1) = (uint8_t)('0' + member);
        sendto(fd, answer, sizeof answer, 0, (struct sockaddr *)&client, length);
    }
}

static void take_connection(void)
{
    int fd = accept4(waiting[LISTENER].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    send_at_once(fd);
    nfds_t at = FIRST_CONNECTION;
    while (at < used && waiting[at].fd >= 0)
        at++;
    if (at == PLACES) {
        close(fd);
        return;
    }
    waiting[at] = (struct pollfd){.fd = fd, .events = POLLIN};
    used = at == used ? used + 1 : used;
}

/* A request comes whole, in one piece: what sends it here is a proxy that has had it whole. */
static void answer_http(struct pollfd *connection)
{
    char said[4096];
    ssize_t size = recv(connection->fd, said, sizeof said - 1, 0);
    if (size <= 0) {
        close(connection->fd);
        connection->fd = -1;
        return;
    }
    said[size] = 0;
    char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0";
    if (strncmp(said, "GET /", 5) == 0)
        note_request(strtoull(said + 5, NULL, 10));
    answer[sizeof answer - 2] = (char)('0' + member);
    send(connection->fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
    if (argc <= FIRST_HEARER)
        return 2;
    exact_timers();
    member = (unsigned)atoi(argv[1]);
    service_id = (unsigned)atoi(argv[3]);
    unsigned epoch = (unsigned)atoi(argv[2]);
    int reports = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    waiting[DATAGRAMS] = (struct pollfd){.fd = open_udp(argv[4], SERVICE_PORT), .events = POLLIN};
    waiting[LISTENER] = (struct pollfd){.fd = open_tcp(argv[4], SERVICE_PORT), .events = POLLIN};
    int64_t interval = atoll(argv[5]) * 1000, start = atoll(argv[6]), period = atoll(argv[7]), end = atoll(argv[8]);
    rows = fopen(argv[9], "w");
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
        wait_until(waiting, used, due < end ? due : end);
        answer_datagrams(waiting[DATAGRAMS].fd);
        if (waiting[LISTENER].revents)
            take_connection();
        for (nfds_t at = FIRST_CONNECTION; at < used; at++)
            if (waiting[at].fd >= 0 && waiting[at].revents)
                answer_http(&waiting[at]);
    }
    return fclose(rows) ? 1 : 0;
}

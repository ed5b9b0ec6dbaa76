/* SPDX-License-Identifier: Apache-2.0 */
/* A client of HTTP/1.1: sends requests at times that nothing postpones, and notes what came back.
 *
 *   http_client ADDRESS TARGET SERVICE_ID RATE SEED START_NS END_NS ROWS
 *
 * `GET /ID` goes to TARGET (load.h has when, and ROWS) by a kept connection that has no request under way; if there is
 * none, by a new one. The first byte of an answer's body is the node's number. A connection that ends with a request
 * under way, or an answer other than 200, is a failure. SERVICE_ID means nothing here. */
#define _GNU_SOURCE
#include "load.h"

enum { CONNECTIONS = 256, READY = 32, ANSWER = 1024 };

static struct connection {
    int busy;
    size_t id, length;
    char said[ANSWER];
} connections[CONNECTIONS];
static struct pollfd waiting[CONNECTIONS];

static int opened(const char *address, const struct sockaddr_in *target)
{
    struct sockaddr_in own = place(address, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own))
        fail(address);
    if (connect(fd, (const struct sockaddr *)target, sizeof *target)) {
        close(fd);
        return -1;
    }
    send_at_once(fd);
    return fd;
}

/* A connection without a request under way; none if as many as there may be have one, or the target refuses. */
static int idle(const char *address, const struct sockaddr_in *target)
{
    int closed = -1;
    for (int at = 0; at < CONNECTIONS; at++) {
        if (waiting[at].fd < 0)
            closed = closed < 0 ? at : closed;
        else if (!connections[at].busy)
            return at;
    }
    if (closed >= 0) {
        waiting[closed].fd = opened(address, target);
        connections[closed].length = 0;
    }
    return closed >= 0 && waiting[closed].fd >= 0 ? closed : -1;
}

static void hear(struct load *load, int at)
{
    struct connection *one = &connections[at];
    ssize_t size = recv(waiting[at].fd, one->said + one->length, ANSWER - 1 - one->length, MSG_DONTWAIT);
    if (size > 0) {
        one->length += (size_t)size;
        one->said[one->length] = 0;
        const char *body = strstr(one->said, "\r\n\r\n");
        int fine = strncmp(one->said, "HTTP/1.1 200", 12) == 0;
        if (!body || (fine && !body[4]))
            return;
        answered(load, one->id, !fine, body[4] - '0');
        one->busy = 0;
        one->length = 0;
        if (fine)
            return;
    } else if (one->busy) {
        answered(load, one->id, 1, -1);
        one->busy = 0;
    }
    close(waiting[at].fd);
    waiting[at].fd = -1;
}

int main(int argc, char **argv)
{
    if (argc != 9)
        return 2;
    exact_timers();
    struct sockaddr_in target = place(argv[2], SERVICE_PORT);
    struct load load = load_of(argv + 4);
    FILE *rows = fopen(argv[8], "w");
    if (!rows)
        fail(argv[8]);
    for (int at = 0; at < CONNECTIONS; at++) {
        waiting[at] = (struct pollfd){.fd = -1, .events = POLLIN};
        if (at < READY)
            waiting[at].fd = opened(argv[1], &target);
    }
    for (;;) {
        int64_t now = now_ns();
        if (!to_send(&load) && now >= load.end + PATIENCE_NS)
            break;
        if (to_send(&load) && now >= load.due) {
            int at = idle(argv[1], &target);
            size_t id = sending(&load);
            char text[128];
            int length = snprintf(text, sizeof text, "GET /%zu HTTP/1.1\r\nHost: service\r\n\r\n", id);
            if (at < 0 || send(waiting[at].fd, text, (size_t)length, MSG_NOSIGNAL) != length) {
                answered(&load, id, 1, -1);
                continue;
            }
            connections[at].busy = 1;
            connections[at].id = id;
            continue;
        }
        wait_until(waiting, CONNECTIONS, next_time(&load));
        for (int at = 0; at < CONNECTIONS; at++)
            if (waiting[at].fd >= 0 && waiting[at].revents)
                hear(&load, at);
    }
    return written(&load, rows);
}

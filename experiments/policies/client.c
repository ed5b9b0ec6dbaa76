/* SPDX-License-Identifier: Apache-2.0 */
/* Open-loop load on one service: each request starts when the trace says, whatever has become of those before it.
 *
 *   client INTERFACE SERVICE START_NS PATIENCE_NS TRACE OUTPUT
 *
 * OUTPUT: a `struct outcome` for each request. Ends once all are answered, or PATIENCE_NS after the last one was sent. */
#define _GNU_SOURCE
#include "trace.h"

enum { BATCH = 64 };

struct outcome {
    uint64_t sent_ns, received_ns; /* after the start of the load; 0: not answered */
    uint32_t member, answers;
};

static uint64_t answered;

static void take(const uint8_t *frame, ssize_t length, struct outcome *outcomes, uint64_t count, int64_t start)
{
    const uint8_t *invocation = frame + HEADERS;
    if (length < HEADERS + INVOCATION + 1 || !is_invocation(invocation, RESPONSE))
        return;
    uint64_t number = get(invocation + BYTE_OF(invocation, request_id), 8);
    if (number >= count)
        return;
    if (outcomes[number].answers++ == 0) {
        outcomes[number].received_ns = (uint64_t)(now_ns() - start);
        outcomes[number].member = invocation[INVOCATION];
        answered++;
    }
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return 2;
    unsigned service = (unsigned)atoi(argv[2]);
    int64_t start = atoll(argv[3]), patience = atoll(argv[4]);
    uint64_t count, next = 0;
    const struct drawn *trace = open_trace(argv[5], &count);
    struct outcome *outcomes = calloc(count, sizeof *outcomes);
    struct pollfd wire = {.fd = open_raw(argv[1], 8 << 20), .events = POLLIN};
    uint8_t frame[FRAME], buffer[2048];
    exact_timers();

    for (;;) {
        int64_t now = now_ns();
        for (int i = 0; i < BATCH && next < count && start + (int64_t)trace[next].start_ns <= now; i++, next++) {
            uint8_t *at = put_headers(
                frame, client_mac(), CLIENT, CLIENT_PORT, SERVICES + service, SERVICE_PORT, INVOCATION);
            at = put_invocation(at, REQUEST, SERVICE_IDS + service, next, 0);
            outcomes[next].sent_ns = (uint64_t)(now_ns() - start);
            if (send(wire.fd, frame, (size_t)(at - frame), 0) < 0)
                fail("send");
        }
        for (int i = 0; i < BATCH; i++) {
            ssize_t length = recv(wire.fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (length < 0)
                break;
            take(buffer, length, outcomes, count, start);
        }
        int64_t deadline = next < count ? start + (int64_t)trace[next].start_ns
                                        : start + (int64_t)outcomes[count - 1].sent_ns + patience;
        if (next == count && (answered == count || now >= deadline))
            break;
        wait_until(&wire, 1, deadline);
    }
    FILE *output = fopen(argv[6], "wb");
    if (!output || fwrite(outcomes, sizeof *outcomes, count, output) != count || fclose(output))
        fail(argv[6]);
    return 0;
}

/* New connections from spoofed sources, as many as a wire takes, and beside them the packets of live ones. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../experiments/native/hostile.h"

enum { PROTOCOL = ETHERNET + 9, SOURCE = ETHERNET + 12, SOURCE_PORT = ETHERNET + IPV4, NODE = 5, RECEIVERS = 3, FLOWS = 256 };
enum { SECOND = 1000000000, LATE = SECOND / 100 };
static const int64_t LINGER = (int64_t)2 * SECOND;

struct flood {
    uint64_t state;
    struct frame first; /* a SYN */
};

void spoof(void *self, struct frame *frame)
{
    struct flood *flood = self;
    uint64_t source = next(&flood->state);
    frame->port = flood->first.port;
    frame->length = flood->first.length;
    memcpy(frame->data, flood->first.data, frame->length);
    put(frame->data + SOURCE, 0xc0000000 | source >> 34, 4); /* none of a live flow's */
    put(frame->data + SOURCE_PORT, source, 2);
    mend(frame);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* Puts so many on a wire, as fast as it takes them. */
int pour(int wire, struct flood *flood, uint64_t frames)
{
    struct frame frame;
    for (uint64_t at = 0; at < frames; at++) {
        spoof(flood, &frame);
        while (send(wire, frame.data, frame.length, 0) < 0)
            if (errno != ENOBUFS && errno != EINTR)
                return -1;
    }
    return 0;
}

struct live {
    int sender;
    int receivers[RECEIVERS];
    uint32_t flows;
    uint32_t rate; /* packets a second of all together */
    uint32_t source, first_port; /* flow i has port first_port + i */
    uint8_t homes[FLOWS];
    struct frame segment;
    _Atomic int stop;
    uint64_t sent;
    uint64_t delivered; /* to where the flow was before */
    uint64_t astray;
};

/* Lets a socket see the live flows' packets only. */
static int filter(int wire, uint32_t source, uint8_t protocol)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, PROTOCOL),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, protocol, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SOURCE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, source, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, ROOM),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return setsockopt(wire, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static void take(struct live *live, int wire)
{
    uint8_t data[ROOM];
    while (recv(wire, data, sizeof data, MSG_DONTWAIT) > 0) {
        uint32_t flow = (uint32_t)(data[SOURCE_PORT] << 8 | data[SOURCE_PORT + 1]) - live->first_port;
        if (flow < live->flows && data[NODE] == live->homes[flow])
            live->delivered++;
        else
            live->astray++;
    }
}

/* Sends until `stop`, flow after flow, and counts what comes out where. It does not make up for time that it was kept
 * from sending: that would be a burst. */
int keep_alive(struct live *live)
{
    struct pollfd fds[RECEIVERS];
    for (int i = 0; i < RECEIVERS; i++) {
        fds[i] = (struct pollfd){.fd = live->receivers[i], .events = POLLIN};
        if (filter(fds[i].fd, live->source, live->segment.data[PROTOCOL]))
            return -1;
    }
    struct frame *frame = &live->segment;
    put(frame->data + SOURCE, live->source, 4);
    mend(frame);
    int64_t due = now_ns(), ended = 0;
    while (!ended || (live->delivered + live->astray < live->sent && now_ns() < ended + LINGER)) {
        int64_t now = now_ns();
        if (!ended && atomic_load(&live->stop))
            ended = now;
        if (!ended && now >= due) {
            put(frame->data + SOURCE_PORT, live->first_port + live->sent % live->flows, 2);
            if (send(live->sender, frame->data, frame->length, 0) < 0) {
                if (errno != ENOBUFS && errno != EINTR)
                    return -1;
                due = now + LATE; /* the kernel's own queue is full: that is no loss of the switch's */
                continue;
            }
            live->sent++;
            due = (now - due > LATE ? now : due) + SECOND / live->rate;
            continue;
        }
        struct timespec wait = {0, ended ? SECOND / 100 : due - now < SECOND ? due - now : SECOND - 1};
        if (ppoll(fds, RECEIVERS, &wait, NULL) > 0)
            for (int i = 0; i < RECEIVERS; i++)
                take(live, fds[i].fd);
    }
    return 0;
}

/* Gets frames to a switch: into an engine in this process, or over wires to one that runs. */
#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>

#include "../../experiments/native/hostile.h"

enum { MARK = ETHERNET + IPV4 + UDP, MARKED = MARK + 8, MOST_PORTS = 8, PATIENCE_MS = 30000 };

struct result {
    uint64_t left; /* frames that left the switch */
};

typedef size_t (*inject_t)(void *engine, uint32_t port, const uint8_t *data, uint32_t length, uint8_t **out);
typedef void (*release_t)(uint8_t *data);

void into_engine(void *engine, inject_t inject, release_t release, make_t make, void *maker, uint64_t frames,
                 struct result *result)
{
    struct frame *frame = malloc(sizeof *frame);
    while (frame && frames--) {
        make(maker, frame);
        /* a copy that ends where the frame ends */
        uint8_t *exact = malloc(frame->length + 1), *out = NULL;
        memcpy(exact, frame->data, frame->length);
        if (inject(engine, frame->port, exact, frame->length, &out)) {
            result->left++;
            release(out);
        }
        free(exact);
    }
    free(frame);
}

struct wires {
    uint32_t ports;                /* 1 to that */
    int sockets[MOST_PORTS];       /* of port 1 + index */
    uint32_t hosts[MOST_PORTS];    /* an address behind it */
    uint32_t window;               /* frames before the next are held back until these are through */
};

static const uint64_t mark = 0x73656e74696e656c;

/* A plain packet to a host, known by what it holds. */
static void put_sentinel(struct frame *frame, uint32_t host)
{
    static const uint8_t macs[] = {2, 0, 0, 0, 0xff, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0};
    uint8_t *ip = frame->data + ETHERNET;
    frame->length = MARKED;
    memset(frame->data, 0, MARKED);
    memcpy(frame->data, macs, sizeof macs);
    put(ip, 0x4500, 2);
    put(ip + 2, MARKED - ETHERNET, 2);
    put(ip + 8, 64 << 8 | 17, 2);
    put(ip + 12, 0x0a000001, 4);
    put(ip + 16, host, 4);
    put(ip + IPV4 + 4, MARKED - ETHERNET - IPV4, 2);
    put(frame->data + MARK, mark, 8);
    mend(frame);
}

static int put_on(int wire, const struct frame *frame)
{
    while (send(wire, frame->data, frame->length, 0) < 0)
        if (errno != ENOBUFS && errno != EINTR)
            return -1;
    return 0;
}

/* Takes what left the switch until `sentinels` have; -1 if they do not come. */
static int take(const struct wires *wires, uint32_t sentinels, struct result *result)
{
    struct pollfd fds[MOST_PORTS];
    uint8_t data[ROOM], expected[8];
    put(expected, mark, 8);
    for (uint32_t i = 0; i < wires->ports; i++)
        fds[i] = (struct pollfd){.fd = wires->sockets[i], .events = POLLIN};
    while (sentinels) {
        if (poll(fds, wires->ports, PATIENCE_MS) <= 0)
            return -1;
        for (uint32_t i = 0; i < wires->ports; i++) {
            struct sockaddr_ll from;
            socklen_t size = sizeof from;
            ssize_t length;
            while ((length = recvfrom(fds[i].fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&from, &size))
                   >= 0) {
                if (from.sll_pkttype == PACKET_OUTGOING)
                    continue;
                if (length == MARKED && memcmp(data + MARK, expected, 8) == 0)
                    sentinels--;
                else
                    result->left++;
            }
        }
    }
    return 0;
}

/* A sentinel from each port to each: what was sent before has been through when all have come. */
static int settle(const struct wires *wires, struct frame *frame, struct result *result)
{
    for (uint32_t from = 0; from < wires->ports; from++)
        for (uint32_t to = 0; to < wires->ports; to++) {
            put_sentinel(frame, wires->hosts[to]);
            if (put_on(wires->sockets[from], frame))
                return -1;
        }
    return take(wires, wires->ports * wires->ports, result);
}

/* Returns -1 if frames cannot be sent or the switch lets nothing more through. */
int over_wires(const struct wires *wires, make_t make, void *maker, uint64_t frames, struct result *result)
{
    struct frame *frame = malloc(sizeof *frame);
    int error = frame ? 0 : -1;
    for (uint64_t at = 1; !error && at <= frames; at++) {
        make(maker, frame);
        error = put_on(wires->sockets[frame->port - 1], frame);
        if (!error && (at % wires->window == 0 || at == frames))
            error = settle(wires, frame, result);
    }
    free(frame);
    return error;
}

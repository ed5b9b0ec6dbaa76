/* Frames from a client that is not who it says, or that are for others: spoofed, led astray, in tunnels of its own. */
#include "../../experiments/native/hostile.h"

enum { SOURCE = ETHERNET + 12, ARP_SENDER = ETHERNET + 14, ARP_BYTES = 28 };

/* Why a switch must drop it. */
enum reason { SPOOFED, FOREIGN, TUNNEL, REASONS };

struct intruder {
    uint64_t state;
    struct frame good; /* a packet that would be taken at any port */
    uint32_t ports;
    uint32_t end;      /* the address of a node where tunnels end */
    uint64_t expected[REASONS];
};

static uint32_t stranger(struct intruder *in)
{
    uint32_t own = 0, source;
    for (int at = 0; at < 4; at++)
        own = own << 8 | in->good.data[SOURCE + at];
    /* mostly near by, where hosts, nodes and services are */
    do
        source = (uint32_t)next(&in->state);
    while (source == own);
    switch (below(&in->state, 4)) {
    case 0:
        return source;
    case 1:
        return 0x0a600000 | (source & 0xffff);
    case 2:
        return 0x7f000000 | (source & 0xffffff);
    default:
        source = 0x0a000000 | (source & 0x1ff);
        return source == own ? source + 1 : source;
    }
}

void intrude(void *self, struct frame *frame)
{
    struct intruder *in = self;
    enum reason reason = SPOOFED;
    uint8_t *ip = frame->data + ETHERNET;
    frame->port = 1 + below(&in->state, in->ports);
    frame->length = in->good.length;
    memcpy(frame->data, in->good.data, in->good.length);
    switch (below(&in->state, 4)) {
    case 0:
        put(frame->data + SOURCE, stranger(in), 4);
        mend(frame);
        break;
    case 1:
        put(frame->data, (next(&in->state) & 0xfeffffffffff) | 1, 6); /* of one machine */
        reason = FOREIGN; /* the switch's own is even */
        break;
    case 2:
        memmove(ip + IPV4, ip, in->good.length - ETHERNET);
        frame->length += IPV4;
        put(ip + 2, frame->length - ETHERNET, 2);
        ip[9] = 4;
        put(ip + 16, in->end, 4);
        reason = TUNNEL;
        if (below(&in->state, 2)) {
            put(frame->data + SOURCE, stranger(in), 4);
            reason = SPOOFED;
        }
        mend(frame);
        break;
    case 3:
        frame->length = ETHERNET + ARP_BYTES;
        memset(frame->data, 0xff, 6);
        put(frame->data + 12, 0x0806, 2);
        put(ip, 0x0001080006040001, 8);
        put(frame->data + ARP_SENDER, stranger(in), 4);
        break;
    }
    in->expected[reason]++;
}

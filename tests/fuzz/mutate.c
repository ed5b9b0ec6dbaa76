/* Makes frames out of seeds and feeds them to the engine's own entrance, natively: a million in seconds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 2048, ETHERNET = 14, IPV4 = 20 };

struct seed {
    uint32_t port;
    uint32_t length;
    const uint8_t *data;
};

struct result {
    uint64_t left;   /* frames after which at least one left the switch */
    uint64_t silent; /* frames after which none did */
};

typedef size_t (*inject_t)(void *engine, uint32_t port, const uint8_t *data, uint32_t length, uint8_t **out);
typedef void (*release_t)(uint8_t *data);

/* xorshift64* (Vigna, 2016). */
static uint64_t next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

static uint32_t below(uint64_t *state, uint32_t limit) { return (uint32_t)((next(state) >> 32) * limit >> 32); }

/* Makes the IPv4 header's checksum right, so that the damage behind it is looked at. */
static void mend(uint8_t *frame, uint32_t length)
{
    if (length < ETHERNET + IPV4)
        return;
    uint8_t *header = frame + ETHERNET;
    uint32_t sum = 0;
    header[10] = header[11] = 0;
    for (int at = 0; at < IPV4; at += 2)
        sum += (uint32_t)header[at] << 8 | header[at + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    header[10] = (uint8_t)(~sum >> 8);
    header[11] = (uint8_t)~sum;
}

/* Turned bits, interesting bytes, a cut, a tail of noise, a splice with another seed, or noise alone. */
static uint32_t make(uint64_t *state, const struct seed *seeds, uint32_t count, uint8_t *frame, uint32_t *port)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 4, 6, 17, 60, 0x45};
    const struct seed *seed = &seeds[below(state, count)];
    uint32_t length = seed->length;
    *port = below(state, 8) ? seed->port : below(state, 6);
    memcpy(frame, seed->data, length);
    switch (below(state, 8)) {
    case 0:
        length = below(state, length + 1);
        break;
    case 1:
        for (uint32_t tail = below(state, 300); tail; tail--)
            frame[length++] = (uint8_t)next(state);
        break;
    case 2: {
        const struct seed *other = &seeds[below(state, count)];
        uint32_t at = below(state, length < other->length ? length : other->length);
        memcpy(frame + at, other->data + at, other->length - at);
        length = other->length;
        break;
    }
    case 3:
        length = below(state, 1515);
        for (uint32_t at = below(state, 2) ? 0 : ETHERNET; at < length; at++)
            frame[at] = (uint8_t)next(state);
        break;
    }
    for (uint32_t times = below(state, 4); times && length; times--) {
        uint32_t at = below(state, below(state, 2) ? length : length < 60 ? length : 60);
        frame[at] = below(state, 2) ? frame[at] ^ (uint8_t)(1u << below(state, 8)) : edges[below(state, sizeof edges)];
    }
    if (below(state, 3))
        mend(frame, length);
    return length;
}

void fuzz(void *engine, inject_t inject, release_t release, const struct seed *seeds, uint32_t count, uint64_t frames,
          uint64_t *state, struct result *result)
{
    uint8_t *frame = malloc(ROOM * 2);
    while (frame && frames--) {
        uint32_t port, length = make(state, seeds, count, frame, &port);
        /* a copy that ends where the frame ends */
        uint8_t *exact = malloc(length + 1), *out = NULL;
        memcpy(exact, frame, length);
        if (inject(engine, port, exact, length, &out)) {
            result->left++;
            release(out);
        } else {
            result->silent++;
        }
        free(exact);
    }
    free(frame);
}

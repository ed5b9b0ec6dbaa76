/* Random and damaged frames: seeds with turned bits, interesting bytes, a cut, a tail of noise, spliced, or noise alone. */
#include "../../experiments/native/hostile.h"

struct seed {
    uint32_t port;
    uint32_t length;
    const uint8_t *data;
};

struct mutator {
    uint64_t state;
    const struct seed *seeds;
    uint32_t count;
    uint32_t shortest; /* bytes of a frame at least */
};

static void damage(struct mutator *self, struct frame *frame)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 4, 6, 17, 60, 0x45};
    uint64_t *state = &self->state;
    const struct seed *seed = &self->seeds[below(state, self->count)];
    uint8_t *data = frame->data;
    uint32_t length = seed->length;
    frame->port = below(state, 8) ? seed->port : 1 + below(state, 4);
    memcpy(data, seed->data, length);
    switch (below(state, 8)) {
    case 0:
        length = below(state, length + 1);
        break;
    case 1:
        for (uint32_t tail = below(state, 300); tail; tail--)
            data[length++] = (uint8_t)next(state);
        break;
    case 2: {
        const struct seed *other = &self->seeds[below(state, self->count)];
        uint32_t at = below(state, length < other->length ? length : other->length);
        memcpy(data + at, other->data + at, other->length - at);
        length = other->length;
        break;
    }
    case 3:
        length = below(state, 1515);
        for (uint32_t at = below(state, 2) ? 0 : ETHERNET; at < length; at++)
            data[at] = (uint8_t)next(state);
        break;
    }
    for (uint32_t times = below(state, 4); times && length; times--) {
        uint32_t at = below(state, below(state, 2) ? length : length < 60 ? length : 60);
        data[at] = below(state, 2) ? data[at] ^ (uint8_t)(1u << below(state, 8)) : edges[below(state, sizeof edges)];
    }
    frame->length = length;
    if (below(state, 3)) /* so that the damage behind it is looked at */
        mend(frame);
}

void mutate(void *self, struct frame *frame)
{
    do
        damage(self, frame);
    while (frame->length < ((struct mutator *)self)->shortest);
}

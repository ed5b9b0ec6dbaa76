/* Reports that must not count: replayed, with a tag at random, with other contents, or with one bit turned over. */
#include "../../experiments/native/layout.h"
#include "../../experiments/native/hostile.h"

enum {
    REPORT = ETHERNET + IPV4 + UDP,
    BYTES = STEERING_REPORT_BYTES,
    FLAGS = BYTE_OF(report, reserved_flags),
    IDS = BYTE_OF(report, service_id),
    EPOCH = BYTE_OF(report, epoch),
    KEY = BYTE_OF(report, key_id),
    RESERVED = BYTE_OF(report, reserved),
    TAG = BYTE_OF(report, tag),
    OLD_ONES = 64,
};

/* Why a switch must drop it. */
enum reason { MALFORMED, UNBOUND, OLD, FORGED, REASONS };

struct forger {
    uint64_t state;
    struct frame good;               /* a report that would count, authenticated */
    uint8_t past[OLD_ONES][BYTES];   /* reports that have counted */
    uint64_t expected[REASONS];
};

static enum reason turn_a_bit(uint64_t *state, uint8_t *report)
{
    /* not the last byte of the service's id: that could name another service of the switch */
    uint32_t bit = below(state, (BYTES - 1) * 8), at = (bit >> 3) + (bit >= (IDS + 1) * 8);
    uint8_t mask = (uint8_t)(1u << (bit & 7));
    report[at] ^= mask;
    if (at < FLAGS || (at == FLAGS && mask > 2) || (at >= RESERVED && at < TAG))
        return MALFORMED;
    return at >= IDS && at < EPOCH ? UNBOUND : FORGED;
}

void forge(void *self, struct frame *frame)
{
    struct forger *f = self;
    uint8_t *report = frame->data + REPORT;
    enum reason reason = FORGED;
    frame->port = f->good.port;
    frame->length = f->good.length;
    memcpy(frame->data, f->good.data, f->good.length);
    switch (below(&f->state, 4)) {
    case 0:
        memcpy(report, f->past[below(&f->state, OLD_ONES)], BYTES);
        reason = OLD;
        break;
    case 1:
        put(report + TAG, next(&f->state), 8);
        break;
    case 2:
        for (int at = EPOCH; at < KEY; at += 4)
            put(report + at, next(&f->state), 4);
        break;
    case 3:
        reason = turn_a_bit(&f->state, report);
        break;
    }
    f->expected[reason]++;
}

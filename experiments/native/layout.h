/* SPDX-License-Identifier: Apache-2.0 */
/* The program's headers in C, from their layouts in words.h: their fields' values, and where each field begins. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "../../p4src/words.h"

#define LAYOUT_VALUE(name, bits) uint64_t name;
#define LAYOUT_BITS(name, bits) char name[bits];

/* The values of a header's fields. */
struct report {
    STEERING_REPORT_LAYOUT(LAYOUT_VALUE)
};

struct invocation {
    STEERING_INVOCATION_LAYOUT(LAYOUT_VALUE)
};

/* A char for each bit: where it lies is an eighth of where it would be here. */
struct report_bits {
    STEERING_REPORT_LAYOUT(LAYOUT_BITS)
};

struct invocation_bits {
    STEERING_INVOCATION_LAYOUT(LAYOUT_BITS)
};

/* The byte of a header at which a field begins. */
#define BYTE_OF(header, field) ((int)(offsetof(struct header##_bits, field) / 8))

#endif

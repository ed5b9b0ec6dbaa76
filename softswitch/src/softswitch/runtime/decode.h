/* SPDX-License-Identifier: Apache-2.0 */
/* What Python says of tables to the decoder of WriteRequests, and what it hears (softswitch/engine/decoding.py). */
#ifndef SOFTSWITCH_DECODE_H
#define SOFTSWITCH_DECODE_H

#include "table.h"

enum ss_field_kind { SS_FIELD_EXACT, SS_FIELD_LPM, SS_FIELD_TERNARY, SS_FIELD_RANGE, SS_FIELD_OPTIONAL };

/* A decoded update. `values` has value and mask (prefix length, upper end) of each field, of one word or, beyond 64 bits, of
 * two each, then the action's data as the operation has them. */
struct ss_row {
    uint64_t plan; /* the place of the table's */
    uint64_t update; /* p4.v1.Update.Type */
    uint64_t priority;
    uint64_t action; /* its id; 0 of a DELETE that has none */
    uint64_t values[];
};

/* Decodes a request of `count` updates: an operation for `ss_apply` and a row for Python each. Returns the bytes
 * of the operations, or -1 when a part of the request is not plain. */
int64_t ss_decode(const uint32_t *plans, const uint8_t *request, size_t length, uint32_t count, uint8_t *ops, size_t room, uint64_t *rows, uint32_t row_words);

#endif

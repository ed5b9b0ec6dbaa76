/* SPDX-License-Identifier: Apache-2.0 */
/* Serialized p4.v1.WriteRequests that INSERT, MODIFY or DELETE plain table entries, decoded, checked and packed in bulk.
 * Whatever is anything else, wrong, or only unusual ends it: Python then takes the request apart, and tells what is wrong. */
#include "decode.h"

enum { UPDATE_INSERT = 1, UPDATE_MODIFY, UPDATE_DELETE }; /* p4.v1.Update.Type */

struct cursor {
    const uint8_t *at, *end;
};

/* What Python says of a table, in 32-bit numbers. */
struct plan_piece {
    uint32_t word, shift, low, width;
};

struct plan_field {
    uint32_t id, kind, width, n_pieces;
    struct plan_piece pieces[];
};

struct plan_parameter {
    uint32_t id, width;
};

struct plan_action {
    uint32_t id, native, n_parameters;
    struct plan_parameter parameters[];
};

struct plan {
    uint32_t length; /* of this plan */
    uint32_t table_id, table, match, key_words, data_words, priorities;
    uint32_t key_values; /* words of a row before the action's data */
    uint32_t n_fields, n_actions;
    uint32_t rest[]; /* fields, then actions */
};

struct output {
    uint8_t *ops;
    size_t room, used;
    uint64_t *rows;
    uint32_t row_words;
};

static u128 ones(uint32_t width) { return width >= 128 ? ~(u128)0 : ((u128)1 << width) - 1; }

static bool varint(struct cursor *c, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        uint8_t byte = *c->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The next field of a message: a number, or the bytes of a string or message. `seen` refuses a field that comes again. */
static bool next_field(struct cursor *c, uint32_t *seen, uint32_t *number, uint64_t *value, struct cursor *body)
{
    uint64_t tag;
    if (!varint(c, &tag) || tag >> 3 == 0 || tag >> 3 > 31)
        return false;
    *number = (uint32_t)(tag >> 3);
    if (seen) {
        if (*seen & 1u << *number)
            return false;
        *seen |= 1u << *number;
    }
    *body = (struct cursor){0};
    if ((tag & 7) == 0)
        return varint(c, value);
    if ((tag & 7) != 2 || !varint(c, value) || *value > (uint64_t)(c->end - c->at))
        return false;
    *body = (struct cursor){c->at, c->at + *value};
    c->at = body->end;
    return true;
}

/* The number of up to 128 bits in a byte string, whatever zeros it starts with. */
static bool byte_string(struct cursor text, uint32_t width, u128 *value)
{
    if (text.at == text.end)
        return false;
    while (text.at < text.end && *text.at == 0)
        text.at++;
    if (text.end - text.at > 16)
        return false;
    for (*value = 0; text.at < text.end; text.at++)
        *value = *value << 8 | *text.at;
    return *value <= ones(width);
}

/* A number of `width` bits in a row: one word, or two. */
static void put(uint64_t **at, uint32_t width, u128 value)
{
    *(*at)++ = (uint64_t)value;
    if (width > 64)
        *(*at)++ = (uint64_t)(value >> 64);
}

static u128 take(const uint64_t **at, uint32_t width)
{
    u128 value = *(*at)++;
    return width > 64 ? value | (u128)*(*at)++ << 64 : value;
}

/* A field that matches anything. */
static void put_any(const struct plan_field *f, uint64_t **values)
{
    put(values, f->width, 0);
    put(values, f->width, f->kind == SS_FIELD_RANGE ? ones(f->width) : 0);
}

static const struct plan_field *next_plan_field(const struct plan_field *f)
{
    return (const struct plan_field *)(const void *)(f->pieces + f->n_pieces);
}

static bool match_body(const struct plan_field *f, struct cursor body, u128 *value, u128 *mask)
{
    static const uint32_t second_number = 2;
    struct cursor first = {0}, second = {0}, text;
    uint32_t seen = 0, number;
    uint64_t length = 0, plain;
    while (body.at < body.end) {
        if (!next_field(&body, &seen, &number, &plain, &text))
            return false;
        if (number == 1 && text.at)
            first = text;
        else if (number == second_number && f->kind == SS_FIELD_LPM && !text.at)
            length = plain;
        else if (number == second_number && (f->kind == SS_FIELD_TERNARY || f->kind == SS_FIELD_RANGE) && text.at)
            second = text;
        else
            return false;
    }
    if (!byte_string(first, f->width, value))
        return false;
    switch (f->kind) {
    case SS_FIELD_LPM:
        *mask = length;
        return length > 0 && length <= f->width && !(*value & ones(f->width - (uint32_t)length));
    case SS_FIELD_TERNARY:
        return byte_string(second, f->width, mask) && *mask && !(*value & ~*mask);
    case SS_FIELD_RANGE:
        return byte_string(second, f->width, mask) && *value <= *mask && (*value || *mask != ones(f->width));
    default:
        *mask = ones(f->width);
        return true;
    }
}

/* One FieldMatch, which must be of this field or a later one: what is passed over is left as don't care. */
static bool match(const struct plan_field **f, uint32_t *left, struct cursor body, uint64_t **values)
{
    static const uint32_t numbers[] = {[SS_FIELD_EXACT] = 2, [SS_FIELD_LPM] = 4, [SS_FIELD_TERNARY] = 3, [SS_FIELD_RANGE] = 6, [SS_FIELD_OPTIONAL] = 7};
    struct cursor text, chosen = {0};
    uint32_t seen = 0, number, kind = 0;
    uint64_t id = 0, plain;
    u128 value, mask;
    while (body.at < body.end) {
        if (!next_field(&body, &seen, &number, &plain, &text))
            return false;
        if (number == 1 && !text.at)
            id = plain;
        else if (text.at && !chosen.at) {
            kind = number;
            chosen = text;
        } else
            return false;
    }
    for (; *left && (*f)->id != id; --*left) {
        if ((*f)->kind == SS_FIELD_EXACT)
            return false;
        put_any(*f, values);
        *f = next_plan_field(*f);
    }
    if (!*left || !chosen.at || kind != numbers[(*f)->kind] || !match_body(*f, chosen, &value, &mask))
        return false;
    put(values, (*f)->width, value);
    put(values, (*f)->width, mask);
    *f = next_plan_field(*f);
    --*left;
    return true;
}

static const struct plan_action *plan_action(const struct plan *p, uint64_t id)
{
    const struct plan_field *f = (const struct plan_field *)(const void *)p->rest;
    for (uint32_t i = 0; i < p->n_fields; i++)
        f = next_plan_field(f);
    const struct plan_action *a = (const struct plan_action *)(const void *)f;
    for (uint32_t i = 0; i < p->n_actions; i++) {
        if (a->id == id)
            return a;
        a = (const struct plan_action *)(const void *)(a->parameters + a->n_parameters);
    }
    return NULL;
}

static bool parameter(const struct plan_parameter *p, struct cursor body, uint64_t **words)
{
    struct cursor text, given = {0};
    uint32_t seen = 0, number;
    uint64_t id = 0, plain;
    u128 value;
    while (body.at < body.end) {
        if (!next_field(&body, &seen, &number, &plain, &text))
            return false;
        if (number == 2 && !text.at)
            id = plain;
        else if (number == 3 && text.at)
            given = text;
        else
            return false;
    }
    if (id != p->id || !given.at || !byte_string(given, p->width, &value))
        return false;
    put(words, p->width, value);
    return true;
}

static const struct plan_action *action(const struct plan *p, struct cursor table_action, uint64_t *words)
{
    struct cursor body, text;
    uint32_t seen = 0, number, taken = 0;
    uint64_t plain;
    const struct plan_action *a = NULL;
    if (!next_field(&table_action, &seen, &number, &plain, &body) || number != 1 || !body.at || table_action.at < table_action.end)
        return NULL;
    while (body.at < body.end) {
        if (!next_field(&body, NULL, &number, &plain, &text))
            return NULL;
        if (number == 1 && !text.at && !a) {
            a = plan_action(p, plain);
        } else if (number == 4 && text.at && a && taken < a->n_parameters) {
            if (!parameter(&a->parameters[taken++], text, &words))
                return NULL;
        } else {
            return NULL;
        }
        if (!a)
            return NULL;
    }
    return a && taken == a->n_parameters ? a : NULL;
}

static bool emit(const struct plan *p, const struct ss_row *row, const struct plan_action *a, struct output *out)
{
    static const uint32_t operations[] = {[UPDATE_INSERT] = SS_INSERT, [UPDATE_MODIFY] = SS_MODIFY, [UPDATE_DELETE] = SS_DELETE};
    uint32_t keys = p->key_words * (p->match == SS_EXACT ? 1 : 2);
    size_t bytes = sizeof(struct ss_op) + (keys + p->data_words) * sizeof(uint64_t);
    if (out->room - out->used < bytes)
        return false;
    struct ss_op *op = (struct ss_op *)(void *)(out->ops + out->used);
    memset(op, 0, bytes);
    op->bytes = (uint32_t)bytes;
    op->target = p->table;
    op->operation = operations[row->update];
    op->priority = (int32_t)row->priority;
    const struct plan_field *f = (const struct plan_field *)(const void *)p->rest;
    const uint64_t *values = row->values;
    for (uint32_t i = 0; i < p->n_fields; i++, f = next_plan_field(f)) {
        u128 value = take(&values, f->width), mask = take(&values, f->width);
        if (f->kind == SS_FIELD_LPM) {
            if (p->match == SS_PREFIX)
                op->priority = (int32_t)mask;
            mask = ones(f->width) ^ ones(f->width - (uint32_t)mask);
        }
        for (uint32_t k = 0; k < f->n_pieces; k++) {
            const struct plan_piece *piece = &f->pieces[k];
            uint64_t bits = (uint64_t)ones(piece->width);
            op->words[piece->word] |= ((uint64_t)(value >> piece->low) & bits) << piece->shift;
            if (p->match != SS_EXACT)
                op->words[p->key_words + piece->word] |= ((uint64_t)(mask >> piece->low) & bits) << piece->shift;
        }
    }
    if (row->update != UPDATE_DELETE) {
        op->action = a->native;
        memcpy(op->words + keys, row->values + p->key_values, p->data_words * sizeof(uint64_t));
    }
    out->used += bytes;
    return true;
}

static const struct plan *plan_of(const uint32_t *plans, uint64_t table_id, uint64_t *place)
{
    const uint32_t *at = plans + 1;
    for (*place = 0; *place < plans[0]; ++*place, at += at[0])
        if (((const struct plan *)(const void *)at)->table_id == table_id)
            return (const struct plan *)(const void *)at;
    return NULL;
}

/* A TableEntry. Its fields come in the order of their numbers, or it is not plain. */
static bool entry(const uint32_t *plans, uint64_t update, struct cursor body, struct output *out)
{
    struct ss_row *row = (struct ss_row *)(void *)out->rows;
    const struct plan *p = NULL;
    const struct plan_field *f = NULL;
    const struct plan_action *a = NULL;
    struct cursor text;
    uint32_t number, left = 0, seen = 0;
    uint64_t plain, *values = row->values;
    memset(row, 0, out->row_words * sizeof(uint64_t));
    row->update = update;
    while (body.at < body.end) {
        if (!next_field(&body, NULL, &number, &plain, &text))
            return false;
        if (number != 2 && seen & 1u << number)
            return false;
        seen |= 1u << number;
        if (number == 1 && !text.at) {
            if (!(p = plan_of(plans, plain, &row->plan)))
                return false;
            f = (const struct plan_field *)(const void *)p->rest;
            left = p->n_fields;
        } else if (number == 2 && text.at && p) {
            if (!match(&f, &left, text, &values))
                return false;
        } else if (number == 3 && text.at && p) {
            if (!(a = action(p, text, row->values + p->key_values)))
                return false;
            row->action = a->id;
        } else if (number == 4 && !text.at && plain <= INT32_MAX) {
            row->priority = plain;
        } else {
            return false;
        }
    }
    if (!p || (!a && update != UPDATE_DELETE) || (p->priorities ? row->priority == 0 : row->priority != 0))
        return false;
    for (; left; left--, f = next_plan_field(f)) {
        if (f->kind == SS_FIELD_EXACT)
            return false;
        put_any(f, &values);
    }
    if (!emit(p, row, a, out))
        return false;
    out->rows += out->row_words;
    return true;
}

int64_t ss_decode(const uint32_t *plans, const uint8_t *request, size_t length, uint32_t count, uint8_t *ops, size_t room, uint64_t *rows, uint32_t row_words)
{
    struct output out = {ops, room, 0, rows, row_words};
    struct cursor all = {request, request + length}, update, entity, text;
    uint32_t number;
    uint64_t plain;
    while (all.at < all.end) {
        if (!next_field(&all, NULL, &number, &plain, &update))
            return -1;
        if (number != 4)
            continue;
        uint32_t seen = 0;
        uint64_t type = 0;
        entity = (struct cursor){0};
        if (!update.at || count-- == 0)
            return -1;
        while (update.at < update.end) {
            if (!next_field(&update, &seen, &number, &plain, &text))
                return -1;
            if (number == 1 && !text.at)
                type = plain;
            else if (number == 2 && text.at)
                entity = text;
            else
                return -1;
        }
        seen = 0;
        if (type < UPDATE_INSERT || type > UPDATE_DELETE)
            return -1;
        if (!entity.at || !next_field(&entity, &seen, &number, &plain, &text) || number != 2 || !text.at || entity.at < entity.end)
            return -1;
        if (!entry(plans, type, text, &out))
            return -1;
    }
    return count ? -1 : (int64_t)out.used;
}

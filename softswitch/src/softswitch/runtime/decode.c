/* Serialized p4.v1.WriteRequests of plain INSERTs of table entries, decoded, checked and packed in bulk. Whatever is
 * anything else, wrong, or only unusual ends it: Python then takes the request apart, and tells what is wrong. */
#include "table.h"

enum { EXACT, LPM, TERNARY, RANGE, OPTIONAL };

struct cursor {
    const uint8_t *at, *end;
};

/* What Python says of the tables (softswitch/p4runtime/bulk.py), in 32-bit words. */
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
    uint32_t words; /* of this plan */
    uint32_t table_id, number, match, key_words, data_words, priorities, n_fields, n_actions;
    uint32_t rest[]; /* fields, then actions */
};

/* A decoded entry as Python reads it: `values` has value and mask (prefix length, upper end) of each field, then the
 * action's data, as the operation has them. */
struct row {
    uint64_t plan, priority, action;
    uint64_t values[];
};

struct output {
    uint8_t *ops;
    size_t room, used;
    uint64_t *rows;
    uint32_t row_words;
};

static uint64_t ones(uint32_t width) { return width >= 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1; }

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

static bool byte_string(struct cursor text, uint32_t width, uint64_t *value)
{
    if (text.at == text.end)
        return false;
    while (text.at < text.end && *text.at == 0)
        text.at++;
    if (text.end - text.at > 8)
        return false;
    for (*value = 0; text.at < text.end; text.at++)
        *value = *value << 8 | *text.at;
    return *value <= ones(width);
}

/* A number of up to 128 bits as words, the low one first; returns how many, 0 when it does not fit. */
static uint32_t wide_number(struct cursor text, uint32_t width, uint64_t *words)
{
    if (width <= 64)
        return byte_string(text, width, words);
    if (text.at == text.end)
        return 0;
    while (text.end - text.at > 16 && *text.at == 0)
        text.at++;
    if (text.end - text.at > 16)
        return 0;
    struct cursor low = {text.end - text.at > 8 ? text.end - 8 : text.at, text.end}, high = {text.at, low.at};
    words[1] = 0;
    return byte_string(low, 64, &words[0]) && (high.at == high.end || byte_string(high, width - 64, &words[1])) ? 2 : 0;
}

static const struct plan_field *next_plan_field(const struct plan_field *f)
{
    return (const struct plan_field *)(const void *)(f->pieces + f->n_pieces);
}

static bool match_body(const struct plan_field *f, struct cursor body, uint64_t *value, uint64_t *mask)
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
        else if (number == second_number && f->kind == LPM && !text.at)
            length = plain;
        else if (number == second_number && (f->kind == TERNARY || f->kind == RANGE) && text.at)
            second = text;
        else
            return false;
    }
    if (!byte_string(first, f->width, value))
        return false;
    switch (f->kind) {
    case LPM:
        *mask = length;
        return length > 0 && length <= f->width && !(*value & (ones(f->width) & ~(ones(f->width) << (f->width - length))));
    case TERNARY:
        return byte_string(second, f->width, mask) && *mask && !(*value & ~*mask);
    case RANGE:
        return byte_string(second, f->width, mask) && *value <= *mask && (*value || *mask != ones(f->width));
    default:
        *mask = ones(f->width);
        return true;
    }
}

/* One FieldMatch, which must be of this field or a later one: what is passed over is left as it is, don't care. */
static bool match(const struct plan_field **f, uint32_t *left, struct cursor body, uint64_t **values)
{
    static const uint32_t numbers[] = {[EXACT] = 2, [LPM] = 4, [TERNARY] = 3, [RANGE] = 6, [OPTIONAL] = 7};
    struct cursor text, chosen = {0};
    uint32_t seen = 0, number, kind = 0;
    uint64_t id = 0, plain;
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
    for (; *left && (*f)->id != id; --*left, *values += 2) {
        if ((*f)->kind == EXACT)
            return false;
        *f = next_plan_field(*f);
    }
    if (!*left || !chosen.at || kind != numbers[(*f)->kind] || !match_body(*f, chosen, &(*values)[0], &(*values)[1]))
        return false;
    *f = next_plan_field(*f);
    --*left;
    *values += 2;
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

/* Returns how many words it takes, 0 when something is wrong. */
static uint32_t parameter(const struct plan_parameter *p, struct cursor body, uint64_t *words)
{
    struct cursor text, given = {0};
    uint32_t seen = 0, number;
    uint64_t id = 0, plain;
    while (body.at < body.end) {
        if (!next_field(&body, &seen, &number, &plain, &text))
            return 0;
        if (number == 2 && !text.at)
            id = plain;
        else if (number == 3 && text.at)
            given = text;
        else
            return 0;
    }
    return id == p->id && given.at ? wide_number(given, p->width, words) : 0;
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
            uint32_t used = parameter(&a->parameters[taken++], text, words);
            if (!used)
                return NULL;
            words += used;
            continue;
        } else {
            return NULL;
        }
        if (!a)
            return NULL;
    }
    return a && taken == a->n_parameters ? a : NULL;
}

static bool emit(const struct plan *p, const struct row *row, const struct plan_action *a, struct output *out)
{
    uint32_t keys = p->key_words * (p->match == SS_EXACT ? 1 : 2);
    size_t bytes = sizeof(struct ss_op) + (keys + p->data_words) * sizeof(uint64_t);
    if (out->room - out->used < bytes)
        return false;
    struct ss_op *op = (struct ss_op *)(void *)(out->ops + out->used);
    memset(op, 0, bytes);
    op->bytes = (uint32_t)bytes;
    op->table = p->number;
    op->operation = SS_INSERT;
    op->action = a->native;
    op->priority = (int32_t)row->priority;
    const struct plan_field *f = (const struct plan_field *)(const void *)p->rest;
    for (uint32_t i = 0; i < p->n_fields; i++, f = next_plan_field(f)) {
        uint64_t value = row->values[2 * i], mask = row->values[2 * i + 1];
        if (f->kind == LPM) {
            if (p->match == SS_PREFIX)
                op->priority = (int32_t)mask;
            mask = mask ? ones(f->width) & ones(f->width) << (f->width - mask) : 0;
        }
        for (uint32_t k = 0; k < f->n_pieces; k++) {
            const struct plan_piece *piece = &f->pieces[k];
            op->words[piece->word] |= (value >> piece->low & ones(piece->width)) << piece->shift;
            if (p->match != SS_EXACT)
                op->words[p->key_words + piece->word] |= (mask >> piece->low & ones(piece->width)) << piece->shift;
        }
    }
    memcpy(op->words + keys, row->values + 2 * p->n_fields, p->data_words * sizeof(uint64_t));
    out->used += bytes;
    return true;
}

static bool entry(const uint32_t *plans, struct cursor body, struct output *out)
{
    struct row *row = (struct row *)(void *)out->rows;
    const struct plan *p = NULL;
    const struct plan_field *f = NULL;
    const struct plan_action *a = NULL;
    struct cursor text;
    uint32_t number, left = 0, seen = 0;
    uint64_t plain, *values = row->values;
    memset(row, 0, out->row_words * sizeof(uint64_t));
    while (body.at < body.end) {
        if (!next_field(&body, NULL, &number, &plain, &text))
            return false;
        if (number != 2 && seen & 1u << number)
            return false;
        seen |= 1u << number;
        if (number == 1 && !text.at) {
            const uint32_t *at = plans + 1;
            for (row->plan = 0; row->plan < plans[0] && at[1] != plain; row->plan++)
                at += at[0];
            if (row->plan == plans[0])
                return false;
            p = (const struct plan *)(const void *)at;
            f = (const struct plan_field *)(const void *)p->rest;
            left = p->n_fields;
            const struct plan_field *each = f;
            for (uint32_t i = 0; i < left; i++, each = next_plan_field(each))
                if (each->kind == RANGE)
                    row->values[2 * i + 1] = ones(each->width);
        } else if (number == 2 && text.at && p) {
            if (!match(&f, &left, text, &values))
                return false;
        } else if (number == 3 && text.at && p) {
            if (!(a = action(p, text, row->values + 2 * p->n_fields)))
                return false;
            row->action = a->id;
        } else if (number == 4 && !text.at && plain <= INT32_MAX) {
            row->priority = plain;
        } else {
            return false;
        }
    }
    if (!p || !a || (p->priorities ? row->priority == 0 : row->priority != 0))
        return false;
    for (; left; left--, f = next_plan_field(f))
        if (f->kind == EXACT)
            return false;
    if (!emit(p, row, a, out))
        return false;
    out->rows += out->row_words;
    return true;
}

/* Decodes a request of at most `count` updates: an operation for `ss_apply` and a row for Python each. Returns the bytes
 * of the operations, or -1 when a part of the request is not plain. */
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
        bool inserts = false;
        entity = (struct cursor){0};
        if (!update.at || count-- == 0)
            return -1;
        while (update.at < update.end) {
            if (!next_field(&update, &seen, &number, &plain, &text))
                return -1;
            if (number == 1 && !text.at)
                inserts = plain == 1;
            else if (number == 2 && text.at)
                entity = text;
            else
                return -1;
        }
        seen = 0;
        if (!inserts || !entity.at || !next_field(&entity, &seen, &number, &plain, &text) || number != 2 || !text.at || entity.at < entity.end)
            return -1;
        if (!entry(plans, text, &out))
            return -1;
    }
    return (int64_t)out.used;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of action profiles. Only the thread that runs packets calls these, between two packets. */
#include "profile.h"

#include <stdlib.h>

enum { LEAST_ROOM = 16 };

void ss_profile_create(struct ss_profile *f, const struct ss_profile_layout *layout)
{
    *f = (struct ss_profile){.layout = layout};
}

void ss_profile_destroy(struct ss_profile *f)
{
    for (uint32_t i = 0; i < f->n_groups; i++)
        free(f->groups[i]);
    free(f->groups);
    free(f->members);
    *f = (struct ss_profile){0};
}

/* Makes `*array` hold number `number`, new elements zero. */
static bool make_room(void *array, uint32_t *room, uint32_t number, size_t size)
{
    void **at = array;
    uint32_t more = *room ? *room : LEAST_ROOM;
    if (number < *room)
        return true;
    while (more <= number)
        more *= 2;
    uint8_t *larger = realloc(*at, more * size);
    if (!larger)
        return false;
    memset(larger + *room * size, 0, (more - *room) * size);
    *at = larger;
    *room = more;
    return true;
}

static enum ss_result set_member(struct ss_profile *f, const struct ss_op *op)
{
    size_t size = (f->layout->data_words + 1) * sizeof(uint64_t);
    if (!make_room(&f->members, &f->n_members, op->number, size))
        return SS_NO_MEMORY;
    struct ss_member *m = (struct ss_member *)(void *)(f->members + op->number * size);
    m->action = op->action;
    memcpy(m->data, op->words, f->layout->data_words * sizeof(uint64_t));
    return SS_OK;
}

static enum ss_result set_group(struct ss_profile *f, const struct ss_op *op)
{
    struct ss_choice *choice = malloc(sizeof *choice + op->count * sizeof *choice->members);
    if (!choice || !make_room(&f->groups, &f->n_groups, op->number, sizeof *f->groups)) {
        free(choice);
        return SS_NO_MEMORY;
    }
    choice->count = op->count;
    for (uint32_t i = 0; i < choice->count; i++)
        choice->members[i] = (uint32_t)op->words[i];
    free(f->groups[op->number]);
    f->groups[op->number] = choice;
    return SS_OK;
}

enum ss_result ss_profile_do(struct ss_profile *f, const struct ss_op *op)
{
    return op->operation == SS_SET_MEMBER ? set_member(f, op) : set_group(f, op);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Action profiles: actions that entries of indirect tables refer to, alone or as groups of which a hash picks one. */
#ifndef SOFTSWITCH_PROFILE_H
#define SOFTSWITCH_PROFILE_H

#include "table.h"

/* What an entry of an indirect table has in place of its action; its data is the number of a member or group. */
enum ss_reference { SS_MEMBER, SS_GROUP };

struct ss_member {
    uint64_t action;
    uint64_t data[];
};

struct ss_choice {
    uint32_t count;
    uint32_t members[]; /* numbers; one that weighs more stands more than once */
};

struct ss_profile {
    const struct ss_profile_layout *layout;
    uint8_t *members;
    struct ss_choice **groups;
    uint32_t n_members, n_groups; /* room */
};

SS_INLINE const struct ss_member *ss_profile_member(const struct ss_profile *f, uint64_t number)
{
    return (const struct ss_member *)(const void *)(f->members + number * (f->layout->data_words + 1) * sizeof(uint64_t));
}

/* NULL when the group is empty. */
SS_INLINE const struct ss_member *ss_profile_pick(const struct ss_profile *f, uint64_t group, uint32_t hash)
{
    const struct ss_choice *choice = f->groups[group];
    return choice->count ? ss_profile_member(f, choice->members[hash % choice->count]) : NULL;
}

void ss_profile_create(struct ss_profile *f, const struct ss_profile_layout *layout);
void ss_profile_destroy(struct ss_profile *f);
/* SS_SET_MEMBER, SS_SET_GROUP. */
enum ss_result ss_profile_do(struct ss_profile *f, const struct ss_op *op);

#endif

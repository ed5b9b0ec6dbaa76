// SPDX-License-Identifier: Apache-2.0

// The tournament: one changed leaf is compared with its rival on each level up to the root, which is the exact best of
// the service.
//
//   root              [0-31 | 32-63]                one match a service
//                    /              \
//             [0-15 | 16-31]   [32-47 | 48-63]
//                  ...               ...
//   of_32   [0|1] [2|3] [4|5]   ...   [62|63]       32 matches a service
//
// A match keeps both contenders, so each level is one write and one read. The half not touched wins a tie: equals take
// turns. Nothing loops and nothing recirculates, for any number of members up to 64.

control TreeLevel(in service_t service, inout member_t node, inout entrant_t winner)(bit<32> matches, bit<8> depth) {
    register<entrant_t, bit<32>>(SERVICES * matches * 2) contenders;
    entrant_t rival;

    @hidden action enter_match() {
        bit<32> place = ((bit<32>)service << (depth + 1)) + (bit<32>)node;
        contenders.write(place, winner);
        contenders.read(rival, place ^ 1);
        node = node >> 1;
    }

    apply {
        enter_match();
        if (rival[53:6] >= winner[53:6]) { winner = rival; }
    }
}

control Tree(inout metadata_t meta) {
    TreeLevel(32, 5) of_32;
    TreeLevel(16, 4) of_16;
    TreeLevel(8, 3) of_8;
    TreeLevel(4, 2) of_4;
    TreeLevel(2, 1) of_2;
    TreeLevel(1, 0) of_1;
    member_t  node;
    entrant_t winner;

    @hidden action change_leaf() {
        reg_rank.write(meta.instance, meta.rank);
        members_t eligible;
        reg_eligible.read(eligible, meta.service);
        eligible = eligible & ~((members_t)1 << meta.member);
        if (meta.rank > LAST_RESORT) { eligible = eligible | ((members_t)1 << meta.member); }
        reg_eligible.write(meta.service, eligible);
        node = meta.member;
        winner = meta.rank ++ meta.member;
    }

    @hidden action keep_root() {
        reg_best.write(meta.service, winner);
        meta.best_rank = winner[53:6];
        meta.best = winner[5:0];
    }

    apply {
        change_leaf();
        of_32.apply(meta.service, node, winner);
        of_16.apply(meta.service, node, winner);
        of_8.apply(meta.service, node, winner);
        of_4.apply(meta.service, node, winner);
        of_2.apply(meta.service, node, winner);
        of_1.apply(meta.service, node, winner);
        keep_root();
    }
}

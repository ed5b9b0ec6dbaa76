// SPDX-License-Identifier: Apache-2.0

// Choose the member for a piece of new work, by the service's policy. When nobody is eligible, on_no_live decides; the
// last resort of a flow is where it was, since reports may be all that is lost.
//
//   single, pinned   the host (host.p4)
//   spread           the best: the root of the tree
//   two_choices      the better of two members drawn at random
//   round_robin      the first at or after the one that has its turn
//   random           drawn at random
//
// What has no entry in the flow store and gets none is drawn by its hash, unless there is a host. Only members that are
// eligible and not draining can be drawn; when all drain, the root takes it.

control Choose(inout metadata_t meta) {
    Host() host;
    Draw() draw;
    Draw() draw_other;
    members_t      eligible;
    entrant_t      best;
    member_t       start;
    member_t       other;
    rank_t         rank;
    rank_t         other_rank;
    maybe_member_t last;

    @hidden action read_service() {
        reg_best.read(best, meta.service);
        reg_eligible.read(eligible, meta.service);
        reg_last.read(last, meta.service);
    }

    @hidden action by_hash() {
        hash(start, HashAlgorithm.crc32, 6w0, { meta.flow_key }, (bit<32>)meta.members);
    }

    @hidden action by_turn() {
        reg_turn.read(start, meta.service);
    }

    @hidden action end_turn() {
        reg_turn.write(meta.service, meta.member + 1);
    }

    @hidden action by_chance() {
        random(start, 0, (member_t)(meta.members - 1));
    }

    // Uniform over the others: 1 to members - 1 slots further on.
    @hidden action elsewhere_by_chance() {
        random(start, 0, (member_t)(meta.members - 2));
        bit<7> slot = (bit<7>)meta.member + 1 + (bit<7>)start;
        if (slot >= meta.members) { slot = slot - meta.members; }
        start = slot[5:0];
    }

    @hidden action read_ranks() {
        reg_rank.read(rank, meta.service ++ meta.member);
        reg_rank.read(other_rank, meta.service ++ other);
    }

    apply {
        read_service();
        if (meta.hosted) {
            host.apply(meta.kind == kind_t.REPORT, meta);
        } else {
            meta.no_live = best[53:6] == NOT_ELIGIBLE;
            meta.member = best[5:0];
            if (eligible != 0 && (meta.drawn || meta.policy != policy_t.SPREAD)) {
                if (meta.drawn) { by_hash(); }
                else if (meta.policy == policy_t.ROUND_ROBIN) { by_turn(); }
                else { by_chance(); }
                draw.apply(eligible, start, meta.member);
                if (!meta.drawn && meta.policy == policy_t.ROUND_ROBIN) {
                    end_turn();
                } else if (!meta.drawn && meta.policy == policy_t.TWO_CHOICES) {
                    members_t others = eligible & ~((members_t)1 << meta.member);
                    if (others != 0) {
                        elsewhere_by_chance();
                        draw_other.apply(others, start, other);
                        read_ranks();
                        if (other_rank > rank) { meta.member = other; }
                    }
                }
            }
        }
        if (meta.no_live && meta.kind == kind_t.REQUEST) {
            meta.met_no_live = true;
            if (meta.on_no_live == no_live_t.FALLBACK) {
                meta.fell_back = true;
                meta.next = meta.fallback;
            } else if (meta.on_no_live == no_live_t.LAST && meta.flow_member[6:6] == 1) {
                meta.member = meta.flow_member[5:0];
                meta.sticky = true;
            } else if (meta.on_no_live == no_live_t.LAST && last[6:6] == 1) {
                meta.member = last[5:0];
            } else {
                meta.drop = drop_t.NO_LIVE;
            }
        }
    }
}

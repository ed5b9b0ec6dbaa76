// Choose the member for a piece of new work, by the service's policy. When nobody is eligible, on_no_live decides.

control Choose(inout metadata_t meta) {
    Host() host;
    Draw() draw;
    members_t      eligible;
    entrant_t      best;
    member_t       start;
    maybe_member_t last;

    @hidden action read_service() {
        reg_best.read(best, meta.service);
        reg_eligible.read(eligible, meta.service);
        reg_last.read(last, meta.service);
    }

    @hidden action draw_lot() {
        hash(start, HashAlgorithm.crc32, 6w0, { meta.flow_key }, (bit<32>)meta.members);
    }

    apply {
        read_service();
        meta.no_live = best[53:6] == NOT_ELIGIBLE;
        if (meta.policy == policy_t.SPREAD) {
            meta.member = best[5:0];
            if (meta.drawn && eligible != 0) {
                draw_lot();
                draw.apply(eligible, start, meta.member);
            }
        } else {
            host.apply(meta.kind == kind_t.REPORT, meta);
        }
        if (meta.no_live && meta.kind == kind_t.REQUEST) {
            meta.met_no_live = true;
            if (meta.on_no_live == no_live_t.FALLBACK) {
                meta.fell_back = true;
                meta.next = meta.fallback;
            } else if (meta.on_no_live == no_live_t.LAST && last[6:6] == 1) {
                meta.member = last[5:0];
            } else {
                meta.drop = drop_t.NO_LIVE;
            }
        }
    }
}

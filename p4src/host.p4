// SPDX-License-Identifier: Apache-2.0

// What speaks for another host: the sum, over the host's reports, of by how much more than `margin` the best was better.
// A report adds twice `margin` at most or takes `margin` away at most, the sum is never below zero, and `evidence` times
// the margin is enough. So it takes `evidence` reports at which the best is better by twice the margin, half as many
// where it is better by three times the margin, more where it is less clear; and what a burst adds is soon taken away.
// (A cumulative sum: E. S. Page, Continuous inspection schemes, 1954.)
control Evidence(inout metadata_t meta) {
    maybe_member_t host;
    entrant_t      best;
    rank_t         held;
    evidence_t     sum;

    @hidden action read_service() {
        reg_host.read(host, meta.service);
        reg_best.read(best, meta.service);
        reg_evidence.read(sum, meta.service);
        reg_rank.read(held, meta.instance);
    }

    apply {
        read_service();
        if (host == 1w1 ++ meta.member) {
            evidence_t margin = (evidence_t)meta.margin;
            evidence_t lead = (evidence_t)(best[53:6] - held);
            evidence_t enough = margin * (evidence_t)meta.evidence;
            evidence_t most = margin + (margin << 1);
            if (lead > most) { lead = most; }
            sum = (sum + lead) |-| margin;
            if (sum > enough) { sum = enough; }
            reg_evidence.write(meta.service, sum);
            if (sum == 0) { reg_since.write(meta.service, meta.now); }
        }
    }
}

// Who should be the host of a service under `single` or `pinned`? This only reads, and it is asked in two places: by
// each pass that chooses (choose.p4), and when a report has changed the tree (settle.p4): is that reason enough for
// such a pass? A pass only goes forwards, so it stands twice: before the tree and after it.
//
//   pinned, and the pinned member is alive       -> the pinned member        PINNED
//   nobody is the host yet                       -> the best                 FIRST
//   the host was taken out                       -> the best                 STALE, GONE
//   the host is not ready                        -> the best                 NOT_READY
//   a report came, and the host drains           -> the best, if it does not DRAINING
//   a report came, the host starts new work too
//   late, and the best does not                  -> the best                 LATE_START
//   a report came, the best is better by more
//   than `margin`, there is evidence enough,
//   and the dwell is over                        -> the best                 BETTER
//   else                                         -> the host
//
// The dwell is doubled `damping` times: commit.p4 counts returns.

control Host(in bool by_report, inout metadata_t meta) {
    maybe_member_t host;
    usec_t    moved;
    bit<3>    damping;
    rank_t    held;
    bit<2>    status;
    bit<2>    pinned_status;
    usec_t    arrival;
    entrant_t best;
    evidence_t evidence;

    @hidden action read_service() {
        reg_host.read(host, meta.service);
        reg_moved.read(moved, meta.service);
        reg_damping.read(damping, meta.service);
        reg_evidence.read(evidence, meta.service);
        reg_best.read(best, meta.service);
        reg_rank.read(held, meta.service ++ host[5:0]);
        reg_status.read(status, meta.service ++ host[5:0]);
        reg_arrival.read(arrival, meta.service ++ host[5:0]);
        reg_status.read(pinned_status, meta.service ++ meta.pinned);
    }

    apply {
        read_service();
        bool none = host[6:6] == 0;
        bool late = elapsed(meta.now, arrival) > meta.stale_after;
        event_t event = event_t.NONE;
        meta.member = host[5:0];
        meta.no_live = best[53:6] == NOT_ELIGIBLE;
        if (meta.policy == policy_t.PINNED && pinned_status != (bit<2>)status_t.ABSENT) {
            if (none || host[5:0] != meta.pinned) { event = event_t.PINNED; }
            meta.member = meta.pinned;
            meta.no_live = false; // pinning overrides eligibility
        } else if (!meta.no_live) {
            if (none) {
                event = event_t.FIRST;
            } else if (status == (bit<2>)status_t.ABSENT) {
                event = event_t.GONE;
                if (late) { event = event_t.STALE; }
            } else if (status == (bit<2>)status_t.NOT_READY) {
                event = event_t.NOT_READY;
            } else if (by_report && held == LAST_RESORT && best[53:6] > LAST_RESORT) {
                event = event_t.DRAINING;
            } else if (by_report && held == LATE_START && best[53:6] > LATE_START) {
                event = event_t.LATE_START;
            } else if (by_report && meta.policy == policy_t.SINGLE && best[53:6] > held |+| meta.margin
                       && evidence >= (evidence_t)meta.margin * (evidence_t)meta.evidence
                       && meta.now - moved >= meta.dwell << damping) {
                event = event_t.BETTER;
            }
            if (event != event_t.NONE) { meta.member = best[5:0]; }
        }
        meta.event = event;
        meta.event_from = host;
        meta.event_from_rank = none ? NOT_ELIGIBLE : held;
        meta.host_overdue = late && !meta.no_live;
    }
}

// SPDX-License-Identifier: Apache-2.0

// All steering state. It is touched in ingress only, which BMv2 runs in one thread, so no pass sees another's half-done
// work. Zero everywhere means "no such instance". Nothing here is written by the control plane, since BMv2 cannot do
// that over P4Runtime: intent lives in table entries.

// Of an instance: its last accepted report,
register<generation_t, instance_t>(INSTANCES) reg_generation; // of the binding that accepted it
register<bit<32>, instance_t>(INSTANCES)      reg_epoch;
register<bit<32>, instance_t>(INSTANCES)      reg_sequence;
register<usec_t, instance_t>(INSTANCES)       reg_arrival;
register<bit<32>, instance_t>(INSTANCES)      reg_interval;   // service_interval, µs
register<bit<2>, instance_t>(INSTANCES)       reg_status;     // status_t; ABSENT again once it was taken out
register<bit<32>, instance_t>(INSTANCES)      reg_received;   // new work that it says came,
register<bit<32>, instance_t>(INSTANCES)      reg_held;       // ... and how much it says is there: waiting, executed
register<measured_t, instance_t>(INSTANCES)   reg_measured;   // all else that its rank is made of, to be told

// ... what it was sent,
register<bit<32>, instance_t>(INSTANCES)      reg_sent;       // pieces of new work
register<bit<32>, instance_t>(INSTANCES)      reg_own;        // packets that its own node had sent
register<bit<32>, instance_t>(INSTANCES)      reg_least_gap;  // leaking minimum of sent - received, in 1/64

// ... and how it stands.
register<rank_t, instance_t>(INSTANCES)       reg_rank;       // its leaf of the tree
register<usec_t, instance_t>(INSTANCES)       reg_left;       // when it last ceased to be the host; 0: never

// Of a service.
register<entrant_t, service_t>(SERVICES)      reg_best;       // the tree's root
register<members_t, service_t>(SERVICES)      reg_eligible;   // better than LAST_RESORT: may be drawn
register<maybe_member_t, service_t>(SERVICES) reg_last;       // where new work went last
register<member_t, service_t>(SERVICES)       reg_turn;       // round_robin: where the next search begins
register<maybe_member_t, service_t>(SERVICES) reg_host;       // single and pinned
register<usec_t, service_t>(SERVICES)         reg_moved;      // ... when it last moved
register<bit<3>, service_t>(SERVICES)         reg_damping;    // ... how often its dwell is doubled
register<evidence_t, service_t>(SERVICES)     reg_evidence;   // ... what speaks for another one (host.p4),
register<usec_t, service_t>(SERVICES)         reg_since;      // ... and when nothing did, the last time

// Of a flow: two ways of FLOWS_PER_WAY entries, one after the other.
register<flow_key_t, bit<32>>(FLOWS_PER_WAY << 1) reg_flow_key;
register<bit<72>, bit<32>>(FLOWS_PER_WAY << 1)    reg_flow;   // state ++ instance ++ generation ++ when it expires

// Of all flows without a slot that hash alike: their member.
register<bit<62>, bucket_t>(SERVICES * BUCKETS) reg_bucket;   // member ++ generation ++ when it expires

// Time since `then` by the switch's clock. A clock that was set back makes it zero, never huge.
usec_t elapsed(in usec_t now, in usec_t then) {
    usec_t span = now - then;
    return span >= 1 << 47 ? 0 : span;
}

// Whether a time is past by the switch's clock. A clock that was set back only puts it off.
bool passed(in usec_t now, in usec_t then) {
    return then - now >= 1 << 47;
}

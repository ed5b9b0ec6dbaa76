// SPDX-License-Identifier: Apache-2.0

// Is the chosen instance alive? Then the choice stands and is booked: a move of the host, a piece of new work. Else the
// instance is taken out of the tree, and the packet goes round to choose again. So it does under `spread` where the way
// to an idle instance had been forgotten as time went by: each instance costs a packet one round at most.

control Commit(in ipv4_h ipv4, inout metadata_t meta) {
    generation_t reported_as;
    usec_t       arrival;
    rank_t       rank;
    bit<3>       damping;
    usec_t       left;
    bit<32>      sent;
    bit<32>      interval;
    bit<32>      own;

    // The instance's node, where requests to it are routed. An instance whose reports came under another generation is
    // gone. Under `spread`, what is sent there does not start within `path_cost` µs.
    @id(0x01000030) @name(".at_node") @action_restriction("generation != 0")
    action at_node(@id(1) @refers_to(routes, address) ipv4_t node, @id(2) generation_t generation,
                   @id(3) bit<16> path_cost) {
        meta.next = node;
        meta.generation = generation;
        meta.path_cost = path_cost;
    }

    // The same for a node behind another switch: there the packet goes through a tunnel, IPv4 in IPv4, which starts at
    // `tunnel_source` and carries packets of up to `path_mtu` bytes, its own header included.
    @id(0x01000031) @name(".at_remote_node") @action_restriction("generation != 0")
    action at_remote_node(@id(1) @refers_to(routes, address) ipv4_t node, @id(2) generation_t generation,
                          @id(3) ipv4_t tunnel_source, @id(4) bit<16> path_mtu, @id(5) bit<16> path_cost) {
        meta.next = node;
        meta.generation = generation;
        meta.path_cost = path_cost;
        meta.remote = true;
        meta.tunnel_source = tunnel_source;
        meta.path_mtu = path_mtu;
    }

    // One entry an instance.
    @id(0x02000030) @name(".instances")
    table instances {
        key = {
            meta.instance: exact @id(1) @name("instance");
        }
        actions = {
            at_node;
            at_remote_node;
            @defaultonly NoAction;
        }
        const default_action = NoAction;
        size = INSTANCES;
    }

    @hidden action read_instance() {
        reg_generation.read(reported_as, meta.instance);
        reg_arrival.read(arrival, meta.instance);
        reg_rank.read(rank, meta.instance);
    }

    @hidden action evict(event_t reason) {
        reg_status.write(meta.instance, (bit<2>)status_t.ABSENT);
        meta.event = reason;
        meta.event_from = 1w1 ++ meta.member;
        meta.event_from_rank = rank;
        meta.rank = NOT_ELIGIBLE;
        meta.leaf_changed = true;
        meta.again = true;
    }

    @hidden action put_off(usec_t start) {
        meta.leaf_changed = true;
        meta.rank = SPREAD_BEST - start;
        meta.again = true;
    }

    @hidden action read_moves() {
        reg_damping.read(damping, meta.service);
        reg_left.read(left, meta.instance);
    }

    @hidden action move_host() {
        reg_host.write(meta.service, 1w1 ++ meta.member);
        reg_moved.write(meta.service, meta.now);
        reg_damping.write(meta.service, damping);
        reg_evidence.write(meta.service, 0);
        reg_since.write(meta.service, meta.now);
        reg_last.write(meta.service, 1w1 ++ meta.member);
        meta.event_to_rank = rank;
    }

    @hidden action book() {
        reg_sent.read(sent, meta.instance);
        reg_sent.write(meta.instance, sent + 1);
        reg_interval.read(interval, meta.instance);
        reg_last.write(meta.service, 1w1 ++ meta.member);
    }

    // The answer stays on the node, so that no switch sees it.
    @hidden action count_own() {
        reg_own.read(own, meta.instance);
        reg_own.write(meta.instance, own + 1);
    }

    apply {
        meta.instance = meta.service ++ meta.member;
        read_instance();
        bool present = instances.apply().hit;
        bool gone = !present || meta.generation != reported_as;
        bool late = elapsed(meta.now, arrival) > meta.stale_after;
        usec_t start = SPREAD_BEST - rank;
        usec_t soonest = meta.now + (usec_t)meta.path_cost;
        if (meta.no_live && gone && !meta.sticky) {
            meta.drop = drop_t.NO_LIVE;
        } else if (gone) {
            reg_generation.write(meta.instance, 0);
            evict(event_t.EVICT_GONE);
        } else if (late && !meta.sticky && !meta.no_live) {
            evict(event_t.EVICT_STALE);
        } else if (meta.policy == policy_t.SPREAD && !meta.sticky && !meta.drawn && meta.path_cost != 0
                   && start < soonest) {
            // Since its last report the start that it could make has come nearer than the way there is long. Who is
            // nearer may be better by now.
            put_off(soonest);
        } else {
            if (meta.event != event_t.NONE) {
                // To come back within ten dwells of having left doubles the dwell. Any other move for the better
                // restores it, and so does the operator's; one that could not wait says nothing about restlessness.
                read_moves();
                usec_t dwell = meta.dwell << damping;
                if (meta.event != event_t.BETTER) {
                    if (meta.event == event_t.PINNED) { damping = 0; }
                } else if (left == 0 || meta.now - left >= (dwell << 3) + (dwell << 1)) {
                    damping = 0;
                } else if (damping != MAX_DAMPING) {
                    damping = damping + 1;
                }
                if (meta.event_from[6:6] == 1) { reg_left.write(meta.service ++ meta.event_from[5:0], meta.now); }
                move_host();
            }
            if (meta.kind == kind_t.REQUEST) {
                meta.too_big = meta.remote && ipv4.total_len |+| IPV4_BYTES > meta.path_mtu;
                meta.steered = !meta.too_big;
                if (meta.steered && ipv4.src == meta.next) { count_own(); }
            }
            if (meta.steered && !meta.sticky && !meta.drawn) {
                book();
                if (!meta.hosted && (meta.policy == policy_t.SPREAD || rank == LAST_RESORT)) {
                    // It can start the next piece one service interval after this one. A draining instance keeps its
                    // rank: having been touched, it lets its equals go first.
                    meta.leaf_changed = true;
                    meta.rank = rank;
                    if (rank > LAST_RESORT) {
                        if (start < meta.now) { start = meta.now; }
                        meta.rank = SPREAD_BEST - (start + (usec_t)interval);
                    }
                }
            }
        }
    }
}

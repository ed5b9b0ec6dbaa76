// SPDX-License-Identifier: Apache-2.0

// What the control plane wants of a service, by table entry: how it is kept together, how its instances are scored, and
// by which policy they are chosen. Each table has one entry a service.

control Intent(inout metadata_t meta) {
    // `members`: slots in use, a draw's range. Times in µs. `fallback`: where to route a request that meets no live
    // instance, if on_no_live says so. `slots` from `first_slot` on, in each way of the flow store, are the service's
    // share; the shares of services do not overlap. Flows that began in its share of before, `old_slots` from
    // `old_first_slot` on, keep their entries.
    @id(0x01000010) @name(".configure")
    action configure(@id(1) affinity_t affinity, @id(2) bit<7> members, @id(3) usec_t idle_after,
                     @id(4) usec_t stale_after, @id(5) usec_t dead_after, @id(6) no_live_t on_no_live,
                     @id(7) @refers_to(routes, address) ipv4_t fallback, @id(8) bit<32> first_slot,
                     @id(9) bit<32> slots, @id(10) bit<32> old_first_slot, @id(11) bit<32> old_slots) {
        meta.affinity = affinity;
        meta.members = members;
        meta.idle_after = idle_after;
        meta.stale_after = stale_after;
        meta.dead_after = dead_after;
        meta.on_no_live = on_no_live;
        meta.fallback = fallback;
        meta.first_slot = first_slot;
        meta.slots = slots;
        meta.old_first_slot = old_first_slot;
        meta.old_slots = old_slots;
    }

    @id(0x01000011) @name(".unconfigured")
    action unconfigured() {
        meta.drop = drop_t.UNCONFIGURED;
    }

    @id(0x02000010) @name(".services")
    table services {
        key = {
            meta.service: exact @id(1) @name("service");
        }
        actions = {
            configure;
            @defaultonly unconfigured;
        }
        const default_action = unconfigured;
        size = SERVICES;
    }

    // Left shifts of cpu, memory, queue_depth above concurrency and `busy_after`, and contention, a right shift of
    // service_interval: how much each adds to the load. A shift above WEIGHT_MAX (write OFF) leaves it out.
    @id(0x01000012) @name(".score")
    action score(@id(1) bit<8> w_cpu, @id(2) bit<8> w_memory, @id(3) bit<8> w_queue, @id(4) bit<16> busy_after,
                 @id(5) bit<8> w_interval, @id(6) bit<8> w_contention) {
        meta.w_cpu = w_cpu;
        meta.w_memory = w_memory;
        meta.w_queue = w_queue;
        meta.busy_after = busy_after;
        meta.w_interval = w_interval;
        meta.w_contention = w_contention;
    }

    // Without an entry only the path cost counts.
    @id(0x02000011) @name(".scoring")
    table scoring {
        key = {
            meta.service: exact @id(1) @name("service");
        }
        actions = {
            score;
        }
        const default_action = score(OFF, OFF, OFF, 0, OFF, OFF);
        size = SERVICES;
    }

    // One host at a time. It moves when another's rank is higher by more than `margin`, has been for about `evidence`
    // reports of the host (host.p4), and the last move is at least `dwell` µs ago. It moves at once when its backlog
    // passes `start_within` µs and another's does not. 0: a `stale_after` and 16 service times.
    @id(0x01000013) @name(".single")
    action single(@id(1) rank_t margin, @id(2) usec_t dwell, @id(3) bit<8> evidence, @id(4) usec_t start_within) {
        meta.policy = policy_t.SINGLE;
        meta.hosted = true;
        meta.margin = margin;
        meta.dwell = dwell;
        meta.evidence = evidence;
        meta.start_within = start_within;
    }

    // The earliest start. `load_penalty`: left shift of the load, which is then added to the start time in µs, or OFF.
    @id(0x01000014) @name(".spread")
    action spread(@id(1) bit<8> load_penalty) {
        meta.policy = policy_t.SPREAD;
        meta.load_penalty = load_penalty;
    }

    // The better of two members drawn at random, by the start that each reported last.
    @id(0x01000017) @name(".two_choices")
    action two_choices() {
        meta.policy = policy_t.TWO_CHOICES;
        meta.load_penalty = OFF;
    }

    // Each in turn.
    @id(0x01000018) @name(".round_robin")
    action round_robin() {
        meta.policy = policy_t.ROUND_ROBIN;
        meta.load_penalty = OFF;
    }

    // Any, at random.
    @id(0x01000019) @name(".random_choice")
    action random_choice() {
        meta.policy = policy_t.RANDOM;
        meta.load_penalty = OFF;
    }

    // The operator's choice, whatever its rank, until it dies.
    @id(0x01000015) @name(".pinned")
    action pinned(@id(1) @refers_to(instances, instance) member_t member) {
        meta.policy = policy_t.PINNED;
        meta.hosted = true;
        meta.pinned = member;
    }

    @id(0x01000016) @name(".no_policy")
    action no_policy() {
        meta.drop = drop_t.UNCONFIGURED;
    }

    // Changing this entry is the one step that puts a service under another policy: all that the policy goes by is
    // there before.
    @id(0x02000012) @name(".policies")
    table policies {
        key = {
            meta.service: exact @id(1) @name("service") @refers_to(services, service) @refers_to(scoring, service);
        }
        actions = {
            single;
            spread;
            pinned;
            two_choices;
            round_robin;
            random_choice;
            @defaultonly no_policy;
        }
        const default_action = no_policy;
        size = SERVICES;
    }

    apply {
        services.apply();
        scoring.apply();
        policies.apply();
    }
}

// SPDX-License-Identifier: Apache-2.0

// Reports, in two steps with the service's intent (intent.p4) looked up in between:
//
//   Binding  whose report is it? Bound port, source and ids, or it goes no further.
//   Reports  is it newer than the last? Then it is remembered and scored: a new rank for the instance's leaf.
//
// A packet that goes round is not accepted again: Reports sees its first pass only.

control Binding(in report_h report, in ipv4_t source, inout metadata_t meta) {
    // The instance (`service`, `member`) that the node reports for. `generation` is never zero; a new one accepts any
    // epoch. `copy_group`: multicast group of the other switches that steer the service, or 0. With `authenticate` the
    // report's tag must verify under the one of the two keys that it names (authentication.p4).
    // With `doubted` its reports make it a last resort at best, as if it drained.
    @id(0x01000020) @name(".bind") @action_restriction("generation != 0")
    action bind(@id(1) @refers_to(instances, instance) service_t service,
                @id(2) @refers_to(instances, instance) member_t member, @id(3) generation_t generation,
                @id(4) bit<16> path_cost, @id(5) @refers_to(multicast_group, group) bit<16> copy_group,
                @id(6) bit<8> key_id, @id(7) key_t key, @id(8) bit<8> next_key_id, @id(9) key_t next_key,
                @id(10) bit<1> authenticate, @id(11) bit<1> doubted) {
        meta.service = service;
        meta.member = member;
        meta.instance = service ++ member;
        meta.generation = generation;
        meta.path_cost = path_cost;
        meta.copy_group = copy_group;
        meta.key_id = key_id;
        meta.key = key;
        meta.next_key_id = next_key_id;
        meta.next_key = next_key;
        meta.authenticate = authenticate;
        meta.doubted = doubted;
    }

    @id(0x01000021) @name(".unbound")
    action unbound() {
        meta.drop = drop_t.REPORT_UNBOUND;
    }

    // One entry an instance. In a digest, node 0 means that no report decided.
    @id(0x02000020) @name(".bindings") @entry_restriction("node_id != 0")
    table bindings {
        key = {
            meta.port: exact @id(1) @name("port");
            source: exact @id(2) @name("source");
            report.service_id: exact @id(3) @name("service_id");
            report.node_id: exact @id(4) @name("node_id");
        }
        actions = {
            bind;
            @defaultonly unbound;
        }
        const default_action = unbound;
        size = INSTANCES;
    }

    apply {
        // Valid: it has the length and the magic, by which the parser knows it.
        if (report.isValid() && report.version == REPORT_VERSION && report.reserved_flags == 0 && report.reserved == 0) {
            bindings.apply();
        } else {
            meta.drop = drop_t.REPORT_MALFORMED;
        }
    }
}

// What stands in new work's way. What the service itself uses does not count against its host, or a quiet fabric would
// swing for ever. Of the queue, what the instance executes at a time is normal: that waits for one service time at most.
// So the rest, and `busy_after`, are counted in the service's own time. Sums saturate in 32 bits.
control Load(in report_h report, in metadata_t meta, out bit<32> load) {
    apply {
        bit<32> cpu = (bit<32>)(report.cpu |-| report.cpu_own);
        bit<32> normal = (bit<32>)report.concurrency + (bit<32>)meta.busy_after;
        bit<32> queue = (bit<32>)report.queue_depth |-| normal;
        load = 0;
        if (meta.w_cpu <= WEIGHT_MAX) { load = cpu << meta.w_cpu; }
        if (meta.w_memory <= WEIGHT_MAX) { load = load |+| ((bit<32>)report.memory << meta.w_memory); }
        if (meta.w_queue <= WEIGHT_MAX) { load = load |+| (queue << meta.w_queue); }
        if (meta.w_interval <= WEIGHT_MAX) { load = load |+| (report.service_interval >> meta.w_interval); }
        if (meta.w_contention <= WEIGHT_MAX) {
            load = load |+| ((bit<32>)report.contention << meta.w_contention);
        }
    }
}

control Reports(in report_h report, inout metadata_t meta) {
    Load() loads;
    generation_t generation;
    bit<32> epoch;
    bit<32> sequence;
    bit<32> sent;
    bit<32> least_gap;
    bit<32> gap;
    bit<32> unseen;
    bit<32> load;
    bit<2>  status;

    @hidden action read_last() {
        reg_generation.read(generation, meta.instance);
        reg_epoch.read(epoch, meta.instance);
        reg_sequence.read(sequence, meta.instance);
        reg_sent.read(sent, meta.instance);
        reg_least_gap.read(least_gap, meta.instance);
    }

    @hidden action remember() {
        reg_generation.write(meta.instance, meta.generation);
        reg_epoch.write(meta.instance, report.epoch);
        reg_sequence.write(meta.instance, report.sequence);
        reg_arrival.write(meta.instance, meta.now);
        reg_interval.write(meta.instance, report.service_interval);
        reg_status.write(meta.instance, status);
        reg_least_gap.write(meta.instance, least_gap);
        reg_received.write(meta.instance, report.received);
        reg_held.write(meta.instance, (bit<32>)report.queue_depth + (bit<32>)report.in_flight);
        reg_measured.write(meta.instance,
                           report.cpu ++ report.cpu_own ++ report.memory ++ report.queue_depth ++ report.backlog);
    }

    apply {
        read_last();
        // Serial arithmetic (RFC 1982): newer means ahead by less than half the number space.
        bool    restarted = generation != meta.generation;
        bit<32> epochs = report.epoch - epoch;
        bit<32> step = report.sequence - sequence;
        if (restarted || (epochs != 0 && epochs < 1 << 31) || (epochs == 0 && step != 0 && step < 1 << 31)) {
            meta.accepted = true;

            // Requests on their way when the node reported: sent less received, above that difference's own minimum,
            // which leaks upwards by 1/64 a report so that what got lost is forgotten.
            gap = (sent - report.received) << 6;
            unseen = gap - least_gap;
            if (restarted || epochs != 0 || unseen >= 1 << 31) {
                least_gap = gap;
                unseen = 0;
            } else {
                least_gap = least_gap + 1;
            }

            status = (bit<2>)status_t.READY;
            if (report.ready == 0) { status = (bit<2>)status_t.NOT_READY; }
            else if (report.draining == 1 || meta.doubted == 1) { status = (bit<2>)status_t.DRAINING; }
            remember();

            // A backlog that is normal for slow functions is an age for fast ones.
            bit<64> limit = (bit<64>)meta.start_within;
            if (limit == 0) {
                limit = (bit<64>)report.service_interval * (bit<64>)report.concurrency << LATE_SHIFT;
                if (limit < (bit<64>)meta.stale_after) { limit = (bit<64>)meta.stale_after; }
            }

            loads.apply(report, meta, load);
            if (status == (bit<2>)status_t.NOT_READY) {
                meta.rank = NOT_ELIGIBLE;
            } else if (status == (bit<2>)status_t.DRAINING) {
                meta.rank = LAST_RESORT;
            } else if (meta.policy == policy_t.SINGLE && (bit<64>)report.backlog > limit) {
                meta.rank = LATE_START;
            } else if (meta.hosted) {
                load = load |+| (bit<32>)meta.path_cost;
                meta.rank = SINGLE_BEST - (rank_t)(load < SINGLE_MAX_LOAD ? load : SINGLE_MAX_LOAD);
            } else {
                bit<64> delay = (bit<64>)report.backlog + (bit<64>)(unseen >> 6) * (bit<64>)report.service_interval;
                // What is there is done while new work is on its way: the longer of the two counts.
                if (delay < (bit<64>)meta.path_cost) { delay = (bit<64>)meta.path_cost; }
                if (meta.load_penalty <= WEIGHT_MAX) { delay = delay + ((bit<64>)load << meta.load_penalty); }
                if (delay > SPREAD_MAX_DELAY) { delay = SPREAD_MAX_DELAY; }
                meta.rank = SPREAD_BEST - delay[47:0];
                // The other policies book no work between reports, so there a start that comes nearer as time goes by
                // would only favour whose report is older.
                if (meta.policy == policy_t.SPREAD) { meta.rank = meta.rank - meta.now; }
            }
            meta.leaf_changed = true;
        } else {
            meta.drop = drop_t.REPORT_OLD;
        }
    }
}

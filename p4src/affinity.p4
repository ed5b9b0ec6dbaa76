// SPDX-License-Identifier: Apache-2.0

// Affinity: a flow, or a request in several datagrams, keeps its instance while that instance is alive.
//
//   AffinityLookup  finds the flow's entry, or a slot for a new one        (before the choice)
//   AffinityStore   writes the entry of a packet that was steered          (after it)
//
// The store is two-way with the exact key, so nothing collides, and an entry is replaced only when it has expired, so a
// flood cannot push live flows out. Each service has a share of it, so that none can fill another's.
//
// What finds neither entry nor slot goes by a bucket of its service: one of BUCKETS entries without a key, shared by all
// that hash there. Who comes to a bucket in use goes where the others go, and what goes on keeps it in use; so no bucket
// changes its member while one of its flows goes on, though the host may move, and no such flow is moved.

struct flow_entry_t {
    bit<32>      slot;
    bool         ours;       // it has this packet's key
    bool         live;       // it has not expired: not to be replaced
    flow_state_t state;
    instance_t   instance;
    generation_t generation;
}

// A slot of a share, and what stands there: the one that half of the key's hash points to, of `slots` from `first` on.
control FlowSlot(in metadata_t meta, in bit<16> half, in bit<32> first, in bit<32> slots, out flow_entry_t entry) {
    flow_key_t key;
    bit<72>    value;

    @hidden action read_slot() {
        entry.slot = first + (((bit<32>)half * slots) >> 16);
        reg_flow_key.read(key, entry.slot);
        reg_flow.read(value, entry.slot);
        entry.state = (flow_state_t)value[71:70];
        entry.instance = value[69:56];
        entry.generation = value[55:48];
    }

    apply {
        read_slot();
        entry.live = entry.state != flow_state_t.FREE && !passed(meta.now, value[47:0]);
        entry.ours = key == meta.flow_key; // a free entry's key is zero, and no flow's is: it has a protocol
    }
}

// The flow's entry, in the service's share or in the one that it had before; meta.slot is where to write it. If there is
// none, meta.place and meta.slot are what a new flow gets.
control FlowSearch(in bit<32> hashed, inout metadata_t meta, out flow_entry_t found) {
    FlowSlot() slot;

    apply {
        slot.apply(meta, hashed[15:0], meta.first_slot, meta.slots, found);
        meta.slot = found.slot;
        if (!found.ours) {
            meta.place = place_t.BUCKET;
            if (!found.live) { meta.place = place_t.FIRST; }
            slot.apply(meta, hashed[31:16], meta.first_slot + FLOWS_PER_WAY, meta.slots, found);
            if (found.ours) {
                meta.slot = found.slot;
            } else {
                if (meta.place == place_t.BUCKET && !found.live) {
                    meta.place = place_t.SECOND;
                    meta.slot = found.slot;
                }
                if (meta.old_slots != 0) {
                    slot.apply(meta, hashed[15:0], meta.old_first_slot, meta.old_slots, found);
                    if (!found.ours) {
                        slot.apply(meta, hashed[31:16], meta.old_first_slot + FLOWS_PER_WAY, meta.old_slots, found);
                    }
                    // It moves to the new share, or stays where it is while that has no slot for it.
                    found.ours = found.ours && found.live;
                    if (meta.place == place_t.BUCKET) { meta.slot = found.slot; }
                }
            }
        }
    }
}

control AffinityLookup(in headers_t hdr, inout metadata_t meta) {
    FlowSearch() search;
    bit<32>      hashed;
    flow_entry_t found;
    bit<62>      bucket;
    generation_t generation;
    usec_t       arrival;

    @hidden action hash_key() {
        hash(hashed, HashAlgorithm.crc32, 32w0, { meta.flow_key }, 33w1 << 32);
    }

    @hidden action read_bucket() {
        meta.bucket = meta.service ++ hashed[25:16];
        reg_bucket.read(bucket, meta.bucket);
        found.state = flow_state_t.FREE;
        found.instance = meta.service ++ bucket[61:56];
        found.generation = bucket[55:48];
    }

    @hidden action read_instance() {
        reg_generation.read(generation, found.instance);
        reg_arrival.read(arrival, found.instance);
    }

    apply {
        bool starts = true; // may this packet start a flow?
        bool alone = false; // is it all that there will ever be of its flow?
        if (hdr.tcp.isValid()) {
            starts = hdr.tcp.syn == 1 && hdr.tcp.ack == 0;
        }
        if (meta.quotes) {
            starts = false;
            meta.flow_key = meta.service ++ hdr.quoted_ipv4.protocol ++ hdr.quoted_ipv4.dst ++ hdr.quoted_ipv4.src
                            ++ hdr.quoted.dst_port ++ hdr.quoted.src_port;
        } else if (hdr.tcp.isValid() || meta.affinity == affinity_t.FLOW) {
            meta.flow_key = meta.service ++ hdr.ipv4.protocol ++ hdr.ipv4.src ++ hdr.ipv4.dst ++ meta.src_port
                            ++ meta.dst_port;
        } else if (hdr.invocation.isValid() && hdr.invocation.version == INVOCATION_VERSION) {
            meta.flow_key = meta.service ++ hdr.ipv4.protocol ++ hdr.invocation.client_id ++ hdr.invocation.request_id;
            starts = hdr.invocation.type == invocation_t.REQUEST;
            alone = starts && hdr.invocation.fragment_count == 1 && hdr.invocation.flags & INVOCATION_ONCE != 0;
        } else {
            meta.drop = drop_t.INVOCATION;
        }

        if (!alone && meta.drop == drop_t.NONE) {
            bool kept; // is there something that holds it where its flow is?
            hash_key();
            search.apply(hashed, meta, found);
            if (found.ours) {
                meta.place = place_t.NONE;
                meta.has_slot = !meta.quotes; // an error is no sign of life of its flow
                // What cannot start a flow revives an expired entry that nobody took. A SYN after FIN or RST is a new
                // flow on old ports.
                kept = !starts || (found.live && !(hdr.tcp.isValid() && found.state == flow_state_t.CLOSING));
            } else {
                meta.has_slot = starts && meta.place != place_t.BUCKET;
                meta.drawn = !meta.has_slot;
                meta.pooled = meta.drawn && (starts || hdr.tcp.isValid());
                meta.no_slot = starts && meta.drawn;
                meta.no_entry = !starts;
                if (!starts) { meta.place = place_t.NONE; }
                kept = false;
                // A SYN says that its flow begins. A datagram that finds a slot may be of one that had to begin without.
                if (meta.drawn || !hdr.tcp.isValid()) {
                    read_bucket();
                    kept = bucket != 0 && !passed(meta.now, bucket[47:0]); // 0: never used
                    if (kept) { meta.bucket_left = bucket[47:0] - meta.now; }
                }
            }
            if (kept) {
                // Who has got its slot after the flow began is somebody else. Dead is who has been silent for
                // `dead_after`.
                read_instance();
                if (found.generation == generation) {
                    meta.flow_member = 1w1 ++ found.instance[5:0];
                    meta.member = found.instance[5:0];
                    meta.flow_state = found.state;
                    meta.sticky = elapsed(meta.now, arrival) <= meta.dead_after;
                }
            }
            if (meta.quotes && !meta.sticky) { meta.drawn = true; }
        }
    }
}

control AffinityStore(in headers_t hdr, inout metadata_t meta) {
    apply {
        flow_state_t state = flow_state_t.OPEN;
        usec_t keep = meta.idle_after;
        if (hdr.tcp.isValid()) {
            if (hdr.tcp.fin == 1 || hdr.tcp.rst == 1 || meta.flow_state == flow_state_t.CLOSING) {
                state = flow_state_t.CLOSING;
                keep = CLOSING_AFTER;
            } else if (hdr.tcp.syn == 1 && meta.flow_state != flow_state_t.OPEN) {
                state = flow_state_t.OPENING;
                keep = HANDSHAKE_AFTER;
            }
        } else if (meta.affinity == affinity_t.REQUEST && hdr.invocation.deadline != 0) {
            // Whoever repeats a request does so until its deadline.
            usec_t wait = (usec_t)hdr.invocation.deadline * 1000;
            if (wait < keep) { keep = wait; }
        }
        if (meta.pooled) {
            if (keep < meta.bucket_left) { keep = meta.bucket_left; }
            reg_bucket.write(meta.bucket, meta.member ++ meta.generation ++ (meta.now + keep));
        } else {
            reg_flow_key.write(meta.slot, meta.flow_key);
            reg_flow.write(meta.slot, (bit<2>)state ++ meta.instance ++ meta.generation ++ (meta.now + keep));
        }
    }
}

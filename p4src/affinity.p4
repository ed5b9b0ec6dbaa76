// SPDX-License-Identifier: Apache-2.0

// Affinity: a flow, or a request in several datagrams, keeps its instance while that instance is alive.
//
//   AffinityLookup  finds the flow's entry, or a slot for a new one        (before the choice)
//   AffinityStore   writes the entry of a packet that was steered          (after it)
//
// The store is two-way with the exact key, so nothing collides, and an entry is replaced only when it has expired, so a
// flood cannot push live flows out. What finds neither entry nor slot is steered by its hash, all its packets alike.

struct flow_entry_t {
    bit<32>      slot;
    bool         ours;       // it has this packet's key
    bool         live;       // it has not expired: not to be replaced
    flow_state_t state;
    instance_t   instance;
    generation_t generation;
}

// One way of the store: the slot that its hash gives the packet's key, and what stands there.
control FlowWay(in metadata_t meta, out flow_entry_t entry)(HashAlgorithm algorithm, bit<32> base) {
    flow_key_t key;
    bit<72>    value;

    @hidden action read_slot() {
        hash(entry.slot, algorithm, base, { meta.flow_key }, FLOWS_PER_WAY);
        reg_flow_key.read(key, entry.slot);
        reg_flow.read(value, entry.slot);
        entry.state = (flow_state_t)value[71:70];
        entry.instance = value[69:56];
        entry.generation = value[55:48];
    }

    apply {
        read_slot();
        usec_t keep = meta.idle_after;
        if (entry.state == flow_state_t.OPENING) { keep = HANDSHAKE_AFTER; }
        else if (entry.state == flow_state_t.CLOSING) { keep = CLOSING_AFTER; }
        entry.live = entry.state != flow_state_t.FREE && elapsed(meta.now, value[47:0]) <= keep;
        entry.ours = key == meta.flow_key; // a free entry's key is zero, and no flow's is: it has a protocol
    }
}

control AffinityLookup(in headers_t hdr, inout metadata_t meta) {
    FlowWay(HashAlgorithm.crc32, 0) way_a;
    FlowWay(HashAlgorithm.crc16, FLOWS_PER_WAY) way_b;
    flow_entry_t a;
    flow_entry_t b;
    flow_entry_t found;
    generation_t generation;
    usec_t       arrival;

    @hidden action read_instance() {
        reg_generation.read(generation, found.instance);
        reg_arrival.read(arrival, found.instance);
    }

    apply {
        bool starts = true; // may this packet start a flow?
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
        } else {
            meta.drop = drop_t.INVOCATION;
        }

        way_a.apply(meta, a);
        way_b.apply(meta, b);
        if (a.ours || b.ours) {
            found = b;
            if (a.ours) { found = a; }
            meta.slot = found.slot;
            meta.has_slot = !meta.quotes; // an error is no sign of life of its flow
            read_instance();
            // What cannot start a flow revives an expired entry that nobody took. A SYN after FIN or RST is a new flow
            // on old ports. Who has got its slot after the flow began is somebody else. Dead is who has been silent for
            // `dead_after`.
            if ((!starts || (found.live && !(hdr.tcp.isValid() && found.state == flow_state_t.CLOSING)))
                && found.generation == generation) {
                meta.flow_member = 1w1 ++ found.instance[5:0];
                meta.member = found.instance[5:0];
                meta.flow_state = found.state;
                meta.sticky = elapsed(meta.now, arrival) <= meta.dead_after;
            }
        } else if (!starts) {
            meta.drawn = true;
            meta.no_entry = true;
        } else if (!a.live) {
            meta.slot = a.slot;
            meta.has_slot = true;
        } else if (!b.live) {
            meta.slot = b.slot;
            meta.has_slot = true;
        } else {
            meta.drawn = true;
            meta.no_slot = true;
        }
        if (meta.quotes && !meta.sticky) { meta.drawn = true; }
    }
}

control AffinityStore(in headers_t hdr, inout metadata_t meta) {
    apply {
        flow_state_t state = flow_state_t.OPEN;
        if (hdr.tcp.isValid()) {
            if (hdr.tcp.fin == 1 || hdr.tcp.rst == 1 || meta.flow_state == flow_state_t.CLOSING) {
                state = flow_state_t.CLOSING;
            } else if (hdr.tcp.syn == 1 && meta.flow_state != flow_state_t.OPEN) {
                state = flow_state_t.OPENING;
            }
        }
        reg_flow_key.write(meta.slot, meta.flow_key);
        reg_flow.write(meta.slot, (bit<2>)state ++ meta.instance ++ meta.generation ++ meta.now);
    }
}

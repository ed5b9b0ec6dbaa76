// SPDX-License-Identifier: Apache-2.0

// A decision about new work: which instance, and is it alive? For a request, and for a report that went round because
// the host must move: the new host is looked at as closely as by a request.
//
//   AffinityLookup -> Choose -> Commit
//
// What stays with its flow needs no choice, and what goes to the service's fallback address no instance.

control Steer(in headers_t hdr, inout metadata_t meta) {
    AffinityLookup() affinity_lookup;
    Choose() choose;
    Commit() commit;

    apply {
        // Before a piece of new work is booked on anyone.
        if (meta.kind == kind_t.REQUEST && hdr.ipv4.ttl <= 1) {
            meta.drop = drop_t.TTL;
            meta.tell = true;
        } else if (meta.kind == kind_t.REQUEST && (meta.affinity != affinity_t.NONE || hdr.tcp.isValid() || meta.quotes)) {
            affinity_lookup.apply(hdr, meta);
        }
        if (meta.drop == drop_t.NONE && !meta.sticky) { choose.apply(meta); }
        if (meta.drop == drop_t.NONE && !meta.fell_back
            && (meta.kind == kind_t.REQUEST || meta.event != event_t.NONE || meta.host_overdue)) {
            commit.apply(hdr.ipv4, meta);
        }
    }
}

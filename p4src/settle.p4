// SPDX-License-Identifier: Apache-2.0

// What a report or a decision leaves behind: the changed leaf in the service's tree, one more round if the host must
// move now, the entry of the packet's flow.

control Settle(in headers_t hdr, inout metadata_t meta) {
    Tree() tree;
    Evidence() evidence;
    Host() host;
    AffinityStore() affinity_store;

    apply {
        if (meta.leaf_changed) { tree.apply(meta); }
        if (meta.accepted && meta.hosted) {
            evidence.apply(meta);
            host.apply(true, meta);
            meta.again = meta.event != event_t.NONE || meta.host_overdue;
            meta.event = event_t.NONE; // the next round tells it, if it comes to the same
        }
        if (meta.steered && (meta.has_slot || meta.pooled)) { affinity_store.apply(hdr, meta); }
    }
}
